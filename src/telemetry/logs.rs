//! Structured logs on standard error.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The form of a line.
    pub format: Format,
    /// A filter as `tracing` writes it, such as `info` or `trunkline=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self { format: Format::Text, filter: "info".into() }
    }
}

/// Starts writing logs; the environment's `RUST_LOG` wins over the file.
///
/// A second call in one process does nothing, so that two gateways can run in one test.
pub fn start(settings: &Settings) {
    // rmcp logs whole handshakes at INFO.
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| format!("{},rmcp=warn", settings.filter));
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new("info,rmcp=warn"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Already started is the only way to fail, and that is fine.
    let _ = match settings.format {
        Format::Text => subscriber.with_target(false).try_init(),
        Format::Json => subscriber.json().flatten_event(true).try_init(),
    };
}
