//! The operator's commands as typed, and what each asks of the HTTP API. Sends nothing.

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

/// ControlArgs a command speaks to the server and to whoever typed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ControlArgs {
    /// The server's control address, such as 127.0.0.1:8081 or https://host/; else control.listen of the configuration
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<String>,
    /// Print the server's answer as it is, in JSON
    #[arg(long)]
    pub json: bool,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorCommand {
    /// `roomring rooms`
    Rooms(RoomsArgs),
    /// `roomring connections`
    Connections(ConnectionsArgs),
    /// `roomring members`
    Members(MembersArgs),
    /// `roomring history`
    History(HistoryArgs),
    /// `roomring publish`
    Publish(PublishArgs),
    /// `roomring kick`
    Kick(KickArgs),
    /// `roomring disconnect`
    Disconnect(DisconnectArgs),
    /// `roomring drain`
    Drain(DrainArgs),
}

macro_rules! asks {
    ($($name:ident($args:ident),)*) => {
        $(impl From<$args> for OperatorCommand {
            fn from(args: $args) -> Self {
                OperatorCommand::$name(args)
            }
        })*
    };
}

asks! {
    Rooms(RoomsArgs),
    Connections(ConnectionsArgs),
    Members(MembersArgs),
    History(HistoryArgs),
    Publish(PublishArgs),
    Kick(KickArgs),
    Disconnect(DisconnectArgs),
    Drain(DrainArgs),
}

/// By what the first rooms are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoomSortArg {
    /// Most members first
    Members,
    /// Most messages per second first
    Rate,
}

/// By what the first connections are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConnectionSortArg {
    /// The laggards: most bytes waiting first
    Queued,
}

/// Of `roomring rooms`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RoomsArgs {
    /// The busiest of all rooms rather than a page of them
    #[arg(long, value_enum)]
    sort: Option<RoomSortArg>,
    /// ControlArgs many
    #[arg(long)]
    limit: Option<u32>,
    /// Go on behind a page, from what it said at its end
    #[arg(long, value_name = "NEXT", conflicts_with = "sort")]
    after: Option<String>,
}

/// Of `roomring connections`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ConnectionsArgs {
    /// Only this user's
    #[arg(long)]
    user: Option<String>,
    /// Only members of this room
    #[arg(long)]
    room: Option<String>,
    /// The worst laggards of all connections rather than a page of them
    #[arg(long, value_enum)]
    sort: Option<ConnectionSortArg>,
    /// ControlArgs many
    #[arg(long)]
    limit: Option<u32>,
    /// Go on behind a page, from what it said at its end
    #[arg(long, value_name = "NEXT", conflicts_with = "sort")]
    after: Option<String>,
}

/// Of `roomring members`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct MembersArgs {
    /// Which room
    room: String,
    /// ControlArgs many
    #[arg(long)]
    limit: Option<u32>,
    /// Only users whose names sort after this one
    #[arg(long, value_name = "USER")]
    after: Option<String>,
}

/// Of `roomring history`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct HistoryArgs {
    /// Which room
    room: String,
    /// ControlArgs many
    #[arg(long)]
    limit: Option<u32>,
    /// Only messages above this number, the oldest of them
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Only messages below this number, the newest of them
    #[arg(long, value_name = "SEQ", conflicts_with = "after")]
    before: Option<u64>,
}

/// Of `roomring publish`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct PublishArgs {
    /// Which room
    room: String,
    /// What: a JSON value; text that is none is sent as a JSON string
    #[arg(allow_hyphen_values = true)]
    data: String,
    /// In whose name; else "server"
    #[arg(long, value_name = "USER")]
    from: Option<String>,
    /// Idempotency key: with the same one again nothing is published
    #[arg(long)]
    key: Option<String>,
    /// Only for those who are there now: not numbered, not kept
    #[arg(long, conflicts_with = "key")]
    ephemeral: bool,
}

/// Of `roomring kick`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct KickArgs {
    /// Out of which room
    room: String,
    /// Whom
    user: String,
}

/// Of `roomring disconnect`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DisconnectArgs {
    /// All connections of this user
    #[arg(required_unless_present = "connection")]
    user: Option<String>,
    /// One connection, by its id
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    connection: Option<String>,
    /// Told to the client in the close frame
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Of `roomring drain`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DrainArgs {}

/// One request to the HTTP API.
#[derive(Debug, PartialEq)]
pub struct ApiRequest {
    /// `GET` or `POST`.
    pub method: Method,
    /// Below `/api`, each part as it is meant, not encoded.
    pub path: Vec<String>,
    /// Names and values, not encoded.
    pub query: Vec<(&'static str, String)>,
    /// JSON, as text: the data of a publish stays as it was typed.
    pub body: Option<String>,
}

impl ApiRequest {
    fn get(path: &[&str], query: Vec<(&'static str, Option<String>)>) -> Self {
        let query = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Self { method: Method::GET, path: path.iter().map(ToString::to_string).collect(), query, body: None }
    }

    fn post(path: &str, body: Option<String>) -> Self {
        Self { method: Method::POST, path: vec![path.to_owned()], query: Vec::new(), body }
    }
}

impl OperatorCommand {
    /// The request that this takes.
    pub fn request(&self) -> ApiRequest {
        let number = |number: &Option<u32>| number.map(|number| number.to_string());
        match self {
            OperatorCommand::Rooms(RoomsArgs { sort, limit, after }) => {
                let sort = sort.map(value_name);
                ApiRequest::get(&["rooms"], vec![("sort", sort), ("limit", number(limit)), ("after", after.clone())])
            }
            OperatorCommand::Connections(ConnectionsArgs { user, room, sort, limit, after }) => {
                let sort = ("sort", sort.map(value_name));
                let limits = [sort, ("limit", number(limit)), ("after", after.clone())];
                let filters = [("user", user.clone()), ("room", room.clone())];
                ApiRequest::get(&["connections"], filters.into_iter().chain(limits).collect())
            }
            OperatorCommand::Members(MembersArgs { room, limit, after }) => {
                let query = vec![("limit", number(limit)), ("after", after.clone())];
                ApiRequest::get(&["rooms", room, "members"], query)
            }
            OperatorCommand::History(HistoryArgs { room, limit, after, before }) => {
                let seq = |seq: &Option<u64>| seq.map(|seq| seq.to_string());
                let query = vec![("limit", number(limit)), ("after", seq(after)), ("before", seq(before))];
                ApiRequest::get(&["rooms", room, "history"], query)
            }
            OperatorCommand::Publish(publish) => ApiRequest::post("publish", Some(publish.body())),
            OperatorCommand::Kick(KickArgs { room, user }) => {
                ApiRequest::post("kick", Some(json!({"room": room, "user": user}).to_string()))
            }
            OperatorCommand::Disconnect(DisconnectArgs { user, connection, reason }) => {
                let fields = [("user", user), ("connection", connection), ("reason", reason)];
                let given =
                    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))));
                ApiRequest::post("disconnect", Some(Value::Object(given.collect()).to_string()))
            }
            OperatorCommand::Drain(DrainArgs {}) => ApiRequest::post("drain", None),
        }
    }
}

impl PublishArgs {
    fn body(&self) -> String {
        let text = |text: &str| Value::from(text).to_string();
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(&self.data).is_ok();
        let data = if is_json { self.data.clone() } else { text(&self.data) };
        let mut body = format!(r#"{{"room":{},"data":{data}"#, text(&self.room));
        for (name, value) in [("from", &self.from), ("key", &self.key)] {
            if let Some(value) = value {
                body.push_str(&format!(r#","{name}":{}"#, text(value)));
            }
        }
        if self.ephemeral {
            body.push_str(r#","ephemeral":true"#);
        }
        body + "}"
    }
}

/// A choice as it is written on the command line, which is how the API names it too.
fn value_name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
