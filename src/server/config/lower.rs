//! Lowers checked values to the settings that the floors below are started with, in their units. Starts nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tracing_subscriber::filter::Targets;

use super::check::{check_memory, check_parts, check_values};
use super::choices::{
    AUTH_MODES, AuthMode, CREATION_POLICIES, DURABILITIES, FORWARDED_HEADERS, LINK_KINDS, LOG_FORMATS, LogFormat,
    REGISTRATIONS, SLOW_POLICIES, STORE_KINDS, StoreKind,
};
use super::classes::Class;
use super::effective::Config;
use super::layout::layout;
use super::machine::HostMachine;
use super::origin::Mistake;
use super::setting::written;
use super::units::Share;
use crate::base::limits::TLS_CONNECTION_BYTES;
use crate::control::{ApiSettings, TraceSettings};
use crate::engine::access::Expected;
use crate::engine::hosts::AllowedHosts;
use crate::engine::settings::{AccountRules, Compression, KeepingMode, Limits, RoomClass, RoomSettings, Settings};
use crate::engine::trusted::Trusted;
use crate::server::accounts::AccountSettings;
use crate::server::{auth, tls};

/// Everything that the server is started with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The addresses that clients connect to.
    pub listen: Vec<SocketAddr>,
    /// The certificate that clients are shown; `None` is plain TCP.
    pub tls: Option<Arc<tls::TlsIdentity>>,
    /// The control address.
    pub control_listen: SocketAddr,
    /// One entry for each executor: the CPU that it is pinned to, if it is.
    pub cpus: Vec<Option<usize>>,
    /// The longest time that a drain takes.
    pub shutdown_grace_ms: u64,
    /// Bytes that may wait in the kernel for one connection; 0 is the bound of the kernel.
    pub socket_send_bytes: u32,
    /// Whether trusted proxies send a PROXY protocol header.
    pub proxy_protocol: bool,
    /// How tokens are verified; `None` lets anyone connect.
    pub auth: Option<auth::AuthSettings>,
    /// The accounts of this server; `None`: it has none.
    pub accounts: Option<AccountSettings>,
    /// The settings of each core.
    pub settings: Arc<Settings>,
    /// The settings of the HTTP API.
    pub api: ApiSettings,
    /// Where spans are sent; `None` traces nothing.
    pub trace: Option<TraceSettings>,
    /// What outlives a connection, and the process.
    pub store: StorePlan,
    /// Which log lines are written.
    pub log_level: Targets,
    /// The form of log lines.
    pub log_format: LogFormat,
}

/// How rooms are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlan {
    /// Where.
    pub kind: StoreKind,
    /// The directory of the embedded store.
    pub path: PathBuf,
    /// How long a session outlives its connection.
    pub session_ttl_ms: u64,
}

/// Checks and lowers.
///
/// # Errors
/// Everything that keeps the server from running with this configuration on this machine.
pub fn plan(config: &Config, machine: &HostMachine) -> Result<Plan, Vec<Mistake>> {
    let mut mistakes = check_parts(config);
    let tls = identity(config).unwrap_or_else(|wrong| {
        mistakes.extend(wrong);
        None
    });
    let tokens = tokens(config);
    mistakes.extend(check_values(config, &tokens));
    let cpus = layout(config, machine).unwrap_or_else(|wrong| {
        mistakes.push(wrong);
        Vec::new()
    });
    mistakes.extend(check_memory(config, machine));
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let cores = u16::try_from(cpus.len()).expect("the range of server.cores");
    let settings = Arc::new(settings(config, machine, cores));
    Ok(Plan {
        api: api_settings(config, settings.node.clone()),
        listen: config.get("server", "listen").addresses().to_vec(),
        tls: tls.map(Arc::new),
        control_listen: config.get("control", "listen").addresses()[0],
        cpus,
        shutdown_grace_ms: config.get("server", "shutdown_grace").number(),
        socket_send_bytes: config.get("limits", "socket_send_bytes").count(),
        proxy_protocol: config.get("server", "proxy_protocol").flag(),
        accounts: (auth_mode(config) == AuthMode::Accounts).then(|| accounts(config, tokens.expected.clone())),
        auth: (auth_mode(config) == AuthMode::Jwt).then_some(tokens),
        settings,
        trace: trace(config),
        store: StorePlan {
            kind: config.get("store", "kind").choice(&STORE_KINDS),
            path: config.get("store", "path").text().into(),
            session_ttl_ms: config.get("rooms", "session_ttl").number(),
        },
        log_level: config.get("log", "level").level().clone(),
        log_format: config.get("log", "format").choice(&LOG_FORMATS),
    })
}

/// The certificate that clients are shown; `None` is plain TCP.
///
/// # Errors
/// What is wrong with the files.
fn identity(config: &Config) -> Result<Option<tls::TlsIdentity>, Vec<Mistake>> {
    let (certificate, key) = (config.get("tls", "certificate"), config.get("tls", "key"));
    if certificate.text().is_empty() && key.text().is_empty() {
        return Ok(None);
    }
    tls::TlsIdentity::load(certificate.text(), key.text()).map(Some).map_err(|wrong| {
        let mistake = |wrong: tls::TlsMistake| {
            let (at_fault, other) = if wrong.key == "tls.key" { (key, certificate) } else { (certificate, key) };
            Mistake::refused(written(at_fault, other), wrong.key, wrong.text)
        };
        wrong.into_iter().map(mistake).collect()
    })
}

/// What `[auth]` says of tokens.
fn tokens(config: &Config) -> auth::AuthSettings {
    let text = |name| config.get("auth", name).text().to_owned();
    let leeway_ms = config.get("auth", "leeway").number();
    auth::AuthSettings {
        hmac_secret: text("hmac_secret"),
        public_key_file: text("public_key_file"),
        jwks: text("jwks"),
        expected: Expected { audience: text("audience"), issuer: text("issuer"), leeway_ms },
    }
}

fn auth_mode(config: &Config) -> AuthMode {
    config.get("auth", "mode").choice(&AUTH_MODES)
}

/// Whether connections need a token.
fn needs_token(config: &Config) -> bool {
    auth_mode(config) != AuthMode::Open
}

/// What `[accounts]` says, and what tokens are expected to have.
fn accounts(config: &Config, expected: Expected) -> AccountSettings {
    let get = |name| config.get("accounts", name);
    AccountSettings {
        token_ttl_ms: get("token_ttl").number(),
        password_chars_min: get("password_min").count(),
        expected,
    }
}

/// The rules of accounts for the cores.
fn account_rules(config: &Config) -> Option<AccountRules> {
    (auth_mode(config) == AuthMode::Accounts).then(|| AccountRules {
        anyone_registers: config.get("accounts", "register").choice(&REGISTRATIONS),
        password_chars_min: config.get("accounts", "password_min").count(),
    })
}

/// The settings of the HTTP API on a machine of this name.
#[must_use]
pub fn api_settings(config: &Config, node: String) -> ApiSettings {
    ApiSettings {
        node,
        api_key: config.get("control", "api_key").text().to_owned(),
        api_rate: config.get("control", "api_rate").rate(),
        max_message_bytes: config.get("server", "max_message_bytes").size(),
        inboxes: config.get("rooms", "inboxes").flag(),
        allowed_hosts: AllowedHosts::new(config.get("server", "allowed_hosts").texts()),
    }
}

fn trace(config: &Config) -> Option<TraceSettings> {
    let endpoint = config.get("trace", "otlp_endpoint").text();
    (!endpoint.is_empty()).then(|| TraceSettings {
        otlp_endpoint: endpoint.to_owned(),
        queue_max: config.get("trace", "queue_max").count() as usize,
    })
}

/// `trace.sample`, or nothing without an endpoint to send spans to.
fn trace_sample(config: &Config) -> u64 {
    let has_endpoint = !config.get("trace", "otlp_endpoint").text().is_empty();
    if has_endpoint { config.get("trace", "sample").fraction() } else { 0 }
}

/// Whether clients speak TLS.
fn has_tls(config: &Config) -> bool {
    ["certificate", "key"].iter().all(|name| !config.get("tls", name).text().is_empty())
}

fn settings(config: &Config, machine: &HostMachine, cores: u16) -> Settings {
    let auto_node = || machine.host.clone().unwrap_or_else(|| "roomring".into());
    let node = config.get("server", "node").text();
    let budget = match config.get("limits", "memory_budget").share() {
        Share::Percent(percent) => machine.memory_bytes / 100 * u64::from(percent),
        Share::Bytes(bytes) => bytes,
    };
    Settings {
        node: if node == "auto" { auto_node() } else { node.to_owned() },
        cores,
        max_connections: config.get("server", "max_connections").count(),
        max_connections_per_core: connections_share(config.get("server", "max_connections").count(), cores),
        // Known once the table of sockets is made.
        sockets_max: u32::MAX,
        warm_connections: config.get("server", "warm_connections").count().div_ceil(u32::from(cores)),
        max_message_bytes: config.get("server", "max_message_bytes").size(),
        echo_path: config.get("server", "echo_path").text().to_owned(),
        allowed_origins: config.get("auth", "allowed_origins").texts().to_vec(),
        allowed_hosts: allowed_hosts(config),
        trusted_proxies: Trusted::new(&config.get("server", "trusted_proxies").networks()),
        forwarded_header: config.get("server", "forwarded_header").choice(&FORWARDED_HEADERS),
        outbox_bytes: config.get("limits", "outbox_bytes").size(),
        rooms_per_connection: config.get("limits", "rooms_per_connection").count(),
        limits: limits(config),
        memory_budget_bytes: budget / u64::from(cores),
        io_bytes_per_connection: if has_tls(config) { TLS_CONNECTION_BYTES } else { 0 },
        heartbeat_interval_ms: config.get("heartbeat", "interval").number(),
        heartbeat_timeout_ms: config.get("heartbeat", "timeout").number(),
        compression: compression(config),
        rooms: Arc::new(room(config, None)),
        classes: config
            .classes
            .iter()
            .map(|class| RoomClass { pattern: class.pattern.clone(), settings: Arc::new(room(config, Some(class))) })
            .collect(),
        dialects: &crate::wire::dialect::DIALECTS,
        trace_sample: trace_sample(config),
        numbering: config.get("link", "kind").choice(&LINK_KINDS),
        keeping: keeping(config),
        rooms_are_administered: true,
        accounts: account_rules(config),
    }
}

fn keeping(config: &Config) -> KeepingMode {
    match config.get("store", "kind").choice(&STORE_KINDS) {
        StoreKind::Memory => KeepingMode::None,
        _ => config.get("store", "durability").choice(&DURABILITIES),
    }
}

fn limits(config: &Config) -> Limits {
    let get = |name| config.get("limits", name);
    Limits {
        connect_rate: get("connect_rate").rate(),
        connect_rate_per_ip: get("connect_rate_per_ip").rate(),
        connections_per_ip: get("connections_per_ip").count(),
        connections_per_user: get("connections_per_user").count(),
        message_rate: get("message_rate").rate(),
        command_rate: get("command_rate").rate(),
        message_rate_per_user: get("message_rate_per_user").rate(),
        idle_timeout_ms: get("idle_timeout").number(),
    }
}

/// The hosts that clients may use, beside the addresses that the server listens on. Where connections need a token, every
/// host is allowed until some are configured: a page that reached the server under another name has no token.
fn allowed_hosts(config: &Config) -> AllowedHosts {
    let configured = config.get("server", "allowed_hosts").texts();
    if configured.is_empty() && needs_token(config) { AllowedHosts::any() } else { AllowedHosts::new(configured) }
}

fn compression(config: &Config) -> Option<Compression> {
    let get = |name| config.get("compression", name);
    get("enabled").flag().then(|| Compression {
        min_bytes: get("min_bytes").size(),
        level: u8::try_from(get("level").count()).expect("its range"),
    })
}

fn room(config: &Config, class: Option<&Class>) -> RoomSettings {
    let get = |name| config.get_for(class, "rooms", name);
    RoomSettings {
        history_size: get("history_size").size(),
        history_ttl_ms: get("history_ttl").number(),
        numbering_ttl_ms: get("numbering_ttl").number(),
        history_on_join: get("history_on_join").count(),
        history_on_join_max: get("history_on_join_max").count(),
        recovery_max: get("recovery_max").size(),
        slow_policy: get("slow_policy").choice(&SLOW_POLICIES),
        presence: get("presence").flag(),
        presence_names_max: get("presence_names_max").size(),
        presence_grace_ms: get("presence_grace").number(),
        room_message_rate: config.get_for(class, "limits", "room_message_rate").rate(),
        create: get("create").choice(&CREATION_POLICIES),
    }
}

/// Each core has slots for at least this many connections, if all cores may hold that many together: a table of this size
/// costs the kernel 128 KiB.
const CORE_CONNECTIONS_LEAST: u32 = 16_384;

/// How many connections each of `cores` cores has slots for, if all may hold `most` together.
///
/// The kernel spreads connections over the cores' listening sockets by a hash, so that a core's part varies by about the
/// square root of its share. Each core has slots for its share and four times that more, so that none refuses while others
/// have room. A table for `most` on each core would cost the kernel 8 bytes a slot.
fn connections_share(most: u32, cores: u16) -> u32 {
    let share = most.div_ceil(u32::from(cores.max(1)));
    share.saturating_add(4 * share.isqrt() + 8).max(CORE_CONNECTIONS_LEAST).min(most)
}

#[cfg(test)]
mod tests {
    use super::connections_share;

    #[test]
    fn shares_leave_room_for_chance() {
        assert_eq!(connections_share(1_000_000, 1), 1_000_000);
        assert_eq!(connections_share(200_000, 4), 50_000 + 4 * 223 + 8);
        assert_eq!(connections_share(1, 4), 1);
        assert_eq!(connections_share(16_384, 64), 16_384, "one core may hold them all");
        assert_eq!(connections_share(50_000, 4), 16_384);
        for cores in 2..=64 {
            assert!(u64::from(connections_share(100_000, cores)) * u64::from(cores) >= 100_000);
        }
    }
}
