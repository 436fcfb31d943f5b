//! The lobby of a core: sockets that are not WebSockets yet, from their first byte until they are let in, refused or timed
//! out. Never counts addresses, users or the server's connections, and never joins a room. The state of these sockets is in
//! `state/lobby.rs`.
//!
//! `requests` reads request heads; `admission` lets upgrades in after `checks`, and after `identity` knows the user; `greeting` reads the first message where that identifies the client; `opening` opens the
//! connection, `refusing` refuses it; `accounts` serves requests about accounts; `crowd` bounds how many sockets wait here, and for how long.

mod accounts;
mod admission;
mod checks;
mod crowd;
mod greeting;
mod identity;
mod opening;
mod refusing;
mod requests;
