//! Servers that the generator starts itself: Roomring, the peers, and the floor. Each is a process whose ready line names
//! its address; what it costs is read from outside like that of any other.

mod certificate;
pub mod floor;
pub mod http;
pub mod launch;
pub mod peer;
