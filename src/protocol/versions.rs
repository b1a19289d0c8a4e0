//! Ranges of versions, and the one that two sides share.

use std::fmt;

/// The versions of an API that a side speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionRange {
    pub min: i16,
    pub max: i16,
}

impl VersionRange {
    pub const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }

    pub fn contains(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// The versions that both ranges hold.
    pub fn intersect(self, other: Self) -> Option<Self> {
        let shared = Self::new(self.min.max(other.min), self.max.min(other.max));
        (shared.min <= shared.max).then_some(shared)
    }

    /// The highest version that both sides speak.
    pub fn pick(self, other: Self) -> Option<i16> {
        self.intersect(other).map(|shared| shared.max)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::VersionRange;

    #[test]
    fn the_highest_shared_version_is_picked() {
        let range = VersionRange::new;
        for (ours, theirs, picked) in [
            (range(3, 13), range(0, 7), Some(7)),
            (range(3, 13), range(13, 20), Some(13)),
            (range(3, 13), range(5, 6), Some(6)),
            (range(3, 13), range(0, 2), None),
            (range(3, 13), range(14, 15), None),
            // A peer that states an empty range offers nothing.
            (range(3, 13), range(9, 5), None),
        ] {
            assert_eq!(ours.pick(theirs), picked, "{ours} with {theirs}");
            assert_eq!(theirs.pick(ours), picked, "{theirs} with {ours}");
        }
    }
}
