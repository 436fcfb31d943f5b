//! TLS on the path of one core, between its sockets and whoever speaks in plaintext above them. Inputs of sockets go in
//! and come out decrypted; sends, shutdowns and closes come in and go out encrypted. Reads no clock and no file.
//!
//! **Sends.** One send per slot is out at a time, whoever wants it. What TLS itself has to say (handshake, tickets, key
//! updates, alerts) waits in `own`, what the engine sends waits as plaintext, shared with all who are sent the same; both
//! become one send at the end of the turn, `own` first, in the order of their encryption. So a turn's fan-out still costs
//! one send per member, and a member that does not read holds one send in encrypted form.
//!
//! **Handshakes.** To the engine a socket in handshake is one whose request head is awaited: it bounds their time and their
//! number. What each turn does for them is bounded here: a socket in handshake that has received something waits in a
//! queue ([`Tls::step`]), so that a flood of handshakes takes its share of each turn and no more.
//!
//! **Ends.** A send that is the last carries the close_notify. The peer's close_notify, or the end of its stream, ends one
//! direction only: the engine still answers. After a failure nothing but the alert goes out; the engine keeps the socket
//! until its peer has ended its stream too, or for a while, because closing with unread bytes would reset the connection
//! and could take back the alert.
//!
//! **Memory.** Between records a connection holds no buffer: rustls's own state is 2.3 KiB of heap for TLS 1.2 and 2.4 KiB
//! for TLS 1.3 (`tests/tls_memory.rs`), beside 16 bytes for each slot. What records received in part and sends under way hold is
//! told ([`Tls::held_bytes`]) and bounded: for handshakes and for open connections each by itself, so that handshakes that
//! do not go on end no connection that is open.

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
use crate::base::limits::{TLS_HANDSHAKES_BYTES_MAX, TLS_PARTIAL_BYTES_MAX, TLS_SEND_BYTES_MAX};
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
enum TlsSlot {
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
    flags: Flags,
}

/// What has happened to a connection.
#[derive(Clone, Copy, Default)]
struct Flags {
    /// Counted among the handshakes: neither complete nor failed.
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
    /// The socket's stream has ended.
    ended: bool,
    /// The engine knows that nothing more comes, by close_notify or with the stream.
    told_ended: bool,
    /// The socket failed.
    gone: bool,
    /// The engine has let go.
    muted: bool,
}

/// Bytes held for what has been received in part.
#[derive(Clone, Copy, Default)]
struct PartialBytes {
    handshakes: usize,
    records: usize,
}

impl PartialBytes {
    fn of(&mut self, conn: &Conn) -> &mut usize {
        if conn.flags.handshaking { &mut self.handshakes } else { &mut self.records }
    }

    fn add(&mut self, conn: &Conn) {
        *self.of(conn) += conn.records.held();
    }

    fn remove(&mut self, conn: &Conn) {
        *self.of(conn) -= conn.records.held();
    }
}

/// TLS for the sockets of one core.
pub struct Tls {
    config: Arc<ServerConfig>,
    counters: Arc<CoreCounters>,
    entries: Vec<TlsSlot>,
    /// Sockets whose handshake is not complete.
    handshaking: usize,
    partial: PartialBytes,
    partial_max: PartialBytes,
    /// Slots in handshake that have received something.
    ready: VecDeque<u32>,
    /// Slots that have something to send.
    dirty: Vec<u32>,
    /// Slots whose connection broke while sending: the engine is to be told.
    broken: Vec<u32>,
    /// Plaintext of one receive. Kept for its memory.
    plain: Vec<u8>,
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
            partial: PartialBytes::default(),
            partial_max: PartialBytes { handshakes: TLS_HANDSHAKES_BYTES_MAX, records: TLS_PARTIAL_BYTES_MAX },
            ready: VecDeque::new(),
            dirty: Vec::new(),
            broken: Vec::new(),
            plain: Vec::new(),
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
        (self.partial.handshakes + self.partial.records + self.in_flight_bytes) as u64
    }

    /// Takes what happened to a socket. `tell` hands on what that comes to, nothing or several things, and says whether
    /// the slot was let go of in answer.
    pub fn take(&mut self, input: Input<'_>, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        match input {
            Input::Accepted { slot, .. } => {
                self.accepted(slot);
                tell(slot, input);
            }
            Input::Received { slot, bytes } => self.received(slot, bytes, tell),
            Input::Sent { slot } => self.sent(slot, tell),
            Input::Ended { slot } => self.ended(slot, tell),
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
            TlsSlot::Live(conn) => conn.flags.muted = true,
            entry @ TlsSlot::Fresh => {
                *entry = TlsSlot::Ending;
                self.count_handshakes(-1);
            }
            TlsSlot::Free | TlsSlot::Ending => {}
        }
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
            if let TlsSlot::Live(conn) = &self.entries[slot as usize]
                && conn.flags.failed
            {
                self.tell_broken(slot, tell);
            }
            return true;
        }
        let Some(slot) = self.ready.pop_front() else { return false };
        if let TlsSlot::Live(conn) = &mut self.entries[slot as usize]
            && mem::take(&mut conn.flags.queued)
            && !conn.flags.muted
            && !conn.flags.failed
        {
            let Flags { excess, ended, .. } = conn.flags;
            self.process(slot, &mut [], tell);
            if excess {
                self.fail(slot, &Broken::TooLong, tell);
            }
            if ended {
                self.tell_ended(slot, tell);
            }
        }
        true
    }

    /// Sends `bytes`, all of what the engine has for the slot. See [`Sockets::send`].
    pub fn send(&mut self, slot: u32, bytes: Bytes, is_last: bool, carrier: &mut impl Carrier) {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else {
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
            TlsSlot::Live(conn) => {
                conn.notify();
                conn.flags.shuts = true;
                self.flush_one(slot, carrier);
            }
            _ => carrier.shutdown(slot),
        }
    }

    /// Closes a slot that the engine has let go of.
    pub fn close(&mut self, slot: u32, carrier: &mut impl Carrier) {
        self.mute(slot);
        if let TlsSlot::Live(conn) = &mut self.entries[slot as usize]
            && conn.in_flight == 0
            && !conn.flags.gone
        {
            conn.notify();
            // A socket with room takes it before the close.
            if !conn.own.is_empty() {
                carrier.send(slot, Bytes::from(mem::take(&mut conn.own)), true);
            }
        }
        if let TlsSlot::Live(conn) = mem::replace(&mut self.entries[slot as usize], TlsSlot::Free) {
            self.partial.remove(&conn);
            self.in_flight_bytes -= conn.in_flight;
            if conn.flags.handshaking {
                self.counters.tls_handshakes_failed.add(1);
                self.count_handshakes(-1);
            }
        }
        carrier.close(slot);
    }

    /// Sends what waits: once in a turn, after what the engine asked for.
    pub fn flush(&mut self, carrier: &mut impl Carrier) {
        let mut dirty = mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            self.flush_one(slot, carrier);
        }
        self.dirty = dirty;
    }

    fn accepted(&mut self, slot: u32) {
        if self.entries.len() <= slot as usize {
            self.entries.resize_with(slot as usize + 1, || TlsSlot::Free);
        }
        debug_assert!(matches!(self.entries[slot as usize], TlsSlot::Free), "slot {slot} is in use");
        self.entries[slot as usize] = TlsSlot::Fresh;
        self.count_handshakes(1);
    }

    fn received(&mut self, slot: u32, bytes: &mut [u8], tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        if let entry @ TlsSlot::Fresh = &mut self.entries[slot as usize] {
            let records = Records::new(self.config.clone()).expect("the server has no client's options to refuse");
            *entry = TlsSlot::Live(Box::new(Conn::new(records)));
            if bytes.first().is_some_and(u8::is_ascii_uppercase) {
                return self.refuse_plain(slot, tell);
            }
        }
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return };
        // What follows a close_notify is nobody's.
        if conn.flags.muted || conn.flags.failed || conn.flags.told_ended {
            return;
        }
        if !conn.flags.handshaking {
            return self.process(slot, bytes, tell);
        }
        self.partial.remove(conn);
        // What has been kept may be reason enough to end; that is found in its turn.
        conn.flags.excess |= conn.records.keep(bytes).is_err();
        self.partial.add(conn);
        if !mem::replace(&mut conn.flags.queued, true) {
            self.ready.push_back(slot);
        }
        self.shed(tell);
    }

    /// A request in plain HTTP, which no record of TLS looks like, is told so in its own words.
    fn refuse_plain(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return };
        let message = "this address speaks TLS only: use wss:// or https://";
        let refusal = Refusal::new(400, "bad_request", message);
        conn.own.extend_from_slice(&refusal_response(&refusal, clock::now().unix_ms));
        self.fail(slot, &Broken::Tls(rustls::InvalidMessage::InvalidContentType.into()), tell);
    }

    /// Decrypts what was kept and `bytes`, and hands on all of it at once.
    fn process(&mut self, slot: u32, bytes: &mut [u8], tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return };
        let mut plain = mem::take(&mut self.plain);
        self.partial.remove(conn);
        let stream = conn.records.receive(bytes, &mut plain, &mut conn.own);
        let is_complete = conn.flags.handshaking && stream.is_ok() && !conn.records.is_handshaking();
        conn.flags.handshaking &= !is_complete;
        self.partial.add(conn);
        if !conn.own.is_empty() {
            self.dirty.push(slot);
        }
        if is_complete {
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
            Ok(Stream::Ended) => self.tell_ended(slot, tell),
            Err(broken) => self.fail(slot, &broken, tell),
        }
    }

    fn sent(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return };
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

    /// The socket's stream has ended, with or without a close_notify before.
    fn ended(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        match &mut self.entries[slot as usize] {
            TlsSlot::Live(conn) => {
                conn.flags.ended = true;
                // What came before it may still wait for its turn.
                if !conn.flags.queued {
                    self.tell_ended(slot, tell);
                }
            }
            TlsSlot::Fresh => self.tell_end(slot, tell),
            TlsSlot::Free | TlsSlot::Ending => {}
        }
    }

    fn disconnected(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        if let TlsSlot::Live(conn) = &mut self.entries[slot as usize] {
            conn.flags.gone = true;
        }
        self.tell_end(slot, tell);
    }

    /// TLS cannot go on: what is left to say is TLS's own.
    fn fail(&mut self, slot: u32, broken: &Broken, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        if self.note_failed(slot, broken) {
            self.tell_broken(slot, tell);
        }
    }

    /// Whether it is news.
    fn note_failed(&mut self, slot: u32, broken: &Broken) -> bool {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return false };
        if mem::replace(&mut conn.flags.failed, true) {
            return false;
        }
        tracing::debug!(slot, handshaking = conn.flags.handshaking, error = %broken, "TLS has failed");
        conn.rest = Bytes::new();
        self.partial.remove(conn);
        conn.records.forget_partial();
        if mem::take(&mut conn.flags.handshaking) {
            self.counters.tls_handshakes_failed.add(1);
            self.count_handshakes(-1);
        }
        true
    }

    fn tell_broken(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        if let TlsSlot::Live(conn) = &self.entries[slot as usize]
            && !conn.flags.muted
            && tell(slot, Input::Broken { slot })
        {
            self.mute(slot);
        }
    }

    /// The peer sends no more.
    fn tell_ended(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return };
        // Whoever has not completed the handshake cannot be answered.
        if conn.flags.handshaking {
            return self.tell_end(slot, tell);
        }
        if !conn.flags.muted && !mem::replace(&mut conn.flags.told_ended, true) && tell(slot, Input::Ended { slot }) {
            self.mute(slot);
        }
    }

    fn tell_end(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let is_told = match &self.entries[slot as usize] {
            TlsSlot::Live(conn) => !conn.flags.muted,
            TlsSlot::Fresh => true,
            TlsSlot::Free | TlsSlot::Ending => false,
        };
        if is_told {
            let is_closed = tell(slot, Input::Disconnected { slot });
            debug_assert!(is_closed, "the engine answers a disconnect with a close");
            self.mute(slot);
        }
    }

    /// Makes one send of what waits for a slot, if none is under way.
    fn flush_one(&mut self, slot: u32, carrier: &mut impl Carrier) {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return };
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
        if let Err(broken) = result
            && self.note_failed(slot, &broken)
        {
            self.broken.push(slot);
        }
    }

    /// Above a bound, those who hold the most of what is not complete end, down to three quarters of it: handshakes
    /// above theirs, connections above theirs.
    fn shed(&mut self, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        if self.partial.handshakes > self.partial_max.handshakes {
            self.shed_some(true, self.partial.handshakes - self.partial_max.handshakes / 4 * 3, tell);
        }
        if self.partial.records > self.partial_max.records {
            self.shed_some(false, self.partial.records - self.partial_max.records / 4 * 3, tell);
        }
    }

    fn shed_some(&mut self, handshaking: bool, bytes: usize, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let held = |(slot, entry): (usize, &TlsSlot)| match entry {
            TlsSlot::Live(conn) if conn.flags.handshaking == handshaking => Some((conn.records.held(), slot as u32)),
            _ => None,
        };
        let mut holders: Vec<(usize, u32)> =
            self.entries.iter().enumerate().filter_map(held).filter(|(held, _)| *held > 0).collect();
        holders.sort_unstable();
        let mut left = bytes;
        while left > 0
            && let Some((held, slot)) = holders.pop()
        {
            left = left.saturating_sub(held);
            tracing::debug!(slot, "too much of TLS records has come in part");
            // At once, so that nobody ends for what is about to go.
            if let TlsSlot::Live(conn) = &mut self.entries[slot as usize] {
                self.partial.remove(conn);
                conn.records.forget_partial();
            }
            self.tell_end(slot, tell);
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
