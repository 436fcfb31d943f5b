//! Where a value came from, and what is wrong with one. Reads and decides nothing.

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

/// How a mistake bears on the rest of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// What was written could not be understood, so the effective configuration is not known.
    Unreadable,
    /// The effective configuration is known, and the server cannot run with it.
    Refused,
}

/// One thing to put right, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// How it bears on the rest.
    pub severity: Severity,
    /// Where it was written, if it was.
    pub origin: Origin,
    /// `section.key`, or empty when no single key is at fault.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

impl Mistake {
    /// Something that could not be understood.
    pub fn unreadable(origin: &Origin, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { severity: Severity::Unreadable, origin: origin.clone(), key: key.into(), text: text.into() }
    }

    /// Something that the server cannot run with.
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
