//! Tests of the order in which commands continue after a room has opened.

use bytes::Bytes;

use super::*;
use crate::base::ids::{CoreId, RoomName, UserName};
use crate::engine::access::Standing;
use crate::engine::hop::MemberRef;
use crate::wire::form::Form;
use crate::wire::protocol::ReplyTo;
use crate::wire::publication::DataKind;

const NOW: Now = Now { mono_us: 0, unix_ms: 0 };
const REPLY: ReplyTo = ReplyTo { id: Some(1), form: Form::Json };

fn room() -> RoomName {
    RoomName::new("a").expect("valid")
}

fn member(slot: u32) -> MemberRef {
    let conn = ConnId { home: CoreId(0), slot, generation: 1 };
    MemberRef { conn, user: UserName::new("ann").expect("valid"), reading: Form::Json.into() }
}

fn join(slot: u32) -> ToOwner {
    let member = member(slot);
    ToOwner::Join {
        room: room(),
        member,
        away: false,
        again: false,
        recover: None,
        history: None,
        invite: None,
        standing: Standing::Anyone,
        reply: REPLY,
    }
}

fn leave(slot: u32) -> ToOwner {
    ToOwner::Leave { room: room(), member: member(slot), away: false, reply: Some(REPLY) }
}

fn publish(slot: u32) -> ToOwner {
    let data = Bytes::from_static(b"12345");
    let publish = Publish { kind: DataKind::Json, data, key: None, echo: true, ephemeral: false };
    let (MemberRef { conn, user, .. }, ask) = (member(slot), Ask::Publish(publish));
    ToOwner::Ask { room: room(), conn, user, ask, arrived_us: 0, trace: None, reply: REPLY }
}

fn waiting(opening: Opening) -> Vec<String> {
    let waiting = opening.into_waiting().map(|hop| match hop {
        Waiting::Hop(ToOwner::Join { member, away, .. }) => format!("join {} {away}", member.conn.slot),
        Waiting::Hop(ToOwner::Leave { member, .. }) => format!("leave {}", member.conn.slot),
        Waiting::Hop(ToOwner::Ask { conn, .. }) => format!("publish {}", conn.slot),
        other => panic!("not pushed here: {other:?}"),
    });
    waiting.collect()
}

#[test]
fn hops_wait_in_order() {
    let mut opening = Opening::new(0);
    for hop in [join(1), publish(1), leave(1), join(1)] {
        opening.push(hop, NOW);
    }
    assert!(opening.is_joining(member(1).conn) && !opening.is_joining(member(2).conn));
    assert_eq!(opening.bytes(), 4 * WAITING_BYTES + 5);
    assert_eq!(waiting(opening), ["join 1 false", "publish 1", "leave 1", "join 1 false"]);
}

#[test]
fn who_goes_takes_the_join_along() {
    let mut opening = Opening::new(0);
    opening.push(join(1), NOW);
    opening.push(join(2), NOW);
    opening.cancel(member(1).conn);
    opening.cancel(member(3).conn);
    assert!(!opening.is_joining(member(1).conn));
    assert_eq!(opening.bytes(), WAITING_BYTES);
    opening.cancel(member(2).conn);
    assert!(opening.is_empty());
}

#[test]
fn an_away_reaches_the_latest_join() {
    let mut opening = Opening::new(0);
    opening.push(join(1), NOW);
    opening.set_away(member(1).conn, true);
    opening.set_away(member(2).conn, true);
    opening.push(leave(1), NOW);
    opening.set_away(member(1).conn, false);
    opening.push(join(1), NOW);
    assert_eq!(waiting(opening), ["join 1 true", "leave 1", "join 1 false"]);
}

#[test]
fn cancelled_joins_leave_no_places_behind() {
    let mut opening = Opening::new(0);
    opening.push(join(0), NOW);
    for slot in 1..10_000 {
        opening.push(join(slot), NOW);
        opening.cancel(member(slot).conn);
        assert!(opening.queue.len() <= 2 * opening.waiting + SLACK + 2);
    }
    opening.set_away(member(0).conn, true);
    assert_eq!(waiting(opening), ["join 0 true"]);
}
