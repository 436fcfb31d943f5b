//! Floor 2: one core's whole state, sans-IO and deterministic. Time and randomness are arguments; bytes, hops and
//! events go in, an [`output::Output`] comes out. Never reads a clock, touches a socket or waits.

//! The halves communicate only by hops, on one core or between two: [`home`] holds this core's connections, [`owner`]
//! the rooms and [`user`] the users that hash to this core. [`limiter`] counts for the addresses that hash to this
//! core.

pub mod access;
pub mod account_port;
pub mod asks;
pub mod audience;
pub mod budget;
pub mod call;
pub mod home;
pub mod hop;
pub mod hosts;
pub mod input;
pub mod kept;
#[cfg(test)]
mod kept_model;
pub mod limiter;
pub mod link_port;
#[cfg(test)]
mod machine;
pub mod news;
pub mod outbound;
pub mod outbox;
pub mod output;
pub mod owner;
pub mod packer;
pub mod peers;
pub mod placement;
pub mod random;
pub mod rates;
pub mod record;
pub mod session;
pub mod settings;
pub mod store_port;
pub mod table;
pub mod tokens;
pub mod trace;
pub mod trusted;
pub mod user;

use std::sync::Arc;

use self::budget::Budget;
use self::call::Call;
use self::home::{Home, HomeEffects};
use self::hop::Hop;
use self::input::Input;
use self::limiter::{Limiter, LimiterEffects};
use self::outbound::Outbound;
use self::output::Output;
use self::owner::{Owner, OwnerEffects};
use self::packer::Packer;
use self::random::{Part, Random, Secrets, TableKeys};
use self::settings::Settings;
use self::store_port::StoreEvent;
use self::tokens::TokenPart;
use self::user::{UserEffects, Users};
use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::base::limits::TURN_BYTES_MAX;
use crate::base::places::Places;
use crate::base::time::Now;
use crate::wire::deflate::Inflater;

/// One core's state.
///
/// A turn is: [`Engine::handle`] as often as [`Engine::takes_input`] and [`Engine::takes_hops`] allow, then one
/// [`Engine::finish_turn`]. Then the caller performs the [`Output`] (sends, shutdowns, closes, in this order) and moves
/// the staged hops into the lanes.
#[derive(Debug)]
pub struct Engine {
    home: Home,
    owner: Owner,
    limiter: Limiter,
    users: Users,
    /// This machine's name.
    node: String,
    /// For what rooms draw.
    random: Random,
    /// Keys for the hash tables of rooms.
    tables: TableKeys,
    outbound: Outbound,
    budget: Budget,
    /// Bytes charged for memory held by io.
    io_bytes: usize,
    /// Bytes charged for hops staged for other cores.
    staged_bytes: usize,
    packer: Packer,
    inflater: Inflater,
    counters: Arc<CoreCounters>,
    cores: u16,
    /// Bytes that this turn took from sockets, with their answers, and from other cores likewise.
    taken: Taken,
}

#[derive(Debug, Default)]
struct Taken {
    input: usize,
    hops: usize,
    /// Bytes of answers to connections, until they are added to one of the others.
    said: usize,
}

/// Borrows the parts that the home half acts through.
macro_rules! home_effects {
    ($engine:ident, $now:ident, $output:ident) => {
        &mut HomeEffects {
            now: $now,
            outbound: &mut $engine.outbound,
            limiter: &mut $engine.limiter,
            users: &mut $engine.users,
            budget: &mut $engine.budget,
            packer: &mut $engine.packer,
            inflater: &mut $engine.inflater,
            said_bytes: &mut $engine.taken.said,
            counters: &$engine.counters,
            output: $output,
        }
    };
}

/// Borrows the parts that the owner half acts through.
macro_rules! owner_effects {
    ($engine:ident, $now:ident, $output:ident) => {
        &mut OwnerEffects {
            now: $now,
            node: &$engine.node,
            random: &mut $engine.random,
            tables: &mut $engine.tables,
            outbound: &mut $engine.outbound,
            spans: &mut $output.spans,
            link: &mut $output.link,
            store: &mut $output.store,
            answers: &mut $output.answers,
            counters: &$engine.counters,
            budget: &mut $engine.budget,
            packer: &mut $engine.packer,
        }
    };
}

/// Borrows the parts that the user half acts through.
macro_rules! user_effects {
    ($engine:ident, $now:ident, $output:ident) => {
        &mut UserEffects {
            now: $now,
            outbound: &mut $engine.outbound,
            budget: &mut $engine.budget,
            store: &mut $output.store,
            answers: &mut $output.answers,
        }
    };
}

/// Borrows the parts that the limiter acts through.
macro_rules! limiter_effects {
    ($engine:ident, $now:ident) => {
        &mut LimiterEffects { now: $now, outbound: &mut $engine.outbound, budget: &mut $engine.budget }
    };
}

impl Engine {
    /// An engine without connections or rooms. Every random choice derives from the secrets, which the cores of a
    /// process share: equal secrets and inputs give equal outputs.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        core: CoreId,
        secrets: impl Into<Secrets>,
        counters: Arc<CoreCounters>,
    ) -> Self {
        let secrets = secrets.into();
        let mut tables = secrets.tables(core, Part::Owner);
        counters.memory_budget_bytes.set(settings.memory_budget_bytes);
        Self {
            home: Home::new(settings.clone(), core, &secrets),
            owner: Owner::new(settings.clone(), core, &mut tables),
            limiter: Limiter::new(settings.clone(), core, &secrets),
            users: Users::new(settings.clone(), core, &secrets),
            node: settings.node.clone(),
            random: secrets.shown(core, Part::Owner),
            tables,
            outbound: Outbound::new(core, settings.cores),
            budget: Budget::new(settings.memory_budget_bytes),
            io_bytes: 0,
            staged_bytes: 0,
            packer: Packer::new(settings.compression),
            inflater: Inflater::default(),
            counters,
            cores: settings.cores,
            taken: Taken::default(),
        }
    }

    /// Counts its open WebSockets in `places`, which all engines of the process share. Must be called before the first
    /// input. Without it, an engine has its own count.
    #[must_use]
    pub fn sharing(mut self, places: Arc<Places>) -> Self {
        self.home.share(places);
        self
    }

    /// Whether this turn takes more input from sockets. It stops in time for its output to be sent.
    #[must_use]
    pub const fn takes_input(&self) -> bool {
        self.taken.input < TURN_BYTES_MAX
    }

    /// Whether this turn takes more hops from other cores.
    #[must_use]
    pub const fn takes_hops(&self) -> bool {
        self.taken.hops < TURN_BYTES_MAX
    }

    /// Handles one input.
    pub fn handle(&mut self, now: Now, input: Input<'_>, output: &mut Output) {
        match input {
            Input::Accepted { slot, peer } => self.home.accepted(slot, peer, home_effects!(self, now, output)),
            Input::Peer { slot, peer } => self.home.told_peer(slot, peer, home_effects!(self, now, output)),
            Input::Received { slot, bytes } => {
                self.taken.input += bytes.len();
                self.home.received(slot, bytes, home_effects!(self, now, output));
                self.handle_own(now, output);
                self.taken.input += std::mem::take(&mut self.taken.said);
            }
            Input::Sent { slot } => self.home.sent(slot, home_effects!(self, now, output)),
            Input::Ended { slot } => self.home.ended(slot, home_effects!(self, now, output)),
            Input::Broken { slot } => self.home.broken(slot, home_effects!(self, now, output)),
            Input::Disconnected { slot } => self.home.disconnected(slot, home_effects!(self, now, output)),
            Input::Hops { from: _, hops } => self.handle_hops(now, hops, output),
            Input::Link(event) => self.owner.handle_link(event, owner_effects!(self, now, output)),
            Input::Store(StoreEvent::Answered { token, answer }) if TokenPart::User.gave(token) => {
                self.users.lookups.handle_answered(token, answer, user_effects!(self, now, output));
            }
            Input::Account(event) => self.home.handle_account(event, home_effects!(self, now, output)),
            Input::Store(event) => self.owner.handle_store(event, owner_effects!(self, now, output)),
            Input::Call { token, call } => match call {
                Call::Room { room, from, ask } => {
                    self.owner.handle_call(token, room, from, ask, owner_effects!(self, now, output));
                }
                Call::Rooms { from, limit, order } => {
                    output.answers.push((token, self.owner.list(now, from, limit, order)));
                }
                Call::FindSession { session } => {
                    self.users.find_session(session, token, user_effects!(self, now, output));
                }
                call => {
                    let answer = self.home.handle_call(call, home_effects!(self, now, output));
                    output.answers.push((token, answer));
                }
            },
            Input::Tick => {
                self.home.tick(home_effects!(self, now, output));
                self.handle_own(now, output);
                self.owner.tick(owner_effects!(self, now, output));
                self.limiter.tick(limiter_effects!(self, now));
                self.users.tick(user_effects!(self, now, output));
            }
            Input::Keys(keys) => self.home.set_keys(keys),
            Input::Drain { window_ms, hands_over } => self.home.drain(now, window_ms, hands_over),
            Input::Settings(settings) => self.set_settings(now, &settings, output),
        }
        self.handle_own(now, output);
    }

    /// Handles hops of another core in order. Leaves those that this turn does not take.
    fn handle_hops(&mut self, now: Now, hops: &mut Vec<Hop>, output: &mut Output) {
        let mut all = hops.drain(..);
        let mut left = Vec::new();
        while let Some(hop) = all.next() {
            self.taken.hops += hop.bytes();
            self.handle_hop(now, hop, output);
            self.handle_own(now, output);
            self.taken.hops += std::mem::take(&mut self.taken.said);
            if !self.takes_hops() {
                left.extend(all.by_ref());
            }
        }
        drop(all);
        hops.append(&mut left);
    }

    /// Replaces the settings. Existing connections and memberships stay.
    fn set_settings(&mut self, now: Now, settings: &Arc<Settings>, output: &mut Output) {
        debug_assert_eq!(settings.cores, self.cores, "the number of cores cannot change");
        self.budget.set_max(settings.memory_budget_bytes);
        self.counters.memory_budget_bytes.set(settings.memory_budget_bytes);
        self.limiter.set_settings(now, settings.clone());
        self.users.set_settings(now, settings.clone());
        self.home.set_settings(settings.clone(), home_effects!(self, now, output));
        self.owner.set_settings(settings.clone(), owner_effects!(self, now, output));
    }

    /// Hops to this core itself are handled first: they never wait and never fill a lane. Each answers something that
    /// was admitted, so the loop ends.
    fn handle_own(&mut self, now: Now, output: &mut Output) {
        while let Some(hop) = self.outbound.take_own() {
            self.handle_hop(now, hop, output);
        }
    }

    fn handle_hop(&mut self, now: Now, hop: Hop, output: &mut Output) {
        match hop {
            Hop::ToOwner(hop) => self.owner.handle_hop(hop, owner_effects!(self, now, output)),
            Hop::ToHome(hop) => self.home.handle_hop(hop, home_effects!(self, now, output)),
            Hop::ToLimiter(hop) => self.limiter.handle_hop(hop, limiter_effects!(self, now)),
            Hop::ToUser(hop) => self.users.handle_hop(hop, user_effects!(self, now, output)),
        }
    }

    /// Ends the turn: every connection with queued frames and no send in flight gets one send, up to
    /// `SENDS_PER_TURN_MAX`. Returns whether there are more; then another turn must follow in any case.
    pub fn finish_turn(&mut self, now: Now, output: &mut Output) -> bool {
        let judges = self.home.judge_waited(home_effects!(self, now, output));
        self.home.settle(home_effects!(self, now, output));
        self.handle_own(now, output);
        self.count_staged();
        let more = self.home.flush(home_effects!(self, now, output)) || judges;
        self.taken = Taken::default();
        trace::end_turn(now.mono_us, &mut output.spans);
        self.counters.memory_charged.set(self.budget.used());
        self.counters.turns.add(1);
        more
    }

    /// Charges the bytes that the io floor holds for clients now, in place of those reported before.
    pub fn charge_io(&mut self, bytes: u64) {
        self.budget.release(self.io_bytes);
        self.io_bytes = bytes as usize;
        self.budget.charge(self.io_bytes);
        self.counters.memory_charged.set(self.budget.used());
    }

    /// Takes everything staged for another core in this turn; empty if there is nothing. `empty` becomes the new
    /// buffer.
    pub fn take_staged(&mut self, to: CoreId, empty: Vec<Hop>) -> Vec<Hop> {
        let staged = self.outbound.take_staged(to, empty);
        self.count_staged();
        staged
    }

    /// Returns hops that a full lane did not take: they stay staged, before later ones. Returns an empty vector.
    pub fn put_back(&mut self, to: CoreId, staged: Vec<Hop>) -> Vec<Hop> {
        let empty = self.outbound.put_back(to, staged);
        self.count_staged();
        empty
    }

    /// Bytes staged for another core.
    #[must_use]
    pub fn staged_bytes(&self, to: CoreId) -> usize {
        self.outbound.staged_bytes(to)
    }

    /// Sets the number of bytes of hops in the channel to another core.
    pub fn set_queued_bytes(&mut self, to: CoreId, bytes: usize) {
        self.outbound.set_queued_bytes(to, bytes);
    }

    fn count_staged(&mut self) {
        let (mut hops, mut bytes) = (0, 0);
        for core in (0..self.cores).map(CoreId) {
            hops += self.outbound.staged(core);
            bytes += self.outbound.staged_bytes(core);
        }
        self.counters.lane_depth.set(hops as u64);
        self.budget.charge(bytes);
        self.budget.release(std::mem::replace(&mut self.staged_bytes, bytes));
        self.counters.memory_charged.set(self.budget.used());
    }

    /// Whether anything is staged for another core.
    #[must_use]
    pub fn has_staged(&self, to: CoreId) -> bool {
        self.outbound.staged(to) > 0
    }

    /// When the next [`Input::Tick`] is due, monotonic microseconds; `None` if nothing waits for time.
    #[must_use]
    pub fn next_tick_us(&self, now: Now) -> Option<u64> {
        let counted = [self.limiter.next_tick_us(), self.users.next_tick_us()];
        let due = [self.home.next_tick_us(), self.owner.next_tick_us(now)];
        due.into_iter().chain(counted).flatten().min()
    }

    /// Whether no request to the link or the store is open that someone waits for. A drain ends when its connections
    /// have ended and this is true.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.owner.is_settled() && self.users.lookups.is_settled()
    }

    /// Connections that a drain waits for: WebSockets, including closing ones, and at the start of a drain with a
    /// successor also connections that are not WebSockets yet.
    #[must_use]
    pub fn open_slots(&self) -> usize {
        self.home.awaited()
    }
}
