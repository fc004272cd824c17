//! The process between the gateway and a child: it ends the child when the gateway closes the child's standard input,
//! and that is also what the gateway's own end does, however it comes about.
//!
//! It reads and writes nothing: all three streams are the child's own. It only watches its end of the standard input
//! for the moment when nobody can write to it any more.

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{self, Pid, Signal, WaitOptions},
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    future::Future,
    io, thread,
    time::Duration,
};
use tokio::{
    runtime::Builder,
    signal::unix::{self, SignalKind, signal},
    sync::oneshot,
    time::timeout,
};

/// How often what does not die of `SIGKILL` is looked at again, and how often at most.
const ROUND: Duration = Duration::from_millis(100);
const ROUNDS: usize = 50;
/// What shells add to the number of the signal that ended a program.
const SIGNALED: i32 = 128;

/// The child and whatever it started.
struct Family {
    leader: Pid,
    /// How the leader ended: as shells tell it.
    status: Option<i32>,
    died: unix::Signal,
}

/// Runs a program until it ends or the gateway wants it to, and leaves nothing of it behind.
///
/// Returns the program's exit status; 128 and the number of the signal if one ended it.
pub fn keep(program: &OsStr, args: &[OsString], grace: Duration) -> io::Result<u8> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(program, args, grace))
}

async fn run(program: &OsStr, args: &[OsString], grace: Duration) -> io::Result<u8> {
    // Whoever signals everything at once (a terminal, a service manager) means the gateway: it decides when its calls
    // have ended, and closes the pipe.
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
    let _deaf = kinds.into_iter().map(signal).collect::<io::Result<Vec<_>>>()?;
    let died = signal(SignalKind::child())?;
    // What loses its parent becomes ours, also what left the process group, as browsers do.
    #[cfg(target_os = "linux")]
    process::set_child_subreaper(Some(process::getpid()))?;
    let child = std::process::Command::new(program).args(args).spawn()?;
    let mut family = Family { leader: Pid::from_child(&child), status: None, died };
    // The gateway must see the end of the child's output, and not ours.
    rustix::stdio::dup2_stdout(File::open("/dev/null")?)?;

    let hung_up = watch_stdin()?;
    tokio::select! {
        () = family.led() => {}
        // A sender that was dropped could not watch, which is no reason to go on unwatched.
        _ = hung_up => {
            let _ = timeout(grace, family.led()).await;
        }
    }
    if timeout(grace, family.end(Signal::TERM)).await.is_err() {
        let mut rounds = 0..ROUNDS;
        while timeout(ROUND, family.end(Signal::KILL)).await.is_err() {
            if rounds.next().is_none() {
                // Nothing is left to do but this, which ends us as well.
                kill_group(Signal::KILL);
                break;
            }
        }
    }
    Ok(family.status.and_then(|status| u8::try_from(status).ok()).unwrap_or(u8::MAX))
}

// === impl Family ===

impl Family {
    /// Waits until the leader ended.
    async fn led(&mut self) {
        while !self.reap() && self.status.is_none() {
            self.died.recv().await;
        }
    }

    /// Signals everybody who is left, and waits until nobody is.
    async fn end(&mut self, by: Signal) {
        if self.reap() {
            return;
        }
        if by == Signal::TERM {
            kill_group(by);
        }
        for child in children() {
            // It may just have ended.
            let _ = process::kill_process(child, by);
        }
        while !self.reap() {
            self.died.recv().await;
        }
    }

    /// Takes note of everybody who ended; `true` if nobody is left.
    fn reap(&mut self) -> bool {
        loop {
            match process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.leader => {
                    let signaled = status.terminating_signal().map(|signal| SIGNALED + signal);
                    self.status = status.exit_status().or(signaled);
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }
}

/// Tells when nobody can write to our standard input any more. What is written there is not ours to read.
fn watch_stdin() -> io::Result<impl Future> {
    let (closed, hung_up) = oneshot::channel();
    let watch = move || {
        let stdin = io::stdin();
        // No event is asked for; that the other end is gone is told all the same.
        while let Ok(0) | Err(Errno::INTR) = poll(&mut [PollFd::new(&stdin, PollFlags::empty())], None) {}
        // Nobody is told if the child ended first.
        let _ = closed.send(());
    };
    thread::Builder::new().name("stdin".into()).spawn(watch)?;
    Ok(hung_up)
}

/// Signals the process group, if it is ours.
fn kill_group(by: Signal) {
    let group = process::getpgrp();
    if group == process::getpid() {
        // There is at least ourselves.
        let _ = process::kill_process_group(group, by);
    }
}

/// Our children, those that we inherited among them.
fn children() -> Vec<Pid> {
    let me = process::getpid().as_raw_nonzero().get();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| parent(*pid) == Some(me)).filter_map(Pid::from_raw).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have any characters, and stands in parentheses: `7 (a b) S 1 …`.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
