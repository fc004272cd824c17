//! The gateway under test: its configuration, its process, and what it says about itself.

use crate::{
    client::{Target, fetch},
    process::Process,
};
use anyhow::{Context as _, Result, bail};
use hyper::Method;
use serde_json::Value;
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// A gateway that runs; it ends when this is dropped.
pub(crate) struct Gateway {
    process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    began: Instant,
    /// Its files; they go when it has ended.
    folder: TempDir,
}

const MASTER: &str = "sk-bench-master";
const KEY: &str = "sk-bench-client";
/// How long anything of the gateway may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(20);

// === impl Gateway ===

impl Gateway {
    /// Starts a gateway in front of these upstreams, by alias; does not wait for anything.
    pub(crate) fn start(program: &Path, upstreams: &[(&str, SocketAddr)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let aliases = folder.path().join("aliases");
        fs::create_dir(&aliases)?;
        for (alias, address) in upstreams {
            fs::write(aliases.join(format!("{alias}.yaml")), format!("url: http://{address}/mcp\n"))?;
        }
        let config = folder.path().join("trunkline.yaml");
        let text = format!(
            "aliases: aliases\nmaster_key: {MASTER}\nkeys:\n  - key: {KEY}\n    name: bench\n    tools: [\"*\"]\n"
        );
        fs::write(&config, text)?;
        let address = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()?;
        let log = fs::File::create(folder.path().join("log"))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&config).args(["--port", &address.port().to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let process = Process::start(&mut command)?;
        Ok(Self { process, address, began, folder })
    }

    /// Waits for the first answer on `/health`; the time from the start to it.
    pub(crate) async fn healthy(&self) -> Result<Duration> {
        while fetch(Method::GET, self.address, "/health", None).await.is_err() {
            self.bear(self.began, "answer on /health")?;
            sleep(Duration::from_millis(1)).await;
        }
        Ok(self.began.elapsed())
    }

    /// Waits until the upstream of an alias is as wanted: `ready`, `down`.
    pub(crate) async fn wait_until(&self, alias: &str, state: &str) -> Result<()> {
        let since = Instant::now();
        loop {
            let body = fetch(Method::GET, self.address, "/health", Some(MASTER)).await?;
            let health: Value = serde_json::from_slice(&body)?;
            if health["upstreams"][alias]["state"] == state {
                return Ok(());
            }
            self.bear(since, &format!("call the upstream `{alias}` {state}"))?;
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What its clients talk to; the tool is the `echo` of this alias.
    pub(crate) fn target(&self, alias: &str) -> Target {
        let (key, tool) = (Some(KEY.into()), format!("{alias}-echo"));
        Target { name: "gateway".into(), address: self.address, key, tool }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn bear(&self, since: Instant, what: &str) -> Result<()> {
        if since.elapsed() < PATIENCE {
            return Ok(());
        }
        let log = fs::read_to_string(self.folder.path().join("log")).context("the gateway left no log")?;
        bail!("the gateway did not {what}; its log:\n{log}")
    }
}
