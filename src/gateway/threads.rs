//! A process: one thread and runtime for each core, and one for the control plane.
//!
//! A call stays on the thread that accepted its connection; hand-overs between cores cost more than the gateway.

use crate::{
    config::Config,
    gateway::{Gateway, is_local},
    protocol::call::Lane,
};
use anyhow::Context as _;
use std::{
    net::{TcpListener, ToSocketAddrs as _},
    sync::Arc,
    thread,
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// More threads than this serve no LAN better.
const MOST_THREADS: usize = 16;

/// Runs a gateway until the process is told to stop.
pub fn serve(config: Config) -> anyhow::Result<()> {
    let listener = bind(&config.listen)?;
    let address = listener.local_addr()?;
    let is_keyless = config.policy.is_keyless();
    // The configuration judged the name; what it stands for is known only now.
    anyhow::ensure!(
        !is_keyless || is_local(&address),
        "{address} can be reached from other machines, and no key is configured: set `master_key`, or listen on 127.0.0.1"
    );
    for notice in &config.notices {
        tracing::info!("{notice}");
    }
    let lanes = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let control = runtime()?;
    let gateway = control.block_on(async { Gateway::start(config, lanes, is_local(&address)) })?;
    let gateway = Arc::new(gateway);
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for lane in 0..lanes {
        let (listener, gateway, stop) = (listener.try_clone()?, gateway.clone(), stop.clone());
        let worker = thread::Builder::new().name(format!("lane-{lane}"));
        workers.push(worker.spawn(move || runtime()?.block_on(gateway.listen(listener, Lane(lane), stop)))?);
    }
    drop(listener);
    if is_keyless {
        tracing::warn!(
            "no key is configured: everybody on this machine, and nobody else, may use this gateway"
        );
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), lanes, "listening on http://{address}/mcp");
    control.block_on(asked_to_stop())?;
    tracing::info!(grace_ms = gateway.grace().as_millis(), "stopping: calls under way may end");
    stop.cancel();
    for worker in workers {
        // The control plane runs on meanwhile: calls may need their upstreams opened.
        let ended = control.block_on(async { tokio::task::spawn_blocking(move || worker.join()).await });
        if let Ok(Ok(Err(error))) = ended {
            tracing::error!(%error, "a thread ended with an error");
        }
    }
    if let Some(gateway) = Arc::into_inner(gateway) {
        control.block_on(gateway.close());
    }
    tracing::info!("stopped");
    Ok(())
}

/// Binds, and says what is in the way.
fn bind((host, port): &(String, u16)) -> anyhow::Result<TcpListener> {
    let addresses: Vec<_> = (host.as_str(), *port)
        .to_socket_addrs()
        .with_context(|| format!("`{host}` is no address to listen on"))?
        .collect();
    TcpListener::bind(addresses.as_slice()).with_context(|| {
        format!(
            "cannot listen on {host}:{port}; is another gateway running there? (choose another with --port)"
        )
    })
}

/// A runtime on one thread.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Waits for the signal to stop.
pub(super) async fn asked_to_stop() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
