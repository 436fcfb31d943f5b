//! How much of a statement that cannot be read is shown: no part that may be a secret. Knows no source.

use super::key::Secrecy;
use super::keys::KEYS;
use super::raw::Raw;

/// The statement in quotes: whole if it begins with a key that holds no secret, else only the part before the value.
#[must_use]
pub fn quoted(statement: &str) -> String {
    let statement = statement.trim();
    let name_end = statement.find(|c: char| c == '=' || c == ':' || c.is_whitespace()).unwrap_or(statement.len());
    let name = statement[..name_end].trim_matches(['"', '\'']);
    let mut named = KEYS.iter().filter(|key| key.name == name || key.path() == name).peekable();
    let is_open = named.peek().is_some() && named.all(|key| key.secrecy == Secrecy::Open);
    let names_secret = || KEYS.iter().any(|key| key.secrecy != Secrecy::Open && statement.contains(key.name));
    if name_end == statement.len() || (is_open && !names_secret()) {
        Raw::Word(statement.to_owned()).shown()
    } else {
        format!("{:?}…", statement[..name_end].chars().take(60).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn no_secret_is_shown() {
        for (statement, shown) in [
            ("nonsense", "\"nonsense\""),
            ("  cores = 2 3\r", "\"cores = 2 3\""),
            ("server.cores 2", "\"server.cores 2\""),
            ("coers = abc", "\"coers\"…"),
            ("[server", "\"[server\""),
            ("auth.hmac_secret", "\"auth.hmac_secret\""),
            ("hmac_secret = hunter2", "\"hmac_secret\"…"),
            ("\"hmac_secret\" = hunter2", "\"\\\"hmac_secret\\\"\"…"),
            ("auth.hmac_secret:hunter2", "\"auth.hmac_secret\"…"),
            ("control.api_key hunter2", "\"control.api_key\"…"),
            ("url = redis://:hunter2@h", "\"url\"…"),
            ("control = { api_key = hunter2 }", "\"control\"…"),
            ("cores = 2, hmac_secret = hunter2", "\"cores\"…"),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(statement), shown, "{statement}");
        }
    }
}
