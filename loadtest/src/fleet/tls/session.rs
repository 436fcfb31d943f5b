//! Owns one client's TLS session: decrypts and encrypts records. Never knows sockets.

use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::client::{ClientConfig, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};

/// Maximum size of a recycled output buffer.
const KEPT_BYTES_MAX: usize = 1_024;

/// Generous overhead of a record: header, content type, padding, tag.
const RECORD_BYTES: usize = 64;

/// Maximum payload of a record (RFC 8446 section 5.1).
const PAYLOAD_BYTES: usize = 16 * 1024;

/// Maximum size of an alert record.
const ALERT_BYTES: usize = 64;

/// The kind of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Full handshake.
    Full,
    /// Resumption of a session.
    Resumed,
}

/// The result of decrypting records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The handshake, if it completed.
    pub handshake: Option<Handshake>,
    /// Whether the server sent a close_notify.
    pub closed: bool,
}

/// A client's session.
pub struct TlsSession {
    connection: UnbufferedClientConnection,
    established: bool,
    failed: bool,
    /// Incomplete records.
    pub inbound: Vec<u8>,
    /// Records that the socket has not taken.
    pub outbound: Vec<u8>,
}

impl TlsSession {
    /// Creates a session. The first [`TlsSession::seal`] starts the handshake.
    pub fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, rustls::Error> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(TlsSession { connection, established: false, failed: false, inbound: Vec::new(), outbound: Vec::new() })
    }

    /// Decrypts records: [`TlsSession::inbound`] and all bytes received since. Appends plaintext to `plain` and answers
    /// of the handshake to `outbound`.
    ///
    /// # Errors
    /// The server violated the protocol; `outbound` has an alert.
    pub fn open(&mut self, records: &mut [u8], plain: &mut Vec<u8>) -> Result<Opened, rustls::Error> {
        let mut opened = Opened::default();
        let used = self.drive(records, plain, &mut Vec::new(), &mut opened.closed)?;
        self.inbound.clear();
        self.inbound.extend_from_slice(&records[used..]);
        if self.inbound.is_empty() {
            self.inbound.shrink_to(0);
        }
        if !self.established && !self.connection.is_handshaking() {
            self.established = true;
            let resumed = self.connection.handshake_kind() == Some(HandshakeKind::Resumed);
            opened.handshake = Some(if resumed { Handshake::Resumed } else { Handshake::Full });
        }
        Ok(opened)
    }

    /// Encrypts `plain` into `outbound`. A no-op before the handshake is complete, or after a failure.
    ///
    /// # Errors
    /// The session has failed.
    pub fn seal(&mut self, plain: &mut Vec<u8>) -> Result<(), rustls::Error> {
        if self.failed || (plain.is_empty() && self.established) {
            return Ok(());
        }
        // Passes incomplete records, which the state machine may have started to read.
        let mut records = std::mem::take(&mut self.inbound);
        let (mut nothing, mut closed) = (Vec::new(), false);
        let driven = self.drive(&mut records, &mut nothing, plain, &mut closed);
        self.inbound = records;
        driven.map(|_used| ())
    }

    /// Removes bytes that the socket has taken from `outbound`.
    pub fn sent(&mut self, count: usize) {
        self.outbound.drain(..count);
        if self.outbound.is_empty() {
            self.outbound.shrink_to(KEPT_BYTES_MAX);
        }
    }

    /// Returns pending records and a close_notify; `None` without an established session.
    pub fn close(mut self) -> Option<Vec<u8>> {
        if !self.established || self.failed {
            return None;
        }
        let mut records = std::mem::take(&mut self.inbound);
        let UnbufferedStatus { state: Ok(ConnectionState::WriteTraffic(mut traffic)), .. } =
            self.connection.process_tls_records(&mut records)
        else {
            return None;
        };
        let start = self.outbound.len();
        self.outbound.resize(start + ALERT_BYTES, 0);
        let written = traffic.queue_close_notify(&mut self.outbound[start..]).ok()?;
        self.outbound.truncate(start + written);
        Some(self.outbound)
    }

    /// Runs the state machine on `records` and `send`. Returns how many bytes of `records` it used.
    fn drive(
        &mut self,
        records: &mut [u8],
        plain: &mut Vec<u8>,
        send: &mut Vec<u8>,
        closed: &mut bool,
    ) -> Result<usize, rustls::Error> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(&mut records[used..]);
            let is_done = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(message)) => {
                    encode(message, &mut self.outbound);
                    false
                }
                // `outbound` keeps the order, so the records count as sent.
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    *closed = true;
                    false
                }
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    seal(traffic, send, &mut self.outbound)?;
                    true
                }
                Ok(_blocked_or_closed) => true,
                Err(error) => {
                    self.failed = true;
                    // The alert follows the error. The server's bytes are not processed again.
                    let last = self.connection.process_tls_records(&mut []);
                    if let Ok(ConnectionState::EncodeTlsData(alert)) = last.state {
                        encode(alert, &mut self.outbound);
                    }
                    return Err(error);
                }
            };
            used += discard;
            if is_done {
                return Ok(used);
            }
        }
    }
}

fn encode<Data>(mut message: EncodeTlsData<'_, Data>, outbound: &mut Vec<u8>) {
    let encoded = append(outbound, 0, |out| match message.encode(out) {
        Err(EncodeError::InsufficientSize(needs)) => Err(Some(needs.required_size)),
        Err(EncodeError::AlreadyEncoded) => Err(None),
        Ok(written) => Ok(written),
    });
    debug_assert!(encoded, "each message is encoded once");
}

fn seal<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    send: &mut Vec<u8>,
    outbound: &mut Vec<u8>,
) -> Result<(), rustls::Error> {
    if send.is_empty() {
        return Ok(());
    }
    let room = send.len() + (send.len() / PAYLOAD_BYTES + 1) * RECORD_BYTES;
    let sealed = append(outbound, room, |out| match traffic.encrypt(send, out) {
        Err(EncryptError::InsufficientSize(needs)) => Err(Some(needs.required_size)),
        Err(EncryptError::EncryptExhausted) => Err(None),
        Ok(written) => Ok(written),
    });
    if !sealed {
        return Err(rustls::Error::EncryptError);
    }
    send.clear();
    Ok(())
}

/// Appends the output of `write`, with `room` bytes at first, then with the size that `write` requires. Returns false
/// if it fails otherwise.
fn append(out: &mut Vec<u8>, room: usize, mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) -> bool {
    let start = out.len();
    out.resize(start + room, 0);
    let written = match write(&mut out[start..]) {
        Err(Some(needed)) => {
            out.resize(start + needed, 0);
            write(&mut out[start..])
        }
        written => written,
    };
    out.truncate(start + written.unwrap_or(0));
    written.is_ok()
}
