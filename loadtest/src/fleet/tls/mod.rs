//! TLS of a fleet's clients (RFC 8446, RFC 5246): a state machine for each beside its slot, sealed and opened in the
//! fleet's own buffers. A fleet without TLS has none of this. Trusts whatever certificate comes: what a server costs is
//! the question, not who it is.

mod session;
mod tickets;

use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::address::Target;
use super::slot::State;
use super::{Behaviour, Fleet};
pub use session::Handshake;
use session::Session;
use tickets::Tickets;

/// The TLS side of a fleet.
pub struct Clients {
    config: Arc<ClientConfig>,
    /// The name of each target.
    names: Vec<ServerName<'static>>,
    sessions: Vec<Option<Box<Session>>>,
    /// What came out of the records of one read.
    plain: Vec<u8>,
}

impl Clients {
    /// For so many clients of these targets. With `resume`, a client that connects again may resume a session.
    ///
    /// # Errors
    /// A target's host is no name that TLS knows.
    pub fn new(targets: &[Target], clients: u32, resume: bool) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("TLS versions")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption =
            if resume { Resumption::store(Arc::new(Tickets::new(clients))) } else { Resumption::disabled() };
        let name = |target: &Target| {
            let host = target.host.rsplit_once(':').map_or(target.host.as_str(), |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            ServerName::try_from(host).with_context(|| format!("{:?} is no name for TLS", target.host))
        };
        Ok(Clients {
            config: Arc::new(config),
            names: targets.iter().map(name).collect::<anyhow::Result<_>>()?,
            sessions: (0..clients).map(|_| None).collect(),
            plain: Vec::new(),
        })
    }

    /// A client begins to connect to a target.
    pub(super) fn begin(&mut self, client: u32, target: usize) -> Result<(), rustls::Error> {
        let session = Session::new(Arc::clone(&self.config), self.names[target].clone())?;
        self.sessions[client as usize] = Some(Box::new(session));
        Ok(())
    }

    /// Moves the records that did not come whole to the front of `buffer`; says how long they are.
    pub(super) fn carry(&self, client: u32, buffer: &mut [u8]) -> usize {
        let Some(session) = &self.sessions[client as usize] else { return 0 };
        let carried = session.inbound.len();
        buffer[..carried].copy_from_slice(&session.inbound);
        carried
    }

    /// `plain`, sealed for a client, behind all that waits for its socket; nothing while there is no session.
    pub(super) fn sealed(&mut self, client: u32, plain: &[u8]) -> Vec<u8> {
        let Some(session) = &mut self.sessions[client as usize] else { return Vec::new() };
        // What fails has its connection end, which is noticed by whoever reads it.
        let _ = session.seal(&mut plain.to_vec());
        std::mem::take(&mut session.outbound)
    }

    /// The connection is over. Returns what is to be sent behind all else: the end of the session.
    pub(super) fn end(&mut self, client: u32) -> Option<Vec<u8>> {
        self.sessions[client as usize].take().and_then(|session| session.close())
    }
}

impl Fleet {
    /// [`Fleet::flush`] for a fleet with TLS: seals what waits for the client, once its handshake is done.
    pub(super) fn flush_sealed(&mut self, client: u32) {
        let Some(tls) = &mut self.tls else { return };
        let slot = &mut self.slots[client as usize];
        let Some(session) = &mut tls.sessions[client as usize] else { return };
        let Some(stream) = slot.stream.as_mut().filter(|_| slot.state != State::Connecting) else { return };
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
    pub(super) fn unseal(&mut self, behaviour: &mut impl Behaviour, client: u32, records: &mut [u8], now: u64) {
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
                    self.process(behaviour, client, &plain, now);
                }
                if opened.closed {
                    self.broken(behaviour, client, "the server ended the stream".to_owned());
                }
            }
            Err(error) => {
                self.flush(client);
                self.broken(behaviour, client, format!("TLS: {error}"));
            }
        }
        if let Some(tls) = &mut self.tls {
            tls.plain = plain;
        }
    }
}

/// Takes every certificate, and its signature, for good.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _server: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
