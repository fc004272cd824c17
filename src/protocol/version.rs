//! The protocol's revisions, and what differs between them on the wire.

use rmcp::model::ProtocolVersion;

/// A revision that is spoken here, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 2024-11-05: HTTP+SSE.
    V2024_11_05,
    /// 2025-03-26: streamable HTTP, batches.
    V2025_03_26,
    /// 2025-06-18: batches removed, structured output, `MCP-Protocol-Version`.
    V2025_06_18,
    /// 2025-11-25: the last of the handshake era.
    V2025_11_25,
    /// 2026-07-28: the first of the stateless era.
    V2026_07_28,
}

// === impl Version ===

impl Version {
    /// Those of the handshake era, oldest first.
    pub const HANDSHAKE: [Self; 4] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];
    /// The newest of the handshake era.
    pub const LATEST: Self = Self::V2025_11_25;
    /// The one of the stateless era.
    pub const STATELESS: Self = Self::V2026_07_28;

    /// As it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision of the handshake era of that name, if it is spoken here.
    pub fn parse(text: &str) -> Option<Self> {
        Self::HANDSHAKE.into_iter().find(|version| version.as_str() == text)
    }

    /// Whether it is of the stateless era: no handshake, everything in each request.
    pub fn is_stateless(self) -> bool {
        self >= Self::STATELESS
    }

    /// What to answer to a client that asks for `requested`: the same if possible, else the newest
    /// (lifecycle, "Version Negotiation").
    pub fn negotiate(requested: &str) -> Self {
        Self::parse(requested).unwrap_or(Self::LATEST)
    }

    /// Whether JSON-RPC batches are part of this revision (removed in 2025-06-18).
    pub fn has_batches(self) -> bool {
        self < Self::V2025_06_18
    }

    /// The names of those of the handshake era, for messages.
    pub fn names() -> String {
        Self::HANDSHAKE.map(Self::as_str).join(", ")
    }

    /// All names, newest first.
    pub fn all_names() -> Vec<&'static str> {
        [Self::STATELESS].into_iter().chain(Self::HANDSHAKE.into_iter().rev()).map(Self::as_str).collect()
    }
}

impl From<Version> for ProtocolVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::V2024_11_05 => Self::V_2024_11_05,
            Version::V2025_03_26 => Self::V_2025_03_26,
            Version::V2025_06_18 => Self::V_2025_06_18,
            Version::V2025_11_25 => Self::V_2025_11_25,
            Version::V2026_07_28 => Self::V_2026_07_28,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Version;
    use rmcp::model::ProtocolVersion;

    #[test]
    fn a_known_version_is_kept_and_any_other_gets_the_newest() {
        for version in Version::HANDSHAKE {
            assert_eq!(Version::negotiate(version.as_str()), version);
            assert_eq!(ProtocolVersion::from(version).to_string(), version.as_str());
        }
        for other in [Version::STATELESS.as_str(), "1999-01-01", "", "latest"] {
            assert_eq!(Version::negotiate(other), Version::V2025_11_25);
        }
    }
}
