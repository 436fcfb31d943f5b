//! Sessions, by way of whole engines: written when a connection opens and when it ends, found in the store.

use crate::base::codes::ErrorCode;
use crate::base::ids::{Epoch, RoomName, UserName};
use crate::base::limits::{ASK_TIMEOUT_MS, ASKS_WAITING_MAX, SESSIONS_UNWRITTEN_MAX, WAITING_BYTES};
use crate::engine::call::{Call, CallAnswer};
use crate::engine::input::Input;
use crate::engine::kept::{KeptAnswer, KeptAsk, KeptSession, SessionId};
use crate::engine::machine::Machine;
use crate::engine::record::PageRequest;
use crate::engine::settings::KeepingMode;
use crate::engine::store_port::{StoreEvent, StoreRequest};

const STRANGE: SessionId = SessionId(77);

fn machine(keeping: KeepingMode) -> Machine {
    Machine::with(2, |settings, _| settings.keeping = keeping)
}

fn kept(user: &str, opened_at: u64) -> KeptSession {
    KeptSession { user: UserName::new(user).expect("valid"), node: "here".into(), opened_at }
}

/// The session that `welcome` has named.
fn session_of(machine: &Machine, core: u16, slot: u32) -> SessionId {
    let (_, rest) = machine.heard[&(core, slot)].split_once(r#""session":""#).expect("a welcome");
    SessionId(u128::from_str_radix(&rest[..32], 16).expect("32 digits"))
}

/// What a call for a session is answered, if it is yet: the user, nobody, or the code of an error.
fn answer(machine: &mut Machine, call: u64) -> Option<Result<Option<KeptSession>, ErrorCode>> {
    match machine.answers.remove(&call)? {
        CallAnswer::Session(answer) => Some(answer.map_err(|refusal| refusal.code)),
        other => panic!("another answer: {other:?}"),
    }
}

fn find(machine: &mut Machine, core: u16, session: SessionId) -> u64 {
    let call = machine.ask(core, Call::FindSession { session });
    machine.settle();
    call
}

/// The store answers.
fn told(machine: &mut Machine, core: u16, token: u64, answer: KeptAnswer) {
    machine.handle(core, Input::Store(StoreEvent::Answered { token, answer }));
    machine.settle();
}

#[test]
fn a_session_is_written_when_its_connection_opens_and_when_it_ends() {
    let mut machine = machine(KeepingMode::Behind);
    let (unix_ms, empty) = (machine.now.unix_ms, machine.engines[1].budget.used());
    machine.connect(1, 5, "ann", &[]);
    machine.settle();
    let session = session_of(&machine, 1, 5);
    assert_eq!(asked(&mut machine), [KeptAsk::SaveSession { session, kept: kept("ann", unix_ms) }]);
    assert!(machine.engines[1].is_settled(), "nobody waits for that");
    machine.handle(1, Input::Disconnected { slot: 5 });
    machine.settle();
    assert_eq!(asked(&mut machine), [KeptAsk::EndSession { session, at: unix_ms }]);
    assert_eq!(machine.engines[1].budget.used(), empty, "nothing of it is remembered");
    machine.heard.clear();
    machine.connect(1, 5, "ann", &[]);
    machine.settle();
    assert_ne!(session_of(&machine, 1, 5), session, "the next connection of the slot has another");
}

#[test]
fn a_store_that_is_far_behind_is_not_asked_to_keep_sessions() {
    let mut machine = machine(KeepingMode::Commit);
    let load = || StoreRequest::Page(page());
    machine.outputs[0].store = std::iter::repeat_with(load).take(SESSIONS_UNWRITTEN_MAX).collect();
    machine.connect(0, 1, "ann", &[]);
    machine.settle();
    assert!(machine.asks.is_empty() && session_of(&machine, 0, 1).0 != 0);
    machine.outputs[0].store = std::iter::repeat_with(load).take(SESSIONS_UNWRITTEN_MAX).collect();
    machine.handle(0, Input::Disconnected { slot: 1 });
    machine.settle();
    assert!(machine.asks.is_empty());
}

fn page() -> PageRequest {
    let (room, epoch) = (RoomName::new("r").expect("valid"), Epoch(1));
    PageRequest { token: 0, room, epoch, after: None, before: 1, expired_at: 0, count: 1, bytes: 1 }
}

/// Takes what the store was asked beside rooms.
fn asked(machine: &mut Machine) -> Vec<KeptAsk> {
    machine.asks.drain(..).map(|(_, ask)| ask).collect()
}

#[test]
fn a_session_is_asked_of_the_store() {
    let mut machine = machine(KeepingMode::Commit);
    let first = find(&mut machine, 0, STRANGE);
    let second = find(&mut machine, 0, STRANGE);
    let other_core = find(&mut machine, 1, STRANGE);
    let tokens: Vec<u64> = machine.asks.drain(..).map(|(token, _)| token).collect();
    assert!(tokens[0] != tokens[1] && tokens[2] >> 48 == 1);
    assert!(!machine.engines[0].is_settled() && machine.answers.is_empty());
    told(&mut machine, 0, tokens[1], KeptAnswer::Session(None));
    told(&mut machine, 0, tokens[0], KeptAnswer::Session(Some(kept("bob", 9))));
    told(&mut machine, 1, tokens[2], KeptAnswer::Unavailable { retry_after_ms: 7 });
    assert_eq!(answer(&mut machine, first), Some(Ok(Some(kept("bob", 9)))));
    assert_eq!(answer(&mut machine, second), Some(Ok(None)));
    assert_eq!(answer(&mut machine, other_core), Some(Err(ErrorCode::Unavailable)));
    assert!(machine.engines.iter().all(|engine| engine.is_settled() && engine.next_tick_us(machine.now).is_none()));
    told(&mut machine, 0, tokens[0], KeptAnswer::Session(None));
    told(&mut machine, 1, tokens[1], KeptAnswer::Session(None));
    assert!(machine.answers.is_empty(), "nobody asked");
}

#[test]
fn who_waits_for_a_silent_store_hears_that_in_time() {
    let mut machine = machine(KeepingMode::Commit);
    let before = machine.engines[0].budget.used();
    let call = find(&mut machine, 0, STRANGE);
    let (token, _) = machine.asks[0];
    assert_eq!(machine.engines[0].next_tick_us(machine.now), Some(machine.now.mono_us + ASK_TIMEOUT_MS * 1_000));
    assert_eq!(machine.engines[0].budget.used() - before, WAITING_BYTES as u64);
    machine.pass(ASK_TIMEOUT_MS - 100);
    assert_eq!(answer(&mut machine, call), None);
    machine.pass(100);
    assert_eq!(answer(&mut machine, call), Some(Err(ErrorCode::Unavailable)));
    assert!(machine.engines[0].is_settled() && machine.engines[0].budget.used() == before);
    told(&mut machine, 0, token, KeptAnswer::Session(None));
    assert!(machine.answers.is_empty(), "it came too late");
}

#[test]
fn only_so_many_wait() {
    let mut machine = machine(KeepingMode::Commit);
    for _ in 0..ASKS_WAITING_MAX {
        machine.ask(0, Call::FindSession { session: STRANGE });
    }
    let call = find(&mut machine, 0, STRANGE);
    assert_eq!((answer(&mut machine, call), machine.answers.len()), (Some(Err(ErrorCode::Overloaded)), 0));
    let (token, _) = machine.asks[0];
    told(&mut machine, 0, token, KeptAnswer::Session(None));
    let call = find(&mut machine, 0, STRANGE);
    assert_eq!((answer(&mut machine, call), machine.asks.len()), (None, ASKS_WAITING_MAX + 1));
}

#[test]
fn without_a_store_sessions_have_an_id_and_nothing_else() {
    let mut machine = machine(KeepingMode::None);
    machine.connect(0, 1, "ann", &[]);
    machine.connect(0, 2, "ann", &[]);
    machine.settle();
    let (one, other) = (session_of(&machine, 0, 1), session_of(&machine, 0, 2));
    assert!(one != other && one.to_string().len() == 32);
    let call = find(&mut machine, 0, one);
    assert_eq!((answer(&mut machine, call), machine.asks.len()), (Some(Ok(None)), 0));
}
