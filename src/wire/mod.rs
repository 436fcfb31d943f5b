//! Floor 1: bytes <-> values. No state beyond a decoder, no async, no I/O, no clock.
//!
//! Inbound: [`handshake`] reads the HTTP head, [`message`] turns socket bytes into messages (over [`frame`] and [`mask`]),
//! [`json`] and [`binary`] turn messages into a [`protocol::Request`], as the connection's [`dialect`] says. Outbound: [`encode`] turns a [`protocol::Reply`], a
//! [`protocol::Push`] or a [`publication`] into finished server frames in each [`form`] that somebody reads, and [`deflate`]
//! compresses those frames where that was negotiated. [`client`] is the client's side of the wire, for the load generator
//! and for tests; [`proxy`] reads the header that proxies send first.

pub mod account_body;
pub mod binary;
pub mod client;
pub mod deflate;
pub mod dialect;
pub mod encode;
pub mod form;
mod form_writer;
pub mod frame;
pub mod handshake;
pub mod json;
pub mod mask;
pub mod message;
pub mod protocol;
pub mod proxy;
pub mod publication;
pub mod reading;
mod writer;
