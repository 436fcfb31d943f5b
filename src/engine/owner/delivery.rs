//! A room's publications on their way to the cores that listen: in order, one hop for each core, put off where a lane is
//! full and made good from history as soon as it is not.

use std::sync::Arc;

use super::OwnerEffects;
use super::history::Held;
use super::listeners::Behind;
use super::publish::Arrival;
use super::room::Room;
use crate::base::ids::{ConnId, RoomName, Seq};
use crate::base::time::Now;
use crate::engine::hop::{Hop, ToHome};
use crate::engine::input::{Record, Stretch};
use crate::engine::trace::{Mark, Span, Stage};
use crate::wire::publication::{Content, Data, Publication};
use crate::wire::reading::Variants;

impl Room {
    /// The publication after the head: encoded once, on its way to every core that listens, and in history.
    pub fn accept(
        &mut self,
        now: Now,
        record: &Record,
        except: Option<ConnId>,
        arrival: Arrival,
        effects: &mut OwnerEffects<'_>,
    ) {
        self.repair(effects);
        let held =
            Held { publication: Arc::new(self.encode(record, except, arrival.us)), except, arrived_us: arrival.us };
        let variants = effects.packer.variants(self.listeners.readings(), &held.publication.frames, effects.counters);
        let mut listeners = 0;
        for listener in self.listeners.iter_mut() {
            if listener.behind.is_none() {
                let hop = deliver(self.name.clone(), &held, variants.clone(), arrival.trace);
                if effects.outbound.try_post(listener.core, hop).is_ok() {
                    listeners += 1;
                    continue;
                }
                listener.behind = Some(Behind::From(record.seq));
            }
            effects.counters.dropped_lane.add(1);
        }
        self.hold(now, held);
        effects.counters.broadcasts.add(1);
        if let Some(mark) = arrival.trace {
            let (core, room) = (effects.outbound.core(), self.name.clone());
            let stage = Stage::Numbered { seq: record.seq, listeners };
            let (arrived_us, ended_us) = (arrival.us, now.mono_us);
            let span = Span { mark, arrived_us, core, room, stage, began_us: arrived_us, ended_us };
            span.tell(effects.spans, effects.counters);
        }
    }

    /// Sends each core that is behind what it missed, as far as its lane takes it.
    pub fn repair(&mut self, effects: &mut OwnerEffects<'_>) {
        if !self.listeners.any_behind() {
            return;
        }
        let (head, members, count) = (self.head(), self.members(), self.settings.history_on_join as usize);
        let room = || self.name.clone();
        for listener in self.listeners.iter_mut() {
            while let Some(behind) = listener.behind.filter(|_| !effects.outbound.is_full(listener.core)) {
                let held = match behind {
                    Behind::From(next) => self.history.get(next).ok_or(next),
                    Behind::NewEpoch => {
                        let messages = self.history.newest(count);
                        let hop = ToHome::NewEpoch { room: room(), head, messages, members };
                        effects.outbound.post_to_home(listener.core, hop);
                        listener.behind = None;
                        break;
                    }
                };
                let done = match held {
                    Ok(held) => {
                        effects.outbound.post(listener.core, deliver(room(), held, None, None));
                        held.publication.seq
                    }
                    Err(from) => {
                        let to = self.history.first_seq() - 1;
                        effects.outbound.post_to_home(listener.core, ToHome::Gap { room: room(), from, to });
                        effects.counters.dropped_gap.add(to + 1 - from);
                        to
                    }
                };
                listener.behind = (done < head.seq).then_some(Behind::From(done + 1));
            }
        }
    }

    /// Goes on after `to`: the numbers up to it are lost to this room, and each core is told so.
    pub fn skip_to(&mut self, to: Seq, effects: &mut OwnerEffects<'_>) {
        self.repair(effects);
        let from = self.history.head() + 1;
        for listener in self.listeners.iter_mut().filter(|listener| listener.behind.is_none()) {
            let gap = Hop::ToHome(ToHome::Gap { room: self.name.clone(), from, to });
            match effects.outbound.try_post(listener.core, gap) {
                Ok(()) => effects.counters.dropped_gap.add(to + 1 - from),
                Err(_) => listener.behind = Some(Behind::From(from)),
            }
        }
        self.history.reset(to);
    }

    /// Goes over to another numbering: everything held before is nothing any more, and each core is told so.
    pub fn renumber(&mut self, now: Now, stretch: &Stretch, effects: &mut OwnerEffects<'_>) {
        self.fill(now, stretch);
        for listener in self.listeners.iter_mut() {
            listener.behind = Some(Behind::NewEpoch);
        }
        self.repair(effects);
    }

    /// Takes over what the link or the store holds: the numbering, its head, and the records that end at it.
    pub fn fill(&mut self, now: Now, stretch: &Stretch) {
        let Some(head) = stretch.head else { return };
        self.epoch = head.epoch;
        let ends_at_head = stretch.records.last().is_some_and(|last| last.seq == head.seq);
        let records = if ends_at_head { &stretch.records[..] } else { &[] };
        let run = records.iter().rev().zip((1..=head.seq).rev()).take_while(|(record, seq)| record.seq == *seq).count();
        let records = &records[records.len() - run..];
        self.history.reset(head.seq - records.len() as u64);
        for record in records {
            let publication = Arc::new(self.encode(record, None, now.mono_us));
            self.hold(now, Held { publication, except: None, arrived_us: now.mono_us });
        }
        // Held longer than the room's own time: another machine, or this one before a restart, may keep them longer.
        self.history.expire(now.mono_ms());
    }

    fn encode(&self, record: &Record, except: Option<ConnId>, arrived_us: u64) -> Publication {
        let data = Data { kind: record.kind, bytes: &record.data };
        let content = Content::new(&self.name, record.seq, &record.from, record.at, data);
        let content = content.with_key(record.key.as_deref()).sparing(except).arrived(arrived_us);
        Publication::encode(&content, self.listeners.readings().forms())
    }

    /// Into history, for as long as its age leaves.
    fn hold(&mut self, now: Now, held: Held) {
        self.last_at = self.last_at.max(held.publication.at);
        let age_ms = now.unix_ms.saturating_sub(held.publication.at);
        let expires_ms = now.mono_ms().saturating_add(self.settings.history_ttl_ms.saturating_sub(age_ms));
        self.history.expire(now.mono_ms());
        self.history.append(held, expires_ms, self.settings.history_count_max);
    }
}

fn deliver(room: RoomName, held: &Held, variants: Option<Arc<Variants>>, trace: Option<Mark>) -> Hop {
    Hop::ToHome(ToHome::Deliver {
        room,
        publication: Arc::clone(&held.publication),
        variants,
        except: held.except,
        arrived_us: held.arrived_us,
        trace,
    })
}
