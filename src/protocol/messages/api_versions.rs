//! ApiVersions (key 18): what a broker speaks, asked first on every connection.
//!
//! v3 is flexible in its body but not in the response's header, and adds features (KIP-584) and the
//! client's name (KIP-511); v4 allows features to begin at level 0.

use crate::error::ErrorCode;
use crate::protocol::message::messages;

messages! {
    API_VERSIONS: ApiVersionsRequest => ApiVersionsResponse, versions 0-4, flexible 3+;

    /// Asks a broker what APIs it has and in which versions.
    struct ApiVersionsRequest {
        client_software_name: String, 3+, ignorable;
        client_software_version: String, 3+, ignorable;
    }

    /// The APIs and features of a broker.
    struct ApiVersionsResponse {
        error_code: ErrorCode, 0+;
        api_keys: Vec<ApiVersion>, 0+;
        throttle_time_ms: i32, 1+, ignorable;
    }
    tagged {
        0 => supported_features: Vec<SupportedFeatureKey>, 3+, ignorable;
        1 => finalized_features_epoch: i64 = -1, 3+, ignorable;
        2 => finalized_features: Vec<FinalizedFeatureKey>, 3+, ignorable;
        3 => zk_migration_ready: bool, 3+, ignorable;
    }

    /// One API and its versions.
    struct ApiVersion {
        api_key: i16, 0+;
        min_version: i16, 0+;
        max_version: i16, 0+;
    }

    /// A feature that the broker could use.
    struct SupportedFeatureKey {
        name: String, 3+;
        min_version: i16, 3+;
        max_version: i16, 3+;
    }

    /// A feature that the cluster has switched on, with its level.
    struct FinalizedFeatureKey {
        name: String, 3+;
        max_version_level: i16, 3+;
        min_version_level: i16, 3+;
    }
}
