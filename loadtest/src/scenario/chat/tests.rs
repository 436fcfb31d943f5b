//! A chat against a small server: a correct one passes, and each fault is found.

use super::*;
use crate::clock::SECOND;
use crate::dialect::Dialect;
use crate::measure::counters::Counters;
use crate::plan::Scenario;
use crate::scenario::tests::keeper::{Keeper, KeeperFault};
use crate::scenario::tests::{LONG, fleet_of, lead, plan_of};

/// Six users who are in a hurry.
const LOAD: ChatLoad = ChatLoad {
    messages_per_user: 40.0,
    reads_per_user: 40.0,
    absences_per_user: 4.0,
    gone_ns: 100 * MILLISECOND,
    inbox: 3.0,
};

fn plan(keeper: &Keeper) -> WorkerPlan {
    plan_of(Scenario::Chat(LOAD), Dialect::json(), keeper.target())
}

fn chat_against(fault: KeeperFault, done: &dyn Fn(&Counters) -> bool) -> (Counters, Findings) {
    let keeper = Keeper::start(fault);
    let drain = if fault == KeeperFault::None { LONG } else { SECOND / 2 };
    lead(plan(&keeper), |plan| ChatActor::new(plan, LOAD), done, drain)
}

/// Everything that people do has happened.
fn enough(counters: &Counters) -> bool {
    let Counters { inbox_received, inbox_again, receipts, typing, replayed, .. } = *counters;
    let happened = [inbox_received, inbox_again, receipts, typing, replayed];
    counters.published >= 600
        && counters.recovered >= 20 * 7
        && counters.unread_checked >= 100
        && happened.iter().all(|count| *count > 0)
}

/// The lost messages, those that came twice, out of order, in the wrong room, and wrong ones.
fn faults(counters: &Counters) -> [u64; 5] {
    let Counters { duplicated, out_of_order, misrouted, wrong, .. } = *counters;
    [counters.lost(), duplicated, out_of_order, misrouted, wrong]
}

#[test]
fn a_correct_server_passes() {
    let (counters, findings) = chat_against(KeeperFault::None, &enough);
    assert_eq!(faults(&counters), [0; 5], "{counters:?} {:?}", findings.complaints);
    let broken = counters.disconnected + counters.errors + counters.not_recovered + counters.outstanding;
    assert_eq!(broken, 0, "{counters:?} {:?}", findings.complaints);
    assert!(enough(&counters), "{counters:?}");
    for name in ["latency", "lag", "recovery", "inbox"] {
        assert!(findings.histograms.contains_key(name), "{name} was recorded");
    }
}

#[test]
fn lost_duplicated_and_reordered_messages_are_found() {
    let lost = chat_against(KeeperFault::Lose, &|counters| counters.lost() > 0).0;
    assert!(lost.lost() > 0 && lost.duplicated == 0, "{lost:?}");
    let duplicated = chat_against(KeeperFault::Duplicate, &|counters| counters.duplicated > 0).0;
    assert!(duplicated.duplicated > 0, "{duplicated:?}");
    let swapped = chat_against(KeeperFault::Swap, &|counters| counters.out_of_order > 0).0;
    assert!(swapped.out_of_order > 0, "{swapped:?}");
}

#[test]
fn faults_of_recovery_inboxes_and_counts_are_found() {
    for (fault, wanted) in [
        (KeeperFault::Forget, "recovered from"),
        (KeeperFault::NoSessions, "resume was refused: session_unknown"),
        (KeeperFault::Redeliver, "was delivered"),
        (KeeperFault::LoseInbox, "although only"),
        (KeeperFault::Miscount, "unread, with head"),
    ] {
        let (counters, findings) = chat_against(fault, &|counters| counters.wrong + counters.errors > 0);
        let all = &findings.complaints;
        assert!(all.iter().any(|what| what.contains(wanted)), "{fault:?}: no {wanted:?} in {all:?} {counters:?}");
    }
}

#[test]
fn a_server_without_rooms_with_roles_is_named() {
    let keeper = Keeper::start(KeeperFault::NoRoles);
    let plan = plan(&keeper);
    let mut fleet = fleet_of(&plan);
    let mut actor = ChatActor::new(plan, LOAD);
    actor.enter(&mut fleet, RunPhase::Connect, 0);
    crate::scenario::tests::until(&mut fleet, &mut actor, &|counters| counters.errors > 0, LONG);
    let failure = fleet.last_failure.expect("the parent shows it");
    assert!(failure.contains("create_room was refused: unknown_command"), "{failure}");
    assert!(failure.contains("PROTOCOL section 2"), "{failure}");
}
