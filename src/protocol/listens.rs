//! What clients of the stateless era listen to: each `subscriptions/listen` is a stream of its own, with its own filter
//! (2026-07-28, basic/patterns/subscriptions, SEP-2575).

use crate::{
    protocol::{links::covers, stateless::SUBSCRIPTION_ID, stream::Stream},
    wire::{
        message::{Answer, Notice, excerpt},
        method::Method,
        params,
        part::Part,
        raw::Raw,
    },
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a client wants to hear of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `toolsListChanged`.
    pub tools: bool,
    /// `promptsListChanged`.
    pub prompts: bool,
    /// `resourcesListChanged`.
    pub resources: bool,
    /// `resourceSubscriptions`: URIs as the client knows them.
    pub uris: Vec<String>,
    /// `taskIds` (tasks extension).
    pub tasks: Vec<Followed>,
}

/// A task that a client wants to hear of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Its id as the client knows it.
    pub id: String,
    /// The alias of its upstream; empty until it is found out, as below.
    pub alias: String,
    /// Its id there.
    pub native: String,
}

/// One stream that a client listens to.
#[derive(Debug)]
pub struct Listen {
    id: Raw,
    filter: Filter,
    stream: Arc<Stream>,
}

/// The streams that one client listens to.
#[derive(Debug, Default)]
pub struct Listens(Mutex<Vec<Arc<Listen>>>);

/// The most streams of one client.
const MOST: usize = 1000;

/// As many streams as are allowed are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany(pub usize);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    #[serde(default)]
    tools_list_changed: Option<bool>,
    #[serde(default)]
    prompts_list_changed: Option<bool>,
    #[serde(default)]
    resources_list_changed: Option<bool>,
    #[serde(default)]
    resource_subscriptions: Option<Vec<String>>,
    #[serde(default)]
    task_ids: Option<Vec<String>>,
}

// === impl Filter ===

impl Filter {
    /// Reads the parameters of `subscriptions/listen`; the text says what was wrong.
    pub fn read(params: &Raw) -> Result<Self, String> {
        let expected = "`params.notifications` must be an object that says what to listen to";
        let Some(part) = Part::of(params).member("notifications") else {
            return Err(format!("{expected}; found nothing"));
        };
        if !part.text().starts_with('{') {
            return Err(format!("{expected}; found {}", excerpt(part.text())));
        }
        let wanted: Wanted =
            serde_json::from_str(part.text()).map_err(|error| format!("`params.notifications`: {error}"))?;
        Ok(Self {
            tools: wanted.tools_list_changed.unwrap_or(false),
            prompts: wanted.prompts_list_changed.unwrap_or(false),
            resources: wanted.resources_list_changed.unwrap_or(false),
            uris: wanted.resource_subscriptions.unwrap_or_default(),
            tasks: wanted.task_ids.unwrap_or_default().into_iter().map(Followed::new).collect(),
        })
    }

    /// As it is written in an acknowledgement: what it does not ask for is left out.
    pub fn written(&self) -> Value {
        let mut members = Map::new();
        for (name, is_wanted) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if is_wanted {
                members.insert(name.into(), true.into());
            }
        }
        let uris = self.uris.iter().map(String::as_str).collect::<Vec<_>>();
        let tasks = self.tasks.iter().map(|task| task.id.as_str()).collect();
        for (name, values) in [("resourceSubscriptions", uris), ("taskIds", tasks)] {
            if !values.is_empty() {
                members.insert(name.into(), values.into());
            }
        }
        Value::Object(members)
    }

    fn wants(&self, method: &Method) -> bool {
        match method {
            Method::ToolsChanged => self.tools,
            Method::PromptsChanged => self.prompts,
            Method::ResourcesChanged => self.resources,
            _ => false,
        }
    }
}

// === impl Followed ===

impl Followed {
    fn new(id: String) -> Self {
        Self { id, ..Self::default() }
    }
}

// === impl Listens ===

impl Listens {
    /// Begins to listen to what was accepted, which the first message says. What is heard waits on the stream until it is read.
    pub fn add(&self, id: &Raw, filter: Filter, stream: Arc<Stream>) -> Result<Arc<Listen>, TooMany> {
        let mut open = self.open();
        if open.len() >= MOST {
            return Err(TooMany(MOST));
        }
        let listen = Arc::new(Listen { id: id.clone(), filter, stream });
        // Before anything else can be heard.
        listen.stream.insist(listen.acknowledgement());
        open.push(listen.clone());
        Ok(listen)
    }

    /// Ends listening.
    pub fn remove(&self, listen: &Arc<Listen>) {
        self.open().retain(|open| !Arc::ptr_eq(open, listen));
    }

    /// A list changed.
    pub fn changed(&self, method: &Method) {
        for listen in self.all().iter().filter(|listen| listen.filter.wants(method)) {
            listen.stream.insist_once(listen.tagged(&Notice::new(method, None)));
        }
    }

    /// A resource changed; the notice has the URI that the client knows.
    pub fn updated(&self, notice: &Notice) {
        let Some(params) = notice.params() else { return };
        let Ok((uri, _)) = params::text(&params, "uri") else { return };
        let wants = |listen: &Listen| listen.filter.uris.iter().any(|wanted| covers(wanted, &uri));
        self.tell(notice, wants);
    }

    /// A task of an upstream changed; each listener hears of it under the id that it knows.
    pub fn task(&self, alias: &str, notice: &Notice) {
        let Some(params) = notice.params() else { return };
        let Ok((native, at)) = params::text(&params, "taskId") else { return };
        for listen in self.all() {
            let is_meant = |task: &&Followed| task.alias == alias && task.native == *native;
            let Some(followed) = listen.filter.tasks.iter().find(is_meant) else { continue };
            let shown = notice.rewrite(&[(at.clone(), Raw::of(&followed.id).as_bytes())]);
            if let Some(shown) = Notice::parse(&shown) {
                listen.tell(&shown);
            }
        }
    }

    /// Ends all streams.
    pub fn close(&self) {
        for listen in std::mem::take(&mut *self.open()) {
            listen.stream.close();
        }
    }

    /// The resources that any of the streams tells of.
    pub fn uris(&self) -> HashSet<String> {
        self.open().iter().flat_map(|listen| listen.filter.uris.iter().cloned()).collect()
    }

    /// How many streams are open.
    pub fn len(&self) -> usize {
        self.open().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tell(&self, notice: &Notice, wants: impl Fn(&Listen) -> bool) {
        for listen in self.all().iter().filter(|listen| wants(listen)) {
            listen.tell(notice);
        }
    }

    fn all(&self) -> Vec<Arc<Listen>> {
        self.open().clone()
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Listen>>> {
        // No code that holds the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Listen ===

impl Listen {
    fn acknowledgement(&self) -> Bytes {
        let params = Raw::of(&json!({"notifications": self.filter.written()}));
        self.tagged(&Notice::new(&Method::Acknowledged, Some(&params)))
    }

    /// The answer that ends the stream.
    pub fn end(&self) -> Answer {
        let text = format!(r#"{{"resultType":"complete","_meta":{{"{SUBSCRIPTION_ID}":{}}}}}"#, self.id);
        Answer::result(&self.id, &Raw::spliced(text.into()))
    }

    fn tell(&self, notice: &Notice) {
        if !self.stream.push(self.tagged(notice)) {
            tracing::debug!(method = %notice.method, "a client does not read what it listens to; a notice for it is lost");
        }
    }

    /// What waits on the stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The notice with this stream's tag, every other byte as it is.
    fn tagged(&self, notice: &Notice) -> Bytes {
        let tag = format!(r#""{SUBSCRIPTION_ID}":{}"#, self.id);
        let Some(params) = notice.params() else {
            let params = Raw::spliced(format!(r#"{{"_meta":{{{tag}}}}}"#).into());
            return Notice::new(&notice.method, Some(&params)).bytes().clone();
        };
        let meta = Part::of(&params).member("_meta").filter(|meta| meta.text().starts_with('{'));
        let Some(meta) = meta else {
            return notice
                .rewrite(&[(0..1, first(&format!(r#""_meta":{{{tag}}}"#), params.as_str()).as_bytes())]);
        };
        match meta.member(SUBSCRIPTION_ID) {
            Some(other) => notice.rewrite(&[(other.at(), self.id.as_bytes())]),
            None => {
                let at = meta.at().start;
                notice.rewrite(&[(at..at + 1, first(&tag, meta.text()).as_bytes())])
            }
        }
    }
}

/// What stands in place of an object's brace for `member` to be its first.
fn first(member: &str, object: &str) -> String {
    let comma = if object[1..].trim_start().starts_with('}') { "" } else { "," };
    format!("{{{member}{comma}")
}

#[cfg(test)]
mod tests {
    use super::{Arc, Filter, Listens, Method, Notice, Raw, Stream};
    use crate::protocol::stream::Bounds;
    use futures_util::FutureExt as _;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn stream() -> Arc<Stream> {
        Stream::new(Bounds { queue: 8, bytes: 1000, all_bytes: 10_000 }, Arc::default())
    }

    fn filter(value: &Value) -> Result<Filter, String> {
        Filter::read(&Raw::of(value))
    }

    #[test]
    fn each_stream_hears_what_it_asked_for_under_its_own_id() {
        let listens = Listens::default();
        let wanted = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": ["x://a"], "new": 1}});
        let filter = filter(&wanted).expect("a filter");
        assert_eq!(filter.written(), json!({"toolsListChanged": true, "resourceSubscriptions": ["x://a"]}));
        let (one, other) = (stream(), stream());
        let first = listens.add(&Raw::of("7"), filter, one.clone()).expect("room");
        listens
            .add(&Raw::of(&7), Filter { prompts: true, ..Filter::default() }, other.clone())
            .expect("room");
        listens.changed(&Method::ToolsChanged);
        listens.changed(&Method::ToolsChanged);
        listens.changed(&Method::PromptsChanged);
        for uri in ["x://a", "x://a/b", "x://ab"] {
            let params = Raw::of(&json!({"uri": uri, "_meta": {"a": 1.5}}));
            listens.updated(&Notice::new(&Method::ResourcesUpdated, Some(&params)));
        }
        let read = |stream: &Arc<Stream>| {
            let mut reader = stream.read(None);
            let next = || reader.next().now_or_never().flatten().map(|(_, message)| message);
            std::iter::from_fn(next)
                .map(|message| String::from_utf8(message.to_vec()).expect("text"))
                .collect::<Vec<_>>()
        };
        insta::assert_snapshot!(read(&one).join("\n"), @r#"
        {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"7"},"notifications":{"toolsListChanged":true,"resourceSubscriptions":["x://a"]}}}
        {"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"7"}}}
        {"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://a","_meta":{"io.modelcontextprotocol/subscriptionId":"7","a":1.5}}}
        {"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://a/b","_meta":{"io.modelcontextprotocol/subscriptionId":"7","a":1.5}}}
        "#);
        insta::assert_snapshot!(read(&other).join("\n"), @r#"
        {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7},"notifications":{"promptsListChanged":true}}}
        {"jsonrpc":"2.0","method":"notifications/prompts/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}}
        "#);
        listens.remove(&first);
        assert_eq!(listens.len(), 1);
        listens.close();
        assert!(other.is_over() && listens.is_empty() && !one.is_over());
    }

    #[rstest]
    #[case(json!({}))]
    #[case(json!({"notifications": []}))]
    #[case(json!({"notifications": {"toolsListChanged": 1}}))]
    #[case(json!({"notifications": {"resourceSubscriptions": "x://a"}}))]
    #[case(json!({"notifications": {"taskIds": [1]}}))]
    fn what_is_no_filter(#[case] params: Value) {
        let reason = filter(&params).expect_err("no filter");
        assert!(reason.starts_with("`params.notifications`"), "{reason}");
    }
}
