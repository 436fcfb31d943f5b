//! What an engine asks of the floors above: values that they carry out in order. No decision is left to them.

use std::net::IpAddr;

use bytes::Bytes;

use super::call::CallAnswer;
use super::link_port::LinkRequest;
use super::session::ConnStats;
use super::store_port::StoreRequest;
use super::trace::Span;
use crate::base::codes::CloseCode;
use crate::base::ids::{ConnId, RoomName, UserName};

/// One send: all that waits for a connection, up to the bounds of a send.
#[derive(Debug)]
pub struct Send {
    /// Which socket.
    pub slot: u32,
    /// What; kept alive until the kernel has taken it.
    pub bytes: Bytes,
    /// The close, or the half-close, follows as soon as the kernel has taken it: both can go in one packet.
    pub is_last: bool,
}

/// A WebSocket connection has ended: for the log.
#[derive(Debug)]
pub struct Ended {
    /// Which.
    pub conn: ConnId,
    /// Where from.
    pub peer: IpAddr,
    /// Its user.
    pub user: UserName,
    /// Why it was closed by the server; `None`: the client ended it.
    pub code: Option<CloseCode>,
    /// Plain words.
    pub cause: &'static str,
    /// The room at fault, where there is one.
    pub room: Option<RoomName>,
    /// Round-trip time of its last ping, microseconds; 0: never known.
    pub round_trip_us: u32,
    /// What it did.
    pub stats: ConnStats,
}

/// A request was refused before a WebSocket opened: for the log.
#[derive(Debug)]
pub struct Refused {
    /// Whose.
    pub peer: IpAddr,
    /// The HTTP status of the answer; 0 where the socket was closed without one.
    pub status: u16,
    /// The error's code (PROTOCOL section 1), or plain words where there was no answer.
    pub cause: &'static str,
}

/// A token was refused: for the log, at most one a minute for each cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRefused {
    /// Plain words.
    pub cause: &'static str,
    /// Others for the same cause that were not told since the last one that was.
    pub held_back: u64,
}

/// Everything one turn asks for. Emptied by whoever carries it out; reused.
#[derive(Debug, Default)]
pub struct Output {
    /// At most one per slot and turn, and none while one is out (`Input::Sent` ends it).
    pub sends: Vec<Send>,
    /// Half-close: send no more, read on. After the sends.
    pub shutdowns: Vec<u32>,
    /// Cancel what is under way and close. Exactly once for each accepted slot. After the shutdowns.
    pub closes: Vec<u32>,
    /// To the link.
    pub link: Vec<LinkRequest>,
    /// To the store.
    pub store: Vec<StoreRequest>,
    /// To those who called, by their tokens.
    pub answers: Vec<(u64, CallAnswer)>,
    /// To the log.
    pub ended: Vec<Ended>,
    /// To the log.
    pub refused: Vec<Refused>,
    /// To the log.
    pub tokens_refused: Vec<TokenRefused>,
    /// A token that no key fits waits: whoever fetches keys is to look for more, and to answer with `Input::Keys`.
    pub keys_wanted: bool,
    /// To whoever exports traces; at most [`SPANS_PER_TURN_MAX`](crate::base::limits::SPANS_PER_TURN_MAX).
    pub spans: Vec<Span>,
}

impl Output {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
            && self.shutdowns.is_empty()
            && self.closes.is_empty()
            && self.link.is_empty()
            && self.store.is_empty()
            && self.answers.is_empty()
            && self.ended.is_empty()
            && self.refused.is_empty()
            && self.tokens_refused.is_empty()
            && !self.keys_wanted
            && self.spans.is_empty()
    }
}
