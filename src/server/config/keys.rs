//! Every configuration key. Reading, checking, printing and the search for the nearest known key go by this table. Reads
//! no source.

use std::sync::LazyLock;

use super::choices::{
    AUTH_MODES, CREATION_POLICIES, DURABILITIES, FORWARDED_HEADERS, LINK_KINDS, LOG_FORMATS, REGISTRATIONS,
    SLOW_POLICIES, STORE_KINDS, words,
};
use super::key::{Key, Secrecy};
use super::kind::{Kind, TextRule};

/// Index in [`KEYS`] of `section.key`.
#[must_use]
pub fn find(section: &str, name: &str) -> Option<usize> {
    KEYS.iter().position(|key| key.section == section && key.name == name)
}

/// The sections in the order of [`KEYS`].
pub fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.chunk_by(|a, b| a.section == b.section).map(|keys| keys[0].section)
}

/// Every `section.key`.
pub static PATHS: LazyLock<Vec<String>> = LazyLock::new(|| KEYS.iter().map(Key::path).collect());

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

const fn duration(min: u64, max: u64) -> Kind {
    Kind::Duration { min, max }
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}

const fn text(expected: &'static str, check: fn(&str) -> bool) -> Kind {
    Kind::Text(TextRule { expected, check })
}

const MS: u64 = 1;
const S: u64 = 1_000;
const MIN: u64 = 60 * S;
const HOUR: u64 = 60 * MIN;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const FREE_TEXT: Kind = text("a text without control characters", |_| true);
const API_KEY: Kind = text("a text of at most 256 visible ASCII characters, or \"\" for none", |text| {
    text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic())
});
const FILE: Kind = text("the path of a file, or \"\" for none", |_| true);
const DIRECTORY: Kind = text("the path of a directory", |text| !text.is_empty());
const JWKS: Kind = text("the path of a file, an http:// or https:// address, or \"\" for none", |text| {
    !text.contains("://")
        || ((text.starts_with("http://") || text.starts_with("https://")) && !text.contains(char::is_whitespace))
});
const URL: Kind = text("a URL such as \"scheme://host:port\", or \"\" for none", |text| {
    text.is_empty() || (text.contains("://") && !text.contains(char::is_whitespace))
});
const OTLP: Kind = text("an http or https URL such as \"http://127.0.0.1:4318\", or \"\" for none", |text| {
    text.is_empty() || crate::control::is_endpoint(text)
});
const NODE: Kind = text("\"auto\", or 1 to 64 letters, digits, '.', '_' and '-'", is_node);
const ECHO_PATH: Kind =
    text("a path such as \"/echo\" other than \"/ws\" and \"/health\", or \"\" for none", is_echo_path);
const ORIGINS: Kind = Kind::Texts(TextRule {
    expected: "\"*\" or an origin such as \"https://*.example.com\", of at most 255 bytes",
    // Whether an origin can ever match, `check` says with the reason.
    check: |text| (1..=255).contains(&text.len()),
});
const HOSTS: Kind = Kind::Texts(TextRule {
    expected: "\"*\" or a host such as \"chat.example.com\" or \"*.example.com\", of at most 255 bytes",
    check: |text| (1..=255).contains(&text.len()),
});
const SEND_BYTES: Kind = size(0, 64 * MIB);
const PREFIX: Kind = text("1 to 64 letters, digits, '.', '_', ':' and '-'", |text| {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
});

/// Whether a machine may have this name.
#[must_use]
pub fn is_node(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn is_echo_path(path: &str) -> bool {
    use crate::base::limits::{HEALTH_PATH, WS_PATH};
    let plain = path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || c == '?' || c == '#');
    path.is_empty() || (plain && path != WS_PATH && path != HEALTH_PATH)
}

const INBOXES: &str = "inboxes";
const DATABASES: &str = "database storage";
const LINK: &str = "the link between machines";

/// Every key, section by section, in the order in which they are printed.
pub static KEYS: &[Key] = &[
    Key::new(
        "server",
        "listen",
        Kind::Addresses,
        "127.0.0.1:8080",
        "addresses that clients connect to; port 0 picks a free one",
    ),
    Key::new("server", "cores", Kind::Cores, "auto", "number of executors, or the CPUs that they run on"),
    Key::new("server", "pin", Kind::Bool, "true", "pin each executor to its own CPU"),
    Key::new(
        "server",
        "max_connections",
        count(1, 16_000_000),
        "1_000_000",
        "open WebSockets of the process; above it upgrades get 503",
    )
    .hangup(),
    Key::new("server", "max_message_bytes", size(256, 64 * MIB), "64KiB", "largest message accepted from a client"),
    Key::new(
        "server",
        "echo_path",
        ECHO_PATH,
        "",
        "path that echoes every message, for benchmarks and conformance suites; \"\" = none",
    ),
    Key::new("server", "warm_connections", count(0, 16_000_000), "0", "connection structures allocated at the start"),
    Key::new("server", "shutdown_grace", duration(0, HOUR), "30s", "longest time that a drain takes"),
    Key::new("server", "trusted_proxies", Kind::Networks, "[]", "proxies trusted for client addresses"),
    Key::new(
        "server",
        "forwarded_header",
        Kind::Choice(&words(&FORWARDED_HEADERS)),
        "X-Forwarded-For",
        "header from which the client address is read",
    ),
    Key::new(
        "server",
        "allowed_hosts",
        HOSTS,
        "[]",
        "hosts accepted beside the listen addresses and loopback names; \"*\" = any",
    )
    .hangup(),
    Key::new(
        "server",
        "proxy_protocol",
        Kind::Bool,
        "false",
        "expect a PROXY protocol header (version 1 or 2) from trusted proxies",
    ),
    Key::new("server", "node", NODE, "auto", "name of this machine in a fleet; auto = its host name"),
    //
    Key::new("tls", "certificate", FILE, "", "PEM file with the certificate chain; \"\" = plain TCP").hangup(),
    Key::new("tls", "key", FILE, "", "PEM file with the private key").hangup(),
    //
    Key::new(
        "control",
        "listen",
        Kind::Address,
        "127.0.0.1:8081",
        "address of the API, metrics, statistics, health and readiness",
    ),
    Key::new("control", "api_key", API_KEY, "", "expected in X-API-Key; required unless the address is loopback")
        .secrecy(Secrecy::Secret)
        .hangup(),
    Key::new("control", "api_rate", Kind::Rate, "2000/s", "rate limit of API requests; bursts of twice as many")
        .hangup(),
    //
    Key::new(
        "auth",
        "mode",
        Kind::Choice(&words(&AUTH_MODES)),
        "open",
        "open = anyone may connect; jwt = only with a token; accounts = only with a token that this server gives for a \
         password",
    ),
    Key::new("auth", "hmac_secret", FREE_TEXT, "", "secret for HS256, HS384 and HS512; use at least 32 random bytes")
        .secrecy(Secrecy::Secret)
        .hangup(),
    Key::new("auth", "public_key_file", FILE, "", "PEM file with public keys for RS*, PS*, ES256, ES384 and EdDSA")
        .hangup(),
    Key::new("auth", "jwks", JWKS, "", "JSON Web Key Set, a file or an http(s) address; read again while serving")
        .secrecy(Secrecy::Url)
        .hangup(),
    Key::new("auth", "audience", FREE_TEXT, "", "value that aud must contain; \"\" = any").hangup(),
    Key::new("auth", "issuer", FREE_TEXT, "", "value that iss must have; \"\" = any").hangup(),
    Key::new(
        "auth",
        "allowed_origins",
        ORIGINS,
        "[]",
        "browser origins accepted beside the same host and port; \"*\" = any",
    )
    .hangup(),
    Key::new("auth", "leeway", duration(0, 5 * MIN), "0", "clock skew tolerated in exp and nbf").hangup(),
    //
    Key::new(
        "accounts",
        "register",
        Kind::Choice(&words(&REGISTRATIONS)),
        "anyone",
        "who may make accounts: anyone = every client; nobody = operators alone, by `roomring accounts add`",
    )
    .hangup(),
    Key::new(
        "accounts",
        "token_ttl",
        duration(S, 365 * DAY),
        "1h",
        "how long the tokens of accounts are valid, also after a new password or a lock",
    )
    .hangup(),
    Key::new(
        "accounts",
        "password_min",
        count(1, 128),
        "10",
        "least number of characters of a new password, which may have 1,024 bytes",
    )
    .hangup(),
    //
    Key::new("rooms", "history_size", count(0, 1_000_000), "1000", "messages kept per room").by_class(),
    Key::new("rooms", "history_ttl", duration(10 * MS, 3_650 * DAY), "24h", "how long messages are kept").by_class(),
    Key::new(
        "rooms",
        "numbering_ttl",
        duration(0, 3_650 * DAY),
        "24h",
        "how long an idle room keeps its epoch and head",
    )
    .by_class(),
    Key::new("rooms", "history_on_join", count(0, 10_000), "50", "messages sent on joining").by_class(),
    Key::new(
        "rooms",
        "history_on_join_max",
        count(0, 10_000),
        "300",
        "most messages that a client may ask for on joining",
    )
    .by_class(),
    Key::new("rooms", "session_ttl", duration(0, 7 * DAY), "10m", "how long a session outlives its connection")
        .hangup(),
    Key::new("rooms", "inboxes", Kind::Bool, "false", "a durable room for each user").needs(INBOXES),
    Key::new("rooms", "inbox_publish", Kind::Choice(&["anyone", "server"]), "anyone", "who may publish to an inbox")
        .needs(INBOXES),
    Key::new("rooms", "recovery_max", count(0, 1_000_000), "1000", "most messages replayed on recovery").by_class(),
    Key::new(
        "rooms",
        "slow_policy",
        Kind::Choice(&words(&SLOW_POLICIES)),
        "disconnect",
        "slow consumers: disconnect = close; skip = drop the oldest messages; latest = keep only the newest",
    )
    .by_class(),
    Key::new("rooms", "presence", Kind::Bool, "true", "track users and tell members who is present").by_class(),
    Key::new(
        "rooms",
        "presence_names_max",
        count(0, 100_000),
        "1000",
        "rooms with more members are told totals, not names; 0 = always totals",
    )
    .by_class(),
    Key::new(
        "rooms",
        "presence_grace",
        duration(0, HOUR),
        "2s",
        "how long a user who left stays present; a reconnect within it is silent",
    )
    .by_class(),
    Key::new(
        "rooms",
        "create",
        Kind::Choice(&words(&CREATION_POLICIES)),
        "anyone",
        "who may create a room, also by joining one that does not exist: anyone; members-of = users whose token names it \
         in `rooms`; admin = users whose token grants `admin` there",
    )
    .by_class(),
    //
    Key::new(
        "limits",
        "outbox_bytes",
        size(KIB, GIB),
        "1MiB",
        "bytes that may wait for a slow consumer; at least 2 x server.max_message_bytes",
    )
    .hangup(),
    Key::new(
        "limits",
        "socket_send_bytes",
        SEND_BYTES,
        "128KiB",
        "bytes that may wait in the kernel for one connection; 0 = the bound of the kernel",
    ),
    Key::new(
        "limits",
        "memory_budget",
        Kind::Share,
        "75%",
        "memory for connections, rooms and messages; above it upgrades get 503 and the slowest consumers are \
         closed",
    )
    .hangup(),
    Key::new(
        "limits",
        "rooms_per_connection",
        count(0, 1_000_000),
        "128",
        "rooms that one connection may join; 0 = no limit",
    )
    .hangup(),
    Key::new("limits", "connections_per_user", count(0, 1_000_000), "16", "connections of one user; 0 = no limit")
        .hangup(),
    Key::new(
        "limits",
        "connections_per_ip",
        count(0, 16_000_000),
        "0",
        "connections of one IPv4 address or IPv6 /64; 0 = no limit",
    )
    .hangup(),
    Key::new(
        "limits",
        "connect_rate",
        Kind::Rate,
        "1000/s",
        "rate limit of upgrades to the whole server; bursts of twice as many",
    )
    .hangup(),
    Key::new(
        "limits",
        "connect_rate_per_ip",
        Kind::Rate,
        "50/s",
        "rate limit of upgrades from one IPv4 address or IPv6 /64, which may open four times as many \
         sockets; each check of a bad token counts",
    )
    .hangup(),
    Key::new(
        "limits",
        "message_rate",
        Kind::Rate,
        "50/s",
        "rate limit of publishes by one connection; bursts of twice as many",
    )
    .hangup(),
    Key::new(
        "limits",
        "command_rate",
        Kind::Rate,
        "1000/s",
        "rate limit of commands by one connection; bursts of twice as many; a status counts once per room",
    )
    .hangup(),
    Key::new("limits", "message_rate_per_user", Kind::Rate, "200/10s", "publishes by one user in a sliding window")
        .hangup(),
    Key::new(
        "limits",
        "room_message_rate",
        Kind::Rate,
        "0",
        "rate limit of publishes to one room; bursts of twice as many",
    )
    .by_class()
    .hangup(),
    Key::new(
        "limits",
        "idle_timeout",
        duration(0, 30 * DAY),
        "0",
        "close after this long without messages in either direction; 0 = never",
    )
    .hangup(),
    //
    Key::new("heartbeat", "interval", duration(50 * MS, HOUR), "25s", "how often a connection is pinged"),
    Key::new("heartbeat", "timeout", duration(100 * MS, 2 * HOUR), "60s", "close after this long without any frame"),
    //
    Key::new("compression", "enabled", Kind::Bool, "false", "permessage-deflate for clients that offer it"),
    Key::new("compression", "min_bytes", size(0, 64 * MIB), "512", "smallest message that is compressed"),
    Key::new("compression", "level", count(1, 9), "1", "1 = fastest, 9 = smallest"),
    //
    Key::new(
        "store",
        "kind",
        Kind::Choice(&words(&STORE_KINDS)),
        "embedded",
        "where rooms are stored; memory = nowhere, embedded = in the directory store.path",
    )
    .lacks(&["postgres", "mongodb"], DATABASES),
    Key::new("store", "path", DIRECTORY, "data", "directory of the embedded store, made if it is missing"),
    Key::new("store", "url", URL, "", "URL of postgres or mongodb").needs(DATABASES).secrecy(Secrecy::Url),
    Key::new(
        "store",
        "durability",
        Kind::Choice(&words(&DURABILITIES)),
        "memory",
        "when a publish is acknowledged: memory = once numbered, and stored right after; store = once on disk",
    ),
    //
    Key::new("link", "kind", Kind::Choice(&words(&LINK_KINDS)), "none", "how machines share rooms").needs(LINK),
    Key::new("link", "url", URL, "redis://127.0.0.1:6379", "redis, redis+sentinel or redis+cluster URL")
        .secrecy(Secrecy::Url)
        .without_effect(LINK),
    Key::new("link", "prefix", PREFIX, "roomring", "prefix of every key in Redis").without_effect(LINK),
    Key::new("link", "outage", Kind::Choice(&["hold", "reject", "local"]), "hold", "publishes while the link is down")
        .without_effect(LINK),
    Key::new("link", "hold_max", count(0, 10_000_000), "100_000", "publishes held during an outage")
        .without_effect(LINK),
    Key::new("link", "hold_timeout", duration(0, HOUR), "30s", "how long a publish is held").without_effect(LINK),
    Key::new("link", "breaker_failures", count(1, 1_000), "5", "failures in a row that open the breaker")
        .without_effect(LINK),
    Key::new("link", "breaker_reset", duration(100 * MS, HOUR), "5s", "how long the breaker stays open")
        .without_effect(LINK),
    Key::new("link", "lease", duration(S, HOUR), "5s", "a node that is silent for this long is dead")
        .without_effect(LINK),
    //
    Key::new("log", "level", Kind::Level, "info", "least severe level that is logged, also per target").hangup(),
    Key::new("log", "format", Kind::Choice(&words(&LOG_FORMATS)), "auto", "auto = text on a terminal, JSON otherwise"),
    //
    Key::new(
        "trace",
        "otlp_endpoint",
        OTLP,
        "",
        "collector that spans of sampled publishes are sent to (OTLP/HTTP, JSON); \"\" = none",
    )
    .secrecy(Secrecy::Url),
    Key::new("trace", "sample", Kind::Fraction, "1/1000", "fraction of the publishes that is traced").hangup(),
    Key::new(
        "trace",
        "queue_max",
        count(1, 1_000_000),
        "4_096",
        "spans that wait to be sent; further ones are dropped",
    ),
];
