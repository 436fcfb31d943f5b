//! The home half of an engine: the connections of this core. Hears sockets by inputs and owners by hops; answers by sends,
//! closes and hops. Never numbers a message and never knows the members of a room on other cores.
//!
//! `state` is what a home holds, `effects` what it acts through; all other files are what it does. `sockets` hears sockets,
//! `lobby` holds them until they are WebSockets and decides who is let in. `verification` judges tokens, `tokens` knows what
//! they allow and until when, `refresh` replaces them. `inbound` turns bytes into commands, `commands` carries them out at the
//! `pace` that a connection may have, `lookups` asks the store for them, `routing` sends them to the owners of rooms, `pongs` answers pings. `hops` hears the
//! owners' answers, `removal` expels whom they name, `delivery` what they send to all members, `news` who is there; `replies` tells one connection; `late`
//! keeps changes that meet a full lane; `flush` ends a turn. `closing` ends a connection, `drain` all of them, `shedding`
//! those that hold the most when memory is short. `timers` does what time asks for, `reload` takes over other settings,
//! `calls` does what the control address asks for, `traces` follows sampled publishes.

mod calls;
mod closing;
mod commands;
mod delivery;
mod drain;
mod effects;
mod flush;
mod hops;
mod inbound;
mod late;
mod lobby;
mod lookups;
mod news;
mod pace;
mod pongs;
mod refresh;
mod reload;
mod removal;
mod replies;
mod routing;
mod shedding;
mod sockets;
mod state;
#[cfg(test)]
mod tests;
mod timers;
mod tokens;
mod traces;
mod verification;

pub use self::effects::HomeEffects;
pub use self::state::Home;
