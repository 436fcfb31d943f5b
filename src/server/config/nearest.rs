//! The known name nearest to an unknown one, for "did you mean". Judges no value.

use super::key::Key;
use super::keys::{self, KEYS};

/// The known `section.key` nearest to an unknown one; `section` is empty for a key outside of every table.
#[must_use]
pub fn nearest_key(section: &str, name: &str) -> String {
    let written = format!("{section}.{name}");
    let distance = |key: &Key| {
        let as_written = strsim::damerau_levenshtein(&key.path(), &written);
        // The right name in the wrong table is likelier than a misspelling.
        let elsewhere = strsim::damerau_levenshtein(key.name, name) + 1;
        as_written.min(elsewhere)
    };
    KEYS.iter().min_by_key(|key| distance(key)).map(Key::path).unwrap_or_default()
}

/// The known section nearest to an unknown one.
#[must_use]
pub fn nearest_section(section: &str) -> &'static str {
    keys::sections().min_by_key(|known| strsim::damerau_levenshtein(known, section)).unwrap_or_default()
}

/// The known variable nearest to an unknown one, and its key.
#[must_use]
pub fn nearest_env(name: &str) -> (String, String) {
    let upper = name.to_ascii_uppercase();
    KEYS.iter()
        .min_by_key(|key| strsim::damerau_levenshtein(&key.env_name(), &upper))
        .map(|key| (key.env_name(), key.path()))
        .unwrap_or_default()
}

/// The key that a class may override nearest to one that it may not.
#[must_use]
pub fn nearest_by_class(name: &str) -> &'static str {
    KEYS.iter()
        .filter(|key| key.by_class)
        .map(|key| key.name)
        .chain(["pattern"])
        .min_by_key(|known| strsim::damerau_levenshtein(known, name))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likely_slips_find_their_key() {
        for (section, name, meant) in [
            ("server", "core", "server.cores"),
            ("server", "max_connection", "server.max_connections"),
            ("server", "interval", "heartbeat.interval"),
            ("heartbeat", "intervall", "heartbeat.interval"),
            ("", "history_size", "rooms.history_size"),
            ("limit", "memory_budget", "limits.memory_budget"),
            ("log", "lvel", "log.level"),
        ] {
            assert_eq!(nearest_key(section, name), meant);
        }
        assert_eq!(nearest_section("sever"), "server");
        assert_eq!(nearest_env("ROOMRING_SERVER_CORES").0, "ROOMRING_SERVER__CORES");
        assert_eq!(nearest_by_class("history_sise"), "history_size");
    }
}
