//! A process for one client, which is whoever started it: MCP on standard input and output, and no listener.

use crate::{
    catalog::view::Scope,
    config::Config,
    front::{Wait, stdio::Shown},
    gateway::{
        Gateway,
        threads::{asked_to_stop, runtime},
    },
    protocol::{
        call::Lane,
        stateless::{self, Envelope},
    },
    upstream::settings::{Era, Introduced},
    wire::message::Request,
};
use bytes::Bytes;
use std::{io::Cursor, sync::Arc};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::sync::CancellationToken;

/// What a gateway for one client is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To show these aliases, or all where there are none; a single one is shown under its own names.
    Show(Vec<String>),
    /// To be the way to the only upstream of its configuration, which is shown as it is.
    Bridge,
}

/// Serves standard input and output until the input ends or the process is told to stop.
pub fn stdio(mut config: Config, purpose: &Purpose) -> anyhow::Result<()> {
    let shown = shown(&mut config, purpose)?;
    for notice in &config.notices {
        tracing::info!("{notice}");
    }
    let runtime = runtime()?;
    let served: anyhow::Result<()> = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = stop.clone();
        tokio::spawn(async move {
            match asked_to_stop().await {
                Ok(()) => signals.cancel(),
                Err(error) => tracing::error!(%error, "signals cannot be heard"),
            }
        });
        let mut input = tokio::io::stdin();
        let mut begun = Vec::new();
        if *purpose == Purpose::Bridge {
            let line = first_line(&mut input, &mut begun, config.front.body_limit);
            if stop.run_until_cancelled(line).await.is_none() {
                return Ok(());
            }
            stand_for(&mut config, &begun);
        }
        let gateway = Gateway::start(config, 1, true)?;
        let front = gateway.front(Lane(0), stop);
        let served = front.converse(Cursor::new(begun).chain(input), tokio::io::stdout(), shown).await;
        gateway.close().await;
        Ok(served?)
    });
    // Whoever waits for the next line on standard input cannot be woken, and must not hold up the end.
    runtime.shutdown_background();
    tracing::info!("stopped");
    served
}

/// Reads until a line with something in it is over; what is too long is for who reads on to refuse.
async fn first_line(input: &mut (impl AsyncRead + Unpin), begun: &mut Vec<u8>, most: usize) {
    let is_whole = |begun: &[u8]| begun.trim_ascii_start().contains(&b'\n');
    while !is_whole(begun) && begun.len() <= most {
        // An error of what is read is its end.
        if let Ok(0) | Err(_) = input.read_buf(begun).await {
            return;
        }
    }
}

/// A bridge speaks to the other side as its only client speaks to it: in its era, so that nothing has to be translated
/// that need not be, and in its name.
fn stand_for(config: &mut Config, begun: &[u8]) {
    let line = begun.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let request = Request::parse(&Bytes::copy_from_slice(line));
    let params = request.and_then(|request| request.params());
    let introduced = stateless::read(params.as_ref()).ok().map(|Envelope { hello, .. }| {
        Arc::new(Introduced { capabilities: hello.capabilities, client_info: hello.client_info })
    });
    for alias in &mut config.aliases {
        if introduced.is_none() {
            alias.upstream.era = Era::HandshakeFirst;
        }
        alias.upstream.introduced.clone_from(&introduced);
    }
}

/// What the client sees; upstreams that it does not see are not started.
fn shown(config: &mut Config, purpose: &Purpose) -> anyhow::Result<Shown> {
    let only = |config: &Config| match config.aliases.as_slice() {
        [one] => Scope::One(one.alias.clone()),
        several => Scope::Some(several.iter().map(|alias| alias.alias.clone()).collect()),
    };
    match purpose {
        Purpose::Bridge => Ok(Shown { scope: only(config), wait: Wait::TheUpstream }),
        Purpose::Show(names) if names.is_empty() => Ok(Shown { scope: Scope::All, wait: Wait::AMoment }),
        Purpose::Show(names) => {
            let known: Vec<_> = config.aliases.iter().map(|alias| alias.alias.as_str()).collect();
            if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
                anyhow::bail!("there is no alias `{unknown}`; there are: {}", known.join(", "));
            }
            config.aliases.retain(|alias| names.iter().any(|name| name == alias.alias.as_str()));
            Ok(Shown { scope: only(config), wait: Wait::AMoment })
        }
    }
}
