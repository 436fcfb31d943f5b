//! Owns the TLS sessions of a fleet's clients (RFC 8446, RFC 5246). Unused by a fleet without TLS. Trusts every
//! certificate: the generator measures servers and never verifies them.

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
pub use session::Handshake;
use session::TlsSession;
use tickets::Tickets;

/// The TLS side of a fleet.
pub struct TlsClients {
    config: Arc<ClientConfig>,
    /// Server name of each target.
    names: Vec<ServerName<'static>>,
    pub(super) sessions: Vec<Option<Box<TlsSession>>>,
    /// Plaintext of one read.
    pub(super) plain: Vec<u8>,
}

impl TlsClients {
    /// Creates the TLS side of a fleet. With `resume`, reconnecting clients resume sessions.
    ///
    /// # Errors
    /// A target's host is not a valid name for TLS.
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
            ServerName::try_from(host)
                .with_context(|| format!("{:?}: expected a name or address that is valid for TLS", target.host))
        };
        Ok(TlsClients {
            config: Arc::new(config),
            names: targets.iter().map(name).collect::<anyhow::Result<_>>()?,
            sessions: (0..clients).map(|_| None).collect(),
            plain: Vec::new(),
        })
    }

    /// Starts the session of a client.
    pub(super) fn begin(&mut self, client: u32, target: usize) -> Result<(), rustls::Error> {
        let session = TlsSession::new(Arc::clone(&self.config), self.names[target].clone())?;
        self.sessions[client as usize] = Some(Box::new(session));
        Ok(())
    }

    /// Moves incomplete records to the front of `buffer`. Returns their length.
    pub(super) fn carry(&self, client: u32, buffer: &mut [u8]) -> usize {
        let Some(session) = &self.sessions[client as usize] else { return 0 };
        let carried = session.inbound.len();
        buffer[..carried].copy_from_slice(&session.inbound);
        carried
    }

    /// Encrypts `plain` and returns all pending records with it; empty without a session.
    pub(super) fn sealed(&mut self, client: u32, plain: &[u8]) -> Vec<u8> {
        let Some(session) = &mut self.sessions[client as usize] else { return Vec::new() };
        // A failure ends the connection at the next read.
        let _ = session.seal(&mut plain.to_vec());
        std::mem::take(&mut session.outbound)
    }

    /// Ends the session of a client. Returns the last records to send.
    pub(super) fn end(&mut self, client: u32) -> Option<Vec<u8>> {
        self.sessions[client as usize].take().and_then(|session| session.close())
    }
}

/// Accepts every certificate and signature.
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
