//! Owns the receive path: bytes of a socket, handshake, frames, messages. Answers pings and close frames (RFC 6455);
//! never connects or sends otherwise.

use std::io::{self, Read as _};

use roomring::wire::client::ServerMessage;
use roomring::wire::deflate::Inflater;
use roomring::wire::frame::Opcode;

use super::handshake::{self, OpeningAnswer};
use super::slot::SlotState;
use super::{Behavior, ConnectionEnd, Fleet};

/// Maximum size of a server's message.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Maximum reads of one socket in a row, so that a client with much to read does not delay other clients and readers of
/// the counters.
pub(super) const READS_MAX: usize = 16;

impl Fleet {
    /// Reads a socket until it is empty, or to its end if `to_end`. After [`READS_MAX`] reads, continues in the next
    /// turn.
    pub(super) fn read(&mut self, behavior: &mut impl Behavior, client: u32, to_end: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut reads = 0;
        loop {
            if reads == READS_MAX {
                self.resumed.push(client);
                break;
            }
            reads += 1;
            let slot = &mut self.slots[client as usize];
            let Some(stream) = slot.stream.as_mut().filter(|_| !slot.stalled) else { break };
            let carried = self.tls.as_ref().map_or(0, |tls| tls.carry(client, &mut buffer));
            match stream.read(&mut buffer[carried..]) {
                Ok(0) => {
                    self.broken(behavior, client, "the server ended the stream".to_owned());
                    break;
                }
                Ok(count) => {
                    self.counters.receives += 1;
                    self.counters.bytes_received += count as u64;
                    let now = self.clock.now();
                    match self.tls {
                        None => self.process(behavior, client, &buffer[..count], now),
                        Some(_) => self.unseal(behavior, client, &mut buffer[..carried + count], now),
                    }
                    self.call_if_due(behavior, now);
                    // A short read has emptied the socket; later bytes raise a new event.
                    if count < buffer.len() - carried && !to_end {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.broken(behavior, client, error.to_string());
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    pub(super) fn process(&mut self, behavior: &mut impl Behavior, client: u32, received: &[u8], now: u64) {
        if self.slots[client as usize].state != SlotState::Upgrading {
            return self.process_frames(behavior, client, received, now);
        }
        let held = self.held(client);
        held.head.extend_from_slice(received);
        let head = std::mem::take(&mut held.head);
        match handshake::answer(&head, self.deflate) {
            OpeningAnswer::Incomplete => self.held(client).head = head,
            OpeningAnswer::Refused(why) => self.fail(behavior, client, why),
            OpeningAnswer::Open { used, deflate } => {
                let slot = &mut self.slots[client as usize];
                slot.state = SlotState::Open;
                slot.deflate = deflate;
                self.connecting -= 1;
                self.counters.opened += 1;
                self.counters.open += 1;
                behavior.opened(self, client, now);
                self.process_frames(behavior, client, &head[used..], now);
            }
        }
    }

    fn process_frames(&mut self, behavior: &mut impl Behavior, client: u32, received: &[u8], now: u64) {
        let slot = &mut self.slots[client as usize];
        if slot.deflate {
            // No other message is inflated at the same time.
            let mut inflater = std::mem::take(&mut self.inflater);
            self.decode(behavior, client, received, Some(&mut inflater), now);
            self.inflater = inflater;
        } else {
            self.decode(behavior, client, received, None, now);
        }
    }

    fn decode(
        &mut self,
        behavior: &mut impl Behavior,
        client: u32,
        received: &[u8],
        mut inflater: Option<&mut Inflater>,
        now: u64,
    ) {
        let own = self.slots[client as usize].held.as_mut().and_then(|held| held.decoder.take());
        let mut decoder = own.unwrap_or_else(|| std::mem::take(&mut self.decoder));
        let mut rest = received;
        // Until the decoder is empty, which releases the last message.
        let violation = loop {
            let next = match &mut inflater {
                None => decoder.next(rest, MESSAGE_BYTES_MAX),
                Some(inflater) => decoder.next_inflated(rest, MESSAGE_BYTES_MAX, inflater),
            };
            match next {
                Ok((used, Some(message))) => {
                    rest = &rest[used..];
                    self.take(behavior, client, message, now);
                    if self.slots[client as usize].state == SlotState::Empty {
                        return;
                    }
                }
                Ok((used, None)) => {
                    rest = &rest[used..];
                    if rest.is_empty() {
                        break None;
                    }
                }
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = violation {
            self.counters.wrong += 1;
            return self.broken(behavior, client, format!("protocol violation: {error}"));
        }
        if decoder.held_bytes() == 0 {
            self.decoder = decoder;
            self.tidy(client);
        } else {
            self.held(client).decoder = Some(decoder);
        }
    }

    fn take(&mut self, behavior: &mut impl Behavior, client: u32, message: ServerMessage<'_>, now: u64) {
        let state = self.slots[client as usize].state;
        if message.compressed {
            self.counters.compressed += 1;
            self.counters.inflated_bytes += message.payload.len() as u64;
        }
        match message.opcode {
            Opcode::Text | Opcode::Binary if state == SlotState::Open => {
                if !self.lines {
                    return behavior.message(self, client, message.payload, now);
                }
                for line in message.payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    // An earlier line may have ended the connection.
                    if self.slots[client as usize].state == SlotState::Open {
                        behavior.message(self, client, line, now);
                    }
                }
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation | Opcode::Pong => {}
            Opcode::Ping => self.queue(client, Opcode::Pong, message.payload),
            Opcode::Close => {
                let code = message.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                let asked = state == SlotState::Closing;
                if !asked {
                    self.queue(client, Opcode::Close, message.payload.get(..2).unwrap_or_default());
                    self.flush(client);
                }
                self.release(client);
                let ended = if asked { ConnectionEnd::Asked } else { ConnectionEnd::ByServer(code) };
                behavior.ended(self, client, ended, now);
            }
        }
    }
}
