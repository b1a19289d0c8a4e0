//! The task that keeps the metadata fresh: waits until a fetch is due, asks a broker, hands in the
//! answer. Thin: when and what is decided by `metadata`, whom to ask by [`Core::any_node`].

use super::Core;
use super::metadata::Fetch;
use super::pool;
use crate::config::MetadataRecoveryStrategy;
use crate::error::{ClientError, ErrorCode};
use crate::protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use std::sync::Arc;

pub(super) async fn run(core: Arc<Core>) {
    loop {
        let fetch = core.metadata.begin().await;
        let answer = ask(&core, &fetch).await;
        match answer.and_then(|response| core.metadata.succeeded(&fetch, &response)) {
            Ok(()) => core.answered(),
            Err(error) => {
                let required = is_rebootstrap_required(&error);
                core.metadata.failed(&fetch, error);
                recover(&core, required);
            }
        }
    }
}

async fn ask(core: &Arc<Core>, fetch: &Fetch) -> Result<MetadataResponse, ClientError> {
    let node = core.any_node()?;
    core.metadata.asking(pool::peer(node.0, &node.1));
    let connection = core.pool.connect(node.0, &node.1).await?;
    let answer =
        connection.call::<MetadataRequest>(&fetch.request(), core.config.request_timeout());
    let response = answer.await?;
    if response.error_code.is_ok() {
        return Ok(response);
    }
    let (code, subject) = (response.error_code, Some(connection.peer().to_string().into()));
    Err(ClientError::Broker { code, api: "Metadata", subject, message: None })
}

/// Starts over from `bootstrap.servers` if the brokers ask for it (KIP-1102), if none of them can
/// be reached (KIP-899), or if nothing has come from them for too long (KIP-1102).
fn recover(core: &Core, required: bool) {
    if core.config.metadata_recovery_strategy() != MetadataRecoveryStrategy::Rebootstrap {
        return;
    }
    if required || core.is_cut_off() || core.metadata.is_hopeless() {
        core.rebootstrap();
    }
}

fn is_rebootstrap_required(error: &ClientError) -> bool {
    matches!(error, ClientError::Broker { code: ErrorCode::REBOOTSTRAP_REQUIRED, .. })
}
