//! The arguments of the operator commands, and the API request that each makes. Sends nothing.

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

/// Arguments that all operator commands have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ControlArgs {
    /// Control address of the server, such as 127.0.0.1:8081 or https://host/; control.listen by default
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<String>,
    /// Print the server's response as JSON
    #[arg(long)]
    pub json: bool,
}

/// An operator command with its arguments.
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
    /// `roomring accounts list`
    AccountList(AccountListArgs),
    /// `roomring accounts add`
    AccountAdd(AccountAddArgs),
    /// `roomring accounts lock`
    AccountLock(AccountLockArgs),
    /// `roomring accounts unlock`
    AccountUnlock(AccountUnlockArgs),
    /// `roomring accounts reset`
    AccountReset(AccountResetArgs),
    /// `roomring dead-letters list`
    DeadLetterList(DeadLetterListArgs),
    /// `roomring dead-letters show`
    DeadLetterShow(DeadLetterShowArgs),
    /// `roomring dead-letters replay`
    DeadLetterReplay(DeadLetterReplayArgs),
    /// `roomring dead-letters drop`
    DeadLetterDrop(DeadLetterDropArgs),
    /// `roomring drain`
    Drain(DrainArgs),
}

macro_rules! commands {
    ($($name:ident($args:ident),)*) => {
        $(impl From<$args> for OperatorCommand {
            fn from(args: $args) -> Self {
                OperatorCommand::$name(args)
            }
        })*
    };
}

commands! {
    Rooms(RoomsArgs),
    Connections(ConnectionsArgs),
    Members(MembersArgs),
    History(HistoryArgs),
    Publish(PublishArgs),
    Kick(KickArgs),
    Disconnect(DisconnectArgs),
    AccountList(AccountListArgs),
    AccountAdd(AccountAddArgs),
    AccountLock(AccountLockArgs),
    AccountUnlock(AccountUnlockArgs),
    AccountReset(AccountResetArgs),
    DeadLetterList(DeadLetterListArgs),
    DeadLetterShow(DeadLetterShowArgs),
    DeadLetterReplay(DeadLetterReplayArgs),
    DeadLetterDrop(DeadLetterDropArgs),
    Drain(DrainArgs),
}

/// Order of the busiest rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoomSortArg {
    /// Most members first
    Members,
    /// Most messages per second first
    Rate,
}

/// Order of the slowest connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConnectionSortArg {
    /// Most queued bytes first
    Queued,
}

/// Arguments of `roomring rooms`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RoomsArgs {
    /// List the busiest rooms instead of a page of all rooms
    #[arg(long, value_enum)]
    sort: Option<RoomSortArg>,
    /// Number of entries to list
    #[arg(long)]
    limit: Option<u32>,
    /// Continue after a page, with the value that it ended with
    #[arg(long, value_name = "NEXT", conflicts_with = "sort")]
    after: Option<String>,
}

/// Arguments of `roomring connections`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ConnectionsArgs {
    /// List only connections of this user
    #[arg(long)]
    user: Option<String>,
    /// List only members of this room
    #[arg(long)]
    room: Option<String>,
    /// List the slowest connections instead of a page of all connections
    #[arg(long, value_enum)]
    sort: Option<ConnectionSortArg>,
    /// Number of entries to list
    #[arg(long)]
    limit: Option<u32>,
    /// Continue after a page, with the value that it ended with
    #[arg(long, value_name = "NEXT", conflicts_with = "sort")]
    after: Option<String>,
}

/// Arguments of `roomring members`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct MembersArgs {
    /// Room
    room: String,
    /// Number of entries to list
    #[arg(long)]
    limit: Option<u32>,
    /// List only users whose names sort after this one
    #[arg(long, value_name = "USER")]
    after: Option<String>,
}

/// Arguments of `roomring history`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct HistoryArgs {
    /// Room
    room: String,
    /// Number of entries to list
    #[arg(long)]
    limit: Option<u32>,
    /// List the oldest messages above this number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// List the newest messages below this number
    #[arg(long, value_name = "SEQ", conflicts_with = "after")]
    before: Option<u64>,
}

/// Arguments of `roomring publish`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct PublishArgs {
    /// Room
    room: String,
    /// Data: a JSON value, or text to send as a JSON string
    #[arg(allow_hyphen_values = true)]
    data: String,
    /// User shown as the publisher; "server" by default
    #[arg(long, value_name = "USER")]
    from: Option<String>,
    /// Idempotency key: repeating it publishes nothing
    #[arg(long)]
    key: Option<String>,
    /// Deliver to current members only, without a number and without history
    #[arg(long, conflicts_with = "key")]
    ephemeral: bool,
}

/// Arguments of `roomring kick`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct KickArgs {
    /// Room
    room: String,
    /// User
    user: String,
}

/// Arguments of `roomring disconnect`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DisconnectArgs {
    /// Close all connections of this user
    #[arg(required_unless_present = "connection")]
    user: Option<String>,
    /// Close the connection with this id
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    connection: Option<String>,
    /// Reason in the close frame
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Arguments of `roomring accounts list`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct AccountListArgs {
    /// Number of entries to list
    #[arg(long)]
    limit: Option<u32>,
    /// List only users whose names sort after this one
    #[arg(long, value_name = "USER")]
    after: Option<String>,
}

/// Arguments of `roomring accounts add`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct AccountAddArgs {
    /// User
    user: String,
    /// Shown name
    #[arg(long)]
    name: Option<String>,
}

/// Arguments of `roomring accounts lock`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct AccountLockArgs {
    /// User
    user: String,
}

/// Arguments of `roomring accounts unlock`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct AccountUnlockArgs {
    /// User
    user: String,
}

/// Arguments of `roomring accounts reset`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct AccountResetArgs {
    /// User
    user: String,
}

/// Arguments of `roomring dead-letters list`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DeadLetterListArgs {
    /// Number of entries to list
    #[arg(long)]
    limit: Option<u32>,
    /// List only dead letters with a greater id
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
}

/// Arguments of `roomring dead-letters show`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DeadLetterShowArgs {
    /// Id of the dead letter
    id: u64,
}

/// Arguments of `roomring dead-letters replay`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DeadLetterReplayArgs {
    /// Id of the dead letter
    id: u64,
}

/// Arguments of `roomring dead-letters drop`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DeadLetterDropArgs {
    /// Id of the dead letter
    id: u64,
}

/// Arguments of `roomring drain`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DrainArgs {}

/// One request to the HTTP API.
#[derive(Debug, PartialEq)]
pub struct ApiRequest {
    /// `GET` or `POST`.
    pub method: Method,
    /// Segments below `/api`, not percent-encoded.
    pub path: Vec<String>,
    /// Names and values, not percent-encoded.
    pub query: Vec<(&'static str, String)>,
    /// JSON as text, so that published data stays as typed.
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

    /// On the account of a user.
    fn of_account(act: &str, user: &str, more: Option<(&str, &str)>) -> Self {
        let fields = [("user", user)].into_iter().chain(more);
        let body: serde_json::Map<_, _> = fields.map(|(name, text)| (name.to_owned(), json!(text))).collect();
        let path = vec!["accounts".to_owned(), act.to_owned()];
        Self { method: Method::POST, path, query: Vec::new(), body: Some(Value::Object(body).to_string()) }
    }

    /// On one dead letter.
    fn of_dead_letter(act: &str, id: u64) -> Self {
        let path = vec!["dead-letters".to_owned(), act.to_owned()];
        Self { method: Method::POST, path, query: Vec::new(), body: Some(json!({"id": id}).to_string()) }
    }

    /// Adds a password to the fields of the body.
    pub fn add_password(&mut self, password: &str) {
        let fields = self.body.as_deref().map(serde_json::from_str);
        let Some(Ok(Value::Object(mut fields))) = fields else { return };
        fields.insert("password".to_owned(), json!(password));
        self.body = Some(Value::Object(fields).to_string());
    }
}

impl OperatorCommand {
    /// The API request of this command.
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
            OperatorCommand::AccountList(AccountListArgs { limit, after }) => {
                ApiRequest::get(&["accounts"], vec![("limit", number(limit)), ("after", after.clone())])
            }
            OperatorCommand::AccountAdd(AccountAddArgs { user, name }) => {
                ApiRequest::of_account("add", user, name.as_deref().map(|name| ("name", name)))
            }
            OperatorCommand::AccountLock(AccountLockArgs { user }) => ApiRequest::of_account("lock", user, None),
            OperatorCommand::AccountUnlock(AccountUnlockArgs { user }) => ApiRequest::of_account("unlock", user, None),
            OperatorCommand::AccountReset(AccountResetArgs { user }) => ApiRequest::of_account("reset", user, None),
            OperatorCommand::DeadLetterList(DeadLetterListArgs { limit, after }) => {
                let after = after.map(|after| after.to_string());
                ApiRequest::get(&["dead-letters"], vec![("limit", number(limit)), ("after", after)])
            }
            OperatorCommand::DeadLetterShow(DeadLetterShowArgs { id }) => {
                ApiRequest::get(&["dead-letters", &id.to_string()], Vec::new())
            }
            OperatorCommand::DeadLetterReplay(DeadLetterReplayArgs { id }) => ApiRequest::of_dead_letter("replay", *id),
            OperatorCommand::DeadLetterDrop(DeadLetterDropArgs { id }) => ApiRequest::of_dead_letter("drop", *id),
            OperatorCommand::Drain(DrainArgs {}) => ApiRequest::post("drain", None),
        }
    }
}

impl OperatorCommand {
    /// The user whose new password the command needs.
    pub fn needs_password_of(&self) -> Option<&str> {
        match self {
            OperatorCommand::AccountAdd(AccountAddArgs { user, .. })
            | OperatorCommand::AccountReset(AccountResetArgs { user }) => Some(user),
            _ => None,
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

/// The name of a choice, which is the same on the command line and in the API.
fn value_name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
