//! Who is in a room of several machines.

use super::link::EPOCH;
use super::*;
use crate::base::limits::{PRESENCE_CHANGES_MAX, PRESENCE_SPREAD_MS};

const THERE: u64 = 77;
const ELSEWHERE: u64 = 88;

fn counts(slot: u32, connections: u32, away: u32) -> UserCounts {
    UserCounts { user: user(slot), connections, away }
}

fn stretch(seq: Seq) -> Stretch {
    Stretch { head: Some(Position { epoch: EPOCH, seq }), records: vec![] }
}

impl World {
    /// A linked room with member 1, and whoever else is there on other machines; the presence version is 10.
    fn shared(others: Vec<(u64, UserCounts)>) -> Self {
        let mut world = Self::new(|settings, _| settings.numbering = NumberingMode::Link);
        world.join(1);
        world.link_holds(stretch(0), Some(Present { version: 10, counts: others }));
        world
    }

    fn told(&mut self, life: u64, version: u64, changes: Vec<UserCounts>) {
        self.link_event(LinkEvent::Presence { room: room(), life, version, changes });
    }
}

#[test]
fn an_open_brings_who_is_there_elsewhere() {
    let mut world = World::shared(vec![(THERE, counts(7, 2, 2)), (ELSEWHERE, counts(7, 1, 0))]);
    assert_eq!(world.own(), ["1 joined at 0 [] of 2"]);
    world.pass(100);
    assert_eq!(world.own(), ["statuses u7 online, u1 online"]);
    world.page(1);
    assert_eq!(world.own(), ["1 presence u1,u7 of 2"]);
    assert_eq!(world.linked_to(), ["open 10", "presence u1 1 0"]);
}

#[test]
fn changes_are_told_once_a_tick_and_heard() {
    let mut world = World::shared(vec![]);
    world.pass(1_000);
    world.discard();
    world.join(2);
    world.away(1, true);
    world.gone(2);
    world.join(11);
    assert!(world.linked_to().is_empty());
    world.pass(100);
    assert_eq!(world.linked_to(), ["presence u1 1 1, u11 1 0, u2 0 0"]);
    world.told(1, 11, vec![]);
    world.told(THERE, 12, vec![counts(1, 1, 0), counts(8, 1, 1)]);
    world.told(THERE, 12, vec![counts(1, 0, 0)]);
    world.pass(2_000);
    let told = world.own();
    assert!(told.iter().any(|line| line.contains("u8 away")), "{told:?}");
    world.pass(2_000);
    world.discard();
    world.hop(ToOwner::Leave { room: room(), member: member(1), away: true, reply: None });
    world.pass(5_000);
    assert!(world.sent(1).is_empty(), "u1 is there still");
    assert_eq!(world.linked_to(), ["presence u1 0 0"]);
    world.told(THERE, 13, vec![counts(1, 0, 0)]);
    world.pass(2_000);
    assert!(world.sent(1).is_empty(), "the grace");
    world.pass(1_500);
    assert_eq!(world.sent(1), ["statuses u1 offline"]);
}

#[test]
fn a_missed_change_is_read_again() {
    let mut world = World::shared(vec![(THERE, counts(7, 1, 0))]);
    world.pass(2_000);
    world.discard();
    world.told(1, 11, vec![]);
    world.told(THERE, 13, vec![counts(8, 1, 0)]);
    world.pass(200);
    assert!(world.own().is_empty());
    assert_eq!(world.linked_to(), ["read 0 with presence"]);
    let present = |version| Some(Present { version, counts: vec![(THERE, counts(9, 1, 0))] });
    world.link_holds(stretch(0), present(12));
    world.pass(200);
    assert_eq!(world.linked_to(), ["read 0 with presence"], "that was older than what was heard of");
    world.link_holds(stretch(0), present(13));
    world.pass(5_000);
    assert_eq!(world.own(), ["statuses u9 online", "statuses u7 offline"]);
    assert!(world.linked_to().is_empty());
}

#[test]
fn a_comparison_finds_a_missed_change() {
    let mut world = World::shared(vec![]);
    world.pass(2_000);
    world.discard();
    world.pass(70_000);
    assert_eq!(world.linked_to(), ["positions of 1"]);
    let position = Position { epoch: EPOCH, seq: 0 };
    let heads = vec![(room(), Some(LinkHead { position, presence: 12 }))];
    world.link_event(LinkEvent::Positions { token: world.positions_token, heads });
    world.pass(200);
    assert_eq!(world.linked_to(), ["read 0 with presence"]);
}

#[test]
fn a_life_that_ends_takes_its_users_along_after_the_grace() {
    let mut world = World::shared(vec![
        (THERE, counts(7, 2, 0)),
        (THERE, counts(8, 2, 0)),
        (ELSEWHERE, counts(8, 1, 0)),
        (THERE, counts(1, 1, 0)),
    ]);
    world.pass(2_000);
    world.discard();
    world.link_event(LinkEvent::LifeEnded { life: THERE });
    world.page(1);
    assert_eq!(world.own(), ["1 presence u1,u7,u8 of 3"]);
    world.pass(5_000);
    assert_eq!(world.own(), ["statuses u7 offline"]);
    world.told(THERE, 11, vec![counts(7, 1, 0)]);
    world.link_event(LinkEvent::Restored { round: 1 });
    world.pass(PRESENCE_SPREAD_MS);
    world.link_holds(stretch(0), Some(Present { version: 11, counts: vec![(THERE, counts(7, 1, 0))] }));
    world.page(1);
    assert_eq!(world.own(), ["1 presence u1,u8 of 2"]);
}

#[test]
fn after_an_outage_everything_is_told_and_read_again() {
    let mut world = World::shared(vec![(THERE, counts(7, 1, 0))]);
    world.join(2);
    world.pass(2_000);
    world.discard();
    world.link_event(LinkEvent::Restored { round: 1 });
    world.position(Some((EPOCH, 0)));
    assert_eq!(world.linked_to(), ["positions of 1", "verified 1"], "nobody waits for presence");
    world.pass(PRESENCE_SPREAD_MS + 1_000);
    let mut asked = world.linked_to();
    asked.dedup();
    assert_eq!(asked, ["presence afresh u1 1 0, u2 1 0", "read 0 with presence"]);
    world.told(THERE, 2, vec![counts(7, 9, 0)]);
    world.link_holds(stretch(0), Some(Present { version: 2, counts: vec![] }));
    world.pass(5_000);
    assert_eq!(world.own(), ["statuses u7 offline"], "the link counts from the beginning");
}

#[test]
fn very_many_changes_are_told_in_parts() {
    let mut world = World::shared(vec![]);
    for slot in 1_000..1_000 + PRESENCE_CHANGES_MAX as u32 {
        world.join(slot);
    }
    world.linked_to();
    world.pass(100);
    let sizes: Vec<_> = world.linked_to().iter().map(|line| line.split(',').count()).collect();
    assert_eq!(sizes, [PRESENCE_CHANGES_MAX, 1]);
}

#[test]
fn a_room_without_members_here_goes_whoever_is_there_elsewhere() {
    let mut world = World::shared(vec![(THERE, counts(7, 1, 0))]);
    world.pass(100);
    world.linked_to();
    world.gone(1);
    assert!(world.has_room(), "the others are to be told first");
    world.pass(100);
    assert_eq!(world.linked_to(), ["presence u1 0 0", "close"]);
    world.assert_empty();
}
