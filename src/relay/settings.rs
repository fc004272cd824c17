//! Whether what callers send and upstreams answer is checked against the schemas of tools.

/// What is checked of one alias's tools. Nothing, unless its file asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    /// The arguments of calls, against `inputSchema`.
    pub arguments: Arguments,
    /// What calls answer, against `outputSchema`.
    pub results: Results,
}

/// What becomes of a call whose arguments do not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arguments {
    /// Nobody looks.
    #[default]
    Off,
    /// It is made, and the log says so.
    Warn,
    /// It is not made, and the caller is told what does not fit.
    Enforce,
}

/// What becomes of a result that does not fit: it is passed on in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Results {
    /// Nobody looks.
    #[default]
    Off,
    /// The log says so.
    Warn,
}

// === impl Validation ===

impl Validation {
    /// Whether anything is checked at all.
    pub fn is_on(self) -> bool {
        self != Self::default()
    }
}
