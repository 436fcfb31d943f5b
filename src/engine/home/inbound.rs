//! From a connection's bytes to what it asks: messages, control frames, commands.

use super::{Home, HomeEffects};
use crate::engine::session::{Marks, Phase};
use crate::wire::deflate::Inflater;
use crate::wire::dialect::Dialect;
use crate::wire::frame::{Opcode, server_frame};
use crate::wire::message::{Decoder, Event, ProtocolError};

impl Home {
    pub(super) fn receive_messages(&mut self, slot: u32, bytes: &mut [u8], effects: &mut HomeEffects<'_>) {
        let session = self.sessions.at_mut(slot);
        let generation = session.generation;
        let mut decoder = std::mem::take(&mut session.decoder);
        let is_compressed = session.reading.is_some_and(|reading| reading.window().is_some());
        effects.budget.release(decoder.held_bytes());
        let result = if is_compressed {
            let mut inflater = std::mem::take(effects.inflater);
            let result = self.receive_all(slot, &mut decoder, Some(&mut inflater), bytes, effects);
            inflater.let_go();
            *effects.inflater = inflater;
            result
        } else {
            self.receive_all(slot, &mut decoder, None, bytes, effects)
        };
        let session = self.sessions.at_mut(slot);
        if session.generation != generation || !matches!(session.phase, Phase::Open | Phase::Closing) {
            return;
        }
        if let Err(error) = result {
            return self.fail_protocol(slot, error, effects);
        }
        let held = decoder.held_bytes();
        session.decoder = decoder;
        effects.budget.charge(held);
    }

    fn receive_all(
        &mut self,
        slot: u32,
        decoder: &mut Decoder,
        mut inflater: Option<&mut Inflater>,
        bytes: &mut [u8],
        effects: &mut HomeEffects<'_>,
    ) -> Result<(), ProtocolError> {
        let mut used = 0;
        loop {
            let (rest, bytes_max) = (&mut bytes[used..], self.settings.max_message_bytes);
            let decoded = match inflater.as_deref_mut() {
                None => decoder.next(rest, bytes_max)?,
                Some(inflater) => decoder.next_inflated(rest, bytes_max, inflater)?,
            };
            used += decoded.used;
            let Some(event) = decoded.event else {
                self.count_fragments(slot, decoder.take_empty_fragments(), effects);
                return Ok(());
            };
            match self.sessions.at(slot).phase {
                Phase::Open => self.handle_event(slot, event, effects),
                Phase::Closing => {
                    if let Event::Close(_) = event {
                        self.end_after_sending(slot, Phase::Ending, effects);
                        return Ok(());
                    }
                }
                Phase::Free | Phase::Head | Phase::Greeting | Phase::Ending | Phase::Lingering => return Ok(()),
            }
            self.count_fragments(slot, decoder.take_empty_fragments(), effects);
        }
    }

    fn handle_event(&mut self, slot: u32, event: Event<'_>, effects: &mut HomeEffects<'_>) {
        match event {
            Event::Text(text) => {
                self.count_message(slot, effects);
                if self.sessions.at(slot).marks.has(Marks::ECHO) {
                    self.say(slot, server_frame(Opcode::Text, text.as_bytes()), effects);
                } else {
                    self.handle_request(slot, (self.dialect(slot).read_text)(text), effects);
                }
            }
            Event::Binary(message) => {
                self.count_message(slot, effects);
                if self.sessions.at(slot).marks.has(Marks::ECHO) {
                    self.say(slot, server_frame(Opcode::Binary, message), effects);
                } else {
                    self.handle_request(slot, (self.dialect(slot).read_binary)(message), effects);
                }
            }
            Event::Ping(payload) => self.hear_ping(slot, payload, effects),
            Event::Pong(payload) => self.hear_any_pong(slot, payload, effects),
            Event::Close(status) => self.close_asked(slot, status, effects),
        }
    }

    /// The dialect of an open connection.
    pub(super) fn dialect(&self, slot: u32) -> &'static Dialect {
        &self.settings.dialects[usize::from(self.sessions.at(slot).dialect)]
    }

    pub(super) fn count_message(&mut self, slot: u32, effects: &HomeEffects<'_>) {
        effects.counters.messages_received.add(1);
        let stats = &mut self.sessions.at_mut(slot).stats;
        stats.messages_received = stats.messages_received.wrapping_add(1);
    }
}
