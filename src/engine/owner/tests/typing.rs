//! Typing users: reported to others, ended by time, bounded, and charged and released.

use super::*;
use crate::engine::rates::Rate;

fn typing(active: bool) -> Ask {
    Ask::Typing { active }
}

fn push(slot: u32, active: bool) -> (String, Option<u32>) {
    (format!(r#"{{"type":"typing","room":"lobby","user":"u{slot}","active":{active}}}"#), Some(slot))
}

#[test]
fn the_other_members_are_told_and_told_when_it_is_over() {
    let mut world = World::memory();
    world.join(1);
    world.join(10);
    world.pass(100);
    world.discard();
    world.ask(1, typing(true));
    assert_eq!(pushes(&mut world, 1), [push(1, true)]);
    assert_eq!(world.own().last().map(String::as_str), Some("1 typing"));
    world.pass(3_000);
    world.ask(1, typing(true));
    assert_eq!(pushes(&mut world, 1), [push(1, true)], "those who joined since learn it");
    world.pass(4_999);
    assert_eq!(pushes(&mut world, 1), [], "five seconds count from the last time");
    world.pass(1);
    assert_eq!(pushes(&mut world, 1), [push(1, false)]);
    world.pass(60_000);
    assert_eq!(pushes(&mut world, 1), [], "told once");
}

#[test]
fn who_says_that_it_is_over_ends_it_at_once() {
    let mut world = World::memory();
    world.join(1);
    world.join(10);
    world.pass(100);
    world.discard();
    world.ask(1, typing(true));
    world.ask(1, typing(false));
    assert_eq!(pushes(&mut world, 1), [push(1, true), push(1, false)]);
    world.pass(60_000);
    assert_eq!(pushes(&mut world, 1), []);
}

#[test]
fn strangers_and_whoever_exceeds_the_rate_of_the_room_are_refused() {
    let mut world = World::new(|_, room| room.room_message_rate = Rate::new(1, 1_000));
    world.join(1);
    world.own();
    world.ask(2, typing(true));
    assert_eq!(world.own(), ["2 not_joined"]);
    world.ask(1, typing(true));
    world.publish(1);
    world.own();
    world.ask(1, typing(true));
    assert_eq!(world.own(), ["1 rate_limited for 1000"]);
}

#[test]
fn typing_is_charged_and_given_back() {
    let mut world = World::memory();
    world.join(1);
    world.pass(100);
    let before = world.budget.used();
    world.ask(1, typing(true));
    assert!(world.budget.used() > before);
    world.pass(5_000);
    assert_eq!(world.budget.used(), before);
    world.ask(1, typing(true));
    world.leave(1);
    world.pass(60_000);
    world.discard();
    world.assert_empty();
}

#[test]
fn a_room_has_room_for_so_many() {
    let mut world = World::memory();
    world.join(1);
    world.discard();
    let mut ask = |user: u32| {
        let call = |owner: &mut Owner, effects: &mut OwnerEffects<'_>| {
            owner.handle_call(u64::from(user), room(), super::user(user), typing(true), effects);
        };
        world.with(call);
        world.answers.pop().expect("a call is answered").1
    };
    for user in 0..1_024 {
        assert!(matches!(ask(user), CallAnswer::Room(Answer::Typing)), "{user}");
    }
    let CallAnswer::Room(Answer::Refused(refusal)) = ask(1_024) else { panic!("it is refused") };
    assert_eq!(refusal.code, ErrorCode::Overloaded);
    assert!(matches!(ask(7), CallAnswer::Room(Answer::Typing)), "one of them again");
}
