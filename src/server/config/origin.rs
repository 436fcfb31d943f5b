//! The origin of a value, and a mistake in one. Reads and decides nothing.

use std::fmt;

/// The source of an effective value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File {
        /// As it was named or found.
        path: String,
        /// From 1.
        line: usize,
    },
    /// An environment variable of this name.
    Env(String),
    /// A `--set` of the command line.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{path}:{line}"),
            Origin::Env(name) => f.write_str(name),
            Origin::Set => f.write_str("--set"),
        }
    }
}

/// How much a mistake spoils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// A value could not be read, so the effective configuration is unknown.
    Unreadable,
    /// The effective configuration is known, and the server cannot run with it.
    Refused,
}

/// One thing to put right, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// How much it spoils.
    pub severity: Severity,
    /// Where it was written; the default if it was not.
    pub origin: Origin,
    /// `section.key`; empty if no single key is at fault.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

impl Mistake {
    /// A value that could not be read.
    pub fn unreadable(origin: &Origin, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { severity: Severity::Unreadable, origin: origin.clone(), key: key.into(), text: text.into() }
    }

    /// A value that the server cannot run with.
    pub fn refused(origin: &Origin, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { severity: Severity::Refused, origin: origin.clone(), key: key.into(), text: text.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.key.as_str()) {
            (Origin::Default, "") => {}
            (Origin::Default, key) => write!(f, "{key}: ")?,
            (origin, "") => write!(f, "{origin}: ")?,
            (Origin::Set, key) => write!(f, "--set {key}: ")?,
            (origin, key) => write!(f, "{origin}: {key}: ")?,
        }
        f.write_str(&self.text)
    }
}
