//! Sessions: saved while their connection is open, and for a while after it.

use super::error::StateError;
use super::group::Group;
use super::rows::{Boot, Present, Session, Value};
use super::rules::{Rules, Setup};
use super::{keys, lookups};
use crate::engine::kept::{KeptSession, SessionId};
use crate::store::tables::rows::{Direction, Rows, Span};
use crate::store::tables::table::Table;
use crate::store::tables::write_set::WriteSet;

impl Group<'_> {
    pub(super) fn save_session(&mut self, id: SessionId, kept: &KeptSession) -> Result<(), StateError> {
        remove(&mut self.set, id)?;
        if let Some(max) = self.setup.bounds.sessions {
            while lookups::counter(&self.set, keys::SESSIONS)? >= max {
                let oldest = self.set.scan(Table::Sessions, Span::prefix(keys::AGE, None), Direction::Up).next();
                let Some((key, _)) = oldest.transpose()? else { break };
                let Some(oldest) = keys::session_of(&key) else { break };
                remove(&mut self.set, oldest)?;
            }
        }
        self.put(Table::Sessions, keys::age(kept.opened_at, id), &Present);
        let session = Session { kept: kept.clone(), boot: self.boot.number, ended_at: None };
        self.put(Table::Sessions, keys::session(id), &session);
        self.count(keys::SESSIONS, 1)?;
        Ok(())
    }

    /// Ends a session that is open in this boot. Another one would be found longer by it, unless the sweep had removed it.
    pub(super) fn end_session(&mut self, id: SessionId, at: u64) -> Result<(), StateError> {
        let session = Session::find(&self.set, Table::Sessions, &keys::session(id))?;
        let is_open = |session: &Session| session.ended_at.is_none() && session.boot == self.boot.number;
        if let Some(mut session) = session.filter(is_open) {
            session.ended_at = Some(at);
            self.put(Table::Sessions, keys::session(id), &session);
        }
        Ok(())
    }
}

/// Removes a session, if there is one.
pub(super) fn remove(set: &mut WriteSet<'_>, id: SessionId) -> Result<(), StateError> {
    let Some(session) = Session::find(set as &dyn Rows, Table::Sessions, &keys::session(id))? else { return Ok(()) };
    set.remove(Table::Sessions, keys::session(id));
    set.remove(Table::Sessions, keys::age(session.kept.opened_at, id));
    let count = lookups::counter(set as &dyn Rows, keys::SESSIONS)?.saturating_sub(1);
    set.put(Table::Meta, keys::SESSIONS, count.to_bytes());
    Ok(())
}

/// A session that has not expired.
pub(super) fn find(
    rows: &dyn Rows,
    setup: &Setup,
    rules: &Rules,
    id: SessionId,
    at: u64,
) -> Result<Option<KeptSession>, StateError> {
    let session = Session::find(rows, Table::Sessions, &keys::session(id))?;
    let boot = lookups::boot(rows)?;
    let lasting = session.filter(|session| expires_at(session, boot, setup, rules).is_none_or(|end| at < end));
    Ok(lasting.map(|session| session.kept))
}

/// When a session expires. `None`: not while its connection is open.
pub(super) fn expires_at(session: &Session, boot: Boot, setup: &Setup, rules: &Rules) -> Option<u64> {
    let left_open = (session.boot < boot.number).then_some(setup.began_at);
    Some(session.ended_at.or(left_open)?.saturating_add(rules.session_ttl_ms))
}
