//! What is dropped for the memory budget, by age, or to make room for keys.

use super::*;
use crate::base::limits::{HISTORY_BUDGET_DIVISOR, NUMBERINGS_BUDGET_DIVISOR};
use crate::base::limits::{HISTORY_ENTRY_BYTES, NUMBERING_BYTES, ROOMS_PER_TICK_MAX};

fn named(name: &str) -> RoomName {
    RoomName::new(name).expect("valid")
}

/// Bytes of a usual message: far more than its room takes apart from it.
const DATA_BYTES: usize = 4_000;

impl World {
    fn join_room(&mut self, slot: u32, name: &str) {
        let (room, member) = (named(name), member(slot));
        let hop = ToOwner::Join {
            room,
            member,
            away: false,
            again: false,
            recover: None,
            history: Some(9),
            invite: None,
            standing: Standing::Anyone,
            reply: REPLY,
        };
        self.hop(hop);
    }

    fn leave_room(&mut self, slot: u32, name: &str) {
        self.hop(ToOwner::Leave { room: named(name), member: member(slot), away: false, reply: None });
    }

    fn publish_room(&mut self, slot: u32, name: &str, key: Option<&str>) {
        self.publish_bytes(slot, name, key, DATA_BYTES);
    }

    fn publish_bytes(&mut self, slot: u32, name: &str, key: Option<&str>, bytes: usize) {
        let MemberRef { conn, user, .. } = member(slot);
        let (data, key) = (Bytes::from(vec![b'1'; bytes]), key.map(Box::from));
        let ask = Ask::Publish(Publish { kind: DataKind::Json, data, key, echo: true, ephemeral: false });
        self.hop(ToOwner::Ask { room: named(name), conn, user, ask, arrived_us: 0, trace: None, reply: REPLY });
    }

    /// What each room holds, as `name first..head`.
    fn holds(&self) -> Vec<String> {
        let rooms = self.owner.rooms.all();
        let rooms = rooms.iter().filter_map(|id| self.owner.rooms.get(*id));
        rooms
            .map(|room| {
                format!("{} {}..{}", room.stream.name, room.stream.history.first_seq(), room.stream.history.head())
            })
            .collect()
    }

    fn assert_booked(&self) {
        let rooms = self.owner.rooms.all();
        let rooms = rooms.iter().filter_map(|id| self.owner.rooms.get(*id));
        let (mut history, mut kept, mut standing) = (0, 0, self.owner.numberings.bytes());
        for bytes in rooms.map(Room::bytes) {
            (history, kept) = (history + bytes.history, kept + bytes.kept);
            standing += bytes.kept + bytes.standing;
        }
        let retention = &self.owner.retention;
        assert_eq!((retention.bytes, retention.kept_bytes), (history as u64, kept as u64));
        assert_eq!((self.budget.used(), self.budget.standing()), ((history + standing) as u64, standing as u64));
    }

    /// Bytes that rooms hold apart from standing things.
    fn held_bytes(&self) -> u64 {
        self.owner.retention.bytes + self.owner.retention.kept_bytes
    }
}

/// A world whose rooms with one-letter names may hold this many messages together, and slightly more.
fn room_for(messages: usize) -> World {
    let mut world = World::memory();
    world.join_room(1, "a");
    world.publish_room(1, "a", None);
    let one = world.held_bytes() as usize;
    assert!(one > HISTORY_ENTRY_BYTES + DATA_BYTES, "{one}");
    World::new(|settings, rooms| {
        settings.memory_budget_bytes = ((messages * one + 100) as u64) * HISTORY_BUDGET_DIVISOR;
        rooms.presence = false;
    })
}

#[test]
fn the_oldest_message_of_the_core_goes_first() {
    let mut world = room_for(4);
    for name in ["a", "b"] {
        world.join_room(1, name);
    }
    for name in ["a", "b", "a", "b"] {
        world.publish_room(1, name, None);
    }
    assert_eq!(world.holds(), ["a 1..2", "b 1..2"]);
    world.publish_room(1, "b", None);
    assert_eq!(world.holds(), ["a 2..2", "b 1..3"]);
    world.publish_room(1, "b", None);
    assert_eq!(world.holds(), ["a 2..2", "b 2..4"]);
    world.publish_room(1, "b", None);
    assert_eq!(world.holds(), ["a 3..2", "b 2..5"]);
    world.assert_booked();
    for name in ["a", "b"] {
        world.leave_room(1, name);
    }
    world.pass(70_000);
    world.assert_empty();
}

#[test]
fn a_message_larger_than_the_share_is_delivered_and_not_held() {
    let mut world = room_for(4);
    world.join(1);
    world.own();
    world.publish(1);
    world.publish_with(1, |publish| publish.data = Bytes::from(vec![b'1'; 60_000]));
    assert_eq!(world.own(), ["message 1", "1 published 1", "message 2", "1 published 2"]);
    assert_eq!(world.holds(), ["lobby 3..2"]);
    world.assert_booked();
}

#[test]
fn a_room_without_members_goes_with_its_last_message() {
    let mut world = room_for(4);
    world.join_room(1, "old");
    world.publish_room(1, "old", None);
    world.leave_room(1, "old");
    assert_eq!(world.holds(), ["old 1..1"]);
    world.join_room(1, "new");
    for _ in 0..4 {
        world.publish_room(1, "new", None);
    }
    assert_eq!(world.holds(), ["new 1..4"]);
    assert_eq!((world.counters.rooms.get(), world.counters.rooms_held.get()), (1, 1));
    world.assert_booked();
}

#[test]
fn rooms_that_nobody_is_in_cannot_fill_the_memory() {
    let mut world = World::new(|settings, rooms| {
        settings.memory_budget_bytes = 500 * 2_048;
        rooms.presence = false;
    });
    for index in 0..5_000 {
        let name = format!("room{index}");
        world.join_room(1, &name);
        world.publish_room(1, &name, None);
        world.leave_room(1, &name);
        world.own();
        assert!(world.held_bytes() <= world.budget.max() / HISTORY_BUDGET_DIVISOR, "{index}");
    }
    let held = world.holds();
    assert!((20..200).contains(&held.len()), "{}", held.len());
    assert!(held.iter().any(|room| room == "room4999 1..1"), "the newest is held");
    assert_eq!(world.counters.rooms_held.get(), held.len() as u64);
    world.assert_booked();
    world.pass(200_000);
    world.assert_empty();
}

#[test]
fn keys_that_cannot_be_remembered_are_not_taken() {
    let mut world = World::new(|settings, _| settings.memory_budget_bytes = 20_000);
    world.join(1);
    world.own();
    for index in 0..100 {
        world.publish_key(1, &format!("k{index}"));
        assert!(world.held_bytes() <= world.budget.max() / HISTORY_BUDGET_DIVISOR, "{index}");
    }
    let answers = world.own();
    let refused = answers.iter().filter(|answer| *answer == "1 overloaded").count();
    assert!((20..80).contains(&refused), "{refused}");
    world.publish_key(1, "k0");
    world.publish_key(1, "k99");
    world.publish(1);
    let head = 101 - refused;
    let others = [format!("message {head}"), format!("1 published {head}")];
    assert_eq!(world.own(), [&["1 published 1 again".to_owned(), "1 overloaded".to_owned()][..], &others].concat());
    world.assert_booked();
    world.pass(130_000);
    world.own();
    world.publish_key(1, "k99");
    assert_eq!(world.own().len(), 2, "taken");
}

#[test]
fn a_history_that_rolls_does_not_grow_the_books() {
    let mut world = World::memory();
    world.join_room(1, "quiet");
    world.publish_room(1, "quiet", None);
    world.join_room(1, "busy");
    for _ in 0..20_000 {
        world.publish_room(1, "busy", None);
        world.own();
    }
    assert_eq!(world.holds(), ["quiet 1..1", "busy 19991..20000"]);
    world.assert_booked();
}

#[test]
fn many_rooms_due_at_once_are_looked_at_in_several_ticks() {
    let mut world = World::new(|_, rooms| rooms.presence = false);
    for index in 0..ROOMS_PER_TICK_MAX + 10 {
        let name = format!("room{index}");
        world.join_room(1, &name);
        world.publish_room(1, &name, None);
        world.leave_room(1, &name);
    }
    world.own();
    world.set_mono(world.now.mono_us + 70_000_000);
    world.with(|owner, effects| owner.tick(effects));
    assert_eq!(world.counters.rooms_held.get(), 10);
    assert_eq!(world.owner.next_tick_us(world.now), Some(world.now.mono_us), "at once");
    world.with(|owner, effects| owner.tick(effects));
    world.assert_empty();
}

/// What the rooms with this prefix hold.
fn of<'a>(held: &'a [String], name: &str) -> Vec<&'a str> {
    held.iter().map(String::as_str).filter(|room| room.starts_with(name)).collect()
}

#[test]
fn one_room_with_large_messages_pays_for_itself() {
    let mut world = World::new(|settings, rooms| {
        settings.memory_budget_bytes = 2 << 20;
        rooms.history_size = 1_000;
    });
    for index in 0..20 {
        let name = format!("small{index}");
        world.join_room(1, &name);
        (0..5).for_each(|_| world.publish_room(1, &name, None));
    }
    world.join_room(2, "large");
    for _ in 0..200 {
        world.publish_bytes(2, "large", None, 64 << 10);
        world.own();
    }
    let held = world.holds();
    assert_eq!(of(&held, "small").iter().filter(|room| room.ends_with(" 1..5")).count(), 20, "{held:?}");
    assert!(held.iter().any(|room| room.starts_with("large ") && !room.ends_with(" 201..200")), "{held:?}");
    world.assert_booked();
}

#[test]
fn one_user_with_many_large_rooms_pays_for_them() {
    let mut world = World::new(|settings, rooms| {
        settings.memory_budget_bytes = 4 << 20;
        rooms.history_size = 1_000;
        rooms.presence = false;
    });
    for index in 0..50 {
        let name = format!("small{index}");
        world.join_room(1, &name);
        (0..2).for_each(|_| world.publish_room(1, &name, None));
    }
    for round in 0..3 {
        for index in 0..30 {
            let name = format!("large{index}");
            if round == 0 {
                world.join_room(2, &name);
            }
            world.publish_bytes(2, &name, None, 64 << 10);
            world.own();
        }
    }
    let held = world.holds();
    assert_eq!(of(&held, "small").iter().filter(|room| room.ends_with(" 1..2")).count(), 50, "{held:?}");
    world.assert_booked();
}

/// Rooms whose numbering is kept for an hour after the last message has expired.
fn remembering(memory_budget_bytes: u64) -> World {
    World::new(|settings, rooms| {
        settings.memory_budget_bytes = memory_budget_bytes;
        rooms.numbering_ttl_ms = 3_600_000;
    })
}

#[test]
fn an_idle_room_keeps_its_numbering_for_a_while() {
    let mut world = remembering(1 << 30);
    world.join(1);
    let empty = world.epoch();
    world.gone(1);
    world.pass(10_000);
    assert!(!world.has_room(), "what is remembered is no room");
    assert_eq!((world.counters.rooms.get(), world.counters.rooms_held.get()), (0, 0));
    assert_eq!(world.budget.used(), (NUMBERING_BYTES + "lobby".len()) as u64);

    // Nothing was missed at seq 0, nor after every message has expired.
    world.own();
    world.join_from(1, Some(Recover { seq: 0, epoch: Some(empty) }), None);
    assert_eq!((world.epoch(), world.own()), (empty, vec!["1 recovered at 0 [] of 1".to_owned()]));
    world.publish(1);
    world.publish(1);
    world.gone(1);
    world.pass(3_000_000);
    assert!(!world.has_room());
    world.own();
    world.join_from(1, Some(Recover { seq: 2, epoch: Some(empty) }), None);
    assert_eq!((world.epoch(), world.own()), (empty, vec!["1 recovered at 2 [] of 1".to_owned()]));
    world.gone(1);
    world.join_from(2, Some(Recover { seq: 1, epoch: Some(empty) }), None);
    assert!(world.own().contains(&"2 joined at 2 [] of 2".to_owned()), "message 2 is gone");
    world.gone(2);
    world.assert_booked();

    world.pass(3_620_000);
    world.assert_empty();
    world.join_from(1, Some(Recover { seq: 2, epoch: Some(empty) }), None);
    assert_ne!(world.epoch(), empty, "its time is over");
    assert_eq!(world.own(), ["1 joined at 0 [] of 1"]);
}

#[test]
fn numberings_go_first_where_memory_is_tight() {
    let mut world = remembering(1 << 20);
    for index in 0..5_000 {
        let name = format!("room{index}");
        world.join_room(1, &name);
        world.leave_room(1, &name);
        world.own();
        if index % 100 == 0 {
            world.pass(2_100);
        }
    }
    world.pass(10_000);
    world.assert_booked();
    let remembered = world.budget.used();
    assert!((100_000..=(1 << 20) / NUMBERINGS_BUDGET_DIVISOR).contains(&remembered), "{remembered}");
    assert!(world.owner.numberings.take("room0").is_none(), "the oldest went first");
    assert!(world.owner.numberings.take("room4999").is_some());
    world.with(|owner, effects| owner.enter_numberings(effects));
    // Standing things take their place.
    let others = world.budget.standing() as usize - world.owner.numberings.bytes();
    world.budget.charge_standing(world.budget.standing_max() as usize - 10_000 - others);
    world.join_room(1, "one");
    let left = world.owner.numberings.bytes();
    assert!(left < 10_000, "{left}");
}

#[test]
fn where_what_stands_fills_the_budget_no_more_is_taken_in() {
    let mut world = World::new(|settings, _| settings.memory_budget_bytes = 1 << 20);
    world.join(1);
    world.publish(1);
    let stands = world.budget.standing_max() - world.budget.used() + 1;
    world.budget.charge_standing(stands as usize);
    world.own();
    world.join(2);
    world.join_room(3, "another");
    assert_eq!(world.own(), ["2 overloaded for 2000 unjoin", "3 overloaded for 2000 unjoin"]);
    assert_eq!(world.owner.rooms.all().len(), 1, "no room was made");
    world.join_again(1);
    world.publish(1);
    assert_eq!(world.own(), ["1 joined at 1 [] of 1", "message 2", "1 published 2"], "members go on");
    // Over the budget, pages and recovery are refused too.
    world.budget.charge(1 << 20);
    world.join_again(1);
    world.ask(1, Ask::History { after: None, before: None, limit: 5 });
    assert_eq!(world.own(), ["1 overloaded for 2000 unjoin", "1 overloaded for 2000"]);
}

#[test]
fn a_page_does_not_enter_a_full_lane() {
    let mut world = World::memory();
    world.join(10);
    world.sent(1);
    world.fill_lane(1);
    world.ask(10, Ask::History { after: None, before: None, limit: 5 });
    world.join(11);
    assert_eq!(world.sent(1), ["10 overloaded", "11 overloaded unjoin"]);
}
