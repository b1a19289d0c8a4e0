//! What a member wants to read: names, and a regular expression that the whole of a name has to match.
//!
//! The syntax is that of RE2, as in Kafka, but for classes of Unicode such as `\p{Greek}`, which no topic's name needs.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

use crate::types::TopicId;

/// The topics of the cluster, by name: their ids and how many partitions they have.
pub(crate) trait TopicView {
    /// A topic, if it is there.
    fn find(&self, name: &str) -> Option<(TopicId, i32)>;
    /// Shows all topics.
    fn each(&self, show: &mut dyn FnMut(&str, TopicId, i32));
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Subscription {
    names: BTreeSet<String>,
    /// As it was written, and ready for use.
    pattern: Option<(String, Regex)>,
}

impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        let written = |subscription: &Self| subscription.pattern.as_ref().map(|(p, _)| p.clone());
        self.names == other.names && written(self) == written(other)
    }
}

/// A regular expression that is none.
#[derive(Debug)]
pub(super) struct InvalidPattern(pub(super) String);

impl Subscription {
    pub(super) fn set_names(&mut self, names: Vec<String>) {
        self.names = names.into_iter().collect();
    }

    /// Takes a pattern in the place of the one before; an empty one matches nothing.
    pub(super) fn set_pattern(&mut self, pattern: &str) -> Result<(), InvalidPattern> {
        let known = self.pattern.as_ref().map_or("", |(written, _)| written);
        if known != pattern {
            self.pattern = match pattern {
                "" => None,
                _ => Some((pattern.to_owned(), whole(pattern)?)),
            };
        }
        Ok(())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The pattern as it was written.
    pub(super) fn pattern(&self) -> Option<&str> {
        self.pattern.as_ref().map(|(written, _)| written.as_str())
    }

    /// Whether a topic with this name is wanted.
    pub(super) fn wants(&self, topic: &str) -> bool {
        self.names.contains(topic)
            || self.pattern.as_ref().is_some_and(|(_, regex)| regex.is_match(topic))
    }

    /// The topics that are there, of those that are wanted, with their partitions.
    pub(super) fn resolve(&self, topics: &dyn TopicView) -> BTreeMap<TopicId, i32> {
        let mut found: BTreeMap<TopicId, i32> =
            self.names.iter().filter_map(|name| topics.find(name)).collect();
        if let Some((_, regex)) = &self.pattern {
            topics.each(&mut |name, id, partitions| {
                if regex.is_match(name) {
                    found.insert(id, partitions);
                }
            });
        }
        found
    }
}

fn whole(pattern: &str) -> Result<Regex, InvalidPattern> {
    let invalid = |error: regex_lite::Error| InvalidPattern(error.to_string());
    // By itself first, so that it cannot end the group that it is put in.
    Regex::new(pattern).map_err(invalid)?;
    Regex::new(&format!("^(?:{pattern})$")).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Names(Vec<&'static str>);

    impl TopicView for Names {
        fn find(&self, name: &str) -> Option<(TopicId, i32)> {
            let at = self.0.iter().position(|known| *known == name)?;
            Some((TopicId([at as u8; 16]), 1))
        }

        fn each(&self, show: &mut dyn FnMut(&str, TopicId, i32)) {
            for name in &self.0 {
                let (id, partitions) = self.find(name).unwrap();
                show(name, id, partitions);
            }
        }
    }

    #[test]
    fn a_pattern_matches_whole_names_and_adds_to_names() {
        let topics = Names(vec!["a", "ab", "b", "c"]);
        for (names, pattern, expected) in [
            (&["a", "x"][..], "", &[0][..]),
            (&[], "a", &[0]),
            (&[], "a|b", &[0, 2]),
            (&[], "a.*", &[0, 1]),
            (&["c"], "ab?", &[0, 1, 3]),
            (&[], "[^a]", &[2, 3]),
        ] {
            let mut subscription = Subscription::default();
            subscription.set_names(names.iter().map(|name| (*name).to_owned()).collect());
            subscription.set_pattern(pattern).unwrap();
            let found: Vec<u8> = subscription.resolve(&topics).keys().map(|id| id.0[0]).collect();
            assert_eq!(found, expected, "{names:?} {pattern:?}");
        }
        for pattern in ["(", "a)|(b", "*", "\\"] {
            assert!(Subscription::default().set_pattern(pattern).is_err(), "{pattern:?}");
        }
    }
}
