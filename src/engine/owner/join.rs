//! A join as a value, while it waits and when it is done.

use crate::engine::hop::MemberRef;
use crate::wire::protocol::{Recover, ReplyTo};

/// A join, as its hop says it.
#[derive(Debug)]
pub(super) struct Join {
    pub member: MemberRef,
    pub away: bool,
    pub again: bool,
    pub recover: Option<Recover>,
    pub history: Option<u32>,
    pub reply: ReplyTo,
}
