//! Processes that the bench starts, and what they use. Each is ended by its own number, whatever happens.

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::signal::{Signal, kill},
    unistd::{Pid, SysconfVar, sysconf},
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// A process that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

/// What a process holds in memory, in MiB.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Memory {
    /// All of it (`VmRSS`).
    pub(crate) rss: f64,
    /// What no file backs (`RssAnon`).
    pub(crate) anonymous: f64,
}

/// How long a process may take to end after it was asked to, in steps.
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(5);

/// Pins this process, and with it everything that it starts, to one CPU.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).with_context(|| format!("there is no CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot pin to CPU {cpu}"))
}

/// The CPU time that a process used so far; threads that ended are not in it.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("the process is gone")? {
        // A thread may end while we look.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0_u64);
    }
    if nanos > 0 { Ok(Duration::from_nanos(nanos)) } else { ticks(pid) }
}

/// The same in the scheduler's ticks, for kernels without `schedstat`.
fn ticks(pid: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses and may hold anything.
    let fields: Vec<&str> =
        text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(user), Some(system)) = (field(11), field(12)) else { bail!("/proc/{pid}/stat is odd") };
    let hertz = sysconf(SysconfVar::CLK_TCK)?.and_then(|hertz| u64::try_from(hertz).ok()).unwrap_or(100);
    Ok(Duration::from_nanos((user + system) * 1_000_000_000 / hertz))
}

/// What a process holds in memory.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mebibytes = |name: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
    };
    match (mebibytes("VmRSS"), mebibytes("RssAnon")) {
        (Some(rss), Some(anonymous)) => Ok(Memory { rss, anonymous }),
        _ => bail!("/proc/{pid}/status is odd"),
    }
}

/// The load of the machine, as the kernel tells it.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

// === impl Process ===

impl Process {
    /// Starts a program.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn();
        Ok(Self(child.with_context(|| format!("cannot start {}", command.get_program().display()))?))
    }

    /// Starts this very program as a server, and reads from its first line where it listens.
    pub(crate) fn helper(arguments: &[String]) -> Result<(Self, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self::start(&mut command)?;
        let stdout = process.0.stdout.take().context("the helper has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("{arguments:?} does not listen"))?;
        Ok((process, address))
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            // It may be gone already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let mut waited = Duration::ZERO;
        while waited < PATIENCE && matches!(self.0.try_wait(), Ok(None)) {
            sleep(STEP);
            waited += STEP;
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
