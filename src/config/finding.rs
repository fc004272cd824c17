//! What is wrong with a configuration, and what is only worth a line: collected, never the first one alone.

use crate::config::{document::Document, place::Place};
use std::fmt;

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default, thiserror::Error)]
pub struct Findings {
    /// What is wrong, in the order of the files.
    pub findings: Vec<Finding>,
    /// What is worth knowing beside that.
    pub notices: Vec<String>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, or `environment` or `command line`.
    pub file: String,
    /// The line in the file, if it is known.
    pub line: Option<usize>,
    /// The path in the file.
    pub path: String,
    /// What is there; never a secret.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Where findings and notices are collected.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) notices: Vec<String>,
}

impl Finding {
    /// Adds what to do about it.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }
}

impl Report {
    /// Something in a file is wrong; what was found is read from the file.
    pub(crate) fn wrong(
        &mut self,
        document: &Document,
        place: &Place,
        expected: impl Into<String>,
    ) -> &mut Finding {
        let found = document.found(place);
        self.found(document, place, found, expected)
    }

    /// Something in a file is wrong, and what was found takes a word of its own.
    pub(crate) fn found(
        &mut self,
        document: &Document,
        place: &Place,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> &mut Finding {
        let place = document.original(place);
        self.outside(Finding {
            file: document.name().into(),
            line: document.line(&place),
            path: place.to_string(),
            found: found.into(),
            expected: expected.into(),
            hint: None,
        })
    }

    /// Something is wrong that stands in no file.
    pub(crate) fn outside(&mut self, finding: Finding) -> &mut Finding {
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// Something in a file is worth a line at start.
    pub(crate) fn notice(&mut self, document: &Document, place: &Place, text: impl fmt::Display) {
        let place = document.original(place);
        let line = document.line(&place).map(|line| format!(":{line}")).unwrap_or_default();
        self.notices.push(format!("{}{line}: {place}: {text}", document.name()));
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}: found {}; expected {}", self.path, self.found, self.expected)?;
        match &self.hint {
            Some(hint) => write!(formatter, "\n    hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.findings.len() {
            1 => writeln!(formatter, "the configuration has 1 mistake:")?,
            count => writeln!(formatter, "the configuration has {count} mistakes:")?,
        }
        for finding in &self.findings {
            writeln!(formatter, "  {finding}")?;
        }
        Ok(())
    }
}
