//! Sessions: each open connection has one, whose id `welcome` shows. If there is a store, it keeps them for a while after
//! the connection has ended, so that a client can resume by the id. Remembers none itself: an id follows from its
//! connection's, by a function that nobody can compute without the secrets of the process.
//!
//! A session is written when its connection opens and when it ends. If the store is far behind, it is not written: a client
//! that returns with its id is new.

use std::sync::Arc;

use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::limits::SESSIONS_UNWRITTEN_MAX;
use crate::base::time::Now;
use crate::engine::kept::{KeptAsk, KeptSession, SessionId};
use crate::engine::random::SessionKey;
use crate::engine::settings::Settings;
use crate::engine::store_port::StoreRequest;
use crate::engine::tokens::{TokenPart, TokenSource};

/// The sessions of one core.
#[derive(Debug)]
pub struct Sessions {
    key: SessionKey,
    /// Whether there is a store.
    are_kept: bool,
    node: Arc<str>,
    /// For requests that have no answer.
    tokens: TokenSource,
}

impl Sessions {
    pub(super) fn new(settings: &Settings, core: CoreId, key: SessionKey) -> Self {
        let (are_kept, node) = (settings.has_store(), settings.node.as_str().into());
        Self { key, are_kept, node, tokens: TokenSource::new(core, TokenPart::Untold) }
    }

    /// A connection of this core has opened: begins its session.
    pub fn open(&mut self, conn: ConnId, user: &UserName, now: Now, store: &mut Vec<StoreRequest>) -> SessionId {
        let session = SessionId(self.key.number_of(conn));
        let kept = || KeptSession { user: user.clone(), node: self.node.clone(), opened_at: now.unix_ms };
        if self.are_kept && store.len() < SESSIONS_UNWRITTEN_MAX {
            let ask = KeptAsk::SaveSession { session, kept: kept() };
            store.push(StoreRequest::Ask { token: self.tokens.draw(), ask });
        }
        session
    }

    /// The connection has ended.
    pub fn end(&mut self, conn: ConnId, now: Now, store: &mut Vec<StoreRequest>) {
        if self.are_kept && store.len() < SESSIONS_UNWRITTEN_MAX {
            let ask = KeptAsk::EndSession { session: SessionId(self.key.number_of(conn)), at: now.unix_ms };
            store.push(StoreRequest::Ask { token: self.tokens.draw(), ask });
        }
    }
}
