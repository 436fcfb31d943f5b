//! The binary form (PROTOCOL section 6): its ops, reads commands, writes messages. Keeps no state.

mod read;
mod write;

pub use read::parse_command;
pub(super) use write::Binary;

/// Ops of commands.
#[allow(missing_docs)]
pub mod command_op {
    pub const JOIN: u32 = 1;
    pub const LEAVE: u32 = 2;
    pub const PUBLISH: u32 = 3;
    /// `join` with a position to continue from.
    pub const JOIN_FROM: u32 = 4;
    pub const PING: u32 = 5;
}

/// Ops of replies and pushes.
#[allow(missing_docs)]
pub mod push_op {
    /// The JSON welcome.
    pub const WELCOME: u32 = 128;
    /// `joined`; its messages follow.
    pub const JOINED: u32 = 129;
    pub const LEFT: u32 = 130;
    pub const MESSAGE: u32 = 131;
    pub const PUBLISHED: u32 = 132;
    pub const PONG: u32 = 133;
    pub const GAP: u32 = 134;
    pub const ERROR: u32 = 135;
    /// Any other reply or push, as JSON.
    pub const OTHER: u32 = 136;
}
