//! The runner: starts everything, measures it in turn, and ends everything.

use crate::{
    client::{Client, fetch},
    compare::{self, Measured, median},
    gateway::Gateway,
    listing,
    load::Plan,
    process::{self, Memory, Process, load_average},
    report,
    upstream::HANG,
};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use hyper::Method;
use serde::Serialize;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use tokio::time::sleep;

/// What to measure, and how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// The gateway's program, built for release.
    #[arg(long)]
    pub(crate) gateway: PathBuf,
    /// Rounds; in each every target has its turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    /// How long each turn is measured.
    #[arg(long, default_value_t = 1.5, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// How long each turn runs before that.
    #[arg(long, default_value_t = 0.4, value_parser = seconds)]
    pub(crate) warm_up: f64,
    /// A turn ends early after so many calls.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) calls: u64,
    /// Numbers of clients at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    pub(crate) clients: Vec<usize>,
    /// The length of the echoed text.
    #[arg(long, default_value_t = 64)]
    pub(crate) bytes: usize,
    /// How often the gateway is started for the start-up time.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) starts: u16,
    /// Pin everything to this CPU.
    #[arg(long)]
    pub(crate) pin: Option<usize>,
    /// The fake upstreams hand out no session ids.
    #[arg(long)]
    pub(crate) no_session: bool,
    /// Write the JSON there and not after the table.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Fail when a figure is beyond its limit.
    #[arg(long)]
    pub(crate) check: bool,
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    /// The load of the machine before and after.
    pub(crate) load_average: (String, String),
    /// The CPU that everything was pinned to.
    pub(crate) pinned: Option<usize>,
    /// Whether the upstreams kept sessions.
    pub(crate) upstream_sessions: bool,
    /// The length of the echoed text.
    pub(crate) bytes: usize,
    /// From the start of the process to the first answer on `/health`, in milliseconds, sorted.
    pub(crate) start_ms: Vec<f64>,
    /// The median of that.
    pub(crate) start_median_ms: f64,
    /// With five upstreams ready and no client.
    pub(crate) idle: Memory,
    /// After all the load.
    pub(crate) loaded: Memory,
    /// `tools/call`.
    pub(crate) calls: Vec<compare::Row>,
    /// `tools/list`.
    pub(crate) lists: Vec<listing::Row>,
}

/// The five upstreams and how many tools each has: 91 together, as the plan's five real ones have.
const UPSTREAMS: [(&str, usize); 5] = [("one", 19), ("two", 18), ("three", 18), ("four", 18), ("five", 18)];
/// How long the gateway is left alone before its memory is read.
const REST: Duration = Duration::from_secs(2);

/// A fake upstream that runs.
struct Upstream {
    alias: &'static str,
    tools: usize,
    address: SocketAddr,
    process: Process,
}

/// Measures everything and prints it.
pub(crate) async fn run(settings: Settings) -> Result<()> {
    let load_before = load_average();
    let mut upstreams = Vec::new();
    for (alias, tools) in UPSTREAMS {
        upstreams.push(Upstream::start(alias, tools, settings.no_session, false)?);
    }
    let places: Vec<_> = upstreams.iter().map(|upstream| (upstream.alias, upstream.address)).collect();

    let start_ms = starts(&settings, &places).await?;
    let gateway = Gateway::start(&settings.gateway, &places)?;
    gateway.healthy().await?;
    for (alias, _) in &places {
        gateway.wait_until(alias, "ready").await?;
    }
    sleep(REST).await;
    let idle = process::memory(gateway.pid())?;
    let calls = calls(&settings, &upstreams[0], &gateway).await?;
    sleep(REST).await;
    let loaded = process::memory(gateway.pid())?;
    let time = Duration::from_secs_f64(settings.seconds);
    let lists = lists(&settings, &gateway, upstreams, time).await?;
    drop(gateway);

    let figures = Figures {
        load_average: (load_before, load_average()),
        pinned: settings.pin,
        upstream_sessions: !settings.no_session,
        bytes: settings.bytes,
        start_median_ms: median(start_ms.iter().copied()),
        start_ms,
        idle,
        loaded,
        calls,
        lists,
    };
    report::print(&figures, settings.json.as_deref())?;
    let missed = report::missed(&figures);
    if figures.calls.iter().any(|row| row.errors + row.mismatches > 0) {
        bail!("some answers were wrong");
    }
    if settings.check && !missed.is_empty() {
        bail!("beyond the limit: {}", missed.join(", "));
    }
    Ok(())
}

/// The time from start to health of several gateways, sorted, in milliseconds.
async fn starts(settings: &Settings, places: &[(&str, SocketAddr)]) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..settings.starts {
        let gateway = Gateway::start(&settings.gateway, places)?;
        times.push(gateway.healthy().await?.as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// The load on the bare upstream, the yardstick and the gateway.
async fn calls(settings: &Settings, upstream: &Upstream, gateway: &Gateway) -> Result<Vec<compare::Row>> {
    let arguments = ["noop".into(), format!("--upstream={}", upstream.address)];
    let (noop, noop_address) = Process::helper(&arguments)?;
    let through = gateway.target(upstream.alias);
    let mut direct = through.clone();
    (direct.name, direct.address, direct.key, direct.tool) =
        ("direct".into(), upstream.address, None, "echo".into());
    let mut yardstick = direct.clone();
    (yardstick.name, yardstick.address, yardstick.tool) = ("noop".into(), noop_address, "up_echo".into());
    let targets = [
        Measured { target: direct, pid: upstream.process.pid() },
        Measured { target: yardstick, pid: noop.pid() },
        Measured { target: through, pid: gateway.pid() },
    ];
    let mut rows = Vec::new();
    for &clients in &settings.clients {
        let plan = Plan {
            clients,
            warm_up: Duration::from_secs_f64(settings.warm_up),
            measure: Duration::from_secs_f64(settings.seconds),
            most_calls: settings.calls,
            bytes: settings.bytes,
        };
        rows.extend(compare::run(&targets, settings.rounds.into(), plan).await?);
    }
    Ok(rows)
}

/// `tools/list` with all upstreams well; with one that hangs and one that is gone; and with both so from the start.
async fn lists(
    settings: &Settings,
    gateway: &Gateway,
    mut upstreams: Vec<Upstream>,
    time: Duration,
) -> Result<Vec<listing::Row>> {
    let all = upstreams.iter().map(|upstream| upstream.tools).sum();
    let target = gateway.target(upstreams[0].alias);
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let well = listing::run("all upstreams are well", &target, all, time, &addresses).await?;

    let gone = upstreams.pop().context("there are five")?;
    let gone_place = (gone.alias, gone.address);
    drop(gone.process);
    let hanging = &upstreams[3];
    fetch(Method::POST, hanging.address, HANG, None).await?;
    // One call each, so that the gateway notices; the one to the hanging upstream is under way all the time.
    let mut waiting = Client::open(&gateway.target(hanging.alias), 1).await?;
    let bytes = settings.bytes;
    let under_way = tokio::spawn(async move { drop(waiting.call(bytes).await) });
    if Client::open(&gateway.target(gone_place.0), 2).await?.call(bytes).await.is_ok() {
        bail!("an upstream that is gone answered");
    }
    gateway.wait_until(gone_place.0, "down").await?;
    let still = &addresses[..4];
    let failing = listing::run("one hangs within a call, one is down", &target, all, time, still).await?;
    under_way.abort();

    // The same from the start: what is there is listed at once.
    let silent = Upstream::start("four", 18, settings.no_session, true)?;
    upstreams.truncate(3);
    let known = upstreams.iter().map(|upstream| upstream.tools).sum();
    let mut places: Vec<_> = upstreams.iter().map(|upstream| (upstream.alias, upstream.address)).collect();
    places.extend([(silent.alias, silent.address), gone_place]);
    let addresses: Vec<_> = places[..4].iter().map(|(_, address)| *address).collect();
    let fresh = Gateway::start(&settings.gateway, &places)?;
    fresh.healthy().await?;
    for upstream in &upstreams {
        fresh.wait_until(upstream.alias, "ready").await?;
    }
    let target = fresh.target("one");
    let never = listing::run("one never answered, one never was there", &target, known, time, &addresses);
    Ok(vec![well, failing, never.await?])
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected seconds, such as 1.5".to_owned())?;
    if (0.01..=600.0).contains(&seconds) { Ok(seconds) } else { Err("expected 0.01 to 600".into()) }
}

// === impl Upstream ===

impl Upstream {
    fn start(alias: &'static str, tools: usize, no_session: bool, hangs: bool) -> Result<Self> {
        let mut arguments = vec!["upstream".into(), format!("--tools={tools}")];
        arguments.extend(no_session.then(|| "--no-session".into()));
        arguments.extend(hangs.then(|| "--hang".into()));
        let (process, address) = Process::helper(&arguments)?;
        Ok(Self { alias, tools, address, process })
    }
}
