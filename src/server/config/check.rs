//! Whether the effective values fit together, this machine and this version. Each value is in its range already.

use std::net::{IpAddr, SocketAddr};

use super::classes::Class;
use super::keys::{KEYS, Secrecy};
use super::kind::Kind;
use super::machine::Machine;
use super::origin::{Mistake, Origin};
use super::units::{CORES_MAX, Cores, Share, duration_text, size_text};
use super::{Config, Setting};
use crate::base::limits::WINDOW_EVENTS_MAX;
use crate::engine::access::Expected;
use crate::engine::hosts::check_allowed_host;
use crate::server::{auth, tls};
use crate::wire::handshake::check_origin_pattern;

/// Everything that keeps the server from running with this configuration on this machine.
#[must_use]
pub fn check(config: &Config, machine: &Machine) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    check_parts(config, &mut mistakes);
    mistakes.extend(identity(config).err().into_iter().flatten());
    check_auth(config, &mut mistakes);
    check_addresses(config, &mut mistakes);
    check_names(config, &mut mistakes);
    check_order(config, &mut mistakes);
    check_window(config, &mut mistakes);
    check_machine(config, machine, &mut mistakes);
    mistakes
}

/// Values whose part of the product is not there yet.
fn check_parts(config: &Config, mistakes: &mut Vec<Mistake>) {
    let plain = config.settings().map(|(index, setting)| (index, setting, KEYS[index].path()));
    let classed = config.classes.iter().flat_map(|class| &class.overrides);
    let classed = classed.map(|(index, setting)| (*index, setting, format!("rooms.class.{}", KEYS[*index].name)));
    for (index, setting, path) in plain.chain(classed) {
        let key = &KEYS[index];
        let default = key.default_value();
        if let Some(part) = key.needs.filter(|_| setting.value != default) {
            let shown = match (key.kind, key.secrecy) {
                (Kind::Choice(_) | Kind::Rate | Kind::Bool, _) => key.kind.render(&setting.value),
                (_, Secrecy::Open) => key.kind.render(&setting.value),
                _ => "a value".into(),
            };
            let only = key.kind.render(&default);
            let text = format!("{shown} needs {part}, which this version does not have yet; it must be {only}");
            mistakes.push(Mistake::refused(&setting.origin, path, text));
        }
    }
}

/// What clients are shown; `None`: they speak plain TCP.
///
/// # Errors
/// What is wrong with the files.
pub fn identity(config: &Config) -> Result<Option<tls::Identity>, Vec<Mistake>> {
    let (certificate, key) = (config.get("tls", "certificate"), config.get("tls", "key"));
    if certificate.text().is_empty() && key.text().is_empty() {
        return Ok(None);
    }
    tls::Identity::load(certificate.text(), key.text()).map(Some).map_err(|wrong| {
        let mistake = |wrong: tls::Wrong| {
            let (at_fault, other) = if wrong.key == "tls.key" { (key, certificate) } else { (certificate, key) };
            Mistake::refused(later(at_fault, other), wrong.key, wrong.text)
        };
        wrong.into_iter().map(mistake).collect()
    })
}

/// Keys for tokens: that there are some, and that those in files can be read.
fn check_auth(config: &Config, mistakes: &mut Vec<Mistake>) {
    let (mode, settings) = (config.get("auth", "mode"), auth(config));
    if mode.text() == "jwt" && !settings.have_keys() {
        let text = "\"jwt\" needs a key to verify tokens with; set auth.hmac_secret, auth.public_key_file or auth.jwks";
        mistakes.push(Mistake::refused(&mode.origin, "auth.mode", text));
    }
    for auth::Wrong { key, text } in settings.check() {
        mistakes.push(Mistake::refused(&config.get("auth", key).origin, format!("auth.{key}"), text));
    }
}

/// What `[auth]` says of tokens.
#[must_use]
pub fn auth(config: &Config) -> auth::Settings {
    let text = |name| config.get("auth", name).text().to_owned();
    let leeway_ms = config.get("auth", "leeway").number();
    auth::Settings {
        hmac_secret: text("hmac_secret"),
        public_key_file: text("public_key_file"),
        jwks: text("jwks"),
        expected: Expected { audience: text("audience"), issuer: text("issuer"), leeway_ms },
    }
}

/// Whether only this machine can reach the address.
#[must_use]
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Whether a socket on one address takes connections to the other.
#[must_use]
pub fn is_shared(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    // `::` takes IPv4 connections too.
    let covers = |any: IpAddr, ip: IpAddr| any.is_unspecified() && (any.is_ipv6() || ip.is_ipv4());
    let same_port = one.port() == other.port() && one.port() != 0;
    same_port && (ip == other_ip || covers(ip, other_ip) || covers(other_ip, ip))
}

fn check_addresses(config: &Config, mistakes: &mut Vec<Mistake>) {
    let (listen, control) = (config.get("server", "listen"), config.get("control", "listen"));
    let mode = config.get("auth", "mode");
    let (proxies, proxy_protocol) = (config.get("server", "trusted_proxies"), config.get("server", "proxy_protocol"));
    if proxy_protocol.flag() && proxies.texts().is_empty() {
        let text = "true needs server.trusted_proxies, which is empty: nobody's header would be read";
        mistakes.push(Mistake::refused(&proxy_protocol.origin, "server.proxy_protocol", text));
    }
    let public = listen.addresses().iter().find(|address| !is_loopback(address));
    if let Some(public) = public.filter(|_| mode.text() == "open" && mode.origin == Origin::Default) {
        let text = format!(
            "anyone can connect to {public}, which is not a loopback address; write auth.mode = \"open\" if that is meant"
        );
        mistakes.push(Mistake::refused(&listen.origin, "auth.mode", text));
    }
    let address = control.addresses()[0];
    if !is_loopback(&address) && config.get("control", "api_key").text().is_empty() {
        let text = format!(
            "{address} is not a loopback address, which needs control.api_key: whoever reaches it could use the API; set \
             the key, or an address such as 127.0.0.1:{}",
            address.port()
        );
        mistakes.push(Mistake::refused(&control.origin, "control.listen", text));
    }
    if let Some(other) = listen.addresses().iter().find(|other| is_shared(**other, address)) {
        let why = if *other == address {
            "in server.listen too".into()
        } else {
            format!("taken by {other} in server.listen")
        };
        let text = format!("{address} is {why}; it must be an address of its own");
        mistakes.push(Mistake::refused(later(control, listen), "control.listen", text));
    }
    for (index, address) in listen.addresses().iter().enumerate() {
        // A `[::]` leaves IPv4 alone where that is listed by itself.
        let takes = |other: &&SocketAddr| other.is_ipv4() == address.is_ipv4() && is_shared(**other, *address);
        if let Some(other) = listen.addresses()[..index].iter().find(takes) {
            let text = format!("{address} is taken by {other} already; list one of them");
            mistakes.push(Mistake::refused(&listen.origin, "server.listen", text));
        }
    }
}

/// Origins and hosts that no browser ever sends: whoever wrote them would wonder why they do not count.
fn check_names(config: &Config, mistakes: &mut Vec<Mistake>) {
    type Check = fn(&str) -> Result<(), String>;
    let lists: [(_, _, Check); 2] =
        [("server", "allowed_hosts", check_allowed_host), ("auth", "allowed_origins", check_origin_pattern)];
    for (section, name, check) in lists {
        let setting = config.get(section, name);
        for text in setting.texts() {
            if let Err(wrong) = check(text) {
                let text = format!("{text:?} {wrong}");
                mistakes.push(Mistake::refused(&setting.origin, format!("{section}.{name}"), text));
            }
        }
    }
}

/// What to tell whoever runs a server of which [`lacks_hosts`] is true.
pub const LACKS_HOSTS: &str = "server.allowed_hosts is empty: requests for other hosts than this server's IP addresses and \
                               loopback names get 403; list the names that clients use, or \"*\" for any";

/// Whether clients are likely to ask for this server by a name that it refuses: anyone may connect, from other hosts or
/// through a proxy.
#[must_use]
pub fn lacks_hosts(config: &Config) -> bool {
    let is_reached = config.get("server", "listen").addresses().iter().any(|address| !is_loopback(address))
        || !config.get("server", "trusted_proxies").texts().is_empty();
    is_reached
        && config.get("server", "allowed_hosts").texts().is_empty()
        && config.get("auth", "mode").text() == "open"
}

/// Values that must stand in some order to each other.
fn check_order(config: &Config, mistakes: &mut Vec<Mistake>) {
    let (interval, timeout) = (config.get("heartbeat", "interval"), config.get("heartbeat", "timeout"));
    if timeout.number() <= interval.number() {
        let text = format!(
            "{:?} is not longer than heartbeat.interval, {:?}; it must be, or every connection is closed before its ping",
            duration_text(timeout.number()),
            duration_text(interval.number())
        );
        mistakes.push(Mistake::refused(later(timeout, interval), "heartbeat.timeout", text));
    }
    let (warm, most) = (config.get("server", "warm_connections"), config.get("server", "max_connections"));
    if warm.number() > most.number() {
        let text = format!("{} is more than server.max_connections, {}", warm.number(), most.number());
        mistakes.push(Mistake::refused(later(warm, most), "server.warm_connections", text));
    }
    let (outbox, message) = (config.get("limits", "outbox_bytes"), config.get("server", "max_message_bytes"));
    let least = 2 * message.number();
    if outbox.number() < least {
        let text = format!(
            "{} is less than twice server.max_message_bytes, {}; it must be at least {}",
            size_text(outbox.number()),
            size_text(message.number()),
            size_text(least)
        );
        mistakes.push(Mistake::refused(later(outbox, message), "limits.outbox_bytes", text));
    }
    for class in std::iter::once(None).chain(config.classes.iter().map(Some)) {
        check_history(config, class, mistakes);
    }
}

/// A sliding window remembers each event.
fn check_window(config: &Config, mistakes: &mut Vec<Mistake>) {
    let setting = config.get("limits", "message_rate_per_user");
    if setting.rate().count > WINDOW_EVENTS_MAX {
        let text = format!(
            "\"{}\" is over {WINDOW_EVENTS_MAX} publishes in one window; it must be at most that",
            setting.rate()
        );
        mistakes.push(Mistake::refused(&setting.origin, "limits.message_rate_per_user", text));
    }
}

fn check_history(config: &Config, class: Option<&Class>, mistakes: &mut Vec<Mistake>) {
    let joined = config.get_for(class, "rooms", "history_on_join");
    let most = config.get_for(class, "rooms", "history_on_join_max");
    let inherited = class.is_some()
        && joined == config.get("rooms", "history_on_join")
        && most == config.get("rooms", "history_on_join_max");
    if joined.number() > most.number() && !inherited {
        let table = if class.is_some() { "rooms.class" } else { "rooms" };
        let text =
            format!("{} is more than history_on_join_max, {}; it must be at most that", joined.number(), most.number());
        mistakes.push(Mistake::refused(later(joined, most), format!("{table}.history_on_join"), text));
    }
}

/// Where to look first when two values do not fit: at the one that was written.
fn later<'a>(one: &'a Setting, other: &'a Setting) -> &'a Origin {
    if one.origin == Origin::Default { &other.origin } else { &one.origin }
}

fn check_machine(config: &Config, machine: &Machine, mistakes: &mut Vec<Mistake>) {
    if let Err(mistake) = layout(config, machine) {
        mistakes.push(mistake);
    }
    let budget = config.get("limits", "memory_budget");
    if let Share::Bytes(bytes) = budget.share()
        && bytes > machine.memory_bytes
    {
        let text = format!(
            "{} is more than the {} MiB that this process may use; it must be at most that",
            size_text(bytes),
            machine.memory_bytes >> 20
        );
        mistakes.push(Mistake::refused(&budget.origin, "limits.memory_budget", text));
    }
}

/// The executors: for each one the CPU it is kept on, if it is.
///
/// # Errors
/// The cores asked for are not there.
pub fn layout(config: &Config, machine: &Machine) -> Result<Vec<Option<usize>>, Mistake> {
    let (cores, pin) = (config.get("server", "cores"), config.get("server", "pin"));
    let refuse = |text: String| Err(Mistake::refused(later(cores, pin), "server.cores", text));
    let there = machine.cpus.len();
    match (cores.cores(), pin.flag()) {
        (Cores::Auto, pinned) => {
            let count = machine.parallelism.min(there).clamp(1, usize::from(CORES_MAX));
            Ok(machine.cpus.iter().take(count).map(|cpu| pinned.then_some(*cpu)).collect())
        }
        (Cores::Count(count), false) => Ok(vec![None; usize::from(*count)]),
        (Cores::Count(count), true) if usize::from(*count) > there => refuse(format!(
            "{count} executors are more than the {there} CPUs that this process may use; it must be at most {there}, \
             or server.pin must be false"
        )),
        (Cores::Count(count), true) => Ok(machine.cpus.iter().take(usize::from(*count)).copied().map(Some).collect()),
        (Cores::Cpus(_), false) => {
            refuse("a list of CPUs needs server.pin = true; with false it must be a number of executors".into())
        }
        (Cores::Cpus(cpus), true) => match cpus.iter().find(|cpu| !machine.cpus.contains(cpu)) {
            Some(cpu) => {
                let may = Cores::Cpus(machine.cpus.clone());
                refuse(format!("CPU {cpu} is not one that this process may use; it must be among \"{may}\""))
            }
            None => Ok(cpus.iter().copied().map(Some).collect()),
        },
    }
}
