//! Owns `mixed`: a chat with room sizes by Zipf's law, members that publish in bursts and read history and presence,
//! room changes and lost connections. All times are scheduled in advance. Never checks messages: the [`Crowd`] does.

mod rooms;
mod speech;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use roomring::wire::frame::Opcode;

use super::crowd::client::CrowdClient;
use super::crowd::{Crowd, HeardMessage};
use super::{Actor, Findings, RETRY_NS};
use crate::clock::{MILLISECOND, SECOND};
use crate::dialect::{Dialect, Said, json};
use crate::fleet::handshake::OpeningRequest;
use crate::fleet::{Behavior, ConnectionEnd, Departure, Fleet};
use crate::measure::histogram::Durations;
use crate::plan::{MixedLoad, RunPhase, WorkerPlan};
use rooms::{ROOMS_PER_CLIENT_MAX, Zipf};
use speech::{Speech, Utterance};

/// Messages of a history read.
const PAGE: u32 = 20;

/// Interval at which a draining run counts missing messages.
const LOOK_NS: u64 = 20 * MILLISECOND;

/// Maximum time until a client reconnects.
const AWAY_NS_MAX: u64 = 3 * SECOND;

/// The scenario.
pub struct MixedActor {
    load: MixedLoad,
    clients: u32,
    payload_bytes: usize,
    crowd: Crowd,
    zipf: Zipf,
    speech: Option<Speech>,
    /// Client and room of each burst in progress.
    bursts: HashMap<u64, (u32, u32)>,
    next_read: u64,
    next_move: u64,
    /// The read of each client in flight.
    reading: Vec<Option<PendingRead>>,
    /// Times of each publish, by number.
    publishes: Vec<Times>,
    looked: u64,
    message: Vec<u8>,
    latency: Durations,
    last_receiver: Durations,
    lag: Durations,
    history: Durations,
    presence: Durations,
}

/// A read in flight.
#[derive(Clone, Copy, Debug)]
struct PendingRead {
    scheduled: u64,
    room: u32,
    /// For a history read, the seq to start after; `None` for a presence query.
    after: Option<u64>,
}

/// Scheduled time of a publish, and time of its last delivery.
#[derive(Clone, Copy, Debug)]
struct Times {
    scheduled: u64,
    last: u64,
    measured: bool,
}

impl MixedActor {
    /// Creates clients and rooms. Draws memberships when clients connect.
    #[must_use]
    pub fn new(plan: WorkerPlan, load: MixedLoad) -> Self {
        let is_binary = matches!(plan.dialect, Dialect::Binary);
        MixedActor {
            clients: plan.clients,
            payload_bytes: plan.payload_bytes,
            zipf: Zipf::new(load.rooms, load.zipf),
            speech: None,
            bursts: HashMap::new(),
            next_read: u64::MAX,
            next_move: u64::MAX,
            reading: vec![None; plan.clients as usize],
            publishes: Vec::new(),
            looked: 0,
            message: Vec::new(),
            latency: Durations::default(),
            last_receiver: Durations::default(),
            lag: Durations::default(),
            history: Durations::default(),
            presence: Durations::default(),
            crowd: Crowd::new(plan, load.rooms, |_| is_binary),
            load,
        }
    }

    /// A client that can publish to `room`: `wanted`, or another member.
    fn speaker(&self, fleet: &mut Fleet, wanted: u32, room: u32) -> Option<u32> {
        let is_in = |client: &u32| {
            let client = &self.crowd.clients[*client as usize];
            client.up && client.rooms_in().any(|inside| inside == room)
        };
        let from = fleet.rng.u32(..self.clients);
        std::iter::once(wanted).chain(from..self.clients).chain(0..from).find(is_in)
    }

    /// A random client with one of its rooms.
    fn anyone(&self, fleet: &mut Fleet) -> Option<(u32, u32)> {
        let from = fleet.rng.u32(..self.clients);
        let is_in = |client: &u32| self.room_of(&self.crowd.clients[*client as usize], 0).is_some();
        let client = (from..self.clients).chain(0..from).find(is_in)?;
        let pick = fleet.rng.usize(..ROOMS_PER_CLIENT_MAX);
        self.room_of(&self.crowd.clients[client as usize], pick).map(|room| (client, room))
    }

    /// One of a client's rooms.
    fn room_of(&self, client: &CrowdClient, pick: usize) -> Option<u32> {
        let inside = client.rooms_in().count();
        client.rooms_in().nth(pick.checked_rem(inside)?).filter(|_| client.up)
    }

    fn speak(&mut self, fleet: &mut Fleet, utterance: Utterance, now: u64) {
        let Utterance { at, burst, left } = utterance;
        let measured = self.crowd.phase == RunPhase::Measure;
        let planned = self.bursts.remove(&burst).or_else(|| self.anyone(fleet));
        let speaker = planned.and_then(|(client, room)| Some((self.speaker(fleet, client, room)?, room)));
        // If all members of the room have left, another client publishes elsewhere.
        let Some((client, room)) = speaker.or_else(|| self.anyone(fleet)) else {
            fleet.counters.unsent += 1;
            return;
        };
        if left > 0 {
            self.bursts.insert(burst, (client, room));
        }
        if measured {
            self.lag.record(now - at);
        }
        let size = speech::payload_bytes(self.payload_bytes, &mut fleet.rng);
        let number = self.crowd.publish(fleet, client, room, size);
        fleet.flush(client);
        debug_assert_eq!(number as usize, self.publishes.len());
        self.publishes.push(Times { scheduled: at, last: 0, measured });
    }

    fn read(&mut self, fleet: &mut Fleet, scheduled: u64) {
        let Some((client, room)) = self.anyone(fleet) else { return };
        if self.reading[client as usize].is_some() {
            // Replies to two reads could be confused, so this read is skipped.
            return;
        }
        let after = fleet.rng.bool().then(|| self.crowd.head(room).saturating_sub(u64::from(PAGE)));
        self.message.clear();
        let name = self.crowd.room_name(room);
        match after {
            Some(after) => json::write_history(name, after, PAGE, &mut self.message),
            None => json::write_presence(name, &mut self.message),
        }
        // The JSON form is allowed on any connection.
        fleet.queue(client, Opcode::Text, &self.message);
        fleet.flush(client);
        self.reading[client as usize] = Some(PendingRead { scheduled, room, after });
    }

    fn answered(&mut self, fleet: &mut Fleet, client: u32, said: Said, now: u64) {
        let reading = self.reading[client as usize].take();
        let measured = self.crowd.phase >= RunPhase::Measure;
        let took = |reading: PendingRead| now.saturating_sub(reading.scheduled);
        let wrong = match (reading, said) {
            (Some(read @ PendingRead { room, after: None, .. }), Said::Presence { room: name, total }) => {
                if measured {
                    self.presence.record(took(read));
                }
                let is_right = self.crowd.room_named(&name) == Some(room);
                // The client itself is present.
                let is_right = is_right && (1..=u64::from(self.clients)).contains(&total);
                (!is_right).then(|| format!("{name}: presence of {total}, requested for room {room}"))
            }
            (
                Some(read @ PendingRead { room, after: Some(after), .. }),
                Said::History { room: name, head, messages, .. },
            ) => {
                if measured {
                    self.history.record(took(read));
                }
                let expected = (head.saturating_sub(after)).min(u64::from(PAGE));
                let seqs = messages.iter().map(|published| published.seq);
                let is_right = self.crowd.room_named(&name) == Some(room)
                    && head >= after
                    && messages.len() as u64 == expected
                    && seqs.eq(after + 1..=after + expected);
                let checked = messages.iter().try_for_each(|published| self.crowd.check(room, published));
                let page = || format!("{name}: {} messages after {after}, head {head}", messages.len());
                checked.err().or_else(|| (!is_right).then(page))
            }
            (_, said) => Some(format!("unexpected reply to a read: {said:?}")),
        };
        fleet.counters.reads += 1;
        if let Some(what) = wrong {
            self.crowd.wrong(fleet, client, || what);
        }
    }

    /// Makes a client change rooms, or lose its connection.
    fn move_someone(&mut self, fleet: &mut Fleet, now: u64) {
        let Some((client, room)) = self.anyone(fleet) else { return };
        if fleet.rng.bool() {
            let there = |room: u32| self.crowd.clients[client as usize].memberships.iter().any(|of| of.room == room);
            let elsewhere = (0..8).map(|_| self.zipf.draw(&mut fleet.rng)).find(|room| !there(*room));
            let Some(elsewhere) = elsewhere else { return };
            self.crowd.leave(fleet, client, room);
            self.crowd.join(fleet, client, elsewhere, None);
            return;
        }
        let away = fleet.rng.u64(..AWAY_NS_MAX);
        self.reading[client as usize] = None;
        match fleet.rng.choice(&[None, Some(Departure::Fin), Some(Departure::Reset), Some(Departure::MidFrame)]) {
            Some(Some(leaving)) => {
                fleet.vanish(client, *leaving);
                self.crowd.go_away(client);
                self.crowd.come_back(fleet, client, now + away);
            }
            // Later messages are ignored; `ended` follows the server's close.
            _ => {
                fleet.close(client);
                self.crowd.go_away(client);
            }
        }
    }

    fn owed(&self) -> u64 {
        self.crowd.owed() + self.reading.iter().flatten().count() as u64
    }

    fn plan_next(&self, fleet: &mut Fleet) {
        let publish = self.speech.as_ref().map_or(u64::MAX, Speech::next_at);
        fleet.set_deadline(publish.min(self.next_read).min(self.next_move));
    }

    fn start(&mut self, fleet: &mut Fleet, now: u64) {
        let MixedLoad { publishes_per_second, burst, reads_per_second, moves_per_second, .. } = self.load;
        self.speech = Some(Speech::start(publishes_per_second, burst, &mut fleet.rng, now));
        self.next_read = now.saturating_add(gap(reads_per_second, fleet));
        self.next_move = now.saturating_add(gap(moves_per_second, fleet));
        self.plan_next(fleet);
    }
}

/// Time until the next arrival of a Poisson process; `u64::MAX` for a rate of 0.
fn gap(per_second: f64, fleet: &mut Fleet) -> u64 {
    if per_second <= 0.0 {
        return u64::MAX;
    }
    ((speech::exponential(&mut fleet.rng) / per_second * SECOND as f64) as u64).max(1)
}

impl Behavior for MixedActor {
    fn request(&mut self, client: u32) -> OpeningRequest {
        self.crowd.request(client)
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        self.crowd.opened(fleet, client, now);
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) {
        match self.crowd.message(fleet, client, message, now) {
            HeardMessage::Live { number } => {
                let times = &mut self.publishes[number as usize];
                times.last = times.last.max(now);
                let took = now.saturating_sub(times.scheduled);
                fleet.pulse.record(took);
                if times.measured {
                    self.latency.record(took);
                }
            }
            HeardMessage::Answer(said) => self.answered(fleet, client, said, now),
            HeardMessage::Done => {}
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, now: u64) {
        self.reading[client as usize] = None;
        if self.crowd.ended(fleet, client, &ended) {
            let away = fleet.rng.u64(..AWAY_NS_MAX);
            self.crowd.come_back(fleet, client, now + away);
        }
    }

    fn failed(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        if self.crowd.phase < RunPhase::Leave {
            fleet.connect_at(client, now + RETRY_NS);
        }
    }

    fn due(&mut self, fleet: &mut Fleet, now: u64) {
        if !self.crowd.phase.is_running() {
            return;
        }
        while let Some(utterance) = self.speech.as_mut().and_then(|speech| speech.take_due(&mut fleet.rng, now)) {
            self.speak(fleet, utterance, now);
        }
        while self.next_read <= now {
            self.read(fleet, self.next_read);
            self.next_read = self.next_read.saturating_add(gap(self.load.reads_per_second, fleet));
        }
        while self.next_move <= now {
            self.move_someone(fleet, now);
            self.next_move = self.next_move.saturating_add(gap(self.load.moves_per_second, fleet));
        }
        self.plan_next(fleet);
    }

    fn turn_ended(&mut self, fleet: &mut Fleet, now: u64) {
        if self.crowd.phase == RunPhase::Drain && now.saturating_sub(self.looked) >= LOOK_NS {
            self.looked = now;
            fleet.counters.outstanding = self.owed();
        }
    }
}

impl Actor for MixedActor {
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, now: u64) {
        let before = std::mem::replace(&mut self.crowd.phase, phase);
        match phase {
            RunPhase::Connect => {
                let memberships = (f64::from(self.clients) * self.load.memberships).round() as u32;
                let rooms_of = self.zipf.assign(memberships, self.clients, &mut fleet.rng);
                for (client, rooms) in (0u32..).zip(rooms_of) {
                    let remembered = rooms.into_iter().map(|room| (room, None));
                    self.crowd.clients[client as usize].remembered.extend(remembered);
                    fleet.connect(client);
                }
            }
            RunPhase::Warm | RunPhase::Measure if !before.is_running() => self.start(fleet, now),
            RunPhase::Warm | RunPhase::Measure | RunPhase::Kill | RunPhase::Check => {}
            RunPhase::Drain => {
                fleet.set_deadline(u64::MAX);
                fleet.counters.outstanding = self.owed();
            }
            RunPhase::Leave => {
                let owed = self.owed();
                self.crowd.give_up(fleet, owed);
                fleet.close_all();
            }
        }
    }

    fn finish(&mut self, _fleet: &mut Fleet) -> Findings {
        for times in self.publishes.iter().filter(|times| times.measured && times.last > 0) {
            self.last_receiver.record(times.last.saturating_sub(times.scheduled));
        }
        let mut findings = Findings::default();
        findings.add("latency", &self.latency);
        findings.add("last_receiver", &self.last_receiver);
        findings.add("history", &self.history);
        findings.add("presence", &self.presence);
        findings.add("recovery", &self.crowd.recovery);
        findings.add("lag", &self.lag);
        findings.complaints = self.crowd.complaints.take();
        findings
    }
}
