//! The era of an upstream that is a process: some end when they are asked for it.

use crate::kit::{
    clock::{eventually, skip, within},
    gateway::{Running, Setup},
    peer::{Peer, Transport},
    session::Session,
};
use rstest::rstest;
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::Duration};
use tokio::time::sleep;
use trunkline::upstream::settings::{Command, Era, SessionMode, Settings};

/// A shell that notes what the child gets and says: its standard error goes to a file.
struct Kid {
    notes: tempfile::NamedTempFile,
    settings: Settings,
}

fn child() -> PathBuf {
    let itself = std::env::current_exe().expect("a path");
    let folder = itself.ancestors().nth(2).expect("the folder of the build");
    folder.join("examples").join("child")
}

// === impl Kid ===

impl Kid {
    fn new(manners: &str) -> Self {
        let notes = tempfile::NamedTempFile::new().expect("a file");
        let mut command = Command::new("kid", "sh");
        let script = format!("exec {} {manners} 2>>{}", child().display(), notes.path().display());
        command.args = vec!["-c".into(), script.into()];
        command.keeper = env!("CARGO_BIN_EXE_trunkline").into();
        command.grace = Duration::from_millis(300);
        Self { notes, settings: Settings::stdio(command) }
    }

    fn start(&self, change: impl FnOnce(&mut Settings)) -> Running {
        let mut settings = self.settings.clone();
        change(&mut settings);
        Setup::new().alias_of("kid", settings).start()
    }

    async fn ready(&self) -> Running {
        let gateway = self.start(|_| ());
        gateway.until_listed("kid").await;
        gateway
    }

    fn lines(&self, beginning: &str) -> Vec<String> {
        let notes = fs::read_to_string(self.notes.path()).expect("notes");
        notes.lines().filter(|line| line.starts_with(beginning)).map(str::to_owned).collect()
    }
}

fn version(gateway: &Running) -> &'static str {
    gateway.upstream("kid").offer().expect("an offer").welcome.version.as_str()
}

#[rstest]
#[case::stateless("stateless", "2026-07-28", 1, 0)]
#[case::both("stateless old-too", "2026-07-28", 1, 0)]
#[case::answers_anything_with_nothing("", "2025-11-25", 1, 1)]
#[case::ends("brittle", "2025-11-25", 1, 1)]
#[tokio::test]
async fn what_a_process_answers_says_its_era(
    #[case] manners: &str,
    #[case] wanted: &str,
    #[case] asked: usize,
    #[case] initialized: usize,
) {
    let kid = Kid::new(manners);
    let gateway = kid.ready().await;
    assert_eq!(version(&gateway), wanted);
    let counts = (kid.lines("got server/discover").len(), kid.lines("got initialize").len());
    assert_eq!(counts, (asked, initialized));
}

#[tokio::test]
async fn a_process_that_says_nothing_is_introduced_to_in_the_same_process() {
    let kid = Kid::new("mute");
    let gateway = kid.start(|_| ());
    eventually("the question", || kid.lines("got server/discover").len() == 1).await;
    assert!(kid.lines("got initialize").is_empty(), "it has some seconds");
    skip(Duration::from_secs(6)).await;
    gateway.until_listed("kid").await;
    assert_eq!(version(&gateway), "2025-11-25");
    let pid = |line: &str| kid.lines(line)[0].rsplit_once(' ').expect("a number").1.to_owned();
    assert_eq!(pid("got server/discover"), pid("got initialize"));
}

#[tokio::test]
async fn who_ends_when_asked_is_asked_once() {
    let kid = Kid::new("brittle");
    let gateway = kid.ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    assert!(session.call("kid-echo").await["result"].is_object(), "in a process of its own");
    assert_eq!(session.call("kid-die").await["error"]["data"]["reason"], "upstream_closed");
    assert!(session.call("kid-echo").await["result"].is_object());
    assert_eq!(kid.lines("got server/discover").len(), 1);
    assert_eq!(kid.lines("got initialize").len(), 3, "the gateway's own, and the session's two");
}

#[rstest]
#[case(Era::Handshake, "brittle", None)]
#[case(Era::Handshake, "stateless old-too", None)]
#[case(Era::Handshake, "stateless", Some("the handshake failed: `no such revision`"))]
#[case(Era::Stateless, "stateless", None)]
#[case(
    Era::Stateless,
    "brittle",
    Some("it closed the connection before it answered: the process ended with exit status 5")
)]
#[case(Era::Stateless, "", Some("it does not speak MCP 2026-07-28"))]
#[tokio::test]
async fn an_era_that_is_set_is_the_only_one_tried(
    #[case] era: Era,
    #[case] manners: &str,
    #[case] wanted: Option<&str>,
) {
    let kid = Kid::new(manners);
    let gateway = kid.start(|settings| settings.era = era);
    match wanted {
        None => gateway.until_listed("kid").await,
        Some(wanted) => {
            let reason = gateway.until_down("kid").await;
            assert!(reason.contains(wanted), "{reason}");
        }
    }
    let other = if era == Era::Stateless { "got initialize" } else { "got server/discover" };
    assert_eq!(kid.lines(other), Vec::<String>::new());
}

#[rstest]
#[case(SessionMode::Auto, 1)]
#[case(SessionMode::Shared, 1)]
#[case(SessionMode::Client, 3)]
#[tokio::test]
async fn a_stateless_process_is_shared_unless_it_is_said(
    #[case] mode: SessionMode,
    #[case] processes: usize,
) {
    let kid = Kid::new("stateless");
    let gateway = kid.start(|settings| settings.session = mode);
    gateway.until_listed("kid").await;
    for _ in 0..2 {
        let session = Session::open(&gateway, "/mcp").await;
        assert!(session.call("kid-pid").await["result"].is_object());
    }
    assert_eq!(kid.lines("got server/discover").len(), processes);
}

#[tokio::test]
async fn a_process_is_heard_by_streams_that_are_asked_for() {
    let kid = Kid::new("stateless");
    let gateway = kid.ready().await;
    let lists = r#"{"toolsListChanged":true}"#;
    eventually("the stream of lists", || kid.lines("listened").iter().any(|line| line.ends_with(lists)))
        .await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    let read = kid.lines("got tools/list").len();
    assert!(ann.call("kid-change").await["result"].is_object());
    eventually("the lists to be read again", || kid.lines("got tools/list").len() > read).await;

    for uri in ["x://one", "x://two"] {
        assert_eq!(ann.ask("resources/subscribe", &json!({"uri": uri})).await["result"], json!({}));
    }
    let streams = kid.lines("listened");
    assert_eq!(streams.len(), 3);
    let wanted: Value = json!({"resourceSubscriptions": ["x://one", "x://two"]});
    assert!(streams[2].ends_with(&wanted.to_string()), "{streams:?}");
    // The stream before it is taken back.
    let first = streams[1].split(' ').nth(1).expect("a number");
    eventually("the end of the first", || kid.lines("cancelled") == [format!("cancelled {first}")]).await;
    ann.leave().await;
    eventually("the end of the second", || kid.lines("cancelled").len() == 2).await;
}

#[tokio::test]
async fn a_process_that_ends_is_started_again_and_asked_again() {
    let kid = Kid::new("stateless");
    let gateway = kid.ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    assert!(session.call("kid-ask").await["result"].is_object(), "its question does not matter");
    let calls = kid.lines("got tools/call").len();
    let pid = kid.lines("got server/discover")[0].rsplit_once(' ').expect("a number").1.to_owned();
    assert!(std::process::Command::new("kill").arg(&pid).status().expect("a signal").success());
    within("another process", async {
        while kid.lines("got server/discover").len() < 2 {
            skip(Duration::from_secs(1)).await;
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    gateway.until_listed("kid").await;
    assert_eq!(kid.lines("got tools/call").len(), calls, "nothing is made again");
}
