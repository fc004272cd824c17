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
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// After running out of file handles, accepting waits this long.
const EXHAUSTED: Duration = Duration::from_millis(100);

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
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(EXHAUSTED).await;
                    continue;
                }
            },
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            // Closing at once tells the client more than silence.
            tracing::warn!(most = settings.max_connections, "too many connections; one is refused");
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
