//! Created rooms and their store: what waits for its answers, what happens when they come late, and what is let go.

use super::*;
use crate::base::chat::{Role, Visibility};
use crate::base::limits::{
    ASK_AGAIN_MS, ASK_TIMEOUT_MS, ASKS_WAITING_MAX, OPENING_TIMEOUT_MS, PENDING_PER_ROOM_MAX, ROOM_LINGER_MS,
    UNAVAILABLE_RETRY_MS,
};
use crate::engine::kept::KeptRoom;

const ENTERED: Result<RoomDone, RoomRefusal> = Ok(RoomDone::Entered { role: Some(Role::Member), is_new: false });

fn create(visibility: Visibility) -> Ask {
    Ask::CreateRoom { visibility, title: "".into() }
}

impl World {
    /// Rooms that can be created and keep no publications.
    fn administered() -> Self {
        Self::new(|settings, _| settings.rooms_are_administered = true)
    }

    /// The store says what was created under the room's name, and that it keeps records up to `head`.
    fn says_created(&mut self, is_created: bool, head: Seq) {
        let kept = KeptRoom { visibility: Visibility::Public, title: "".into(), members: 1 };
        let epoch = self.owner.rooms.find(&room()).map_or(Epoch(9), |_| self.epoch());
        let head = (head > 0).then_some(Position { epoch, seq: head });
        let stretch = Stretch { head, records: Vec::new() };
        let (attempt, room, created) = (self.attempt(), room(), is_created.then_some(kept));
        self.store_event(StoreEvent::Loaded { attempt, room, stretch, first_seq: 1, keys: Vec::new(), created });
    }

    /// A created room with member 1 and nothing else to hear.
    fn created() -> Self {
        let mut world = Self::administered();
        world.join(1);
        world.says_created(true, 0);
        world.answer_all(ENTERED);
        world.pass(100);
        world.discard();
        world
    }

    /// The store answers all questions alike.
    fn answer_all(&mut self, result: Result<RoomDone, RoomRefusal>) {
        for (token, _) in self.questions() {
            self.done(token, result.clone());
        }
    }

    fn acts(&mut self) -> Vec<RoomAct> {
        self.questions().into_iter().map(|(_, ask)| ask.act).collect()
    }
}

#[test]
fn a_room_that_keeps_nothing_is_opened_to_learn_whether_it_was_created() {
    let mut world = World::administered();
    world.join(1);
    world.publish(1);
    let is_load = |request: &StoreRequest| matches!(request, StoreRequest::Load { count: 0, .. });
    assert!(world.own().is_empty() && world.store.iter().all(is_load) && world.store.len() == 1);
    world.pass(ASK_AGAIN_MS);
    assert!(world.store.iter().all(is_load) && world.store.len() == 2);
    world.says_created(false, 0);
    assert_eq!(world.own(), ["1 joined at 0 [] of 1", "message 1", "1 published 1"]);
    world.store.clear();
    world.join(2);
    world.publish(2);
    assert_eq!(world.own(), ["2 joined at 1 [1] of 2", "message 2", "2 published 2"]);
    assert!(world.store.is_empty(), "nobody is asked about a room that was not created");
    world.says_created(false, 7);
    assert!(world.own().is_empty(), "a second answer changes nothing");
    world.ask(1, Ask::History { after: Some(0), before: None, limit: 9 });
    assert_eq!(world.own(), ["1 history [1, 2] of 1..2"]);
}

#[test]
fn who_waits_for_a_silent_store_is_refused() {
    let mut world = World::administered();
    world.join(1);
    world.ask(2, Ask::RoomInfo);
    world.pass(OPENING_TIMEOUT_MS);
    let late = UNAVAILABLE_RETRY_MS;
    assert_eq!(world.own(), [format!("1 unavailable for {late} unjoin"), format!("2 unavailable for {late}")]);
    world.assert_empty();
}

#[test]
fn a_join_waits_for_the_store_with_all_behind_it() {
    let mut world = World::created();
    world.join(2);
    world.publish(2);
    world.away(2, true);
    world.page(1);
    assert_eq!(world.own(), ["1 presence u1 of 1"], "others do not wait");
    let asked = world.questions();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].1.act, RoomAct::Enter { invite: None });
    world.done(asked[0].0, ENTERED);
    assert_eq!(world.own(), ["2 joined at 0 [] of 2 as member", "message 1", "2 published 1"]);
    world.pass(1_000);
    assert_eq!(world.own(), ["statuses u2 away"]);
    world.join_again(2);
    assert_eq!(world.acts(), [RoomAct::Enter { invite: None }], "each join is asked");
}

#[test]
fn what_a_connection_waited_for_goes_with_it() {
    let mut world = World::created();
    let before = world.budget.used();
    world.join(2);
    world.publish(2);
    let asked = world.questions();
    world.gone(2);
    world.done(asked[0].0, ENTERED);
    assert_eq!((world.own().len(), world.budget.used()), (0, before));
    world.join(3);
    world.leave(3);
    world.answer_all(Err(RoomRefusal::Forbidden));
    assert_eq!(world.own(), ["3 forbidden unjoin", "3 left"]);
    world.join(4);
    world.pass(ASK_TIMEOUT_MS);
    assert_eq!(world.own(), [format!("4 unavailable for {UNAVAILABLE_RETRY_MS} unjoin")]);
    assert!(world.owner.is_settled());
    world.gone(1);
    world.pass(3_000);
    world.discard();
    world.assert_empty();
}

#[test]
fn joins_and_questions_that_wait_are_bounded() {
    let mut world = World::created();
    for slot in 100..100 + ASKS_WAITING_MAX as u32 {
        world.join(slot);
    }
    world.join(2);
    world.ask(3, Ask::RoomInfo);
    assert_eq!(world.own(), ["2 overloaded unjoin", "3 overloaded"]);
    for _ in 0..PENDING_PER_ROOM_MAX - ASKS_WAITING_MAX {
        world.publish(100);
    }
    assert!(world.own().is_empty());
    world.publish(100);
    assert_eq!(world.own(), ["100 overloaded"]);
}

#[test]
fn whoever_came_before_a_room_became_private_goes() {
    let mut world = World::administered();
    world.ask(1, create(Visibility::Private));
    world.says_created(false, 0);
    let asked = world.questions();
    world.join(10);
    assert_eq!(world.sent(1), ["10 joined at 0 [] of 1"], "until then anyone may");
    world.done(asked[0].0, Ok(RoomDone::Created));
    assert_eq!(world.own(), [r#"1 room private owner "" None"#]);
    assert_eq!(world.sent(1), [format!("put out {:?} kicked", PutOut::AllBut(user(1)))]);
    world.join(10);
    assert_eq!(world.acts(), [RoomAct::Enter { invite: None }]);
}

#[test]
fn a_creation_without_an_answer_is_found_out() {
    for is_created in [true, false] {
        let mut world = World::administered();
        world.ask(1, create(Visibility::Public));
        world.says_created(false, 0);
        let asked = world.questions();
        world.join(2);
        world.pass(ASK_TIMEOUT_MS);
        assert_eq!(world.own().last(), Some(&format!("1 unavailable for {UNAVAILABLE_RETRY_MS}")));
        assert!(matches!(world.store[..], [StoreRequest::Load { count: 0, .. }]));
        world.store.clear();
        world.join(3);
        let unsure = world.questions();
        assert_eq!(unsure.len(), 1, "meanwhile the store is asked who may join");
        world.done(asked[0].0, Ok(RoomDone::Created));
        world.says_created(is_created, 0);
        world.done(unsure[0].0, ENTERED);
        world.join(4);
        assert_eq!(world.acts().len(), usize::from(is_created));
    }
}

#[test]
fn a_deletion_without_an_answer_is_found_out() {
    let mut world = World::created();
    world.ask(1, Ask::DeleteRoom);
    assert_eq!(world.acts(), [RoomAct::Delete]);
    world.pass(ASK_TIMEOUT_MS);
    world.discard();
    world.join(2);
    let asked = world.questions();
    world.says_created(false, 0);
    assert_eq!(world.own(), ["put out All room_deleted"]);
    world.done(asked[0].0, ENTERED);
    assert!(world.own().is_empty() && world.store.len() == 1, "the join waits for the new room");
    world.says_created(false, 0);
    assert_eq!(world.own(), ["2 joined at 0 [] of 1"]);
}

#[test]
fn nothing_is_left_of_a_deleted_room() {
    let mut world = World::new(|settings, rooms| {
        settings.keeping = KeepingMode::Commit;
        rooms.numbering_ttl_ms = 60_000;
    });
    world.join(1);
    world.says_created(true, 9);
    world.answer_all(ENTERED);
    world.discard();
    let epoch = world.epoch();
    world.publish(1);
    world.ask_with(member(1), Ask::Receipt { kind: ReceiptKind::Read, seq: 3 }, ReplyTo { id: None, form: Form::Json });
    world.ask(1, Ask::History { after: Some(0), before: None, limit: 3 });
    world.ask(1, Ask::Presence { after: None, limit: 3 });
    world.ask(2, Ask::DeleteRoom);
    world.ask(2, Ask::RoomInfo);
    world.join_from(3, Some(Recover { seq: 1, epoch: None }), None);
    let asked = world.questions();
    let delete = asked.iter().find(|(_, ask)| ask.act == RoomAct::Delete).expect("asked").0;
    assert!(world.own().is_empty(), "all of them wait");
    world.done(delete, Ok(RoomDone::Deleted));
    let mut own = world.own();
    assert_eq!(own.remove(0), "2 deleted", "before what waits behind it");
    assert_eq!(own.remove(0), "put out All room_deleted");
    own.sort();
    assert_eq!(
        own,
        ["1 not_joined", "1 room_not_found", "1 room_not_found", "1 room_not_found"],
        "presence; a publish, a receipt, a page"
    );
    world.hop(ToOwner::Expel { room: room(), member: member(1), away: false, reason: LeftReason::RoomDeleted });
    world.publish(1);
    assert_eq!(world.own(), ["1 expelled", "1 not_joined"]);
    assert!(matches!(world.store[..], [StoreRequest::Load { .. }]), "3 and the question wait for another room");
    world.says_created(false, 0);
    assert_eq!(world.own(), ["2 room_not_found", "3 joined at 0 [] of 1"]);
    assert_ne!(world.epoch(), epoch);
    for (token, _) in asked {
        world.done(token, ENTERED);
    }
    let failed = StoreEvent::Failed { attempt: 0, room: room(), epoch, seq: 10, retry_after_ms: 1 };
    world.store_event(failed);
    assert!(world.own().is_empty(), "late answers find nothing");
    world.gone(3);
    world.pass(3_000);
    world.discard();
    world.pass(ROOM_LINGER_MS);
    world.assert_empty();
}

#[test]
fn who_is_kicked_while_recovering_does_not_get_in() {
    let mut world = World::new(|settings, _| settings.keeping = KeepingMode::Behind);
    world.join(1);
    world.says_created(true, 9);
    world.answer_all(ENTERED);
    world.join_from(2, Some(Recover { seq: 5, epoch: None }), None);
    world.answer_all(ENTERED);
    world.discard();
    world.ask(1, Ask::Kick { user: user(2) });
    world.page(2);
    world.answer_all(Ok(RoomDone::Removed));
    let own = world.own();
    assert_eq!(own[0], "1 kicked u2");
    assert_eq!(own[1], "2 forbidden unjoin");
    assert_eq!(own[2], format!("put out {:?} kicked", PutOut::User(user(2))));
    assert_eq!(own[3], "2 not_joined");
}

#[test]
fn refusals_of_the_store_have_their_codes() {
    let mut world = World::created();
    let all = [
        (RoomRefusal::NotFound, "room_not_found"),
        (RoomRefusal::Exists, "room_exists"),
        (RoomRefusal::Forbidden, "forbidden"),
        (RoomRefusal::LastOwner, "forbidden"),
        (RoomRefusal::InviteInvalid, "invite_invalid"),
        (RoomRefusal::Full, "limit_exceeded"),
    ];
    for (refusal, code) in all {
        world.ask(1, Ask::SetRole { user: user(2), role: Role::Admin });
        world.answer_all(Err(refusal));
        world.join(5);
        world.answer_all(Err(refusal));
        assert_eq!(world.own(), [format!("1 {code}"), format!("5 {code} unjoin")]);
    }
    world.ask(1, Ask::DeleteRoom);
    let asked = world.questions();
    let answer = KeptAnswer::Unavailable { retry_after_ms: 7 };
    world.store_event(StoreEvent::Answered { token: asked[0].0, answer });
    assert_eq!(world.own(), ["1 unavailable for 7"]);
}

#[test]
fn an_invite_is_asked_with_a_code_that_nobody_can_guess() {
    let mut world = World::created();
    let mut codes = std::collections::BTreeSet::new();
    for _ in 0..100 {
        world.ask(1, Ask::Invite { uses_max: 3, ttl_ms: 5_000 });
        let Some((token, RoomAsk { act: RoomAct::Invite { code, uses_max: 3, expires_at }, .. })) =
            world.questions().pop()
        else {
            panic!("an invite")
        };
        assert!(code.len() == 32 && expires_at == world.now.unix_ms + 5_000 && codes.insert(code));
        world.done(token, Ok(RoomDone::Invited));
        assert_eq!(world.own(), [format!("1 invite until {expires_at}")]);
    }
}
