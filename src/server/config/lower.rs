//! From checked values to what the floors below are started with, in their own units.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing_subscriber::filter::Targets;

use super::check::{auth, check, identity, layout};
use super::classes::Class;
use super::level::parse_level;
use super::machine::Machine;
use super::networks::parse_network;
use super::origin::Mistake;
use super::part::parse_part;
use super::units::{self, Share};
use super::{Config, Setting};
use crate::base::limits::TLS_CONNECTION_BYTES;
use crate::control::{ApiSettings, TraceSettings};
use crate::engine::hosts::AllowedHosts;
use crate::engine::rates::Rate;
use crate::engine::settings::{
    Compression, KeepingMode, Limits, NumberingMode, RoomClass, RoomSettings, Settings, SlowPolicy,
};
use crate::engine::trusted::Trusted;
use crate::server::auth;
use crate::server::tls::TlsIdentity;
use crate::wire::handshake::ForwardedHeader;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Everything the server is started with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// What clients are shown; `None`: they speak plain TCP.
    pub tls: Option<Arc<TlsIdentity>>,
    /// The control address.
    pub control_listen: SocketAddr,
    /// One entry for each executor: the CPU it is kept on, if it is.
    pub cpus: Vec<Option<usize>>,
    /// The longest drain.
    pub shutdown_grace_ms: u64,
    /// Bytes that may wait in the kernel for one connection; 0: the system's own bound.
    pub socket_send_bytes: u32,
    /// Whether trusted proxies begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// How tokens are verified; `None`: anyone may connect.
    pub auth: Option<auth::AuthSettings>,
    /// For each core.
    pub settings: Arc<Settings>,
    /// For the HTTP API.
    pub api: ApiSettings,
    /// Where spans are sent, if anywhere.
    pub trace: Option<TraceSettings>,
    /// What is logged.
    pub log_level: Targets,
    /// How it is logged.
    pub log_format: LogFormat,
}

/// Checks and lowers.
///
/// # Errors
/// Everything that keeps the server from running with this configuration on this machine.
pub fn plan(config: &Config, machine: &Machine) -> Result<Plan, Vec<Mistake>> {
    let mistakes = check(config, machine);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let cpus = layout(config, machine).map_err(|mistake| vec![mistake])?;
    let tls = identity(config)?;
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
        auth: (config.get("auth", "mode").text() == "jwt").then(|| auth(config)),
        settings,
        trace: trace(config),
        log_level: level(config),
        log_format: match config.get("log", "format").text() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        },
    })
}

/// What the HTTP API goes by, on a machine of this name.
#[must_use]
pub fn api_settings(config: &Config, node: String) -> ApiSettings {
    ApiSettings {
        node,
        api_key: config.get("control", "api_key").text().to_owned(),
        api_rate: rate(config.get("control", "api_rate")),
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

/// Nothing is traced that nobody is sent.
fn trace_sample(config: &Config) -> u64 {
    let sample = config.get("trace", "sample").text();
    let is_wanted = !config.get("trace", "otlp_endpoint").text().is_empty();
    if is_wanted { parse_part(sample).expect("its kind has read it") } else { 0 }
}

/// What `log.level` says.
#[must_use]
pub fn level(config: &Config) -> Targets {
    parse_level(config.get("log", "level").text()).expect("its kind has read it")
}

/// Whether clients speak TLS.
fn has_tls(config: &Config) -> bool {
    ["certificate", "key"].iter().all(|name| !config.get("tls", name).text().is_empty())
}

fn settings(config: &Config, machine: &Machine, cores: u16) -> Settings {
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
        // Known when the table is made.
        sockets_max: u32::MAX,
        warm_connections: config.get("server", "warm_connections").count().div_ceil(u32::from(cores)),
        max_message_bytes: config.get("server", "max_message_bytes").size(),
        echo_path: config.get("server", "echo_path").text().to_owned(),
        allowed_origins: config.get("auth", "allowed_origins").texts().to_vec(),
        allowed_hosts: allowed_hosts(config),
        trusted_proxies: trusted(config),
        forwarded_header: match config.get("server", "forwarded_header").text() {
            "Forwarded" => ForwardedHeader::Forwarded,
            _ => ForwardedHeader::XForwardedFor,
        },
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
        numbering: match config.get("link", "kind").text() {
            "none" => NumberingMode::Own,
            _ => NumberingMode::Link,
        },
        keeping: match (config.get("store", "kind").text(), config.get("store", "durability").text()) {
            ("memory", _) => KeepingMode::None,
            (_, "store") => KeepingMode::Commit,
            _ => KeepingMode::Behind,
        },
    }
}

fn limits(config: &Config) -> Limits {
    let get = |name| config.get("limits", name);
    Limits {
        connect_rate: rate(get("connect_rate")),
        connect_rate_per_ip: rate(get("connect_rate_per_ip")),
        connections_per_ip: get("connections_per_ip").count(),
        connections_per_user: get("connections_per_user").count(),
        message_rate: rate(get("message_rate")),
        command_rate: rate(get("command_rate")),
        message_rate_per_user: rate(get("message_rate_per_user")),
        idle_timeout_ms: get("idle_timeout").number(),
    }
}

fn rate(setting: &Setting) -> Option<Rate> {
    let units::Rate { count, per_ms } = setting.rate();
    Rate::new(count, per_ms)
}

fn trusted(config: &Config) -> Trusted {
    let networks = config.get("server", "trusted_proxies").texts().iter();
    Trusted::new(&networks.map(|text| parse_network(text).expect("its kind has read it")).collect::<Vec<_>>())
}

/// The hosts by which clients ask for this server, beside the addresses that it listens on. Where a token is needed any
/// host will do until some are configured: a page that was led here under another name has none.
fn allowed_hosts(config: &Config) -> AllowedHosts {
    let configured = config.get("server", "allowed_hosts").texts();
    let needs_token = config.get("auth", "mode").text() != "open";
    if configured.is_empty() && needs_token { AllowedHosts::any() } else { AllowedHosts::new(configured) }
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
        slow_policy: match get("slow_policy").text() {
            "skip" => SlowPolicy::Skip,
            "latest" => SlowPolicy::Latest,
            _ => SlowPolicy::Disconnect,
        },
        presence: get("presence").flag(),
        presence_names_max: get("presence_names_max").size(),
        presence_grace_ms: get("presence_grace").number(),
        room_message_rate: rate(config.get_for(class, "limits", "room_message_rate")),
    }
}

/// Every core has slots for at least so many connections, where all may hold that many together: a table of this size
/// costs the kernel 128 KiB.
const CORE_CONNECTIONS_LEAST: u32 = 16_384;

/// How many connections one of `cores` cores has slots for, where all may hold `most` together.
///
/// The kernel spreads connections over the cores' listening sockets by a hash, so that one core's part varies by about
/// the square root of its share: each core has slots for its share and four times that more, lest one refuse while others
/// have room. A table for all of `most` on each core would cost the kernel 8 bytes a slot.
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
