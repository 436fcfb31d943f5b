//! The kinds of values a key may have: reading, range, and writing back as TOML. Knows no key by name.

use std::net::SocketAddr;

use super::units::{self, Cores, Rate, Share, Wrong};

/// A value as it was written, before its key's kind has been asked.
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
    /// Any other type of TOML, by its name.
    Other(&'static str),
    /// From the environment or the command line, where everything is text: the kind decides.
    Word(String),
}

impl Raw {
    /// How the value is shown in a message.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Raw::Text(text) | Raw::Word(text) if text.chars().count() > 60 => {
                format!("{:?}…", text.chars().take(60).collect::<String>())
            }
            Raw::Text(text) | Raw::Word(text) => format!("{text:?}"),
            Raw::Integer(number) => number.to_string(),
            Raw::Bool(value) => value.to_string(),
            Raw::List(_) => "the list".into(),
            Raw::Other(name) => format!("the {name}"),
        }
    }

    /// Text, however it was written.
    fn text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) | Raw::Word(text) => Some(text),
            _ => None,
        }
    }
}

/// A checked value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// [`Kind::Bool`].
    Bool(bool),
    /// [`Kind::Count`]; [`Kind::Duration`] in milliseconds; [`Kind::Size`] in bytes.
    Number(u64),
    /// [`Kind::Rate`].
    Rate(Rate),
    /// [`Kind::Share`].
    Share(Share),
    /// [`Kind::Cores`].
    Cores(Cores),
    /// [`Kind::Address`].
    Address(SocketAddr),
    /// [`Kind::Addresses`].
    Addresses(Vec<SocketAddr>),
    /// [`Kind::Text`] and [`Kind::Choice`].
    Text(String),
    /// [`Kind::Texts`].
    Texts(Vec<String>),
}

/// What a text must be.
#[derive(Clone, Copy, Debug)]
pub struct TextRule {
    /// Completes "must be …".
    pub expected: &'static str,
    /// Whether it is so.
    pub check: fn(&str) -> bool,
}

/// The type and range of a key.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Count {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// A duration, in milliseconds.
    Duration {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// A size, in bytes.
    Size {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// So many per so long; 0 is no limit.
    Rate,
    /// A part of this machine's memory.
    Share,
    /// Executors and their CPUs.
    Cores,
    /// One IP address with a port.
    Address,
    /// One or more IP addresses with ports.
    Addresses,
    /// A text without control characters.
    Text(TextRule),
    /// A list of such texts.
    Texts(TextRule),
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// Bytes of one text.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Entries of one list.
pub const LIST_MAX: usize = 256;

impl Kind {
    /// Completes "must be …", with the range.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Kind::Bool => "true or false".into(),
            Kind::Count { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Duration { min, max } => {
                let (min, max) = (units::duration_text(*min), units::duration_text(*max));
                format!("a duration such as \"250ms\", \"30s\" or \"2h\", from {min} to {max}")
            }
            Kind::Size { min, max } => {
                let (min, max) = (units::size_text(*min), units::size_text(*max));
                format!("a size in bytes or such as \"64KiB\", from {min} to {max}")
            }
            Kind::Rate => "a rate such as \"50/s\" or \"200/10s\", or \"0\" for no limit".into(),
            Kind::Share => {
                let min = units::size_text(units::BUDGET_BYTES_MIN);
                format!("a percentage such as \"75%\", or a size such as \"2GiB\" of at least {min}")
            }
            Kind::Cores => {
                let max = units::CORES_MAX;
                format!("\"auto\", a number of executors from 1 to {max}, or a list of CPUs such as \"0,2-5\"")
            }
            Kind::Address => "an IP address and port such as \"127.0.0.1:8081\" or \"[::1]:8081\"".into(),
            Kind::Addresses => {
                "a list of different IP addresses and ports such as [\"127.0.0.1:8080\", \"[::1]:8080\"]".into()
            }
            Kind::Text(rule) => rule.expected.into(),
            Kind::Texts(rule) => format!("a list, each {}", rule.expected),
            Kind::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                words.join(" or ")
            }
        }
    }

    /// Reads a value of this kind. Blanks around it do not count, but in a text of a file, which is taken as it stands.
    ///
    /// # Errors
    /// What is wrong with it; completes the sentence "`<value>` …". [`Kind::expected`] says what would be right.
    pub fn parse(&self, raw: &Raw) -> Result<Value, Wrong> {
        let unwrapped;
        let raw = match raw {
            Raw::Word(word) => {
                unwrapped = unwrap_word(word);
                &unwrapped
            }
            raw => raw,
        };
        match self {
            Kind::Bool => match raw {
                Raw::Bool(value) => Ok(Value::Bool(*value)),
                Raw::Word(word) => word.parse().map(Value::Bool).map_err(|_| "is neither true nor false".into()),
                other => Err(wrong_type(other)),
            },
            Kind::Count { min, max } => match raw {
                Raw::Integer(number) => in_range(*number, *min, *max),
                Raw::Word(word) => in_range(units::parse_number(word)?.into(), *min, *max),
                other => Err(wrong_type(other)),
            },
            Kind::Duration { min, max } => match (raw, raw.text()) {
                (_, Some(text)) => in_range(units::parse_duration(text.trim())?.into(), *min, *max),
                (Raw::Integer(0), _) => in_range(0, *min, *max),
                (Raw::Integer(_), _) => Err("has no unit".into()),
                (other, _) => Err(wrong_type(other)),
            },
            Kind::Size { min, max } => match (raw, raw.text()) {
                (_, Some(text)) => in_range(units::parse_size(text.trim())?.into(), *min, *max),
                (Raw::Integer(number), _) => in_range(*number, *min, *max),
                (other, _) => Err(wrong_type(other)),
            },
            Kind::Rate => number_or_text(raw, Rate::parse).map(Value::Rate),
            Kind::Share => number_or_text(raw, Share::parse).map(Value::Share),
            Kind::Cores => number_or_text(raw, Cores::parse).map(Value::Cores),
            Kind::Address => parse_address(raw.text().ok_or_else(|| wrong_type(raw))?).map(Value::Address),
            Kind::Addresses => parse_addresses(raw),
            Kind::Text(rule) => check_text(raw.text().ok_or_else(|| wrong_type(raw))?, rule).map(Value::Text),
            Kind::Texts(rule) => {
                let check = |text: &String| {
                    let shown = Raw::Text(text.clone()).shown();
                    check_text(text, rule).map_err(|wrong| format!("holds {shown}, which {wrong}"))
                };
                Ok(Value::Texts(list(raw)?.iter().map(check).collect::<Result<_, _>>()?))
            }
            Kind::Choice(words) => {
                let text = raw.text().ok_or_else(|| wrong_type(raw))?.trim();
                match words.contains(&text) {
                    true => Ok(Value::Text(text.into())),
                    false => Err("is not one of the choices".into()),
                }
            }
        }
    }

    /// The value as TOML that [`Kind::parse`] reads as the same value.
    #[must_use]
    pub fn render(&self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Bool(value)) => value.to_string(),
            (Kind::Duration { .. }, Value::Number(ms)) => quoted(&units::duration_text(*ms)),
            (Kind::Size { .. }, Value::Number(bytes)) => {
                let text = units::size_text(*bytes);
                if text.ends_with('B') { quoted(&text) } else { text }
            }
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Rate(rate)) => quoted(&rate.to_string()),
            (_, Value::Share(share)) => quoted(&share.to_string()),
            (_, Value::Cores(Cores::Count(count))) => count.to_string(),
            (_, Value::Cores(cores)) => quoted(&cores.to_string()),
            (_, Value::Address(address)) => quoted(&address.to_string()),
            (_, Value::Addresses(addresses)) => quoted_list(addresses),
            (_, Value::Text(text)) => quoted(text),
            (_, Value::Texts(texts)) => quoted_list(texts),
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn quoted_list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// A word without what editors and shells leave around it: blanks, line ends, a byte order mark.
pub(super) fn trimmed(word: &str) -> &str {
    word.trim_start_matches('\u{feff}').trim()
}

/// A word, trimmed. One that is written as a TOML string or array is read as one, which keeps the blanks within;
/// `[::1]:80` is neither and stays a word.
fn unwrap_word(word: &str) -> Raw {
    let word = trimmed(word);
    if word.starts_with(['"', '\'', '['])
        && let Ok(value) = toml::de::DeValue::parse(word)
    {
        return raw_of(value.get_ref());
    }
    Raw::Word(word.to_owned())
}

/// A parsed TOML value as a [`Raw`].
#[must_use]
pub fn raw_of(value: &toml::de::DeValue<'_>) -> Raw {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("integer, which is far too large,"), Raw::Integer),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw_of(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("number with a fraction"),
        DeValue::Datetime(_) => Raw::Other("date"),
        DeValue::Table(_) => Raw::Other("table"),
    }
}

fn wrong_type(raw: &Raw) -> Wrong {
    match raw {
        Raw::Text(_) => "is a string",
        Raw::Integer(_) => "is a number",
        Raw::Bool(_) => "is a boolean",
        Raw::Word(_) | Raw::List(_) | Raw::Other(_) => "has the wrong type",
    }
    .into()
}

fn in_range(number: i128, min: u64, max: u64) -> Result<Value, Wrong> {
    match u64::try_from(number) {
        Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
        _ => Err("is out of range".into()),
    }
}

fn number_or_text<T>(raw: &Raw, parse: impl Fn(&str) -> Result<T, Wrong>) -> Result<T, Wrong> {
    match (raw, raw.text()) {
        (_, Some(text)) => parse(text.trim()),
        (Raw::Integer(number), _) => parse(&number.to_string()),
        (other, _) => Err(wrong_type(other)),
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, Wrong> {
    let address: SocketAddr = text.trim().parse().map_err(|_| "is not an IP address with a port")?;
    match address {
        SocketAddr::V4(v4) if v4.ip().is_broadcast() => Err("is the broadcast address".into()),
        _ if address.ip().is_multicast() => Err("is a multicast address".into()),
        // A socket of IPv6 that takes no IPv4 cannot be bound to one.
        SocketAddr::V6(v6) if let Some(ip) = v6.ip().to_ipv4_mapped() => {
            let plain = SocketAddr::from((ip, v6.port()));
            Err(format!("is an IPv4 address in the form of IPv6; write \"{plain}\""))
        }
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
            Err("is a link-local address without its interface; write it as in \"[fe80::1%2]:8080\"".into())
        }
        address => Ok(address),
    }
}

fn parse_addresses(raw: &Raw) -> Result<Value, Wrong> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for text in list(raw)? {
        let address = parse_address(&text).map_err(|wrong| format!("holds {text:?}, which {wrong}"))?;
        if address.port() != 0 && addresses.contains(&address) {
            return Err(format!("names {address} twice"));
        }
        addresses.push(address);
    }
    if addresses.is_empty() { Err("is empty".into()) } else { Ok(Value::Addresses(addresses)) }
}

/// The texts of a list. One text alone is a list of one; a word is split at its commas.
fn list(raw: &Raw) -> Result<Vec<String>, Wrong> {
    let texts: Vec<String> = match raw {
        Raw::List(items) => items
            .iter()
            .map(|item| match item {
                Raw::Text(text) => Ok(text.clone()),
                other => Err(format!("holds {}, which {}", other.shown(), wrong_type(other))),
            })
            .collect::<Result<_, _>>()?,
        Raw::Text(text) => vec![text.clone()],
        Raw::Word(word) if word.trim().is_empty() => Vec::new(),
        Raw::Word(word) => word.split(',').map(|part| part.trim().to_owned()).collect(),
        other => return Err(wrong_type(other)),
    };
    if texts.len() > LIST_MAX { Err(format!("has more than {LIST_MAX} entries")) } else { Ok(texts) }
}

fn check_text(text: &str, rule: &TextRule) -> Result<String, Wrong> {
    if text.len() > TEXT_BYTES_MAX {
        Err(format!("is longer than {TEXT_BYTES_MAX} bytes"))
    } else if text.chars().any(char::is_control) {
        Err("holds a control character".into())
    } else if (rule.check)(text) {
        Ok(text.to_owned())
    } else {
        Err("is not valid".into())
    }
}
