//! The application's word that the loop is to end, heard between steps and while it waits.

use std::pin::Pin;

use futures_util::FutureExt;

use crate::time::Duration;

/// It waits for the application's word to stop. Once that is heard, it always is.
pub(super) struct Stop<'a, S> {
    pub(super) signal: Pin<&'a mut S>,
    pub(super) heard: bool,
}

impl<S: Future<Output = ()>> Stop<'_, S> {
    pub(super) async fn wait(&mut self) {
        if !self.heard {
            self.signal.as_mut().await;
            self.heard = true;
        }
    }

    pub(super) fn check(&mut self) {
        let _ = self.wait().now_or_never();
    }

    /// At most until it is to stop.
    pub(super) async fn sleep(&mut self, time: Duration) {
        // In both cases it is over.
        let _ = tokio::time::timeout(time, self.wait()).await;
    }
}
