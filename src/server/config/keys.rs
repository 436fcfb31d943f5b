//! Every key there is: its kind, range, default and meaning. Reading, checking, printing and the search for the nearest
//! known key all go by this table.

use std::sync::LazyLock;

use super::choices::{AUTH_MODES, DURABILITIES, FORWARDED_HEADERS, LINK_KINDS, LOG_FORMATS, SLOW_POLICIES, words};
use super::kind::{Kind, SettingValue, TextRule};
use super::raw::Raw;

/// How much of a value must not be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Nothing.
    Open,
    /// All of it.
    Secret,
    /// The password of a URL.
    Url,
}

/// When a new value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// On SIGHUP.
    Hangup,
    /// At the next start.
    Restart,
}

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its table.
    pub section: &'static str,
    /// Its name in the table.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// As it could be written in the environment.
    pub default: &'static str,
    /// What it does, in one line.
    pub doc: &'static str,
    /// The part of the product that any other value than the default would need and that is not there yet.
    pub needs: Option<&'static str>,
    /// Whether it is shown.
    pub secrecy: Secrecy,
    /// Whether a `[[rooms.class]]` may override it.
    pub by_class: bool,
    /// When a change takes effect.
    pub reload: Reload,
}

impl Key {
    const fn new(
        section: &'static str,
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self {
            section,
            name,
            kind,
            default,
            doc,
            needs: None,
            secrecy: Secrecy::Open,
            by_class: false,
            reload: Reload::Restart,
        }
    }

    const fn needs(mut self, part: &'static str) -> Self {
        self.needs = Some(part);
        self
    }

    const fn secrecy(mut self, secrecy: Secrecy) -> Self {
        self.secrecy = secrecy;
        self
    }

    const fn by_class(mut self) -> Self {
        self.by_class = true;
        self
    }

    const fn hangup(mut self) -> Self {
        self.reload = Reload::Hangup;
        self
    }

    /// `section.key`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// `ROOMRING_SECTION__KEY`.
    #[must_use]
    pub fn env_name(&self) -> String {
        format!("{ENV_PREFIX}{}__{}", self.section.to_ascii_uppercase(), self.name.to_ascii_uppercase())
    }

    /// The default, read.
    #[must_use]
    pub fn default_value(&self) -> SettingValue {
        self.kind.parse(&Raw::Word(self.default.into())).expect("a test reads every default")
    }
}

/// What every environment variable of the server begins with.
pub const ENV_PREFIX: &str = "ROOMRING_";

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
    text("\"\", or a path that begins with \"/\" and is neither \"/ws\" nor \"/health\"", is_echo_path);
const ORIGINS: Kind = Kind::Texts(TextRule {
    expected: "\"*\" or an origin such as \"https://*.example.com\", of at most 255 bytes",
    // Which of them can ever match, `check` says with the reason.
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

/// Whether a machine may be called so.
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
const ROLES: &str = "membership with roles";
const STORE: &str = "durable storage";
const LINK: &str = "the link between machines";

/// Every key, section by section, in the order in which they are printed.
pub static KEYS: &[Key] = &[
    Key::new("server", "listen", Kind::Addresses, "127.0.0.1:8080", "where clients connect; port 0 picks a free one"),
    Key::new("server", "cores", Kind::Cores, "auto", "executors: how many, or on which CPUs"),
    Key::new("server", "pin", Kind::Bool, "true", "keep each executor on a CPU of its own"),
    Key::new(
        "server",
        "max_connections",
        count(1, 16_000_000),
        "1_000_000",
        "open WebSockets of the process; over it upgrades get 503",
    )
    .hangup(),
    Key::new("server", "max_message_bytes", size(256, 64 * MIB), "64KiB", "largest message taken from a client"),
    Key::new("server", "echo_path", ECHO_PATH, "", "a path where every message is answered with itself"),
    Key::new("server", "warm_connections", count(0, 16_000_000), "0", "connections prepared before a peak"),
    Key::new("server", "shutdown_grace", duration(0, HOUR), "30s", "longest drain"),
    Key::new("server", "trusted_proxies", Kind::Networks, "[]", "networks of proxies that are trusted for client addresses"),
    Key::new("server", "forwarded_header", Kind::Choice(&words(&FORWARDED_HEADERS)), "X-Forwarded-For", "the header in which they name the client"),
    Key::new("server", "allowed_hosts", HOSTS, "[]", "hosts taken beside the listen addresses and loopback names")
        .hangup(),
    Key::new("server", "proxy_protocol", Kind::Bool, "false", "those networks begin with a PROXY protocol header"),
    Key::new("server", "node", NODE, "auto", "this machine's name in a fleet; auto: its host name"),
    //
    Key::new("tls", "certificate", FILE, "", "certificate chain, PEM").hangup(),
    Key::new("tls", "key", FILE, "", "private key, PEM").hangup(),
    //
    Key::new("control", "listen", Kind::Address, "127.0.0.1:8081", "API, metrics, statistics, health, readiness"),
    Key::new("control", "api_key", API_KEY, "", "X-API-Key; needed when listen is not loopback")
        .secrecy(Secrecy::Secret)
        .hangup(),
    Key::new("control", "api_rate", Kind::Rate, "2000/s", "requests to the API; burst: twice as many").hangup(),
    //
    Key::new("auth", "mode", Kind::Choice(&words(&AUTH_MODES)), "open", "who may connect: anyone, or who has a token"),
    Key::new("auth", "hmac_secret", FREE_TEXT, "", "HS256, HS384, HS512; at least 32 bytes, from a random source")
        .secrecy(Secrecy::Secret)
        .hangup(),
    Key::new("auth", "public_key_file", FILE, "", "RS*, PS*, ES256, ES384, EdDSA: public keys in PEM").hangup(),
    Key::new("auth", "jwks", JWKS, "", "file or http(s) address of a key set, read again while serving")
        .secrecy(Secrecy::Url)
        .hangup(),
    Key::new("auth", "audience", FREE_TEXT, "", "required in aud; \"\": any").hangup(),
    Key::new("auth", "issuer", FREE_TEXT, "", "required iss; \"\": any").hangup(),
    Key::new("auth", "allowed_origins", ORIGINS, "[]", "browser origins taken beside the same host and port").hangup(),
    Key::new("auth", "leeway", duration(0, 5 * MIN), "0", "clock difference forgiven in exp and nbf").hangup(),
    //
    Key::new("rooms", "history_size", count(0, 1_000_000), "1000", "messages held per room").by_class(),
    Key::new("rooms", "history_ttl", duration(10 * MS, 3_650 * DAY), "24h", "how long they are held").by_class(),
    Key::new(
        "rooms",
        "numbering_ttl",
        duration(0, 3_650 * DAY),
        "24h",
        "how long an idle room keeps its epoch and head",
    )
    .by_class(),
    Key::new("rooms", "history_on_join", count(0, 10_000), "50", "messages given on joining").by_class(),
    Key::new("rooms", "history_on_join_max", count(0, 10_000), "300", "the most a client may ask for").by_class(),
    Key::new("rooms", "session_ttl", duration(0, 7 * DAY), "10m", "how long a session outlives its connection"),
    Key::new("rooms", "inboxes", Kind::Bool, "false", "a durable room for each user").needs(INBOXES),
    Key::new("rooms", "inbox_publish", Kind::Choice(&["anyone", "server"]), "anyone", "who may write to an inbox")
        .needs(INBOXES),
    Key::new("rooms", "recovery_max", count(0, 1_000_000), "1000", "the most messages replayed on recovery").by_class(),
    Key::new(
        "rooms",
        "slow_policy",
        Kind::Choice(&words(&SLOW_POLICIES)),
        "disconnect",
        "what happens to a slow reader",
    )
    .by_class(),
    Key::new("rooms", "presence", Kind::Bool, "true", "whether members are told who is there").by_class(),
    Key::new(
        "rooms",
        "presence_names_max",
        count(0, 100_000),
        "1000",
        "rooms with more members are told totals, not names; 0 = always totals",
    )
    .by_class(),
    Key::new("rooms", "presence_grace", duration(0, HOUR), "2s", "a quick reconnect within it is silent").by_class(),
    Key::new("rooms", "create", Kind::Choice(&["anyone", "members-of", "admin"]), "anyone", "who may open a room")
        .needs(ROLES)
        .by_class(),
    //
    Key::new(
        "limits",
        "outbox_bytes",
        size(KIB, GIB),
        "1MiB",
        "what may wait for a connection that takes nothing for a second; at least 2 x max_message_bytes",
    )
    .hangup(),
    Key::new(
        "limits",
        "socket_send_bytes",
        SEND_BYTES,
        "128KiB",
        "what may wait in the kernel for one; 0: its own bound",
    ),
    Key::new("limits", "memory_budget", Kind::Share, "75%", "all that clients make the server hold").hangup(),
    Key::new("limits", "rooms_per_connection", count(0, 1_000_000), "128", "0: no limit").hangup(),
    Key::new("limits", "connections_per_user", count(0, 1_000_000), "16", "0: no limit").hangup(),
    Key::new("limits", "connections_per_ip", count(0, 16_000_000), "0", "of one IPv4 address or IPv6 /64; 0: no limit")
        .hangup(),
    Key::new("limits", "connect_rate", Kind::Rate, "1000/s", "upgrades, whole server").hangup(),
    Key::new(
        "limits",
        "connect_rate_per_ip",
        Kind::Rate,
        "50/s",
        "upgrades of one IPv4 address or IPv6 /64, which may open four times as many sockets; each check of a bad token \
         takes one",
    )
    .hangup(),
    Key::new("limits", "message_rate", Kind::Rate, "50/s", "publishes of one connection, twice as many at once")
        .hangup(),
    Key::new(
        "limits",
        "command_rate",
        Kind::Rate,
        "1000/s",
        "commands of one connection, twice as many at once; a status counts once for each room",
    )
    .hangup(),
    Key::new("limits", "message_rate_per_user", Kind::Rate, "200/10s", "publishes of one user, a sliding window")
        .hangup(),
    Key::new("limits", "room_message_rate", Kind::Rate, "0", "publishes to one room, twice as many at once")
        .by_class()
        .hangup(),
    Key::new(
        "limits",
        "idle_timeout",
        duration(0, 30 * DAY),
        "0",
        "without a message either way for it: closed; 0: never",
    )
    .hangup(),
    //
    Key::new("heartbeat", "interval", duration(50 * MS, HOUR), "25s", "how often a connection is pinged"),
    Key::new("heartbeat", "timeout", duration(100 * MS, 2 * HOUR), "60s", "without any frame for it: closed"),
    //
    Key::new("compression", "enabled", Kind::Bool, "false", "permessage-deflate, for clients that offer it"),
    Key::new("compression", "min_bytes", size(0, 64 * MIB), "512", "smaller messages are sent as they are"),
    Key::new("compression", "level", count(1, 9), "1", "1 is fastest, 9 smallest"),
    //
    Key::new("store", "kind", Kind::Choice(&["memory", "embedded", "postgres", "mongodb"]), "memory", "where it lasts")
        .needs(STORE),
    Key::new("store", "path", FILE, "data", "directory of the embedded store").needs(STORE),
    Key::new("store", "url", URL, "", "postgres, mongodb").needs(STORE).secrecy(Secrecy::Url),
    Key::new("store", "durability", Kind::Choice(&words(&DURABILITIES)), "memory", "what `published` means")
        .needs(STORE),
    //
    Key::new("link", "kind", Kind::Choice(&words(&LINK_KINDS)), "none", "what links machines").needs(LINK),
    Key::new("link", "url", URL, "redis://127.0.0.1:6379", "redis, redis+sentinel, redis+cluster")
        .secrecy(Secrecy::Url),
    Key::new("link", "prefix", PREFIX, "roomring", "of every key in Redis"),
    Key::new("link", "outage", Kind::Choice(&["hold", "reject", "local"]), "hold", "publishes while the link is down"),
    Key::new("link", "hold_max", count(0, 10_000_000), "100_000", "publishes held"),
    Key::new("link", "hold_timeout", duration(0, HOUR), "30s", "longest hold"),
    Key::new("link", "breaker_failures", count(1, 1_000), "5", "failures in a row that open the breaker"),
    Key::new("link", "breaker_reset", duration(100 * MS, HOUR), "5s", "open for so long"),
    Key::new("link", "lease", duration(S, HOUR), "5s", "a node that is silent for so long is dead"),
    //
    Key::new("log", "level", Kind::Level, "info", "also per target").hangup(),
    Key::new("log", "format", Kind::Choice(&words(&LOG_FORMATS)), "auto", "auto: text on a terminal, else json"),
    //
    Key::new("trace", "otlp_endpoint", OTLP, "", "where spans of sampled publishes are sent (OTLP/HTTP, JSON)")
        .secrecy(Secrecy::Url),
    Key::new("trace", "sample", Kind::Fraction, "1/1000", "the part of the publishes that is traced").hangup(),
    Key::new("trace", "queue_max", count(1, 1_000_000), "4_096", "spans that wait to be sent; over it they are lost"),
];
