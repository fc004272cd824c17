//! Configuration files that nobody means well with: what is wrong is said soon, and in few lines.

use rstest::rstest;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::channel,
    thread::spawn,
    time::Duration,
};
use trunkline::config::{Environment, Findings, Overrides, load};

/// Longer than it takes on the slowest machine, and shorter than what is mended here took.
const BOUND: Duration = Duration::from_mins(1);

fn findings_of(path: PathBuf) -> Findings {
    let (said, hear) = channel();
    spawn(move || {
        let loaded = load(Some(&path), &Overrides::default(), &Environment::default());
        said.send(Box::new(loaded)).is_ok()
    });
    hear.recv_timeout(BOUND).expect("an end").expect_err("a broken configuration")
}

fn findings_in(text: &str) -> Findings {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trunkline.yaml");
    fs::write(&path, text).expect("to write");
    findings_of(path)
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, "{}", line(number)).expect("memory");
        text
    })
}

#[rstest]
#[case::unknown_keys(lines(20_000, |number| format!("key{number}: 1")), 20_000)]
#[case::unknown_keys_of_a_server(format!("upstreams:\n  db:\n    url: http://h\n{}", lines(20_000, |number| format!("    key{number}: 1"))), 20_000)]
#[case::the_same_key(lines(20_000, |_| "listen: localhost:1".into()), 19_999)]
#[case::placeholders(format!("allowed_hosts:\n{}", lines(20_000, |number| format!("- ${{NO_{number}}}"))), 20_000)]
#[case::servers(format!("upstreams:\n{}", lines(10_000, |number| format!("  a-{number}: {{url: 1}}"))), 20_000)]
fn many_mistakes_are_counted(#[case] text: String, #[case] count: usize) {
    let findings = findings_in(&text);
    assert_eq!(findings.findings.len(), 100);
    assert_eq!(findings.findings.len() + findings.more, count);
    let said = findings.to_string();
    assert!(said.starts_with(&format!("the configuration has {count} mistakes:\n")), "{said}");
    assert!(said.ends_with(&format!("\n  and {} more\n", count - 100)), "{said}");
}

#[test]
fn many_notices_are_counted() {
    let keys = lines(5000, |_| "- {api_key: k, user: u}".into());
    let text =
        format!("{}mcp_servers: {{a: 1}}\nvirtual_keys:\n{keys}", lines(10_000, |n| format!("key{n}: 1")));
    let findings = findings_in(&text);
    assert_eq!(findings.notices.len(), 101);
    assert!(findings.notices[100].starts_with("and "), "{}", findings.notices[100]);
}

#[rstest]
#[case::brackets("[".repeat(100_000), "nested too deep")]
#[case::braces("{a: ".repeat(100_000), "nested too deep")]
#[case::brackets_among_quotes("[\"]\", 'it''s ]', ".repeat(30_000), "nested too deep")]
#[case::items("- ".repeat(100_000), "cannot be read")]
#[case::steps(lines(1000, |depth| format!("{}a:", " ".repeat(depth))), "cannot be read")]
#[case::values("- 1\n".repeat(200_000), "cannot be read")]
#[case::anchors(format!("a: &a [{}]\nb: [{}]\n", "1,".repeat(20_000), "*a,".repeat(20_000)), "cannot be read")]
#[case::a_long_key(format!("? {}\n: [{}]\n", "k".repeat(500_000), "1,".repeat(20_000)), "means nothing here")]
#[case::size("a: 1\n".repeat(300_000), "larger than 1 MiB")]
fn bounds_hold(#[case] text: String, #[case] said: &str) {
    let findings = findings_in(&text).to_string();
    assert!(findings.contains(said), "{}", &findings[..findings.len().min(1000)]);
    assert!(findings.len() < 2000);
}

#[test]
fn only_regular_files_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("trunkline.yaml");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
        let said = findings_of(path.into()).to_string();
        assert!(said.contains("it is not a regular file"), "{said}");
    }
}

#[test]
fn a_finding_stays_in_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a\nb\u{1b}[31m.yaml");
    fs::write(&path, "listen: \"a\\nb\\e[31m\"\n\"c\\nd\": 1\n").expect("to write");
    let said = findings_of(path).to_string();
    assert!(!said.contains('\u{1b}'), "{said}");
    assert!(said.lines().skip(1).all(|line| line.starts_with("  ") && line.contains(": ")), "{said}");
    assert!(said.contains("a\\nb\\u{1b}[31m.yaml:1: listen: found `a\\nb\\u{1b}[31m`"), "{said}");
}
