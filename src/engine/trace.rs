//! Traces of sampled publishes: the mark that hops carry, and the spans that the cores on the path report. The ids of
//! the trace and of its spans derive from the mark, so no core needs another's ids. Exports nothing.

use std::num::NonZeroU32;

use super::random::Random;
use crate::base::counters::CoreCounters;
use crate::base::ids::{ConnId, CoreId, RoomName, Seq, UserName};
use crate::base::limits::SPANS_PER_TURN_MAX;

/// Carried by a sampled publish, beside its time of arrival, which hops carry anyway. Both together identify its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(NonZeroU32);

impl Mark {
    /// A new mark for a sampled publish. `part` is the fraction of publishes that is sampled, in units of 2^-64. If it
    /// is 0, no random number is drawn.
    pub fn draw(part: u64, random: &mut Random) -> Option<Mark> {
        if part == 0 || random.next_u64() > part {
            return None;
        }
        NonZeroU32::new(random.next_u64() as u32).map(Mark)
    }
}

/// A stage of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Taken by its connection's home. The first span of the trace.
    Received {
        /// The publishing connection.
        conn: ConnId,
        /// The publishing user.
        user: UserName,
        /// Bytes of its data.
        bytes: usize,
    },
    /// Numbered by the room's owner. The second span.
    Numbered {
        /// The seq.
        seq: Seq,
        /// Number of cores that it was sent to.
        listeners: usize,
    },
    /// Handed to the kernel for the members on one core, if they could take it at once.
    Flushed {
        /// The seq.
        seq: Seq,
        /// Number of members that it was sent to.
        deliveries: u64,
    },
}

/// One core's report about one publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Identifies the trace.
    pub mark: Mark,
    /// When the publish arrived, monotonic microseconds. Also identifies the trace.
    pub arrived_us: u64,
    /// The reporting core.
    pub core: CoreId,
    /// The publish's room.
    pub room: RoomName,
    /// The stage.
    pub stage: Stage,
    /// Start, monotonic microseconds.
    pub began_us: u64,
    /// End, monotonic microseconds; 0: with the turn that reports it.
    pub ended_us: u64,
}

impl Span {
    /// The 16 bytes of the trace id. Never all zero.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        let seed = self.seed();
        u128::from(mixed(seed, 0)) << 64 | u128::from(seed)
    }

    /// The 8 bytes of the span id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id_of(self.number())
    }

    /// The 8 bytes of the parent span's id; `None` for the first span.
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

    /// A number that all ids of the trace derive from. Never zero.
    fn seed(&self) -> u64 {
        mixed(self.arrived_us, u64::from(self.mark.0.get())).max(1)
    }

    /// Identifies the span within its trace.
    fn number(&self) -> u64 {
        match self.stage {
            Stage::Received { .. } => 1,
            Stage::Numbered { .. } => 2,
            Stage::Flushed { .. } => 3 + u64::from(self.core.0),
        }
    }

    /// Adds the span to a turn's output. If there are too many already, it is dropped and counted.
    pub fn tell(self, spans: &mut Vec<Span>, counters: &CoreCounters) {
        if spans.len() < SPANS_PER_TURN_MAX {
            spans.push(self);
        } else {
            counters.spans_dropped.add(1);
        }
    }
}

/// A number from two, by applying SplitMix64 (Steele, Lea, Flood 2014) twice. Names spans, which only operators see.
fn mixed(one: u64, other: u64) -> u64 {
    let next = |state: u64| {
        let mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    next(next(one ^ other))
}

/// Ends the spans that end with their turn.
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
        assert_eq!(random.next_u64(), Random::new(1).next_u64(), "no random number is drawn without sampling");
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
