//! What an engine asks of the floors above: values that they carry out in order. Leaves no decision to them.

use std::net::IpAddr;

use bytes::Bytes;

use super::account_port::AccountRequest;
use super::call::CallAnswer;
use super::link_port::LinkRequest;
use super::session::ConnStats;
use super::store_port::StoreRequest;
use super::trace::Span;
use crate::base::codes::CloseCode;
use crate::base::ids::{ConnId, RoomName, UserName};

/// One send: everything queued for a connection, up to the bounds of a send.
#[derive(Debug)]
pub struct Send {
    /// The socket.
    pub slot: u32,
    /// The bytes, kept alive until the kernel has taken them.
    pub bytes: Bytes,
    /// A close or half-close follows as soon as the kernel has taken it, so both can go in one packet.
    pub is_last: bool,
}

/// A WebSocket connection has ended. For the log.
#[derive(Debug)]
pub struct Ended {
    /// The connection.
    pub conn: ConnId,
    /// The client's address.
    pub peer: IpAddr,
    /// Its user.
    pub user: UserName,
    /// Why the server closed it; `None` if the client ended it.
    pub code: Option<CloseCode>,
    /// The cause, in words.
    pub cause: &'static str,
    /// The room at fault, if any.
    pub room: Option<RoomName>,
    /// Round-trip time of its last ping, microseconds; 0 if unknown.
    pub round_trip_us: u32,
    /// Its traffic.
    pub stats: ConnStats,
}

/// A request was refused before a WebSocket opened. For the log.
#[derive(Debug)]
pub struct Refused {
    /// The client's address.
    pub peer: IpAddr,
    /// The HTTP status of the answer; 0 if the socket was closed without one.
    pub status: u16,
    /// The error's code (PROTOCOL section 1), or the cause in words if there was no answer.
    pub cause: &'static str,
}

/// A token was refused. For the log, at most one a minute for each cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRefused {
    /// The cause, in words.
    pub cause: &'static str,
    /// Refusals for the same cause since the last one logged.
    pub held_back: u64,
}

/// The output of one turn. The caller empties and reuses it.
#[derive(Debug, Default)]
pub struct Output {
    /// At most one per slot and turn, and none while one is in flight (`Input::Sent` ends it).
    pub sends: Vec<Send>,
    /// Half-close: send no more, read on. Follows the sends.
    pub shutdowns: Vec<u32>,
    /// Cancel operations in flight and close. Exactly once for each accepted slot. Follows the shutdowns.
    pub closes: Vec<u32>,
    /// Requests to the link.
    pub link: Vec<LinkRequest>,
    /// Requests to the store.
    pub store: Vec<StoreRequest>,
    /// Requests about accounts, at most [`ACCOUNTS_WAITING_MAX`](crate::base::limits::ACCOUNTS_WAITING_MAX) that are not
    /// answered by `Input::Account`.
    pub accounts: Vec<AccountRequest>,
    /// Answers to calls, by their tokens.
    pub answers: Vec<(u64, CallAnswer)>,
    /// Connections that ended, for the log.
    pub ended: Vec<Ended>,
    /// Refused requests, for the log.
    pub refused: Vec<Refused>,
    /// Refused tokens, for the log.
    pub tokens_refused: Vec<TokenRefused>,
    /// A token that no key fits is waiting: the service thread must look for new keys, and answer with `Input::Keys`.
    pub keys_wanted: bool,
    /// Spans to export, at most [`SPANS_PER_TURN_MAX`](crate::base::limits::SPANS_PER_TURN_MAX).
    pub spans: Vec<Span>,
}

impl Output {
    /// Whether the turn asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
            && self.shutdowns.is_empty()
            && self.closes.is_empty()
            && self.link.is_empty()
            && self.store.is_empty()
            && self.accounts.is_empty()
            && self.answers.is_empty()
            && self.ended.is_empty()
            && self.refused.is_empty()
            && self.tokens_refused.is_empty()
            && !self.keys_wanted
            && self.spans.is_empty()
    }
}
