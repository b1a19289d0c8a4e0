//! ApiVersions: what this broker serves, and who the client says it is.

use super::{Answer, Context, Handle, SERVED};
use crate::broker::events::Event;
use crate::broker::state::State;
use crate::error::ErrorCode;
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use crate::protocol::{ApiKey, Message, VersionRange};
use crate::types::TopicPartition;

/// `ApiKeys.PRODUCE_API_VERSIONS_RESPONSE_MIN_VERSION`: brokers since 4.0 advertise Produce from 0 though they serve it
/// from 3, since librdkafka otherwise believes that they know no compression.
const PRODUCE_ADVERTISED_FROM: i16 = 0;
/// From this version on features may begin at level 0.
const LEVEL_0_FROM: i16 = 4;
/// The feature that stands for the new group protocol (KIP-848), and its highest level.
const GROUP_VERSION: (&str, i16) = ("group.version", 1);
/// The feature whose level 2 stands for the new transaction protocol (KIP-890).
const TRANSACTION_VERSION: (&str, i16) = ("transaction.version", 2);

impl Handle for ApiVersionsRequest {
    async fn handle(self, cx: &Context<'_>) -> Answer<ApiVersionsResponse> {
        let checked = cx.apply(None, || {
            let names = [&self.client_software_name, &self.client_software_version];
            let legal = cx.version < 3 || names.iter().all(|name| is_software_name(name));
            if legal { Ok(()) } else { Err(ErrorCode::INVALID_REQUEST) }
        });
        if let Err(error_code) = checked {
            return Answer::Respond(ApiVersionsResponse { error_code, ..Default::default() });
        }
        let identified = Event::ClientIdentified {
            node: cx.node,
            client_id: cx.client_id.map(str::to_owned),
            software_name: self.client_software_name,
            software_version: self.client_software_version,
        };
        cx.shared.with(|state| state.events.push(identified));
        Answer::Respond(ApiVersionsResponse {
            api_keys: SERVED.iter().copied().map(advertised).collect(),
            supported_features: supported_features(cx.version),
            finalized_features_epoch: 0,
            finalized_features: cx.shared.with(|state| finalized_features(state)),
            ..Default::default()
        })
    }

    fn names(&self, _: &State, _: &TopicPartition) -> bool {
        false
    }
}

/// As in Kafka, a feature that begins at level 0 is not told to clients that do not know such.
fn supported_features(version: i16) -> Vec<SupportedFeatureKey> {
    if version < LEVEL_0_FROM {
        return Vec::new();
    }
    let supported = |(name, max_version): (&str, i16)| SupportedFeatureKey {
        name: name.to_owned(),
        min_version: 0,
        max_version,
    };
    [GROUP_VERSION, TRANSACTION_VERSION].map(supported).into()
}

/// A feature at level 0 is not there.
fn finalized_features(state: &State) -> Vec<FinalizedFeatureKey> {
    let levels = [
        (GROUP_VERSION.0, GROUP_VERSION.1),
        (TRANSACTION_VERSION.0, state.transactions.settings.version),
    ];
    let finalized = |(name, level): (&str, i16)| FinalizedFeatureKey {
        name: name.to_owned(),
        max_version_level: level,
        min_version_level: level,
    };
    levels.into_iter().filter(|&(_, level)| level > 0).map(finalized).collect()
}

fn advertised((api, versions): (ApiKey, VersionRange)) -> ApiVersion {
    let min = if api == ApiKey::PRODUCE { PRODUCE_ADVERTISED_FROM } else { versions.min };
    ApiVersion { api_key: api.0, min_version: min, max_version: versions.max }
}

/// The answer to a version that is not served, itself in version 0.
pub(super) fn unsupported_version() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: vec![advertised((ApiKey::API_VERSIONS, ApiVersionsRequest::VERSIONS))],
        ..Default::default()
    }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`, from KIP-511.
fn is_software_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let ends = [name.bytes().next(), name.bytes().last()];
    name.bytes().all(inner) && ends.iter().all(|end| end.is_some_and(|b| b.is_ascii_alphanumeric()))
}
