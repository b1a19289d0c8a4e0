//! Ranges of versions, and the one that two sides share.

use std::fmt;

use super::api_key::ApiKey;
use super::messages::APIS;

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

/// The versions of an API for which there is a table here.
pub fn supported(api: ApiKey) -> Option<VersionRange> {
    APIS.iter().find(|known| known.key == api).map(|known| known.versions)
}
