//! Counts for addresses and for the whole server, whose connections are on several cores. Each address is counted on
//! the core that it hashes to, and the server on core 0, so counts are exact without a lock. Homes ask by hops; the
//! home on the same core asks directly. Never counts users ([`crate::engine::user`]).

mod attempts;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use self::attempts::Attempts;
use crate::base::ids::{ConnId, CoreId};
use crate::base::limits::{LIMITER_ENTRY_BYTES, LIMITER_LOOKS_PER_TICK_MAX, SOCKETS_PER_CONNECT};
use crate::base::time::Now;
use crate::engine::budget::Budget;
use crate::engine::hop::{ConnectRefusal, ToHome, ToLimiter, TooOften};
use crate::engine::outbound::Outbound;
use crate::engine::placement::core_of;
use crate::engine::random::{NameHashing, Part, Secrets};
use crate::engine::rates::{Bucket, DueKeys, Rate};
use crate::engine::settings::{Limits, Settings};
use crate::engine::table;

/// The core that counts the upgrades of the whole server.
const SERVER_CORE: CoreId = CoreId(0);

/// The parts of the engine that the limiter acts through, borrowed for one call.
pub struct LimiterEffects<'a> {
    /// The current time.
    pub now: Now,
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// Entries are charged here.
    pub budget: &'a mut Budget,
}

/// The state of one IPv4 address, or of one /64 network of IPv6, which a provider gives to one customer.
#[derive(Debug, Default)]
struct Address {
    connections: u32,
    /// Upgrades.
    connects: Bucket,
    /// Sockets, whatever they request.
    sockets: Bucket,
    /// Refusals sent to sockets over the rate limit.
    answers: Bucket,
    /// Whether the address is in the list of those to look at again.
    is_queued: bool,
}

impl Address {
    /// Whether all its buckets are full.
    fn is_full(&self, now_us: u64) -> bool {
        self.connects.is_full(now_us) && self.sockets.is_full(now_us) && self.answers.is_full(now_us)
    }
}

/// The limiter of one core.
#[derive(Debug)]
pub struct Limiter {
    settings: Arc<Settings>,
    core: CoreId,
    server: Bucket,
    addresses: HashMap<Ipv6Addr, Address, NameHashing>,
    /// Their requests about accounts.
    attempts: Attempts,
    /// Addresses to look at again: their state may be empty.
    due: DueKeys<Ipv6Addr>,
}

/// The core that counts an address, of `cores` cores.
#[must_use]
pub fn core_of_address(address: IpAddr, cores: u16) -> CoreId {
    core_of(&network(address).octets(), cores)
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
    /// No addresses.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, secrets: &Secrets) -> Self {
        let mut tables = secrets.tables(core, Part::Limiter);
        let addresses = HashMap::with_hasher(tables.hashing());
        let attempts = Attempts::new(tables.hashing());
        Self { settings, core, server: Bucket::default(), addresses, attempts, due: DueKeys::default() }
    }

    /// Replaces the settings. Counts are kept ([`Bucket::change_rate`]).
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
            self.due.hasten(now_us + to_rate.map_or(0, |rate| rate.full_ms() * 1_000));
        }
    }

    /// Handles a hop from a home, on this core or another.
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
            ToLimiter::Attempt { conn, address } => {
                let judged = self.attempts.try_take(network(address), effects.now.mono_us, effects.budget);
                let answer = match judged {
                    Ok(()) => ToHome::AttemptAdmitted { conn },
                    Err(retry_after_ms) => ToHome::AttemptRefused { conn, retry_after_ms },
                };
                effects.outbound.post_to_home(conn.home, answer);
            }
            ToLimiter::Count { addresses } => {
                for (address, connections) in addresses {
                    self.address(network(address), effects.now, effects.budget).connections += connections;
                }
            }
        }
    }

    /// Counts a new socket for the connection rate of its address, which allows several sockets per upgrade.
    ///
    /// # Errors
    /// The address is over the limit.
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
        // Staged even if the lane is full: a home has at most one open question per upgrade, and its sockets are
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
            self.due.push(now.mono_us + rate.full_ms() * 1_000, key);
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

    /// Forgets addresses with empty state.
    pub fn tick(&mut self, effects: &mut LimiterEffects<'_>) {
        let now_us = effects.now.mono_us;
        self.attempts.tick(now_us, effects.budget);
        for _ in 0..LIMITER_LOOKS_PER_TICK_MAX {
            let Some(key) = self.due.take_due(now_us) else { break };
            let Some(entry) = self.addresses.get_mut(&key) else { continue };
            let rate = self.settings.limits.connect_rate_per_ip;
            if let Some(rate) = rate.filter(|_| !entry.is_full(now_us)) {
                self.due.push(now_us + rate.full_ms() * 1_000, key);
                continue;
            }
            entry.is_queued = false;
            if entry.connections == 0 {
                self.addresses.remove(&key);
                table::shrink(&mut self.addresses);
                effects.budget.release(LIMITER_ENTRY_BYTES);
            }
        }
    }

    /// When [`Limiter::tick`] is due, monotonic microseconds; `None` while nothing waits for time.
    #[must_use]
    pub fn next_tick_us(&self) -> Option<u64> {
        self.due.first_us().into_iter().chain(self.attempts.next_tick_us()).min()
    }

    /// Number of addresses with state.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.addresses.len() + self.attempts.entries()
    }
}

fn refuse_connect(conn: ConnId, refusal: ConnectRefusal, effects: &mut LimiterEffects<'_>) {
    effects.outbound.post_to_home(conn.home, ToHome::ConnectRefused { conn, refusal });
}

#[cfg(test)]
mod tests;
