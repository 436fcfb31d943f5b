//! The effective configuration as TOML, each value with its origin. Reading it again gives the same values, except for
//! secrets, which are masked. Writes no file.

use std::fmt::Write;

use super::effective::Config;
use super::key::{Key, Secrecy};
use super::keys::{self, KEYS};
use super::kind::SettingValue;
use super::read::MASK;

/// The whole configuration, one key a line.
#[must_use]
pub fn render(config: &Config) -> String {
    let mut text = String::new();
    for section in keys::sections() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}[{section}]", if text.is_empty() { "" } else { "\n" });
        for (index, setting) in config.settings().filter(|(index, _)| KEYS[*index].section == section) {
            let key = &KEYS[index];
            render_note(index, &mut text);
            let value = key.kind.render(&masked(key, &setting.value));
            let _ = writeln!(text, "{} = {value}  # {}", key.name, setting.origin);
        }
        if section == "rooms" {
            render_classes(config, &mut text);
        }
    }
    text
}

/// Says before the first of several keys in a row that they have no effect, and why.
fn render_note(index: usize, text: &mut String) {
    let Some(part) = KEYS[index].without_effect else { return };
    let is_same = |key: &&Key| key.section == KEYS[index].section && key.without_effect == Some(part);
    if KEYS[..index].last().is_some_and(|before| is_same(&before)) {
        return;
    }
    let names: Vec<&str> = KEYS[index..].iter().take_while(is_same).map(|key| key.name).collect();
    let verb = if names.len() == 1 { "has" } else { "have" };
    let _ =
        writeln!(text, "# {} {verb} no effect without {part}, which this version does not have yet", names.join(", "));
}

fn render_classes(config: &Config, text: &mut String) {
    for class in &config.classes {
        let pattern = toml::Value::String(class.pattern.clone());
        let _ = writeln!(text, "\n[[rooms.class]]\npattern = {pattern}  # {}", class.origin);
        for (index, setting) in &class.overrides {
            let key = &KEYS[*index];
            let value = key.kind.render(&masked(key, &setting.value));
            let _ = writeln!(text, "{} = {value}  # {}", key.name, setting.origin);
        }
    }
}

/// The value with its secret part replaced by [`MASK`].
fn masked(key: &Key, value: &SettingValue) -> SettingValue {
    match (key.secrecy, value) {
        (Secrecy::Secret, SettingValue::Text(text)) if !text.is_empty() => SettingValue::Text(MASK.into()),
        (Secrecy::Url, SettingValue::Text(text)) => SettingValue::Text(masked_url(text)),
        (_, value) => value.clone(),
    }
}

/// A URL without its password and its query.
fn masked_url(url: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, _)) => (address, format!("?{MASK}")),
        None => (url, String::new()),
    };
    let Some((scheme, rest)) = address.split_once("://") else { return format!("{address}{query}") };
    // A password may hold '/' and '@' unescaped by mistake: everything up to the last '@' counts as password.
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split_once(':').map_or(login, |(user, _)| user);
            format!("{scheme}://{user}:{MASK}@{host}{query}")
        }
        None => format!("{address}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:secret@db:6379/0", "redis://:***@db:6379/0"),
            ("postgres://me:s/e@c@db/x?password=y", "postgres://me:***@db/x?***"),
            ("keys.json", "keys.json"),
            ("", ""),
        ] {
            assert_eq!(masked_url(url), shown);
        }
    }
}
