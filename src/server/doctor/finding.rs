//! The result of one check: one line of the report. Knows no host.

use serde::Serialize;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// The server cannot serve.
    Fail,
    /// The server serves less, or more slowly, than it could.
    Warn,
    /// The value is as wanted.
    Ok,
}

/// The subject of a check, in the order of the report.
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
    /// The data directory.
    Store,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The subject.
    pub topic: Topic,
    /// The name of the value.
    pub name: String,
    /// The result.
    pub status: CheckStatus,
    /// The value found.
    pub found: String,
    /// The value wanted.
    pub wanted: String,
    /// The reason, in few words.
    pub why: String,
    /// The command, or the line of a file, that sets the value as wanted; empty with [`CheckStatus::Ok`].
    #[serde(rename = "mend")]
    pub fix: String,
}

impl Finding {
    /// A value that is as wanted.
    #[must_use]
    pub fn new(topic: Topic, name: &str, found: impl Into<String>) -> Self {
        let (name, found) = (name.to_owned(), found.into());
        let (wanted, why, fix) = (String::new(), String::new(), String::new());
        Finding { topic, name, status: CheckStatus::Ok, found, wanted, why, fix }
    }

    /// Adds the value wanted and the reason.
    #[must_use]
    pub fn wants(mut self, wanted: impl Into<String>, why: impl Into<String>) -> Self {
        (self.wanted, self.why) = (wanted.into(), why.into());
        self
    }

    /// Makes it a warning with a fix, unless `holds`.
    #[must_use]
    pub fn warn_unless(self, holds: bool, fix: impl Into<String>) -> Self {
        self.worse_unless(holds, CheckStatus::Warn, fix)
    }

    /// Makes it a failure with a fix, unless `holds`.
    #[must_use]
    pub fn fail_unless(self, holds: bool, fix: impl Into<String>) -> Self {
        self.worse_unless(holds, CheckStatus::Fail, fix)
    }

    fn worse_unless(mut self, holds: bool, status: CheckStatus, fix: impl Into<String>) -> Self {
        if !holds && status < self.status {
            (self.status, self.fix) = (status, fix.into());
        }
        self
    }
}
