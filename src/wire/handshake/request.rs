//! Owns a well-formed request on the data port. Never reads one.

use super::account::AccountHead;
use super::extensions::DeflateOffer;
use super::forwarded::ForwardedFields;
use super::refusal::HttpRefusal;
use crate::wire::dialect::Dialect;

/// A well-formed request.
#[derive(Debug, PartialEq, Eq)]
pub enum HttpRequest {
    /// A `GET` or `HEAD` that does not ask for an upgrade.
    Get {
        /// The path, without the query.
        path: String,
        /// The requested host, perhaps with a port. `None` only for HTTP/1.0.
        host: Option<String>,
        /// The method is HEAD: the response has no content.
        is_head: bool,
    },
    /// A request to a path of accounts, with any method.
    Account(Box<AccountHead>),
    /// A valid RFC 6455 opening handshake, at any path.
    Upgrade(Box<Upgrade>),
    /// An invalid opening handshake. If its path is not served either, the response is 404.
    BadUpgrade {
        /// The path, without the query.
        path: String,
        /// The response: 400 or 426.
        refusal: HttpRefusal,
    },
}

/// A valid opening handshake.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Upgrade {
    /// The path, without the query.
    pub path: String,
    /// The `Sec-WebSocket-Accept` of the response.
    pub accept: String,
    /// The first of the client's subprotocols that stands for a dialect on offer.
    pub dialect: Option<&'static Dialect>,
    /// The first acceptable offer of permessage-deflate.
    pub deflate: Option<DeflateOffer>,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// The requested host, perhaps with a port.
    pub host: Option<String>,
    /// The token of query parameter `token`, `Authorization: Bearer`, or subprotocol `bearer.…`, in this order.
    pub token: Option<String>,
    /// Query parameter `user`: a valid name.
    pub user: Option<String>,
    /// Query parameters `room`, in order: valid names.
    pub rooms: Vec<String>,
    /// Query parameter `last_received_seq`; never with more than one room.
    pub last_received_seq: Option<u64>,
    /// Query parameter `epoch`.
    pub epoch: Option<String>,
    /// Query parameter `refuse=close`: refuse by a close frame, because browsers hide the HTTP status from pages.
    pub refuse_as_close: bool,
    /// The proxy headers that name the client's address. Anyone can write them.
    pub forwarded: ForwardedFields,
}

impl Upgrade {
    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let optional = [&self.origin, &self.host, &self.token, &self.user, &self.epoch];
        let rooms: usize = self.rooms.iter().map(|room| size_of::<String>() + room.len()).sum();
        let optional: usize = optional.into_iter().flatten().map(String::len).sum();
        size_of::<Self>() + self.path.len() + self.accept.len() + optional + rooms
    }
}
