//! Everything on, and every bound so near that a script reaches it.

use std::sync::Arc;

use roomring::engine::access::{Expected, Keys, Material, Renewal};
use roomring::engine::hosts::AllowedHosts;
use roomring::engine::rates::Rate;
use roomring::engine::settings::{
    Compression, CreationPolicy, KeepingMode, Limits, NumberingMode, RoomClass, RoomSettings, Settings, SlowPolicy,
};
use roomring::engine::trusted::Trusted;
use roomring::wire::dialect::{DIALECTS, Dialect, Identifies};
use roomring::wire::handshake::ForwardedHeader;
use roomring::wire::json;
use roomring::wire::protocol::{BadRequest, Command, Request};

/// The server's own dialects, and one whose connections identify themselves by their first message.
static OFFERED: [Dialect; 3] = [
    DIALECTS[0],
    DIALECTS[1],
    Dialect {
        subprotocol: "roomring.v1.message",
        read_text: read_identifying,
        identifies: Identifies::ByMessage,
        ..DIALECTS[0]
    },
];

/// The JSON form, in which `refresh` identifies the connection.
fn read_identifying(text: &str) -> Result<Request<'_>, BadRequest> {
    let Request { reply, command } = json::parse_command(text)?;
    let command = match command {
        Command::Refresh { token } => Command::Identify { token: Some(token), user: None },
        command => command,
    };
    Ok(Request { reply, command })
}

/// Tokens by the secret `fuzz`: of anyone for long, of someone with two patterns, of someone for another minute; and one
/// by a key that is not known.
pub const TOKENS: [&str; 4] = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.QbiwXhnmNKRqEXxlb-maSNB6snWsn0-Pfn0LAzGV31U",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IiLCJleHAiOjQxMDI0NDQ4MDAsInJvb21zIjpbImxvYmJ5Iiwic2tpcDoqIl\
     19.LvWLLwY0hQMXWL2C7BYU\
     9tWksEvKrdh6tQQpp7I7GvY",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYXJvbCIsImV4cCI6MTcwMDAwMDA2MCwicm9vbXMiOnsiKiI6WyJqb2luIiwicH\
     VibGlzaCIsImFkbWluIl19fQ\
     .dTL-6qT6yakj3VNAGXobUvbyuslxPxoiOZTrP88wOFw",
    "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.AAAA",
];

/// Rooms of all policies, and one whose name every encoder has to escape.
pub const ROOMS: [&str; 4] = ["lobby", "skip:1", "latest:\"ü\\", "dark:room"];

pub fn keys(renewal: Renewal) -> Arc<Keys> {
    let expected = Expected { leeway_ms: 5_000, ..Expected::default() };
    Arc::new(Keys::new(Material::from_secret("fuzz"), expected, renewal))
}

/// The lowest bits of `choice` take single features away.
pub fn settings(choice: u8) -> Arc<Settings> {
    let rate = |count, per_ms| Rate::new(count, per_ms).filter(|_| choice & 1 == 0);
    let room = |slow_policy, presence, history_size| {
        Arc::new(RoomSettings {
            history_size,
            history_ttl_ms: 5_000,
            numbering_ttl_ms: 10_000,
            history_on_join: 3,
            history_on_join_max: 10,
            recovery_max: 8,
            slow_policy,
            presence,
            presence_names_max: 4,
            presence_grace_ms: 500,
            room_message_rate: rate(20, 1_000),
            create: CreationPolicy::Anyone,
        })
    };
    let class = |pattern: &str, settings| RoomClass { pattern: pattern.to_owned(), settings };
    Arc::new(Settings {
        node: "here".to_owned(),
        cores: 2,
        max_connections: 6,
        max_connections_per_core: 6,
        sockets_max: 12,
        warm_connections: 1,
        max_message_bytes: 4_000,
        echo_path: "/echo".to_owned(),
        allowed_origins: Vec::new(),
        allowed_hosts: AllowedHosts::any(),
        forwarded_header: ForwardedHeader::default(),
        trusted_proxies: Trusted::new(&["10.0.0.0/8".parse().expect("a network")]),
        outbox_bytes: if choice & 2 == 0 { 3_000 } else { 100_000 },
        rooms_per_connection: 3,
        limits: Limits {
            connect_rate: rate(50, 1_000),
            connect_rate_per_ip: rate(20, 1_000),
            connections_per_ip: 5,
            connections_per_user: 4,
            message_rate: rate(10, 1_000),
            command_rate: rate(30, 1_000),
            message_rate_per_user: rate(15, 1_000),
            idle_timeout_ms: 40_000,
        },
        memory_budget_bytes: if choice & 4 == 0 { 1 << 20 } else { 12_000 },
        io_bytes_per_connection: 0,
        heartbeat_interval_ms: 5_000,
        heartbeat_timeout_ms: 12_000,
        compression: (choice & 8 == 0).then_some(Compression { min_bytes: 20, level: 1 }),
        rooms: room(SlowPolicy::Disconnect, true, 20),
        classes: vec![
            class("skip:*", room(SlowPolicy::Skip, true, 5)),
            class("latest:*", room(SlowPolicy::Latest, true, 5)),
            class("dark:*", room(SlowPolicy::Skip, false, 0)),
        ],
        dialects: &OFFERED,
        numbering: NumberingMode::Own,
        keeping: KeepingMode::None,
        rooms_are_administered: false,
        accounts: None,
        trace_sample: u64::MAX / 4,
    })
}
