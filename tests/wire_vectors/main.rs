//! The wire from outside, byte by byte: the vectors and rules of RFC 6455, streams cut anywhere, seeded garbage, and
//! what is encoded read back by an independent reader. No sockets.

mod deflate;
mod encoded;
mod framing;
mod garbage;
#[path = "../support/random.rs"]
mod random;
mod splits;
mod support;
mod utf8;
