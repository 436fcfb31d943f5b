//! The settings of an engine, validated and in its units, under the names of their configuration keys. `server::config`
//! makes them. Reads no file.

use std::sync::Arc;

use super::hosts::AllowedHosts;
use super::rates::Rate;
use super::trusted::Trusted;
use crate::wire::dialect::Dialect;
use crate::wire::handshake::ForwardedHeader;

/// What happens to the full outbox of a slow consumer (PROTOCOL section 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPolicy {
    /// The connection is closed (4413).
    Disconnect,
    /// The room's oldest messages are dropped for this connection.
    Skip,
    /// All but the room's newest message are dropped for this connection.
    Latest,
}

/// Who may bring a room into being, by `create_room` or by joining a room that does not exist. Publishes of the server
/// always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CreationPolicy {
    /// Anyone who may join it.
    #[default]
    Anyone,
    /// Users whose token names the room.
    Named,
    /// Users whose token grants `admin` in the room.
    Admin,
}

/// The settings of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSettings {
    /// Messages kept; 0 keeps none.
    pub history_size: usize,
    /// How long messages are kept.
    pub history_ttl_ms: u64,
    /// How long the epoch and head of an idle room are kept; 0 does not keep them.
    pub numbering_ttl_ms: u64,
    /// Messages sent on joining if the client does not ask for a number.
    pub history_on_join: u32,
    /// Most messages that a client may ask for on joining.
    pub history_on_join_max: u32,
    /// Most messages replayed to a client on recovery.
    pub recovery_max: usize,
    /// The policy for slow consumers.
    pub slow_policy: SlowPolicy,
    /// Whether users are tracked and members told who is present.
    pub presence: bool,
    /// In rooms with more members, changes are told as totals, without names.
    pub presence_names_max: usize,
    /// How long a user who left stays present.
    pub presence_grace_ms: u64,
    /// Rate limit of publishes to one room: a token bucket.
    pub room_message_rate: Option<Rate>,
    /// Who may bring a room into being.
    pub create: CreationPolicy,
}

/// Settings for the rooms whose name matches a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomClass {
    /// `*` matches any number of bytes, including none.
    pub pattern: String,
    /// The settings of those rooms.
    pub settings: Arc<RoomSettings>,
}

/// permessage-deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Smallest payload that is compressed.
    pub min_bytes: usize,
    /// From 1 (fastest) to 9 (smallest).
    pub level: u8,
}

/// Limits of connections, users, addresses and the server. `None` and 0 mean no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Rate limit of upgrades to the whole server: a token bucket.
    pub connect_rate: Option<Rate>,
    /// Rate limit of upgrades from one address: a token bucket.
    pub connect_rate_per_ip: Option<Rate>,
    /// Connections of one address.
    pub connections_per_ip: u32,
    /// Connections of one user.
    pub connections_per_user: u32,
    /// Rate limit of publishes by one connection: a token bucket.
    pub message_rate: Option<Rate>,
    /// Rate limit of commands by one connection, publishes included: a token bucket.
    pub command_rate: Option<Rate>,
    /// Rate limit of publishes by one user on all connections: a sliding window.
    pub message_rate_per_user: Option<Rate>,
    /// A connection is closed after this long without messages in either direction.
    pub idle_timeout_ms: u64,
}

impl Limits {
    /// Whether an upgrade needs admission by the cores that count its address and the server.
    #[must_use]
    pub fn gates_connects(&self) -> bool {
        self.connect_rate.is_some() || self.connect_rate_per_ip.is_some() || self.connections_per_ip > 0
    }
}

/// Who numbers the publications of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NumberingMode {
    /// The owner core of each room.
    #[default]
    Own,
    /// The link, for all machines that share it.
    Link,
}

/// Where the publications of rooms are kept besides the history in memory, and when a publisher is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeepingMode {
    /// Nowhere else; or in the link, if it numbers them.
    #[default]
    None,
    /// In the store; publishers are answered before the commit.
    Behind,
    /// In the store; publishers are answered after the commit.
    Commit,
}

/// The settings of an engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this machine.
    pub node: String,
    /// The cores that share the rooms of this machine.
    pub cores: u16,
    /// Open WebSockets of all cores together; above it upgrades get 503.
    pub max_connections: u32,
    /// Open WebSockets of this core; above it upgrades get 503.
    pub max_connections_per_core: u32,
    /// Slots for sockets: more than connections, so that upgrades can be refused.
    pub sockets_max: u32,
    /// Connection structures allocated at the start.
    pub warm_connections: u32,
    /// The dialects on offer, at least one. The first is spoken if a client names none. Must not change while connections
    /// are open.
    pub dialects: &'static [Dialect],
    /// Largest message accepted from a client.
    pub max_message_bytes: usize,
    /// Path that echoes every message; empty for none.
    pub echo_path: String,
    /// Origins allowed beside the same host and port; `["*"]` allows any.
    pub allowed_origins: Vec<String>,
    /// Hosts that clients may use for this server.
    pub allowed_hosts: AllowedHosts,
    /// The proxies trusted for client addresses.
    pub trusted_proxies: Trusted,
    /// The header in which they name the client.
    pub forwarded_header: ForwardedHeader,
    /// Maximum number of bytes queued for one connection. A single message may exceed it.
    pub outbox_bytes: usize,
    /// Rooms that one connection may join; 0 means no limit.
    pub rooms_per_connection: u32,
    /// Limits of connections, users, addresses and the server.
    pub limits: Limits,
    /// This core's share of the memory budget, which covers connections, rooms and messages.
    pub memory_budget_bytes: u64,
    /// Bytes of a connection in `io`: the state of TLS, if clients use it.
    pub io_bytes_per_connection: usize,
    /// How often a connection is pinged.
    pub heartbeat_interval_ms: u64,
    /// A connection is closed after this long without any frame.
    pub heartbeat_timeout_ms: u64,
    /// `None` does not offer it to clients.
    pub compression: Option<Compression>,
    /// The settings of rooms that match no class.
    pub rooms: Arc<RoomSettings>,
    /// Classes in the order of the configuration; the first match counts.
    pub classes: Vec<RoomClass>,
    /// The fraction of publishes that is traced, in units of 2^-64.
    pub trace_sample: u64,
    /// Who numbers publications.
    pub numbering: NumberingMode,
    /// Where publications are kept.
    pub keeping: KeepingMode,
    /// There is a store for created rooms, receipts and sessions, also where it keeps no publications.
    pub rooms_are_administered: bool,
    /// The rules of accounts; `None` where this server has none.
    pub accounts: Option<AccountRules>,
}

/// The rules of accounts that a request is held to before anything is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRules {
    /// Whether clients may make accounts; otherwise operators do.
    pub anyone_registers: bool,
    /// Least number of characters of a new password.
    pub password_chars_min: u32,
}

impl Settings {
    /// Whether there is a store that can be asked to keep something.
    #[must_use]
    pub fn has_store(&self) -> bool {
        self.rooms_are_administered || self.keeping != KeepingMode::None
    }

    /// Whether rooms can be created, with members and roles. The store says which are when it loads a room, which it does for
    /// rooms that this machine numbers.
    #[must_use]
    pub fn creates_rooms(&self) -> bool {
        self.has_store() && self.numbering == NumberingMode::Own
    }

    /// The settings of the room of this name.
    #[must_use]
    pub fn room(&self, name: &str) -> &Arc<RoomSettings> {
        self.classes
            .iter()
            .find(|class| pattern_matches(&class.pattern, name))
            .map_or(&self.rooms, |class| &class.settings)
    }
}

/// Whether `name` matches `pattern`, in which `*` matches any run of bytes. Backtracks to the last `*` only.
#[must_use]
pub fn pattern_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && pattern[p] == name[n] {
            p += 1;
            n += 1;
        } else if let Some((star_p, star_n)) = star {
            p = star_p + 1;
            n = star_n + 1;
            star = Some((star_p, star_n + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
impl Settings {
    /// Settings with rooms that keep ten messages for a minute.
    pub fn for_tests() -> Settings {
        Settings {
            node: "here".to_owned(),
            cores: 3,
            max_connections: 1_000,
            max_connections_per_core: 1_000,
            sockets_max: 2_000,
            warm_connections: 0,
            dialects: &crate::wire::dialect::DIALECTS,
            max_message_bytes: 65_536,
            echo_path: String::new(),
            allowed_origins: Vec::new(),
            allowed_hosts: AllowedHosts::any(),
            trusted_proxies: Trusted::default(),
            forwarded_header: ForwardedHeader::default(),
            outbox_bytes: 1 << 20,
            rooms_per_connection: 0,
            limits: Limits::default(),
            memory_budget_bytes: 1 << 30,
            io_bytes_per_connection: 0,
            heartbeat_interval_ms: 25_000,
            heartbeat_timeout_ms: 60_000,
            compression: None,
            rooms: Arc::new(RoomSettings {
                history_size: 10,
                history_ttl_ms: 60_000,
                numbering_ttl_ms: 0,
                history_on_join: 3,
                history_on_join_max: 5,
                recovery_max: 8,
                slow_policy: SlowPolicy::Disconnect,
                presence: true,
                presence_names_max: 1_000,
                presence_grace_ms: 2_000,
                room_message_rate: None,
                create: CreationPolicy::Anyone,
            }),
            classes: Vec::new(),
            trace_sample: 0,
            numbering: NumberingMode::Own,
            keeping: KeepingMode::None,
            rooms_are_administered: false,
            accounts: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pattern_matches;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, matches) in [
            ("news:*", "news:", true),
            ("news:*", "news:a:b", true),
            ("news:*", "new:a", false),
            ("*", "", true),
            ("", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("chat", "chat2", false),
        ] {
            assert_eq!(pattern_matches(pattern, name), matches, "{pattern} {name}");
        }
    }
}
