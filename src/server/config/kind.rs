//! The kinds of values that a key may have: parsing, range, and writing as TOML. Knows no key by name.

use std::net::SocketAddr;

use ipnet::IpNet;
use tracing_subscriber::filter::Targets;

use super::fraction::parse_fraction;
use super::level::parse_level;
use super::networks::parse_network;
use super::raw::Raw;
use super::units::{self, CoresSetting, Share, ValueError};
use crate::engine::rates::Rate;

/// A value with the text that it was parsed from, which is printed again. Compares the text alone.
#[derive(Clone, Debug)]
pub struct WithText<T> {
    /// As it was written.
    pub text: String,
    /// As the server uses it.
    pub value: T,
}

impl<T> PartialEq for WithText<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T> Eq for WithText<T> {}

/// A value in the range of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    /// [`Kind::Bool`].
    Bool(bool),
    /// [`Kind::Count`]; [`Kind::Duration`] in milliseconds; [`Kind::Size`] in bytes.
    Number(u64),
    /// [`Kind::Rate`]; `None` is no limit.
    Rate(Option<Rate>),
    /// [`Kind::Share`].
    Share(Share),
    /// [`Kind::Cores`].
    Cores(CoresSetting),
    /// [`Kind::Address`].
    Address(SocketAddr),
    /// [`Kind::Addresses`].
    Addresses(Vec<SocketAddr>),
    /// [`Kind::Text`].
    Text(String),
    /// [`Kind::Texts`].
    Texts(Vec<String>),
    /// [`Kind::Choice`].
    Choice(&'static str),
    /// [`Kind::Level`].
    Level(WithText<Targets>),
    /// [`Kind::Networks`].
    Networks(Vec<WithText<IpNet>>),
    /// [`Kind::Fraction`], in units of 2^-64.
    Fraction(WithText<u64>),
}

/// A rule for texts.
#[derive(Clone, Copy, Debug)]
pub struct TextRule {
    /// Completes "must be …".
    pub expected: &'static str,
    /// Whether a text keeps the rule.
    pub check: fn(&str) -> bool,
}

impl TextRule {
    fn apply(&self, text: &str) -> Result<String, ValueError> {
        if (self.check)(text) { Ok(text.to_owned()) } else { Err("is not valid".into()) }
    }
}

/// The type and range of a key.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number in this range.
    #[allow(missing_docs)]
    Count { min: u64, max: u64 },
    /// A duration in this range, in milliseconds.
    #[allow(missing_docs)]
    Duration { min: u64, max: u64 },
    /// A size in this range, in bytes.
    #[allow(missing_docs)]
    Size { min: u64, max: u64 },
    /// A count per time; 0 is no limit.
    Rate,
    /// A share of this machine's memory.
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
    /// The level of log lines, also per target.
    Level,
    /// A list of networks.
    Networks,
    /// A fraction from 0 to 1.
    Fraction,
}

/// Bytes of one text.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Entries of one list.
pub const LIST_MAX: usize = 256;

impl Kind {
    /// Completes "it must be …", with the range.
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
                format!("a size such as \"64KiB\", or a number of bytes, from {min} to {max}")
            }
            Kind::Rate => "a rate such as \"50/s\" or \"200/10s\", or \"0\" for no limit".into(),
            Kind::Share => {
                let min = units::size_text(units::BUDGET_BYTES_MIN);
                format!("a percentage from \"1%\" to \"100%\", or a size such as \"2GiB\" of at least {min}")
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
            Kind::Texts(rule) => format!("a list, each entry {}", rule.expected),
            Kind::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                let (last, others) = words.split_last().expect("a choice has words");
                format!("{} or {last}", others.join(", "))
            }
            Kind::Level => {
                "a level (off, error, warn, info, debug, trace), also per target: \"info,roomring::io=debug\"".into()
            }
            Kind::Networks => "a list, each entry a network such as \"10.0.0.0/8\" or an IP address".into(),
            Kind::Fraction => "a fraction from 0 to 1 such as \"1/1000\" or \"0.001\"".into(),
        }
    }

    /// Parses a value of this kind. Blanks around it are ignored, except around a text in a file.
    ///
    /// # Errors
    /// What is wrong with the value. Completes the sentence "`<value>` …"; [`Kind::expected`] says what would be right.
    pub fn parse(&self, raw: &Raw) -> Result<SettingValue, ValueError> {
        let unwrapped = raw.unwrapped();
        let raw = unwrapped.as_ref().unwrap_or(raw);
        match self {
            Kind::Bool => match raw {
                Raw::Bool(value) => Ok(SettingValue::Bool(*value)),
                Raw::Word(word) => word.parse().map(SettingValue::Bool).map_err(|_| "is not a boolean".into()),
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
            Kind::Rate => number_or_text(raw, units::parse_rate).map(SettingValue::Rate),
            Kind::Share => number_or_text(raw, Share::parse).map(SettingValue::Share),
            Kind::Cores => number_or_text(raw, CoresSetting::parse).map(SettingValue::Cores),
            Kind::Address => parse_address(text(raw)?).map(SettingValue::Address),
            Kind::Addresses => parse_addresses(raw),
            Kind::Text(rule) => checked(text(raw)?, |text| rule.apply(text)).map(SettingValue::Text),
            Kind::Texts(rule) => each(raw, |text| checked(text, |text| rule.apply(text))).map(SettingValue::Texts),
            Kind::Choice(words) => {
                let text = text(raw)?.trim();
                let word = words.iter().find(|word| **word == text);
                word.map(|word| SettingValue::Choice(word)).ok_or_else(|| "is not one of the choices".into())
            }
            Kind::Level => parsed(text(raw)?, parse_level).map(SettingValue::Level),
            Kind::Networks => each(raw, |text| parsed(text, parse_network)).map(SettingValue::Networks),
            Kind::Fraction => parsed(text(raw)?, parse_fraction).map(SettingValue::Fraction),
        }
    }

    /// The value as TOML that [`Kind::parse`] reads as the same value.
    #[must_use]
    pub fn render(&self, value: &SettingValue) -> String {
        match (self, value) {
            (_, SettingValue::Bool(value)) => value.to_string(),
            (Kind::Duration { .. }, SettingValue::Number(ms)) => quoted(&units::duration_text(*ms)),
            (Kind::Size { .. }, SettingValue::Number(bytes)) => {
                let text = units::size_text(*bytes);
                if text.ends_with('B') { quoted(&text) } else { text }
            }
            (_, SettingValue::Number(number)) => number.to_string(),
            (_, SettingValue::Rate(rate)) => quoted(&units::rate_text(*rate)),
            (_, SettingValue::Share(share)) => quoted(&share.to_string()),
            (_, SettingValue::Cores(CoresSetting::Count(count))) => count.to_string(),
            (_, SettingValue::Cores(cores)) => quoted(&cores.to_string()),
            (_, SettingValue::Address(address)) => quoted(&address.to_string()),
            (_, SettingValue::Addresses(addresses)) => quoted_list(addresses),
            (_, SettingValue::Text(text)) => quoted(text),
            (_, SettingValue::Texts(texts)) => quoted_list(texts),
            (_, SettingValue::Choice(word)) => quoted(word),
            (_, SettingValue::Level(level)) => quoted(&level.text),
            (_, SettingValue::Networks(networks)) => quoted_list(networks.iter().map(|network| &network.text)),
            (_, SettingValue::Fraction(fraction)) => quoted(&fraction.text),
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn quoted_list(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

fn wrong_type(raw: &Raw) -> ValueError {
    match raw {
        Raw::Text(_) | Raw::Word(_) => "is a string",
        Raw::Integer(_) => "is a number",
        Raw::Bool(_) => "is a boolean",
        Raw::List(_) => "is not a single value",
        Raw::Other { wrong, .. } => wrong,
    }
    .into()
}

fn text(raw: &Raw) -> Result<&str, ValueError> {
    raw.text().ok_or_else(|| wrong_type(raw))
}

fn in_range(number: i128, min: u64, max: u64) -> Result<SettingValue, ValueError> {
    match u64::try_from(number) {
        Ok(number) if (min..=max).contains(&number) => Ok(SettingValue::Number(number)),
        _ => Err("is out of range".into()),
    }
}

fn number_or_text<T>(raw: &Raw, parse: impl Fn(&str) -> Result<T, ValueError>) -> Result<T, ValueError> {
    match (raw, raw.text()) {
        (_, Some(text)) => parse(text.trim()),
        (Raw::Integer(number), _) => parse(&number.to_string()),
        (other, _) => Err(wrong_type(other)),
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, ValueError> {
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

fn parse_addresses(raw: &Raw) -> Result<SettingValue, ValueError> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for text in list(raw)? {
        let address = parse_address(&text).map_err(|wrong| format!("holds {text:?}, which {wrong}"))?;
        if address.port() != 0 && addresses.contains(&address) {
            return Err(format!("names {address} twice"));
        }
        addresses.push(address);
    }
    if addresses.is_empty() { Err("is empty".into()) } else { Ok(SettingValue::Addresses(addresses)) }
}

/// The texts of a list. One text alone is a list of one; a word is split at its commas.
fn list(raw: &Raw) -> Result<Vec<String>, ValueError> {
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

/// Reads each text of a list.
fn each<T>(raw: &Raw, read: impl Fn(&str) -> Result<T, ValueError>) -> Result<Vec<T>, ValueError> {
    let read = |text: String| read(&text).map_err(|wrong| format!("holds {}, which {wrong}", Raw::Text(text).shown()));
    list(raw)?.into_iter().map(read).collect()
}

/// Reads a text that fits into one line of a message.
fn checked<T>(text: &str, read: impl Fn(&str) -> Result<T, ValueError>) -> Result<T, ValueError> {
    if text.len() > TEXT_BYTES_MAX {
        Err(format!("is longer than {TEXT_BYTES_MAX} bytes"))
    } else if text.chars().any(char::is_control) {
        Err("holds a control character".into())
    } else {
        read(text)
    }
}

/// Reads a text and keeps it beside its value.
fn parsed<T>(text: &str, parse: impl Fn(&str) -> Result<T, ValueError>) -> Result<WithText<T>, ValueError> {
    checked(text, |text| Ok(WithText { value: parse(text)?, text: text.to_owned() }))
}
