//! A LiteLLM file as a draft of ours, with a line about everything in it that has no meaning here.
//!
//! **Invariant:** every key of the file is served, mentioned in a notice, or a finding.

use crate::config::{
    document::Document,
    draft::{Draft, FormatDraft, KeyDraft},
    finding::Report,
    litellm_keys::{GENERAL, LIBRARY, MARKS, OTHER_LIBRARY, RESTRICTIONS, TOP, UNKNOWN, VIRTUAL_KEY, said},
    litellm_server,
    place::{Place, Step},
    quantity::Size,
    secret::Trouble,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What one import collects.
pub(crate) struct Import<'load> {
    pub(crate) document: &'load mut Document,
    pub(crate) report: &'load mut Report,
    pub(crate) draft: Draft,
    /// The file with its placeholders filled in.
    value: Value,
    /// Each line, by its pattern and text: which note it is.
    known: BTreeMap<(String, String), usize>,
    notes: Vec<Note>,
    /// The names of keys, and the number that each was given last.
    names: BTreeMap<String, usize>,
}

/// One line at start, about one key wherever it stands.
struct Note {
    pattern: String,
    text: String,
    first: Place,
    count: usize,
}

/// Whether a file is LiteLLM's.
pub(crate) fn recognises(raw: &Value) -> bool {
    MARKS.iter().any(|mark| raw.get(mark).is_some())
}

/// Makes a draft of a LiteLLM file.
pub(crate) fn import(document: &mut Document, report: &mut Report) -> Draft {
    let value = document.value().clone();
    let mut import = Import {
        document,
        report,
        draft: Draft::default(),
        value,
        known: BTreeMap::new(),
        notes: Vec::new(),
        names: BTreeMap::new(),
    };
    import.placeholders();
    import.top();
    import.general();
    import.library();
    litellm_server::import(&mut import);
    import.virtual_keys();
    import.say();
    import.draft
}

impl Import<'_> {
    /// The map at a place; nothing if it is not there. Something else there is a finding.
    pub(crate) fn map(&mut self, place: &Place) -> Map<String, Value> {
        match place.resolve(&self.value) {
            None => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(_) => {
                self.report.wrong(self.document, place, "a map");
                Map::new()
            }
        }
    }

    /// The text at a place; nothing if it is not there. Something else there is a finding.
    pub(crate) fn text(&mut self, place: &Place) -> Option<String> {
        match place.resolve(&self.value)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            _ => {
                self.report.wrong(self.document, place, "text").hint("put it in quotes");
                None
            }
        }
    }

    /// The texts of the list at a place; `None` if it is not there. Anything else there is a finding.
    pub(crate) fn texts(&mut self, place: &Place) -> Option<Vec<String>> {
        let Value::Array(items) = place.resolve(&self.value)?.clone() else {
            self.report.wrong(self.document, place, "a list");
            return None;
        };
        Some((0..items.len()).filter_map(|index| self.text(&place.index(index))).collect())
    }

    /// The positive number at a place, also if it is written as text.
    pub(crate) fn number(&mut self, place: &Place) -> Option<f64> {
        let number = match place.resolve(&self.value)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| *number > 0.0 && *number < 1e9);
        if number.is_none() {
            self.report.wrong(self.document, place, "a number of more than 0");
        }
        number
    }

    /// Remembers a line for the start; keys of list elements and of servers share one.
    pub(crate) fn note(&mut self, place: &Place, text: impl Into<String>) {
        let text = text.into();
        let is_server = place.steps().first() == Some(&Step::Key("mcp_servers".into()));
        let mut pattern = Place::root();
        for (depth, step) in place.steps().iter().enumerate() {
            pattern = match step {
                Step::Index(_) => pattern.key("*"),
                Step::Key(_) if is_server && depth == 1 => pattern.key("*"),
                Step::Key(name) => pattern.key(name),
            };
        }
        let pattern = pattern.to_string();
        let index = *self.known.entry((pattern.clone(), text.clone())).or_insert(self.notes.len());
        match self.notes.get_mut(index) {
            Some(note) => note.count += 1,
            None => self.notes.push(Note { pattern, text, first: place.clone(), count: 1 }),
        }
    }

    fn say(&mut self) {
        for note in &self.notes {
            match note.count {
                1 => self.report.notice(self.document, &note.first, &note.text),
                count => self.report.notice_as(self.document, &note.first, |_| {
                    format!("{} ({count} times): {}", note.pattern, note.text)
                }),
            }
        }
    }

    /// An unresolved placeholder is a mistake where it is used, and worth a line where it is not.
    fn placeholders(&mut self) {
        let troubles: Vec<(Place, Trouble)> = self.document.troubles().to_vec();
        for (place, trouble) in troubles {
            let (found, expected, hint) = trouble.words();
            if is_served(&place) {
                self.report.found(self.document, &place, found, expected).hint(hint);
                place.prune(&mut self.value);
            } else {
                self.note(&place, format!("found {found}; that does no harm, since it is not used here"));
            }
        }
    }

    fn top(&mut self) {
        let map = self.map(&Place::root());
        for (name, value) in &map {
            let place = Place::root().key(name);
            match name.as_str() {
                "mcp_servers" | "litellm_settings" | "general_settings" | "mcp_aliases" | "virtual_keys" => {}
                "model_list" => {
                    let models = value.as_array().map(Vec::as_slice).unwrap_or_default();
                    let names: Vec<&str> = models
                        .iter()
                        .filter_map(|model| model.get("model_name").and_then(Value::as_str))
                        .collect();
                    let names = names.join(", ");
                    self.note(
                        &place,
                        format!("models ({names}) are not served by this version, only MCP is"),
                    );
                }
                name if is_ours(name) => {
                    self.report
                        .found(
                            self.document,
                            &place,
                            "a key of trunkline.yaml in a file of LiteLLM",
                            "one or the other",
                        )
                        .hint("take it out, or write the servers as `upstreams` and the keys as `keys`");
                }
                name => self.note(&place, said(TOP, name).unwrap_or(UNKNOWN)),
            }
        }
    }

    fn general(&mut self) {
        let section = Place::root().key("general_settings");
        for name in self.map(&section).keys() {
            let place = section.key(name);
            match name.as_str() {
                "master_key" => {
                    self.draft.master_key = self.text(&place).map(Into::into);
                    self.document.rename(Place::root().key("master_key"), place);
                }
                "max_request_size_mb" => {
                    self.draft.limits.body = self.number(&place).and_then(megabytes);
                }
                name => self.note(&place, said(GENERAL, name).unwrap_or(UNKNOWN)),
            }
        }
    }

    fn library(&mut self) {
        let section = Place::root().key("litellm_settings");
        for (name, value) in &self.map(&section) {
            let place = section.key(name);
            match name.as_str() {
                "mcp_aliases" => {}
                "json_logs" if *value == Value::Bool(true) => self.draft.log.format = Some(FormatDraft::Json),
                "json_logs" => self.note(&place, "logs are text"),
                name => self.note(&place, said(LIBRARY, name).unwrap_or(OTHER_LIBRARY)),
            }
        }
    }

    fn virtual_keys(&mut self) {
        let section = Place::root().key("virtual_keys");
        let count = match section.resolve(&self.value) {
            None => 0,
            Some(Value::Array(keys)) => keys.len(),
            Some(_) => {
                self.report.wrong(self.document, &section, "a list");
                0
            }
        };
        for index in 0..count {
            let place = section.index(index);
            let key = self.virtual_key(&place);
            let draft = Place::root().key("keys").index(self.draft.keys.len());
            self.document.rename(draft.clone(), place.clone());
            self.document.rename(draft.key("key"), place.key("api_key"));
            self.draft.keys.push(key);
        }
    }

    fn virtual_key(&mut self, place: &Place) -> KeyDraft {
        let map = self.map(place);
        let mut key = KeyDraft::default();
        for name in map.keys() {
            let place = place.key(name);
            match name.as_str() {
                "api_key" => key.key = self.text(&place).map(Into::into),
                "user" | "user_id" => key.user = self.text(&place),
                "name" | "key_alias" => key.name = self.text(&place),
                "aliases" => key.aliases = self.texts(&place),
                "tools" => key.tools = self.texts(&place),
                name if RESTRICTIONS.contains(&name) => {
                    self.report
                        .found(self.document, &place, "a restriction that this version does not enforce", "none")
                        .hint("restrict the key with `aliases: [db]` and `tools: [\"db-list_*\"]`, or take it out");
                }
                name => self.note(&place, said(VIRTUAL_KEY, name).unwrap_or(UNKNOWN)),
            }
        }
        if place.key("api_key").resolve(self.document.raw()).is_none() {
            self.report.wrong(self.document, &place.key("api_key"), "what the client sends as its key");
        }
        self.distinguish(&mut key, place);
        key
    }

    /// One user may have several keys here; the logs need a name for each.
    fn distinguish(&mut self, key: &mut KeyDraft, place: &Place) {
        let Some(wanted) = key.name.clone().or_else(|| key.user.clone()) else { return };
        let mut name = wanted.clone();
        let mut count = self.names.get(&wanted).copied().unwrap_or(1);
        while self.names.contains_key(&name) {
            count += 1;
            name = format!("{wanted}-{count}");
        }
        self.names.insert(wanted.clone(), count);
        self.names.entry(name.clone()).or_insert(1);
        if name != wanted {
            self.note(place, format!("`{wanted}` has several keys; the logs call this one `{name}`"));
        }
        key.name = Some(name);
    }
}

/// Whether Trunkline uses what stands at a place.
fn is_served(place: &Place) -> bool {
    let Some(Step::Key(section)) = place.steps().first() else { return true };
    let inner = place.steps().iter().skip(1).find_map(|step| match step {
        Step::Key(name) => Some(&**name),
        Step::Index(_) => None,
    });
    match &**section {
        "mcp_servers" => match place.steps().get(2) {
            Some(Step::Key(name)) => litellm_server::SERVED.contains(&&**name),
            _ => true,
        },
        "virtual_keys" => inner.is_none_or(|name| said(VIRTUAL_KEY, name).is_none()),
        "general_settings" => inner.is_some_and(|name| matches!(name, "master_key" | "max_request_size_mb")),
        "litellm_settings" => inner == Some("mcp_aliases"),
        "mcp_aliases" => true,
        _ => false,
    }
}

/// Whether a key at the top is one of trunkline.yaml.
fn is_ours(name: &str) -> bool {
    [
        "listen",
        "public_url",
        "allowed_hosts",
        "allowed_origins",
        "aliases",
        "upstreams",
        "names",
        "master_key",
        "keys",
        "limits",
        "timeouts",
        "log",
    ]
    .contains(&name)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be between 0 and 1e9"
)]
fn megabytes(number: f64) -> Option<Size> {
    usize::try_from((number * 1_048_576.0) as u64).ok().filter(|bytes| *bytes > 0).map(Size)
}
