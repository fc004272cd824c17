//! Waiting with a bound, and time that passes at once.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, SystemTime},
};
use tokio::time::{advance, pause, resume, sleep, timeout};

/// Longer than anything takes on the slowest machine: reached only by what hangs.
const BOUND: Duration = Duration::from_secs(20);
const WATCH: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(2);

/// The future's value; a test that hangs ends here and says at what.
///
/// By the machine's own clock, so that skipped time does not count.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let (began, mut future) = (SystemTime::now(), pin!(future));
    loop {
        if let Ok(value) = timeout(WATCH, &mut future).await {
            return value;
        }
        assert!(began.elapsed().unwrap_or_default() < BOUND, "waited in vain for: {what}");
    }
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
