//! Owns TLS on one core, between its sockets and the engine: decrypts inputs of sockets, encrypts sends, shutdowns and
//! closes. Never reads a file; reads the clock only for the `Date` of a refusal in plain HTTP.
//!
//! **Sends.** A slot has at most one send in flight. TLS's own records (handshake, tickets, key updates, alerts) wait
//! in `own`; the engine's bytes wait as plaintext, shared by all receivers of the same message. At the end of the turn
//! both become one send, `own` first, in the order of encryption. A turn's fan-out still costs one send per member, and
//! a member that does not read holds one send in encrypted form.
//!
//! **Handshakes.** The engine treats a socket in handshake like one that waits for its request head, and bounds the
//! time and number of both. This file bounds the work of each turn: a socket in handshake that has received bytes waits
//! in a queue ([`Tls::step`]), so that a flood of handshakes takes only its share of each turn.
//!
//! **Ends.** The last send carries the close_notify. The peer's close_notify, or the end of its stream, ends one
//! direction only: the engine still answers. After a failure only the alert goes out. The engine then keeps the socket
//! until the peer ends its stream, or for a while, because a close with unread bytes would reset the connection and
//! could lose the alert.
//!
//! **Memory.** Between records a connection holds no buffer: rustls's state takes 2.3 KiB of heap for TLS 1.2 and 2.4
//! KiB for TLS 1.3 (`tests/tls_memory.rs`), beside 16 bytes per slot. [`Tls::held_bytes`] reports the memory of
//! incomplete records and of sends in flight. Handshakes and open connections have separate bounds for incomplete
//! records, so that unfinished handshakes never close an open connection.

mod records;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ServerConfig;

use self::records::{Broken, Records, StreamState};
use super::clock;
use super::sockets::Sockets;
use crate::base::counters::CoreCounters;
use crate::base::limits::{TLS_HANDSHAKES_BYTES_MAX, TLS_PARTIAL_BYTES_MAX, TLS_SEND_BYTES_MAX};
use crate::engine::input::Input;
use crate::wire::handshake::{HttpRefusal, refusal_response};

/// The sockets as TLS uses them. Implemented by [`Sockets`]; see its methods.
pub trait Carrier {
    /// Sends all of `bytes`. A slot has at most one send in flight.
    fn send(&mut self, slot: u32, bytes: Bytes, is_last: bool);
    /// Half-closes a slot, after its send in flight.
    fn shutdown(&mut self, slot: u32);
    /// Cancels a slot's operations and closes it.
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

/// The TLS state of a slot.
enum TlsSlot {
    /// No socket.
    Free,
    /// A socket that has received nothing.
    Fresh,
    /// A socket that has received bytes.
    Live(Box<Conn>),
    /// A muted socket whose close follows.
    Ending,
}

/// A connection whose peer has sent bytes.
struct Conn {
    records: Records,
    /// Finished records of TLS itself, to be sent.
    own: Vec<u8>,
    /// Bytes of the engine, not yet encrypted.
    rest: Bytes,
    /// Bytes of the send in flight; 0 without one.
    in_flight: usize,
    flags: Flags,
}

/// Boolean state of a connection.
#[derive(Clone, Copy, Default)]
struct Flags {
    /// The handshake is neither complete nor failed.
    handshaking: bool,
    /// Waits in the queue of handshakes.
    queued: bool,
    /// The peer sent more during the handshake than fits.
    excess: bool,
    /// The engine waits for the end of a send.
    engine_sends: bool,
    /// That send is the last one.
    is_last: bool,
    /// A close_notify has been encrypted.
    notified: bool,
    /// To be half-closed when everything is sent.
    shuts: bool,
    /// TLS has failed.
    failed: bool,
    /// The socket's stream has ended.
    ended: bool,
    /// The engine knows that the peer sends no more, by close_notify or by the end of the stream.
    told_ended: bool,
    /// The socket failed.
    gone: bool,
    /// The engine has closed the slot.
    muted: bool,
}

/// Memory of incomplete records, in bytes.
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
    /// Sockets with an incomplete handshake.
    handshaking: usize,
    partial: PartialBytes,
    partial_max: PartialBytes,
    /// Slots in handshake that have received bytes.
    ready: VecDeque<u32>,
    /// Slots with bytes to send.
    dirty: Vec<u32>,
    /// Slots that failed while sending, not yet reported to the engine.
    broken: Vec<u32>,
    /// Plaintext of one receive; kept to reuse its memory.
    plain: Vec<u8>,
    /// Bytes of sends in flight.
    in_flight_bytes: usize,
}

impl Tls {
    /// Starts without sockets. New ones handshake with `config`.
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

    /// Sets the configuration of new handshakes. Does not change existing connections.
    pub fn set_config(&mut self, config: Arc<ServerConfig>) {
        self.config = config;
    }

    /// Bytes held for clients: incomplete records and encrypted sends in flight.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        (self.partial.handshakes + self.partial.records + self.in_flight_bytes) as u64
    }

    /// Takes an input of a socket. Calls `tell` for each resulting input of the engine; `tell` returns whether the
    /// engine closed the slot in response.
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
            other => unreachable!("sockets never produce {other:?}"),
        }
    }

    /// Stops inputs for a slot that the engine has closed.
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

    /// Whether [`Tls::step`] has work.
    #[must_use]
    pub fn has_steps(&self) -> bool {
        !self.ready.is_empty() || !self.broken.is_empty()
    }

    /// Continues the handshake that has waited longest. Returns whether there was work.
    pub fn step(&mut self, tell: &mut impl FnMut(u32, Input<'_>) -> bool) -> bool {
        if let Some(slot) = self.broken.pop() {
            // The slot may belong to another connection by now.
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

    /// Sends `bytes`, all that the engine has for the slot. See [`Sockets::send`].
    pub fn send(&mut self, slot: u32, bytes: Bytes, is_last: bool, carrier: &mut impl Carrier) {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else {
            unreachable!("the engine never sends before it has received")
        };
        assert!(!conn.flags.engine_sends, "slot {slot} has a send in flight");
        conn.rest = bytes;
        conn.flags.engine_sends = true;
        conn.flags.is_last = is_last;
        self.flush_one(slot, carrier);
    }

    /// Sends a close_notify and half-closes.
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

    /// Closes a slot.
    pub fn close(&mut self, slot: u32, carrier: &mut impl Carrier) {
        self.mute(slot);
        if let TlsSlot::Live(conn) = &mut self.entries[slot as usize]
            && conn.in_flight == 0
            && !conn.flags.gone
        {
            conn.notify();
            // A socket with room takes the close_notify before the close.
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

    /// Sends everything that waits. Called once per turn, after the engine's output.
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
            let records = Records::new(self.config.clone()).expect("a server configuration is always accepted");
            *entry = TlsSlot::Live(Box::new(Conn::new(records)));
            if bytes.first().is_some_and(u8::is_ascii_uppercase) {
                return self.refuse_plain(slot, tell);
            }
        }
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return };
        // Bytes after a close_notify are ignored.
        if conn.flags.muted || conn.flags.failed || conn.flags.told_ended {
            return;
        }
        if !conn.flags.handshaking {
            return self.process(slot, bytes, tell);
        }
        self.partial.remove(conn);
        // The connection may have to end for bytes kept before; its step finds that.
        conn.flags.excess |= conn.records.keep(bytes).is_err();
        self.partial.add(conn);
        if !mem::replace(&mut conn.flags.queued, true) {
            self.ready.push_back(slot);
        }
        self.shed(tell);
    }

    /// Answers a request in plain HTTP, which never looks like a TLS record, in plain HTTP.
    fn refuse_plain(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return };
        let message = "this address accepts only TLS: use wss:// or https://";
        let refusal = HttpRefusal::new(400, "bad_request", message);
        conn.own.extend_from_slice(&refusal_response(&refusal, clock::now().unix_ms));
        self.fail(slot, &Broken::Tls(rustls::InvalidMessage::InvalidContentType.into()), tell);
    }

    /// Decrypts kept bytes and `bytes`, and passes on the plaintext in one piece.
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
            Ok(StreamState::Open) => self.shed(tell),
            Ok(StreamState::Ended) => self.tell_ended(slot, tell),
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

    /// Handles the end of the stream, with or without a close_notify before.
    fn ended(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        match &mut self.entries[slot as usize] {
            TlsSlot::Live(conn) => {
                conn.flags.ended = true;
                // Earlier bytes may still wait for their step.
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

    /// Handles a failure of TLS: only TLS's own records still go out.
    fn fail(&mut self, slot: u32, broken: &Broken, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        if self.note_failed(slot, broken) {
            self.tell_broken(slot, tell);
        }
    }

    /// Records a failure. Returns false if there was one before.
    fn note_failed(&mut self, slot: u32, broken: &Broken) -> bool {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return false };
        if mem::replace(&mut conn.flags.failed, true) {
            return false;
        }
        tracing::debug!(slot, handshaking = conn.flags.handshaking, error = %broken, "TLS failed");
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

    /// Reports the end of the peer's stream.
    fn tell_ended(&mut self, slot: u32, tell: &mut impl FnMut(u32, Input<'_>) -> bool) {
        let TlsSlot::Live(conn) = &mut self.entries[slot as usize] else { return };
        // A peer without a complete handshake cannot be answered.
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

    /// Sends the waiting bytes of a slot, if no send is in flight.
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

    /// Over a bound on incomplete records, closes the largest holders first until three quarters of the bound are left.
    /// Handshakes and open connections have separate bounds.
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
            tracing::debug!(slot, "too many bytes of incomplete TLS records");
            // Freed at once, so that no connection closes for memory that is about to go.
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

    /// Takes the bytes of the next send, encrypted. Bytes that do not fit stay in `rest`.
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

    /// Adds a close_notify to the waiting bytes, unless one was sent or TLS cannot send it.
    fn notify(&mut self) {
        let flags = &mut self.flags;
        if !flags.handshaking && !flags.failed && !mem::replace(&mut flags.notified, true) {
            // If it cannot be encrypted, the peer only sees the end of the stream.
            let _ = self.records.close_notify(&mut self.own);
        }
    }
}
