//! The listening end that the fake upstream and the yardstick share: HTTP/1.1 on one thread.

use anyhow::Result;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, error::Error, future::Future, io::Write as _, net::SocketAddr};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};

/// Serves on a free port of loopback until standard input ends, and prints the address as its first line.
///
/// The runner holds the other end of standard input, so that nothing is left behind when it dies in whatever way.
pub(crate) async fn serve<H, F, B>(handler: H) -> Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    let (mut stdin, mut ignored) = (tokio::io::stdin(), [0; 64]);
    loop {
        tokio::select! {
            biased;
            read = stdin.read(&mut ignored) => if read? == 0 { return Ok(()) },
            accepted = listener.accept() => accept(accepted?.0, handler.clone()),
        }
    }
}

fn accept<H, F, B>(stream: TcpStream, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Without it answers wait for acknowledgements; a socket that refuses it fails soon enough by itself.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is noticed by the client, which counts it.
    tokio::spawn(async move { drop(connection.await) });
}
