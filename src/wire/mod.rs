//! Floor 1: bytes <-> values. No state beyond a decoder, no async, no I/O, no clock.
//!
//! Inbound: [`handshake`] reads the HTTP head, [`message`] turns socket bytes into messages (over [`frame`] and
//! [`mask`]), [`json`] and [`binary`] turn messages into a [`command::Request`]. Outbound: [`publication`], [`reply`]
//! and [`push`] make finished server frames, ready for the socket and shared by reference from then on. [`client`] is
//! the other side of the wire, for the load generator and for tests; [`proxy`] is what proxies write before it all.
//! [`deflate`] compresses finished frames and inflates received messages, where that was negotiated.

pub mod binary;
pub mod client;
pub mod command;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod json;
pub mod mask;
pub mod message;
pub mod proxy;
pub mod publication;
pub mod push;
pub mod reading;
pub mod reply;
mod writer;
