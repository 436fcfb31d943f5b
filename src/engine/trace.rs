//! Traces of sampled publishes: the mark that rides with one through its hops, and the spans that the cores on its way
//! tell. The mark names its trace and every span of it, so that no core needs to be told another's ids. Exports nothing.

use std::num::NonZeroU32;

use super::random::Random;
use crate::base::counters::CoreCounters;
use crate::base::ids::{ConnId, CoreId, RoomName, Seq, UserName};
use crate::base::limits::SPANS_PER_TURN_MAX;

/// Rides with a sampled publish, beside the time of its arrival, which hops carry anyway: both together name its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(NonZeroU32);

impl Mark {
    /// A new one for one publish in so many: `part` is the share of the publishes that are sampled, in 2^-64; 0: none, and
    /// nothing is drawn.
    pub fn draw(part: u64, random: &mut Random) -> Option<Mark> {
        if part == 0 || random.next_u64() > part {
            return None;
        }
        NonZeroU32::new(random.next_u64() as u32).map(Mark)
    }
}

/// Where a publish was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Taken by its connection's home. The first of the trace.
    Received {
        /// Whose.
        conn: ConnId,
        /// Of which user.
        user: UserName,
        /// Bytes of its data.
        bytes: usize,
    },
    /// Given its number by the room's owner. The second.
    Numbered {
        /// Which number.
        seq: Seq,
        /// Cores that were sent it.
        listeners: usize,
    },
    /// Handed to the kernel for the members on one core, as far as they could take it at once.
    Flushed {
        /// Which number.
        seq: Seq,
        /// Members who were given it.
        deliveries: u64,
    },
}

/// What one core says of one publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Of which trace.
    pub mark: Mark,
    /// When the publish arrived, monotonic microseconds: of which trace, too.
    pub arrived_us: u64,
    /// The core that says so.
    pub core: CoreId,
    /// The publish's room.
    pub room: RoomName,
    /// What.
    pub stage: Stage,
    /// When it began, monotonic microseconds.
    pub began_us: u64,
    /// When it ended, monotonic microseconds; 0: with the turn it is told in.
    pub ended_us: u64,
}

impl Span {
    /// The 16 bytes that name the trace; never all zero.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        let seed = self.seed();
        u128::from(mixed(seed, 0)) << 64 | u128::from(seed)
    }

    /// The 8 bytes that name the span.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id_of(self.number())
    }

    /// The 8 bytes that name what it follows from; `None`: it is the first.
    #[must_use]
    pub fn parent_id(&self) -> Option<u64> {
        let parent = match self.stage {
            Stage::Received { .. } => return None,
            Stage::Numbered { .. } => 1,
            Stage::Flushed { .. } => 2,
        };
        Some(self.id_of(parent))
    }

    fn id_of(&self, number: u64) -> u64 {
        mixed(self.seed(), number).max(1)
    }

    /// Of all ids of the trace; never zero.
    fn seed(&self) -> u64 {
        mixed(self.arrived_us, u64::from(self.mark.0.get())).max(1)
    }

    /// Names it within its trace.
    fn number(&self) -> u64 {
        match self.stage {
            Stage::Received { .. } => 1,
            Stage::Numbered { .. } => 2,
            Stage::Flushed { .. } => 3 + u64::from(self.core.0),
        }
    }

    /// Puts it among what a turn asks for. With too many of them already it is dropped and counted.
    pub fn tell(self, spans: &mut Vec<Span>, counters: &CoreCounters) {
        if spans.len() < SPANS_PER_TURN_MAX {
            spans.push(self);
        } else {
            counters.spans_dropped.add(1);
        }
    }
}

/// One number of two, by SplitMix64 (Steele, Lea, Flood 2014) twice. Names spans, which only operators see.
fn mixed(one: u64, other: u64) -> u64 {
    let next = |state: u64| {
        let mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    next(next(one ^ other))
}

/// Ends the spans that last as long as their turn.
pub fn end_turn(now_us: u64, spans: &mut [Span]) {
    for span in spans.iter_mut().filter(|span| span.ended_us == 0) {
        span.ended_us = now_us;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn as_many_are_sampled_as_asked_for() {
        let mut random = Random::new(1);
        assert!((0..1_000).all(|_| Mark::draw(0, &mut random).is_none()));
        assert_eq!(random.next_u64(), Random::new(1).next_u64(), "nothing is drawn where nothing is sampled");
        assert!((0..1_000).all(|_| Mark::draw(u64::MAX, &mut random).is_some()));
        let sampled = (0..100_000).filter(|_| Mark::draw(u64::MAX / 100, &mut random).is_some()).count();
        assert!((900..1_100).contains(&sampled), "{sampled}");
    }

    fn span(mark: Mark, core: u16, stage: Stage) -> Span {
        let room = RoomName::new("r").expect("valid");
        Span { mark, arrived_us: 77, core: CoreId(core), room, stage, began_us: 1, ended_us: 0 }
    }

    #[test]
    fn ids_differ_within_and_between_traces() {
        let mut random = Random::new(7);
        let (mut traces, mut spans) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..100 {
            let mark = Mark::draw(u64::MAX, &mut random).expect("all are sampled");
            let user = UserName::new("u").expect("valid");
            let conn = ConnId { home: CoreId(3), slot: 0, generation: 0 };
            let received = span(mark, 3, Stage::Received { conn, user, bytes: 1 });
            let numbered = span(mark, 0, Stage::Numbered { seq: 1, listeners: 64 });
            assert_eq!((received.parent_id(), numbered.parent_id()), (None, Some(received.id())));
            for core in 0..64 {
                let flushed = span(mark, core, Stage::Flushed { seq: 1, deliveries: 1 });
                assert_eq!((flushed.parent_id(), flushed.trace_id()), (Some(numbered.id()), received.trace_id()));
                spans.insert(flushed.id());
            }
            spans.extend([received.id(), numbered.id()]);
            traces.insert(received.trace_id());
        }
        assert_eq!((traces.len(), spans.len()), (100, 6_600));
    }

    #[test]
    fn a_turn_tells_a_bounded_number() {
        let (counters, mut spans) = (CoreCounters::default(), Vec::new());
        let mark = Mark::draw(u64::MAX, &mut Random::new(3)).expect("all are sampled");
        for _ in 0..SPANS_PER_TURN_MAX + 5 {
            span(mark, 0, Stage::Numbered { seq: 1, listeners: 0 }).tell(&mut spans, &counters);
        }
        assert_eq!((spans.len(), counters.spans_dropped.get()), (SPANS_PER_TURN_MAX, 5));
    }
}
