//! The effective configuration: one value for each key. Reads and checks nothing.

use super::classes::Class;
use super::config_file::ConfigFile;
use super::keys::{self, KEYS};
use super::origin::Origin;
use super::setting::Setting;

/// The effective configuration: every value is of its key's kind and in its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// One for each of [`KEYS`], in its order.
    settings: Vec<Setting>,
    /// In the order of the file; the first match counts.
    pub classes: Vec<Class>,
    /// The file that was read, if any.
    pub file: Option<ConfigFile>,
}

impl Default for Config {
    fn default() -> Self {
        let settings = KEYS.iter().map(|key| Setting { value: key.default_value(), origin: Origin::Default }).collect();
        Self { settings, classes: Vec::new(), file: None }
    }
}

impl Config {
    /// The index of each key in [`KEYS`], and its value.
    pub fn settings(&self) -> impl Iterator<Item = (usize, &Setting)> {
        self.settings.iter().enumerate()
    }

    /// Sets the value of one key.
    pub(super) fn set(&mut self, index: usize, setting: Setting) {
        self.settings[index] = setting;
    }

    /// Takes the value of one key from another configuration.
    pub fn adopt(&mut self, index: usize, other: &Config) {
        self.settings[index] = other.settings[index].clone();
    }

    /// The value of a key in [`KEYS`].
    #[must_use]
    pub fn get(&self, section: &str, name: &str) -> &Setting {
        &self.settings[keys::find(section, name).expect("named in this program and held by a test")]
    }

    /// The value of a key for the rooms of a class.
    #[must_use]
    pub fn get_for<'a>(&'a self, class: Option<&'a Class>, section: &str, name: &str) -> &'a Setting {
        let index = keys::find(section, name).expect("named in this program and held by a test");
        class.and_then(|class| class.overrides.get(&index)).unwrap_or(&self.settings[index])
    }
}
