//! Tests of a room alone: members, pages, pending work.

use super::*;
use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::ids::{Epoch, Position};
use crate::base::limits::PAGE_BYTES_MAX;
use crate::engine::hop::MemberRef;
use crate::wire::form::Form;

pub(in crate::engine::owner) const START: Now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };

/// A room that no store and no link knows.
pub(in crate::engine::owner) fn memory_room(name: &str) -> Room {
    Room::new(RoomName::new(name).expect("valid"), &Settings::for_tests(), LastHead::new(Epoch(1)), START)
}

fn member() -> MemberRef {
    let conn = ConnId { home: CoreId(0), slot: 1, generation: 1 };
    MemberRef { conn, user: UserName::new("ann").expect("valid"), reading: Form::Json.into() }
}

#[test]
fn a_new_room_is_idle_and_waits_for_nothing() {
    let room = memory_room("a");
    assert!(room.is_idle());
    assert_eq!(room.due_ms(START), None);
    assert_eq!(room.bytes(), Bytes { standing: ROOM_BYTES + 1, ..Bytes::default() });
    assert_eq!(room.stream.head(), Position { epoch: Epoch(1), seq: 0 });
}

#[test]
fn members_keep_a_room_and_are_charged() {
    let mut room = memory_room("a");
    room.stream.listeners.add(&member());
    assert!(!room.is_idle());
    assert_eq!(room.bytes(), Bytes { standing: ROOM_BYTES + 1 + MEMBER_BYTES, ..Bytes::default() });
    assert_eq!(room.due_ms(START), None, "members alone need no tick");
}

#[test]
fn a_page_is_half_an_outbox_at_most() {
    assert_eq!(memory_room("a").stream.page(7).bytes, 1 << 19);
    let settings = Settings { outbox_bytes: 1 << 30, ..Settings::for_tests() };
    let room = Room::new(RoomName::new("a").expect("valid"), &settings, LastHead::new(Epoch(1)), START);
    assert_eq!(room.stream.page(7).bytes, PAGE_BYTES_MAX);
}
