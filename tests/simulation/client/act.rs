//! What a client does: its request heads, its commands in both forms, and its mischief.

use base64::Engine as _;
use roomring::wire::form::Form;
use roomring::wire::publication::DataKind;

use super::super::codec::{self, opcode};
use super::super::judge::Judge;
use super::super::rng::Rng;
use super::super::view::{HistoryAsk, JoinAsk};
use super::session::{Member, Session, What};
use super::{Client, Context, Effect, Role};

/// Virtual time within which a key is surely remembered.
const KEY_SAFE_US: u64 = 60_000_000;

/// The request head of a connection; what must come back is noted in the session.
pub fn request_head(client: &mut Client, session: &mut Session, context: &mut Context<'_>) -> String {
    let plain = client.role == Role::Random && client.rng.chance(context.profile.habits.plain_http);
    if plain {
        return wrong_head(client, session);
    }
    let key = base64::engine::general_purpose::STANDARD.encode(client.rng.bytes(16));
    session.expected_upgrade.0 = tungstenite::handshake::derive_accept_key(key.as_bytes());
    let offer = match client.rng.below(if client.role == Role::Auditor { 1 } else { 5 }) {
        0 | 1 => "Sec-WebSocket-Protocol: roomring.v1.json\r\n",
        2 | 3 => "sec-websocket-protocol: chat, roomring.v1.binary, roomring.v1.json\r\n",
        _ => "",
    };
    if offer.contains("binary") {
        (session.form, session.expected_upgrade.1) = (Form::Binary, Some("roomring.v1.binary"));
    } else if !offer.is_empty() {
        session.expected_upgrade.1 = Some("roomring.v1.json");
    }
    let extensions = extensions(session, context);
    let query = query(client, session, context);
    format!(
        "GET /ws{query} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offer}{extensions}\r\n"
    )
}

/// The extensions offered, and what must be agreed: some clients offer none.
fn extensions(session: &mut Session, context: &Context<'_>) -> &'static str {
    let mut rng = Rng::salted(context.profile.seed, "extensions", session.conn as u64);
    let (offer, window) = match rng.below(6) {
        0 | 1 => ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", ""),
        2 => (
            "Sec-WebSocket-Extensions: x, permessage-deflate; server_max_window_bits=\"13\"\r\n",
            "; server_max_window_bits=12",
        ),
        3 => ("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\r\n", "none"),
        _ => return "",
    };
    session.deflate = context.profile.settings.compression.is_some() && window != "none";
    if session.deflate {
        let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        session.expected_extensions = Some(format!("{agreed}{window}"));
    }
    offer
}

/// Requests that must not become a WebSocket.
fn wrong_head(client: &mut Client, session: &mut Session) -> String {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (status, head) = match client.rng.below(9) {
        0 => (200, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        1 => (404, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        2 => (405, "POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned()),
        3 => (426, "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        4 => (426, format!("GET /ws HTTP/1.1\r\nHost: a\r\n{}{key}\r\n", upgrade.replace("13", "8"))),
        5 => (400, format!("GET /ws HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n")),
        6 => (431, format!("GET /ws HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(20_000))),
        7 => (403, format!("GET /ws HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.example\r\n{upgrade}{key}\r\n")),
        _ => {
            // A head that never becomes complete: the server hangs up.
            session.broke = Some(&[0]);
            (408, "GET /ws HTTP/1.1\r\nHost: a".to_owned())
        }
    };
    session.expected_status = status;
    head
}

/// The query: the user, and sometimes rooms to join at once.
fn query(client: &mut Client, session: &mut Session, context: &mut Context<'_>) -> String {
    let mut parts = Vec::new();
    if let Some(user) = &client.user {
        parts.push(format!("user={}", percent(user)));
        session.user = None;
    }
    if client.role == Role::Random && client.rng.chance(0.3) {
        let room = client.rng.index(context.rooms.len());
        let mut join = JoinAsk { heads: heads(context.judge, room), ..JoinAsk::default() };
        parts.push(format!("room={}", percent(&context.rooms[room])));
        if let (Some((epoch, last)), true) = (client.positions[room], client.rng.chance(0.7)) {
            join.recover = Some((last, Some(epoch)));
            parts.push(format!("last_received_seq={last}&epoch={epoch:016x}"));
        }
        if session.form == Form::Binary {
            // Answered like a binary join.
            let ask = session.ask(What::Join(join), room);
            session.binary_asks.push_back(ask);
        } else {
            session.query_joins.push((room, join));
        }
    }
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// What anyone has seen of a room, by epoch.
fn heads(judge: &Judge, room: usize) -> Vec<(u64, u64)> {
    judge.epochs(room).into_iter().map(|epoch| (epoch, judge.head(room, epoch))).collect()
}

/// One step of a client whose connection is there.
pub fn step(client: &mut Client, context: &mut Context<'_>) -> Vec<Effect> {
    let Some(mut session) = client.session.take() else { return Vec::new() };
    let effects = step_session(client, &mut session, context);
    client.session = Some(session);
    effects
}

fn step_session(client: &mut Client, session: &mut Session, context: &mut Context<'_>) -> Vec<Effect> {
    let (faults, habits) = (&context.profile.faults, &context.profile.habits);
    if !session.is_open() || session.user.is_none() {
        let give_up = !context.settling && client.rng.chance(faults.reset);
        return if give_up { vec![Effect::Reset] } else { Vec::new() };
    }
    if context.settling {
        return settle(client, session, context);
    }
    let mut effects = Vec::new();
    if client.rng.chance(faults.stuck) {
        session.stuck = true;
        let for_ever = client.rng.chance(0.3);
        // Some for long enough to be found slow, and to read on after that.
        effects.push(Effect::Stick(if for_ever { u64::MAX } else { client.rng.wait(5_000_000) }));
    }
    let mut bytes = commands(client, session, context);
    if client.rng.chance(faults.garbage) {
        session.broke = Some(break_protocol(&mut bytes, &mut client.rng, context));
        session.wrote(context.now_us);
        effects.push(Effect::Write(bytes));
        if session.broke == Some(&[0]) {
            (session.leaving, session.ended) = (true, true);
            effects.push(if client.rng.chance(0.5) { Effect::Fin } else { Effect::Reset });
        }
        return effects;
    }
    if client.rng.chance(habits.close) {
        session.leaving = true;
        if client.rng.chance(0.7) {
            codec::write_message(&mut bytes, opcode::CLOSE, &1000_u16.to_be_bytes(), &mut client.rng);
            effects.push(Effect::Write(bytes));
            session.said_close = true;
            if client.rng.chance(0.3) {
                session.ended = true;
                effects.push(Effect::Fin);
            }
        } else {
            session.ended = true;
            effects.extend([Effect::Write(bytes), Effect::Fin]);
        }
        return effects;
    }
    session.wrote(context.now_us);
    if client.rng.chance(faults.vanish) {
        // In the middle of a frame, as often as not.
        bytes.truncate(client.rng.index(2 * bytes.len()).min(bytes.len()));
        effects.extend([Effect::Write(bytes), Effect::Vanish]);
    } else {
        effects.push(Effect::Write(bytes));
        if client.rng.chance(faults.reset) {
            effects.push(Effect::Reset);
        }
    }
    effects
}

/// When faults have stopped, clients catch up: those that are in no room go back to those they know.
fn settle(client: &mut Client, session: &mut Session, context: &mut Context<'_>) -> Vec<Effect> {
    let mut bytes = Vec::new();
    for room in 0..context.rooms.len() {
        if client.positions[room].take().is_some() && session.membership(room) == Member::No {
            join(client, session, room, context, &mut bytes);
        }
    }
    if bytes.is_empty() {
        return Vec::new();
    }
    session.wrote(context.now_us);
    vec![Effect::Write(bytes)]
}

/// The auditor looks at its room, one question after the other: joins it, then reads presence and history.
pub fn audit(client: &mut Client, room: usize, context: &mut Context<'_>) -> Vec<Effect> {
    let Some(mut session) = client.session.take() else { return Vec::new() };
    let mut bytes = Vec::new();
    if session.is_open() && session.asks.is_empty() && session.user.is_some() {
        let name = quote(&context.rooms[room]);
        let settings = context.profile.settings.room(&context.rooms[room]).clone();
        let heads = heads(context.judge, room);
        let finding = &mut client.findings[room];
        let asked = match finding {
            None => {
                let ask = JoinAsk { heads, ..JoinAsk::default() };
                Some((What::Join(ask), format!("\"type\":\"join\",\"room\":{name}")))
            }
            Some(finding) if finding.present.is_none() && settings.presence => {
                Some((What::Presence(300), format!("\"type\":\"presence\",\"room\":{name}")))
            }
            Some(finding) if !finding.read && settings.history_size > 0 => {
                let ask =
                    HistoryAsk { after: Some(0), before: None, limit: Some(300), asked_us: context.now_us, heads };
                let body = format!("\"type\":\"history\",\"room\":{name},\"after\":0,\"limit\":300");
                Some((What::History(ask), body))
            }
            Some(finding) => {
                finding.present.get_or_insert_default();
                finding.read = true;
                None
            }
        };
        if let Some((what, body)) = asked {
            put_json(client, &mut session, room, what, true, &body, &mut bytes);
        }
    }
    if !bytes.is_empty() {
        session.wrote(context.now_us);
    }
    client.session = Some(session);
    if bytes.is_empty() { Vec::new() } else { vec![Effect::Write(bytes)] }
}

#[derive(Clone, Copy)]
enum Kind {
    Publish,
    Join,
    Leave,
    History,
    Presence,
    Typing,
    Receipt,
    Status,
    Ping,
    Frame,
}

/// Some commands, ready to be written.
pub fn commands(client: &mut Client, session: &mut Session, context: &mut Context<'_>) -> Vec<u8> {
    let habits = &context.profile.habits;
    let mut bytes = Vec::new();
    for _ in 0..client.rng.range(1, habits.pipeline_max) {
        if client.rng.chance(habits.wrong) {
            wrong(client, session, &mut bytes);
            continue;
        }
        let kinds = [
            (50, Kind::Publish),
            (12, Kind::Join),
            (5, Kind::Leave),
            (6, Kind::History),
            (4, Kind::Presence),
            (3, Kind::Typing),
            (3, Kind::Receipt),
            (3, Kind::Status),
            (5, Kind::Ping),
            (3, Kind::Frame),
        ];
        let known: Vec<usize> =
            (0..context.rooms.len()).filter(|room| session.membership(*room) != Member::No).collect();
        let kind = if known.is_empty() { Kind::Join } else { client.rng.weighted(&kinds) };
        let anywhere = known.is_empty() || client.rng.chance(if matches!(kind, Kind::Join) { 0.8 } else { 0.03 });
        let room = if anywhere { client.rng.index(context.rooms.len()) } else { *client.rng.pick(&known) };
        command(client, session, kind, room, context, &mut bytes);
    }
    bytes
}

fn command(
    client: &mut Client,
    session: &mut Session,
    kind: Kind,
    room: usize,
    context: &mut Context<'_>,
    to: &mut Vec<u8>,
) {
    let form = client.form(session.form, context.profile.habits.mixed);
    let name = quote(&context.rooms[room]);
    let with_id = client.rng.chance(0.9);
    match kind {
        Kind::Publish => publish(client, session, room, form, context, to),
        Kind::Join => join(client, session, room, context, to),
        Kind::Leave if form == Form::Binary => {
            put_binary(client, session, room, What::Leave, 2, &context.rooms[room].clone().into_bytes(), to)
        }
        Kind::Leave => {
            put_json(client, session, room, What::Leave, with_id, &format!("\"type\":\"leave\",\"room\":{name}"), to);
            if !with_id {
                session.views[room].fading = Some(session.commands);
            }
        }
        Kind::History => {
            let (asked_us, heads) = (context.now_us, heads(context.judge, room));
            let mut ask = HistoryAsk { after: None, before: None, limit: None, asked_us, heads };
            let mut body = format!("\"type\":\"history\",\"room\":{name}");
            let near = session.views[room].last.saturating_sub(client.rng.below(12)) + client.rng.below(4);
            match client.rng.below(3) {
                0 => ask.after = Some(near),
                1 => ask.before = Some(near),
                _ => {}
            }
            ask.limit = client.rng.chance(0.5).then(|| client.rng.range(1, 300) as u32);
            for (field, value) in [("after", ask.after), ("before", ask.before), ("limit", ask.limit.map(u64::from))] {
                if let Some(value) = value {
                    body.push_str(&format!(",\"{field}\":{value}"));
                }
            }
            put_json(client, session, room, What::History(ask), true, &body, to);
        }
        Kind::Presence => {
            let limit = client.rng.range(1, 300);
            let body = format!("\"type\":\"presence\",\"limit\":{limit},\"room\":{name}");
            put_json(client, session, room, What::Presence(limit), true, &body, to);
        }
        Kind::Typing => {
            let body = format!("\"type\":\"typing\",\"active\":{},\"room\":{name}", client.rng.chance(0.7));
            put_json(client, session, room, What::Typing, with_id, &body, to);
        }
        Kind::Receipt => {
            let body = format!("\"type\":\"receipt\",\"seq\":{},\"room\":{name}", client.rng.below(60));
            put_json(client, session, room, What::Receipt, with_id, &body, to);
        }
        Kind::Status => {
            let away = client.rng.chance(0.5);
            session.away = away;
            let body = format!("\"type\":\"status\",\"status\":\"{}\"", if away { "away" } else { "online" });
            put_json(client, session, 0, What::Status(away), with_id, &body, to);
        }
        Kind::Ping if form == Form::Binary => {
            let value = client.rng.next();
            put_binary(client, session, 0, What::Ping(value), 5, &value.to_le_bytes(), to);
        }
        Kind::Ping => put_json(client, session, 0, What::Ping(0), with_id, "\"type\":\"ping\"", to),
        Kind::Frame => {
            let len = client.rng.index(126);
            let ping = client.rng.bytes(len);
            codec::write_message(to, opcode::PING, &ping, &mut client.rng);
            session.pings.push(ping);
        }
    }
}

fn join(client: &mut Client, session: &mut Session, room: usize, context: &mut Context<'_>, to: &mut Vec<u8>) {
    let form = client.form(session.form, context.profile.habits.mixed);
    let rng = &mut client.rng;
    let view = &session.views[room];
    let position = if view.epoch != 0 { Some((view.epoch, view.last)) } else { client.positions[room] };
    let mut ask = JoinAsk { number: session.commands + 1, heads: heads(context.judge, room), ..JoinAsk::default() };
    if let (Some((epoch, last)), true) = (position, rng.chance(0.8)) {
        // Mostly where it was, sometimes somewhere else.
        let seq = match rng.below(8) {
            0 => rng.below(last + 20),
            1 => last.saturating_sub(rng.below(10)),
            _ => last,
        };
        let epoch = match rng.below(10) {
            0 => None,
            1 => Some(rng.next() | 1),
            _ => Some(epoch),
        };
        ask.recover = Some((seq, epoch));
    }
    let name = context.rooms[room].clone();
    if form == Form::Binary {
        if let Some((seq, epoch)) = ask.recover {
            let mut payload = [seq.to_le_bytes(), epoch.unwrap_or(0).to_le_bytes()].concat();
            payload.extend_from_slice(name.as_bytes());
            put_binary(client, session, room, What::Join(ask), 4, &payload, to);
        } else {
            put_binary(client, session, room, What::Join(ask), 1, name.as_bytes(), to);
        }
        return;
    }
    let max = context.profile.settings.room(&name).history_on_join_max;
    ask.history = rng.chance(0.4).then(|| rng.below(u64::from(max) + 1) as u32);
    let mut body = format!("\"room\":{},\"type\":\"join\",\"unknown\":[1,{{}}]", quote(&name));
    if let Some((seq, epoch)) = ask.recover {
        body.push_str(&format!(",\"last_received_seq\":{seq}"));
        if let Some(epoch) = epoch {
            body.push_str(&format!(",\"epoch\":\"{epoch:016x}\""));
        }
    }
    if let Some(history) = ask.history {
        body.push_str(&format!(" , \"history\" : {history}"));
    }
    put_json(client, session, room, What::Join(ask), true, &body, to);
}

fn publish(
    client: &mut Client,
    session: &mut Session,
    room: usize,
    form: Form,
    context: &mut Context<'_>,
    to: &mut Vec<u8>,
) {
    let habits = &context.profile.habits;
    let Some(user) = client.user.clone().or_else(|| session.user.clone()) else { return };
    client.unacknowledged.retain(|(_, first_us)| context.now_us < first_us + KEY_SAFE_US);
    if !client.unacknowledged.is_empty() && client.rng.chance(0.3) {
        let (content, _) = *client.rng.pick(&client.unacknowledged);
        return publish_json(client, session, content, true, context, to);
    }
    let len = if client.rng.chance(habits.large) { client.rng.below(habits.large_bytes) } else { client.rng.below(60) };
    let number = context.judge.next_content();
    if form == Form::Binary {
        let empty = client.rng.chance(0.02);
        let data = if empty { Vec::new() } else { binary_data(&mut client.rng, number, len) };
        let content = context.judge.add_content(room, &user, data.clone(), DataKind::Binary, None, true, false);
        context.judge.sent(session.conn, content);
        let name = context.rooms[room].as_bytes();
        let mut payload = (name.len() as u16).to_le_bytes().to_vec();
        payload.extend_from_slice(name);
        payload.extend(data);
        return put_binary(client, session, room, What::Publish(content), 3, &payload, to);
    }
    let ephemeral = client.rng.chance(habits.ephemeral);
    let keyed = !ephemeral && client.user.is_some() && client.rng.chance(habits.keyed);
    let echo = !client.rng.chance(habits.silent);
    client.keys += 1;
    let key = keyed.then(|| format!("k {}-{}", client.rank, client.keys));
    let data = json_data(&mut client.rng, number, len);
    let content = context.judge.add_content(room, &user, data.into_bytes(), DataKind::Json, key, echo, ephemeral);
    if keyed {
        client.unacknowledged.push((content, context.now_us));
    }
    let with_id = client.rng.chance(0.9);
    publish_json(client, session, content, with_id, context, to);
    if keyed && client.rng.chance(0.05) {
        publish_json(client, session, content, true, context, to);
    }
}

fn publish_json(
    client: &mut Client,
    session: &mut Session,
    content: usize,
    with_id: bool,
    context: &mut Context<'_>,
    to: &mut Vec<u8>,
) {
    context.judge.sent(session.conn, content);
    let known = context.judge.content(content);
    let (room, data) = (known.room, std::str::from_utf8(&known.bytes).expect("JSON data is text"));
    let mut body = format!("\"type\":\"publish\",\"data\":{data},\"room\":{}", quote(&context.rooms[room]));
    if let Some(key) = &known.key {
        body.push_str(&format!(",\"key\":{}", quote(key)));
    }
    if known.ephemeral {
        body.push_str(",\"ephemeral\":true");
    }
    if !known.echo {
        body.push_str(",\"echo\":false");
    }
    put_json(client, session, room, What::Publish(content), with_id, &body, to);
}

/// JSON that carries the content's number as its first digits, in several shapes and with odd spaces.
fn json_data(rng: &mut Rng, number: usize, len: u64) -> String {
    const WORDS: [&str; 6] = ["a", "\\u00e9", "é", "😀", "\\\"", "\\n"];
    let pad: String = (0..len).map(|_| WORDS[rng.index(WORDS.len())]).collect();
    match rng.below(5) {
        0 => format!("{{ \"n\" : {number} ,\"p\":\"{pad}\"}}"),
        1 => format!("[{number},  \"{pad}\", null, 1.50e+3 ]"),
        2 => format!("\"{number} {pad}\""),
        3 => format!("{number}"),
        _ => format!("{{\"data\":{{\"room\":{number}}},\"type\":\"{pad}\"}}"),
    }
}

fn binary_data(rng: &mut Rng, number: usize, len: u64) -> Vec<u8> {
    let mut data = vec![0xb1];
    data.extend((number as u64).to_le_bytes());
    data.extend(rng.bytes(len as usize));
    data
}

/// Valid messages that are no valid commands.
fn wrong(client: &mut Client, session: &mut Session, to: &mut Vec<u8>) {
    const BAD: &[&str] = &["bad_command"];
    let long = "n".repeat(129);
    let key = "k".repeat(200);
    let (codes, with_id, body): (&'static [&'static str], bool, String) = match client.rng.below(14) {
        0 => (&["unknown_command"], true, "\"type\":\"fly\"".into()),
        1 => (BAD, true, "\"type\":\"receipt\",\"room\":\"lobby\",\"kind\":\"seen\",\"seq\":1".into()),
        2 => (BAD, true, "\"type\":\"join\"".into()),
        3 => (BAD, true, "\"type\":\"join\",\"room\":\"a\\u0007\"".into()),
        4 => (BAD, true, "\"type\":\"join\",\"room\":\"\"".into()),
        5 => (BAD, true, format!("\"type\":\"join\",\"room\":\"{long}\"")),
        6 => (BAD, true, "\"type\":\"publish\",\"room\":\"lobby\"".into()),
        7 => (BAD, false, "\"type\":\"ping\",\"id\":\"seven\"".into()),
        8 => (
            &["too_large", "bad_command"],
            true,
            format!("\"type\":\"publish\",\"room\":\"lobby\",\"data\":1,\"key\":\"{key}\""),
        ),
        9 => (BAD, true, "\"type\":\"history\",\"room\":\"lobby\",\"limit\":0".into()),
        10 => (BAD, true, "\"type\":\"status\",\"status\":\"asleep\"".into()),
        11 => {
            let ask = session.ask(What::Wrong(BAD), 0);
            session.silent_asks.push(ask);
            let text = *client.rng.pick(&["[]", "{", "7", "\"ping\"", "{\"type\":\"ping\",}", ""]);
            return codec::write_message(to, opcode::TEXT, text.as_bytes(), &mut client.rng);
        }
        12 => {
            let len = client.rng.index(4);
            let payload = client.rng.bytes(len);
            let ask = session.ask(What::Wrong(BAD), 0);
            session.binary_asks.push_back(ask);
            return codec::write_message(to, opcode::BINARY, &payload, &mut client.rng);
        }
        _ => return put_binary(client, session, 0, What::Wrong(&["unknown_command"]), 77, b"?", to),
    };
    put_json(client, session, 0, What::Wrong(codes), with_id, &body, to);
}

/// Appends bytes that break RFC 6455; returns the close codes that answer them (0: none may).
fn break_protocol(to: &mut Vec<u8>, rng: &mut Rng, context: &Context<'_>) -> &'static [u16] {
    const PROTOCOL: &[u16] = &[1002];
    match rng.below(13) {
        0 => to.extend_from_slice(&[0x81, 0x02, b'h', b'i']),
        // Where compression is agreed, the first is the mark of a compressed message, which this is not.
        1 => {
            codec::write_frame(to, 0xc1, b"hi", rng);
            return &[1002, 1007];
        }
        2 => codec::write_frame(to, 0x83, b"hi", rng),
        3 => codec::write_frame(to, 0x89, &[7; 126], rng),
        4 => codec::write_frame(to, 0x09, b"hi", rng),
        5 => codec::write_frame(to, 0x80, b"hi", rng),
        6 => {
            codec::write_frame(to, 0x81, b"{\"type\":\"\xff\"}", rng);
            return &[1007];
        }
        7 => {
            to.extend_from_slice(&[0x82, 0xff]);
            to.extend_from_slice(&(context.profile.settings.max_message_bytes as u64 + 1).to_be_bytes());
            to.extend_from_slice(&[0; 9]);
            return &[1009];
        }
        8 => {
            codec::write_frame(to, 0x01, b"hi", rng);
            codec::write_frame(to, 0x81, b"hi", rng);
        }
        9 => codec::write_frame(to, 0x88, &[3], rng),
        10 => codec::write_frame(to, 0x88, &1005_u16.to_be_bytes(), rng),
        11 => {
            codec::write_frame(to, 0x88, &[3, 232, 0xff], rng);
            return &[1007, 1002];
        }
        _ => {
            to.extend_from_slice(&[0x82, 0x85, 1, 2]);
            return &[0];
        }
    }
    PROTOCOL
}

fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("text is always valid JSON")
}

fn put_json(
    client: &mut Client,
    session: &mut Session,
    room: usize,
    what: What,
    with_id: bool,
    body: &str,
    to: &mut Vec<u8>,
) {
    let ask = session.ask(what, room);
    let text = if with_id {
        client.next_id += 1;
        session.asks.insert(client.next_id, ask);
        if client.rng.chance(0.5) {
            format!("{{\"id\":{},{body}}}", client.next_id)
        } else {
            format!(" {{ {body},\n\"id\": {} }}", client.next_id)
        }
    } else {
        session.silent_asks.push(ask);
        format!("{{{body}}}")
    };
    put(client, session, opcode::TEXT, text.as_bytes(), to);
}

fn put_binary(
    client: &mut Client,
    session: &mut Session,
    room: usize,
    what: What,
    op: u32,
    payload: &[u8],
    to: &mut Vec<u8>,
) {
    let ask = session.ask(what, room);
    session.binary_asks.push_back(ask);
    let message = [&op.to_le_bytes()[..], payload].concat();
    put(client, session, opcode::BINARY, &message, to);
}

fn put(client: &mut Client, session: &mut Session, opcode: u8, message: &[u8], to: &mut Vec<u8>) {
    let fragment = client.rng.chance(client.fragment);
    if fragment {
        session.pings.extend(codec::write_fragments(to, opcode, message, &mut client.rng));
    } else if session.deflate && !message.len().is_multiple_of(3) {
        codec::write_compressed(to, opcode, message, &mut session.deflate_rng);
    } else {
        codec::write_message(to, opcode, message, &mut client.rng);
    }
}
