//! Rooms numbered by a link: opening, holes, repeats, new epochs.

use super::*;
use crate::base::limits::{ASK_AGAIN_MS, PAST_EPOCHS_MAX, POSITION_CHECK_MS, POSITION_JITTER_MS, POSITIONS_MAX};

pub(super) const EPOCH: Epoch = Epoch(50);
pub(super) const NEXT: Epoch = Epoch(60);

/// No room is compared with the link sooner after news.
const CHECK_FIRST_MS: u64 = POSITION_CHECK_MS - POSITION_JITTER_MS;

impl World {
    pub(super) fn linked() -> Self {
        Self::new(|settings, rooms| {
            settings.numbering = NumberingMode::Link;
            rooms.presence = false;
        })
    }

    /// A linked room with member 1 whose head is `head`.
    pub(super) fn at(head: Seq) -> Self {
        let mut world = Self::linked();
        world.join(1);
        world.read(EPOCH, head, 1..=head);
        world.discard();
        world
    }

    /// The link answers the last question; without authority, if that has been answered before.
    pub(super) fn read(&mut self, epoch: Epoch, head: Seq, records: impl Iterator<Item = Seq>) {
        let records = records.map(|seq| record(seq, 1)).collect();
        self.link_holds(Stretch { head: Some(Position { epoch, seq: head }), records }, None);
    }

    /// A late answer to a question that was given up.
    fn read_late(&mut self, epoch: Epoch, head: Seq, records: impl Iterator<Item = Seq>) {
        let records = records.map(|seq| record(seq, 1)).collect();
        let stretch = Stretch { head: Some(Position { epoch, seq: head }), records };
        self.link_event(LinkEvent::Read { token: 0, room: room(), stretch, present: None });
    }

    /// The link answers the last question for positions.
    pub(super) fn position(&mut self, head: Option<(Epoch, Seq)>) {
        let head = head.map(|(epoch, seq)| LinkHead { position: Position { epoch, seq }, presence: 0 });
        self.link = self.take_link();
        self.link_event(LinkEvent::Positions { token: self.positions_token, heads: vec![(room(), head)] });
    }

    pub(super) fn publication(&mut self, epoch: Epoch, seq: Seq) {
        self.link_event(LinkEvent::Publication { room: room(), epoch, record: record(seq, 1) });
    }

    pub(super) fn answered(&mut self, token: u64, seq: Seq, duplicate: bool) {
        self.numbered(token, EPOCH, seq, duplicate);
    }

    pub(super) fn numbered(&mut self, token: u64, epoch: Epoch, seq: Seq, duplicate: bool) {
        let result = Ok((Position { epoch, seq }, duplicate));
        self.link_event(LinkEvent::Published { token, result });
    }

    /// Takes the requests to the link since the last call.
    pub(super) fn linked_to(&mut self) -> Vec<String> {
        let requests = self.take_link();
        let requests = requests.into_iter().map(|request| match request {
            LinkRequest::Open { count, .. } => format!("open {count}"),
            LinkRequest::Read { after, presence, .. } => {
                format!("read {after}{}", if presence { " with presence" } else { "" })
            }
            LinkRequest::Renumber { from, count, .. } => format!("renumber {} {count}", from.0),
            LinkRequest::Positions { rooms, .. } => format!("positions of {}", rooms.len()),
            LinkRequest::Close { .. } => "close".to_owned(),
            LinkRequest::Page(PageRequest { after, before, count, .. }) => format!("page {after:?} {before} {count}"),
            LinkRequest::Publish { token, record, .. } => {
                let except = record.except.map_or(String::new(), |except| format!(" but {except}"));
                format!("publish {token}{except}")
            }
            LinkRequest::Presence { afresh, changes, .. } => {
                let changes: Vec<_> = changes
                    .iter()
                    .map(|UserCounts { user, connections, away }| format!("{user} {connections} {away}"))
                    .collect();
                format!("presence{} {}", if afresh { " afresh" } else { "" }, changes.join(", "))
            }
            LinkRequest::Verified { round } => format!("verified {round}"),
        });
        requests.collect()
    }
}

#[test]
fn a_room_is_opened_and_closed() {
    let mut world = World::linked();
    world.join(1);
    world.join(10);
    assert_eq!(world.linked_to(), ["open 10"]);
    world.pass(ASK_AGAIN_MS);
    assert_eq!(world.linked_to(), ["open 10"]);
    world.read(EPOCH, 12, 3..=12);
    assert_eq!(world.own(), ["1 joined at 12 [10, 11, 12] of 1"]);
    assert_eq!(world.sent(1), ["10 joined at 12 [10, 11, 12] of 2"]);
    world.gone(1);
    assert!(world.linked_to().is_empty());
    world.gone(10);
    assert_eq!(world.linked_to(), ["close"]);
    world.assert_empty();
    world.read(EPOCH, 12, 3..=12);
    world.publication(EPOCH, 13);
    world.assert_empty();
}

#[test]
fn a_room_that_was_never_published_to_is_open_too() {
    let mut world = World::linked();
    world.join(1);
    world.link_holds(Stretch { head: None, records: vec![] }, None);
    assert_eq!(world.own(), ["1 joined at 0 [] of 1"]);
}

#[test]
fn the_link_numbers_and_its_publications_are_delivered() {
    let mut world = World::at(4);
    world.publish(1);
    world.publish_with(1, |publish| publish.echo = false);
    assert_eq!(world.linked_to(), ["publish 0", "publish 1 but here/0-1-1"]);
    world.answered(0, 5, false);
    assert_eq!(world.own(), ["1 published 5"], "delivered is what comes back");
    world.publication(EPOCH, 5);
    let mut spared = record(6, 1);
    spared.except = Some("here/0-1-1".into());
    world.link_event(LinkEvent::Publication { room: room(), epoch: EPOCH, record: spared });
    let mut elsewhere = record(7, 1);
    elsewhere.except = Some("there/0-1-1".into());
    world.link_event(LinkEvent::Publication { room: room(), epoch: EPOCH, record: elsewhere });
    world.answered(1, 6, true);
    assert_eq!(world.own(), ["message 5", "message 6 but 1", "message 7", "1 published 6 again"]);
    world.answered(1, 6, false);
    assert!(world.own().is_empty() && world.linked_to().is_empty());
    assert_eq!(world.counters.broadcasts.get(), 3);
}

#[test]
fn a_publish_that_the_link_could_not_do_is_refused() {
    let mut world = World::at(0);
    world.publish(1);
    world.gone(1);
    assert!(world.has_room(), "its answer is awaited");
    world.link_event(LinkEvent::Published { token: 0, result: Err(LinkFailure { retry_after_ms: 7 }) });
    assert_eq!(world.own(), ["1 unavailable for 7"]);
    assert_eq!(world.linked_to(), ["publish 0", "close"]);
    world.assert_empty();
}

#[test]
fn what_comes_twice_is_dropped() {
    let mut world = World::at(3);
    for seq in [3, 4, 4, 1, 5, 4] {
        world.publication(EPOCH, seq);
    }
    assert_eq!(world.own(), ["message 4", "message 5"]);
    assert!(world.linked_to().is_empty());
}

#[test]
fn a_hole_is_read_before_anything_later_is_seen() {
    let mut world = World::at(3);
    for seq in [6, 8, 7] {
        world.publication(EPOCH, seq);
    }
    assert!(world.own().is_empty());
    assert_eq!(world.linked_to(), ["read 3"], "once");
    world.read(EPOCH, 7, 4..=7);
    assert_eq!(world.own(), ["message 4", "message 5", "message 6", "message 7", "message 8"]);
    world.pass(ASK_AGAIN_MS);
    world.read(EPOCH, 7, 4..=7);
    world.read(EPOCH, 8, 4..=8);
    assert!(world.own().is_empty());
}

#[test]
fn a_hole_that_closes_by_itself_needs_no_answer() {
    let mut world = World::at(3);
    world.publication(EPOCH, 5);
    world.publication(EPOCH, 4);
    assert_eq!(world.own(), ["message 4", "message 5"]);
    world.linked_to();
    world.read(EPOCH, 5, 4..=5);
    assert!(world.own().is_empty() && world.linked_to().is_empty());
    world.pass(CHECK_FIRST_MS - 1);
    assert!(world.linked_to().is_empty());
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let mut world = World::at(3);
    world.publication(EPOCH, 5);
    world.pass(2 * ASK_AGAIN_MS);
    assert_eq!(world.linked_to(), ["read 3", "read 3", "read 3"]);
    world.publication(EPOCH, 7);
    world.read(EPOCH, 5, 4..=5);
    assert_eq!(world.own(), ["message 4", "message 5"]);
    assert_eq!(world.linked_to(), ["read 5"], "more is known of than when that was asked");
    world.read(EPOCH, 7, 6..=7);
    assert_eq!(world.own(), ["message 6", "message 7"]);
    assert!(world.linked_to().is_empty());
}

#[test]
fn a_long_hole_is_read_page_by_page() {
    let mut world = World::at(3);
    world.publication(EPOCH, 3_000);
    world.linked_to();
    world.read(EPOCH, 3_000, 4..=1_027);
    assert_eq!((world.own().len(), world.linked_to()), (1_024, vec!["read 1027".to_owned()]));
    world.read(EPOCH, 3_000, 1_028..=2_999);
    assert_eq!((world.own().len(), world.linked_to().len()), (1_973, 0), "the last was held back");
}

#[test]
fn what_the_link_does_not_hold_any_more_is_a_gap() {
    let mut world = World::at(3);
    world.publication(EPOCH, 9);
    world.read(EPOCH, 9, 7..=9);
    assert_eq!(world.own(), ["gap 4..6", "message 7", "message 8", "message 9"]);
    assert_eq!(world.counters.dropped_gap.get(), 3);
    world.join_from(2, Some(Recover { seq: 3, epoch: None }), None);
    world.join_from(3, Some(Recover { seq: 6, epoch: None }), None);
    assert_eq!(world.own(), ["3 recovered at 9 [7, 8, 9] of 2"]);
    let Some(LinkRequest::Page(PageRequest { token, after: Some(3), before: 7, .. })) = world.link.pop() else {
        panic!("what memory lacks may be at the link: {:?}", world.link);
    };
    let result = Ok(RecordPage { first_seq: Some(7), records: vec![] });
    world.link_event(LinkEvent::Page(PageAnswer { token, room: room(), result }));
    assert_eq!(world.own(), ["2 joined at 9 [7, 8, 9] of 3"]);
    world.pass(POSITION_CHECK_MS + POSITION_JITTER_MS);
    world.position(Some((EPOCH, 20)));
    world.read(EPOCH, 20, std::iter::empty());
    assert_eq!(world.own(), ["gap 10..20"]);
    world.publication(EPOCH, 21);
    assert_eq!(world.own(), ["message 21"]);
}

#[test]
fn what_was_held_back_is_no_gap() {
    let mut world = World::at(3);
    world.publication(EPOCH, 5);
    world.publication(EPOCH, 6);
    world.read(EPOCH, 9, 8..=9);
    assert_eq!(world.own(), ["gap 4..7", "message 8", "message 9"]);
    let mut world = World::at(3);
    world.publication(EPOCH, 5);
    world.publication(EPOCH, 4);
    world.publication(EPOCH, 9);
    world.read(EPOCH, 9, 8..=9);
    assert_eq!(world.own(), ["message 4", "message 5", "gap 6..7", "message 8", "message 9"]);
}

#[test]
fn an_answer_to_no_read_makes_no_gap() {
    let mut world = World::at(3);
    world.read(EPOCH, 30, 21..=30);
    assert!(world.own().is_empty(), "a second answer to the open, which holds the newest only");
    assert_eq!(world.linked_to(), ["read 3"]);
    world.read(EPOCH, 30, 4..=30);
    assert_eq!(world.own().len(), 27);
}

#[test]
fn a_lost_last_message_is_found() {
    let mut world = World::at(3);
    world.pass(CHECK_FIRST_MS - 1);
    assert!(world.linked_to().is_empty());
    world.pass(2 * POSITION_JITTER_MS);
    assert_eq!(world.linked_to(), ["positions of 1"]);
    world.position(Some((EPOCH, 4)));
    assert_eq!(world.linked_to(), ["read 3"]);
    world.read(EPOCH, 4, 4..=4);
    assert_eq!(world.own(), ["message 4"]);
    world.pass(CHECK_FIRST_MS - 1);
    assert!(world.linked_to().is_empty());
    world.publication(EPOCH, 5);
    world.pass(CHECK_FIRST_MS - 1);
    assert!(world.linked_to().is_empty(), "there was news");
    world.pass(2 * POSITION_JITTER_MS);
    assert_eq!(world.linked_to(), ["positions of 1"]);
    world.pass(POSITION_CHECK_MS + POSITION_JITTER_MS);
    assert_eq!(world.linked_to(), ["positions of 1"], "a lost answer is asked for again at the next check");
    world.position(Some((EPOCH, 5)));
    world.position(Some((EPOCH, 9)));
    assert!(world.linked_to().is_empty(), "the second answer to one question");
}

#[test]
fn a_lost_message_of_ones_own_is_found_sooner() {
    let mut world = World::at(3);
    world.publish(1);
    world.answered(0, 4, false);
    world.linked_to();
    world.pass(ASK_AGAIN_MS);
    assert_eq!(world.linked_to(), ["read 3"]);
}

#[test]
fn what_comes_while_the_room_is_being_opened_is_not_lost() {
    let mut world = World::linked();
    world.join(1);
    world.publication(EPOCH, 6);
    world.publication(NEXT, 1);
    world.publication(EPOCH, 5);
    assert!(world.own().is_empty());
    world.linked_to();
    world.read(EPOCH, 4, 1..=4);
    assert_eq!(world.own(), ["1 joined at 6 [4, 5, 6] of 1"]);
    assert!(world.linked_to().is_empty());
    assert_eq!(world.owner.retention.kept_bytes, 0);
}

#[test]
fn another_numbering_is_told_to_all_before_its_first_message() {
    let mut world = World::at(3);
    world.join(10);
    world.sent(1);
    world.publication(NEXT, 2);
    world.publication(NEXT, 3);
    world.publication(EPOCH, 4);
    assert_eq!(world.linked_to(), ["open 10"], "once");
    assert_eq!(world.own(), ["message 4"], "the old one holds until the link has said so");
    world.read(NEXT, 2, 1..=2);
    assert_eq!(world.own(), ["new epoch at 2 [1, 2] of 2", "message 3"]);
    assert_eq!(world.sent(1), ["message 4", "new epoch at 2 [1, 2] of 2", "message 3"]);
    assert_eq!(world.epoch(), NEXT);
    world.join_from(2, Some(Recover { seq: 3, epoch: Some(EPOCH) }), None);
    assert_eq!(world.own(), ["2 joined at 3 [1, 2, 3] of 3"]);
}

#[test]
fn whoever_finds_another_numbering_opens_the_room_anew() {
    for by_read in [false, true] {
        let mut world = World::at(3);
        if by_read {
            world.publication(EPOCH, 5);
            world.read(NEXT, 7, 4..=7);
        } else {
            world.pass(POSITION_CHECK_MS + POSITION_JITTER_MS);
            world.now.unix_ms = START.unix_ms;
            world.position(Some((NEXT, 7)));
        }
        assert!(world.own().is_empty());
        assert_eq!(world.linked_to().pop().as_deref(), Some("open 10"), "{by_read}");
        world.read(NEXT, 7, 1..=7);
        assert_eq!(world.own(), ["new epoch at 7 [5, 6, 7] of 1"]);
    }
}

#[test]
fn a_room_that_the_link_does_not_know_is_opened_anew() {
    let mut world = World::at(3);
    world.link_event(LinkEvent::Restored { round: 1 });
    world.position(None);
    assert_eq!(world.linked_to(), ["positions of 1", "open 10"]);
    world.read(NEXT, 0, std::iter::empty());
    assert_eq!((world.own(), world.linked_to()), (vec!["new epoch at 0 [] of 1".into()], vec!["verified 1".into()]));
}

#[test]
fn an_old_numbering_does_not_come_back() {
    let mut world = World::at(3);
    world.publication(NEXT, 1);
    world.read(NEXT, 1, 1..=1);
    world.own();
    world.linked_to();
    world.publication(EPOCH, 4);
    world.read_late(EPOCH, 4, 1..=4);
    world.read_late(EPOCH, 9, 1..=9);
    assert!(world.own().is_empty() && world.linked_to().is_empty());
    world.pass(ASK_AGAIN_MS);
    assert_eq!((world.epoch(), world.linked_to()), (NEXT, vec!["positions of 1".to_owned()]));
    world.position(Some((NEXT, 2)));
    world.read(NEXT, 2, 2..=2);
    assert_eq!(world.own(), ["message 2"]);
}

#[test]
fn a_late_answer_only_fills_holes() {
    let mut world = World::at(3);
    world.read_late(EPOCH, 2, 1..=2);
    assert!(world.own().is_empty() && world.linked_to().is_empty(), "lower, and nothing follows from that");
    world.publication(EPOCH, 6);
    world.linked_to();
    world.read_late(EPOCH, 5, 4..=5);
    assert_eq!(world.own(), ["message 4", "message 5", "message 6"]);
    // A late publication of an epoch that was never the room's, and a late answer to go with it.
    world.publication(Epoch(40), 9);
    world.read_late(Epoch(40), 9, 9..=9);
    assert_eq!((world.own().len(), world.epoch()), (0, EPOCH));
    let mut world = World::linked();
    world.join(1);
    world.read_late(EPOCH, 2, 1..=2);
    assert!(world.own().is_empty(), "nor does one open a room");
    world.pass(ASK_AGAIN_MS);
    world.read(EPOCH, 2, 1..=2);
    assert_eq!(world.own(), ["1 joined at 2 [1, 2] of 1"]);
}

#[test]
fn a_stranger_among_numberings_changes_nothing() {
    let mut world = World::at(3);
    world.publication(Epoch(9), 4);
    assert_eq!(world.linked_to(), ["open 10"]);
    world.read(EPOCH, 4, 1..=4);
    assert_eq!(world.own(), ["message 4"]);
    assert_eq!((world.epoch(), world.owner.retention.kept_bytes), (EPOCH, 0));
}

#[test]
fn numberings_may_follow_each_other_without_end() {
    let mut world = World::at(3);
    for epoch in 100..100 + 2 * PAST_EPOCHS_MAX as u64 {
        world.publication(Epoch(epoch), 1);
        world.read(Epoch(epoch), 1, 1..=1);
        assert_eq!((world.own(), world.epoch()), (vec!["new epoch at 1 [1] of 1".to_owned()], Epoch(epoch)));
    }
}

#[test]
fn another_numbering_waits_for_a_full_lane() {
    let mut world = World::at(3);
    world.join(10);
    world.sent(1);
    world.fill_lane(1);
    world.publication(EPOCH, 4);
    world.publication(NEXT, 1);
    world.read(NEXT, 1, 1..=1);
    world.publication(NEXT, 2);
    assert_eq!(world.own(), ["message 4", "new epoch at 1 [1] of 2", "message 2"]);
    assert!(world.sent(1).is_empty());
    world.pass(100);
    assert_eq!(world.sent(1), ["new epoch at 2 [1, 2] of 2"]);
    world.publication(NEXT, 3);
    assert_eq!(world.sent(1), ["message 3"]);
}

#[test]
fn a_gap_waits_for_a_full_lane() {
    let mut world = World::at(3);
    world.join(10);
    world.sent(1);
    world.fill_lane(1);
    world.publication(EPOCH, 9);
    world.read(EPOCH, 9, 8..=9);
    assert!(world.sent(1).is_empty());
    world.pass(100);
    assert_eq!(world.sent(1), ["gap 4..7", "message 8", "message 9"]);
}

#[test]
fn after_an_outage_every_room_is_compared() {
    let mut world = World::at(3);
    world.link_event(LinkEvent::Restored { round: 1 });
    assert_eq!(world.linked_to(), ["positions of 1"]);
    world.link_event(LinkEvent::Restored { round: 2 });
    assert_eq!(world.linked_to(), ["positions of 1"], "the first may be lost");
    world.pass(ASK_AGAIN_MS);
    assert_eq!(world.linked_to(), ["positions of 1"], "somebody waits for it");
    world.position(Some((EPOCH, 5)));
    assert_eq!(world.linked_to(), ["read 3", "verified 2"]);
    world.read(EPOCH, 5, 4..=5);
    assert_eq!(world.own(), ["message 4", "message 5"]);
    let mut world = World::linked();
    world.join(1);
    world.link_event(LinkEvent::Restored { round: 1 });
    assert_eq!(world.linked_to(), ["open 10", "open 10", "verified 1"], "it knows nothing that could be lost");
}

#[test]
fn many_rooms_are_compared_in_few_questions() {
    const ROOMS: usize = 2 * POSITIONS_MAX + 500;
    let mut world = World::linked();
    let name = |index: usize| RoomName::new(&format!("room {index}")).expect("valid");
    for index in 0..ROOMS {
        let (again, recover, history) = (false, None, None);
        let join = ToOwner::Join {
            room: name(index),
            member: member(1),
            away: false,
            again,
            recover,
            history,
            invite: None,
            standing: Standing::Anyone,
            reply: REPLY,
        };
        world.hop(join);
    }
    let head = Position { epoch: EPOCH, seq: 0 };
    for request in world.take_link() {
        let LinkRequest::Open { token, room, .. } = request else { panic!("{request:?}") };
        let stretch = Stretch { head: Some(head), records: vec![] };
        world.link_event(LinkEvent::Read { token, room, stretch, present: None });
    }
    world.discard();
    world.link_event(LinkEvent::Restored { round: 7 });
    let requests = world.take_link();
    let sizes: Vec<_> = requests
        .iter()
        .map(|request| match request {
            LinkRequest::Positions { rooms, .. } => rooms.len(),
            _ => panic!("{request:?}"),
        })
        .collect();
    assert_eq!(sizes, [POSITIONS_MAX, POSITIONS_MAX, 500]);
    for request in requests {
        assert!(world.link.is_empty());
        let LinkRequest::Positions { token, rooms } = request else { continue };
        let heads = rooms.into_iter().map(|room| (room, Some(LinkHead { position: head, presence: 0 }))).collect();
        world.link_event(LinkEvent::Positions { token, heads });
    }
    assert_eq!(world.linked_to(), ["verified 7"]);
    // Each has a time of its own.
    world.pass(CHECK_FIRST_MS - 1);
    assert!(world.link.is_empty());
    for tenth in 0..10 {
        world.pass(POSITION_JITTER_MS / 5);
        let asked: usize = world
            .take_link()
            .into_iter()
            .map(|request| if let LinkRequest::Positions { rooms, .. } = request { rooms.len() } else { 0 })
            .sum();
        assert!((ROOMS / 20..ROOMS / 5).contains(&asked), "{asked} in tenth {tenth}");
    }
}

#[test]
fn keys_are_the_links() {
    let mut world = World::at(0);
    world.publish_key(1, "k");
    world.publish_key(1, "k");
    assert_eq!(world.linked_to(), ["publish 0", "publish 1"]);
    world.publication(EPOCH, 1);
    world.answered(0, 1, false);
    world.answered(1, 1, true);
    assert_eq!(world.own(), ["message 1", "1 published 1", "1 published 1 again"]);
}
