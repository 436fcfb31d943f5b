//! Roomring: a real-time WebSocket room server.

pub mod base;
pub mod control;
pub mod engine;
pub mod server;
pub mod wire;
