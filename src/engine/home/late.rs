//! Changes of state that meet a full lane: a connection went away or came back, has left a room, or is gone. None is ever
//! refused, and none is staged beyond the lane's bound: it waits here in a few bytes and is sent as soon as the lane has
//! room, before anything that the same connection says next. Never holds a command that may be refused.
//!
//! Whether a connection is away is a flag of each membership beside the state last told to the owner, so however often it
//! changes, a membership sends at most one hop about it in a turn.

use std::collections::VecDeque;

use super::state::late::{Change, Counted, LeftRooms, MembershipEnd};
use super::{Home, HomeEffects};
use crate::base::ids::CoreId;
use crate::engine::hop::{MemberRef, ToLimiter, ToOwner, ToUser};
use crate::engine::limiter::core_of_address;
use crate::engine::placement::owner_of;
use crate::engine::session::{Marks, Phase};
use crate::engine::user::core_of_user;

/// Memberships looked at in one turn for changes that their room's owner has not been told; the rest follow.
const LATE_LOOKS_PER_TURN_MAX: usize = 16_384;

/// A change that met a full lane is offered to the lane again after this.
const LATE_AGAIN_US: u64 = 1_000;

impl Home {
    /// Whether another core cannot be asked about an upgrade now: its lane is full, or it still counts connections that
    /// have ended.
    pub(super) fn is_way_full_for_upgrades(&self, core: CoreId, effects: &HomeEffects<'_>) -> bool {
        core != self.core && (self.late.uncounted[core.index()] > 0 || effects.outbound.is_full(core))
    }

    /// Whether a change must wait because the lane is full.
    fn is_staging_full(&self, core: CoreId, effects: &HomeEffects<'_>) -> bool {
        core != self.core && effects.outbound.is_full_for_changes(core)
    }

    /// Tells the owners of rooms that a connection leaves them, now or as soon as the lanes have room.
    pub(super) fn tell_left(&mut self, slot: u32, how: MembershipEnd, rooms: LeftRooms, effects: &mut HomeEffects<'_>) {
        let (member, passes) = (self.member(slot), self.passes_by(slot));
        self.put_left(member, passes, how, rooms, effects);
    }

    fn put_left(
        &mut self,
        member: MemberRef,
        passes: Option<CoreId>,
        how: MembershipEnd,
        rooms: LeftRooms,
        effects: &mut HomeEffects<'_>,
    ) {
        let rooms = self.leave_rooms(&member, passes, how, rooms, effects);
        if !rooms.is_empty() {
            if !matches!(how, MembershipEnd::Gone) {
                self.late.hold(member.conn.slot);
            }
            self.late.changes.push_back(Change::Left { member, passes, how, rooms });
        }
    }

    /// Sends leaves as far as the lanes take them; returns the rooms that still wait.
    fn leave_rooms(
        &self,
        member: &MemberRef,
        passes: Option<CoreId>,
        how: MembershipEnd,
        mut rooms: LeftRooms,
        effects: &mut HomeEffects<'_>,
    ) -> LeftRooms {
        rooms.retain(|(room, away)| {
            let owner = owner_of(room, self.settings.cores);
            if self.is_staging_full(passes.unwrap_or(owner), effects) {
                return true;
            }
            let (room, member, away) = (room.clone(), member.clone(), *away);
            let hop = match how {
                MembershipEnd::Asked(reply) => ToOwner::Leave { room, member, away, reply: Some(reply) },
                MembershipEnd::Expelled(reason) => ToOwner::Expel { room, member, away, reason },
                MembershipEnd::Gone => ToOwner::Leave { room, member, away, reply: None },
            };
            Self::tell_owner_by(passes, owner, hop, effects);
            false
        });
        rooms
    }

    /// Uncounts an ended connection, now or as soon as the lane has room.
    pub(super) fn tell_uncounted(&mut self, counted: Counted, effects: &mut HomeEffects<'_>) {
        let core = self.core_of(&counted);
        if self.is_staging_full(core, effects) {
            self.late.uncounted[core.index()] += 1;
            self.late.changes.push_back(Change::Uncounted(counted));
        } else {
            uncount(core, counted, effects);
        }
    }

    fn core_of(&self, counted: &Counted) -> CoreId {
        match counted {
            Counted::Address(address) => core_of_address(*address, self.settings.cores),
            Counted::User(user) => core_of_user(user, self.settings.cores),
        }
    }

    /// A connection went away or came back: the owners of its rooms are told at the end of the turn.
    pub(super) fn mark_restless(&mut self, slot: u32) {
        let session = self.sessions.at_mut(slot);
        if !session.marks.has(Marks::RESTLESS) {
            session.marks.set(Marks::RESTLESS);
            self.late.restless.push_back((slot, session.generation));
        }
    }

    /// Tells a room's owner whether a member is away, if that differs from the state told last.
    pub(super) fn settle_away(&mut self, slot: u32, index: usize, effects: &mut HomeEffects<'_>) {
        let session = self.sessions.at_mut(slot);
        let away = session.is_away();
        let membership = &mut session.memberships[index];
        if std::mem::replace(&mut membership.away, away) != away {
            let audience = self.audiences.at(membership.audience);
            let (room, owner) = (audience.room.clone(), audience.owner);
            let MemberRef { conn, user, .. } = self.member(slot);
            self.tell_owner(slot, owner, ToOwner::Away { room, conn, user, away }, effects);
        }
    }

    /// Sends the changes that wait, as far as the lanes take them.
    pub fn settle(&mut self, effects: &mut HomeEffects<'_>) {
        if self.late.is_empty() {
            self.late.due_us = None;
            return;
        }
        let mut looks = LATE_LOOKS_PER_TURN_MAX;
        for _ in 0..self.late.changes.len() {
            if looks == 0 {
                break;
            }
            let Some(change) = self.late.changes.pop_front() else { break };
            looks = looks.saturating_sub(self.settle_change(change, effects));
        }
        for _ in 0..self.late.restless.len() {
            if looks == 0 {
                break;
            }
            let Some((slot, generation)) = self.late.restless.pop_front() else { break };
            looks = looks.saturating_sub(self.settle_restless(slot, generation, effects));
        }
        let is_done = self.late.is_empty();
        if is_done {
            (self.late.changes, self.late.restless) = (VecDeque::new(), VecDeque::new());
        }
        self.late.due_us = (!is_done).then_some(effects.now.mono_us + LATE_AGAIN_US);
    }

    /// Sends a change, or the part of it that the lanes take; returns how many hops that may have been.
    fn settle_change(&mut self, change: Change, effects: &mut HomeEffects<'_>) -> usize {
        match change {
            Change::Uncounted(counted) => {
                let core = self.core_of(&counted);
                self.late.uncounted[core.index()] -= 1;
                self.tell_uncounted(counted, effects);
                1
            }
            Change::Left { member, passes, how, rooms } => {
                let looks = rooms.len();
                if !matches!(how, MembershipEnd::Gone) {
                    self.late.let_go(member.conn.slot);
                }
                self.put_left(member, passes, how, rooms, effects);
                looks
            }
        }
    }

    fn settle_restless(&mut self, slot: u32, generation: u32, effects: &mut HomeEffects<'_>) -> usize {
        let session = self.sessions.at(slot);
        if session.generation != generation || session.phase != Phase::Open {
            return 1;
        }
        let mut is_settled = true;
        for index in 0..self.sessions.at(slot).memberships.len() {
            let session = self.sessions.at(slot);
            let membership = session.memberships[index];
            if !membership.wanted || membership.away == session.is_away() {
                continue;
            }
            let owner = self.audiences.at(membership.audience).owner;
            if self.is_way_full_for_changes(slot, owner, effects) {
                is_settled = false;
            } else {
                self.settle_away(slot, index, effects);
            }
        }
        if is_settled {
            self.sessions.at_mut(slot).marks.take(Marks::RESTLESS);
        } else {
            self.late.restless.push_back((slot, generation));
        }
        self.sessions.at(slot).memberships.len().max(1)
    }
}

/// Uncounts a connection on the core that counts it.
fn uncount(core: CoreId, counted: Counted, effects: &mut HomeEffects<'_>) {
    match counted {
        Counted::Address(address) => effects.outbound.post_to_limiter(core, ToLimiter::ForgetAddress { address }),
        Counted::User(user) => effects.outbound.post_to_user(core, ToUser::Forget { user }),
    }
}
