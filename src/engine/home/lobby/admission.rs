//! Whether an upgrade is let in: what this core knows by itself, then what is counted for its address, for the server and
//! for its user, on whichever cores those are counted. An upgrade waits here for the answers, its slot still in the
//! phase of its head and under its time limit. Counts nothing itself.

use std::net::IpAddr;

use super::greeting::Credentials;
use super::identity::Applicant;
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::limits::EARLY_BYTES_MAX;
use crate::engine::access::Access;
use crate::engine::home::late::Counted;
use crate::engine::home::verification::KeyWait;
use crate::engine::home::{Home, HomeEffects};
use crate::engine::hop::{ConnectRefusal, Hop, ToLimiter, ToUser};
use crate::engine::hosts::AllowedHosts;
use crate::engine::limiter::core_of_address;
use crate::engine::session::{Marks, Phase};
use crate::engine::user::core_of_user;
use crate::wire::dialect::Identifies;
use crate::wire::handshake::{ForwardedFields, Refusal, Upgrade, origin_allowed, quoted};

/// An upgrade that waits to be let in.
#[derive(Debug)]
pub(super) struct PendingUpgrade {
    upgrade: Box<Upgrade>,
    /// Its user, once established.
    user: Option<UserName>,
    /// What its token gives it, likewise; `None` where no token is asked for.
    access: Option<Box<Access>>,
    /// Bytes of the client behind its request head.
    early: Vec<u8>,
    /// Bytes that have arrived of its first message, while the client has yet to identify itself by that.
    pub(super) greeting_bytes: Option<usize>,
}

impl PendingUpgrade {
    /// Bytes for the budget.
    pub(super) fn bytes(&self) -> usize {
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
        if let Err(refusal) = self.check_room(effects).and_then(|()| self.check_site(&upgrade)) {
            return self.refuse_upgrade(slot, &upgrade, &refusal, effects);
        }
        if let Some(&retry_after_ms) = self.lobby.over_rate.get(&slot) {
            effects.counters.refused_limit.add(1);
            let refusal = connect_refusal(ConnectRefusal::AddressRate { retry_after_ms });
            return self.refuse_upgrade(slot, &upgrade, &refusal, effects);
        }
        let early = early.to_vec();
        let pending = PendingUpgrade { upgrade, user: None, access: None, early, greeting_bytes: None };
        self.lobby.put(slot, Box::new(pending), effects.budget);
        if !self.settings.limits.gates_connects() {
            return self.go_on(slot, effects);
        }
        let session = self.sessions.at(slot);
        let (conn, address) = (session.id(self.core, slot), self.slots.address(slot));
        let core = core_of_address(address, self.settings.cores);
        self.ask_about(slot, core, Hop::ToLimiter(ToLimiter::Connect { conn, address }), effects);
    }

    /// Who is behind a trusted proxy. Where the proxy says nothing that makes sense, nobody is let in under its address:
    /// all its clients would share one.
    fn find_client(&mut self, slot: u32, forwarded: ForwardedFields) -> Result<(), Refusal> {
        let peer = self.slots.address(slot);
        if self.settings.trusted_proxies.contains(peer) {
            let hops = forwarded.hops(self.settings.forwarded_header);
            let client = self.settings.trusted_proxies.client(peer, &hops).map_err(|wrong| {
                let rule = "a proxy in server.trusted_proxies must name its client";
                Refusal::new(400, "bad_request", format!("{wrong}; {rule}"))
            })?;
            self.slots.set_address(slot, client);
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

    /// Whether there is room for another connection now.
    fn check_room(&self, effects: &HomeEffects<'_>) -> Result<(), Refusal> {
        if self.is_draining() && !self.hands_over() {
            return Err(refusal(503, ErrorCode::Unavailable, "the server is draining", Some(1)));
        }
        // First, so that a full server does not count or verify clients that it refuses.
        if self.slots.is_full(&self.settings) {
            return Err(at_capacity(AT_CAPACITY));
        }
        if effects.budget.is_tight() {
            return Err(at_capacity("the server is out of its memory budget"));
        }
        Ok(())
    }

    /// Whether this server may be asked for by that host and from that origin.
    fn check_site(&self, upgrade: &Upgrade) -> Result<(), Refusal> {
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

    /// Asks a core about an upgrade, or refuses it.
    fn ask_about(&mut self, slot: u32, core: CoreId, question: Hop, effects: &mut HomeEffects<'_>) {
        // A connection that has just ended is counted no more before this one is judged.
        if self.is_way_full_for_upgrades(core, effects) {
            let why = "too much waits for another core";
            return self.turn_away(slot, &at_capacity(why), effects);
        }
        effects.outbound.post(core, question);
    }

    /// Bytes of a client whose upgrade waits. Whether there is one.
    pub(super) fn receive_early(&mut self, slot: u32, bytes: &[u8], effects: &mut HomeEffects<'_>) -> bool {
        let Some(pending) = self.lobby.pending.get_mut(&slot) else { return false };
        pending.early.extend_from_slice(bytes);
        effects.budget.charge(bytes.len());
        if pending.early.len() > EARLY_BYTES_MAX {
            let why = "too much was sent before the connection was let in";
            let refusal = Refusal::new(400, "bad_request", why);
            self.turn_away(slot, &refusal, effects);
        }
        true
    }

    /// Within the limits of its address and of the server.
    pub(in crate::engine::home) fn connect_admitted(
        &mut self,
        conn: ConnId,
        counted: Option<IpAddr>,
        effects: &mut HomeEffects<'_>,
    ) {
        if self.is_waiting(conn) {
            if counted.is_some() {
                self.sessions.at_mut(conn.slot).marks.set(Marks::COUNTED_ADDRESS);
            }
            self.go_on(conn.slot, effects);
        } else if let Some(address) = counted {
            self.tell_uncounted(Counted::Address(address), effects);
        }
    }

    /// The checks that need no user are passed.
    fn go_on(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let pending = self.lobby.pending.get(&slot).expect("the caller has seen it");
        match self.dialect_of(&pending.upgrade).identifies {
            Identifies::ByUpgrade => self.authenticate(slot, None, effects),
            Identifies::ByMessage => self.greet(slot, effects),
        }
    }

    /// Upgrades a connection whose user is to be told by its first message.
    fn greet(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let Some(mut pending) = self.lobby.take(slot, effects.budget) else { return };
        let mut early = std::mem::take(&mut pending.early);
        self.accept(slot, &pending.upgrade, effects);
        self.lobby.put(slot, pending, effects.budget);
        self.await_greeting(slot, &mut early, effects);
    }

    /// A connection has identified itself by its first message.
    pub(super) fn greeted(&mut self, slot: u32, credentials: Credentials, effects: &mut HomeEffects<'_>) {
        let Some(mut pending) = self.lobby.take(slot, effects.budget) else { return };
        pending.greeting_bytes = None;
        let Credentials { token, user } = credentials;
        let Upgrade { token: token_before, user: user_before, .. } = &mut *pending.upgrade;
        *token_before = token.or(token_before.take());
        *user_before = user.or(user_before.take());
        self.lobby.put(slot, pending, effects.budget);
        match self.check_room(effects) {
            Ok(()) => self.authenticate(slot, None, effects),
            Err(refusal) => self.turn_away(slot, &refusal, effects),
        }
    }

    /// Who it is, and whether that user may have another connection.
    pub(in crate::engine::home) fn authenticate(
        &mut self,
        slot: u32,
        waited: Option<KeyWait>,
        effects: &mut HomeEffects<'_>,
    ) {
        let Some(mut pending) = self.lobby.pending.remove(&slot) else { return };
        let identity = self.identify(slot, &pending.upgrade, waited, effects);
        let user = match (&identity, &pending.upgrade.user) {
            // Whom the query names is of no account then.
            (Ok(Applicant::TokenHolder(access)), _) => Some(access.user.clone()),
            (Ok(Applicant::Anyone), Some(user)) => Some(UserName::new(user).expect("the handshake has checked it")),
            (Ok(Applicant::Anyone), None) => {
                Some(UserName::new(&format!("guest-{:08x}", self.random.next_u64() as u32)).expect("a valid name"))
            }
            (Ok(Applicant::Undecided) | Err(_), _) => None,
        };
        pending.user.clone_from(&user);
        pending.access = if let Ok(Applicant::TokenHolder(access)) = &identity { Some(access.clone()) } else { None };
        self.lobby.pending.insert(slot, pending);
        if let Err(refusal) = identity {
            return self.turn_away(slot, &refusal, effects);
        }
        let Some(user) = user else { return };
        if self.settings.limits.connections_per_user == 0 {
            return self.let_in(slot, effects);
        }
        let conn = self.sessions.at(slot).id(self.core, slot);
        let core = core_of_user(&user, self.settings.cores);
        self.ask_about(slot, core, Hop::ToUser(ToUser::Register { conn, user }), effects);
    }

    /// Its user may have it.
    pub(in crate::engine::home) fn user_admitted(
        &mut self,
        conn: ConnId,
        user: UserName,
        effects: &mut HomeEffects<'_>,
    ) {
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
        if !self.slots.try_take_place(&self.settings) {
            return self.turn_away(slot, &at_capacity(AT_CAPACITY), effects);
        }
        let pending = self.lobby.take(slot, effects.budget).expect("the caller has seen it");
        let PendingUpgrade { upgrade, user, access, mut early, .. } = *pending;
        let user = user.expect("established before");
        if self.sessions.at(slot).phase == Phase::Head {
            self.accept(slot, &upgrade, effects);
        }
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
    pub(in crate::engine::home) fn connect_refused(
        &mut self,
        conn: ConnId,
        why: ConnectRefusal,
        effects: &mut HomeEffects<'_>,
    ) {
        if !self.is_waiting(conn) {
            return;
        }
        effects.counters.refused_limit.add(1);
        self.turn_away(conn.slot, &connect_refusal(why), effects);
    }

    pub(super) fn turn_away(&mut self, slot: u32, refusal: &Refusal, effects: &mut HomeEffects<'_>) {
        let upgrade = self.stop_waiting(slot, effects).expect("only an upgrade that waits is turned away");
        self.refuse_upgrade(slot, &upgrade, refusal, effects);
    }

    pub(super) fn is_waiting(&self, conn: ConnId) -> bool {
        let session = self.sessions.get(conn.slot);
        session.is_some_and(|session| session.generation == conn.generation) && self.lobby.is_pending(conn.slot)
    }

    /// The upgrade of a slot waits no longer, whatever becomes of it. Gives it back if there was one.
    pub(in crate::engine::home) fn stop_waiting(
        &mut self,
        slot: u32,
        effects: &mut HomeEffects<'_>,
    ) -> Option<Box<Upgrade>> {
        let pending = self.lobby.take(slot, effects.budget)?;
        self.forget_counted(slot, pending.user, effects);
        if self.sessions.at(slot).phase == Phase::Greeting {
            self.paces.forget(slot);
        }
        Some(pending.upgrade)
    }

    /// Tells where a connection was counted that it is no more.
    pub(in crate::engine::home) fn forget_counted(
        &mut self,
        slot: u32,
        user: Option<UserName>,
        effects: &mut HomeEffects<'_>,
    ) {
        let address = self.slots.address(slot);
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
