//! Hops of connections that must wait for what they asked before. A member who has asked to leave while publications of its
//! own are on their way (through the store or the link, or to a core whose lane was full) stays one until those have come or
//! have failed, for a connection gets what it published. A connection whose page or recovery is being read, or for whom the store
//! is asked something, is answered that first. What such a connection asks meanwhile waits behind it, in order.

use std::collections::VecDeque;

use super::join::Join;
use super::leaving::{Held, Leaving, Until};
use super::room::{Keeping, Numbering, Room};
use crate::base::ids::{ConnId, Seq};
use crate::base::limits::PENDING_PER_ROOM_MAX;
use crate::base::time::Now;
use crate::engine::hop::ToOwner;

impl Room {
    /// Whether a hop must wait: the leave of a member whose own publications are pending, or any hop of a connection that
    /// waits already.
    pub fn detains(&self, hop: &ToOwner) -> bool {
        let is_held = || {
            let leaving = self.leaving.as_ref();
            leaving.is_some_and(|leaving| leaving.held.contains_key(&hop.conn()))
        };
        match hop {
            // The connection has gone: nothing it asked need be done.
            ToOwner::Leave { reply: None, .. } => false,
            ToOwner::Leave { .. } => is_held() || self.awaits(hop.conn(), self.last_given(hop.conn())),
            _ => is_held(),
        }
    }

    /// Queues such a hop. `may_wait`: the core has memory for it.
    ///
    /// # Errors
    /// Too much waits already; the hop is returned to be refused.
    pub fn detain(&mut self, hop: ToOwner, may_wait: bool, now: Now) -> Result<(), ToOwner> {
        let until = Until::OwnPublications(self.last_given(hop.conn()));
        let leaving = self.leaving.get_or_insert_with(|| Box::new(Leaving::new()));
        let has_place = may_wait && leaving.waiting < PENDING_PER_ROOM_MAX;
        match hop {
            ToOwner::Away { conn, user, away, .. } => {
                let is_told =
                    leaving.set_away(conn, away) || self.pages.as_mut().is_some_and(|pages| pages.set_away(conn, away));
                if !is_told {
                    self.set_away(conn, &user, away, now);
                }
            }
            // Bounded by the joins.
            ToOwner::Leave { .. } | ToOwner::Expel { .. } => leaving.push(until, hop),
            _ if has_place => leaving.push(until, hop),
            _ => return Err(hop),
        }
        Ok(())
    }

    /// Makes all further hops of a connection wait until it is released.
    pub fn hold(&mut self, conn: ConnId) {
        let leaving = self.leaving.get_or_insert_with(|| Box::new(Leaving::new()));
        leaving
            .held
            .entry(conn)
            .or_insert_with(|| Held { until: Until::Answer, join: None, hops: VecDeque::new() })
            .until = Until::Answer;
    }

    /// Keeps a join whose connection waits for the store. Returns whether there was a place for it.
    pub fn hold_join(&mut self, join: Join) -> bool {
        let leaving = self.leaving.get_or_insert_with(|| Box::new(Leaving::new()));
        let has_place = leaving.waiting < PENDING_PER_ROOM_MAX;
        if has_place {
            leaving.hold_join(join);
        }
        self.leaving.take_if(|leaving| leaving.held.is_empty());
        has_place
    }

    /// Takes such a join, and releases its connection. `None`: the connection has ended.
    pub fn take_join(&mut self, conn: ConnId) -> Option<Join> {
        let join = self.leaving.as_mut()?.take_join(conn)?;
        self.release_held(conn);
        Some(join)
    }

    /// What a connection has waited for has come or was given up.
    pub fn release_held(&mut self, conn: ConnId) {
        let held = self.leaving.as_mut().and_then(|leaving| leaving.held.get_mut(&conn));
        if let Some(held) = held.filter(|held| held.until == Until::Answer) {
            held.until = Until::Now;
        }
    }

    /// Drops the waiting hops of a connection that has ended. Returns whether it was away when it asked to leave, if it did:
    /// a later status belongs to a later membership.
    pub fn forget_leaver(&mut self, conn: ConnId) -> Option<bool> {
        if let Some(pages) = &mut self.pages {
            pages.forget(conn);
        }
        let hops = self.leaving.as_mut()?.take(conn);
        self.leaving.take_if(|leaving| leaving.held.is_empty());
        hops.iter().find_map(|hop| match hop {
            ToOwner::Leave { away, .. } | ToOwner::Expel { away, .. } => Some(*away),
            _ => None,
        })
    }

    /// Takes the hops of a connection that need not wait any longer, if there is one.
    pub fn take_leaver(&mut self) -> Option<VecDeque<ToOwner>> {
        let held = &self.leaving.as_ref()?.held;
        let settled = held.iter().filter(|(conn, held)| match held.until {
            Until::OwnPublications(seq) => !self.awaits(**conn, seq),
            Until::Answer => false,
            Until::Now => true,
        });
        // The lowest, so that the same run is the same whatever stands in the table.
        let conn = settled.map(|(conn, _)| *conn).min()?;
        let leaving = self.leaving.as_mut()?;
        let hops = leaving.take(conn);
        self.leaving.take_if(|leaving| leaving.held.is_empty());
        Some(hops)
    }

    /// The seq of a connection's last publish that the store has not answered; 0: none, or the room is linked.
    fn last_given(&self, conn: ConnId) -> Seq {
        match (&self.numbering, &self.keeping) {
            (Numbering::Own, Keeping::Store(stored)) => stored.last_of(conn).unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether publications of a connection are pending. `until`: the last one sent to the store.
    fn awaits(&self, conn: ConnId, until: Seq) -> bool {
        let is_owed = match (&self.numbering, &self.keeping) {
            (Numbering::Link(linked), _) => linked.owes(conn, self.stream.head()),
            (Numbering::Own, Keeping::Store(stored)) => stored.is_uncommitted(until),
            (Numbering::Own, Keeping::None) => false,
        };
        is_owed || self.stream.listeners.is_behind(conn.home)
    }
}
