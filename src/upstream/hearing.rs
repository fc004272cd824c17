//! What an upstream of the stateless era says by itself: it has to be asked for, on streams of their own
//! (2026-07-28, `subscriptions/listen`).

use crate::{
    protocol::call::Lane,
    upstream::{
        audience::Audience, era, fault::Fault, link::Wire, settings::Introduced, subscriptions::Topic, words,
    },
    wire::{
        message::{Answer, Notice},
        method::Method,
        part::Part,
        raw::Raw,
    },
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, oneshot},
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

/// The wait before a stream that ended is opened again; it doubles.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest.
const AGAIN_MOST: Duration = Duration::from_mins(1);
/// A stream that stood for so long was a good one.
const GOOD: Duration = Duration::from_secs(30);
/// The members of a filter that name resources and tasks.
const RESOURCES: &str = "resourceSubscriptions";
const TASKS: &str = "taskIds";
/// JSON-RPC's code for a method that is not there.
const NO_METHOD: i64 = -32601;

/// What opens streams.
#[derive(Clone, Debug)]
pub(crate) struct Ear {
    pub(crate) wire: Wire,
    pub(crate) lane: Lane,
    pub(crate) ids: Arc<AtomicU64>,
    pub(crate) audience: Audience,
    /// Who listens, if not the gateway in its own name.
    pub(crate) introduced: Option<Arc<Introduced>>,
    /// How long an acknowledgement may take.
    pub(crate) patience: Duration,
}

/// A stream that the upstream acknowledged.
#[derive(Debug)]
struct Stream {
    /// What it agreed to tell about.
    topics: BTreeSet<Topic>,
    end: AbortOnDropHandle<Result<Answer, Fault>>,
}

/// Why there is no stream.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The upstream's own error object.
    Error(Raw),
    /// Anything else.
    Fault(Fault),
}

/// What a session is subscribed to: one stream for all of it, which is replaced as a whole.
#[derive(Debug)]
pub(crate) struct Watch {
    ear: Ear,
    current: Mutex<Option<Watched>>,
}

#[derive(Debug)]
struct Watched {
    asked: BTreeSet<Topic>,
    agreed: BTreeSet<Topic>,
    _keeper: AbortOnDropHandle<()>,
}

/// Waits before streams are opened again, longer each time.
struct Waits(Duration);

// === impl Ear ===

impl Ear {
    /// Listens for as long as the upstream lets us, in the background, for changes of the lists that it tells about.
    /// `stands` is told when the stream stands for the first time.
    pub(crate) fn lists(
        self,
        capabilities: &Map<String, Value>,
        stands: oneshot::Sender<()>,
    ) -> Option<AbortOnDropHandle<()>> {
        let lists = [
            ("tools", "toolsListChanged"),
            ("prompts", "promptsListChanged"),
            ("resources", "resourcesListChanged"),
        ];
        let told = lists.into_iter().filter(|(name, _)| {
            capabilities.get(*name).is_some_and(|capability| capability["listChanged"] == true)
        });
        let wanted: Map<String, Value> = told.map(|(_, wanted)| (wanted.into(), true.into())).collect();
        if wanted.is_empty() {
            return None;
        }
        let hear = async move {
            let refusal = self.hear_lists(wanted, stands).await;
            let alias = &self.audience.alias;
            if self.wire.ended().is_some() {
                tracing::debug!(%alias, "an upstream is not listened to any more: {refusal}");
            } else {
                tracing::info!(%alias, "an upstream does not say when its lists change: {refusal}");
            }
        };
        Some(AbortOnDropHandle::new(tokio::spawn(hear)))
    }

    /// Returns what the upstream says if it has no such streams at all.
    async fn hear_lists(&self, wanted: Map<String, Value>, stands: oneshot::Sender<()>) -> String {
        let (mut stands, mut waits) = (Some(stands), Waits(AGAIN));
        loop {
            let began = Instant::now();
            match self.open(&wanted).await {
                Ok(stream) => {
                    // Whatever changed before the stream stood was not told. Who opened the session reads the lists
                    // afterwards, if it still waits.
                    let is_awaited = stands.take().is_some_and(|stands| stands.send(()).is_ok());
                    if !is_awaited {
                        self.audience.look_again();
                    }
                    self.tell_end(stream.end.await.unwrap_or(Err(Fault::Stopping)));
                }
                Err(Refusal::Error(error)) if words::error_code(&error) == Some(NO_METHOD) => {
                    return self.wire.show(&words::error_message(&error));
                }
                Err(refusal) => self.tell_refusal(&refusal),
            }
            if self.wire.ended().is_some() {
                return "its session ended".into();
            }
            waits.wait(began).await;
        }
    }

    /// Opens a stream, and returns when the upstream has acknowledged it.
    async fn open(&self, wanted: &Map<String, Value>) -> Result<Stream, Refusal> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let params = Map::from_iter([("notifications".to_owned(), Value::Object(wanted.clone()))]);
        let (request, headers) = era::own_request(self.introduced.as_deref(), id, &Method::Listen, params);
        let (sender, acknowledged) = oneshot::channel();
        let (wire, lane) = (self.wire.clone(), self.lane);
        let hear = async move { wire.hear(lane, id, request.bytes().clone(), &headers, sender).await };
        let end = AbortOnDropHandle::new(tokio::spawn(hear));
        tokio::select! {
            biased;
            acknowledged = acknowledged => match acknowledged {
                Ok(notice) => Ok(Stream { topics: agreed(&notice), end }),
                Err(_) => Err(match end.await.unwrap_or(Err(Fault::Stopping)) {
                    Ok(answer) if answer.is_error => Refusal::Error(answer.payload()),
                    Ok(_) => {
                        Refusal::Fault(Fault::NotMcp("it ended a subscription that it did not acknowledge".into()))
                    }
                    Err(fault) => Refusal::Fault(fault),
                }),
            },
            () = sleep(self.patience) => {
                Err(Refusal::Fault(Fault::Timeout { step: "acknowledge a subscription", after: self.patience }))
            }
        }
    }

    fn tell_end(&self, ended: Result<Answer, Fault>) {
        let alias = &self.audience.alias;
        match ended {
            Ok(_) => tracing::debug!(%alias, "an upstream ended a subscription"),
            Err(fault) => tracing::debug!(%alias, %fault, "the stream of a subscription was lost"),
        }
    }

    fn tell_refusal(&self, refusal: &Refusal) {
        let alias = &self.audience.alias;
        match refusal {
            Refusal::Error(error) => {
                let said = self.wire.show(&words::error_message(error));
                tracing::info!(%alias, "an upstream refused a subscription: {said}");
            }
            Refusal::Fault(fault) => {
                tracing::debug!(%alias, %fault, "a subscription could not be opened");
                // The supervisor finds out whether it is still there.
                self.audience.signals.want();
            }
        }
    }
}

/// The resources and tasks that an acknowledgement names.
fn agreed(notice: &Notice) -> BTreeSet<Topic> {
    let Some(params) = notice.params() else { return BTreeSet::new() };
    let named = |key: &str| {
        let all = Part::of(&params).member("notifications").and_then(|all| all.member(key));
        let all = all.and_then(Part::items).unwrap_or_default();
        all.into_iter().filter_map(Part::string).map(|text| text.as_ref().into()).collect::<Vec<Arc<str>>>()
    };
    let uris = named(RESOURCES).into_iter().map(Topic::Resource);
    uris.chain(named(TASKS).into_iter().map(Topic::Task)).collect()
}

// === impl Watch ===

impl Watch {
    pub(crate) fn new(ear: Ear) -> Self {
        Self { ear, current: Mutex::default() }
    }

    /// Subscribes to what `choose` makes of what is subscribed to, and to nothing else; returns what the upstream agreed
    /// to.
    ///
    /// The stream that was is dropped only when the new one stands, so that no update is missed; if there is no new one,
    /// everything stays as it was.
    pub(crate) async fn change(
        &self,
        choose: impl FnOnce(&BTreeSet<Topic>) -> BTreeSet<Topic>,
    ) -> Result<BTreeSet<Topic>, Refusal> {
        let mut current = self.current.lock().await;
        let wanted = choose(current.as_ref().map_or(&BTreeSet::new(), |current| &current.agreed));
        if wanted.is_empty() {
            *current = None;
            return Ok(wanted);
        }
        if let Some(current) = current.as_ref().filter(|current| current.asked == wanted) {
            return Ok(current.agreed.clone());
        }
        let stream = self.ear.open(&filter(&wanted)).await?;
        let agreed = stream.topics.clone();
        let keep = keep(self.ear.clone(), agreed.clone(), stream);
        let keeper = AbortOnDropHandle::new(tokio::spawn(keep));
        *current = Some(Watched { asked: wanted, agreed: agreed.clone(), _keeper: keeper });
        Ok(agreed)
    }
}

fn filter(topics: &BTreeSet<Topic>) -> Map<String, Value> {
    let (mut uris, mut tasks) = (Vec::new(), Vec::new());
    for topic in topics {
        match topic {
            Topic::Resource(uri) => uris.push(&**uri),
            Topic::Task(id) => tasks.push(&**id),
        }
    }
    let named = [(RESOURCES, uris), (TASKS, tasks)].into_iter().filter(|(_, all)| !all.is_empty());
    named.map(|(key, all)| (key.to_owned(), json!(all))).collect()
}

/// Opens a stream again whenever it ends.
async fn keep(ear: Ear, topics: BTreeSet<Topic>, stream: Stream) {
    let (mut stream, mut waits) = (Some(stream), Waits(AGAIN));
    loop {
        let began = Instant::now();
        if let Some(stream) = stream.take() {
            ear.tell_end(stream.end.await.unwrap_or(Err(Fault::Stopping)));
        }
        if ear.wire.ended().is_some() {
            return;
        }
        waits.wait(began).await;
        match ear.open(&filter(&topics)).await {
            Ok(next) => {
                // Nobody knows what was not told meanwhile. Who waits for a task asks for it as well.
                for uri in topics.iter().filter_map(Topic::uri) {
                    let params = Raw::of(&json!({"uri": uri}));
                    ear.audience.hear(&Notice::new(&Method::ResourcesUpdated, Some(&params)));
                }
                stream = Some(next);
            }
            Err(refusal) => ear.tell_refusal(&refusal),
        }
    }
}

// === impl Waits ===

impl Waits {
    /// Waits before what began then and ended is begun again.
    async fn wait(&mut self, began: Instant) {
        if began.elapsed() > GOOD {
            self.0 = AGAIN;
        }
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(AGAIN_MOST);
    }
}
