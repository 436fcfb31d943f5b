//! What the user half has a service keep beside rooms, and asks it for: values between the halves of an engine and the
//! store port.

use std::fmt;
use std::sync::Arc;

use super::random::Random;
use crate::base::ids::UserName;

/// The id of a session, which a client can resume by. Unguessable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub u128);

impl SessionId {
    /// The id of a new session.
    #[must_use]
    pub fn new(random: &mut Random) -> Self {
        Self(u128::from(random.next_u64()) << 64 | u128::from(random.next_u64()))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSession {
    /// Whose.
    pub user: UserName,
    /// The machine on which it was opened.
    pub node: Arc<str>,
    /// When, Unix milliseconds.
    pub opened_at: u64,
}

/// What is asked of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptAsk {
    /// Keep a session. No answer: a session that is not kept is a new one when its client comes back.
    SaveSession {
        /// Its id.
        session: SessionId,
        /// What to keep.
        kept: KeptSession,
    },
    /// Look a session up: [`KeptAnswer::Session`].
    FindSession {
        /// Its id.
        session: SessionId,
    },
}

/// What the service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptAnswer {
    /// A session; `None`: the service does not know it.
    Session(Option<KeptSession>),
    /// The service could not tell.
    Unavailable {
        /// When to ask again.
        retry_after_ms: u64,
    },
}
