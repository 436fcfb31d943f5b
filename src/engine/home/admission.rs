//! Whether an upgrade is let in: what this core knows by itself, then what is counted for its address, for the server and
//! for its user, on whichever cores those are counted. An upgrade waits here for the answers, its slot still in the
//! phase of its head and under its time limit. Counts nothing itself.

use std::net::IpAddr;

use super::late::Counted;
use super::verification::Identity;
use super::{Home, HomeEffects};
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::limits::EARLY_BYTES_MAX;
use crate::engine::access::Access;
use crate::engine::hop::ConnectRefusal;
use crate::engine::hop::ToLimiter;
use crate::engine::hosts::AllowedHosts;
use crate::engine::limiter::{core_of_address, core_of_user};
use crate::engine::session::{Marks, Phase};
use crate::engine::table;
use crate::wire::handshake::{ForwardedFields, Refusal, Upgrade, origin_allowed, quoted};

/// An upgrade that waits to be let in.
#[derive(Debug)]
pub(super) struct Waiting {
    upgrade: Box<Upgrade>,
    /// Who it is, once that has been established.
    user: Option<UserName>,
    /// What its token gives it, likewise; `None` where no token is asked for.
    access: Option<Box<Access>>,
    /// What the client has sent after its head.
    early: Vec<u8>,
}

impl Waiting {
    /// Bytes for the budget.
    fn bytes(&self) -> usize {
        self.upgrade.bytes() + self.early.len()
    }
}

/// When to try again after what only less load mends.
const RETRY_AFTER_S: u32 = 5;

const AT_CAPACITY: &str = "the server is at capacity";

impl Home {
    /// An upgrade was asked for; `early` has come after its head.
    pub(super) fn admit(
        &mut self,
        slot: u32,
        mut upgrade: Box<Upgrade>,
        early: &mut [u8],
        effects: &mut HomeEffects<'_>,
    ) {
        if let Err(refusal) = self.find_client(slot, std::mem::take(&mut upgrade.forwarded)) {
            return self.refuse_upgrade(slot, &upgrade, &refusal, effects);
        }
        if let Err(refusal) = self.check_here(&upgrade, effects) {
            return self.refuse_upgrade(slot, &upgrade, &refusal, effects);
        }
        if let Some(retry_after_ms) = self.is_too_often(slot) {
            effects.counters.refused_limit.add(1);
            let refusal = connect_refusal(ConnectRefusal::AddressRate { retry_after_ms });
            return self.refuse_upgrade(slot, &upgrade, &refusal, effects);
        }
        let waiting = Box::new(Waiting { upgrade, user: None, access: None, early: early.to_vec() });
        effects.budget.charge(waiting.bytes());
        self.waiting.insert(slot, waiting);
        if !self.settings.limits.gates_connects() {
            return self.authenticate(slot, effects);
        }
        let session = self.sessions.at(slot);
        let (conn, address) = (session.id(self.core, slot), self.peers.get(slot));
        let core = core_of_address(address, self.settings.cores);
        self.ask_limiter(slot, core, ToLimiter::Connect { conn, address }, effects);
    }

    /// Who is behind a trusted proxy. Where the proxy says nothing that makes sense, nobody is let in under its address:
    /// all its clients would share one.
    fn find_client(&mut self, slot: u32, forwarded: ForwardedFields) -> Result<(), Refusal> {
        let peer = self.peers.get(slot);
        if self.settings.trusted_proxies.contains(peer) {
            let hops = forwarded.hops(self.settings.forwarded_header);
            let client = self.settings.trusted_proxies.client(peer, &hops).map_err(|wrong| {
                let rule = "a proxy in server.trusted_proxies must name its client";
                Refusal::new(400, "bad_request", format!("{wrong}; {rule}"))
            })?;
            self.peers.set(slot, client);
        }
        Ok(())
    }

    /// Whether this server may be asked for by that host.
    pub(super) fn check_host(&self, host: Option<&str>) -> Result<(), Refusal> {
        match host.filter(|host| !self.settings.allowed_hosts.allow(host)) {
            None => Ok(()),
            Some(host) => Err(refusal(403, ErrorCode::Forbidden, &AllowedHosts::refusal(host), None)),
        }
    }

    /// What this core can tell by itself.
    fn check_here(&self, upgrade: &Upgrade, effects: &HomeEffects<'_>) -> Result<(), Refusal> {
        if self.draining && !self.hands_over() {
            return Err(refusal(503, ErrorCode::Unavailable, "the server is draining", Some(1)));
        }
        if self.is_at_capacity() {
            return Err(at_capacity(AT_CAPACITY));
        }
        if effects.budget.is_tight() {
            return Err(at_capacity("the server is out of its memory budget"));
        }
        // First: a page that was led here by another name has the origin of that name.
        self.check_host(upgrade.host.as_deref())?;
        if let Some(origin) = &upgrade.origin
            && !origin_allowed(origin, upgrade.host.as_deref(), &self.settings.allowed_origins)
        {
            let rule = "it is neither the request's host nor in auth.allowed_origins";
            let words = format!("origin {} is not allowed: {rule}", quoted(origin.as_bytes()));
            return Err(refusal(403, ErrorCode::Forbidden, &words, None));
        }
        Ok(())
    }

    /// Whether there is no place now: asked first, so that a full server does not count or verify whom it refuses.
    fn is_at_capacity(&self) -> bool {
        self.open >= self.settings.max_connections_per_core || self.places.taken() >= self.settings.max_connections
    }

    fn ask_limiter(&mut self, slot: u32, core: CoreId, question: ToLimiter, effects: &mut HomeEffects<'_>) {
        // A connection that has just ended is counted no more before this one is judged.
        if self.is_way_full_for_upgrades(core, effects) {
            let why = "too much waits for another core";
            return self.turn_away(slot, &at_capacity(why), effects);
        }
        effects.outbound.post_to_limiter(core, question);
    }

    /// Bytes of a client whose upgrade waits. Whether there is one.
    pub(super) fn receive_early(&mut self, slot: u32, bytes: &[u8], effects: &mut HomeEffects<'_>) -> bool {
        let Some(waiting) = self.waiting.get_mut(&slot) else { return false };
        waiting.early.extend_from_slice(bytes);
        effects.budget.charge(bytes.len());
        if waiting.early.len() > EARLY_BYTES_MAX {
            let why = "too much was sent before the upgrade was answered";
            let refusal = Refusal::new(400, "bad_request", why);
            self.turn_away(slot, &refusal, effects);
        }
        true
    }

    /// Within the limits of its address and of the server.
    pub(super) fn connect_admitted(&mut self, conn: ConnId, counted: Option<IpAddr>, effects: &mut HomeEffects<'_>) {
        if self.is_waiting(conn) {
            if counted.is_some() {
                self.sessions.at_mut(conn.slot).marks.set(Marks::COUNTED_ADDRESS);
            }
            self.authenticate(conn.slot, effects);
        } else if let Some(address) = counted {
            self.tell_uncounted(Counted::Address(address), effects);
        }
    }

    /// Who it is, and whether that user may have another connection.
    pub(super) fn authenticate(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let Some(mut waiting) = self.waiting.remove(&slot) else { return };
        let identity = self.identify(slot, &waiting.upgrade, effects);
        let user = match (&identity, &waiting.upgrade.user) {
            // Whom the query names is of no account then.
            (Ok(Identity::Token(access)), _) => Some(access.user.clone()),
            (Ok(Identity::Open), Some(user)) => Some(UserName::new(user).expect("the handshake has checked it")),
            (Ok(Identity::Open), None) => {
                Some(UserName::new(&format!("guest-{:08x}", self.random.next_u64() as u32)).expect("a valid name"))
            }
            (Ok(Identity::Wait) | Err(_), _) => None,
        };
        waiting.user.clone_from(&user);
        waiting.access = if let Ok(Identity::Token(access)) = &identity { Some(access.clone()) } else { None };
        self.waiting.insert(slot, waiting);
        if let Err(refusal) = identity {
            return self.turn_away(slot, &refusal, effects);
        }
        let Some(user) = user else { return };
        if self.settings.limits.connections_per_user == 0 {
            return self.let_in(slot, effects);
        }
        let conn = self.sessions.at(slot).id(self.core, slot);
        let core = core_of_user(&user, self.settings.cores);
        self.ask_limiter(slot, core, ToLimiter::Register { conn, user }, effects);
    }

    /// Its user may have it.
    pub(super) fn user_admitted(&mut self, conn: ConnId, user: UserName, effects: &mut HomeEffects<'_>) {
        if self.is_waiting(conn) {
            self.sessions.at_mut(conn.slot).marks.set(Marks::COUNTED_USER);
            self.let_in(conn.slot, effects);
        } else {
            self.tell_uncounted(Counted::User(user), effects);
        }
    }

    /// The last step, and the one that counts: it takes a place among the connections of the process. An upgrade that
    /// still waits holds none, so whoever is never let in keeps nobody out.
    fn let_in(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        // Others may have come while it waited, here or on another core.
        let has_slot = self.open < self.settings.max_connections_per_core;
        if !has_slot || !self.places.try_take(self.settings.max_connections) {
            return self.turn_away(slot, &at_capacity(AT_CAPACITY), effects);
        }
        let waiting = self.waiting.remove(&slot).expect("the caller has seen it");
        table::shrink(&mut self.waiting);
        effects.budget.release(waiting.bytes());
        let Waiting { upgrade, user, access, mut early } = *waiting;
        let user = user.expect("established before");
        self.open(slot, &upgrade, user, access, effects);
        self.count_late(slot, effects);
        if self.sessions.at(slot).phase == Phase::Open && !early.is_empty() {
            self.receive_messages(slot, &mut early, effects);
        }
        let session = self.sessions.at(slot);
        if session.phase == Phase::Open && session.marks.has(Marks::HALF_CLOSED) {
            self.end_half_closed(slot, effects);
        }
    }

    /// Over a limit.
    pub(super) fn connect_refused(&mut self, conn: ConnId, why: ConnectRefusal, effects: &mut HomeEffects<'_>) {
        if !self.is_waiting(conn) {
            return;
        }
        effects.counters.refused_limit.add(1);
        self.turn_away(conn.slot, &connect_refusal(why), effects);
    }

    fn turn_away(&mut self, slot: u32, refusal: &Refusal, effects: &mut HomeEffects<'_>) {
        let upgrade = self.stop_waiting(slot, effects).expect("only an upgrade that waits is turned away");
        self.refuse_upgrade(slot, &upgrade, refusal, effects);
    }

    pub(super) fn is_waiting(&self, conn: ConnId) -> bool {
        let session = self.sessions.get(conn.slot);
        session.is_some_and(|session| session.generation == conn.generation) && self.waiting.contains_key(&conn.slot)
    }

    /// The upgrade of a slot waits no longer, whatever becomes of it. Gives it back if there was one.
    pub(super) fn stop_waiting(&mut self, slot: u32, effects: &mut HomeEffects<'_>) -> Option<Box<Upgrade>> {
        let waiting = self.waiting.remove(&slot)?;
        table::shrink(&mut self.waiting);
        effects.budget.release(waiting.bytes());
        self.forget_counted(slot, waiting.user, effects);
        Some(waiting.upgrade)
    }

    /// Tells where a connection was counted that it is no more.
    pub(super) fn forget_counted(&mut self, slot: u32, user: Option<UserName>, effects: &mut HomeEffects<'_>) {
        let address = self.peers.get(slot);
        if self.sessions.at_mut(slot).marks.take(Marks::COUNTED_ADDRESS) {
            self.tell_uncounted(Counted::Address(address), effects);
        }
        if self.sessions.at_mut(slot).marks.take(Marks::COUNTED_USER) {
            let user = user.expect("established before it was counted");
            self.tell_uncounted(Counted::User(user), effects);
        }
    }
}

fn connect_refusal(why: ConnectRefusal) -> Refusal {
    let (code, why, retry_after_ms) = match why {
        ConnectRefusal::ServerRate { retry_after_ms } => {
            (ErrorCode::RateLimited, "the server takes no more connections at the moment", retry_after_ms)
        }
        ConnectRefusal::AddressRate { retry_after_ms } => {
            (ErrorCode::RateLimited, "this address connects too often", retry_after_ms)
        }
        ConnectRefusal::AddressConnections => {
            (ErrorCode::LimitExceeded, "this address has as many connections as it may", 1_000)
        }
        ConnectRefusal::UserConnections => {
            (ErrorCode::LimitExceeded, "this user has as many connections as one may", 1_000)
        }
    };
    let retry_after_s = u32::try_from(retry_after_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
    refusal(429, code, why, Some(retry_after_s))
}

fn at_capacity(why: &str) -> Refusal {
    refusal(503, ErrorCode::Overloaded, why, Some(RETRY_AFTER_S))
}

fn refusal(status: u16, error: ErrorCode, message: &str, retry_after_s: Option<u32>) -> Refusal {
    Refusal { status, error: error.as_str(), message: message.to_owned(), retry_after_s }
}
