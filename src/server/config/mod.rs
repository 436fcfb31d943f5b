//! The configuration: from text in several places to checked settings. `keys` describes every key once; `load` layers
//! the sources, `check` judges the whole, `print` shows it, `lower` makes what the floors below are started with.

pub mod check;
pub mod classes;
pub mod found;
pub mod keys;
pub mod kind;
pub mod level;
pub mod load;
pub mod lower;
pub mod machine;
mod nearest;
pub mod networks;
pub mod origin;
mod part;
pub mod print;
mod quote;
mod services;
pub mod units;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use self::classes::Class;
use self::found::Found;
use self::keys::KEYS;
use self::kind::Value;
use self::origin::Origin;
use self::units::{Cores, Rate, Share};

/// One effective value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What.
    pub value: Value,
    /// From where.
    pub origin: Origin,
}

/// The effective configuration: every value is of its key's kind and in its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// One for each of [`KEYS`], in its order.
    settings: Vec<Setting>,
    /// In the order of the file; the first match counts.
    pub classes: Vec<Class>,
    /// The file that was read, if any.
    pub file: Option<Found>,
}

impl Default for Config {
    fn default() -> Self {
        let settings = KEYS.iter().map(|key| Setting { value: key.default_value(), origin: Origin::Default }).collect();
        Self { settings, classes: Vec::new(), file: None }
    }
}

impl Config {
    /// Each key's index in [`KEYS`] and its value.
    pub fn settings(&self) -> impl Iterator<Item = (usize, &Setting)> {
        self.settings.iter().enumerate()
    }

    /// Takes over one key's value from another configuration.
    pub fn adopt(&mut self, index: usize, other: &Config) {
        self.settings[index] = other.settings[index].clone();
    }

    /// The value of a key that [`KEYS`] has.
    #[must_use]
    pub fn get(&self, section: &str, name: &str) -> &Setting {
        &self.settings[keys::find(section, name).expect("named in this program and held by a test")]
    }

    /// The same for the rooms of a class.
    #[must_use]
    pub fn get_for<'a>(&'a self, class: Option<&'a Class>, section: &str, name: &str) -> &'a Setting {
        let index = keys::find(section, name).expect("named in this program and held by a test");
        class.and_then(|class| class.overrides.get(&index)).unwrap_or(&self.settings[index])
    }
}

/// The value as one type: asking for another than the key's kind is a fault of the program that a test would show.
impl Setting {
    /// A boolean.
    #[must_use]
    pub fn flag(&self) -> bool {
        let Value::Bool(value) = self.value else { unreachable!("{self:?} is no boolean") };
        value
    }

    /// A count, milliseconds or bytes.
    #[must_use]
    pub fn number(&self) -> u64 {
        let Value::Number(number) = self.value else { unreachable!("{self:?} is no number") };
        number
    }

    /// A count or bytes that this machine can address.
    #[must_use]
    pub fn size(&self) -> usize {
        usize::try_from(self.number()).expect("the ranges of the keys fit into 32 bits")
    }

    /// A count whose range fits.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.number()).expect("the ranges of the keys fit into 32 bits")
    }

    /// A text or a choice.
    #[must_use]
    pub fn text(&self) -> &str {
        let Value::Text(text) = &self.value else { unreachable!("{self:?} is no text") };
        text
    }

    /// A list of texts.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        let Value::Texts(texts) = &self.value else { unreachable!("{self:?} is no list") };
        texts
    }

    /// Addresses; one or several.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        match &self.value {
            Value::Address(address) => std::slice::from_ref(address),
            Value::Addresses(addresses) => addresses,
            _ => unreachable!("{self:?} is no address"),
        }
    }

    /// Executors.
    #[must_use]
    pub fn cores(&self) -> &Cores {
        let Value::Cores(cores) = &self.value else { unreachable!("{self:?} is no choice of cores") };
        cores
    }

    /// So many per so long.
    #[must_use]
    pub fn rate(&self) -> Rate {
        let Value::Rate(rate) = self.value else { unreachable!("{self:?} is no rate") };
        rate
    }

    /// A part of memory.
    #[must_use]
    pub fn share(&self) -> Share {
        let Value::Share(share) = self.value else { unreachable!("{self:?} is no share") };
        share
    }
}
