//! What a broker said of itself in ApiVersions: which APIs it has, in which versions, and which
//! features the cluster has switched on. It sends nothing; it answers which version of an API both
//! sides speak.

use crate::protocol::messages::api_versions::ApiVersionsResponse;
use crate::protocol::{ApiKey, VersionRange};

/// A broker's APIs and features.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BrokerApis {
    /// By API key.
    versions: Vec<Option<VersionRange>>,
    /// The finalized features and their levels (KIP-584).
    features: Vec<(String, i16)>,
}

/// Kafka has about a hundred APIs; a key far above is not worth a table of its size.
const MAX_KEY: usize = 1024;

impl BrokerApis {
    pub(crate) fn new(response: &ApiVersionsResponse) -> Self {
        let mut versions = Vec::new();
        for api in &response.api_keys {
            let range = VersionRange::new(api.min_version, api.max_version);
            let key = usize::try_from(api.api_key).unwrap_or(usize::MAX);
            if key > MAX_KEY || range.min > range.max || range.min < 0 {
                continue;
            }
            if versions.len() <= key {
                versions.resize(key + 1, None);
            }
            if let Some(slot) = versions.get_mut(key) {
                *slot = Some(range);
            }
        }
        // An epoch of -1 says that the features are not known.
        let features = if response.finalized_features_epoch < 0 {
            Vec::new()
        } else {
            let features = response.finalized_features.iter();
            features.map(|feature| (feature.name.clone(), feature.max_version_level)).collect()
        };
        Self { versions, features }
    }

    /// The versions of an API that the broker has.
    pub(crate) fn range(&self, api: ApiKey) -> Option<VersionRange> {
        self.versions.get(usize::try_from(api.0).ok()?).copied().flatten()
    }

    /// The level of a feature that is switched on in the cluster.
    pub(crate) fn finalized_feature(&self, name: &str) -> Option<i16> {
        self.features.iter().find(|(known, _)| known == name).map(|(_, level)| *level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::messages::api_versions::{ApiVersion, FinalizedFeatureKey};

    fn api(api_key: i16, min_version: i16, max_version: i16) -> ApiVersion {
        ApiVersion { api_key, min_version, max_version }
    }

    #[test]
    fn nonsense_in_the_list_is_passed_over() {
        let apis = BrokerApis::new(&ApiVersionsResponse {
            api_keys: vec![api(-1, 0, 3), api(3, 5, 2), api(i16::MAX, 0, 1), api(0, 3, 9)],
            ..ApiVersionsResponse::default()
        });
        assert_eq!(apis.range(ApiKey::PRODUCE), Some(VersionRange::new(3, 9)));
        assert_eq!(apis.range(ApiKey::METADATA), None);
        assert_eq!(apis.range(ApiKey(i16::MAX)), None);
        assert_eq!(apis.range(ApiKey(-1)), None);
        assert!(apis.versions.len() <= MAX_KEY + 1);
    }

    #[test]
    fn features_count_only_with_an_epoch() {
        let feature = FinalizedFeatureKey {
            name: "transaction.version".to_owned(),
            max_version_level: 2,
            min_version_level: 1,
        };
        let mut response =
            ApiVersionsResponse { finalized_features: vec![feature], ..Default::default() };
        assert_eq!(BrokerApis::new(&response).finalized_feature("transaction.version"), None);
        response.finalized_features_epoch = 7;
        let apis = BrokerApis::new(&response);
        assert_eq!(apis.finalized_feature("transaction.version"), Some(2));
        assert_eq!(apis.finalized_feature("group.version"), None);
    }
}
