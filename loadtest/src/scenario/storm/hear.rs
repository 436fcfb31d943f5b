//! Owns the checks of received messages in a storm: each publication once, live or by recovery. Never disconnects
//! members.

use super::member::MemberStage;
use super::{RECOVERABLE, StormActor};
use crate::dialect::{RoomMessage, Said, StampedDelivery};
use crate::fleet::Fleet;
use crate::measure::sequence::ArrivalOrder;
use crate::payload::Stamp;

impl StormActor {
    pub(super) fn joined(&mut self, fleet: &mut Fleet, client: u32, now: u64, joined: Said) {
        let Said::Joined { epoch, seq, recovered, messages, following, .. } = joined else { return };
        if self.members[client as usize].stage != MemberStage::Joining {
            return self.wrong(fleet, || format!("client {client}: unexpected joined"));
        }
        fleet.counters.joins += 1;
        let room_index = self.room_of(client);
        let room = &mut self.rooms[room_index as usize];
        let known = room.epoch.get_or_insert_with(|| epoch.clone());
        if *known != epoch {
            let what = format!("room {room_index}: epoch {epoch} after {known}");
            return self.wrong(fleet, || what);
        }
        let told = messages.len() as u64 + u64::from(following);
        let member = &mut self.members[client as usize];
        member.stage = MemberStage::CatchingUp { head: seq };
        if member.was_in {
            self.rejoined(fleet, client, (seq + 1).saturating_sub(told), seq, recovered);
        } else {
            member.begin_behind(seq);
            if room.flights.next() == 0 {
                room.offset = Some(seq + 1);
            }
        }
        for RoomMessage { seq, data, .. } in &messages {
            let delivery = StampedDelivery { seq: Some(*seq), stamp: Stamp::find(data, &mut 0) };
            self.deliver(fleet, client, delivery, now);
        }
        self.come_in_if_whole(fleet, client, now);
    }

    /// Handles the reply to a rejoin, with messages from `first` to the head.
    fn rejoined(&mut self, fleet: &mut Fleet, client: u32, first: u64, head: u64, recovered: bool) {
        let room_index = self.room_of(client);
        let member = &mut self.members[client as usize];
        let last = member.last();
        if last > head {
            return self.wrong(fleet, || format!("client {client}: head {head} is before {last}, which was received"));
        }
        if recovered {
            fleet.counters.recovered += 1;
            if first != last + 1 {
                self.wrong(fleet, || format!("client {client}: recovered from {first} in place of {}", last + 1));
            }
            return;
        }
        fleet.counters.not_recovered += 1;
        // The messages are the newest history, part of which the member may have.
        member.repeated_until = last;
        if first > last + 1 {
            let missed = member.sequence.announce_gap(last + 1, first - 1);
            self.miss(fleet, room_index, missed, last + 1, first - 1);
        }
        if head - last <= RECOVERABLE {
            self.wrong(fleet, || format!("client {client}: {last} not recovered, head {head}"));
        }
    }

    fn miss(&mut self, fleet: &mut Fleet, room_index: u32, missed: u64, from: u64, to: u64) {
        let room = &mut self.rooms[room_index as usize];
        fleet.counters.missed += missed;
        fleet.counters.outstanding -= room.flights.skip_seqs(room.offset.unwrap_or(0), from, to);
    }

    fn come_in_if_whole(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let member = &self.members[client as usize];
        if let MemberStage::CatchingUp { head } = member.stage
            && member.sequence.next() > head
        {
            self.come_in(fleet, client, now);
        }
    }

    pub(super) fn deliver(&mut self, fleet: &mut Fleet, client: u32, delivery: StampedDelivery, now: u64) {
        let room_index = self.room_of(client);
        let Some(stamp) = delivery.stamp else {
            return self.wrong(fleet, || format!("client {client}: a publication without the published data"));
        };
        if stamp.room != room_index {
            fleet.counters.misrouted += 1;
            self.complaints.add(|| format!("client {client} of room {room_index} got {stamp:?}"));
            return;
        }
        let room = &mut self.rooms[room_index as usize];
        if let Some(seq) = delivery.seq {
            let offset = seq.wrapping_sub(u64::from(stamp.number));
            if *room.offset.get_or_insert(offset) != offset {
                return self.wrong(fleet, || format!("room {room_index}: seq {seq} for publish {}", stamp.number));
            }
        }
        let member = &mut self.members[client as usize];
        let number = delivery.seq.unwrap_or(u64::from(stamp.number));
        let replayed = match member.stage {
            MemberStage::Away | MemberStage::Joining if delivery.seq.is_some() => {
                return self.wrong(fleet, || format!("client {client}: seq {number} before the joined"));
            }
            MemberStage::CatchingUp { head } if number <= head => {
                if number <= member.repeated_until {
                    return;
                }
                true
            }
            _ => false,
        };
        // Without numbers, the first publication after a reconnect shows what was missed.
        if delivery.seq.is_none() && member.unsure && number > member.sequence.next() {
            let from = member.sequence.next();
            let missed = member.sequence.announce_gap(from, number - 1);
            self.miss(fleet, room_index, missed, from, number - 1);
        }
        let member = &mut self.members[client as usize];
        member.unsure = false;
        fleet.counters.delivered += 1;
        match member.sequence.observe(number) {
            ArrivalOrder::InOrder | ArrivalOrder::AfterHole(_) => {}
            ArrivalOrder::Late => fleet.counters.out_of_order += 1,
            ArrivalOrder::Duplicate => {
                fleet.counters.duplicated += 1;
                self.complaints.add(|| format!("client {client}: publish {} again", stamp.number));
                return;
            }
        }
        let stays = !member.is_hit;
        self.land(fleet, room_index, stamp.number, (stays, replayed), now);
        if replayed {
            self.come_in_if_whole(fleet, client, now);
        }
    }

    fn land(&mut self, fleet: &mut Fleet, room_index: u32, number: u32, (stays, replayed): (bool, bool), now: u64) {
        let Some(flight) = self.rooms[room_index as usize].flights.arrive(number) else {
            return self.wrong(fleet, || format!("room {room_index}: publish {number} is not in flight"));
        };
        fleet.counters.outstanding -= 1;
        fleet.counters.replayed += u64::from(replayed);
        let took = now.saturating_sub(flight.scheduled);
        fleet.pulse.record(took);
        if !flight.measured {
            return;
        }
        let is_calm = self.raging.is_none() && flight.scheduled >= self.calm_since;
        if stays {
            if is_calm { &mut self.calm } else { &mut self.during }.record(took);
        }
        if is_calm && flight.missing == 0 && !flight.skipped {
            self.last_receiver.record(took);
        }
    }

    pub(super) fn gap(&mut self, fleet: &mut Fleet, client: u32, from: u64, to: u64) {
        let room_index = self.room_of(client);
        let missing = self.members[client as usize].sequence.announce_gap(from, to);
        if from > to || missing != to - from + 1 {
            self.wrong(fleet, || format!("client {client}: gap {from} to {to}, of which {missing} were missing"));
        }
        fleet.counters.skipped += missing;
        let room = &mut self.rooms[room_index as usize];
        fleet.counters.outstanding -= room.flights.skip_seqs(room.offset.unwrap_or(0), from, to);
    }
}
