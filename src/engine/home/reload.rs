//! Other settings for the connections that are open. What they have used of a rate is converted, and a limit that is turned
//! on counts them too. Closes nobody.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Home, HomeEffects};
use crate::base::ids::{CoreId, UserName};
use crate::engine::hop::{ToLimiter, ToUser};
use crate::engine::limiter::core_of_address;
use crate::engine::session::{Marks, Phase};
use crate::engine::settings::{Limits, Settings};
use crate::engine::user::core_of_user;

/// Connections to be counted, by address and by user.
#[derive(Default)]
struct Uncounted {
    addresses: BTreeMap<IpAddr, u32>,
    users: BTreeMap<UserName, u32>,
}

impl Home {
    /// Other settings hold from now on.
    pub fn set_settings(&mut self, settings: Arc<Settings>, effects: &mut HomeEffects<'_>) {
        self.outboxes.set_bytes_max(settings.outbox_bytes);
        let before = std::mem::replace(&mut self.settings, settings);
        self.paces.change_rates(&before.limits, &self.settings.limits, effects.now.mono_us);
        if before.limits.idle_timeout_ms != self.settings.limits.idle_timeout_ms {
            self.expect_all_idle(effects.now);
        }
        let mut uncounted = Uncounted::default();
        for slot in self.slots.range() {
            if self.sessions.at(slot).phase == Phase::Open {
                self.take_uncounted(slot, &mut uncounted);
            }
        }
        self.count(uncounted, effects);
    }

    /// A connection was let in: the limits may have been turned on while it waited.
    pub(super) fn count_late(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let session = self.sessions.at(slot);
        if session.phase == Phase::Open && !session.marks.has(limited(&self.settings.limits)) {
            let mut uncounted = Uncounted::default();
            self.take_uncounted(slot, &mut uncounted);
            self.count(uncounted, effects);
        }
    }

    /// Marks an open connection as counted by every limit there is; notes those that have not counted it so far.
    fn take_uncounted(&mut self, slot: u32, uncounted: &mut Uncounted) {
        let limited = limited(&self.settings.limits);
        let session = self.sessions.at_mut(slot);
        let is_new = |mark| limited.has(mark) && !session.marks.has(mark);
        if is_new(Marks::COUNTED_ADDRESS) {
            *uncounted.addresses.entry(self.slots.address(slot)).or_default() += 1;
        }
        if is_new(Marks::COUNTED_USER) {
            let user = session.user.clone().expect("an open connection has a user");
            *uncounted.users.entry(user).or_default() += 1;
        }
        session.marks.set(limited);
    }

    /// Tells each core of the connections that it counts.
    fn count(&self, uncounted: Uncounted, effects: &mut HomeEffects<'_>) {
        let cores = self.settings.cores;
        let mut addresses: BTreeMap<CoreId, Vec<(IpAddr, u32)>> = BTreeMap::new();
        for (address, connections) in uncounted.addresses {
            addresses.entry(core_of_address(address, cores)).or_default().push((address, connections));
        }
        for (core, addresses) in addresses {
            effects.outbound.post_to_limiter(core, ToLimiter::Count { addresses });
        }
        let mut users: BTreeMap<CoreId, Vec<(UserName, u32)>> = BTreeMap::new();
        for (user, connections) in uncounted.users {
            users.entry(core_of_user(&user, cores)).or_default().push((user, connections));
        }
        for (core, users) in users {
            effects.outbound.post_to_user(core, ToUser::Count { users });
        }
    }
}

/// The marks of a connection that every limit there is counts. What its user publishes is counted by
/// [`Marks::COUNTED_MESSAGES`]: what it said before goes to its rooms directly, and so never behind what it says next.
fn limited(limits: &Limits) -> Marks {
    let mut marks = Marks::default();
    for (is_limited, mark) in [
        (limits.connections_per_ip > 0, Marks::COUNTED_ADDRESS),
        (limits.connections_per_user > 0, Marks::COUNTED_USER),
        (limits.message_rate_per_user.is_some(), Marks::COUNTED_MESSAGES),
    ] {
        if is_limited {
            marks.set(mark);
        }
    }
    marks
}
