//! Random changes read back as they were written; truncated, changed and random bytes are errors, never a panic.

use super::*;
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::ids::{Position, UserName};
use crate::engine::kept::{
    AccountAsk, Actor, DeadLetter, DeadLetterAsk, KeptAccount, KeptSession, RoomAct, RoomAsk, SessionId,
};
use crate::wire::publication::DataKind;

use crate::store::random::Random;

fn text(random: &mut Random) -> Box<str> {
    let length = random.below(9);
    (0..length).map(|_| *random.pick(&['a', 'Z', '0', 'ü', '€', '\u{1f980}', '\n', '\0'])).collect()
}

fn name(random: &mut Random) -> String {
    let length = 1 + random.below(9);
    (0..length).map(|_| *random.pick(&['a', 'Z', '@', ':', 'ü', '€'])).collect()
}

fn room(random: &mut Random) -> RoomName {
    RoomName::new(&name(random)).expect("a name")
}

fn user(random: &mut Random) -> UserName {
    UserName::new(&name(random)).expect("a name")
}

fn maybe<T>(random: &mut Random, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
    (random.below(2) == 1).then(|| make(random))
}

fn record(random: &mut Random) -> Record {
    let length = random.below(40);
    Record {
        seq: random.next(),
        at: random.next(),
        from: user(random),
        kind: *random.pick(&[DataKind::Json, DataKind::Binary]),
        data: Bytes::from(random.bytes(length)),
        key: maybe(random, text),
        except: maybe(random, |random| text(random).into()),
    }
}

fn account(random: &mut Random) -> KeptAccount {
    KeptAccount {
        user: user(random),
        name: maybe(random, text),
        password_hash: text(random),
        created_at: random.next(),
        is_locked: random.below(2) == 1,
    }
}

fn dead_letter(random: &mut Random) -> DeadLetter {
    DeadLetter {
        id: random.next(),
        at: random.next(),
        reason: text(random),
        room: room(random),
        epoch: Epoch(random.next()),
        record: record(random),
    }
}

fn act(random: &mut Random) -> RoomAct {
    let kind = *random.pick(&[ReceiptKind::Read, ReceiptKind::Delivered]);
    match random.below(9) {
        0 => RoomAct::Create {
            visibility: *random.pick(&[Visibility::Public, Visibility::Private]),
            title: text(random),
        },
        1 => RoomAct::Delete,
        2 => RoomAct::Info,
        3 => RoomAct::Enter { invite: maybe(random, text) },
        4 => RoomAct::Invite { code: text(random), uses_max: random.next() as u32, expires_at: random.next() },
        5 => RoomAct::SetRole { user: user(random), role: *random.pick(&[Role::Member, Role::Admin, Role::Owner]) },
        6 => RoomAct::Remove { user: user(random) },
        7 => RoomAct::Receipt { kind, seq: random.next() },
        _ => RoomAct::FindReceipt { kind },
    }
}

fn ask(random: &mut Random) -> KeptAsk {
    let session = SessionId(u128::from(random.next()) << 64 | u128::from(random.next()));
    let limit = random.next() as u32;
    match random.below(16) {
        0 => {
            let (user, node, opened_at) = (user(random), text(random).into(), random.next());
            KeptAsk::SaveSession { session, kept: KeptSession { user, node, opened_at } }
        }
        1 => KeptAsk::EndSession { session, at: random.next() },
        2 => KeptAsk::FindSession { session, at: random.next() },
        3 => KeptAsk::ListRooms { user: user(random), after: maybe(random, room), limit },
        4 => KeptAsk::Account(AccountAsk::Add(account(random))),
        5 => KeptAsk::Account(AccountAsk::Find(user(random))),
        6 => KeptAsk::Account(AccountAsk::SetPassword(user(random), text(random))),
        7 => KeptAsk::Account(AccountAsk::SetLocked(user(random), limit.is_multiple_of(2))),
        8 => KeptAsk::Account(AccountAsk::List { after: maybe(random, user), limit }),
        9 => KeptAsk::Account(AccountAsk::SigningKey(random.bytes(32).try_into().expect("32 bytes"))),
        10 => KeptAsk::DeadLetter(DeadLetterAsk::Add(dead_letter(random))),
        11 => KeptAsk::DeadLetter(DeadLetterAsk::List { after: random.next(), limit }),
        12 => KeptAsk::DeadLetter(DeadLetterAsk::Find(random.next())),
        13 => KeptAsk::DeadLetter(DeadLetterAsk::Drop(random.next())),
        _ => {
            let actor = Actor { user: user(random), is_admin: limit.is_multiple_of(2) };
            KeptAsk::Room(RoomAsk { room: room(random), actor, at: random.next(), act: act(random) })
        }
    }
}

fn change(random: &mut Random) -> Change {
    match random.below(9) {
        5 => Change::Import(step(random)),
        0 => Change::Begin { boot: random.next(), is_behind: random.below(2) == 1 },
        1 => Change::End,
        2 => Change::Open { room: room(random), epoch: Epoch(random.next()), at: random.next() },
        3 => Change::Append { room: room(random), epoch: Epoch(random.next()), record: record(random) },
        4 => {
            let (room, id) = (room(random), random.next());
            Change::Forget { room, id, seq: random.next(), used_at: random.next() }
        }
        _ => Change::Ask(ask(random)),
    }
}

fn step(random: &mut Random) -> ImportStep {
    match random.below(6) {
        0 => ImportStep::Start {
            room: room(random),
            head: maybe(random, |random| Position { epoch: Epoch(random.next()), seq: random.next() }),
            needs_epoch: random.below(2) == 1,
            used_at: random.next(),
            created: maybe(random, |random| (*random.pick(&[Visibility::Public, Visibility::Private]), text(random))),
        },
        1 => ImportStep::Member { user: user(random), role: *random.pick(&[Role::Member, Role::Admin, Role::Owner]) },
        2 => {
            let (code, uses_left) = (text(random), random.next() as u32);
            ImportStep::Invite { code, uses_left, expires_at: random.next() }
        }
        3 => ImportStep::Receipt { user: user(random), read: random.next(), delivered: random.next() },
        4 => ImportStep::Record(record(random)),
        _ => ImportStep::Finish,
    }
}

fn encoded(change: &Change) -> Vec<u8> {
    let mut out = Vec::new();
    change.encode(&mut out);
    out
}

#[test]
fn every_change_reads_back_and_no_part_of_it_does() {
    let mut random = Random(1);
    for _ in 0..4_000 {
        let change = change(&mut random);
        let bytes = Bytes::from(encoded(&change));
        assert_eq!(Change::decode(&bytes), Ok(change.clone()));
        for length in 0..bytes.len() {
            assert!(Change::decode(&bytes.slice(..length)).is_err(), "{length} bytes of {change:?}");
        }
        let longer = Bytes::from([&bytes[..], &[0]].concat());
        assert!(matches!(Change::decode(&longer), Err(DecodeError::Long { count: 1, .. })), "{change:?}");
    }
}

#[test]
fn changed_and_random_bytes_never_panic_and_never_mean_two_things() {
    let mut random = Random(2);
    let (mut refused, mut other) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = encoded(&change(&mut random));
        if random.below(2) == 0 {
            let length = random.below(80);
            bytes = random.bytes(length);
        } else {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        match Change::decode(&Bytes::from(bytes.clone())) {
            // Bytes that are a change are the bytes of that change.
            Ok(change) => {
                assert_eq!(encoded(&change), bytes);
                other += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 5_000 && other > 1_000, "{refused} refused, {other} read");
}

#[test]
fn an_error_names_the_field() {
    let error = |bytes: &'static [u8]| Change::decode(&Bytes::from_static(bytes)).expect_err("wrong").to_string();
    assert_eq!(error(&[]), "the bytes end at offset 0, within kind of change");
    assert_eq!(error(&[9]), "the byte 9 at offset 0 is no kind of change");
    assert_eq!(error(&[5, 4, 1, 0, 0, 0, b'r', 255]), "the bytes end at offset 7, within an actor");
    assert_eq!(error(&[3, 0, 0, 0, 0]), "an opened room at offset 5 must not be empty");
}
