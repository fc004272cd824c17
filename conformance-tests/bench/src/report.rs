//! The figures for people, as Markdown, and for programs, as JSON.

use crate::figures::Figures;
use anyhow::Result;
use std::{fmt::Write as _, fs, path::Path};

/// The clients at once for which the limit of CPU time holds.
const CLIENTS: usize = 16;
/// The most CPU time for each call, in microseconds.
const CPU_US: f64 = 40.0;
/// The most memory with five upstreams and no client, in MiB.
const IDLE_MIB: f64 = 30.0;
/// The most time from the start to the first answer on `/health`, in milliseconds.
const START_MS: f64 = 200.0;
/// A list that asked an upstream would add one request at least; the gateway's own pings and attempts add a few in all.
const ASKED: f64 = 0.01;

/// One figure that has a limit.
struct Limited {
    what: &'static str,
    found: f64,
    most: f64,
    unit: &'static str,
}

/// Prints the tables, and the JSON after them or to a file.
pub(crate) fn print(figures: &Figures, file: Option<&Path>) -> Result<()> {
    print!("{}", markdown(figures)?);
    let json = serde_json::to_string_pretty(figures)?;
    match file {
        Some(file) => fs::write(file, json + "\n")?,
        None => println!("\n```json\n{json}\n```"),
    }
    Ok(())
}

/// The figures that are beyond their limits.
pub(crate) fn missed(figures: &Figures) -> Vec<&'static str> {
    limited(figures).iter().filter(|one| one.found > one.most).map(|one| one.what).collect()
}

fn limited(figures: &Figures) -> Vec<Limited> {
    let row = figures.calls.iter().find(|row| row.target == "gateway" && row.clients == CLIENTS);
    let cpu = row.map(|row| Limited {
        what: "CPU time of a call at 16 clients",
        found: row.cpu_us,
        most: CPU_US,
        unit: "us",
    });
    let asked = figures.lists.iter().map(|row| row.upstream_requests_per_list);
    let mut limited: Vec<_> = cpu.into_iter().collect();
    limited.extend([
        Limited {
            what: "memory with five idle upstreams",
            found: figures.idle.rss,
            most: IDLE_MIB,
            unit: "MiB",
        },
        Limited {
            what: "slowest start to first answer on /health",
            found: figures.start_ms.last().copied().unwrap_or_default(),
            most: START_MS,
            unit: "ms",
        },
        Limited {
            what: "upstream requests for each tools/list",
            found: asked.fold(0.0, f64::max),
            most: ASKED,
            unit: "",
        },
    ]);
    limited
}

fn markdown(figures: &Figures) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let (before, after) = &figures.load_average;
    let pinned = figures.pinned.map_or("not pinned".into(), |cpu| format!("all pinned to CPU {cpu}"));
    let sessions = if figures.upstream_sessions { "with" } else { "without" };
    writeln!(
        text,
        "Load average before: {before}; after: {after}; {pinned}; upstreams {sessions} sessions.\n"
    )?;
    writeln!(text, "| figure | found | limit | |\n|---|---|---|---|")?;
    for Limited { what, found, most, unit } in limited(figures) {
        let digits = if most < 1.0 { 4 } else { 1 };
        let verdict = if found > most { "**beyond**" } else { "ok" };
        writeln!(text, "| {what} | {found:.digits$} {unit} | {most} {unit} | {verdict} |")?;
    }
    writeln!(
        text,
        "\nStart to `/health`: median {:.1} ms of {} starts. Memory: idle {:.1} MiB ({:.1} anonymous), after the load {:.1} MiB ({:.1} anonymous).",
        figures.start_median_ms,
        figures.start_ms.len(),
        figures.idle.rss,
        figures.idle.anonymous,
        figures.loaded.rss,
        figures.loaded.anonymous
    )?;
    writeln!(text, "\n`tools/call` echo, {} bytes; medians, ratios within a round:\n", figures.bytes)?;
    writeln!(
        text,
        "| clients | target | CPU us/call | least to most | x noop | calls/s | x direct | p50 us | added p50 us | p99 us | calls | errors | mismatches |"
    )?;
    writeln!(text, "|{}", "---|".repeat(13))?;
    for row in &figures.calls {
        let (least, most) = row.cpu_us_range;
        write!(text, "| {} | {} | {:.1} | {least:.1} to {most:.1} ", row.clients, row.target, row.cpu_us)?;
        write!(text, "| {:.2} | {:.0} ", row.cpu_of_noop, row.calls_per_second)?;
        write!(text, "| {:.2} | {:.0} | {:+.0} ", row.speed_of_direct, row.p50_us, row.added_p50_us)?;
        writeln!(text, "| {:.0} | {} | {} | {} |", row.p99_us, row.calls, row.errors, row.mismatches)?;
    }
    writeln!(text, "\n`tools/list`, one client:\n")?;
    writeln!(text, "| upstreams | tools | lists | p50 us | p99 us | max us | requests that upstreams got |")?;
    writeln!(text, "|{}", "---|".repeat(7))?;
    for row in &figures.lists {
        write!(text, "| {} | {} | {} ", row.situation, row.tools, row.lists)?;
        write!(text, "| {:.0} | {:.0} | {:.0} ", row.p50_us, row.p99_us, row.max_us)?;
        let counts = &row.upstream_requests;
        let kinds = format!(
            "initialize {}, tools/list {}, tools/call {}, other {}",
            counts.initialize, counts.list, counts.call, counts.other
        );
        writeln!(text, "| {} ({kinds}) |", counts.total())?;
    }
    Ok(text)
}
