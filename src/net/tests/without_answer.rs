//! Requests that are not answered: a send ends when its bytes are written, or when they could not
//! be in time.

use super::*;
use futures_util::FutureExt;

#[tokio::test(start_paused = true)]
async fn a_send_ends_when_it_is_written() {
    let (connection, mut broker) = connected(&settings(), 64).await;
    let version = connection.version_up_to::<ProduceRequest>(9).unwrap();
    let mut send = connection.send_at(&produce(Bytes::from(vec![1; 1000])), version, TIMEOUT);
    let call = connection.call(&metadata(), TIMEOUT);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The stream holds 64 bytes, so it cannot have been written.
    assert!((&mut send).now_or_never().is_none());
    assert_eq!(broker.expect().await.api, ApiKey::PRODUCE);
    send.await.unwrap();
    let request = broker.expect().await;
    broker.answer(&request, &numbered(5)).await;
    assert_eq!(controller(call.await), 5);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_cannot_be_written_times_out() {
    let (connection, _broker) = connected(&settings(), 64).await;
    let version = connection.version_up_to::<ProduceRequest>(9).unwrap();
    let records = Bytes::from(vec![1; 1000]);
    let error = connection.send_at(&produce(records), version, TIMEOUT).await.unwrap_err();
    assert!(matches!(error, ClientError::RequestTimeout { maybe_written: true, .. }), "{error:?}");
}
