//! Owns the servers that the generator starts: Roomring, the peers and the floor. Each is a process that prints a ready
//! line with its address. Never measures them.

mod certificate;
pub mod floor;
pub mod http;
pub mod launch;
pub mod peer;
