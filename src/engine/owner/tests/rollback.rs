//! A link that has lost records, as a failover does that lost its tail, and kept the epoch: whoever finds it first has the
//! room's epoch changed, so that no number that members have seen is given again under the same one.

use super::link::{EPOCH, NEXT};
use super::*;
use crate::base::limits::{ASK_AGAIN_MS, POSITION_CHECK_MS, POSITION_JITTER_MS};

impl World {
    /// The link is asked for a new epoch in place of `from`, and nothing else; returns the one that is offered.
    fn offered(&mut self, from: Epoch) -> Epoch {
        let requests = self.take_link();
        let offer = |request: &LinkRequest| match request {
            LinkRequest::Renumber { from: own, epoch, .. } => {
                assert_eq!(*own, from);
                Some(*epoch)
            }
            _ => None,
        };
        requests.iter().find_map(offer).unwrap_or_else(|| panic!("{requests:?}"))
    }

    /// The link has done what it was asked, and holds `head` records.
    fn assert_settles(&mut self, from: Epoch, head: Seq) {
        let epoch = self.offered(from);
        assert!(self.own().is_empty(), "members are told nothing until then");
        self.read(epoch, head, 1..=head);
        let newest: Vec<Seq> = (1..=head).skip(head.saturating_sub(3) as usize).collect();
        assert_eq!(self.own(), [format!("new epoch at {head} {newest:?} of 1")]);
        assert_eq!(self.epoch(), epoch);
        self.publication(epoch, head + 1);
        assert_eq!(self.own(), [format!("message {}", head + 1)]);
        self.publication(from, head + 2);
        assert!(self.own().is_empty(), "late");
    }
}

#[test]
fn a_read_finds_it() {
    let mut world = World::at(9);
    world.publication(EPOCH, 11);
    assert_eq!(world.linked_to(), ["read 9"]);
    world.read(EPOCH, 10, 10..=10);
    world.assert_settles(EPOCH, 10);
}

#[test]
fn an_open_finds_it() {
    let mut world = World::at(9);
    world.publication(Epoch(40), 1);
    assert_eq!(world.linked_to(), ["open 10"]);
    world.read(EPOCH, 8, 1..=8);
    world.assert_settles(EPOCH, 8);
}

#[test]
fn a_comparison_finds_it() {
    for is_restored in [false, true] {
        let mut world = World::at(9);
        match is_restored {
            true => world.link_event(LinkEvent::Restored { round: 1 }),
            false => {
                world.pass(POSITION_CHECK_MS + POSITION_JITTER_MS);
                world.now.unix_ms = START.unix_ms;
            }
        }
        world.position(Some((EPOCH, 5)));
        world.assert_settles(EPOCH, 5);
        let verified: &[&str] = if is_restored { &["verified 1"] } else { &[] };
        assert_eq!(world.linked_to(), verified, "not before it is settled");
    }
}

#[test]
fn the_answer_to_a_publish_finds_it() {
    let mut world = World::at(9);
    world.publish(1);
    world.publish_key(1, "k");
    world.linked_to();
    world.answered(1, 4, true);
    assert!(world.linked_to().is_empty(), "a duplicate names an earlier one");
    assert_eq!(world.own(), ["1 published 4 again"]);
    world.answered(0, 9, false);
    assert_eq!(world.own(), ["1 unavailable for 2000"], "another publication was seen with this number");
    world.assert_settles(EPOCH, 9);
}

#[test]
fn what_was_acknowledged_and_has_not_come_is_known_too() {
    let mut world = World::at(3);
    world.publish(1);
    world.answered(0, 4, false);
    world.own();
    world.link_event(LinkEvent::Restored { round: 1 });
    world.position(Some((EPOCH, 3)));
    world.assert_settles(EPOCH, 3);
}

#[test]
fn a_link_that_goes_back_to_an_epoch_that_it_had_left_has_lost_records() {
    for head in [2, 30] {
        let mut world = World::at(9);
        world.publication(NEXT, 1);
        world.read(NEXT, 1, 1..=1);
        world.discard();
        world.link_event(LinkEvent::Restored { round: 1 });
        world.position(Some((EPOCH, head)));
        world.assert_settles(EPOCH, head);
    }
}

#[test]
fn whoever_comes_second_takes_the_epoch_of_the_first() {
    let mut world = World::at(9);
    world.link_event(LinkEvent::Restored { round: 1 });
    world.position(Some((EPOCH, 5)));
    world.offered(EPOCH);
    world.publication(NEXT, 6);
    world.read(NEXT, 5, 1..=5);
    assert_eq!(world.own(), ["new epoch at 5 [3, 4, 5] of 1", "message 6"]);
}

#[test]
fn until_it_is_settled_nothing_of_the_epoch_is_shown() {
    let mut world = World::at(9);
    world.link_event(LinkEvent::Restored { round: 1 });
    world.position(Some((EPOCH, 5)));
    let epoch = world.offered(EPOCH);
    world.publication(EPOCH, 10);
    world.read_late_records(10);
    world.publish(1);
    assert_eq!(world.linked_to(), ["publish 0"], "the link numbers it in whatever epoch holds then");
    assert!(world.own().is_empty());
    world.gone(1);
    assert!(world.has_room());
    world.pass(ASK_AGAIN_MS);
    assert_eq!(world.linked_to(), ["renumber 50 10"], "asked again");
    world.read(EPOCH, 5, 1..=5);
    assert!(world.linked_to().is_empty(), "not at once");
    world.numbered(0, epoch, 6, false);
    assert_eq!(world.own(), ["1 published 6"]);
    assert!(world.has_room(), "nobody else may know of it");
    world.pass(ASK_AGAIN_MS);
    let epoch = world.offered(EPOCH);
    world.read(epoch, 6, 1..=6);
    assert_eq!(world.linked_to(), ["close", "verified 1"]);
    world.assert_empty();
}

impl World {
    fn read_late_records(&mut self, seq: Seq) {
        let stretch = Stretch { head: Some(Position { epoch: EPOCH, seq }), records: vec![record(seq, 1)] };
        self.link_event(LinkEvent::Read { token: 0, room: room(), stretch, present: None });
    }
}
