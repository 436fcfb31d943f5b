//! Responses of the HTTP API for people: aligned columns, or one sentence. Never lets text from users control the
//! terminal.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::command::OperatorCommand;

/// A column: its title, and its cell of a row.
type Column = (&'static str, fn(&Value) -> Cell);

/// One cell of a table.
struct Cell {
    text: String,
    is_number: bool,
}

impl Cell {
    fn text(value: &Value) -> Self {
        let text = value
            .as_str()
            .map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned);
        Self { text: plain(&text), is_number: value.is_number() }
    }

    fn number(text: String) -> Self {
        Self { text, is_number: true }
    }
}

/// Characters of data in one line of a history.
const DATA_CHARS_MAX: usize = 200;

const ROOMS: &[Column] = &[
    ("ROOM", |room| Cell::text(&room["room"])),
    ("MEMBERS", |room| Cell::text(&room["members"])),
    ("CONNECTIONS", |room| Cell::text(&room["connections"])),
    ("HEAD", |room| Cell::text(&room["head_seq"])),
    ("MESSAGES/S", |room| Cell::number(format!("{:.1}", room["rate"].as_f64().unwrap_or(0.0)))),
];

const CONNECTIONS: &[Column] = &[
    ("CONNECTION", |conn| Cell::text(&conn["connection"])),
    ("USER", |conn| Cell::text(&conn["user"])),
    ("FORM", |conn| Cell::text(&conn["form"])),
    ("ROOMS", |conn| Cell::text(&conn["rooms"])),
    ("RECEIVED", |conn| Cell::text(&conn["messages_received"])),
    ("SENT", |conn| Cell::text(&conn["messages_sent"])),
    ("QUEUED", |conn| Cell::text(&conn["queued_bytes"])),
    ("ROUND TRIP", |conn| {
        Cell::number(conn["round_trip_ms"].as_f64().map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms")))
    }),
];

const ACCOUNTS: &[Column] = &[
    ("USER", |account| Cell::text(&account["user"])),
    ("NAME", |account| Cell::text(&account["name"])),
    ("CREATED AT", |account| Cell::text(&account["created_at"])),
    ("LOCKED", |account| Cell::text(&json!(if account["locked"] == true { "yes" } else { "no" }))),
];

const DEAD_LETTERS: &[Column] = &[
    ("ID", |letter| Cell::text(&letter["id"])),
    ("AT", |letter| Cell::text(&letter["at"])),
    ("ROOM", |letter| Cell::text(&letter["room"])),
    ("SEQ", |letter| Cell::text(&letter["seq"])),
    ("FROM", |letter| Cell::text(&letter["from"])),
    ("BYTES", |letter| Cell::text(&letter["bytes"])),
    ("REASON", |letter| Cell::text(&letter["reason"])),
];

const MEMBERS: &[Column] = &[
    ("USER", |user| Cell::text(&user["user"])),
    ("STATUS", |user| Cell::text(&user["status"])),
    ("CONNECTIONS", |user| Cell::text(&user["connections"])),
];

const MESSAGES: &[Column] = &[
    ("SEQ", |message| Cell::text(&message["seq"])),
    ("AT", |message| Cell::text(&message["at"])),
    ("FROM", |message| Cell::text(&message["from"])),
    ("DATA", |message| Cell::text(&message["data"])),
];

/// The part of a history that is shown.
#[derive(Deserialize)]
struct ShownHistory {
    messages: Vec<ShownMessage>,
}

#[derive(Deserialize)]
struct ShownMessage {
    seq: u64,
    at: u64,
    from: String,
    /// Kept as text, however deeply nested.
    data: Option<Box<RawValue>>,
    data_b64: Option<String>,
}

/// Parses the response to a command; data of messages stays text.
pub fn read(ask: &OperatorCommand, text: &str) -> Result<Value, serde_json::Error> {
    if matches!(ask, OperatorCommand::DeadLetterShow(_)) {
        return read_letter(text);
    }
    if !matches!(ask, OperatorCommand::History(_)) {
        return serde_json::from_str(text);
    }
    let ShownHistory { messages } = serde_json::from_str(text)?;
    let shown = |message: ShownMessage| {
        let data = data_text(message.data.as_deref(), message.data_b64.as_deref());
        let cut = data.char_indices().nth(DATA_CHARS_MAX).map(|(end, _)| format!("{}…", &data[..end]));
        json!({"seq": message.seq, "at": message.at, "from": message.from, "data": cut.unwrap_or(data)})
    };
    Ok(json!({"messages": messages.into_iter().map(shown).collect::<Vec<_>>()}))
}

/// Data as text: of bytes their base64.
fn data_text(data: Option<&RawValue>, data_b64: Option<&str>) -> String {
    match (data, data_b64) {
        (Some(data), _) => data.get().to_owned(),
        (None, Some(bytes)) => format!("base64 {bytes}"),
        (None, None) => "null".to_owned(),
    }
}

/// A dead letter, whose data is kept as text.
#[derive(Deserialize)]
struct LetterFields {
    id: u64,
    at: u64,
    reason: String,
    room: String,
    epoch: String,
    seq: u64,
    from: String,
    published_at: u64,
    key: Option<String>,
    data: Option<Box<RawValue>>,
    data_b64: Option<String>,
}

fn read_letter(text: &str) -> Result<Value, serde_json::Error> {
    let letter: LetterFields = serde_json::from_str(text)?;
    let data = data_text(letter.data.as_deref(), letter.data_b64.as_deref());
    let LetterFields { id, at, reason, room, epoch, seq, from, published_at, key, .. } = letter;
    Ok(json!({
        "id": id, "at": at, "reason": reason, "room": room, "epoch": epoch, "seq": seq, "from": from,
        "published at": published_at, "key": key, "data": data,
    }))
}

/// A dead letter, one field a line.
fn letter(answer: &Value) -> String {
    let names = ["id", "at", "reason", "room", "epoch", "seq", "from", "published at", "key", "data"];
    let given = names.iter().filter(|name| !answer[**name].is_null());
    let lines = given.map(|name| format!("{name}: {}", Cell::text(&answer[*name]).text));
    lines.collect::<Vec<_>>().join("\n")
}

/// Renders the response to a command as text.
pub fn render(ask: &OperatorCommand, answer: &Value) -> String {
    match ask {
        OperatorCommand::Rooms(_) => listing(ROOMS, &answer["rooms"], answer),
        OperatorCommand::Connections(_) => listing(CONNECTIONS, &answer["connections"], answer),
        OperatorCommand::Members(_) => listing(MEMBERS, &answer["users"], answer),
        OperatorCommand::History(_) => table(MESSAGES, &answer["messages"]),
        OperatorCommand::Publish(_) => {
            let again = if answer["duplicate"] == true { "already " } else { "" };
            match &answer["seq"] {
                Value::Null => format!("{again}published without a number"),
                seq => format!("{again}published as message {seq}"),
            }
        }
        OperatorCommand::Kick(_) => format!("removed {} from the room", connections(&answer["kicked"])),
        OperatorCommand::Disconnect(_) => format!("closed {}", connections(&answer["disconnected"])),
        OperatorCommand::AccountList(_) => listing(ACCOUNTS, &answer["accounts"], answer),
        OperatorCommand::AccountAdd(_) => "made the account".into(),
        OperatorCommand::AccountLock(_) => {
            format!("locked the account and closed {}", connections(&answer["disconnected"]))
        }
        OperatorCommand::AccountUnlock(_) => "unlocked the account".into(),
        OperatorCommand::AccountReset(_) => "changed the password".into(),
        OperatorCommand::DeadLetterList(_) => listing(DEAD_LETTERS, &answer["dead_letters"], answer),
        OperatorCommand::DeadLetterShow(_) => letter(answer),
        OperatorCommand::DeadLetterReplay(_) => {
            let again = if answer["duplicate"] == true { "already " } else { "" };
            format!("{again}published as message {}, and dropped the dead letter", answer["seq"])
        }
        OperatorCommand::DeadLetterDrop(_) => "dropped the dead letter".into(),
        OperatorCommand::Drain(_) => "the server is draining".into(),
    }
}

fn connections(count: &Value) -> String {
    if *count == 1 { "1 connection".into() } else { format!("{count} connections") }
}

fn listing(columns: &[Column], rows: &Value, answer: &Value) -> String {
    let mut text = table(columns, rows);
    match &answer["next"] {
        Value::String(next) => text.push_str(&format!("\nthere are more: --after {}", quoted(next))),
        Value::Number(next) => text.push_str(&format!("\nthere are more: --after {next}")),
        _ => {}
    }
    text
}

/// Quoted for a shell.
fn quoted(text: &str) -> String {
    let is_simple = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte));
    if is_simple { text.to_owned() } else { format!("'{}'", plain(text).replace('\'', r"'\''")) }
}

fn table(columns: &[Column], rows: &Value) -> String {
    let title = |(title, _): &Column| Cell { text: (*title).to_owned(), is_number: false };
    let mut lines: Vec<Vec<Cell>> = vec![columns.iter().map(title).collect()];
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    lines.extend(rows.iter().map(|row| columns.iter().map(|(_, cell)| cell(row)).collect()));
    let width = |at: usize| lines.iter().map(|line| line[at].text.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    // The title of a column of numbers is right-aligned, too.
    let right: Vec<bool> = (0..columns.len()).map(|at| lines.iter().skip(1).any(|line| line[at].is_number)).collect();
    let line = |cells: &Vec<Cell>| {
        let cells = cells.iter().zip(&widths).zip(&right).map(|((cell, width), right)| {
            if *right { format!("{:>width$}", cell.text) } else { format!("{:<width$}", cell.text) }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Replaces control characters, on which a terminal would act.
pub fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(shown).collect()
}
