//! Events of the link for one room: positions, publications, presence. Each is passed to the part of the room that it
//! concerns.

use super::OwnerEffects;
use super::linked::LinkAnswer;
use super::opening::Opening;
use super::room::{Numbering, Room};
use crate::base::ids::Epoch;
use crate::base::time::Now;
use crate::engine::link_port::{LinkHead, LinkRequest, UserCounts};
use crate::engine::record::Record;

impl Room {
    /// Handles what the link holds of the room. Returns what has waited for the room, if this opens it.
    pub fn handle_read(&mut self, answer: &LinkAnswer, effects: &mut OwnerEffects<'_>) -> Option<Box<Opening>> {
        let Numbering::Link(linked) = &mut self.numbering else { return None };
        if self.opening.is_none() {
            linked.handle_read(&mut self.stream, answer, effects);
            self.keep_parked(effects);
            return None;
        }
        let opened = self.opening.take_if(|_| linked.open(&mut self.stream, answer, effects));
        self.keep_parked(effects);
        opened
    }

    /// Handles the room's head at the link.
    pub fn handle_position(&mut self, token: u64, head: Option<LinkHead>, effects: &mut OwnerEffects<'_>) {
        let Numbering::Link(linked) = &mut self.numbering else { return };
        if self.opening.is_none() {
            linked.handle_position(&mut self.stream, token, head, effects);
            self.keep_parked(effects);
        }
    }

    /// Handles a publication that the link has numbered. `may_wait`: the core has memory to hold it back.
    pub fn handle_publication(
        &mut self,
        (epoch, record): (Epoch, Record),
        may_wait: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        let Numbering::Link(linked) = &mut self.numbering else { return };
        match self.opening {
            None => linked.handle_publication(&mut self.stream, (epoch, record), may_wait, effects),
            Some(_) => linked.handle_early(epoch, record, may_wait),
        }
        self.keep_parked(effects);
    }

    /// The connection to the link was interrupted: requests and events may be lost. Returns whether the room must be compared
    /// with the link.
    pub fn handle_restored(&mut self, effects: &mut OwnerEffects<'_>) -> bool {
        let Numbering::Link(linked) = &mut self.numbering else { return false };
        let is_open = self.opening.is_none();
        if let Some(opening) = &mut self.opening {
            opening.asked_ms = effects.now.mono_ms();
        }
        linked.handle_restored(is_open, &self.stream, effects);
        is_open
    }

    /// Notes that the link was asked for the room's head.
    pub fn note_compared(&mut self, token: u64, now: Now) {
        if let Numbering::Link(linked) = &mut self.numbering {
            linked.note_compared(token, &self.stream, now);
        }
    }

    /// Whether the room has been compared with the link since it was restored. Returns `true` once.
    pub fn take_verified(&mut self) -> bool {
        let Numbering::Link(linked) = &mut self.numbering else { return false };
        linked.take_verified()
    }

    /// Handles a presence change on another machine.
    pub fn handle_presence(&mut self, life: u64, version: u64, changes: &[UserCounts], now: Now) {
        let grace_ms = self.stream.settings.presence_grace_ms;
        let (Numbering::Link(linked), Some(presence)) = (&mut self.numbering, &mut self.stream.presence) else {
            return;
        };
        if presence.contribute(life, (version, changes), grace_ms, now.mono_ms()) && self.opening.is_none() {
            linked.reread_soon(now);
        }
    }

    /// Removes the presence of a machine that has ended.
    pub fn end_life(&mut self, life: u64, now: Now) {
        let grace_ms = self.stream.settings.presence_grace_ms;
        if let (Numbering::Link(_), Some(presence)) = (&self.numbering, &mut self.stream.presence) {
            presence.end_life(life, grace_ms, now.mono_ms());
        }
    }

    /// Sends presence changes on this machine to the link.
    pub fn tell_machines(&mut self, effects: &mut OwnerEffects<'_>) {
        if let Numbering::Own = self.numbering {
            return;
        }
        let Some(presence) = &mut self.stream.presence else { return };
        while let Some(own) = presence.take_own_changes(effects.now.mono_ms()) {
            let (room, afresh, changes) = (self.stream.name.clone(), own.afresh, own.changes);
            effects.link.push(LinkRequest::Presence { room, afresh, changes });
        }
    }
}
