//! Upstreams that are processes: what they get, what is made of what they say, and that nothing is left of them.

use crate::kit::{
    clock::{eventually, skip, within},
    gateway::{Running, Setup},
    session::Session,
};
use rstest::rstest;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Child},
    time::Duration,
};
use trunkline::upstream::settings::{Command, Settings};

/// The program that stands beside this one.
fn child() -> PathBuf {
    let itself = std::env::current_exe().expect("a path");
    let folder = itself.ancestors().nth(2).expect("the folder of the build");
    folder.join("examples").join("child")
}

fn command(manners: &[&str]) -> Command {
    let mut command = Command::new("kid", child().to_str().expect("a path"));
    command.args = manners.iter().map(|&manner| manner.into()).collect();
    command.keeper = env!("CARGO_BIN_EXE_trunkline").into();
    command.grace = Duration::from_millis(300);
    command
}

fn setup(command: Command, change: impl FnOnce(&mut Settings)) -> Setup {
    let mut settings = Settings::stdio(command);
    change(&mut settings);
    Setup::new().alias_of("kid", settings)
}

async fn ready(manners: &[&str]) -> Running {
    setup(command(manners), |_| ()).ready().await
}

/// What a tool says.
async fn told(session: &Session<'_>, tool: &str) -> String {
    let answer = session.call(&format!("kid-{tool}")).await;
    let text = &answer["result"]["content"][0]["text"];
    text.as_str().unwrap_or_else(|| panic!("no text: {answer}")).to_owned()
}

async fn pid(session: &Session<'_>) -> u32 {
    told(session, "pid").await.parse().expect("a number")
}

/// Whether a process runs: one that nobody reaped yet does not.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn until_gone(pids: &[u32]) {
    eventually(&format!("{pids:?} to end"), || !pids.iter().any(|pid| runs(*pid))).await;
}

#[tokio::test]
async fn every_client_has_a_process_of_its_own_and_it_ends_with_the_client() {
    let gateway = ready(&[]).await;
    let (one, two) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    let pids = [pid(&one).await, pid(&two).await];
    assert_ne!(pids[0], pids[1]);
    assert_eq!([pid(&one).await, pid(&two).await], pids);
    one.delete().await;
    until_gone(&pids[..1]).await;
    assert!(runs(pids[1]));
    gateway.close().await;
    assert!(!runs(pids[1]), "the gateway waits for the end of its processes");
}

#[tokio::test]
async fn line_ends_between_tokens_do_not_cut_a_message() {
    let gateway = ready(&[]).await;
    let session = Session::open(&gateway, "/mcp").await;
    let call = "{\"jsonrpc\":\"2.0\",\n\"id\":1,\r\n\"method\":\"tools/call\",\"params\":{\"name\":\n\"kid-echo\",\"arguments\":{\"a\":\n\"\\n\"}}}";
    let answer = session.post(call).await.answer_json();
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"a":"\n"}"#);
}

#[tokio::test]
async fn a_process_gets_what_it_needs_of_the_environment_and_no_more() {
    let mut command = command(&[]);
    command.env.insert("SECRET".into(), "hush-hush".into());
    command.cwd = Some("/".into());
    let gateway = setup(command, |_| ()).ready().await;
    let told = told(&Session::open(&gateway, "/mcp").await, "env").await;
    let names: BTreeSet<_> = told.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "the tests have more");
    assert!(names.contains("PATH") && names.contains("SECRET"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("CARGO") || name.starts_with("NEXTEST")), "{names:?}");
}

#[tokio::test]
async fn a_process_that_ends_during_a_call_answers_it_and_is_started_again() {
    let mut command = command(&[]);
    command.env.insert("SECRET".into(), "hush-hush".into());
    let gateway = setup(command, |_| ()).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let first = pid(&session).await;
    let answer = session.call("kid-die").await;
    let message = answer["error"]["message"].as_str().expect("a message");
    assert!(message.contains("the process ended with exit status 3: I cannot go on, …"), "{message}");
    assert_eq!(answer["error"]["data"]["reason"], "upstream_closed");
    assert_eq!(answer["error"]["data"]["retryable"], false);
    assert_ne!(pid(&session).await, first);
}

#[tokio::test]
async fn a_process_that_died_between_calls_is_replaced() {
    let gateway = ready(&[]).await;
    let session = Session::open(&gateway, "/mcp").await;
    let first = pid(&session).await;
    kill("-KILL", first);
    until_gone(&[first]).await;
    // The gateway may take a moment more to see it than we do.
    within("the next process", async { while session.call("kid-pid").await["error"].is_object() {} }).await;
    assert_ne!(pid(&session).await, first);
}

#[tokio::test]
async fn a_shared_process_is_started_again_by_its_supervisor() {
    let shared =
        |settings: &mut Settings| settings.session = trunkline::upstream::settings::SessionMode::Shared;
    let gateway = setup(command(&[]), shared).ready().await;
    let (one, two) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    let first = pid(&one).await;
    assert_eq!(pid(&two).await, first);
    kill("-KILL", first);
    let reason = gateway.until_down("kid").await;
    assert!(reason.contains("exit status 137 (signal 9)"), "{reason}");
    gateway.until_listed("kid").await;
    assert_ne!(pid(&two).await, first);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said() {
    let gateway = setup(Command { program: "no-such-program".into(), ..command(&[]) }, |_| ()).start();
    let reason = gateway.until_down("kid").await;
    assert!(reason.contains("`no-such-program` cannot be started"), "{reason}");
    let folder = Command { cwd: Some("/no/such/folder".into()), ..command(&[]) };
    let gateway = setup(folder, |_| ()).start();
    let reason = gateway.until_down("kid").await;
    assert!(reason.contains("its process cannot be started"), "{reason}");
}

#[rstest]
#[case::by_itself(&[])]
#[case::by_a_signal(&["lingering"])]
#[case::by_force(&["stubborn"])]
#[tokio::test]
async fn whatever_a_process_started_ends_with_it(#[case] manners: &[&str]) {
    let gateway = ready(manners).await;
    let session = Session::open(&gateway, "/mcp").await;
    let mut pids = vec![pid(&session).await];
    pids.extend(told(&session, "family").await.split(' ').map(|pid| pid.parse::<u32>().expect("a number")));
    assert!(pids.iter().all(|pid| runs(*pid)));
    gateway.close().await;
    assert!(!pids.iter().any(|pid| runs(*pid)), "the gateway waits for the end of all of them");
}

#[tokio::test]
async fn what_a_dead_process_started_is_ended() {
    let gateway = ready(&[]).await;
    let session = Session::open(&gateway, "/mcp").await;
    let first = pid(&session).await;
    let family: Vec<u32> =
        told(&session, "family").await.split(' ').map(|pid| pid.parse().expect("a number")).collect();
    kill("-KILL", first);
    until_gone(&family).await;
}

#[tokio::test]
async fn a_keeper_that_is_killed_leaves_no_child() {
    let gateway = ready(&["stubborn"]).await;
    let session = Session::open(&gateway, "/mcp").await;
    let first = pid(&session).await;
    let stat = fs::read_to_string(format!("/proc/{first}/stat")).expect("it runs");
    let keeper = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).expect("a parent");
    kill("-KILL", keeper.parse().expect("a number"));
    until_gone(&[first]).await;
}

#[tokio::test]
async fn a_process_that_never_ends_its_line_is_ended() {
    let gateway = setup(command(&[]), |settings| settings.max_message = 1_000_000).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let first = pid(&session).await;
    let answer = session.call("kid-flood").await;
    assert_eq!(answer["error"]["data"]["reason"], "upstream_message_too_large", "{answer}");
    until_gone(&[first]).await;
    assert_ne!(pid(&session).await, first);
}

#[tokio::test]
async fn a_process_that_reads_nothing_is_given_up() {
    let gateway = ready(&[]).await;
    let session = Session::open(&gateway, "/mcp").await;
    let first = pid(&session).await;
    kill("-STOP", first);
    let large = format!(r#"{{"name":"kid-echo","arguments":{{"a":"{}"}}}}"#, "x".repeat(500_000));
    let (answer, ()) = tokio::join!(session.ask("tools/call", &large), async {
        for _ in 0..12 {
            skip(Duration::from_secs(1)).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let answer: Value = answer.answer_json();
    let message = answer["error"]["message"].as_str().expect("a message");
    assert!(message.contains("did not read its standard input within 10000 ms"), "{message}");
    until_gone(&[first]).await;
}

#[tokio::test]
async fn what_is_no_message_is_passed_over() {
    let gateway = ready(&["greeting"]).await;
    let session = Session::open(&gateway, "/mcp").await;
    assert!(pid(&session).await > 1);
}

fn kill(signal: &str, pid: u32) {
    let killed = process::Command::new("kill").args([signal, &pid.to_string()]).status().expect("to kill");
    assert!(killed.success());
}

/// The program itself, with one upstream; its log goes to a file.
struct Program {
    folder: tempfile::TempDir,
    process: Child,
}

impl Program {
    fn start(manners: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let text = format!(
            "listen: {free}\nupstreams:\n  kid:\n    command: {}\n    args: [{manners}]\n    env: {{SECRET: \"${{HUSH}}\"}}\n    session: shared\n",
            child().display()
        );
        let config = folder.path().join("trunkline.yaml");
        fs::write(&config, text).expect("to write");
        let log = File::create(folder.path().join("log")).expect("a file");
        let process = process::Command::new(env!("CARGO_BIN_EXE_trunkline"))
            .arg("--config")
            .arg(config)
            .env_clear()
            .envs([("HUSH", "hush-hush"), ("PATH", "/usr/bin:/bin")])
            .stderr(log)
            .spawn()
            .expect("the program runs");
        Self { folder, process }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// Waits until the log has a text, and returns the line.
    async fn until_said(&self, text: &str) -> String {
        eventually(&format!("`{text}` in the log"), || self.log().contains(text)).await;
        self.log().lines().find(|line| line.contains(text)).expect("a line").to_owned()
    }

    /// The process and what it started.
    async fn family(&self) -> Vec<u32> {
        let line = self.until_said(" end").await;
        let pids = line.split_once("family ").expect("pids").1;
        pids.split(' ').filter_map(|pid| pid.parse().ok()).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_gateway_that_was_killed() {
    let mut program = Program::start("family, stubborn");
    let family = program.family().await;
    program.until_said("upstream ready").await;
    assert!(family.len() == 3 && family.iter().all(|pid| runs(*pid)), "{family:?}");
    program.process.kill().expect("to kill it");
    until_gone(&family).await;
}

#[tokio::test]
async fn a_gateway_that_is_asked_to_stop_lets_its_processes_end() {
    let mut program = Program::start("family");
    let family = program.family().await;
    program.until_said("upstream ready").await;
    kill("-TERM", program.process.id());
    within("its end", async {
        while program.process.try_wait().expect("to look").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!family.iter().any(|pid| runs(*pid)), "{}", program.log());
}

#[tokio::test]
async fn standard_error_is_logged_without_secrets_and_within_bounds() {
    let program = Program::start("family, greeting");
    let line = program.until_said("stderr: family").await;
    assert!(line.contains("INFO") && line.contains("alias=kid"), "{line}");
    let config = program.folder.path().join("trunkline.yaml");
    let call = |tool: &'static str| {
        let config: &Path = &config;
        let program = process::Command::new(env!("CARGO_BIN_EXE_trunkline"))
            .args(["call", tool, "--config"])
            .arg(config)
            .env_clear()
            .env("HUSH", "hush-hush")
            .output();
        program.expect("the program runs")
    };
    program.until_said("upstream ready").await;
    call("kid-mutter");
    call("kid-die");
    program.until_said("I cannot go on, …").await;
    program.until_said("stderr: some lines were left out, the last of them: ").await;
    let log = program.log();
    assert!(!log.contains("hush-hush"), "{log}");
    assert!(log.matches("stderr: muttering").count() < 600, "{log}");
    assert_eq!(log.matches("writes to its standard output what belongs").count(), 1, "{log}");
}
