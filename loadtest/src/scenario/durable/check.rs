//! Owns the check of `durable`: after a kill one client joins every room, one at a time, when none is in the server's
//! memory. Then all clients return, and one of each room reads its history page by page. Never publishes.

use super::DurableActor;
use super::account::{AfterPage, PageEnds, Tally};
use super::stage::CheckStage;
use crate::dialect::{RoomMessage, json};
use crate::fleet::Fleet;
use crate::payload::Stamp;
use crate::plan::RunPhase;

/// Messages of a page: the most that the protocol allows.
const PAGE: u32 = 300;

/// The client that probes cold rooms.
const PROBE: u32 = 0;

impl DurableActor {
    /// Begins a check: of what is new after a kill, of everything otherwise.
    pub(super) fn begin_check(&mut self, fleet: &mut Fleet, was_killed: bool) {
        let left = self.rooms.len() as u32;
        self.checks.asked = vec![0; self.rooms.len()];
        if was_killed {
            self.stage = CheckStage::Waiting;
            // All clients must return, and those that read must come to the end.
            fleet.counters.outstanding += u64::from(self.plan.clients);
            return;
        }
        self.stage = CheckStage::Reading { left, everything: true };
        fleet.counters.outstanding += u64::from(left);
        for room in 0..left {
            self.read_back(fleet, room * self.plan.room_size);
        }
    }

    /// Begins to probe as soon as the last connection to the killed server has ended.
    pub(super) fn go_on_checking(&mut self, fleet: &mut Fleet) {
        if self.stage == CheckStage::Waiting && fleet.counters.open == 0 {
            self.stage = CheckStage::Probing { room: 0, is_warm: false, since: 0 };
            fleet.connect(PROBE);
        }
    }

    /// The room that the probe joins.
    pub(super) fn probed_room(&self) -> Option<u32> {
        match self.stage {
            CheckStage::Probing { room, .. } => Some(room),
            _ => None,
        }
    }

    /// Joins a cold room.
    pub(super) fn probe(&mut self, fleet: &mut Fleet, room: u32, now: u64) {
        self.stage = CheckStage::Probing { room, is_warm: false, since: now };
        self.join(fleet, PROBE, room);
        fleet.flush(PROBE);
    }

    /// A probed room was joined: joins it once more for comparison, then leaves it.
    pub(super) fn probe_joined(&mut self, fleet: &mut Fleet, now: u64) {
        let CheckStage::Probing { room, is_warm, since } = self.stage else { return };
        let took = now.saturating_sub(since);
        if is_warm {
            self.checks.warm.record(took);
            self.message.clear();
            json::write_leave(&self.rooms[room as usize].name, &mut self.message);
            return self.send(fleet, PROBE);
        }
        self.checks.cold.record(took);
        self.stage = CheckStage::Probing { room, is_warm: true, since: now };
        self.join(fleet, PROBE, room);
        fleet.flush(PROBE);
    }

    /// A probed room was left: goes on to the next, or to reading.
    pub(super) fn left(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let Some(room) = self.probed_room().filter(|_| client == PROBE) else {
            return self.wrong(fleet, format!("client {client}: unexpected left"));
        };
        let rooms = self.rooms.len() as u32;
        if room + 1 < rooms {
            return self.probe(fleet, room + 1, now);
        }
        self.stage = CheckStage::Reading { left: rooms, everything: false };
        self.join(fleet, PROBE, self.room_of(PROBE));
        (PROBE + 1..self.plan.clients).for_each(|client| fleet.connect(client));
    }

    /// Begins to read a room, if a check runs and `client` is the room's first member. The others have only to return.
    pub(super) fn read_back(&mut self, fleet: &mut Fleet, client: u32) {
        if !client.is_multiple_of(self.plan.room_size) {
            // Its room may be read to the end already.
            fleet.counters.outstanding -= u64::from(self.phase == RunPhase::Check);
            return;
        }
        let CheckStage::Reading { everything, .. } = self.stage else { return };
        if self.publishers[client as usize].joined {
            let room = self.room_of(client) as usize;
            let after = self.rooms[room].account.begin_check(everything);
            self.ask(fleet, client, after);
        }
    }

    fn ask(&mut self, fleet: &mut Fleet, client: u32, after: u64) {
        let room = self.room_of(client) as usize;
        self.message.clear();
        json::write_history(&self.rooms[room].name, after, PAGE, &mut self.message);
        self.checks.asked[room] = fleet.clock.now();
        self.send(fleet, client);
    }

    /// Takes a page of history: the room's name, epoch, first seq and head, and the messages.
    pub(super) fn page(
        &mut self,
        fleet: &mut Fleet,
        client: u32,
        (name, epoch, first, head): (&str, &str, u64, u64),
        messages: &[RoomMessage],
        now: u64,
    ) {
        let room_index = self.room_of(client);
        let room = &mut self.rooms[room_index as usize];
        if room.name != name || !matches!(self.stage, CheckStage::Reading { .. }) {
            return self.wrong(fleet, format!("client {client}: unexpected history of {name:?}"));
        }
        self.checks.page.record(now.saturating_sub(self.checks.asked[room_index as usize]));
        let (ends, before) = (PageEnds { epoch, first, head }, self.tally);
        let payload = self.plan.payload();
        let mut said = Vec::new();
        said.extend(room.account.begin_page(&ends, &mut self.tally).err());
        for message in messages {
            // In a JSON string, a quote precedes the stamp.
            let stamp = Stamp::find(&message.data, &mut 0);
            self.message.clear();
            if let Some(stamp) = stamp {
                payload.write_value(stamp, &mut self.message);
            }
            let is_intact = self.message == message.data;
            said.extend(room.account.read(message.seq, stamp, is_intact, &mut self.tally).err());
        }
        let next = room.account.end_page(&ends, messages.len(), &mut self.tally);
        said.extend(next.as_ref().err().cloned());
        said.into_iter().for_each(|what| self.complaints.add(|| what));
        count(fleet, &before, &self.tally);
        match next {
            Ok(AfterPage::Ask(after)) => self.ask(fleet, client, after),
            Ok(AfterPage::Complete) | Err(_) => self.room_checked(fleet),
        }
    }

    fn room_checked(&mut self, fleet: &mut Fleet) {
        let CheckStage::Reading { left, everything } = self.stage else { return };
        fleet.counters.outstanding -= 1;
        self.stage = match left {
            1 => CheckStage::Idle,
            _ => CheckStage::Reading { left: left - 1, everything },
        };
    }
}

/// Counts what a page has changed.
fn count(fleet: &mut Fleet, before: &Tally, now: &Tally) {
    let counters = &mut fleet.counters;
    let duplicated = now.duplicated - before.duplicated;
    counters.delivered += now.confirmed - before.confirmed + duplicated;
    counters.duplicated += duplicated;
    counters.out_of_order += now.reordered - before.reordered;
    counters.wrong += now.wrong - before.wrong;
    counters.holes += now.lost_again - before.lost_again;
    counters.unanswered_kept += now.unanswered_kept - before.unanswered_kept;
    counters.trimmed += now.trimmed - before.trimmed;
    counters.expected -= now.trimmed - before.trimmed;
    counters.read_back += now.read - before.read;
}
