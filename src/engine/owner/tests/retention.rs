//! What goes when the memory budget, age or keys ask for it.

use super::*;
use crate::base::limits::HISTORY_ENTRY_BYTES;

fn named(name: &str) -> RoomName {
    RoomName::new(name).expect("valid")
}

impl World {
    fn join_room(&mut self, slot: u32, name: &str) {
        let (room, member) = (named(name), member(slot));
        let hop =
            ToOwner::Join { room, member, away: false, again: false, recover: None, history: Some(9), reply: REPLY };
        self.hop(hop);
    }

    fn leave_room(&mut self, slot: u32, name: &str) {
        self.hop(ToOwner::Leave { room: named(name), member: member(slot), away: false, reply: None });
    }

    fn publish_room(&mut self, slot: u32, name: &str, key: Option<&str>) {
        self.hop(ToOwner::Publish {
            room: named(name),
            member: member(slot),
            kind: DataKind::Json,
            data: Bytes::from_static(b"1"),
            key: key.map(Box::from),
            echo: true,
            ephemeral: false,
            arrived_us: 0,
            trace: None,
            reply: REPLY,
        });
    }

    /// What each room holds, as `name first..head`.
    fn holds(&self) -> Vec<String> {
        let rooms = self.owner.rooms.all();
        let rooms = rooms.iter().filter_map(|id| self.owner.rooms.get(*id));
        rooms.map(|room| format!("{} {}..{}", room.name, room.history.first_seq(), room.history.head())).collect()
    }

    fn assert_booked(&self) {
        let rooms = self.owner.rooms.all();
        let bytes: usize = rooms.iter().filter_map(|id| self.owner.rooms.get(*id)).map(Room::bytes).sum();
        assert_eq!((self.budget.used(), self.owner.retention.bytes), (bytes as u64, bytes as u64));
    }
}

/// A world whose rooms may hold so many messages of rooms with one-letter names together, and a little more.
fn room_for(messages: usize) -> World {
    let mut world = World::memory();
    world.join_room(1, "a");
    world.publish_room(1, "a", None);
    let one = world.budget.used() as usize;
    assert!(one > HISTORY_ENTRY_BYTES + 50, "{one}");
    World::new(|settings, rooms| {
        settings.memory_bytes_max = ((messages * one + 100) as u64) * HISTORY_BUDGET_DIVISOR;
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
        settings.memory_bytes_max = 100 * 2_048;
        rooms.presence = false;
    });
    for index in 0..5_000 {
        let name = format!("room{index}");
        world.join_room(1, &name);
        world.publish_room(1, &name, None);
        world.leave_room(1, &name);
        world.own();
        assert!(world.budget.used() <= world.budget.max() / HISTORY_BUDGET_DIVISOR, "{index}");
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
    let mut world = World::new(|settings, _| settings.memory_bytes_max = 20_000);
    world.join(1);
    world.own();
    for index in 0..100 {
        world.publish_key(1, &format!("k{index}"));
        assert!(world.budget.used() <= world.budget.max() / HISTORY_BUDGET_DIVISOR, "{index}");
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
    world.with(|owner, now, effects| owner.tick(now, effects));
    assert_eq!(world.counters.rooms_held.get(), 10);
    assert_eq!(world.owner.next_tick_us(world.now), Some(world.now.mono_us), "at once");
    world.with(|owner, now, effects| owner.tick(now, effects));
    world.assert_empty();
}
