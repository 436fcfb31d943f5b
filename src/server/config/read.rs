//! One value of one key, from TOML or from a word. Layers no sources.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{Key, Secrecy};
use super::kind::SettingValue;
use super::raw::Raw;

/// The text that stands for a secret where it must not be shown.
pub const MASK: &str = "***";

/// Reads one value of a key.
///
/// # Errors
/// What is wrong with the value, and what would be right.
pub fn read_value(key: &Key, raw: &Raw) -> Result<SettingValue, String> {
    if key.secrecy != Secrecy::Open && raw.text().is_some_and(|text| text.contains(MASK)) {
        return Err("holds the mask that print-config writes in place of a secret; write the secret itself".into());
    }
    key.kind.parse(raw).map_err(|wrong| {
        let shown = if key.secrecy == Secrecy::Open { raw.shown() } else { "the value".into() };
        format!("{shown} {wrong}; it must be {}", key.kind.expected())
    })
}

/// A name of a TOML table and its value.
pub type TableEntry<'t, 'i> = (&'t Spanned<Cow<'i, str>>, &'t Spanned<DeValue<'i>>);

/// The entries of a table as they were written, not by name.
pub fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<TableEntry<'t, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// A name without control characters, which could break out of the line of a message.
#[must_use]
pub fn printable(name: &str) -> String {
    name.chars().take(100).map(|c| if c.is_control() { '?' } else { c }).collect()
}
