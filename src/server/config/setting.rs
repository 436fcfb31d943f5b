//! One effective value with where it came from, and the value as the type of its key. Reads no text.

use std::net::SocketAddr;

use ipnet::IpNet;
use tracing_subscriber::filter::Targets;

use super::choices::Choices;
use super::kind::SettingValue;
use super::origin::Origin;
use super::units::{CoresSetting, Share};
use crate::engine::rates::Rate;

/// One effective value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value, in the range of its key.
    pub value: SettingValue,
    /// Where it came from.
    pub origin: Origin,
}

/// The value as one type. Asking for another type than the key's is a fault of the program, which every test of lowering
/// shows.
impl Setting {
    /// A boolean.
    #[must_use]
    pub fn flag(&self) -> bool {
        let SettingValue::Bool(value) = self.value else { unreachable!("{self:?} is no boolean") };
        value
    }

    /// A count, milliseconds or bytes.
    #[must_use]
    pub fn number(&self) -> u64 {
        let SettingValue::Number(number) = self.value else { unreachable!("{self:?} is no number") };
        number
    }

    /// A count or bytes that this machine can address.
    #[must_use]
    pub fn size(&self) -> usize {
        usize::try_from(self.number()).expect("the ranges of the keys fit into 32 bits")
    }

    /// A count whose range fits into 32 bits.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.number()).expect("the ranges of the keys fit into 32 bits")
    }

    /// A text, or the word of a choice.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.value {
            SettingValue::Text(text) => text,
            SettingValue::Choice(word) => word,
            _ => unreachable!("{self:?} is no text"),
        }
    }

    /// The meaning of a choice.
    #[must_use]
    pub fn choice<T: Copy, const N: usize>(&self, choices: &Choices<T, N>) -> T {
        let SettingValue::Choice(word) = self.value else { unreachable!("{self:?} is no choice") };
        choices.iter().find(|choice| choice.0 == word).expect("the key's kind takes the same words").1
    }

    /// A list of texts.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        let SettingValue::Texts(texts) = &self.value else { unreachable!("{self:?} is no list of texts") };
        texts
    }

    /// Networks.
    #[must_use]
    pub fn networks(&self) -> Vec<IpNet> {
        let SettingValue::Networks(networks) = &self.value else { unreachable!("{self:?} is no list of networks") };
        networks.iter().map(|network| network.value).collect()
    }

    /// One or more addresses.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        match &self.value {
            SettingValue::Address(address) => std::slice::from_ref(address),
            SettingValue::Addresses(addresses) => addresses,
            _ => unreachable!("{self:?} is no address"),
        }
    }

    /// Executors.
    #[must_use]
    pub fn cores(&self) -> &CoresSetting {
        let SettingValue::Cores(cores) = &self.value else { unreachable!("{self:?} is no choice of cores") };
        cores
    }

    /// A rate; `None` is no limit.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        let SettingValue::Rate(rate) = self.value else { unreachable!("{self:?} is no rate") };
        rate
    }

    /// A share of memory.
    #[must_use]
    pub fn share(&self) -> Share {
        let SettingValue::Share(share) = self.value else { unreachable!("{self:?} is no share") };
        share
    }

    /// The level of log lines.
    #[must_use]
    pub fn level(&self) -> &Targets {
        let SettingValue::Level(level) = &self.value else { unreachable!("{self:?} is no level") };
        &level.value
    }

    /// A fraction in units of 2^-64.
    #[must_use]
    pub fn fraction(&self) -> u64 {
        let SettingValue::Fraction(fraction) = &self.value else { unreachable!("{self:?} is no fraction") };
        fraction.value
    }
}

/// Where to look first when two values do not fit together: at the one that was written.
#[must_use]
pub fn written<'a>(one: &'a Setting, other: &'a Setting) -> &'a Origin {
    if one.origin == Origin::Default { &other.origin } else { &one.origin }
}
