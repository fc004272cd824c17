//! The yardstick: a proxy on hyper that does nothing but take a prefix off the tool's name.
//!
//! A gateway on hyper can hardly be cheaper; what it costs beyond this is its own.

use crate::serve::serve;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_LENGTH, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::net::TcpStream;

/// The yardstick.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Where the upstream listens.
    #[arg(long)]
    pub(crate) upstream: SocketAddr,
    /// What is taken off the beginning of a tool's name.
    #[arg(long, default_value = "up_")]
    pub(crate) strip: String,
}

struct Proxy {
    settings: Settings,
    host: HeaderValue,
    /// Connections that were used before; those with an answer still on its way are not ready.
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    method: &'a str,
    #[serde(borrow, default)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
}

/// Runs until standard input ends.
pub(crate) async fn run(settings: Settings) -> Result<()> {
    let host = HeaderValue::from_str(&settings.upstream.to_string())?;
    let proxy = Arc::new(Proxy { settings, host, idle: Mutex::default() });
    serve(move |request| {
        let proxy = proxy.clone();
        async move {
            proxy.pass(request).await.unwrap_or_else(|error| {
                let mut response = Response::new(Either::Right(Full::from(error.to_string())));
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                response
            })
        }
    })
    .await
}

// === impl Proxy ===

impl Proxy {
    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Either<Incoming, Full<Bytes>>>> {
        let (mut parts, body) = request.into_parts();
        let body = self.rename(body.collect().await?.to_bytes());
        parts.headers.insert(HOST, self.host.clone());
        // hyper writes the right one.
        parts.headers.remove(CONTENT_LENGTH);
        let mut sender = self.connection().await?;
        let response = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
        self.idle().push(sender);
        Ok(response.map(Either::Left))
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>> {
        let idle = {
            let mut idle = self.idle();
            idle.retain(|sender| !sender.is_closed());
            idle.iter().rposition(SendRequest::is_ready).map(|at| idle.swap_remove(at))
        };
        if let Some(sender) = idle {
            return Ok(sender);
        }
        let stream = TcpStream::connect(self.settings.upstream).await.context("the upstream is not there")?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Whoever uses the connection gets the error.
        tokio::spawn(async move { drop(connection.await) });
        sender.ready().await?;
        Ok(sender)
    }

    /// The body without the prefix of the tool's name; every other byte stays.
    fn rename(&self, body: Bytes) -> Bytes {
        let prefix = self.settings.strip.as_str();
        let name = serde_json::from_slice::<Message<'_>>(&body)
            .ok()
            .filter(|message| message.method == "tools/call")
            .and_then(|message| message.params?.name);
        let Some(name) = name.filter(|name| name.get()[1..].starts_with(prefix)) else { return body };
        let at = name.get().as_ptr().addr() - body.as_ptr().addr() + 1;
        let mut renamed = Vec::with_capacity(body.len());
        renamed.extend_from_slice(&body[..at]);
        renamed.extend_from_slice(&body[at + prefix.len()..]);
        renamed.into()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        // No code that holds the lock can panic.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
