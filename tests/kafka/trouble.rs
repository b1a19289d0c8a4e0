//! Why something of the harness failed, in text that a failing test shows as it is, logs and all.

use std::fmt;

/// Shown without quotes and escapes by `unwrap`, for which a log would be one endless line.
#[derive(Clone)]
pub(crate) struct Trouble(String);

impl Trouble {
    /// Whether the text says this.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.0.contains(text)
    }
}

impl<T: Into<String>> From<T> for Trouble {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
