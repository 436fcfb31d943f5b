//! Floor 3: sockets, threads and clocks. The only floor that uses glommio and io_uring, and the only one with async
//! code on a core. Feeds the engine and carries out its output; never decides anything about rooms or messages.
//!
//! A core is a pinned thread with a glommio executor that runs one task, the [`pump`]. The pump drives the [`ring`]
//! through the socket states of [`sockets`], the [`lanes`] to the other cores, the [`services`] and the engine.

pub mod calls;
pub mod clock;
pub mod core;
pub mod error;
pub mod lanes;
pub mod listener;
pub mod log_lines;
pub mod proxy_header;
pub mod pump;
pub mod ring;
pub mod ring_probe;
pub mod service_lane;
pub mod services;
pub mod sockets;
pub mod tls;
pub mod wake;
