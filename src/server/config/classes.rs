//! `[[rooms.class]]`: other values of some keys for rooms with names that match a pattern. Judges no value against another.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::Key;
use super::keys::KEYS;
use super::kind::SettingValue;
use super::nearest;
use super::origin::{Mistake, Origin};
use super::raw::{Raw, raw_of};
use super::read::{in_order, printable, read_value};
use super::setting::Setting;

/// Classes in one configuration. Opening a room may try every one.
pub const CLASSES_MAX: usize = 256;

/// Completes "`rooms.class` must be …".
pub(super) const EXPECTED: &str = "a list of tables such as [[rooms.class]] or [{pattern = \"news:*\"}]";

/// Bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 256;

/// Rooms with names that match a pattern, and the values that differ for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// `*` stands for any run of bytes.
    pub pattern: String,
    /// The place of the pattern.
    pub origin: Origin,
    /// Other values, by index in [`KEYS`].
    pub overrides: BTreeMap<usize, Setting>,
}

impl Class {
    /// Whether both have the same pattern and the same values of the keys that count.
    #[must_use]
    pub fn is_same_as(&self, other: &Class, counts: impl Fn(&Key) -> bool) -> bool {
        let values = |class: &Class| -> Vec<_> {
            let overrides = class.overrides.iter().filter(|(index, _)| counts(&KEYS[**index]));
            overrides.map(|(index, setting)| (*index, setting.value.clone())).collect()
        };
        self.pattern == other.pattern && values(self) == values(other)
    }
}

/// Reads the array of tables.
pub(super) fn read(
    value: &Spanned<DeValue<'_>>,
    origin_of: &dyn Fn(usize) -> Origin,
    origin: &Origin,
) -> (Vec<Class>, Vec<Mistake>) {
    let mut classes: Vec<Class> = Vec::new();
    let mut mistakes = Vec::new();
    let DeValue::Array(items) = value.get_ref() else {
        let text = format!("{} is not a list; it must be {EXPECTED}", raw_of(value.get_ref()).shown());
        mistakes.push(Mistake::unreadable(origin, "rooms.class", text));
        return (classes, mistakes);
    };
    if items.len() > CLASSES_MAX {
        let text = format!("more than {CLASSES_MAX} classes; use wider patterns");
        mistakes.push(Mistake::unreadable(origin, "rooms.class", text));
    }
    for item in items.iter().take(CLASSES_MAX) {
        let at = origin_of(item.span().start);
        let DeValue::Table(table) = item.get_ref() else {
            let text = format!(
                "the list holds {}, which is not a table; it must be {EXPECTED}",
                raw_of(item.get_ref()).shown()
            );
            mistakes.push(Mistake::unreadable(&at, "rooms.class", text));
            continue;
        };
        let class = read_class(table, origin_of, &at, &mut mistakes);
        match classes.iter().find(|earlier| earlier.pattern == class.pattern) {
            Some(earlier) if !class.pattern.is_empty() => {
                let text = format!(
                    "{:?} is already the pattern of the class at {}; write one class for it",
                    class.pattern, earlier.origin
                );
                mistakes.push(Mistake::unreadable(&class.origin, "rooms.class.pattern", text));
            }
            _ => classes.push(class),
        }
    }
    (classes, mistakes)
}

fn read_class(
    table: &DeTable<'_>,
    origin_of: &dyn Fn(usize) -> Origin,
    at: &Origin,
    mistakes: &mut Vec<Mistake>,
) -> Class {
    let mut class = Class { pattern: String::new(), origin: at.clone(), overrides: BTreeMap::new() };
    let mut has_pattern = false;
    for (name, value) in in_order(table) {
        let origin = origin_of(name.span().start);
        let raw = raw_of(value.get_ref());
        let name: &str = name.get_ref();
        let result = if name == "pattern" {
            has_pattern = true;
            class.origin = origin.clone();
            read_pattern(&raw).map(|pattern| class.pattern = pattern)
        } else {
            read_override(name, &raw).map(|(index, value)| {
                class.overrides.insert(index, Setting { value, origin: origin.clone() });
            })
        };
        if let Err(text) = result {
            mistakes.push(Mistake::unreadable(&origin, format!("rooms.class.{}", printable(name)), text));
        }
    }
    if !has_pattern {
        let text = "the class has no pattern; add one, such as pattern = \"news:*\"";
        mistakes.push(Mistake::unreadable(at, "rooms.class", text));
    }
    class
}

fn read_pattern(raw: &Raw) -> Result<String, String> {
    match raw {
        Raw::Text(pattern)
            if (1..=PATTERN_BYTES_MAX).contains(&pattern.len()) && !pattern.contains(char::is_control) =>
        {
            Ok(pattern.clone())
        }
        other => Err(format!(
            "{} is not valid; it must be 1 to {PATTERN_BYTES_MAX} bytes without control characters, such as \"news:*\"",
            other.shown()
        )),
    }
}

fn read_override(name: &str, raw: &Raw) -> Result<(usize, SettingValue), String> {
    let known = KEYS.iter().position(|key| key.name == name && (key.by_class || key.section == "rooms"));
    match known {
        Some(index) if KEYS[index].by_class => Ok((index, read_value(&KEYS[index], raw)?)),
        Some(index) => {
            let path = KEYS[index].path();
            Err(format!("a class of rooms cannot set this key; set {path} for all rooms"))
        }
        None => Err(format!("unknown key in a class; did you mean {}?", nearest::nearest_by_class(name))),
    }
}
