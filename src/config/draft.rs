//! What may be written in the two files. The comments here are the documentation: the schemas are made of them.
//!
//! Everything is optional for serde, so that a file with a mistake still yields its other parts to the checks;
//! what must be there is said to the schema alone.

use crate::config::quantity::{Count, Size, Time};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The main file of Trunkline, `trunkline.yaml`. Every key is optional.
///
/// Any text may have placeholders: `${VAR}`, `${VAR:-default}`, or `os.environ/VAR` as the whole text.
/// If VAR is not set but `VAR_FILE` is, the content of that file is taken. `$${` is a literal `${`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "trunkline.yaml")]
pub(crate) struct Draft {
    /// Where to listen: `host:port`. Default `127.0.0.1:4000`.
    ///
    /// Without a key only a loopback address is allowed.
    #[schemars(extend("x-expected" = "an address such as `127.0.0.1:4000`"))]
    pub(crate) listen: Option<String>,
    /// The address that clients use when a proxy stands in front, such as `https://mcp.example.com`.
    pub(crate) public_url: Option<String>,
    /// Host names (without port) that are accepted in the `Host` header.
    ///
    /// Default: a loopback listener takes loopback names only; a listener with keys on the network takes any.
    pub(crate) allowed_hosts: Vec<String>,
    /// Web origins (`scheme://host[:port]`) whose pages may use the gateway, beside its own; `*` is any.
    pub(crate) allowed_origins: Vec<String>,
    /// The folder with one file per alias, relative to this file. Default `aliases`.
    pub(crate) aliases: Option<String>,
    /// Aliases in this file, beside those in the folder: alias to what its file would have.
    pub(crate) upstreams: BTreeMap<String, AliasDraft>,
    /// How public names are made.
    pub(crate) names: NamesDraft,
    /// The key that may do everything. Default: the variable `TRUNKLINE_MASTER_KEY`, else `LITELLM_MASTER_KEY`.
    #[schemars(with = "Option<String>")]
    pub(crate) master_key: Option<SecretString>,
    /// What seals the texts that clients of the stateless era keep for the gateway: 32 bytes or more, the same at all
    /// gateways behind one address. Default: the variable `TRUNKLINE_STATE_KEY`, else a random one for each process.
    #[schemars(with = "Option<String>")]
    pub(crate) state_key: Option<SecretString>,
    /// The keys of users, each with what it may use.
    pub(crate) keys: Vec<KeyDraft>,
    /// The most of everything.
    pub(crate) limits: LimitsDraft,
    /// How long everything may take.
    pub(crate) timeouts: TimeoutsDraft,
    /// The logs, on standard error.
    pub(crate) log: LogDraft,
}

/// How public names are made: `{alias}{separator}{name at the upstream}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NamesDraft {
    /// What stands between the two: 1 to 4 letters, digits, `_` or `-`. No alias may contain it.
    ///
    /// Default: the variable `MCP_TOOL_PREFIX_SEPARATOR`, else `-`.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,4}$"))]
    #[schemars(extend("x-expected" = "1 to 4 letters, digits, `_` or `-`"))]
    pub(crate) separator: Option<String>,
    /// The longest public name; a longer one is shortened and gets a hash at its end. Default 64.
    #[schemars(extend("minimum" = 48, "maximum" = 128, "x-expected" = "a whole number from 48 to 128"))]
    pub(crate) max_length: Option<Count>,
}

/// One key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["key"]))]
pub(crate) struct KeyDraft {
    /// What the client sends as `Authorization: Bearer KEY` or `x-litellm-api-key`.
    #[schemars(with = "String")]
    pub(crate) key: Option<SecretString>,
    /// How logs call this key. Default: `user`, else `key-N`.
    pub(crate) name: Option<String>,
    /// Whose key it is.
    pub(crate) user: Option<String>,
    /// Aliases that this key may use, as globs (`db`, `time*`). Default: all. An empty list allows none.
    pub(crate) aliases: Option<Vec<String>>,
    /// Tools that this key may use, as globs over public names (`db-*`, `*-list_*`). Default: all.
    pub(crate) tools: Option<Vec<String>>,
}

/// The most of everything.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsDraft {
    /// The largest request of a client. Default `4MiB`.
    pub(crate) body: Option<Size>,
    /// The most messages in one JSON-RPC batch. Default 100.
    pub(crate) batch: Option<Count>,
    /// The most connections of clients at once. Default 32768.
    pub(crate) connections: Option<Count>,
    /// The most client sessions at once. Default 100000.
    pub(crate) sessions: Option<Count>,
    /// The most calls of one session at once. Default 1000.
    pub(crate) calls_per_session: Option<Count>,
    /// The most messages that wait for one client. Default 64.
    pub(crate) queue: Option<Count>,
    /// The most questions of upstreams that may wait for one client's answers. Default 64.
    pub(crate) asks_per_session: Option<Count>,
    /// The most resources of one upstream that one session may be subscribed to. Default 10000.
    pub(crate) subscriptions_per_session: Option<Count>,
    /// How much of one event stream is kept, to be read again after a broken connection, and how much of all streams of
    /// a session's ended calls. Default `1MiB`.
    pub(crate) replay: Option<Size>,
    /// The same for all sessions together. Default `256MiB`.
    pub(crate) replay_total: Option<Size>,
    /// The most calls that wait for their clients to come back with answers (stateless era). Default 1000.
    pub(crate) parked: Option<Count>,
    /// The most of them that one key may have. Default 256.
    pub(crate) parked_per_key: Option<Count>,
    /// How much all of them may keep. Default `64MiB`.
    pub(crate) parked_bytes: Option<Size>,
}

/// How long everything may take. The lower six are defaults for every upstream.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TimeoutsDraft {
    /// How long a client may take to send its headers. Default `30s`.
    pub(crate) headers: Option<Time>,
    /// How long a client may take to send its body. Default `60s`.
    pub(crate) body: Option<Time>,
    /// How often a comment is sent on a quiet event stream. Default `15s`.
    pub(crate) keep_alive: Option<Time>,
    /// How long a client is told to wait before it takes up an event stream that was cut. Default `1s`.
    pub(crate) retry: Option<Time>,
    /// How long the event stream of an ended call is kept for that. Default `5m`.
    pub(crate) replay: Option<Time>,
    /// A call that is not answered by then gets an event stream in place of plain JSON. Default `5s`.
    pub(crate) stream_after: Option<Time>,
    /// How long a client may take to come back with the answers that its call waits for (stateless era). Default `10m`.
    pub(crate) parked: Option<Time>,
    /// A client session that nobody used for this long is ended. Default `24h`.
    pub(crate) session_idle: Option<Time>,
    /// How long calls may go on after a request to stop. Default `10s`.
    pub(crate) drain: Option<Time>,
    /// From the first byte to an answered `initialize`. Default `10s`.
    pub(crate) connect: Option<Time>,
    /// One page of a list. Default `30s`.
    pub(crate) list: Option<Time>,
    /// One call. Default `10m`.
    pub(crate) call: Option<Time>,
    /// An upstream session that nobody used for this long is closed. Default `30m`.
    pub(crate) idle: Option<Time>,
    /// How often a quiet upstream is asked whether it is there. Default `30s`.
    pub(crate) ping: Option<Time>,
    /// How often lists are read again although the upstream did not say that they changed. Default `10m`.
    pub(crate) refresh: Option<Time>,
}

/// The logs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogDraft {
    /// The form of a line: `text` for people (the default), or one `json` object.
    pub(crate) format: Option<FormatDraft>,
    /// What is logged: `error`, `warn`, `info` (the default), `debug`, `trace`, or `info,trunkline=debug`.
    pub(crate) filter: Option<String>,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum FormatDraft {
    Text,
    Json,
}

/// One alias: the file `aliases/<alias>.yaml`. Its name, without `.yaml`, is the alias.
///
/// Placeholders are as in `trunkline.yaml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = [{"required": ["url"]}, {"required": ["command"]}]))]
#[schemars(title = "aliases/<alias>.yaml")]
pub(crate) struct AliasDraft {
    /// The upstream's MCP endpoint, such as `http://mcp-postgresql:8000/sse`. Either this or `command`.
    #[schemars(with = "String", extend("x-expected" = "an address such as `http://host:8000/mcp`"))]
    pub(crate) url: Option<String>,
    /// The program to run as the upstream, which speaks MCP on its standard streams: a path, or a name to be looked
    /// for in `PATH`. No shell is between; each session is a process.
    #[schemars(with = "String")]
    pub(crate) command: Option<String>,
    /// The arguments of `command`.
    pub(crate) args: Vec<String>,
    /// Variables of its environment. Of the gateway's own it gets HOME, LANG, LANGUAGE, LC_*, LOGNAME, PATH, SHELL,
    /// TERM, TMPDIR, TZ, USER and XDG_*, and no other.
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) env: BTreeMap<String, SecretString>,
    /// The folder that it runs in, relative to this file. Default: the gateway's own.
    pub(crate) cwd: Option<String>,
    /// What the upstream speaks: `sse` (HTTP+SSE of 2024-11-05), `http` (streamable HTTP), `stdio` (which a `command`
    /// always does), or `auto` (the default).
    pub(crate) transport: Option<TransportDraft>,
    /// The era of the protocol that it is spoken to in: `handshake` (until 2025-11-25: `initialize` opens a session),
    /// `stateless` (from 2026-07-28 on), or `auto` (the default): find out and remember.
    pub(crate) era: Option<EraDraft>,
    /// What it is, for people.
    pub(crate) description: Option<String>,
    /// Headers to send with every request to this upstream.
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) headers: BTreeMap<String, SecretString>,
    /// What the gateway shows the upstream to be let in: one of `bearer`, `bearer_file` and `basic`.
    pub(crate) auth: AuthDraft,
    /// Which upstream session serves which caller: `shared` by all, one per `client` session, one per `key`, or
    /// `auto` (the default): per client if the upstream keeps sessions (a process does), else shared.
    pub(crate) session: Option<SessionDraft>,
    /// How long everything may take with this upstream; defaults are in `trunkline.yaml`.
    pub(crate) timeouts: AliasTimeoutsDraft,
    /// The largest message that is read from this upstream. Default `32MiB`.
    pub(crate) max_message: Option<Size>,
    /// The most sessions with this upstream at once. Default 256, and 32 where each of them is a process.
    pub(crate) max_sessions: Option<Count>,
    /// Whether the names of its tools and prompts begin with the alias where several upstreams are seen at once:
    /// `true` (the default), or `false` to show them without it wherever the name is legal and free.
    #[schemars(extend("x-expected" = "`true` or `false`"))]
    pub(crate) prefix: Option<bool>,
    /// Which tools are shown, and how they are called.
    pub(crate) tools: ToolsDraft,
    /// Whether calls are checked against the schemas of their tools: `arguments` and `results`, or one word for
    /// `arguments` alone. Default `off`.
    #[schemars(extend("x-expected" = "`off`, `warn` or `enforce` for arguments, or a map of `arguments` (`off`, `warn`, `enforce`) and `results` (`off`, `warn`)"))]
    pub(crate) validation: Option<ValidationDraft>,
}

/// Whether calls are checked against the schemas of their tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum ValidationDraft {
    /// The arguments alone.
    Short(ArgumentsDraft),
    /// Each by itself.
    Long(ValidationMapDraft),
}

/// What is checked, each by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub(crate) struct ValidationMapDraft {
    /// A call whose arguments do not fit its tool's `inputSchema`: `off` (it is made), `warn` (it is made, and the log
    /// says so) or `enforce` (it is not made, and the caller is told what does not fit).
    pub(crate) arguments: Option<ArgumentsDraft>,
    /// A result that does not fit its tool's `outputSchema` is passed on as it is: `off`, or `warn` (the log says so).
    pub(crate) results: Option<ResultsDraft>,
}

/// What becomes of a call whose arguments do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum ArgumentsDraft {
    Off,
    Warn,
    Enforce,
}

/// What becomes of a result that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum ResultsDraft {
    Off,
    Warn,
}

/// The transport of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum TransportDraft {
    Auto,
    Sse,
    Http,
    Stdio,
}

/// The era of the protocol that an upstream is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum EraDraft {
    Auto,
    Handshake,
    Stateless,
}

/// Which upstream session serves which caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum SessionDraft {
    Auto,
    Shared,
    Client,
    Key,
}

/// What the gateway shows an upstream to be let in: one of the three.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthDraft {
    /// The token of `Authorization: Bearer TOKEN`.
    #[schemars(with = "Option<String>")]
    pub(crate) bearer: Option<SecretString>,
    /// A file with that token, read at every connection attempt so that it can rotate; relative to this file.
    pub(crate) bearer_file: Option<String>,
    /// `Authorization: Basic`.
    #[schemars(with = "BasicDraft")]
    pub(crate) basic: Option<BasicDraft>,
}

/// A user and a password.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["username", "password"]))]
pub(crate) struct BasicDraft {
    /// The user's name.
    #[schemars(with = "String")]
    pub(crate) username: Option<String>,
    /// The password.
    #[schemars(with = "String")]
    pub(crate) password: Option<SecretString>,
}

/// How long everything may take with one upstream.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AliasTimeoutsDraft {
    /// From the first byte to an answered `initialize`.
    pub(crate) connect: Option<Time>,
    /// One page of a list.
    pub(crate) list: Option<Time>,
    /// One call.
    pub(crate) call: Option<Time>,
    /// An upstream session that nobody used for this long is closed.
    pub(crate) idle: Option<Time>,
    /// How often a quiet upstream is asked whether it is there.
    pub(crate) ping: Option<Time>,
    /// How often lists are read again although the upstream did not say that they changed.
    pub(crate) refresh: Option<Time>,
}

/// Which tools are shown, and how they are called. All globs are over the upstream's own names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ToolsDraft {
    /// Globs: if given, only these tools are shown.
    pub(crate) allow: Option<Vec<String>>,
    /// Globs: these tools are not shown; wins over `allow`.
    pub(crate) deny: Vec<String>,
    /// The upstream's name of a tool to the name that is shown in its place.
    pub(crate) rename: BTreeMap<String, String>,
}
