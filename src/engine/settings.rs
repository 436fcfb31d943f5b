//! What an engine is told at its start: checked, in its own units. Reads no file; `server::config` lowers into it.

use std::sync::Arc;

use super::hosts::AllowedHosts;
use super::rates::Rate;
use super::trusted::Trusted;
use crate::wire::dialect::Dialect;
use crate::wire::handshake::ForwardedHeader;

/// What happens to a member's outbox that is full (PROTOCOL section 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPolicy {
    /// Close 4413.
    Disconnect,
    /// Drop the room's oldest messages for this connection.
    Skip,
    /// Keep only the room's newest message for this connection.
    Latest,
}

/// How rooms behave whose name matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSettings {
    /// Messages held. 0: none.
    pub history_size: usize,
    /// Messages are held this long.
    pub history_ttl_ms: u64,
    /// How long an idle room's epoch and head are kept. 0: not at all.
    pub numbering_ttl_ms: u64,
    /// Messages given on joining when the client does not say how many.
    pub history_on_join: u32,
    /// The most a client may ask for on joining.
    pub history_on_join_max: u32,
    /// The most messages replayed to a client that recovers.
    pub recovery_max: usize,
    /// What happens to a full outbox.
    pub slow_policy: SlowPolicy,
    /// Whether users present are tracked and told.
    pub presence: bool,
    /// In rooms with more members, changes are told as a total, without names.
    pub presence_names_max: usize,
    /// How long a user who has gone stays present.
    pub presence_grace_ms: u64,
    /// Publishes to one room.
    pub room_message_rate: Option<Rate>,
}

/// Settings for the rooms whose name matches a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomClass {
    /// `*` stands for any run of bytes, the empty one too.
    pub pattern: String,
    /// How those rooms behave.
    pub settings: Arc<RoomSettings>,
}

/// permessage-deflate, where it is offered to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Payloads below it are sent as they are.
    pub min_bytes: usize,
    /// From 1 (fastest) to 9 (smallest).
    pub level: u8,
}

/// The limits that are not a room's. `None` and 0 mean no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Upgrades of the whole server: a token bucket.
    pub connect_rate: Option<Rate>,
    /// Upgrades of one address: a token bucket.
    pub connect_rate_per_ip: Option<Rate>,
    /// Connections of one address.
    pub connections_per_ip: u32,
    /// Connections of one user.
    pub connections_per_user: u32,
    /// Publishes of one connection: a token bucket.
    pub message_rate: Option<Rate>,
    /// Commands of one connection, publishes included: a token bucket.
    pub command_rate: Option<Rate>,
    /// Publishes of one user on all connections: a sliding window.
    pub message_rate_per_user: Option<Rate>,
    /// A connection without a message in either direction for this long is closed.
    pub idle_timeout_ms: u64,
}

impl Limits {
    /// Whether an upgrade has to be asked for where its address and the server are counted.
    #[must_use]
    pub fn gates_connects(&self) -> bool {
        self.connect_rate.is_some() || self.connect_rate_per_ip.is_some() || self.connections_per_ip > 0
    }
}

/// Who numbers the publications of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NumberingMode {
    /// The owner of each room.
    #[default]
    Own,
    /// The link, for all machines that share it.
    Link,
}

/// Who keeps the publications of rooms beyond the history in memory, and when a publisher is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeepingMode {
    /// Nobody; or the link, where that numbers.
    #[default]
    None,
    /// The store, written behind: publishers are answered before the commit.
    Behind,
    /// The store: publishers are answered after the commit.
    Commit,
}

/// Everything an engine needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This machine's name.
    pub node: String,
    /// How many cores this machine's rooms are spread over.
    pub cores: u16,
    /// WebSockets that all cores of the process hold open together; above it upgrades get 503.
    pub max_connections: u32,
    /// WebSockets that this core has slots for; above it upgrades get 503.
    pub max_connections_per_core: u32,
    /// Sockets this core has slots for: more than connections, so that upgrades can be refused.
    pub sockets_max: u32,
    /// Connection structures prepared at the start.
    pub warm_connections: u32,
    /// The dialects on offer, at least one; the first is spoken where a client names none. Must not change while
    /// connections are open.
    pub dialects: &'static [Dialect],
    /// The largest message taken from a client.
    pub max_message_bytes: usize,
    /// A path where every message is answered with itself. Empty: none.
    pub echo_path: String,
    /// Origins allowed beside the same host and port; `["*"]` allows any.
    pub allowed_origins: Vec<String>,
    /// Hosts by which clients may ask for this server.
    pub allowed_hosts: AllowedHosts,
    /// The proxies in front of this server, whose word about addresses counts.
    pub trusted_proxies: Trusted,
    /// The header in which they give it.
    pub forwarded_header: ForwardedHeader,
    /// Bytes that may wait for one connection; one message more when nothing else waits.
    pub outbox_bytes: usize,
    /// Rooms one connection may be a member of; 0: no limit.
    pub rooms_per_connection: u32,
    /// How much clients may do.
    pub limits: Limits,
    /// This core's share of the memory budget: all that clients make it hold, connections and rooms included.
    pub memory_budget_bytes: u64,
    /// What a connection takes of the floor below beside the engine: the state of TLS, where clients speak it.
    pub io_bytes_per_connection: usize,
    /// How often a connection is pinged.
    pub heartbeat_interval_ms: u64,
    /// A connection without any frame for this long is closed.
    pub heartbeat_timeout_ms: u64,
    /// `None`: not offered.
    pub compression: Option<Compression>,
    /// Rooms that match no class.
    pub rooms: Arc<RoomSettings>,
    /// Classes in the order of the configuration; the first match counts.
    pub classes: Vec<RoomClass>,
    /// The part of the publishes whose way is traced, in 2^-64; 0: none.
    pub trace_sample: u64,
    /// Who numbers publications.
    pub numbering: NumberingMode,
    /// Who keeps them beyond this process.
    pub keeping: KeepingMode,
}

impl Settings {
    /// How the room of this name behaves.
    #[must_use]
    pub fn room(&self, name: &str) -> &Arc<RoomSettings> {
        self.classes
            .iter()
            .find(|class| pattern_matches(&class.pattern, name))
            .map_or(&self.rooms, |class| &class.settings)
    }
}

/// Whether `name` matches `pattern`, where `*` stands for any run of bytes. Linear in both (backtracks to the last `*` only).
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
    /// Settings under which rooms hold ten messages for a minute.
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
            }),
            classes: Vec::new(),
            trace_sample: 0,
            numbering: NumberingMode::Own,
            keeping: KeepingMode::None,
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
