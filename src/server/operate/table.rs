//! Answers of the HTTP API as a person reads them: aligned columns, one plain sentence. Nothing that a user of the server
//! wrote can move the terminal's cursor.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::command::OperatorCommand;

/// A column: its title and what stands in it.
type Column = (&'static str, fn(&Value) -> Cell);

/// What stands in a table.
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

/// A history as far as it is shown.
#[derive(Deserialize)]
struct ShownHistory {
    messages: Vec<ShownMessage>,
}

#[derive(Deserialize)]
struct ShownMessage {
    seq: u64,
    at: u64,
    from: String,
    /// As it was published: however deep it is, it is not looked into.
    data: Option<Box<RawValue>>,
    data_b64: Option<String>,
}

/// Reads the answer to a command; the data of messages as text.
pub fn read(ask: &OperatorCommand, text: &str) -> Result<Value, serde_json::Error> {
    if !matches!(ask, OperatorCommand::History(_)) {
        return serde_json::from_str(text);
    }
    let ShownHistory { messages } = serde_json::from_str(text)?;
    let shown = |message: ShownMessage| {
        let data = match (&message.data, &message.data_b64) {
            (Some(data), _) => data.get().to_owned(),
            (None, Some(bytes)) => format!("base64 {bytes}"),
            (None, None) => "null".to_owned(),
        };
        let cut = data.char_indices().nth(DATA_CHARS_MAX).map(|(end, _)| format!("{}…", &data[..end]));
        json!({"seq": message.seq, "at": message.at, "from": message.from, "data": cut.unwrap_or(data)})
    };
    Ok(json!({"messages": messages.into_iter().map(shown).collect::<Vec<_>>()}))
}

/// The answer to a command in plain text.
pub fn render(ask: &OperatorCommand, answer: &Value) -> String {
    match ask {
        OperatorCommand::Rooms(_) => listing(ROOMS, &answer["rooms"], answer),
        OperatorCommand::Connections(_) => listing(CONNECTIONS, &answer["connections"], answer),
        OperatorCommand::Members(_) => listing(MEMBERS, &answer["users"], answer),
        OperatorCommand::History(_) => table(MESSAGES, &answer["messages"]),
        OperatorCommand::Publish(_) => {
            let again = if answer["duplicate"] == true { ", which this key was given before" } else { "" };
            match &answer["seq"] {
                Value::Null => "published, without a number".into(),
                seq => format!("published as message {seq}{again}"),
            }
        }
        OperatorCommand::Kick(_) => format!("{} put out of the room", connections(&answer["kicked"])),
        OperatorCommand::Disconnect(_) => format!("{} closed", connections(&answer["disconnected"])),
        OperatorCommand::Drain(_) => "the server is draining".into(),
    }
}

fn connections(count: &Value) -> String {
    if *count == 1 { "1 connection".into() } else { format!("{count} connections") }
}

fn listing(columns: &[Column], rows: &Value, answer: &Value) -> String {
    let mut text = table(columns, rows);
    if let Some(next) = answer["next"].as_str() {
        text.push_str(&format!("\nthere are more: --after {}", quoted(next)));
    }
    text
}

/// As a shell takes it.
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
    // A column of numbers has its title at the right, too.
    let right: Vec<bool> = (0..columns.len()).map(|at| lines.iter().skip(1).any(|line| line[at].is_number)).collect();
    let line = |cells: &Vec<Cell>| {
        let cells = cells.iter().zip(&widths).zip(&right).map(|((cell, width), right)| {
            if *right { format!("{:>width$}", cell.text) } else { format!("{:<width$}", cell.text) }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Without what a terminal would act on; in one line.
pub fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(shown).collect()
}
