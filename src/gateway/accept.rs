//! Accepts connections and serves HTTP on them, within bounds, until it is told to stop.

use crate::front::Front;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{net::TcpListener, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener as TokioListener,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// After running out of file handles, accepting waits this long.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What goes wrong with every connection is said this often at most.
const QUIET: Duration = Duration::from_secs(1);

/// Says when a line may be logged again, and how many were not since the last one.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    kept_back: usize,
}

/// Serves until `stop`, then waits for open requests, at most for `grace`.
pub(super) async fn run(
    front: Front,
    listener: TcpListener,
    stop: CancellationToken,
    grace: Duration,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TokioListener::from_std(listener)?;
    let settings = front.settings().clone();
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let service = TowerToHyperService::new(front.router());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(settings.header_timeout);
    let graceful = GracefulShutdown::new();
    let (mut failed, mut refused) = (Pace::default(), Pace::default());
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if let Some(kept_back) = failed.next() {
                        tracing::warn!(%error, kept_back, "a connection could not be accepted");
                    }
                    sleep(EXHAUSTED).await;
                    continue;
                }
            },
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            // Closing at once tells the client more than silence.
            if let Some(kept_back) = refused.next() {
                let most = settings.max_connections;
                tracing::warn!(most, kept_back, "too many connections; one is refused");
            }
            continue;
        };
        // Answers are small and whole; waiting for more to send would only cost time.
        let _ = stream.set_nodelay(true);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
        tokio::spawn(async move {
            // A client that breaks its connection concerns nobody else.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended with an error");
            }
            drop(place);
        });
    }
    drop(listener);
    if timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(grace_ms = grace.as_millis(), "calls were cut off when the gateway stopped");
    }
    Ok(())
}

// === impl Pace ===

impl Pace {
    /// `None` if it is too early for another line; else how many were kept back.
    fn next(&mut self) -> Option<usize> {
        if self.last.is_some_and(|last| last.elapsed() < QUIET) {
            self.kept_back += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::{EXHAUSTED, Pace};
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_line_a_second() {
        let (mut pace, mut said) = (Pace::default(), Vec::new());
        for _ in 0..25 {
            said.extend(pace.next());
            advance(EXHAUSTED).await;
        }
        assert_eq!(said, [0, 9, 9]);
    }
}
