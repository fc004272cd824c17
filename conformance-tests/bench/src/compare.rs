//! The same load on several targets in turn, again and again; ratios are taken within a round.
//!
//! What else the machine does changes from minute to minute; neighbours in time have most of it in common.

use crate::{
    client::Target,
    load::{self, Outcome, Plan},
};
use anyhow::Result;
use serde::Serialize;

/// A target and the process that is behind it.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// What is loaded.
    pub(crate) target: Target,
    /// Whose CPU time is counted.
    pub(crate) pid: u32,
}

/// The medians of one target.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The target.
    pub(crate) target: String,
    /// Clients at once.
    pub(crate) clients: usize,
    /// CPU time for each call, in microseconds.
    pub(crate) cpu_us: f64,
    /// The least and the most CPU time for each call of all rounds.
    pub(crate) cpu_us_range: (f64, f64),
    /// CPU time in parts of that of the second target, the yardstick.
    pub(crate) cpu_of_noop: f64,
    /// Right answers in a second.
    pub(crate) calls_per_second: f64,
    /// The same in parts of the first target's, the bare upstream.
    pub(crate) speed_of_direct: f64,
    /// The median of the time to the answer, in microseconds.
    pub(crate) p50_us: f64,
    /// What that is above the first target's.
    pub(crate) added_p50_us: f64,
    /// 99 of 100 answers came within this time, in microseconds.
    pub(crate) p99_us: f64,
    /// Calls of all rounds.
    pub(crate) calls: u64,
    /// Calls of all rounds without an answer or with an error.
    pub(crate) errors: u64,
    /// Answers of all rounds that were somebody else's.
    pub(crate) mismatches: u64,
    /// Every round as it was.
    pub(crate) rounds: Vec<Outcome>,
}

/// Loads the bare upstream, the yardstick and the gateway in turn, so many rounds.
pub(crate) async fn run(targets: &[Measured; 3], rounds: usize, plan: Plan) -> Result<Vec<Row>> {
    let mut taken: [Vec<Outcome>; 3] = Default::default();
    for round in 1..=rounds {
        for (measured, taken) in targets.iter().zip(&mut taken) {
            let outcome = load::run(&measured.target, measured.pid, plan).await?;
            eprintln!(
                "{} clients, round {round}: {:8} {:7.1} us CPU/call {:8.0} calls/s",
                plan.clients, measured.target.name, outcome.cpu_us, outcome.calls_per_second
            );
            taken.push(outcome);
        }
    }
    let [direct, noop, _] = &taken;
    let row = |(measured, own): (&Measured, &Vec<Outcome>)| {
        let ends = |least: fn(f64, f64) -> f64| own.iter().map(|one| one.cpu_us).reduce(least).unwrap_or(0.0);
        Row {
            target: measured.target.name.clone(),
            clients: plan.clients,
            cpu_us: median(own.iter().map(|one| one.cpu_us)),
            cpu_us_range: (ends(f64::min), ends(f64::max)),
            cpu_of_noop: within(own, noop, |own, noop| own.cpu_us / noop.cpu_us),
            calls_per_second: median(own.iter().map(|one| one.calls_per_second)),
            speed_of_direct: within(own, direct, |own, direct| {
                own.calls_per_second / direct.calls_per_second
            }),
            p50_us: median(own.iter().map(|one| one.p50_us)),
            added_p50_us: within(own, direct, |own, direct| own.p50_us - direct.p50_us),
            p99_us: median(own.iter().map(|one| one.p99_us)),
            calls: own.iter().map(|one| one.calls).sum(),
            errors: own.iter().map(|one| one.errors).sum(),
            mismatches: own.iter().map(|one| one.mismatches).sum(),
            rounds: own.clone(),
        }
    };
    Ok(targets.iter().zip(&taken).map(row).collect())
}

/// The median of what two targets give when each round is taken by itself.
fn within(own: &[Outcome], other: &[Outcome], of: fn(&Outcome, &Outcome) -> f64) -> f64 {
    median(own.iter().zip(other).map(|(own, other)| of(own, other)))
}

/// The median; of an even number of values the mean of the middle two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [] => 0.0,
        sorted if sorted.len() % 2 == 1 => sorted[sorted.len() / 2],
        sorted => f64::midpoint(sorted[sorted.len() / 2 - 1], sorted[sorted.len() / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn a_median_is_in_the_middle() {
        for (values, expected) in [
            (&[][..], 0.0),
            (&[3.0][..], 3.0),
            (&[9.0, 1.0, 5.0][..], 5.0),
            (&[4.0, 1.0, 2.0, 100.0][..], 3.0),
        ] {
            assert!((median(values.iter().copied()) - expected).abs() < 1e-9, "{values:?}");
        }
    }
}
