//! Options of Kafka's tools that have a newer name, and properties on the command line.

/// The value of an option or of its deprecated name, but not of both.
pub(crate) fn one_of<T>(
    (new_name, new): (&str, Option<T>),
    (old_name, old): (&str, Option<T>),
    notices: &mut Vec<String>,
) -> Result<Option<T>, String> {
    if new.is_some() && old.is_some() {
        return Err(format!("{new_name} and {old_name} cannot be specified together."));
    }
    if old.is_some() {
        notices.push(format!(
            "Option {old_name} has been deprecated and will be removed in a future version. Use {new_name} instead."
        ));
    }
    Ok(new.or(old))
}

/// Exactly one `=`, and something on both sides of it.
pub(crate) fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !value.is_empty() && !value.contains('=') => {
            Ok((name.to_owned(), value.to_owned()))
        }
        // The text may be a secret.
        _ => {
            let name = text.split('=').next().unwrap_or_default();
            Err(format!("Invalid property: {name}: it is not name=value with exactly one '='."))
        }
    }
}
