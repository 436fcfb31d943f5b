//! Floor 3: sockets, threads and clocks. The only floor that names glommio or io_uring, and the only one that runs
//! async code on a core. Takes no decision about rooms or messages: it feeds an engine and carries out what it asks.
//!
//! One core: a pinned thread, a glommio executor, and on it one task, the [`pump`], which drives a [`ring`] through the
//! socket states of [`sockets`], the [`lanes`] of the other cores, and the engine.

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
pub mod services;
pub mod sockets;
pub mod tls;
pub mod wake;
