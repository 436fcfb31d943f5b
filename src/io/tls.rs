//! TLS on the path of one core, between its sockets and whoever speaks in plaintext above them. Inputs of sockets go in
//! and come out decrypted; sends, shutdowns and closes come in and go out encrypted. Reads no clock and no file.
//!
//! **Sends.** One send per slot is out at a time, whoever wants it. What TLS itself has to say (handshake, tickets, key
//! updates, alerts) waits in `own`, what the engine sends waits as plaintext, shared with all who are sent the same; both
//! become one send at the end of the turn, `own` first, in the order of their encryption. So a turn's fan-out still costs
//! one send per member, and a member that does not read holds one send in encrypted form.
//!
//! **Handshakes.** The engine's limit on request heads bounds each in time, from its accept on. Their number is bounded
//! ([`TLS_HANDSHAKES_MAX`]), and so is what each turn does for them: a socket in handshake that has received something
//! waits in a queue ([`Tls::step`]), so that a flood of handshakes takes its share of each turn and no more.
//!
//! **Ends.** A send that is the last carries the close_notify. After a failure the alert goes out and the socket is kept
//! until its peer has ended its stream too, or for a while, because closing with unread bytes would reset the connection
//! and could take back the alert; the engine has forgotten it by then.
//!
//! **Memory.** Between records a connection holds no buffer: rustls's own state is 2.3 KiB of heap for TLS 1.2 and 2.4 KiB
//! for TLS 1.3 (`tests/tls_memory.rs`), beside 16 bytes for each slot. What records received in part and sends under way hold is
//! told ([`Tls::held_bytes`]) and bounded.

mod records;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ServerConfig;

use self::records::{Broken, Records, Stream};
use super::clock;
use super::sockets::Sockets;
use crate::base::counters::CoreCounters;
use crate::base::limits::{CLOSE_TIMEOUT_MS, TLS_HANDSHAKES_MAX, TLS_PARTIAL_BYTES_MAX, TLS_SEND_BYTES_MAX};
use crate::engine::input::Input;
use crate::wire::handshake::{Refusal, refusal_response};

/// The sockets below, as far as TLS asks something of them: [`Sockets`], whose methods of the same names say what they do.
pub trait Carrier {
    /// Sends all of `bytes`; one send per slot is out at a time.
    fn send(&mut self, slot: u32, bytes: Bytes, is_last: bool);
    /// Half-closes, after the send under way.
    fn shutdown(&mut self, slot: u32);
    /// Cancels what is under way and closes.
    fn close(&mut self, slot: u32);
}

impl Carrier for Sockets {
    fn send(&mut self, slot: u32, bytes: Bytes, is_last: bool) {
        Sockets::send(self, slot, bytes, is_last);
    }

    fn shutdown(&mut self, slot: u32) {
        Sockets::shutdown(self, slot);
    }

    fn close(&mut self, slot: u32) {
        Sockets::close(self, slot);
    }
}

/// What is known of a slot.
enum Entry {
    /// No socket.
    Free,
    /// Nothing has been received.
    Fresh,
    /// Something has.
    Live(Box<Conn>),
    /// Nothing more is said about it; its close is on its way.
    Ending,
}

/// A connection that has sent something.
struct Conn {
    records: Records,
    /// TLS's own records, finished, that wait to be sent.
    own: Vec<u8>,
    /// What the engine sends and has not been encrypted.
    rest: Bytes,
    /// Bytes of the send under way; 0: none is.
    in_flight: usize,
    /// When its lingering ends, monotonic microseconds: the engine has let go of a connection that failed.
    lingers_until_us: Option<u64>,
    flags: Flags,
}

/// What has happened to a connection.
#[derive(Clone, Copy, Default)]
struct Flags {
    /// Counted among the handshakes.
    handshaking: bool,
    /// In the queue of handshakes.
    queued: bool,
    /// More has come during the handshake than is kept.
    excess: bool,
    /// A send of the engine has not been answered.
    engine_sends: bool,
    /// That send is its last.
    is_last: bool,
    /// A close_notify has been encrypted.
    notified: bool,
    /// To be half-closed when nothing waits.
    shuts: bool,
    /// TLS cannot go on.
    failed: bool,
    /// The peer has ended its stream, or the socket failed.
    gone: bool,
    /// The engine has let go.
    muted: bool,
}

/// TLS for the sockets of one core.
pub struct Tls {
    config: Arc<ServerConfig>,
    counters: Arc<CoreCounters>,
    entries: Vec<Entry>,
    /// Sockets whose handshake is not complete.
    handshaking: usize,
    handshakes_max: usize,
    partial_bytes_max: usize,
    /// Slots in handshake that have received something.
    ready: VecDeque<u32>,
    /// Slots that have something to send.
    dirty: Vec<u32>,
    /// Slots to be closed that the engine does not know.
    closes: Vec<u32>,
    /// Slots whose connection broke while sending: the engine is to be told.
    broken: Vec<u32>,
    /// Ends of lingerings, in order: the time is one for all.
    lingering: VecDeque<(u64, u32)>,
    /// Plaintext of one receive. Kept for its memory.
    plain: Vec<u8>,
    /// Bytes held for records received in part.
    partial_bytes: usize,
    /// Bytes of sends under way.
    in_flight_bytes: usize,
}

impl Tls {
    /// No sockets yet. New ones handshake by `config`.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>, counters: Arc<CoreCounters>) -> Tls {
        Tls {
            config,
            counters,
            entries: Vec::new(),
            handshaking: 0,
            handshakes_max: TLS_HANDSHAKES_MAX,
            partial_bytes_max: TLS_PARTIAL_BYTES_MAX,
            ready: VecDeque::new(),
            dirty: Vec::new(),
            closes: Vec::new(),
            broken: Vec::new(),
            lingering: VecDeque::new(),
            plain: Vec::new(),
            partial_bytes: 0,
            in_flight_bytes: 0,
        }
    }

    /// Handshakes that begin from now on go by `config`; connections that are there stay as they are.
    pub fn set_config(&mut self, config: Arc<ServerConfig>) {
        self.config = config;
    }

    /// Bytes held for outsiders: records received in part, encrypted sends under way.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        (self.partial_bytes + self.in_flight_bytes) as u64
    }

    /// Takes what happened to a socket. `tell` hands on what that comes to, nothing or several things, and says whether
    /// the slot was let go of in answer.
    pub fn take(&mut self, input: Input<'_>, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        match input {
            Input::Accepted { slot, .. } => {
                if self.accepted(slot) {
                    tell(slot, input);
                }
            }
            Input::Received { slot, bytes } => self.received(slot, bytes, tell),
            Input::Sent { slot } => self.sent(slot, tell),
            Input::Disconnected { slot } => self.disconnected(slot, tell),
            Input::Peer { slot, .. } => {
                tell(slot, input);
            }
            other => unreachable!("sockets do not say {other:?}"),
        }
    }

    /// Nothing more is told about a slot that the engine has let go of.
    pub fn mute(&mut self, slot: u32) {
        match &mut self.entries[slot as usize] {
            Entry::Live(conn) => conn.flags.muted = true,
            entry @ Entry::Fresh => {
                *entry = Entry::Ending;
                self.count_handshakes(-1);
            }
            Entry::Free | Entry::Ending => {}
        }
    }

    /// Does what is due for the time alone. Whether there was something.
    pub fn advance(&mut self, now_us: u64) -> bool {
        let mut worked = false;
        while let Some((until_us, slot)) = self.lingering.pop_front_if(|(until_us, _)| *until_us <= now_us) {
            if let Entry::Live(conn) = &self.entries[slot as usize]
                && conn.lingers_until_us == Some(until_us)
            {
                self.end(slot);
                worked = true;
            }
        }
        worked
    }

    /// When [`Tls::advance`] is wanted next, monotonic microseconds.
    #[must_use]
    pub fn next_due_us(&self) -> Option<u64> {
        self.lingering.front().map(|(until_us, _)| *until_us)
    }

    /// Whether [`Tls::step`] has something to do.
    #[must_use]
    pub fn has_steps(&self) -> bool {
        !self.ready.is_empty() || !self.broken.is_empty()
    }

    /// Goes on with the handshake that has waited longest. Whether there was something to do.
    pub fn step(&mut self, tell: &mut impl FnMut(u32, Input<'_>) -> bool) -> bool {
        if let Some(slot) = self.broken.pop() {
            // The slot may be another connection's by now.
            if let Entry::Live(conn) = &self.entries[slot as usize]
                && conn.flags.failed
            {
                self.tell_end(slot, tell);
            }
            return true;
        }
        let Some(slot) = self.ready.pop_front() else { return false };
        if let Entry::Live(conn) = &mut self.entries[slot as usize]
            && mem::take(&mut conn.flags.queued)
            && !conn.flags.muted
            && !conn.flags.failed
        {
            let excess = conn.flags.excess;
            self.process(slot, &mut [], tell);
            if excess {
                self.fail(slot, &Broken::TooLong, tell);
            }
        }
        true
    }

    /// Sends `bytes`, all of what the engine has for the slot. See [`Sockets::send`].
    pub fn send(&mut self, slot: u32, bytes: Bytes, is_last: bool, carrier: &mut impl Carrier) {
        let Entry::Live(conn) = &mut self.entries[slot as usize] else {
            unreachable!("the engine has nothing to say before it has heard something")
        };
        assert!(!conn.flags.engine_sends, "slot {slot} has a send under way");
        conn.rest = bytes;
        conn.flags.engine_sends = true;
        conn.flags.is_last = is_last;
        self.flush_one(slot, carrier);
    }

    /// Says that nothing more will be sent, and half-closes.
    pub fn shutdown(&mut self, slot: u32, carrier: &mut impl Carrier) {
        match &mut self.entries[slot as usize] {
            Entry::Live(conn) => {
                conn.notify();
                conn.flags.shuts = true;
                self.flush_one(slot, carrier);
            }
            _ => carrier.shutdown(slot),
        }
    }

    /// Closes a slot that the engine has let go of.
    pub fn close(&mut self, slot: u32, now_us: u64, carrier: &mut impl Carrier) {
        self.mute(slot);
        let Entry::Live(conn) = &mut self.entries[slot as usize] else {
            self.entries[slot as usize] = Entry::Free;
            return carrier.close(slot);
        };
        if conn.flags.failed && !conn.flags.gone {
            let until_us = now_us + CLOSE_TIMEOUT_MS * 1_000;
            conn.lingers_until_us = Some(until_us);
            conn.flags.shuts = true;
            self.lingering.push_back((until_us, slot));
            return self.flush_one(slot, carrier);
        }
        if conn.in_flight == 0 {
            if !conn.flags.gone {
                conn.notify();
            }
            // A socket with room takes it before the close.
            if !conn.own.is_empty() {
                carrier.send(slot, Bytes::from(mem::take(&mut conn.own)), true);
            }
        }
        self.forget(slot);
        self.entries[slot as usize] = Entry::Free;
        carrier.close(slot);
    }

    /// Sends what waits and closes what has ended: once in a turn, after what the engine asked for.
    pub fn flush(&mut self, carrier: &mut impl Carrier) {
        let mut dirty = mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            self.flush_one(slot, carrier);
        }
        self.dirty = dirty;
        for slot in self.closes.drain(..) {
            self.entries[slot as usize] = Entry::Free;
            carrier.close(slot);
        }
    }

    /// Whether the socket is taken.
    fn accepted(&mut self, slot: u32) -> bool {
        if self.entries.len() <= slot as usize {
            self.entries.resize_with(slot as usize + 1, || Entry::Free);
        }
        debug_assert!(matches!(self.entries[slot as usize], Entry::Free), "slot {slot} is in use");
        if self.handshaking >= self.handshakes_max {
            self.counters.tls_handshakes_refused.add(1);
            self.entries[slot as usize] = Entry::Ending;
            self.closes.push(slot);
            return false;
        }
        self.entries[slot as usize] = Entry::Fresh;
        self.count_handshakes(1);
        true
    }

    fn received(&mut self, slot: u32, bytes: &mut [u8], tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        if let entry @ Entry::Fresh = &mut self.entries[slot as usize] {
            let records = Records::new(self.config.clone()).expect("the server has no client's options to refuse");
            *entry = Entry::Live(Box::new(Conn::new(records)));
            if bytes.first().is_some_and(u8::is_ascii_uppercase) {
                return self.refuse_plain(slot, tell);
            }
        }
        let Entry::Live(conn) = &mut self.entries[slot as usize] else { return };
        if conn.flags.muted || conn.flags.failed {
            return;
        }
        if !conn.flags.handshaking {
            return self.process(slot, bytes, tell);
        }
        let before = conn.records.held();
        // What has been kept may be reason enough to end; that is found in its turn.
        conn.flags.excess |= conn.records.keep(bytes).is_err();
        self.partial_bytes = self.partial_bytes + conn.records.held() - before;
        if !mem::replace(&mut conn.flags.queued, true) {
            self.ready.push_back(slot);
        }
        self.shed(tell);
    }

    /// A request in plain HTTP, which no record of TLS looks like, is told so in its own words.
    fn refuse_plain(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let Entry::Live(conn) = &mut self.entries[slot as usize] else { return };
        let message = "this address speaks TLS only: use wss:// or https://";
        let refusal = Refusal::new(400, "bad_request", message);
        conn.own.extend_from_slice(&refusal_response(&refusal, clock::now().unix_ms));
        self.fail(slot, &Broken::Tls(rustls::InvalidMessage::InvalidContentType.into()), tell);
    }

    /// Decrypts what was kept and `bytes`, and hands on all of it at once.
    fn process(&mut self, slot: u32, bytes: &mut [u8], tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let Entry::Live(conn) = &mut self.entries[slot as usize] else { return };
        let mut plain = mem::take(&mut self.plain);
        let before = conn.records.held();
        let stream = conn.records.receive(bytes, &mut plain, &mut conn.own);
        self.partial_bytes = self.partial_bytes + conn.records.held() - before;
        if !conn.own.is_empty() {
            self.dirty.push(slot);
        }
        if conn.flags.handshaking && stream.is_ok() && !conn.records.is_handshaking() {
            conn.flags.handshaking = false;
            let is_resumed = conn.records.is_resumed();
            self.counters.tls_handshakes.add(1);
            self.counters.tls_resumed.add(u64::from(is_resumed));
            self.count_handshakes(-1);
        }
        let is_closed = !plain.is_empty() && tell(slot, Input::Received { slot, bytes: &mut plain });
        plain.clear();
        self.plain = plain;
        if is_closed {
            return self.mute(slot);
        }
        match stream {
            Ok(Stream::Open) => self.shed(tell),
            Ok(Stream::Ended) => self.tell_end(slot, tell),
            Err(broken) => self.fail(slot, &broken, tell),
        }
    }

    fn sent(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let Entry::Live(conn) = &mut self.entries[slot as usize] else { return };
        self.in_flight_bytes -= mem::take(&mut conn.in_flight);
        if !conn.own.is_empty() || !conn.rest.is_empty() || conn.flags.shuts {
            self.dirty.push(slot);
        }
        if conn.flags.engine_sends && conn.rest.is_empty() {
            conn.flags.engine_sends = false;
            if !conn.flags.muted && !conn.flags.failed && tell(slot, Input::Sent { slot }) {
                self.mute(slot);
            }
        }
    }

    fn disconnected(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        match &mut self.entries[slot as usize] {
            Entry::Live(conn) if conn.lingers_until_us.is_some() => self.end(slot),
            Entry::Live(conn) => {
                conn.flags.gone = true;
                self.tell_end(slot, tell);
            }
            Entry::Fresh => self.tell_end(slot, tell),
            Entry::Free | Entry::Ending => {}
        }
    }

    /// TLS cannot go on: the engine closes, and what is left to say goes out after that.
    fn fail(&mut self, slot: u32, broken: &Broken, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let Entry::Live(conn) = &mut self.entries[slot as usize] else { return };
        if conn.flags.failed {
            return;
        }
        tracing::debug!(slot, handshaking = conn.flags.handshaking, error = %broken, "TLS has failed");
        conn.flags.failed = true;
        conn.rest = Bytes::new();
        self.tell_end(slot, tell);
    }

    fn tell_end(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let is_told = match &self.entries[slot as usize] {
            Entry::Live(conn) => !conn.flags.muted,
            Entry::Fresh => true,
            Entry::Free | Entry::Ending => false,
        };
        if is_told {
            let is_closed = tell(slot, Input::Disconnected { slot });
            debug_assert!(is_closed, "the engine answers a disconnect with a close");
            self.mute(slot);
        }
    }

    /// Makes one send of what waits for a slot, if none is under way.
    fn flush_one(&mut self, slot: u32, carrier: &mut impl Carrier) {
        let Entry::Live(conn) = &mut self.entries[slot as usize] else { return };
        if conn.in_flight > 0 {
            return;
        }
        let (bytes, result) = conn.take_send();
        let is_all = conn.rest.is_empty();
        if !bytes.is_empty() {
            conn.in_flight = bytes.len();
            self.in_flight_bytes += bytes.len();
            carrier.send(slot, bytes, conn.flags.is_last && conn.flags.notified && is_all);
        }
        if is_all && mem::take(&mut conn.flags.shuts) {
            carrier.shutdown(slot);
        }
        if let Err(broken) = result {
            tracing::debug!(slot, error = %broken, "TLS has failed");
            conn.flags.failed = true;
            self.broken.push(slot);
        }
    }

    /// Above the bound, the connections that hold the most of what is not complete end, down to three quarters of it.
    fn shed(&mut self, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        if self.partial_bytes <= self.partial_bytes_max {
            return;
        }
        let held = |(slot, entry): (usize, &Entry)| match entry {
            Entry::Live(conn) if !conn.flags.muted => Some((conn.records.held(), slot as u32)),
            _ => None,
        };
        let mut holders: Vec<(usize, u32)> =
            self.entries.iter().enumerate().filter_map(held).filter(|(held, _)| *held > 0).collect();
        holders.sort_unstable();
        let mut left = self.partial_bytes;
        while left > self.partial_bytes_max / 4 * 3
            && let Some((held, slot)) = holders.pop()
        {
            left -= held;
            tracing::debug!(slot, "too much of TLS records has come in part");
            self.tell_end(slot, tell);
        }
    }

    /// Ends a connection that the engine has let go of.
    fn end(&mut self, slot: u32) {
        self.forget(slot);
        self.closes.push(slot);
    }

    /// Nothing is held for the connection any more; its close is to follow.
    fn forget(&mut self, slot: u32) {
        if let Entry::Live(conn) = mem::replace(&mut self.entries[slot as usize], Entry::Ending) {
            self.partial_bytes -= conn.records.held();
            self.in_flight_bytes -= conn.in_flight;
            if conn.flags.handshaking {
                self.counters.tls_handshakes_failed.add(1);
                self.count_handshakes(-1);
            }
        }
    }

    fn count_handshakes(&mut self, change: isize) {
        self.handshaking = self.handshaking.wrapping_add_signed(change);
        self.counters.tls_handshaking.set(self.handshaking as u64);
    }
}

impl Conn {
    fn new(records: Records) -> Conn {
        Conn {
            records,
            own: Vec::new(),
            rest: Bytes::new(),
            in_flight: 0,
            lingers_until_us: None,
            flags: Flags { handshaking: true, ..Flags::default() },
        }
    }

    /// What goes in the next send, encrypted; what does not fit stays in `rest`.
    fn take_send(&mut self) -> (Bytes, Result<(), Broken>) {
        let mut out = mem::take(&mut self.own);
        let mut result = Ok(());
        if !self.rest.is_empty() && !self.flags.failed {
            let piece = self.rest.split_to(self.rest.len().min(TLS_SEND_BYTES_MAX));
            result = self.records.encrypt(&piece, &mut out);
            if result.is_err() {
                self.rest = Bytes::new();
            } else if self.rest.is_empty() && self.flags.is_last && !mem::replace(&mut self.flags.notified, true) {
                result = self.records.close_notify(&mut out);
            }
        }
        (Bytes::from(out), result)
    }

    /// Puts a close_notify behind what waits, unless the peer knows already or could not understand it.
    fn notify(&mut self) {
        let flags = &mut self.flags;
        if !flags.handshaking && !flags.failed && !mem::replace(&mut flags.notified, true) {
            // Where it cannot be encrypted any more the peer sees the end of the stream without it.
            let _ = self.records.close_notify(&mut self.own);
        }
    }
}
