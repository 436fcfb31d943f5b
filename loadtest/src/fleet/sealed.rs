//! The fleet's sockets under TLS: what goes out is sealed, what comes in is opened. A fleet without TLS has none of this.

use super::slot::SlotState;
use super::tls::Handshake;
use super::{Behavior, Fleet};

impl Fleet {
    /// [`Fleet::flush`] for a fleet with TLS: seals what waits for the client, once its handshake is done.
    pub(super) fn flush_sealed(&mut self, client: u32) {
        let Some(tls) = &mut self.tls else { return };
        let slot = &mut self.slots[client as usize];
        let Some(session) = &mut tls.sessions[client as usize] else { return };
        let Some(stream) = slot.stream.as_mut().filter(|_| slot.state != SlotState::Connecting) else { return };
        let mut nothing = Vec::new();
        let plain = slot.held.as_mut().map_or(&mut nothing, |held| &mut held.output);
        // An error of the session stays with it, and ends the connection where its socket is read.
        let _ = session.seal(plain);
        if session.outbound.is_empty() {
            return;
        }
        // A broken connection shows itself as readable too, and is ended there.
        if let Ok(written) = std::io::Write::write(stream, &session.outbound) {
            self.counters.sends += 1;
            self.counters.bytes_sent += written as u64;
            session.sent(written);
            self.tidy(client);
        }
    }

    /// Opens the records that a client's socket gave, and handles what they held.
    pub(super) fn unseal(&mut self, behavior: &mut impl Behavior, client: u32, records: &mut [u8], now: u64) {
        let Some(tls) = &mut self.tls else { return };
        let Some(session) = &mut tls.sessions[client as usize] else { return };
        let mut plain = std::mem::take(&mut tls.plain);
        plain.clear();
        let opened = session.open(records, &mut plain);
        let waits = !session.outbound.is_empty();
        match opened {
            Ok(opened) => {
                match opened.handshake {
                    Some(Handshake::Full) => self.counters.tls_full += 1,
                    Some(Handshake::Resumed) => self.counters.tls_resumed += 1,
                    None => {}
                }
                // With the end of the handshake, the upgrade request.
                if waits || opened.handshake.is_some() {
                    self.flush(client);
                }
                if !plain.is_empty() {
                    self.process(behavior, client, &plain, now);
                }
                if opened.closed {
                    self.broken(behavior, client, "the server ended the stream".to_owned());
                }
            }
            Err(error) => {
                self.flush(client);
                self.broken(behavior, client, format!("TLS: {error}"));
            }
        }
        if let Some(tls) = &mut self.tls {
            tls.plain = plain;
        }
    }
}
