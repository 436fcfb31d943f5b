//! The home half of an engine: this core's connections. Hears sockets by inputs and owners by hops; answers by sends,
//! closes and hops. Never numbers a message and never knows who else is in a room.
//!
//! `lobby` holds sockets until they are WebSockets and decides who is let in; `slots` counts them. `verification` judges
//! tokens, `tokens` knows what they allow and until when, `refresh` replaces them. `inbound` turns bytes into commands,
//! `commands` carries them out at the `pace` that a connection may have, `routing` sends them to the owners of rooms, `pongs`
//! answers pings. `hops` hears the owners' answers, `delivery` what they send to all members, `news` who is there; `replies`
//! tells one connection; `late` keeps changes that meet a full lane. `closing` ends a connection, `drain` all of them,
//! `shedding` those that hold the most when memory is short. `timers` does what time asks for, `reload` takes over other
//! settings, `calls` does what the control address asks for, `turn` is what gathers until a flush.

mod calls;
mod closing;
mod commands;
mod deadlines;
mod delivery;
mod drain;
mod hops;
mod inbound;
mod late;
mod lobby;
mod news;
mod pace;
mod pongs;
mod refresh;
mod reload;
mod replies;
mod routing;
mod shedding;
mod slots;
#[cfg(test)]
mod tests;
mod timers;
mod tokens;
mod traces;
mod turn;
mod verification;
mod worst;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use self::late::Late;
use self::lobby::Lobby;
use self::news::Uninformed;
use self::pace::Paces;
use self::pongs::Pongs;
use self::replies::{pack, pack_with};
use self::slots::Slots;
use self::timers::Timers;
use self::tokens::Tokens;
use self::turn::Turn;
use super::audience::Audiences;
use super::budget::Budget;
use super::limiter::Limiter;
use super::outbound::Outbound;
use super::outbox::{Encoder, Outboxes};
use super::output::Output;
use super::packer::Packer;
use super::random::{Part, Random, Secrets};
use super::session::{Phase, SEEN_UNIT_MS, Session};
use super::settings::Settings;
use super::table::Table;
use super::user::Users;
use crate::base::counters::CoreCounters;
use crate::base::ids::{ConnId, CoreId, RoomName, Seq};
use crate::base::limits::SENDS_PER_TURN_MAX;
use crate::base::places::Places;
use crate::base::time::Now;
use crate::wire::deflate::Inflater;
use crate::wire::encode::encode_push;
use crate::wire::protocol::Push;
use crate::wire::publication::Publication;
use crate::wire::reading::Reading;

/// What the home half acts through: borrowed from the engine for one call.
pub struct HomeEffects<'a> {
    /// When it is.
    pub now: Now,
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// The limiter of this core, for what cannot wait for a hop to itself.
    pub limiter: &'a mut Limiter,
    /// The users of this core, likewise.
    pub users: &'a mut Users,
    /// Queued frames, partial heads and messages are charged here.
    pub budget: &'a mut Budget,
    /// Compresses what connections read so.
    pub packer: &'a mut Packer,
    /// Inflates what connections compress.
    pub inflater: &'a mut Inflater,
    /// Bytes of what connections were told in answer are added here.
    pub said_bytes: &'a mut usize,
    /// This core's numbers.
    pub counters: &'a CoreCounters,
    /// Sockets and the log.
    pub output: &'a mut Output,
}

/// The connections of one core.
#[derive(Debug)]
pub struct Home {
    settings: Arc<Settings>,
    core: CoreId,
    random: Random,
    slots: Slots,
    sessions: Table<Session>,
    outboxes: Outboxes,
    audiences: Audiences,
    /// Sockets that are not WebSockets yet.
    lobby: Lobby,
    /// Auth mode `jwt`; `None` in mode `open`.
    tokens: Option<Box<Tokens>>,
    paces: Paces,
    pongs: Pongs,
    /// What waits for lanes.
    late: Late,
    uninformed: Uninformed,
    timers: Timers,
    turn: Turn,
}

impl Home {
    /// No connections.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, secrets: &Secrets) -> Self {
        let mut random = secrets.shown(core, Part::Home);
        // A connection's id is a name and no secret.
        let first_generation = random.next_u64() as u32;
        let mut home = Self {
            core,
            random,
            slots: Slots::new(first_generation, &settings),
            sessions: Table::new(),
            outboxes: Outboxes::new(settings.outbox_bytes),
            audiences: Audiences::new(secrets.tables(core, Part::Home).hashing()),
            lobby: Lobby::default(),
            tokens: None,
            paces: Paces::default(),
            pongs: Pongs::default(),
            late: Late::new(settings.cores),
            uninformed: Uninformed::default(),
            timers: Timers::new(&settings),
            turn: Turn::default(),
            settings,
        };
        if let Some(last) = home.settings.warm_connections.checked_sub(1) {
            home.sessions.reach(last);
            home.slots.reach(last);
            home.outboxes.reach(last);
        }
        home
    }

    /// Counts open WebSockets together with the other cores of the process.
    pub fn share(&mut self, places: Arc<Places>) {
        self.slots.share(places);
    }

    /// A socket was accepted from `peer`.
    pub fn accepted(&mut self, slot: u32, peer: IpAddr, effects: &mut HomeEffects<'_>) {
        self.sessions.reach(slot);
        self.outboxes.reach(slot);
        let session = self.sessions.at_mut(slot);
        assert_eq!(session.phase, Phase::Free, "io gives a slot out again only after it was closed");
        session.generation = self.slots.accept(slot, peer);
        session.phase = Phase::Head;
        session.note_accepted(effects.now);
        effects.counters.accepted.add(1);
        effects.counters.upgrading.add(1);
        if !self.count_connect(slot, effects) {
            return;
        }
        self.make_way(effects);
        self.lobby.expect_request(effects.now, slot, self.sessions.at(slot).generation);
    }

    /// A proxy has told who is behind a socket.
    pub fn told_peer(&mut self, slot: u32, peer: IpAddr, effects: &mut HomeEffects<'_>) {
        debug_assert_eq!(self.sessions.at(slot).phase, Phase::Head, "before any byte");
        self.slots.set_address(slot, peer);
        self.count_connect(slot, effects);
    }

    /// Who is at the other end of a slot in use, as far as it is known: the peer of its socket, or the client that a
    /// trusted proxy in between has named. Never an IPv4 address in IPv6's form.
    #[must_use]
    pub fn address(&self, slot: u32) -> IpAddr {
        self.slots.address(slot)
    }

    /// Bytes arrived.
    pub fn received(&mut self, slot: u32, bytes: &mut [u8], effects: &mut HomeEffects<'_>) {
        effects.counters.bytes_received.add(bytes.len() as u64);
        let session = self.sessions.at_mut(slot);
        session.stats.bytes_received += bytes.len() as u64;
        session.last_seen = (effects.now.mono_ms() / SEEN_UNIT_MS) as u32;
        match session.phase {
            Phase::Head => self.receive_head(slot, bytes, effects),
            Phase::Greeting => self.receive_greeting(slot, bytes, effects),
            Phase::Open | Phase::Closing => self.receive_messages(slot, bytes, effects),
            Phase::Ending | Phase::Lingering => {}
            Phase::Free => debug_assert!(false, "bytes for a slot without a socket"),
        }
    }

    /// The kernel has taken the last send whole.
    pub fn sent(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let is_empty = self.outboxes.sent(slot, effects.budget);
        if !self.outboxes.is_sending(slot) {
            self.put_pong(slot, effects);
        }
        if is_empty {
            self.all_sent(slot, effects);
        }
    }

    /// Hands out the turn's sends. Returns whether more wait than fit in one turn.
    pub fn flush(&mut self, effects: &mut HomeEffects<'_>) -> bool {
        self.put_all_pending(effects);
        self.put_pongs(effects);
        self.shed(effects);
        self.tell_traced(effects);
        if self.outboxes.has_dirty() {
            let Self { outboxes, sessions, .. } = self;
            let HomeEffects { budget, counters, packer, output, .. } = effects;
            let mut encoder = LateEncoder { sessions, packer, counters };
            let mut flushed = std::mem::take(&mut self.turn.flushed);
            let sends = &mut output.sends;
            let before = sends.len();
            outboxes.flush(sends, budget, counters, &mut encoder, &mut |handed| flushed.push(handed));
            for (handed, send) in flushed.drain(..).zip(&mut sends[before..]) {
                let session = sessions.at_mut(handed.slot);
                let ends = matches!(session.phase, Phase::Ending | Phase::Lingering);
                send.is_last = ends && !outboxes.has_queued(handed.slot);
                session.stats.messages_sent = session.stats.messages_sent.wrapping_add(handed.messages);
                session.stats.bytes_sent += u64::from(handed.bytes);
            }
            self.turn.flushed = flushed;
        }
        let more = self.outboxes.has_dirty();
        if more && self.turn.delivered.len() < SENDS_PER_TURN_MAX {
            return more;
        }
        for (arrived_us, count) in self.turn.delivered.drain(..) {
            effects.counters.publish_to_flush.record(effects.now.mono_us.saturating_sub(arrived_us), count);
        }
        more
    }

    /// WebSockets there are, closing ones included; and every socket while a drain that hands over waits for heads.
    #[must_use]
    pub fn awaited(&self) -> usize {
        let awaited = if self.awaits_heads() { self.slots.sockets() } else { self.slots.websockets() };
        awaited as usize
    }

    /// The session of a connection that is still there.
    fn session_of(&self, conn: ConnId) -> Option<&Session> {
        debug_assert_eq!(conn.home, self.core);
        self.sessions
            .get(conn.slot)
            .filter(|session| session.generation == conn.generation && session.phase == Phase::Open)
    }
}

/// Encodes what is not encoded before it goes out.
struct LateEncoder<'a> {
    sessions: &'a Table<Session>,
    packer: &'a mut Packer,
    counters: &'a CoreCounters,
}

impl LateEncoder<'_> {
    fn reading(&self, slot: u32) -> Reading {
        self.sessions.at(slot).reading.expect("only connections that were open are members")
    }
}

impl Encoder for LateEncoder<'_> {
    fn gap(&mut self, slot: u32, room: &RoomName, from: Seq, to: Seq) -> Bytes {
        encode_push(&Push::Gap { room, from, to }, self.reading(slot).form())
    }

    fn message(&mut self, slot: u32, room: &RoomName, message: &Publication) -> Bytes {
        let reading = self.reading(slot);
        pack_with(self.packer, reading, message.frame(room, reading.form()), self.counters)
    }
}
