//! What the user half keeps in a service apart from rooms: requests and answers, as values between the halves of an
//! engine and the store port.

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

/// A session as the service keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSession {
    /// The session's user.
    pub user: UserName,
    /// The machine on which it was opened.
    pub node: Arc<str>,
    /// When it was opened, Unix milliseconds.
    pub opened_at: u64,
}

/// A request to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptAsk {
    /// Keeps a session. No answer: if it fails, a client that returns with the id gets a new session.
    SaveSession {
        /// Its id.
        session: SessionId,
        /// The session.
        kept: KeptSession,
    },
    /// Looks a session up: [`KeptAnswer::Session`].
    FindSession {
        /// Its id.
        session: SessionId,
    },
}

/// An answer of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptAnswer {
    /// A session; `None` if the service does not know it.
    Session(Option<KeptSession>),
    /// The service failed.
    Unavailable {
        /// When to ask again.
        retry_after_ms: u64,
    },
}
