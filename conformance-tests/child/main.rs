//! An upstream that is a process: small, real, and as badly behaved as its arguments say.

mod stateless;

use serde_json::{Value, json};
use std::{
    io::{self, BufRead as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio, exit},
    thread::{park, sleep},
    time::Duration,
};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let is = |wanted: &str| args.iter().any(|arg| arg == wanted);
    let runtime = Runtime::new().expect("a runtime");
    if is("stubborn") {
        let _inside = runtime.enter();
        // Not a default any more, and never looked at.
        std::mem::forget(signal(SignalKind::terminate()).expect("to take a signal"));
    }
    if is("greeting") {
        say("Hello! I am a server.");
        say("{'and': 'this is no JSON'}");
    }
    if is("family") {
        let pids = [std::process::id(), started(false), started(true)];
        eprintln!("family {} {} {} end", pids[0], pids[1], pids[2]);
    }
    let mut is_initialized = false;
    for line in io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let method = message["method"].as_str().unwrap_or_default();
        eprintln!("got {method} {}", std::process::id());
        if is("brittle") && !is_initialized && method != "initialize" {
            eprintln!("expected initialize");
            exit(5);
        }
        is_initialized |= method == "initialize";
        let Some(id) = message.get("id").filter(|_| !method.is_empty()) else {
            if method == "notifications/cancelled" {
                eprintln!("cancelled {}", message["params"]["requestId"]);
            }
            continue;
        };
        if is("mute") && method == "server/discover" {
            continue;
        }
        if is("stateless") {
            stateless::take(&message, is("old-too"));
            continue;
        }
        let result = answer(&message);
        say(&json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string());
    }
    if is("stubborn") || is("lingering") {
        forever();
    }
    eprintln!("farewell");
}

fn answer(message: &Value) -> Value {
    match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "child", "version": "1"},
        }),
        Some("tools/list") => {
            let names = ["echo", "pid", "env", "family", "die", "flood", "mutter"];
            let tool = |name: &&str| json!({"name": name, "inputSchema": {"type": "object"}});
            json!({"tools": names.iter().map(tool).collect::<Vec<_>>()})
        }
        Some("tools/call") => {
            let text = call(&message["params"]);
            json!({"content": [{"type": "text", "text": text}]})
        }
        _ => json!({}),
    }
}

fn call(params: &Value) -> String {
    match params["name"].as_str() {
        Some("pid") => std::process::id().to_string(),
        Some("env") => {
            let lines: Vec<_> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
            lines.join("\n")
        }
        // One in our process group, and one that left it, as browsers do.
        Some("family") => format!("{} {}", started(false), started(true)),
        Some("die") => {
            eprintln!("I cannot go on, {}", std::env::var("SECRET").unwrap_or_default());
            exit(3);
        }
        Some("flood") => loop {
            io::stdout().write_all(&vec![b'x'; 65536]).unwrap_or_else(|_| exit(4));
        },
        Some("mutter") => {
            (0..1000).for_each(|line| eprintln!("muttering {line}"));
            String::new()
        }
        _ => params["arguments"].to_string(),
    }
}

/// Starts a process that goes on for ever, and tells its id.
fn started(is_apart: bool) -> u32 {
    let mut command = Command::new("sleep");
    command.arg("600").stdin(Stdio::null());
    if is_apart {
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    }
    command.spawn().expect("a process").id()
}

fn say(line: &str) {
    println!("{line}");
}

fn forever() -> ! {
    loop {
        park();
        sleep(Duration::from_secs(1));
    }
}
