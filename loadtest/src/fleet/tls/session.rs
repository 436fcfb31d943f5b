//! One client's TLS session: records in, plain bytes out, and the other way round. Knows no sockets.

use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::client::{ClientConfig, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};

/// What waits for a socket is not kept above this when it is sent.
const KEPT_BYTES_MAX: usize = 1_024;

/// Room that one record needs beyond its payload, generously: header, content type, padding, tag.
const RECORD_BYTES: usize = 64;

/// Payload of one record at most (RFC 8446 section 5.1).
const PAYLOAD_BYTES: usize = 16 * 1024;

/// Bytes of an alert record at most.
const ALERT_BYTES: usize = 64;

/// How a handshake was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With a key exchange signed by the certificate.
    Full,
    /// By a ticket of an earlier session.
    Resumed,
}

/// What came of some records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The handshake ended.
    pub handshake: Option<Handshake>,
    /// The server says that nothing more follows.
    pub closed: bool,
}

/// A client's session.
pub struct TlsSession {
    connection: UnbufferedClientConnection,
    established: bool,
    failed: bool,
    /// Records that did not come whole.
    pub inbound: Vec<u8>,
    /// Records that its socket has not taken.
    pub outbound: Vec<u8>,
}

impl TlsSession {
    /// A session that will say hello when something is sealed.
    pub fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, rustls::Error> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(TlsSession { connection, established: false, failed: false, inbound: Vec::new(), outbound: Vec::new() })
    }

    /// Opens records, all that have come since the last call left [`TlsSession::inbound`], with that in front. Their plain
    /// bytes are appended to `plain`; what the handshake answers to `outbound`.
    ///
    /// # Errors
    /// The server broke the protocol; an alert that says so is in `outbound`.
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

    /// Moves `plain` into `outbound`, sealed; leaves it where the handshake is not that far, or the session has failed.
    ///
    /// # Errors
    /// The session has failed.
    pub fn seal(&mut self, plain: &mut Vec<u8>) -> Result<(), rustls::Error> {
        if self.failed || (plain.is_empty() && self.established) {
            return Ok(());
        }
        // With the records that are not whole: the state machine may have looked into them.
        let mut records = std::mem::take(&mut self.inbound);
        let (mut nothing, mut closed) = (Vec::new(), false);
        let driven = self.drive(&mut records, &mut nothing, plain, &mut closed);
        self.inbound = records;
        driven.map(|_used| ())
    }

    /// The socket has taken so many bytes of `outbound`.
    pub fn sent(&mut self, count: usize) {
        self.outbound.drain(..count);
        if self.outbound.is_empty() {
            self.outbound.shrink_to(KEPT_BYTES_MAX);
        }
    }

    /// What ends the session, behind all that waits; `None` where none was established.
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

    /// Lets the state machine do all that it can with `records` and `send`; says how many bytes of `records` are done.
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
                // What `outbound` holds goes out in its order: that is as good as sent.
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
                    // The alert that tells the server why comes behind the error. What it sent is not looked at again.
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

/// Appends what `write` writes, with `room` for it at first, and as much as it says that it needs after that. False when
/// it does not say so.
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
