//! Owns a fleet's sockets under TLS: encrypts output and decrypts input. Unused by a fleet without TLS.

use super::slot::SlotState;
use super::tls::Handshake;
use super::{Behavior, Fleet};

impl Fleet {
    /// [`Fleet::flush`] with TLS: encrypts queued bytes after the handshake.
    pub(super) fn flush_sealed(&mut self, client: u32) {
        let Some(tls) = &mut self.tls else { return };
        let slot = &mut self.slots[client as usize];
        let Some(session) = &mut tls.sessions[client as usize] else { return };
        let Some(stream) = slot.stream.as_mut().filter(|_| slot.state != SlotState::Connecting) else { return };
        let mut nothing = Vec::new();
        let plain = slot.held.as_mut().map_or(&mut nothing, |held| &mut held.output);
        // The session keeps an error, which ends the connection at the next read.
        let _ = session.seal(plain);
        if session.outbound.is_empty() {
            return;
        }
        // A broken connection also becomes readable, and ends there.
        if let Ok(written) = std::io::Write::write(stream, &session.outbound) {
            self.counters.sends += 1;
            self.counters.bytes_sent += written as u64;
            session.sent(written);
            self.tidy(client);
        }
    }

    /// Decrypts records and handles their contents.
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
                // The upgrade request follows the handshake.
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
