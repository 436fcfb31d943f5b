//! A configuration key as it is described: names, kind, default, meaning. Lists no key.

use super::kind::{Kind, SettingValue};
use super::raw::Raw;

/// Prefix of every environment variable of the server.
pub const ENV_PREFIX: &str = "ROOMRING_";

/// How much of a value is hidden where values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Nothing.
    Open,
    /// The whole value.
    Secret,
    /// The password and the query of a URL.
    Url,
}

/// When a new value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// On SIGHUP.
    Hangup,
    /// At the next start.
    Restart,
}

/// Values that need a part of the product that this version lacks.
#[derive(Clone, Copy, Debug)]
pub struct Lacks {
    /// The words of a choice; `None`: every value but the default.
    pub words: Option<&'static [&'static str]>,
    /// The part.
    pub part: &'static str,
}

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The table that holds the key.
    pub section: &'static str,
    /// The name in the table.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// The default as it would be written in the environment.
    pub default: &'static str,
    /// The meaning, in one line.
    pub doc: &'static str,
    /// Values that need a part of the product that this version lacks, and that part.
    pub lacks: Option<Lacks>,
    /// The part of the product that reads the key and this version lacks: the value has no effect.
    pub without_effect: Option<&'static str>,
    /// How much of the value is hidden.
    pub secrecy: Secrecy,
    /// Whether a `[[rooms.class]]` may override it.
    pub by_class: bool,
    /// When a change takes effect.
    pub reload: Reload,
}

impl Key {
    pub(super) const fn new(
        section: &'static str,
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self {
            section,
            name,
            kind,
            default,
            doc,
            lacks: None,
            without_effect: None,
            secrecy: Secrecy::Open,
            by_class: false,
            reload: Reload::Restart,
        }
    }

    pub(super) const fn needs(mut self, part: &'static str) -> Self {
        self.lacks = Some(Lacks { words: None, part });
        self
    }

    pub(super) const fn lacks(mut self, words: &'static [&'static str], part: &'static str) -> Self {
        self.lacks = Some(Lacks { words: Some(words), part });
        self
    }

    pub(super) const fn without_effect(mut self, part: &'static str) -> Self {
        self.without_effect = Some(part);
        self
    }

    pub(super) const fn secrecy(mut self, secrecy: Secrecy) -> Self {
        self.secrecy = secrecy;
        self
    }

    pub(super) const fn by_class(mut self) -> Self {
        self.by_class = true;
        self
    }

    pub(super) const fn hangup(mut self) -> Self {
        self.reload = Reload::Hangup;
        self
    }

    /// `section.key`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// `ROOMRING_SECTION__KEY`.
    #[must_use]
    pub fn env_name(&self) -> String {
        format!("{ENV_PREFIX}{}__{}", self.section.to_ascii_uppercase(), self.name.to_ascii_uppercase())
    }

    /// The default as a value.
    #[must_use]
    pub fn default_value(&self) -> SettingValue {
        self.kind.parse(&Raw::Word(self.default.into())).expect("a test reads every default")
    }
}
