//! The configuration: from text in several places to checked settings. `keys` describes every key once; `load` layers
//! the sources into a [`Config`], `check` judges the whole, `print` shows it, `lower` makes the values that the floors
//! below are started with. Declares the parts and holds nothing itself.

pub mod check;
pub mod choices;
pub mod classes;
pub mod config_file;
pub mod effective;
mod fraction;
pub mod key;
pub mod keys;
pub mod kind;
mod layout;
mod level;
pub mod load;
pub mod lower;
pub mod machine;
mod nearest;
mod networks;
pub mod origin;
pub mod print;
mod quote;
pub mod raw;
mod read;
mod services;
pub mod setting;
pub mod units;

#[cfg(test)]
mod tests;

pub use self::effective::Config;
