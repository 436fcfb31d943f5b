//! What is asked beside publications, as bytes: every [`KeptAsk`], reads too, so that a change of what is a read is no change of
//! the format.

use crate::engine::kept::{AccountAsk, Actor, DeadLetterAsk, KeptAsk, RoomAct, RoomAsk, SessionId};
use crate::store::codec::bytes::{DecodeError, Reader, Writer};
use crate::store::codec::values::{
    read_account, read_dead_letter, read_session, receipt_kind, role, visibility, write_account, write_dead_letter,
    write_session,
};

pub(super) fn write(out: &mut Writer<'_>, ask: &KeptAsk) {
    match ask {
        KeptAsk::SaveSession { session, kept } => {
            out.u8(1);
            out.u128(session.0);
            write_session(out, kept);
        }
        KeptAsk::EndSession { session, at } => {
            out.u8(2);
            out.u128(session.0);
            out.u64(*at);
        }
        KeptAsk::FindSession { session, at } => {
            out.u8(3);
            out.u128(session.0);
            out.u64(*at);
        }
        KeptAsk::Room(ask) => {
            out.u8(4);
            out.text(&ask.room);
            out.text(&ask.actor.user);
            out.flag(ask.actor.is_admin);
            out.u64(ask.at);
            write_act(out, &ask.act);
        }
        KeptAsk::ListRooms { user, after, limit } => {
            out.u8(5);
            out.text(user);
            out.option(after.as_deref(), Writer::text);
            out.u32(*limit);
        }
        KeptAsk::Account(ask) => {
            out.u8(6);
            write_account_ask(out, ask);
        }
        KeptAsk::DeadLetter(ask) => {
            out.u8(7);
            write_dead_letter_ask(out, ask);
        }
    }
}

pub(super) fn read(from: &mut Reader<'_>) -> Result<KeptAsk, DecodeError> {
    let kind = kind(from, "kind of request", 7)?;
    Ok(match kind {
        1 => KeptAsk::SaveSession { session: read_session_id(from)?, kept: read_session(from)? },
        2 => KeptAsk::EndSession { session: read_session_id(from)?, at: from.u64("a request's time")? },
        3 => KeptAsk::FindSession { session: read_session_id(from)?, at: from.u64("a request's time")? },
        4 => {
            let room = from.room("a request's room")?;
            let actor = Actor { user: from.user("an actor")?, is_admin: from.flag("an actor's flag")? };
            let at = from.u64("a request's time")?;
            KeptAsk::Room(RoomAsk { room, actor, at, act: read_act(from)? })
        }
        5 => KeptAsk::ListRooms {
            user: from.user("a list's user")?,
            after: from.option("a list's start", |from| from.room("a list's start"))?,
            limit: from.u32("a list's limit")?,
        },
        6 => KeptAsk::Account(read_account_ask(from)?),
        _ => KeptAsk::DeadLetter(read_dead_letter_ask(from)?),
    })
}

fn kind(from: &mut Reader<'_>, field: &'static str, last: u8) -> Result<u8, DecodeError> {
    from.choice(field, |byte| (1..=last).contains(&byte).then_some(byte))
}

fn read_session_id(from: &mut Reader<'_>) -> Result<SessionId, DecodeError> {
    from.u128("a session's id").map(SessionId)
}

fn write_act(out: &mut Writer<'_>, act: &RoomAct) {
    match act {
        RoomAct::Create { visibility, title } => {
            out.u8(1);
            out.u8(*visibility as u8);
            out.text(title);
        }
        RoomAct::Delete => out.u8(2),
        RoomAct::Info => out.u8(3),
        RoomAct::Enter { invite } => {
            out.u8(4);
            out.option(invite.as_deref(), Writer::text);
        }
        RoomAct::Invite { code, uses_max, expires_at } => {
            out.u8(5);
            out.text(code);
            out.u32(*uses_max);
            out.u64(*expires_at);
        }
        RoomAct::SetRole { user, role } => {
            out.u8(6);
            out.text(user);
            out.u8(*role as u8);
        }
        RoomAct::Remove { user } => {
            out.u8(7);
            out.text(user);
        }
        RoomAct::Receipt { kind, seq } => {
            out.u8(8);
            out.u8(*kind as u8);
            out.u64(*seq);
        }
        RoomAct::FindReceipt { kind } => {
            out.u8(9);
            out.u8(*kind as u8);
        }
    }
}

fn read_act(from: &mut Reader<'_>) -> Result<RoomAct, DecodeError> {
    let kind = kind(from, "kind of request of a room", 9)?;
    Ok(match kind {
        1 => RoomAct::Create {
            visibility: from.choice("visibility", visibility)?,
            title: from.text("a room's title")?.into(),
        },
        2 => RoomAct::Delete,
        3 => RoomAct::Info,
        4 => RoomAct::Enter { invite: from.option("an invite", |from| Ok(from.text("an invite")?.into()))? },
        5 => RoomAct::Invite {
            code: from.text("an invite's code")?.into(),
            uses_max: from.u32("an invite's uses")?,
            expires_at: from.u64("an invite's end")?,
        },
        6 => RoomAct::SetRole { user: from.user("a member")?, role: from.choice("role", role)? },
        7 => RoomAct::Remove { user: from.user("a member")? },
        8 => {
            RoomAct::Receipt { kind: from.choice("kind of receipt", receipt_kind)?, seq: from.u64("a receipt's seq")? }
        }
        _ => RoomAct::FindReceipt { kind: from.choice("kind of receipt", receipt_kind)? },
    })
}

fn write_account_ask(out: &mut Writer<'_>, ask: &AccountAsk) {
    match ask {
        AccountAsk::Add(account) => {
            out.u8(1);
            write_account(out, account);
        }
        AccountAsk::Find(user) => {
            out.u8(2);
            out.text(user);
        }
        AccountAsk::SetPassword(user, hash) => {
            out.u8(3);
            out.text(user);
            out.text(hash);
        }
        AccountAsk::SetLocked(user, is_locked) => {
            out.u8(4);
            out.text(user);
            out.flag(*is_locked);
        }
        AccountAsk::List { after, limit } => {
            out.u8(5);
            out.option(after.as_deref(), Writer::text);
            out.u32(*limit);
        }
        AccountAsk::SigningKey(key) => {
            out.u8(6);
            out.0.extend_from_slice(key);
        }
    }
}

fn read_account_ask(from: &mut Reader<'_>) -> Result<AccountAsk, DecodeError> {
    let kind = kind(from, "kind of request of accounts", 6)?;
    Ok(match kind {
        1 => AccountAsk::Add(read_account(from)?),
        2 => AccountAsk::Find(from.user("an account's user")?),
        3 => AccountAsk::SetPassword(from.user("an account's user")?, from.text("a password's hash")?.into()),
        4 => AccountAsk::SetLocked(from.user("an account's user")?, from.flag("an account's lock")?),
        5 => AccountAsk::List {
            after: from.option("a list's start", |from| from.user("a list's start"))?,
            limit: from.u32("a list's limit")?,
        },
        _ => AccountAsk::SigningKey(from.key("a signing key")?),
    })
}

fn write_dead_letter_ask(out: &mut Writer<'_>, ask: &DeadLetterAsk) {
    match ask {
        DeadLetterAsk::Add(letter) => {
            out.u8(1);
            write_dead_letter(out, letter);
        }
        DeadLetterAsk::List { after, limit } => {
            out.u8(2);
            out.u64(*after);
            out.u32(*limit);
        }
        DeadLetterAsk::Find(id) => {
            out.u8(3);
            out.u64(*id);
        }
        DeadLetterAsk::Drop(id) => {
            out.u8(4);
            out.u64(*id);
        }
    }
}

fn read_dead_letter_ask(from: &mut Reader<'_>) -> Result<DeadLetterAsk, DecodeError> {
    let kind = kind(from, "kind of request of dead letters", 4)?;
    Ok(match kind {
        1 => DeadLetterAsk::Add(read_dead_letter(from)?),
        2 => DeadLetterAsk::List { after: from.u64("a list's start")?, limit: from.u32("a list's limit")? },
        3 => DeadLetterAsk::Find(from.u64("a dead letter's id")?),
        _ => DeadLetterAsk::Drop(from.u64("a dead letter's id")?),
    })
}
