//! Owns the TLS state machine of one connection, without a socket: received bytes go in, plaintext and records come
//! out. Holds no buffer between records. Never decides when to send or close.

use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{Error, HandshakeKind, ProtocolVersion, ServerConfig};

use crate::base::limits::{TLS_HANDSHAKE_BYTES_MAX, TLS_OWN_BYTES_MAX, TLS_RECORD_BYTES_MAX};

/// Plaintext bytes of one record (RFC 8446 section 5.1).
const PLAIN_BYTES_MAX: usize = 16 * 1024;

/// Overhead of a record: header, content type and tag in TLS 1.3; header, explicit nonce and tag in TLS 1.2 with GCM
/// (ChaCha20 needs less).
const OVERHEAD_BYTES: usize = 5 + 1 + 16;
const OVERHEAD_BYTES_TLS12: usize = 5 + 8 + 16;

/// A failure that ends the connection. The records to send include the alert.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The peer violated the protocol, or has no version, cipher suite or application protocol in common with the
    /// server.
    #[error("{0}")]
    Tls(#[from] Error),
    /// A record or handshake message exceeds its maximum length.
    #[error("a record or handshake message is too long")]
    TooLong,
    /// The peer requests too many answers.
    #[error("the peer requests too many answers")]
    TooMuch,
    /// The connection's keys may encrypt no more (TLS 1.2 cannot change them).
    #[error("the keys of the connection are used up")]
    Exhausted,
}

/// The state of the peer's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamState {
    /// The peer may send more.
    Open,
    /// The peer has ended its stream by close_notify.
    Ended,
}

/// One connection.
pub(super) struct Records {
    tls: UnbufferedServerConnection,
    /// Received bytes that are not used yet: part of a record or handshake message, or bytes that wait for their step
    /// of the handshake.
    partial: Vec<u8>,
}

impl Records {
    /// Starts a connection.
    ///
    /// # Errors
    /// The configuration is invalid for a server.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Records, Broken> {
        Ok(Records { tls: UnbufferedServerConnection::new(config)?, partial: Vec::new() })
    }

    /// Whether the handshake is incomplete: no plaintext may be sent, and none has arrived.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether the client resumed a session; known after the handshake.
    pub(super) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Memory of received bytes that are not used yet.
    pub(super) fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Frees received bytes that are not used yet.
    pub(super) fn forget_partial(&mut self) {
        self.partial = Vec::new();
    }

    /// Keeps received bytes for a later [`Records::receive`].
    ///
    /// # Errors
    /// [`Broken::TooLong`] if the bytes exceed the length of any handshake.
    pub(super) fn keep(&mut self, received: &[u8]) -> Result<(), Broken> {
        if self.partial.len() + received.len() > TLS_HANDSHAKE_BYTES_MAX {
            return Err(Broken::TooLong);
        }
        self.partial.extend_from_slice(received);
        Ok(())
    }

    /// Processes kept bytes and `received`, which is decrypted in place. Appends plaintext to `plain` and the server's
    /// own records (handshake, tickets, alerts) to `own`, even on errors.
    ///
    /// # Errors
    /// The failure that ends the connection.
    pub(super) fn receive(
        &mut self,
        received: &mut [u8],
        plain: &mut Vec<u8>,
        own: &mut Vec<u8>,
    ) -> Result<StreamState, Broken> {
        let stream = if self.partial.is_empty() {
            let (used, stream) = drive(&mut self.tls, received, plain, own);
            self.partial.extend_from_slice(&received[used..]);
            stream
        } else {
            self.partial.extend_from_slice(received);
            let (used, stream) = drive(&mut self.tls, &mut self.partial, plain, own);
            self.discard(used);
            stream
        };
        let longest = if self.is_handshaking() { TLS_HANDSHAKE_BYTES_MAX } else { TLS_RECORD_BYTES_MAX };
        let stream = match stream {
            Ok(_) if own.len() > TLS_OWN_BYTES_MAX => Err(Broken::TooMuch),
            Ok(StreamState::Open) if self.partial.len() > longest => Err(Broken::TooLong),
            other => other,
        };
        // Bytes after the end are ignored.
        if !matches!(stream, Ok(StreamState::Open)) {
            self.partial = Vec::new();
        }
        stream
    }

    /// Appends the server's own pending records and `plain` as records to `out`.
    ///
    /// # Errors
    /// The failure that ends the connection; `out` then holds the alert in place of `plain`.
    pub(super) fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let overhead = match self.tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => OVERHEAD_BYTES_TLS12,
            _ => OVERHEAD_BYTES,
        };
        let guess = plain.len() + plain.len().div_ceil(PLAIN_BYTES_MAX) * overhead;
        let result = self.write(Writing::Data(plain), guess, out);
        if result.is_err() {
            collect(&mut self.tls, &mut self.partial, out);
        }
        result
    }

    /// Appends a close_notify to `out`. Nothing can be encrypted after it.
    ///
    /// # Errors
    /// The failure that ends the connection.
    pub(super) fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.write(Writing::CloseNotify, OVERHEAD_BYTES_TLS12 + 2, out)
    }

    fn write(&mut self, what: Writing<'_>, guess: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
        let mut size = guess;
        loop {
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut self.partial);
            let start = out.len();
            let done = match state? {
                ConnectionState::WriteTraffic(mut writer) => {
                    out.resize(start + size, 0);
                    let written = match what {
                        Writing::Data(plain) => writer.encrypt(plain, &mut out[start..]),
                        Writing::CloseNotify => writer.queue_close_notify(&mut out[start..]),
                    };
                    out.truncate(start + written.as_ref().map_or(0, |written| *written));
                    match written {
                        Ok(_) => true,
                        Err(EncryptError::InsufficientSize(wanted)) => {
                            size = wanted.required_size;
                            false
                        }
                        Err(EncryptError::EncryptExhausted) => return Err(Broken::Exhausted),
                    }
                }
                ConnectionState::EncodeTlsData(data) => {
                    encode(data, out);
                    false
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    false
                }
                // Both sides have sent a close_notify.
                ConnectionState::Closed => true,
                ConnectionState::PeerClosed => false,
                _ => return Err(Broken::Tls(Error::HandshakeNotComplete)),
            };
            self.discard(discard);
            if done {
                return Ok(());
            }
        }
    }

    fn discard(&mut self, used: usize) {
        if used == self.partial.len() {
            self.partial = Vec::new();
        } else {
            self.partial.drain(..used);
        }
    }
}

#[derive(Clone, Copy)]
enum Writing<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

/// Processes `buffer`. Returns how many bytes of its front were used.
fn drive(
    tls: &mut UnbufferedServerConnection,
    buffer: &mut [u8],
    plain: &mut Vec<u8>,
    own: &mut Vec<u8>,
) -> (usize, Result<StreamState, Broken>) {
    let mut used = 0;
    let mut stream = StreamState::Open;
    loop {
        let UnbufferedStatus { mut discard, state } = tls.process_tls_records(&mut buffer[used..]);
        let result = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(Ok(record)) = traffic.next_record() {
                    plain.extend_from_slice(record.payload);
                    discard += record.discard;
                }
                None
            }
            Ok(ConnectionState::EncodeTlsData(data)) => {
                encode(data, own);
                None
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::PeerClosed) => {
                stream = StreamState::Ended;
                None
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => {
                Some(Ok(stream))
            }
            Ok(_) => Some(Err(Broken::Tls(Error::General("early data was not offered".to_owned())))),
            Err(error) => Some(Err(Broken::Tls(error))),
        };
        used += discard;
        if let Some(result) = result {
            if result.is_err() {
                collect(tls, &mut buffer[used..], own);
            }
            return (used, result);
        }
    }
}

/// Appends the alert. Finished records come first, so nothing more of `buffer`, which is faulty, is read.
fn collect(tls: &mut UnbufferedServerConnection, buffer: &mut [u8], own: &mut Vec<u8>) {
    while tls.wants_write()
        && let Ok(ConnectionState::EncodeTlsData(data)) = tls.process_tls_records(buffer).state
    {
        encode(data, own);
    }
}

/// Appends one finished record.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, own: &mut Vec<u8>) {
    let start = own.len();
    // An empty buffer makes it return its length.
    if let Err(EncodeError::InsufficientSize(wanted)) = data.encode(&mut []) {
        own.resize(start + wanted.required_size, 0);
        let encoded = data.encode(&mut own[start..]);
        debug_assert!(encoded.is_ok(), "the buffer has the requested length");
    }
}
