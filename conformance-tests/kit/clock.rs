//! Waiting with a bound, and time that passes at once.

use std::{future::Future, time::Duration};
use tokio::time::{advance, pause, resume, sleep, timeout};

/// Longer than anything takes on the slowest machine: reached only by what hangs.
const BOUND: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(2);

/// The future's value; a test that hangs ends here and says at what.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let Ok(value) = timeout(BOUND, future).await else { panic!("waited in vain for: {what}") };
    value
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    within(what, async {
        while !holds() {
            sleep(LOOK).await;
        }
    })
    .await;
}

/// Lets time pass for all timers of this runtime, without waiting for it.
pub(crate) async fn skip(duration: Duration) {
    pause();
    advance(duration).await;
    resume();
}
