//! `trunkline stdio` as clients start it: a gateway of its own, and a bridge to another one.

use crate::kit::{
    clock::{eventually, within},
    exchange::Exchange,
    gateway::{Running, Setup},
    pipe::Pipe,
    session::hello,
    upstream::{Dialect, Fake, Script, nobodys_address, tool},
};
use serde_json::Value;
use std::{fs, net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc};
use tokio::{
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Semaphore,
};

/// The program, and its client.
struct Program {
    process: Child,
    pipe: Pipe<ChildStdin, ChildStdout>,
    folder: tempfile::TempDir,
}

// === impl Program ===

impl Program {
    /// Starts it in a folder of its own with this configuration.
    fn start(config: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if !config.is_empty() {
            fs::write(folder.path().join("trunkline.yaml"), config).expect("to write");
        }
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let mut process = Command::new(env!("CARGO_BIN_EXE_trunkline"))
            .arg("stdio")
            .args(args)
            .current_dir(folder.path())
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("RUST_LOG", "trace")])
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the program runs");
        let pipes = (process.stdin.take().expect("a pipe"), process.stdout.take().expect("a pipe"));
        Self { process, pipe: Pipe::new(pipes.0, pipes.1), folder }
    }

    fn bridge(to: SocketAddr, key: &str) -> Self {
        Self::start("", &["--connect", &format!("http://{to}/mcp?x=hush-query")], &[("TRUNKLINE_KEY", key)])
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// The exit code, after everything that it still says.
    async fn ended(&mut self) -> Option<i32> {
        while let Some(line) = self.pipe.line().await {
            serde_json::from_str::<Value>(&line).expect("nothing but JSON");
        }
        within("its end", self.process.wait()).await.expect("an end").code()
    }
}

fn child() -> PathBuf {
    let itself = std::env::current_exe().expect("a path");
    let folder = itself.ancestors().nth(2).expect("the folder of the build");
    folder.join("examples").join("child")
}

fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test]
async fn a_gateway_of_its_own_says_nothing_but_messages_and_leaves_nothing_behind() {
    // Keys are for those who come over the network.
    let config = format!("listen: 0.0.0.0:1\nupstreams:\n  kid: {{command: {}}}\n", child().display());
    let mut program = Program::start(&config, &["--debug", "--servers", "kid"], &[]);
    let welcome = program.pipe.introduce("2025-11-25").await;
    assert_eq!(welcome["result"]["serverInfo"]["name"], "child", "{}", program.log());
    let told = program.pipe.call("pid").await;
    let pid = told["result"]["content"][0]["text"].as_str().expect("a number").to_owned();
    assert!(runs(&pid));
    program.pipe.close_input();
    assert_eq!(program.ended().await, Some(0), "{}", program.log());
    assert!(!runs(&pid), "{}", program.log());
    assert!(program.log().contains("DEBUG"), "the log goes elsewhere");
}

#[tokio::test]
async fn a_signal_ends_it_as_well() {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let config = format!("upstreams:\n  db: {{url: '{}'}}\n  other: {{url: '{0}'}}\n", fake.url());
    let mut program = Program::start(&config, &[], &[]);
    program.pipe.introduce("2025-06-18").await;
    assert!(program.pipe.call("other-echo").await["result"].is_object());
    let pid = program.process.id().expect("it runs").to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().await.expect("to kill");
    assert!(killed.success());
    assert_eq!(program.ended().await, Some(0), "{}", program.log());
    assert_eq!(fake.sessions(), [""; 0], "every session with the upstreams is ended");
}

#[tokio::test]
async fn a_wrong_choice_is_said_on_standard_error() {
    let mut program = Program::start("", &["--servers", "db"], &[]);
    assert_eq!(program.ended().await, Some(1));
    assert!(program.log().contains("there is no alias `db`"), "{}", program.log());
}

/// A gateway with keys, in front of a fake that asks its client.
async fn gateway(fake: &Fake) -> Running {
    Setup::new().alias("db", fake).key("right-key", None, None).ready().await
}

fn asking() -> Fake {
    let fake = Script::new(Dialect::Events).keeps_sessions().has_stream().start();
    let answered = Arc::new(Semaphore::new(0));
    let answers = answered.clone();
    fake.on("answer", move |exchange: Exchange| {
        answers.add_permits(1);
        exchange.standard()
    });
    fake.on("tools/call", move |exchange: Exchange| {
        let answered = answered.clone();
        async move {
            let answer =
                format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[]}}}}"#, exchange.seen.id());
            let mut stream = exchange.stream().await;
            stream.send(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#).await;
            let _answered = answered.acquire().await;
            stream.send(&answer).await;
            stream.end().await
        }
    });
    fake
}

#[tokio::test]
async fn a_bridge_shows_the_other_side_and_carries_everything_both_ways() {
    let fake = asking();
    let gateway = gateway(&fake).await;
    let mut program = Program::bridge(gateway.address, "right-key");
    let hello = hello("2025-11-25").replace(r#""capabilities":{}"#, r#""capabilities":{"roots":{}}"#);
    let welcome = program.pipe.ask(&hello).await;
    assert_eq!(welcome["result"]["serverInfo"]["name"], "trunkline", "{welcome}");
    let instructions = welcome["result"]["instructions"].as_str().expect("instructions");
    assert!(instructions.contains("be kind"), "{instructions}");
    program.pipe.write(&crate::kit::pipe::call(1, "db-echo")).await;
    let asked = program.pipe.message().await;
    assert_eq!(asked["method"], "roots/list", "{asked}");
    let (id, roots) = (&asked["id"], r#"{"roots":[{"uri":"file:///x"}]}"#);
    program.pipe.write(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{roots}}}"#)).await;
    assert_eq!(program.pipe.message().await["id"], 1);
    assert!(fake.wait_for("answer", 1).await.text().contains("file:///x"));
    fake.set_tools(vec![tool("a"), tool("b")]);
    eventually("the gateway to listen", || fake.open_streams() > 0).await;
    fake.tell_change();
    assert_eq!(program.pipe.message().await["method"], "notifications/tools/list_changed");
    program.pipe.close_input();
    assert_eq!(program.ended().await, Some(0));
    let left =
        gateway.gateway.relay().upstreams().map(trunkline::upstream::Upstream::sessions).sum::<usize>();
    assert_eq!(left, 0, "its sessions with the gateway are ended, and with them those of the gateway");
    assert!(
        !program.log().contains("right-key") && !program.log().contains("hush-query"),
        "{}",
        program.log()
    );
}

#[tokio::test]
async fn a_wrong_key_is_said() {
    let fake = Fake::of(Dialect::Json);
    let gateway = gateway(&fake).await;
    let mut program = Program::bridge(gateway.address, "wrong-key");
    let refused = program.pipe.ask(&hello("2025-11-25")).await;
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.contains("HTTP 401") && !message.contains("hush-query"), "{message}");
    program.pipe.works().await;
}

#[tokio::test]
async fn a_bridge_waits_for_a_gateway_and_survives_its_restart() {
    let address = nobodys_address();
    let mut program = Program::bridge(address, "any");
    program.pipe.write(&hello("2025-11-25")).await;
    let first = Fake::start_at(address, Script::new(Dialect::Json).keeps_sessions());
    assert!(program.pipe.message().await["result"].is_object(), "{}", program.log());
    assert!(program.pipe.call("echo").await["result"].is_object());
    drop(first);
    let second = within("the address to be free", async {
        loop {
            if std::net::TcpListener::bind(address).is_ok() {
                break Fake::start_at(address, Script::new(Dialect::Json).keeps_sessions());
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let again = program.pipe.call("echo").await;
    assert!(again["result"].is_object(), "{again} {}", program.log());
    // The first attempt was made in a session that nobody knows any more.
    let call = second.wait_for("tools/call", 2).await;
    assert!(
        call.header("mcp-session-id").is_some_and(|id| second.sessions().iter().any(|known| known == id))
    );
}

#[tokio::test]
async fn a_bridge_finds_the_gateway_and_its_key_in_the_configuration() {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).master("configured").ready().await;
    let config = format!("listen: {}\nmaster_key: configured\n", gateway.address);
    let mut program = Program::start(&config, &["--connect"], &[]);
    program.pipe.introduce("2025-11-25").await;
    assert!(program.pipe.call("db-echo").await["result"].is_object());
}
