//! The task that keeps the metadata fresh: waits until a fetch is due, asks a broker, hands in the
//! answer. Thin: when and what is decided by `metadata`, whom to ask by [`Core::connect_any`].

use super::Core;
use super::metadata::Fetch;
use crate::config::MetadataRecoveryStrategy;
use crate::error::{ClientError, ErrorCode};
use crate::net::Connection;
use crate::protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use std::sync::Arc;

pub(super) async fn run(core: Arc<Core>) {
    loop {
        let fetch = core.metadata.begin().await;
        match carry_out(&core, &fetch).await {
            Ok(()) => core.answered(),
            Err(Failure { error, lost }) => {
                core.metadata.failed(&fetch, error);
                recover(&core, lost);
            }
        }
    }
}

struct Failure {
    error: ClientError,
    /// Whether the known brokers are no good any more.
    lost: bool,
}

async fn carry_out(core: &Core, fetch: &Fetch) -> Result<(), Failure> {
    // An error says that no broker can be reached.
    let connection = core
        .connect_any(|peer| core.metadata.asking(peer))
        .await
        .map_err(|error| Failure { error, lost: true })?;
    let answer = ask(core, &connection, fetch).await;
    answer.and_then(|response| core.metadata.succeeded(fetch, &response)).map_err(|error| {
        let lost = is_rebootstrap_required(&error) || core.is_cut_off();
        Failure { error, lost }
    })
}

async fn ask(
    core: &Core,
    connection: &Connection,
    fetch: &Fetch,
) -> Result<MetadataResponse, ClientError> {
    let version = connection.version::<MetadataRequest>()?;
    let request = fetch.request(version);
    let timeout = core.config.request_timeout();
    let response = connection.call_at(&request, version, timeout).await?;
    if response.error_code.is_ok() {
        return Ok(response);
    }
    let (code, subject) = (response.error_code, Some(connection.peer().to_string().into()));
    Err(ClientError::Broker { code, api: "Metadata", subject, message: None })
}

/// Starts over from `bootstrap.servers` if the brokers ask for it (KIP-1102), if none of them can
/// be reached (KIP-899), or if nothing has come from them for too long (KIP-1102).
fn recover(core: &Core, lost: bool) {
    let strategy = core.config.metadata_recovery_strategy();
    if strategy == MetadataRecoveryStrategy::Rebootstrap && (lost || core.metadata.is_hopeless()) {
        core.rebootstrap();
    }
}

fn is_rebootstrap_required(error: &ClientError) -> bool {
    matches!(error, ClientError::Broker { code: ErrorCode::REBOOTSTRAP_REQUIRED, .. })
}
