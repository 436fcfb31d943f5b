//! What is counted for keys that connections of several cores share: addresses, users, the server as a whole. Each key
//! is counted on the one core that it hashes to, so that the count is exact without a lock. Hears homes by hops and
//! answers them; a home on the same core asks directly for what stands on the message path.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::limits::{LIMITER_ENTRY_BYTES, LIMITER_LOOKS_PER_TICK_MAX, SOCKETS_PER_CONNECT};
use crate::base::time::Now;
use crate::engine::budget::Budget;
use crate::engine::hop::{ConnectRefusal, OpenConnections, ToHome, ToLimiter, ToOwner, TooOften};
use crate::engine::outbound::Outbound;
use crate::engine::placement::core_of;
use crate::engine::random::{NameHashing, Part, Secrets};
use crate::engine::rates::{Bucket, Rate, SlidingWindow};
use crate::engine::settings::{Limits, Settings};
use crate::engine::table;

/// Where upgrades of the whole server are counted.
const SERVER_CORE: CoreId = CoreId(0);

/// What a user is told who publishes more than one may.
pub const USER_TOO_OFTEN: &str = "this user publishes too often";

/// What the limiter acts through: borrowed from the engine for one call.
pub struct LimiterEffects<'a> {
    /// When it is.
    pub now: Now,
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// Entries are charged here.
    pub budget: &'a mut Budget,
}

/// One address, or one /64 network of IPv6: what a provider gives to one customer.
#[derive(Debug, Default)]
struct Address {
    connections: u32,
    /// Upgrades.
    connects: Bucket,
    /// Sockets, whatever they ask for.
    sockets: Bucket,
    /// Answers to those that were over the rate.
    answers: Bucket,
    /// Stands in the queue of those that are looked at again.
    is_queued: bool,
}

impl Address {
    /// Whether nothing needs to be remembered of its rates.
    fn is_full(&self, now_us: u64) -> bool {
        self.connects.is_full(now_us) && self.sockets.is_full(now_us) && self.answers.is_full(now_us)
    }
}

#[derive(Debug, Default)]
struct User {
    connections: u32,
    messages: SlidingWindow,
    /// Bytes charged for the window.
    charged: usize,
    /// Stands in the queue of those that are looked at again.
    is_queued: bool,
}

/// The keys of one core.
#[derive(Debug)]
pub struct Limiter {
    settings: Arc<Settings>,
    core: CoreId,
    server: Bucket,
    addresses: HashMap<Ipv6Addr, Address, NameHashing>,
    users: HashMap<UserName, User, NameHashing>,
    /// When an address is looked at again, monotonic microseconds: it may have nothing left to be remembered for.
    addresses_due: VecDeque<(u64, Ipv6Addr)>,
    /// The same of users.
    users_due: VecDeque<(u64, UserName)>,
}

/// Where an address is counted among `cores` cores.
#[must_use]
pub fn core_of_address(address: IpAddr, cores: u16) -> CoreId {
    core_of(&network(address).octets(), cores)
}

/// Where a user is counted among `cores` cores.
#[must_use]
pub fn core_of_user(user: &UserName, cores: u16) -> CoreId {
    core_of(user.as_bytes(), cores)
}

/// What is counted as one address: an IPv4 address, or the /64 network of an IPv6 one.
#[must_use]
pub fn network(address: IpAddr) -> Ipv6Addr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)),
    }
}

impl Limiter {
    /// Nothing counted.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, secrets: &Secrets) -> Self {
        let mut keys = secrets.tables(core, Part::Limiter);
        Self {
            settings,
            core,
            server: Bucket::default(),
            addresses: HashMap::with_hasher(keys.hashing()),
            users: HashMap::with_hasher(keys.hashing()),
            addresses_due: VecDeque::new(),
            users_due: VecDeque::new(),
        }
    }

    /// Other settings hold from now on; what has been counted stays ([`Bucket::change_rate`]).
    pub fn set_settings(&mut self, now: Now, settings: Arc<Settings>) {
        let now_us = now.mono_us;
        let before = std::mem::replace(&mut self.settings, settings);
        let (from, to) = (&before.limits, &self.settings.limits);
        self.server.change_rate(from.connect_rate, to.connect_rate, now_us);
        let (from_rate, to_rate) = (from.connect_rate_per_ip, to.connect_rate_per_ip);
        if from_rate != to_rate {
            for entry in self.addresses.values_mut() {
                entry.connects.change_rate(from_rate, to_rate, now_us);
                let of_sockets = |rate: Option<Rate>| rate.map(|rate| rate.times(SOCKETS_PER_CONNECT));
                entry.sockets.change_rate(of_sockets(from_rate), of_sockets(to_rate), now_us);
                entry.answers.change_rate(from_rate, to_rate, now_us);
            }
            look_by(&mut self.addresses_due, now_us + to_rate.map_or(0, |rate| rate.full_ms() * 1_000));
        }
        if from.message_rate_per_user != to.message_rate_per_user {
            look_by(&mut self.users_due, now_us + to.message_rate_per_user.map_or(0, |rate| rate.per_ms * 1_000));
        }
    }

    /// A hop from a home (this core's own included).
    pub fn handle_hop(&mut self, hop: ToLimiter, effects: &mut LimiterEffects<'_>) {
        match hop {
            ToLimiter::Connected { conn, address } => {
                if let Err(too_often) = self.try_connect(address, effects.now, effects.budget) {
                    effects.outbound.post_to_home(conn.home, ToHome::TooOften { conn, too_often });
                }
            }
            ToLimiter::Connect { conn, address } => self.connect(conn, address, effects),
            ToLimiter::ConnectServer { conn, address, counted } => {
                self.connect_server(conn, address, counted, effects);
            }
            ToLimiter::ForgetAddress { address } => self.forget_address(address, effects),
            ToLimiter::ChargeAddress { address, upgrades } => self.charge_address(address, upgrades, effects),
            ToLimiter::Register { conn, user } => self.register(conn, user, effects),
            ToLimiter::ForgetUser { user } => self.forget_user(&user, effects),
            ToLimiter::Count { open } => self.count(*open, effects),
            ToLimiter::Pass { hop } => self.pass(hop, effects),
        }
    }

    /// Counts connections that were let in before they were limited, whatever the limit is.
    fn count(&mut self, open: OpenConnections, effects: &mut LimiterEffects<'_>) {
        for (address, connections) in open.addresses {
            self.address(network(address), effects.now, effects.budget).connections += connections;
        }
        for (user, connections) in open.users {
            self.user(user, effects.budget).connections += connections;
        }
    }

    /// Counts a socket, when it comes, for the rate of an address that is counted here: it may open several for each
    /// upgrade.
    ///
    /// # Errors
    /// It is over the rate.
    pub fn try_connect(&mut self, address: IpAddr, now: Now, budget: &mut Budget) -> Result<(), TooOften> {
        let Some(rate) = self.settings.limits.connect_rate_per_ip else { return Ok(()) };
        let entry = self.address(network(address), now, budget);
        entry.sockets.try_take(rate.times(SOCKETS_PER_CONNECT), now.mono_us).map_err(|retry_after_ms| {
            let is_answered = entry.answers.try_take(rate, now.mono_us).is_ok();
            TooOften { retry_after_ms, is_answered }
        })
    }

    fn connect(&mut self, conn: ConnId, address: IpAddr, effects: &mut LimiterEffects<'_>) {
        let Limits { connect_rate, connect_rate_per_ip, connections_per_ip, .. } = self.settings.limits;
        let counted = connections_per_ip > 0;
        if counted || connect_rate_per_ip.is_some() {
            let entry = self.address(network(address), effects.now, effects.budget);
            if let Some(rate) = connect_rate_per_ip
                && let Err(retry_after_ms) = entry.connects.try_take(rate, effects.now.mono_us)
            {
                let refusal = ConnectRefusal::AddressRate { retry_after_ms };
                return refuse_connect(conn, refusal, effects);
            }
            if counted {
                if entry.connections >= connections_per_ip {
                    return refuse_connect(conn, ConnectRefusal::AddressConnections, effects);
                }
                entry.connections += 1;
            }
        }
        if connect_rate.is_none() {
            let counted = counted.then_some(address);
            return effects.outbound.post_to_home(conn.home, ToHome::ConnectAdmitted { conn, counted });
        }
        // Staged whether the lane is full or not: the home has one question for each upgrade out, and its sockets are
        // bounded.
        effects.outbound.post_to_limiter(SERVER_CORE, ToLimiter::ConnectServer { conn, address, counted });
    }

    fn connect_server(&mut self, conn: ConnId, address: IpAddr, counted: bool, effects: &mut LimiterEffects<'_>) {
        debug_assert_eq!(self.core, SERVER_CORE);
        if let Some(rate) = self.settings.limits.connect_rate
            && let Err(retry_after_ms) = self.server.try_take(rate, effects.now.mono_us)
        {
            if counted {
                let core = core_of_address(address, self.settings.cores);
                effects.outbound.post_to_limiter(core, ToLimiter::ForgetAddress { address });
            }
            return refuse_connect(conn, ConnectRefusal::ServerRate { retry_after_ms }, effects);
        }
        let counted = counted.then_some(address);
        effects.outbound.post_to_home(conn.home, ToHome::ConnectAdmitted { conn, counted });
    }

    fn address(&mut self, key: Ipv6Addr, now: Now, budget: &mut Budget) -> &mut Address {
        let rate = self.settings.limits.connect_rate_per_ip;
        let entry = self.addresses.entry(key).or_insert_with(|| {
            budget.charge(LIMITER_ENTRY_BYTES);
            Address::default()
        });
        if let Some(rate) = rate
            && !std::mem::replace(&mut entry.is_queued, true)
        {
            self.addresses_due.push_back((now.mono_us + rate.full_ms() * 1_000, key));
        }
        entry
    }

    fn forget_address(&mut self, address: IpAddr, effects: &mut LimiterEffects<'_>) {
        let key = network(address);
        let Some(entry) = self.addresses.get_mut(&key) else {
            debug_assert!(false, "a counted address has an entry");
            return;
        };
        entry.connections -= 1;
        if entry.connections == 0 && !entry.is_queued {
            self.addresses.remove(&key);
            table::shrink(&mut self.addresses);
            effects.budget.release(LIMITER_ENTRY_BYTES);
        }
    }

    fn charge_address(&mut self, address: IpAddr, upgrades: u32, effects: &mut LimiterEffects<'_>) {
        if let Some(rate) = self.settings.limits.connect_rate_per_ip {
            let entry = self.address(network(address), effects.now, effects.budget);
            entry.connects.charge(rate, upgrades, effects.now.mono_us);
        }
    }

    fn register(&mut self, conn: ConnId, user: UserName, effects: &mut LimiterEffects<'_>) {
        let max = self.settings.limits.connections_per_user;
        let connections = self.users.get(&user).map_or(0, |user| user.connections);
        if max > 0 && connections >= max {
            return refuse_connect(conn, ConnectRefusal::UserConnections, effects);
        }
        self.user(user.clone(), effects.budget).connections += 1;
        effects.outbound.post_to_home(conn.home, ToHome::UserAdmitted { conn, user });
    }

    fn user(&mut self, user: UserName, budget: &mut Budget) -> &mut User {
        self.users.entry(user).or_insert_with(|| {
            budget.charge(LIMITER_ENTRY_BYTES);
            User::default()
        })
    }

    fn forget_user(&mut self, user: &UserName, effects: &mut LimiterEffects<'_>) {
        let Some(entry) = self.users.get_mut(user) else {
            debug_assert!(false, "a counted user has an entry");
            return;
        };
        entry.connections -= 1;
        if entry.connections == 0 && !entry.is_queued {
            self.users.remove(user);
            table::shrink(&mut self.users);
            effects.budget.release(LIMITER_ENTRY_BYTES);
        }
    }

    /// Counts a publish of a user who is counted here.
    ///
    /// # Errors
    /// The user has published as often as one may: when to try again, milliseconds.
    pub fn try_publish(&mut self, user: &UserName, now: Now, budget: &mut Budget) -> Result<(), u64> {
        let Some(rate) = self.settings.limits.message_rate_per_user else { return Ok(()) };
        if !self.users.contains_key(user) {
            self.user(user.clone(), budget);
        }
        let entry = self.users.get_mut(user).expect("made if it was not there");
        let taken = entry.messages.try_take(rate, now.mono_us);
        let bytes = entry.messages.bytes();
        budget.charge(bytes);
        budget.release(std::mem::replace(&mut entry.charged, bytes));
        if !std::mem::replace(&mut entry.is_queued, true) {
            self.users_due.push_back((now.mono_us + rate.per_ms * 1_000, user.clone()));
        }
        taken
    }

    fn pass(&mut self, hop: Box<ToOwner>, effects: &mut LimiterEffects<'_>) {
        let conn = hop.conn();
        let answer = match &*hop {
            ToOwner::Publish { room, member, reply, .. } => {
                match self.try_publish(&member.user, effects.now, effects.budget) {
                    Ok(()) => ToHome::Passed { hop },
                    Err(retry_after_ms) => ToHome::Refused {
                        room: room.clone(),
                        conn,
                        unjoin: false,
                        code: ErrorCode::RateLimited,
                        message: USER_TOO_OFTEN,
                        retry_after_ms: Some(retry_after_ms),
                        reply: *reply,
                    },
                }
            }
            _ => ToHome::Passed { hop },
        };
        effects.outbound.post_to_home(conn.home, answer);
    }

    /// Forgets whoever has nothing left to be remembered for.
    pub fn tick(&mut self, effects: &mut LimiterEffects<'_>) {
        let now_us = effects.now.mono_us;
        for _ in 0..LIMITER_LOOKS_PER_TICK_MAX {
            let due = self.addresses_due.pop_front_if(|(due_us, _)| *due_us <= now_us);
            let Some((_, key)) = due else { break };
            let Some(entry) = self.addresses.get_mut(&key) else { continue };
            let rate = self.settings.limits.connect_rate_per_ip;
            if let Some(rate) = rate.filter(|_| !entry.is_full(now_us)) {
                self.addresses_due.push_back((now_us + rate.full_ms() * 1_000, key));
                continue;
            }
            entry.is_queued = false;
            if entry.connections == 0 {
                self.addresses.remove(&key);
                table::shrink(&mut self.addresses);
                effects.budget.release(LIMITER_ENTRY_BYTES);
            }
        }
        for _ in 0..LIMITER_LOOKS_PER_TICK_MAX {
            let due = self.users_due.pop_front_if(|(due_us, _)| *due_us <= now_us);
            let Some((_, user)) = due else { break };
            let Some(entry) = self.users.get_mut(&user) else { continue };
            let rate = self.settings.limits.message_rate_per_user;
            if let Some(rate) = rate.filter(|rate| !entry.messages.forget(*rate, now_us)) {
                self.users_due.push_back((now_us + rate.per_ms * 1_000, user));
                continue;
            }
            entry.is_queued = false;
            entry.messages = SlidingWindow::default();
            effects.budget.release(std::mem::take(&mut entry.charged));
            if entry.connections == 0 {
                self.users.remove(&user);
                table::shrink(&mut self.users);
                effects.budget.release(LIMITER_ENTRY_BYTES);
            }
        }
    }

    /// When [`Limiter::tick`] is wanted next, monotonic microseconds; `None` while nothing waits for time.
    #[must_use]
    pub fn next_tick_us(&self) -> Option<u64> {
        let address = self.addresses_due.front().map(|(due_us, _)| *due_us);
        let user = self.users_due.front().map(|(due_us, _)| *due_us);
        [address, user].into_iter().flatten().min()
    }

    /// Addresses and users that are remembered.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.addresses.len() + self.users.len()
    }
}

/// Nothing in the queue waits longer than until `due_us`, where what is queued from now on stands: a queue is in the order
/// of its times.
fn look_by<T>(queue: &mut VecDeque<(u64, T)>, due_us: u64) {
    for (queued_us, _) in queue {
        *queued_us = due_us.min(*queued_us);
    }
}

fn refuse_connect(conn: ConnId, refusal: ConnectRefusal, effects: &mut LimiterEffects<'_>) {
    effects.outbound.post_to_home(conn.home, ToHome::ConnectRefused { conn, refusal });
}

#[cfg(test)]
mod tests;
