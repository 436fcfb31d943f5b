//! Matches what the server says to what was asked: each command with an `id`, and each binary command, gets exactly one
//! reply, the right one, and errors only where they are due.

use std::rc::Rc;

use roomring::wire::form::Form;

use super::super::hear::{Heard, Joined, Message, To};
use super::super::view::{self, Scene};
use super::session::{Ask, Member, Session, What};
use super::{Client, Context, Finding};

/// Takes one message of the server.
pub fn hear(session: &mut Session, heard: Heard, client: &mut Client, context: &mut Context<'_>) {
    let conn = session.conn;
    if let Heard::Welcome { user, max_message_bytes, heartbeat_ms } = heard {
        let settings = &context.profile.settings;
        let expected = client.user.as_deref();
        let sound = session.user.is_none()
            && expected.map_or(user.starts_with("guest-"), |expected| expected == user)
            && max_message_bytes == settings.max_message_bytes as u64
            && heartbeat_ms == settings.heartbeat_interval_ms;
        context.judge.check(sound, || format!("connection {conn} of {expected:?} is welcomed as {user}"));
        session.user = Some(Rc::from(user));
        return;
    }
    context.judge.check(session.user.is_some(), || format!("connection {conn} heard {heard:?} before welcome"));
    match heard {
        Heard::Welcome { .. } => {}
        Heard::Joined(joined) => hear_joined(session, &joined, client, context),
        Heard::Left { to, room } => hear_left(session, to, &room, context),
        Heard::Published { to, room, seq, epoch, duplicate } => {
            hear_published(session, to, &room, Position { seq, epoch, duplicate }, client, context);
        }
        Heard::History { id, page } => {
            let room = page.room.clone();
            let Some((ask, scene)) = take_id(session, id, &room, context) else { return };
            let What::History(history) = &ask.what else { return wrong_reply(session, &ask, "history", context) };
            view::check_history(scene, &page, history, context.judge);
            if let Some(finding) = &mut client.findings[ask.room] {
                finding.read = true;
                let agrees = finding.epoch == page.epoch && finding.head == page.head_seq;
                context.judge.check(agrees, || format!("history of room {} ends elsewhere than {finding:?}", ask.room));
            }
        }
        Heard::Presence { id, room, total, users } => {
            let Some((ask, _)) = take_id(session, id, &room, context) else { return };
            let ordered = users.windows(2).all(|pair| pair[0].user.as_bytes() < pair[1].user.as_bytes());
            let known = |status: &str| status == "online" || status == "away";
            let What::Presence(limit) = ask.what else { return wrong_reply(session, &ask, "presence", context) };
            let sound = users.len() as u64 <= limit
                && ordered
                && total >= users.len() as u64
                && users.iter().all(|user| known(&user.status));
            context.judge.check(sound, || format!("connection {conn} room {room}: presence {total} {users:?}"));
            session.views[ask.room].crowd.on_page(&users, limit);
            if let Some(finding) = &mut client.findings[ask.room] {
                finding.present = Some(users);
            }
        }
        Heard::StatusSet { id, status } => {
            let ask = session.asks.remove(&id);
            let sound = matches!(&ask, Some(Ask { what: What::Status(away), .. }) if *away == (status == "away"));
            context.judge.check(sound, || format!("connection {conn}: status {status} answers {ask:?}"));
        }
        Heard::TypingTold { id, room } => {
            let Some((ask, _)) = take_id(session, id, &room, context) else { return };
            let What::Typing = ask.what else { return wrong_reply(session, &ask, "typing", context) };
        }
        Heard::ReceiptKept { id, room, kind } => {
            let Some((ask, _)) = take_id(session, id, &room, context) else { return };
            let What::Receipt = ask.what else { return wrong_reply(session, &ask, "receipt", context) };
            context.judge.check(kind == "read", || format!("connection {conn}: a receipt of kind {kind}"));
        }
        Heard::Receipt { room, user } => {
            let Some(scene) = scene(session, &room, context) else { return };
            let member = session.views[scene.room].member;
            context.judge.check(member, || format!("connection {conn} heard {user}'s receipt in {room}: no member"));
            context.judge.seen.receipts += 1;
        }
        Heard::Typing { room, user } => {
            let Some(scene) = scene(session, &room, context) else { return };
            let member = session.views[scene.room].member;
            context.judge.check(member, || format!("connection {conn} heard {user} typing in room {room}: no member"));
            context.judge.seen.typing += 1;
        }
        Heard::Pong { to, value } => hear_pong(session, to, value, context),
        Heard::Message { room, message } => hear_live(session, &room, &message, true, context),
        Heard::Ephemeral { room, message } => hear_live(session, &room, &message, false, context),
        Heard::Status { room, user, status } => {
            let Some(scene) = scene(session, &room, context) else { return };
            let member = session.views[scene.room].member;
            let tracked = context.profile.settings.room(&room).presence;
            let known = ["online", "away", "offline"].contains(&status.as_str());
            context.judge.check(member && tracked && known, || {
                format!("connection {conn} heard {user} {status} in room {room}: member {member}, presence {tracked}")
            });
            session.views[scene.room].crowd.on_status(user, status);
        }
        Heard::Total { room, total } => {
            let Some(scene) = scene(session, &room, context) else { return };
            let (member, tracked) = (session.views[scene.room].member, context.profile.settings.room(&room).presence);
            context.judge.check(member && tracked, || {
                format!("connection {conn} heard total {total} in room {room}: member {member}, presence {tracked}")
            });
            context.judge.seen.totals += 1;
            session.views[scene.room].crowd.on_total();
        }
        Heard::Gap { room, from, to } => {
            let Some(scene) = scene(session, &room, context) else { return };
            session.views[scene.room].on_gap(scene, from, to, context.judge);
        }
        Heard::Reconnect { after_ms, reason } => {
            let draining = reason == "draining" && context.profile.faults.drain > 0.0;
            let legal = draining || (reason == "overloaded" && context.profile.is_tight());
            context.judge.check(legal, || format!("connection {conn}: reconnect after {after_ms} for {reason}"));
            session.reconnect = Some(reason);
        }
        Heard::Error { to, code, retry_after_ms } => hear_error(session, to, &code, retry_after_ms, context),
    }
}

/// What a room's name stands for; a room that is none of the run's was never joined.
fn scene<'a>(session: &Session, room: &str, context: &mut Context<'a>) -> Option<Scene<'a>> {
    let conn = session.conn;
    let Some(room) = context.rooms.iter().position(|name| name == room) else {
        context.judge.fail(|| format!("connection {conn} heard of a room {room:?}"));
        return None;
    };
    Some(Scene { profile: context.profile, conn, room, unix_ms: context.unix_ms })
}

/// Takes the JSON command that a reply answers.
fn take_id<'a>(session: &mut Session, id: u64, room: &str, context: &mut Context<'a>) -> Option<(Ask, Scene<'a>)> {
    let scene = scene(session, room, context)?;
    let conn = session.conn;
    let Some(ask) = session.asks.remove(&id) else {
        context.judge.fail(|| format!("connection {conn}: a reply to {id}, which waits for none"));
        return None;
    };
    let allowed = ask.room == scene.room && (ask.member != Member::No || matches!(ask.what, What::Join(_)));
    context.judge.check(allowed, || format!("connection {conn}: a reply in room {} to {ask:?}", scene.room));
    Some((ask, scene))
}

/// Takes the first binary command in a room that fits.
fn take_binary(session: &mut Session, room: usize, fits: impl Fn(&Ask) -> bool) -> Option<Ask> {
    let at = session.binary_asks.iter().position(|ask| ask.room == room && fits(ask))?;
    let ask = session.binary_asks.remove(at);
    settle_binary(session);
    ask
}

/// When as many errors came as commands are left, those were it.
fn settle_binary(session: &mut Session) {
    if session.binary_asks.len() <= session.binary_errors {
        session.binary_asks.clear();
        session.binary_errors = 0;
    }
}

fn wrong_reply(session: &Session, ask: &Ask, reply: &str, context: &mut Context<'_>) {
    let conn = session.conn;
    context.judge.fail(|| format!("connection {conn}: {reply} answers {ask:?}"));
}

fn hear_joined(session: &mut Session, joined: &Joined, client: &mut Client, context: &mut Context<'_>) {
    let Some(scene) = scene(session, &joined.room, context) else { return };
    let (conn, room) = (session.conn, scene.room);
    let query = |session: &mut Session| {
        let at = session.query_joins.iter().position(|(query, _)| *query == room)?;
        Some(session.query_joins.remove(at).1)
    };
    let pushed = match session.form {
        Form::Json => To::Nothing,
        Form::Binary => To::Binary,
    };
    // A member hears of a new numbering before anything is answered in it, so this is no reply.
    let view = &session.views[room];
    let renumbered = view.member && view.fading.is_none() && view.epoch != joined.epoch && joined.to == pushed;
    let mut asked = if joined.to == pushed && !renumbered { query(session) } else { None };
    let mut answers = asked.is_some();
    if let (To::Id(id), None) = (joined.to, &asked) {
        let Some((ask, _)) = take_id(session, id, &joined.room, context) else { return };
        let What::Join(join) = ask.what else { return wrong_reply(session, &ask, "joined", context) };
        (asked, answers) = (Some(join), true);
    } else if joined.to == To::Binary && !answers && !renumbered {
        let ambiguous = session.binary_errors > 0;
        if let Some(Ask { what: What::Join(join), .. }) =
            take_binary(session, room, |ask| matches!(ask.what, What::Join(_)))
        {
            answers = true;
            asked = Some(join).filter(|_| !ambiguous && !context.judge.numbering_lost);
        }
    }
    if !answers {
        // Nobody asked: the room's numbering is another one. In the binary form such a push is not told from a reply, so
        // it may have been taken for one, and the reply comes here.
        let view = &session.views[room];
        let binary = session.form == Form::Binary;
        let push = view.member && !joined.recovered && view.epoch != joined.epoch;
        let legal = context.judge.numbering_lost && joined.to == pushed && (push || binary);
        context.judge.check(legal, || format!("connection {conn}: a joined that nobody asked for: {joined:?}"));
        context.judge.seen.epochs += 1;
    }
    let leaving = session.is_leaving(room);
    session.views[room].on_joined(scene, joined, asked.as_ref(), leaving, context.judge);
    if client.role == super::Role::Auditor {
        client.findings[room] = Some(Finding { epoch: joined.epoch, head: joined.seq, ..Finding::default() });
    }
}

fn hear_left(session: &mut Session, to: To, name: &str, context: &mut Context<'_>) {
    let conn = session.conn;
    let Some(scene) = scene(session, name, context) else { return };
    let ask = match to {
        To::Id(id) => take_id(session, id, name, context).map(|(ask, _)| ask),
        To::Binary => {
            take_binary(session, scene.room, |ask| matches!(ask.what, What::Leave) && ask.member != Member::No)
        }
        To::Nothing => None,
    };
    let sound = ask.as_ref().is_some_and(|ask| matches!(ask.what, What::Leave));
    context.judge.check(sound, || format!("connection {conn}: left {name} answers {ask:?}"));
    check_own(session, scene.room, ask.as_ref(), context);
    let view = &mut session.views[scene.room];
    view.member = false;
    view.fading = view.fading.filter(|leave| ask.is_none_or(|ask| ask.number < *leave));
}

/// Whoever has left got what it published before, or was told of a gap.
fn check_own(session: &mut Session, room: usize, leave: Option<&Ask>, context: &mut Context<'_>) {
    let Some(leave) = leave else { return };
    let (conn, view) = (session.conn, session.views[room].clone());
    for (number, (epoch, seq)) in std::mem::take(&mut session.own[room]) {
        let is_given = number > leave.number || epoch != view.epoch || seq <= view.last;
        context.judge.check(is_given, || {
            format!("connection {conn} has left room {room} at {view:?} and was not given its own message {seq}")
        });
    }
}

struct Position {
    seq: Option<u64>,
    epoch: Option<u64>,
    duplicate: bool,
}

fn hear_published(
    session: &mut Session,
    to: To,
    name: &str,
    position: Position,
    client: &mut Client,
    context: &mut Context<'_>,
) {
    let conn = session.conn;
    let Some(scene) = scene(session, name, context) else { return };
    let ask = match to {
        To::Id(id) => take_id(session, id, name, context).map(|(ask, _)| ask),
        To::Binary => return hear_published_binary(session, scene, position, context),
        To::Nothing => None,
    };
    let Some(Ask { what: What::Publish(content), number, .. }) = ask else {
        return context.judge.fail(|| format!("connection {conn}: published in {name} answers {ask:?}"));
    };
    if let (Some(seq), Some(epoch), true) = (position.seq, position.epoch, context.judge.content(content).echo) {
        session.own[scene.room].push((number, (epoch, seq)));
    }
    client.unacknowledged.retain(|(waiting, _)| *waiting != content);
    let ephemeral = context.judge.content(content).ephemeral;
    context.judge.check(ephemeral == position.seq.is_none(), || {
        format!("connection {conn}: content {content} is published at {:?}", position.seq)
    });
    if let (Some(seq), Some(epoch)) = (position.seq, position.epoch) {
        context.judge.acknowledged(content, epoch, seq, position.duplicate);
    }
}

/// The binary form tells neither `id` nor epoch: the content is the one that stands there or, where replies come in
/// order, the first that waits.
fn hear_published_binary(session: &mut Session, scene: Scene<'_>, position: Position, context: &mut Context<'_>) {
    let (conn, room) = (session.conn, scene.room);
    let (ambiguous, view_epoch) = (session.binary_errors > 0, session.views[room].epoch);
    let Some(seq) = position.seq else {
        return context.judge.fail(|| format!("connection {conn}: a binary publish without a seq"));
    };
    let judge = &mut *context.judge;
    let publishes = |ask: &Ask| matches!(ask.what, What::Publish(_)) && ask.member != Member::No;
    let stands = |ask: &Ask| matches!(ask.what, What::Publish(content) if judge.stands_at(content, view_epoch, seq));
    if take_binary(session, room, |ask| publishes(ask) && stands(ask)).is_some() {
        judge.seen.acknowledged += 1;
        return;
    }
    let Some(Ask { what: What::Publish(content), .. }) = take_binary(session, room, publishes) else {
        return judge.fail(|| format!("connection {conn}: published {seq} in room {room} answers nothing"));
    };
    let in_order = scene.profile.mode == super::super::profile::Mode::Memory && !ambiguous;
    if in_order && session.views[room].member && session.views[room].fading.is_none() {
        judge.acknowledged(content, view_epoch, seq, false);
    }
}

fn hear_pong(session: &mut Session, to: To, value: Option<u64>, context: &mut Context<'_>) {
    let conn = session.conn;
    let ask = match to {
        To::Id(id) => session.asks.remove(&id),
        To::Binary => take_binary(session, 0, |ask| matches!(ask.what, What::Ping(sent) if Some(sent) == value)),
        To::Nothing => None,
    };
    let sound = matches!(ask, Some(Ask { what: What::Ping(_), .. }));
    context.judge.check(sound, || format!("connection {conn}: pong {value:?} answers {ask:?}"));
}

fn hear_live(session: &mut Session, name: &str, message: &Message, numbered: bool, context: &mut Context<'_>) {
    let Some(scene) = scene(session, name, context) else { return };
    let view = &mut session.views[scene.room];
    if numbered {
        return view.on_message(scene, message, context.judge);
    }
    let (conn, member) = (scene.conn, view.member);
    context.judge.check(member, || format!("connection {conn} heard an ephemeral of room {name}, not a member"));
    context.judge.seen_ephemeral(conn, scene.room, message);
}

fn hear_error(session: &mut Session, to: To, code: &str, retry_after_ms: Option<u64>, context: &mut Context<'_>) {
    let conn = session.conn;
    context.judge.seen.refusals += 1;
    let told = retry_after_ms.is_some() || to == To::Binary || !["unavailable", "rate_limited"].contains(&code);
    context.judge.check(told, || format!("connection {conn}: {code} without retry_after_ms"));
    match to {
        To::Id(id) => {
            let Some(ask) = session.asks.remove(&id) else {
                return context.judge.fail(|| format!("connection {conn}: {code} answers {id}, which waits for none"));
            };
            let legal = is_legal(&ask, code, context);
            context.judge.check(legal, || format!("connection {conn}: {code} answers {ask:?}"));
            if let What::Publish(content) = ask.what {
                context.judge.refused(content, code);
            }
        }
        To::Binary => {
            let legal: Vec<usize> = (0..session.binary_asks.len())
                .filter(|at| is_legal(&session.binary_asks[*at], code, context))
                .collect();
            context.judge.check(!legal.is_empty(), || {
                format!("connection {conn}: {code} answers none of {:?}", session.binary_asks)
            });
            if let ([at], 0) = (&legal[..], session.binary_errors) {
                let ask = session.binary_asks.remove(*at);
                if let Some(Ask { what: What::Publish(content), .. }) = ask {
                    context.judge.refused(content, code);
                }
            } else {
                session.binary_errors += 1;
                settle_binary(session);
            }
        }
        To::Nothing => {
            let query = session.query_joins.iter().any(|(room, ask)| {
                let what = What::Join(ask.clone());
                is_legal(&Ask { number: 0, what, room: *room, member: Member::Maybe, rooms: usize::MAX }, code, context)
            });
            let silent = session.silent_asks.iter().any(|ask| is_legal(ask, code, context));
            context.judge.check(query || silent, || {
                format!("connection {conn}: {code} without id answers none of {:?}", session.silent_asks)
            });
            if query && !silent {
                // Which of the joins of the query failed is not told.
                session.query_joins.clear();
            }
        }
    }
}

/// Whether a command may fail like this.
fn is_legal(ask: &Ask, code: &str, context: &Context<'_>) -> bool {
    let profile = context.profile;
    let settings = &profile.settings;
    let needs_member = matches!(
        ask.what,
        What::Leave | What::Publish(_) | What::History(_) | What::Presence(_) | What::Typing | What::Receipt
    );
    match (&ask.what, code) {
        (What::Wrong(codes), _) if codes.contains(&code) => true,
        (What::Wrong(_) | What::Publish(_) | What::Typing, "rate_limited") => profile.limits_rate(true),
        (_, "rate_limited") => profile.limits_rate(false),
        (What::Wrong(_), _) => false,
        (What::Status(_) | What::Ping(_), _) => false,
        (_, "not_joined") => needs_member && ask.member != Member::Yes,
        (_, "overloaded") => !profile.is_calm(),
        (_, "unavailable") => !profile.is_calm() && Session::has_keeper(context),
        (What::Join(_), "limit_exceeded") => {
            settings.rooms_per_connection > 0 && ask.rooms >= settings.rooms_per_connection as usize
        }
        (What::Presence(_), "forbidden") => !settings.room(&context.rooms[ask.room]).presence,
        (What::History(_), "history_unavailable") => settings.room(&context.rooms[ask.room]).history_size == 0,
        _ => false,
    }
}
