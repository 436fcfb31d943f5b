//! The checks of an upgrade that one core makes by itself, and the refusals of those that fail. Never asks another core.

use crate::base::codes::ErrorCode;
use crate::engine::home::{Home, HomeEffects};
use crate::engine::hop::ConnectRefusal;
use crate::engine::hosts::AllowedHosts;
use crate::wire::handshake::{ForwardedFields, HttpRefusal, Upgrade, origin_allowed, quoted};

/// When to retry after a refusal for load.
const RETRY_AFTER_S: u32 = 5;

pub(super) const AT_CAPACITY: &str = "the server is at capacity";

impl Home {
    /// Takes the client's address from a trusted proxy. Where the proxy names no valid address the request is refused:
    /// under the proxy's own address all its clients would share one.
    pub(super) fn find_client(&mut self, slot: u32, forwarded: ForwardedFields) -> Result<(), HttpRefusal> {
        let peer = self.slots.address(slot);
        if self.settings.trusted_proxies.contains(peer) {
            let hops = forwarded.hops(self.settings.forwarded_header);
            let client = self.settings.trusted_proxies.client(peer, &hops).map_err(|wrong| {
                let rule = "a proxy in server.trusted_proxies must name its client's address";
                HttpRefusal::new(400, "bad_request", format!("{wrong}; {rule}"))
            })?;
            self.slots.set_address(slot, client);
        }
        Ok(())
    }

    /// Refuses a host that is not allowed.
    pub(super) fn check_host(&self, host: Option<&str>) -> Result<(), HttpRefusal> {
        match host.filter(|host| !self.settings.allowed_hosts.allow(host)) {
            None => Ok(()),
            Some(host) => Err(refusal(403, ErrorCode::Forbidden, &AllowedHosts::refusal(host), None)),
        }
    }

    /// Refuses a connection that there is no room for now.
    pub(super) fn check_room(&self, effects: &HomeEffects<'_>) -> Result<(), HttpRefusal> {
        if self.is_draining() && !self.hands_over() {
            return Err(refusal(503, ErrorCode::Unavailable, "the server is draining", Some(1)));
        }
        // Before limits and tokens, so that a full server neither counts nor verifies.
        if self.slots.is_full(&self.settings) {
            return Err(at_capacity(AT_CAPACITY));
        }
        if effects.budget.is_tight() {
            return Err(at_capacity("the server has no memory left for new connections"));
        }
        Ok(())
    }

    /// Refuses a host or an origin that is not allowed.
    pub(super) fn check_site(&self, upgrade: &Upgrade) -> Result<(), HttpRefusal> {
        // Before the origin, which is that of the host's name where a page was led here by another name.
        self.check_host(upgrade.host.as_deref())?;
        self.check_origin(upgrade.origin.as_deref(), upgrade.host.as_deref())
    }

    /// Refuses an origin that is not allowed for a request to this host.
    pub(super) fn check_origin(&self, origin: Option<&str>, host: Option<&str>) -> Result<(), HttpRefusal> {
        if let Some(origin) = origin
            && !origin_allowed(origin, host, &self.settings.allowed_origins)
        {
            let rule = "it is neither the request's host nor in auth.allowed_origins";
            let words = format!("origin {} is not allowed: {rule}", quoted(origin.as_bytes()));
            return Err(refusal(403, ErrorCode::Forbidden, &words, None));
        }
        Ok(())
    }
}

/// The answer to an upgrade that is over a limit.
pub(super) fn connect_refusal(why: ConnectRefusal) -> HttpRefusal {
    let (code, why, retry_after_ms) = match why {
        ConnectRefusal::ServerRate { retry_after_ms } => {
            (ErrorCode::RateLimited, "connection rate limit exceeded for the server", retry_after_ms)
        }
        ConnectRefusal::AddressRate { retry_after_ms } => {
            (ErrorCode::RateLimited, "connection rate limit exceeded for this address", retry_after_ms)
        }
        ConnectRefusal::AddressConnections => {
            (ErrorCode::LimitExceeded, "too many connections from this address", 1_000)
        }
        ConnectRefusal::UserConnections => (ErrorCode::LimitExceeded, "too many connections for this user", 1_000),
    };
    let retry_after_s = u32::try_from(retry_after_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
    refusal(429, code, why, Some(retry_after_s))
}

/// The answer to an upgrade for which the server has no room.
pub(super) fn at_capacity(why: &str) -> HttpRefusal {
    refusal(503, ErrorCode::Overloaded, why, Some(RETRY_AFTER_S))
}

pub(super) fn refusal(status: u16, error: ErrorCode, message: &str, retry_after_s: Option<u32>) -> HttpRefusal {
    HttpRefusal { status, error: error.as_str(), message: message.to_owned(), retry_after_s }
}
