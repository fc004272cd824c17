//! Who is calling: keys are looked up by their hash and compared in constant time.

use crate::policy::{grant::Grant, settings::Settings};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, fmt, sync::Arc};
use subtle::ConstantTimeEq as _;

/// Somebody who may come in.
#[derive(Debug)]
pub struct Identity {
    /// Tells keys apart; a session belongs to one.
    pub key: KeyId,
    /// How logs call the key.
    pub name: String,
    /// Whether it is the master key (or, where no key is configured, anybody on this machine).
    pub is_master: bool,
    /// What it may use.
    pub grant: Grant,
}

/// Tells keys apart without being one: a part of the key's hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u64);

/// All that may come in.
#[derive(Debug)]
pub struct Keys {
    by_hash: HashMap<[u8; 32], Arc<Identity>>,
    anybody: Option<Arc<Identity>>,
}

/// Why somebody may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No key came with the request.
    #[error("a key is needed: send `Authorization: Bearer KEY` or `x-litellm-api-key: KEY`")]
    Missing,
    /// There is a header, but not in a form that holds a key.
    #[error("the key has the wrong form: `Authorization` must be `Bearer KEY`")]
    Form,
    /// Nobody has this key.
    #[error("this key is not known here: check it, or ask the operator of this gateway for one")]
    Unknown,
}

// === impl Identity ===

impl Identity {
    /// Who started the gateway: everything is granted, and no key is needed for it.
    pub fn operator() -> Self {
        Self { key: KeyId::NOBODY, name: "operator".into(), is_master: true, grant: Grant::everything(0) }
    }
}

// === impl Keys ===

impl Keys {
    /// Compiles the settings; the text says which key's globs are none. `separator` is that of tool names.
    pub fn new(settings: &Settings, separator: &str) -> Result<Self, String> {
        if settings.is_keyless() {
            let anybody = Identity { name: "anybody".into(), ..Identity::operator() };
            return Ok(Self { by_hash: HashMap::new(), anybody: Some(Arc::new(anybody)) });
        }
        let mut by_hash = HashMap::new();
        for (key, number) in settings.keys.iter().zip(2..) {
            let hash = hash(key.secret.expose_secret());
            let grant = Grant::new(number, key.aliases.as_deref(), key.tools.as_deref(), separator)
                .map_err(|error| format!("key {}: {error}", key.name))?;
            by_hash.insert(hash, identity(KeyId::of(&hash), key.name.clone(), false, grant));
        }
        if let Some(master) = &settings.master {
            let hash = hash(master.expose_secret());
            by_hash.insert(hash, identity(KeyId::of(&hash), "master".into(), true, Grant::everything(1)));
        }
        Ok(Self { by_hash, anybody: None })
    }

    /// Whether everybody may come in.
    pub fn is_keyless(&self) -> bool {
        self.anybody.is_some()
    }

    /// Who the bearer of this key is.
    pub fn identify(&self, key: Option<&str>) -> Result<Arc<Identity>, Refused> {
        if let Some(anybody) = &self.anybody {
            return Ok(anybody.clone());
        }
        let presented = hash(key.ok_or(Refused::Missing)?);
        // Where the map looks tells at most something about the hash of what was sent; the comparison itself
        // takes the same time whatever it finds.
        match self.by_hash.get_key_value(&presented) {
            Some((known, identity)) if bool::from(known.ct_eq(&presented)) => Ok(identity.clone()),
            _ => Err(Refused::Unknown),
        }
    }
}

impl KeyId {
    /// Nobody's key.
    pub const NOBODY: Self = Self(0);

    /// As a number, for rooms that do not know keys.
    pub fn number(self) -> u64 {
        self.0
    }

    fn of(hash: &[u8; 32]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self(u64::from_be_bytes(first))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

fn identity(key: KeyId, name: String, is_master: bool, grant: Grant) -> Arc<Identity> {
    Arc::new(Identity { key, name, is_master, grant })
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}
