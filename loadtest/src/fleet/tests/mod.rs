//! A fleet against small servers of the tests' own.

mod backlog;
mod compressed;
mod messages;
pub mod secure;
