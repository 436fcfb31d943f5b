//! Members who have asked to leave while publications of their own are on their way: through the store or the link, or
//! to a core whose lane was full. They are members until those have come or have failed, for a connection gets what it
//! published. What such a connection asks meanwhile waits behind its leave, in order.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use super::opening::waiting_bytes;
use super::room::{Keeping, Numbering, Room};
use crate::base::ids::{ConnId, Seq};
use crate::base::limits::PENDING_PER_ROOM_MAX;
use crate::engine::hop::ToOwner;

/// A member who leaves.
#[derive(Debug)]
struct Leaver {
    /// The last of its publications that the store has been given; 0: none, or it is known at the link.
    until: Seq,
    /// Its leave, and what it asked since.
    hops: VecDeque<ToOwner>,
}

/// The members of one room who leave.
#[derive(Debug)]
pub(super) struct Leaving {
    leavers: HashMap<ConnId, Leaver, FixedState>,
    waiting: usize,
    bytes: usize,
}

impl Leaving {
    fn new() -> Self {
        Self { leavers: HashMap::with_hasher(FixedState::default()), waiting: 0, bytes: 0 }
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, until: Seq, hop: ToOwner) {
        self.bytes += waiting_bytes(&hop);
        self.waiting += 1;
        let leaver = Leaver { until, hops: VecDeque::new() };
        self.leavers.entry(hop.conn()).or_insert(leaver).hops.push_back(hop);
    }

    fn take(&mut self, conn: ConnId) -> VecDeque<ToOwner> {
        let hops = self.leavers.remove(&conn).map_or_else(VecDeque::new, |leaver| leaver.hops);
        self.waiting -= hops.len();
        self.bytes -= hops.iter().map(waiting_bytes).sum::<usize>();
        hops
    }

    /// A connection went away or came back: its last join that waits says so.
    fn set_away(&mut self, conn: ConnId, now_away: bool) {
        let Some(leaver) = self.leavers.get_mut(&conn) else { return };
        for hop in leaver.hops.iter_mut().rev() {
            if let ToOwner::Join { away, again: false, .. } = hop {
                *away = now_away;
                return;
            }
        }
    }
}

impl Room {
    /// Whether a hop has to wait: the leave of a member whose own publications are on their way, or one behind it.
    pub fn detains(&self, hop: &ToOwner) -> bool {
        let is_behind_leave = || {
            let leaving = self.leaving.as_ref();
            leaving.is_some_and(|leaving| leaving.leavers.contains_key(&hop.conn()))
        };
        match hop {
            // The connection has gone: nothing it asked need be done.
            ToOwner::Leave { reply: None, .. } => false,
            ToOwner::Leave { .. } => is_behind_leave() || self.awaits(hop.conn(), self.last_given(hop.conn())),
            _ => is_behind_leave(),
        }
    }

    /// Lets such a hop wait. `may_wait`: the core has memory for it.
    ///
    /// # Errors
    /// Too much waits: the hop is to be refused.
    pub fn detain(&mut self, hop: ToOwner, may_wait: bool) -> Result<(), ToOwner> {
        let until = self.last_given(hop.conn());
        let leaving = self.leaving.get_or_insert_with(|| Box::new(Leaving::new()));
        let has_place = may_wait && leaving.waiting < PENDING_PER_ROOM_MAX;
        match hop {
            ToOwner::Away { conn, away, .. } => leaving.set_away(conn, away),
            // Bounded by the joins.
            ToOwner::Leave { .. } | ToOwner::Expel { .. } => leaving.push(until, hop),
            _ if has_place => leaving.push(until, hop),
            _ => return Err(hop),
        }
        Ok(())
    }

    /// A connection has gone: nothing it asked need be done. Returns whether the room counts it as away, if its leave has
    /// waited: what the home said since was meant for the joins behind that leave.
    pub fn forget_leaver(&mut self, conn: ConnId) -> Option<bool> {
        let hops = self.leaving.as_mut()?.take(conn);
        self.leaving.take_if(|leaving| leaving.leavers.is_empty());
        match hops.front()? {
            ToOwner::Leave { away, .. } => Some(*away),
            _ => None,
        }
    }

    /// What a member asked who leaves and whose publications have all come or failed, if there is one.
    pub fn take_leaver(&mut self) -> Option<VecDeque<ToOwner>> {
        let leavers = &self.leaving.as_ref()?.leavers;
        let settled = leavers.iter().filter(|(conn, leaver)| !self.awaits(**conn, leaver.until));
        // The lowest, so that the same run is the same whatever stands in the table.
        let conn = settled.map(|(conn, _)| *conn).min()?;
        let leaving = self.leaving.as_mut()?;
        let hops = leaving.take(conn);
        self.leaving.take_if(|leaving| leaving.leavers.is_empty());
        Some(hops)
    }

    /// The last publish of a connection that the store has been given and not answered; 0: none, or the link knows.
    fn last_given(&self, conn: ConnId) -> Seq {
        match (&self.numbering, &self.keeping) {
            (Numbering::Own, Keeping::Store(stored)) => stored.last_of(conn).unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether publications of a connection are still on their way: the last one given to the store is `until`.
    fn awaits(&self, conn: ConnId, until: Seq) -> bool {
        let is_owed = match (&self.numbering, &self.keeping) {
            (Numbering::Link(linked), _) => linked.owes(conn, self.stream.head()),
            (Numbering::Own, Keeping::Store(stored)) => stored.is_uncommitted(until),
            (Numbering::Own, Keeping::None) => false,
        };
        is_owed || self.stream.listeners.is_behind(conn.home)
    }
}
