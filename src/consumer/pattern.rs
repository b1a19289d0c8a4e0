//! Which topics a pattern names. When topics come and go is known elsewhere.

use std::fmt;
use std::sync::Arc;

use regex_lite::Regex;

use crate::error::ConsumerError;

/// A regular expression over names of topics, for
/// [`Consumer::subscribe_pattern`](crate::Consumer::subscribe_pattern). It has to match the whole
/// name.
///
/// The syntax is what [RE2](https://github.com/google/re2/wiki/Syntax), which brokers have, and the
/// crate `regex-lite` have in common: no look-around and back-references, and no `\p{…}` and `\Q…\E`
/// either. It is checked here also if the brokers evaluate it.
#[derive(Clone)]
pub struct SubscriptionPattern {
    source: Arc<str>,
    regex: Regex,
}

impl SubscriptionPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidPattern`] if it is no regular expression.
    pub fn new(pattern: &str) -> Result<Self, ConsumerError> {
        // By itself first: `a)|(b` would only be one within the brackets.
        let whole = || Regex::new(&format!("^(?:{pattern})$"));
        match Regex::new(pattern).and_then(|_| whole()) {
            Ok(regex) => Ok(Self { source: pattern.into(), regex }),
            Err(error) => Err(ConsumerError::InvalidPattern {
                pattern: pattern.into(),
                cause: error.to_string().into(),
            }),
        }
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it matches the whole of a topic's name.
    pub fn matches(&self, topic: &str) -> bool {
        self.regex.is_match(topic)
    }
}

impl fmt::Debug for SubscriptionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SubscriptionPattern").field(&self.source).finish()
    }
}

impl fmt::Display for SubscriptionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_name_has_to_match() {
        let pattern = SubscriptionPattern::new("a|orders-.*").unwrap();
        for (topic, matches) in
            [("a", true), ("orders-eu", true), ("ab", false), ("my-orders-eu", false)]
        {
            assert_eq!(pattern.matches(topic), matches, "{topic}");
        }
        assert_eq!(pattern.to_string(), "a|orders-.*");
    }

    #[test]
    fn what_is_no_expression_is_refused_by_name() {
        // Brokers would take the last two.
        for pattern in ["orders-(", "a)|(b", r"\p{L}+", r"\Qa.b\E"] {
            let error = SubscriptionPattern::new(pattern).unwrap_err();
            assert!(error.to_string().contains(&format!("{pattern:?}")), "{error}");
        }
    }
}
