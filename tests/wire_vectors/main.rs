//! The wire format from outside, byte by byte: the vectors and rules of RFC 6455, streams split anywhere, seeded
//! garbage, and encoded messages read by an independent reader. Never opens a socket.

mod deflate;
mod encoded;
mod framing;
mod garbage;
#[path = "../support/random.rs"]
mod random;
mod splits;
mod support;
mod utf8;
