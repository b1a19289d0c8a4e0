//! What was set without an effect, kept so that it can be listed, and warned about once.

/// A property of Kafka's that has no effect here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IgnoredProperty {
    /// Kafka's name of the property.
    pub name: &'static str,
    /// Why it has no effect, and what to do instead where there is something.
    pub reason: &'static str,
}

/// The names that were set without an effect. Values are not kept: they may be secrets.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    pub(super) unknown: Vec<String>,
    pub(super) ignored: Vec<IgnoredProperty>,
}

impl Notes {
    pub(super) fn add_unknown(&mut self, name: &str) {
        if !self.unknown.iter().any(|known| known == name) {
            self.unknown.push(name.to_owned());
        }
    }

    pub(super) fn add_ignored(&mut self, name: &'static str, reason: &'static str) {
        if !self.ignored.iter().any(|known| known.name == name) {
            self.ignored.push(IgnoredProperty { name, reason });
        }
    }

    /// Warns about each name, with a hint if there is one.
    pub(super) fn warn(&self, hint: impl Fn(&str) -> Option<&'static str>) {
        for name in &self.unknown {
            match hint(name) {
                Some(hint) => tracing::warn!("unknown property `{name}`: {hint}"),
                None => tracing::warn!("unknown property `{name}`: it has no effect"),
            }
        }
        for IgnoredProperty { name, reason } in &self.ignored {
            tracing::warn!("property `{name}` has no effect: {reason}");
        }
    }
}
