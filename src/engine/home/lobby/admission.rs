//! Lets upgrades in: first the checks of this core, then the limits of the client's address, of the server and of the user,
//! which may be counted on other cores. An upgrade waits here for their answers, still under the time limit of its request
//! head. Never counts anything itself.

use std::net::IpAddr;

use super::checks::{AT_CAPACITY, at_capacity, connect_refusal};
use super::greeting::Credentials;
use super::identity::Applicant;
use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::limits::EARLY_BYTES_MAX;
use crate::engine::home::state::late::Counted;
use crate::engine::home::state::lobby::PendingUpgrade;
use crate::engine::home::state::verification::KeyWait;
use crate::engine::home::{Home, HomeEffects};
use crate::engine::hop::{ConnectRefusal, Hop, ToLimiter, ToUser};
use crate::engine::limiter::core_of_address;
use crate::engine::session::{Marks, Phase};
use crate::engine::user::core_of_user;
use crate::wire::dialect::Identifies;
use crate::wire::handshake::{HttpRefusal, Upgrade};

impl Home {
    /// A client asks for an upgrade; `early` has arrived after its head.
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

    /// Asks a core about an upgrade, or refuses the upgrade.
    fn ask_about(&mut self, slot: u32, core: CoreId, question: Hop, effects: &mut HomeEffects<'_>) {
        // Connections that have just ended must be uncounted before this one is judged.
        if self.is_way_full_for_upgrades(core, effects) {
            return self.turn_away(slot, &at_capacity("the queue to another core is full"), effects);
        }
        effects.outbound.post(core, question);
    }

    /// Keeps bytes of a client whose upgrade waits. Returns whether one waits.
    pub(super) fn receive_early(&mut self, slot: u32, bytes: &[u8], effects: &mut HomeEffects<'_>) -> bool {
        let Some(pending) = self.lobby.pending.get_mut(&slot) else { return false };
        pending.early.extend_from_slice(bytes);
        effects.budget.charge(bytes.len());
        if pending.early.len() > EARLY_BYTES_MAX {
            let why = format!("more than {EARLY_BYTES_MAX} bytes were sent before the upgrade was answered");
            self.turn_away(slot, &HttpRefusal::new(400, "bad_request", why), effects);
        }
        true
    }

    /// An upgrade is within the limits of its address and of the server.
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

    /// Goes on with an upgrade that has passed the checks that need no user.
    fn go_on(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let pending = self.lobby.pending.get(&slot).expect("the caller has seen it");
        match self.dialect_of(&pending.upgrade).identifies {
            Identifies::ByUpgrade => self.authenticate(slot, None, effects),
            Identifies::ByMessage => self.greet(slot, effects),
        }
    }

    /// Accepts an upgrade whose client identifies itself by its first message.
    fn greet(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let Some(mut pending) = self.lobby.take(slot, effects.budget) else { return };
        let mut early = std::mem::take(&mut pending.early);
        self.accept(slot, &pending.upgrade, effects);
        self.lobby.put(slot, pending, effects.budget);
        self.await_greeting(slot, &mut early, effects);
    }

    /// A client has identified itself by its first message.
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

    /// Finds out who the client is, then asks whether that user may have another connection. `waited`: the token has waited
    /// for keys.
    pub(in crate::engine::home) fn authenticate(
        &mut self,
        slot: u32,
        waited: Option<KeyWait>,
        effects: &mut HomeEffects<'_>,
    ) {
        let Some(mut pending) = self.lobby.pending.remove(&slot) else { return };
        let applicant = self.identify(slot, &pending.upgrade, waited, effects);
        let user = match (&applicant, &pending.upgrade.user) {
            // The user of the query does not count then.
            (Ok(Applicant::TokenHolder(access)), _) => Some(access.user.clone()),
            (Ok(Applicant::Anyone), Some(user)) => Some(UserName::new(user).expect("checked where it was read")),
            (Ok(Applicant::Anyone), None) => {
                Some(UserName::new(&format!("guest-{:08x}", self.random.next_u64() as u32)).expect("a valid name"))
            }
            (Ok(Applicant::Undecided) | Err(_), _) => None,
        };
        pending.user.clone_from(&user);
        pending.access = if let Ok(Applicant::TokenHolder(access)) = &applicant { Some(access.clone()) } else { None };
        self.lobby.pending.insert(slot, pending);
        if let Err(refusal) = applicant {
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

    /// The user may have another connection.
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

    /// The last step: takes a place among the connections of the process and opens the connection. An upgrade that waits
    /// holds no place, so clients that are never let in keep nobody out.
    fn let_in(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        // Other connections may have opened while it waited, here or on another core.
        if !self.slots.try_take_place(&self.settings) {
            return self.turn_away(slot, &at_capacity(AT_CAPACITY), effects);
        }
        let pending = self.lobby.take(slot, effects.budget).expect("the caller has seen it");
        let PendingUpgrade { upgrade, user, access, mut early, .. } = *pending;
        let user = user.expect("known before");
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

    /// An upgrade is over a limit.
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

    /// Refuses an upgrade that waits.
    pub(super) fn turn_away(&mut self, slot: u32, refusal: &HttpRefusal, effects: &mut HomeEffects<'_>) {
        let upgrade = self.stop_waiting(slot, effects).expect("it waits");
        self.refuse_upgrade(slot, &upgrade, refusal, effects);
    }

    /// Whether the upgrade of this connection waits.
    pub(super) fn is_waiting(&self, conn: ConnId) -> bool {
        let session = self.sessions.get(conn.slot);
        session.is_some_and(|session| session.generation == conn.generation) && self.lobby.is_pending(conn.slot)
    }

    /// Ends the wait of an upgrade and uncounts it; no-op if none waits.
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

    /// Uncounts a connection where it is counted.
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
            let user = user.expect("known before it was counted");
            self.tell_uncounted(Counted::User(user), effects);
        }
    }
}
