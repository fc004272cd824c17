//! Where something stands inside a file, such as `keys[2].tools[0]`.

use serde_json::Value;
use std::{collections::BTreeSet, fmt, sync::Arc};

/// A path inside a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Into a map.
    Key(Arc<str>),
    /// Into a list.
    Index(usize),
}

/// Keys whose value, and whatever is below it, is never shown.
const SECRETS: &[&str] = &[
    "master_key",
    "state_key",
    "key",
    "api_key",
    "bearer",
    "username",
    "password",
    "static_headers",
    "auth_value",
    "authentication_token",
    "database_url",
    "client_secret",
    "env",
    "args",
    "environment_variables",
];

/// What is shown of a key, in characters.
const LONGEST: usize = 80;

impl Place {
    /// The document itself.
    pub(crate) fn root() -> Self {
        Self::default()
    }

    /// One step into a map.
    pub(crate) fn key(&self, name: &str) -> Self {
        self.step(Step::Key(name.into()))
    }

    /// One step into a list.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// One step further.
    pub(crate) fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// From the document inwards.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Where this is in a document that calls `prefix` by the name `by`; `None` if it is not below `prefix`.
    pub(crate) fn moved(&self, prefix: &Self, by: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(&*prefix.0)?;
        Some(Self(by.0.iter().chain(rest).cloned().collect()))
    }

    /// Whether what stands here may be a secret.
    pub(crate) fn is_secret(&self) -> bool {
        // A map of headers has secrets in it; `timeouts.headers` is none.
        let is_below_headers = self.0.iter().rev().skip(1).any(|step| *step == Step::Key("headers".into()));
        is_below_headers
            || self.0.iter().any(|step| matches!(step, Step::Key(name) if SECRETS.contains(&&**name)))
    }

    /// What stands here.
    pub(crate) fn resolve<'value>(&self, root: &'value Value) -> Option<&'value Value> {
        self.0.iter().try_fold(root, |value, step| match step {
            Step::Key(name) => value.get(&**name),
            Step::Index(index) => value.get(index),
        })
    }

    /// Takes these keys out of the map that stands here.
    pub(crate) fn prune_keys(&self, names: &[String], root: &mut Value) {
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let map = self.0.iter().try_fold(root, |value, step| match step {
            Step::Key(name) => value.get_mut(&**name),
            Step::Index(index) => value.get_mut(index),
        });
        if let Some(Value::Object(map)) = map {
            map.retain(|name, _| !names.contains(name.as_str()));
        }
    }

    /// Takes out what stands here: list elements take their whole list along, so that no index moves.
    pub(crate) fn prune(&self, root: &mut Value) {
        let Some(last) = self.0.iter().rposition(|step| matches!(step, Step::Key(_))) else {
            *root = Value::Object(serde_json::Map::new());
            return;
        };
        let mut value = root;
        for step in &self.0[..last] {
            let next = match step {
                Step::Key(name) => value.get_mut(&**name),
                Step::Index(index) => value.get_mut(index),
            };
            let Some(next) = next else { return };
            value = next;
        }
        if let (Value::Object(map), Step::Key(name)) = (value, &self.0[last]) {
            map.shift_remove(&**name);
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("(the whole file)");
        }
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if name.len() > LONGEST => {
                    let short: String = name.chars().take(LONGEST).collect();
                    write!(formatter, "[{short:?}…]")?;
                }
                Step::Index(index) => write!(formatter, "[{index}]")?,
                Step::Key(name) if !is_plain(name) => write!(formatter, "[{name:?}]")?,
                Step::Key(name) if position == 0 => formatter.write_str(name)?,
                Step::Key(name) => write!(formatter, ".{name}")?,
            }
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'*'))
}
