//! Timers of rooms.

use super::OwnerEffects;
use super::state::Owner;
use crate::base::limits::ROOMS_PER_TICK_MAX;
use crate::base::time::Now;

impl Owner {
    /// Time has passed: ticks the rooms that are due, and expires numberings.
    pub fn tick(&mut self, effects: &mut OwnerEffects<'_>) {
        for _ in 0..ROOMS_PER_TICK_MAX {
            let Some((_, id)) = self.timers.first().copied().filter(|(due_ms, _)| *due_ms <= effects.now.mono_ms())
            else {
                break;
            };
            self.timers.pop_first();
            let Some(room) = self.rooms.get_mut(id) else { continue };
            room.entered.due_ms = None;
            let is_due = room.tick(effects);
            let late = room.opening.as_mut().map_or_else(Vec::new, |opening| opening.take_late(effects.now));
            late.into_iter().for_each(|waiting| self.give_up(id, waiting, effects));
            if is_due {
                self.linking.due.push(id);
            } else {
                self.enter(id, effects);
            }
        }
        self.give_up_questions(effects);
        self.compare_due(effects);
        self.numberings.expire(effects.now.mono_ms(), ROOMS_PER_TICK_MAX);
        self.enter_numberings(effects);
        self.shed(effects);
    }

    /// Whether nothing waits for the link or the store, so that a stop loses nothing.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.waiting_rooms == 0 && self.awaited.is_empty() && self.asks.is_empty()
    }

    /// When `tick` is due next, monotonic microseconds; `None` if nothing waits for time.
    #[must_use]
    pub fn next_tick_us(&self, now: Now) -> Option<u64> {
        let room = self.timers.first().map(|(due_ms, _)| *due_ms);
        let numbering = self.numberings.next_expiry_ms();
        let due_us = room.into_iter().chain(numbering).min().map(|due_ms| due_ms.saturating_mul(1_000));
        due_us.into_iter().chain(self.asks.due_us()).min().map(|due_us| due_us.max(now.mono_us))
    }
}
