//! Keys that take one of several words, with what each word means. Reads nothing.

use crate::engine::settings::{CreationPolicy, KeepingMode, NumberingMode, SlowPolicy};
use crate::wire::handshake::ForwardedHeader;

/// `auth.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Anyone may connect.
    Open,
    /// Connections need a JSON Web Token.
    Jwt,
    /// The same, and this server gives tokens for passwords.
    Accounts,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// Text, for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Each word of a key with its meaning.
pub type Choices<T, const N: usize> = [(&'static str, T); N];

/// `auth.mode`.
pub const AUTH_MODES: Choices<AuthMode, 3> =
    [("open", AuthMode::Open), ("jwt", AuthMode::Jwt), ("accounts", AuthMode::Accounts)];

/// `accounts.register`: whether clients may make accounts.
pub const REGISTRATIONS: Choices<bool, 2> = [("anyone", true), ("nobody", false)];

/// `server.forwarded_header`.
pub const FORWARDED_HEADERS: Choices<ForwardedHeader, 2> =
    [("X-Forwarded-For", ForwardedHeader::XForwardedFor), ("Forwarded", ForwardedHeader::Forwarded)];

/// `rooms.slow_policy`.
pub const SLOW_POLICIES: Choices<SlowPolicy, 3> =
    [("disconnect", SlowPolicy::Disconnect), ("skip", SlowPolicy::Skip), ("latest", SlowPolicy::Latest)];

/// `rooms.create`: who may bring a room into being.
pub const CREATION_POLICIES: Choices<CreationPolicy, 3> =
    [("anyone", CreationPolicy::Anyone), ("members-of", CreationPolicy::Named), ("admin", CreationPolicy::Admin)];

/// `store.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Nothing outlives the process.
    Memory,
    /// A directory of this machine.
    Embedded,
    /// PostgreSQL.
    Postgres,
    /// MongoDB.
    Mongodb,
}

/// `store.kind`.
pub const STORE_KINDS: Choices<StoreKind, 4> = [
    ("memory", StoreKind::Memory),
    ("embedded", StoreKind::Embedded),
    ("postgres", StoreKind::Postgres),
    ("mongodb", StoreKind::Mongodb),
];

/// `store.durability`: when a publish is acknowledged.
pub const DURABILITIES: Choices<KeepingMode, 2> = [("memory", KeepingMode::Behind), ("store", KeepingMode::Commit)];

/// `link.kind`: who numbers publications.
pub const LINK_KINDS: Choices<NumberingMode, 2> = [("none", NumberingMode::Own), ("redis", NumberingMode::Link)];

/// `log.format`.
pub const LOG_FORMATS: Choices<LogFormat, 3> =
    [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The words alone.
#[must_use]
pub const fn words<T, const N: usize>(choices: &Choices<T, N>) -> [&'static str; N] {
    let mut words = [""; N];
    let mut index = 0;
    while index < N {
        words[index] = choices[index].0;
        index += 1;
    }
    words
}
