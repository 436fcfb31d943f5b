//! What a check comes to: the form of one line of the report. Knows no host.

use serde::Serialize;

/// How good a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// The server cannot serve like this.
    Fail,
    /// It serves, but less or slower than it could.
    Warn,
    /// As it should be.
    Ok,
}

/// What a check is about, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// The kernel and its io_uring.
    Kernel,
    /// Limits of the process and of its unit.
    Limits,
    /// Addresses and ports.
    Addresses,
    /// TCP.
    Network,
    /// Memory.
    Memory,
    /// CPUs.
    Processor,
    /// Network cards.
    Cards,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub topic: Topic,
    /// What was looked at.
    pub name: String,
    /// How good it is.
    pub status: CheckStatus,
    /// The value found.
    pub found: String,
    /// The value wanted.
    pub wanted: String,
    /// Why it is wanted, in few words.
    pub why: String,
    /// The command, or the line of a file, that mends it. Empty for what is [`CheckStatus::Ok`].
    pub mend: String,
}

impl Finding {
    /// One that is as it should be.
    #[must_use]
    pub fn new(topic: Topic, name: &str, found: impl Into<String>) -> Self {
        let (name, found) = (name.to_owned(), found.into());
        let (wanted, why, mend) = (String::new(), String::new(), String::new());
        Finding { topic, name, status: CheckStatus::Ok, found, wanted, why, mend }
    }

    /// What is wanted, and why.
    #[must_use]
    pub fn wants(mut self, wanted: impl Into<String>, why: impl Into<String>) -> Self {
        (self.wanted, self.why) = (wanted.into(), why.into());
        self
    }

    /// Makes it a warning, with what mends it, unless `holds`.
    #[must_use]
    pub fn warn_unless(self, holds: bool, mend: impl Into<String>) -> Self {
        self.worse_unless(holds, CheckStatus::Warn, mend)
    }

    /// Makes it a failure, with what mends it, unless `holds`.
    #[must_use]
    pub fn fail_unless(self, holds: bool, mend: impl Into<String>) -> Self {
        self.worse_unless(holds, CheckStatus::Fail, mend)
    }

    fn worse_unless(mut self, holds: bool, status: CheckStatus, mend: impl Into<String>) -> Self {
        if !holds && status < self.status {
            (self.status, self.mend) = (status, mend.into());
        }
        self
    }
}
