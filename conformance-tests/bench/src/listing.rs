//! `tools/list` while upstreams fail: it must neither wait for them nor ask them.

use crate::{
    client::{Client, Target, Wrong, fetch},
    load::{histogram, micros, nanos},
    upstream::{COUNTS, Counts},
};
use anyhow::{Result, bail};
use hyper::Method;
use serde::Serialize;
use std::{net::SocketAddr, time::Duration};
use tokio::time::Instant;

/// How `tools/list` did in one situation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What the upstreams did meanwhile.
    pub(crate) situation: &'static str,
    /// How many tools were listed, each time.
    pub(crate) tools: usize,
    /// How often.
    pub(crate) lists: u64,
    /// The median, in microseconds.
    pub(crate) p50_us: f64,
    /// 99 of 100 lists came within this time, in microseconds.
    pub(crate) p99_us: f64,
    /// All of them did.
    pub(crate) max_us: f64,
    /// What the upstreams that can still count were asked meanwhile.
    pub(crate) upstream_requests: Counts,
    /// The same for each list; what the gateway asks by itself, such as pings, is in it.
    pub(crate) upstream_requests_per_list: f64,
}

/// Lists again and again with one client, and counts what that asks of the upstreams.
pub(crate) async fn run(
    situation: &'static str,
    target: &Target,
    tools: usize,
    time: Duration,
    upstreams: &[SocketAddr],
) -> Result<Row> {
    let mut client = Client::open(target, 0).await?;
    let (mut times, before, began) = (histogram()?, counts(upstreams).await?, Instant::now());
    while began.elapsed() < time {
        match client.list().await {
            Ok((found, took)) if found == tools => times.record(nanos(took))?,
            Ok((found, _)) => bail!("{situation}: {found} tools were listed in place of {tools}"),
            Err(Wrong::Failed(text) | Wrong::Mismatch(text)) => bail!("{situation}: {text}"),
        }
    }
    let upstream_requests = counts(upstreams).await?.since(&before);
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than a float counts exactly")]
    let upstream_requests_per_list = upstream_requests.total() as f64 / times.len().max(1) as f64;
    Ok(Row {
        situation,
        tools,
        lists: times.len(),
        p50_us: micros(&times, 0.5),
        p99_us: micros(&times, 0.99),
        max_us: micros(&times, 1.0),
        upstream_requests,
        upstream_requests_per_list,
    })
}

async fn counts(upstreams: &[SocketAddr]) -> Result<Counts> {
    let mut sum = Counts::default();
    for upstream in upstreams {
        sum.add(serde_json::from_slice(&fetch(Method::GET, *upstream, COUNTS, None).await?)?);
    }
    Ok(sum)
}
