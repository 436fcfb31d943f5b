//! A value as it was written, before its key's kind has read it. Knows no key and no kind.

use toml::de::DeValue;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i128),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array.
    List(Vec<Raw>),
    /// A value that no key takes.
    Other {
        /// The value as a message shows it.
        text: String,
        /// What is wrong with it. Completes the sentence "`<text>` …".
        wrong: &'static str,
    },
    /// From the environment or the command line, where everything is text: the kind decides.
    Word(String),
}

/// Characters of a value that a message shows.
const SHOWN_CHARS_MAX: usize = 60;

impl Raw {
    /// The value as a message shows it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Raw::Text(text) | Raw::Word(text) if text.chars().count() > SHOWN_CHARS_MAX => {
                format!("{:?}…", text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
            }
            Raw::Text(text) | Raw::Word(text) => format!("{text:?}"),
            Raw::Integer(number) => number.to_string(),
            Raw::Bool(value) => value.to_string(),
            Raw::List(_) => "the list".into(),
            Raw::Other { text, .. } => text.clone(),
        }
    }

    /// Text, however it was written.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) | Raw::Word(text) => Some(text),
            _ => None,
        }
    }

    /// A word read as a kind sees it: a quoted string or an array in TOML is read as such, which keeps the blanks in
    /// quotes; any other word loses the blanks around it. `[::1]:80` is no array and stays a word.
    #[must_use]
    pub fn unwrapped(&self) -> Option<Raw> {
        let Raw::Word(word) = self else { return None };
        let word = trimmed(word);
        if word.starts_with(['"', '\'', '['])
            && let Ok(value) = DeValue::parse(word)
        {
            return Some(raw_of(value.get_ref()));
        }
        Some(Raw::Word(word.to_owned()))
    }
}

/// A word without blanks, line ends and a byte order mark around it, which editors and shells leave.
#[must_use]
pub fn trimmed(word: &str) -> &str {
    word.trim_start_matches('\u{feff}').trim()
}

/// A parsed TOML value as a [`Raw`].
#[must_use]
pub fn raw_of(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| other(number.as_str(), "is too large a number"), Raw::Integer),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw_of(item.get_ref())).collect()),
        DeValue::Float(number) => other(number.as_str(), "is a floating-point number"),
        DeValue::Datetime(date) => other(&date.to_string(), "is a date"),
        DeValue::Table(_) => other("the table", "is not a single value"),
    }
}

fn other(text: &str, wrong: &'static str) -> Raw {
    Raw::Other { text: text.chars().take(SHOWN_CHARS_MAX).collect(), wrong }
}
