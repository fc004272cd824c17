//! The keys as a file gives them, checked.

use secrecy::SecretString;

/// Who may come in, and what each may use.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The key that may do everything, if there is one.
    pub master: Option<SecretString>,
    /// The virtual keys.
    pub keys: Vec<KeySettings>,
}

/// One virtual key.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// What the client sends.
    pub secret: SecretString,
    /// How logs call this key; never the secret.
    pub name: String,
    /// Globs over aliases; `None` allows all.
    pub aliases: Option<Vec<String>>,
    /// Globs over tools, matched against `{alias}{separator}{native}` and the public name; `None` allows all.
    pub tools: Option<Vec<String>>,
}

impl Settings {
    /// Whether anybody may come in without a key (then the listener stays on loopback).
    pub fn is_keyless(&self) -> bool {
        self.master.is_none() && self.keys.is_empty()
    }
}
