//! What is wrong with a configuration, and what is only worth a line: collected, never the first one alone.

use crate::config::{document::Document, place::Place, text};
use std::fmt;

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default, thiserror::Error)]
pub struct Findings {
    /// What is wrong, in the order of the files.
    pub findings: Vec<Finding>,
    /// What is worth knowing beside that.
    pub notices: Vec<String>,
    /// How many more things are wrong than are listed.
    pub more: usize,
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
    notices: Vec<String>,
    /// Findings and notices beyond those that are kept.
    more: usize,
    more_notices: usize,
    /// Takes what is not kept.
    surplus: Option<Finding>,
}

/// Nobody reads more findings than these, or more notices.
const MOST: usize = 100;

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
        let found = if self.is_full() { String::new() } else { document.found(place) };
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
        // A place is not looked for in vain: that takes its time in large files.
        let (line, path) = if self.is_full() {
            (None, String::new())
        } else {
            let place = document.original(place);
            (document.line(&place), place.to_string())
        };
        self.outside(Finding {
            file: document.name().into(),
            line,
            path,
            found: found.into(),
            expected: expected.into(),
            hint: None,
        })
    }

    /// Something is wrong that stands in no file.
    pub(crate) fn outside(&mut self, finding: Finding) -> &mut Finding {
        if self.is_full() {
            self.more += 1;
            return self.surplus.insert(finding);
        }
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// Something in a file is worth a line at start.
    pub(crate) fn notice(&mut self, document: &Document, place: &Place, text: impl fmt::Display) {
        self.notice_as(document, place, |place| format!("{place}: {text}"));
    }

    /// The same, and the text says the place in a way of its own.
    pub(crate) fn notice_as(
        &mut self,
        document: &Document,
        place: &Place,
        text: impl FnOnce(&Place) -> String,
    ) {
        if self.notices.len() >= MOST {
            self.more_notices += 1;
            return;
        }
        let place = document.original(place);
        let line = document.line(&place).map(|line| format!(":{line}")).unwrap_or_default();
        self.remark(format!("{}{line}: {}", document.name(), text(&place)));
    }

    /// Something that stands in no file is worth a line at start.
    pub(crate) fn remark(&mut self, text: String) {
        if self.notices.len() < MOST {
            self.notices.push(text::plain(&text));
        } else {
            self.more_notices += 1;
        }
    }

    /// Whether further findings are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.findings.len() >= MOST
    }

    /// Everything that was collected.
    pub(crate) fn into_findings(self) -> Findings {
        let Self { findings, mut notices, more, more_notices, .. } = self;
        if more_notices > 0 {
            notices.push(format!("and {more_notices} more"));
        }
        Findings { findings, notices, more }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&text::plain(&self.file))?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        let line = format!(": {}: found {}; expected {}", self.path, self.found, self.expected);
        formatter.write_str(&text::plain(&line))?;
        match &self.hint {
            Some(hint) => write!(formatter, "\n    hint: {}", text::plain(hint)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.findings.len() + self.more {
            1 => writeln!(formatter, "the configuration has 1 mistake:")?,
            count => writeln!(formatter, "the configuration has {count} mistakes:")?,
        }
        for finding in &self.findings {
            writeln!(formatter, "  {finding}")?;
        }
        if self.more > 0 {
            writeln!(formatter, "  and {} more", self.more)?;
        }
        Ok(())
    }
}
