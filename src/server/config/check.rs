//! Whether the effective values fit together, this machine and this version. Each value is in its range already. Lowers
//! nothing.

use std::net::{IpAddr, SocketAddr};

use super::choices::{AUTH_MODES, AuthMode, LINK_KINDS, STORE_KINDS, StoreKind};
use super::classes::Class;
use super::effective::Config;
use super::key::{Lacks, Secrecy};
use super::keys::KEYS;
use super::kind::Kind;
use super::machine::HostMachine;
use super::origin::{Mistake, ValueOrigin};
use super::setting::written;
use super::units::{Share, duration_text, rate_text, size_text};
use crate::engine::hosts::check_allowed_host;
use crate::engine::settings::NumberingMode;
use crate::server::auth;
use crate::wire::handshake::check_origin_pattern;

/// Events that one sliding window remembers, 8 bytes each: the largest count of a rate that a window keeps.
const WINDOW_EVENTS_MAX: u64 = 1_000_000;

/// Every pair of values that does not fit together. `tokens` is what `[auth]` says of tokens.
#[must_use]
pub fn check_values(config: &Config, tokens: &auth::AuthSettings) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    check_auth(config, tokens, &mut mistakes);
    check_addresses(config, &mut mistakes);
    check_names(config, &mut mistakes);
    check_order(config, &mut mistakes);
    check_window(config, &mut mistakes);
    mistakes
}

/// Every value that needs a part of the product that is not there yet.
#[must_use]
pub fn check_parts(config: &Config) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let plain = config.settings().map(|(index, setting)| (index, setting, KEYS[index].path()));
    let classed = config.classes.iter().flat_map(|class| &class.overrides);
    let classed = classed.map(|(index, setting)| (*index, setting, format!("rooms.class.{}", KEYS[*index].name)));
    for (index, setting, path) in plain.chain(classed) {
        let key = &KEYS[index];
        let default = key.default_value();
        let Some(Lacks { words, part }) = key.lacks else { continue };
        let rendered = key.kind.render(&setting.value);
        let quoted = |word: &&str| format!("\"{word}\"");
        let is_lacking =
            words.map_or(setting.value != default, |words| words.iter().any(|word| quoted(word) == rendered));
        if is_lacking {
            let shown = match (key.kind, key.secrecy) {
                (Kind::Choice(_) | Kind::Rate | Kind::Bool, _) | (_, Secrecy::Open) => rendered,
                _ => "a value".into(),
            };
            let only = match (words, key.kind) {
                (Some(words), Kind::Choice(all)) => {
                    all.iter().filter(|word| !words.contains(word)).map(quoted).collect::<Vec<_>>().join(" or ")
                }
                _ => key.kind.render(&default),
            };
            let text = format!("{shown} needs {part}, which this version does not have yet; it must be {only}");
            mistakes.push(Mistake::refused(&setting.origin, path, text));
        }
    }
    mistakes
}

/// Keys that verify tokens: there are some, and those in files can be read.
fn check_auth(config: &Config, tokens: &auth::AuthSettings, mistakes: &mut Vec<Mistake>) {
    let mode = config.get("auth", "mode");
    if mode.choice(&AUTH_MODES) == AuthMode::Jwt && !tokens.have_keys() {
        let text = "\"jwt\" needs a key to verify tokens with; set auth.hmac_secret, auth.public_key_file or auth.jwks";
        mistakes.push(Mistake::refused(&mode.origin, "auth.mode", text));
    }
    if mode.choice(&AUTH_MODES) == AuthMode::Accounts {
        check_accounts(config, mistakes);
    }
    for auth::AuthMistake { key, text } in tokens.check() {
        mistakes.push(Mistake::refused(&config.get("auth", key).origin, format!("auth.{key}"), text));
    }
}

/// Keys that go with other tokens than those of accounts, and accounts that machines do not share.
fn check_accounts(config: &Config, mistakes: &mut Vec<Mistake>) {
    for name in ["hmac_secret", "public_key_file", "jwks"] {
        let setting = config.get("auth", name);
        if !setting.text().is_empty() {
            let text = "cannot be combined with auth.mode = \"accounts\", whose tokens are signed with a key that the store \
                        keeps; remove it, or set auth.mode = \"jwt\"";
            mistakes.push(Mistake::refused(&setting.origin, format!("auth.{name}"), text));
        }
    }
    let (link, store) = (config.get("link", "kind"), config.get("store", "kind"));
    if link.choice(&LINK_KINDS) == NumberingMode::Link && !matches!(store.text(), "postgres" | "mongodb") {
        let text = format!(
            "\"{}\" keeps accounts on this machine alone, but link.kind joins several machines; it must be \"postgres\" or \
             \"mongodb\" where auth.mode = \"accounts\"",
            store.text()
        );
        mistakes.push(Mistake::refused(written(store, link), "store.kind", text));
    }
}

/// The note for an operator where [`loses_accounts`] is true.
pub const LOSES_ACCOUNTS: &str = "store.kind is memory: the accounts of auth.mode = \"accounts\" end with the process; set \
                                  store.kind to keep them";

/// Whether accounts end with the process.
pub fn loses_accounts(config: &Config) -> bool {
    config.get("auth", "mode").choice(&AUTH_MODES) == AuthMode::Accounts
        && config.get("store", "kind").choice(&STORE_KINDS) == StoreKind::Memory
}

/// What an operator should know of a configuration that is fine.
#[must_use]
pub fn notes(config: &Config) -> Vec<&'static str> {
    let all = [(lacks_hosts(config), LACKS_HOSTS), (loses_accounts(config), LOSES_ACCOUNTS)];
    all.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| note).collect()
}

/// Whether only this machine can reach the address.
#[must_use]
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Whether a socket that listens on one address takes connections to the other.
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
    if proxy_protocol.flag() && proxies.networks().is_empty() {
        let text =
            "true needs server.trusted_proxies, which is empty; list the networks of the proxies that send the header";
        mistakes.push(Mistake::refused(&proxy_protocol.origin, "server.proxy_protocol", text));
    }
    let public = listen.addresses().iter().find(|address| !is_loopback(address));
    if let Some(public) =
        public.filter(|_| mode.choice(&AUTH_MODES) == AuthMode::Open && mode.origin == ValueOrigin::Default)
    {
        let text = format!(
            "anyone could connect to {public}, which is not a loopback address; set auth.mode = \"jwt\" or \"accounts\", or write \
             auth.mode = \"open\" to allow that"
        );
        mistakes.push(Mistake::refused(&listen.origin, "auth.mode", text));
    }
    let address = control.addresses()[0];
    if !is_loopback(&address) && config.get("control", "api_key").text().is_empty() {
        let text = format!(
            "{address} is not a loopback address and control.api_key is empty: anyone who reaches it could use the API; \
             set control.api_key, or listen on a loopback address such as 127.0.0.1:{}",
            address.port()
        );
        mistakes.push(Mistake::refused(&control.origin, "control.listen", text));
    }
    if let Some(other) = listen.addresses().iter().find(|other| is_shared(**other, address)) {
        let why = if *other == address {
            "also in server.listen".into()
        } else {
            format!("covered by {other} in server.listen")
        };
        let text = format!("{address} is {why}; use another address or port");
        mistakes.push(Mistake::refused(written(control, listen), "control.listen", text));
    }
    for (index, address) in listen.addresses().iter().enumerate() {
        // A `[::]` leaves IPv4 alone where that is listed by itself.
        let takes = |other: &&SocketAddr| other.is_ipv4() == address.is_ipv4() && is_shared(**other, *address);
        if let Some(other) = listen.addresses()[..index].iter().find(takes) {
            let text = format!("{address} overlaps {other}; list only one of them");
            mistakes.push(Mistake::refused(&listen.origin, "server.listen", text));
        }
    }
}

/// Origins and hosts that no browser ever sends, and that would be allowed without effect.
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

/// The note for an operator where [`lacks_hosts`] is true.
pub const LACKS_HOSTS: &str = "server.allowed_hosts is empty: requests for hosts other than this server's IP addresses and \
                               loopback names get 403; list the names that clients use, or \"*\" for any";

/// Whether clients are likely to use a host name that the server refuses: anyone may connect, from other hosts or through a
/// proxy.
#[must_use]
pub fn lacks_hosts(config: &Config) -> bool {
    let is_reached = config.get("server", "listen").addresses().iter().any(|address| !is_loopback(address))
        || !config.get("server", "trusted_proxies").networks().is_empty();
    is_reached
        && config.get("server", "allowed_hosts").texts().is_empty()
        && config.get("auth", "mode").choice(&AUTH_MODES) == AuthMode::Open
}

/// Values of which one must be larger than another.
fn check_order(config: &Config, mistakes: &mut Vec<Mistake>) {
    let (interval, timeout) = (config.get("heartbeat", "interval"), config.get("heartbeat", "timeout"));
    if timeout.number() <= interval.number() {
        let text = format!(
            "{:?} is not longer than heartbeat.interval, {:?}; it must be longer, or connections time out before they are \
             pinged",
            duration_text(timeout.number()),
            duration_text(interval.number())
        );
        mistakes.push(Mistake::refused(written(timeout, interval), "heartbeat.timeout", text));
    }
    let (warm, most) = (config.get("server", "warm_connections"), config.get("server", "max_connections"));
    if warm.number() > most.number() {
        let text = format!(
            "{} is more than server.max_connections, {}; it must be at most that",
            warm.number(),
            most.number()
        );
        mistakes.push(Mistake::refused(written(warm, most), "server.warm_connections", text));
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
        mistakes.push(Mistake::refused(written(outbox, message), "limits.outbox_bytes", text));
    }
    for class in std::iter::once(None).chain(config.classes.iter().map(Some)) {
        check_history(config, class, mistakes);
    }
}

/// A rate that a sliding window keeps, which remembers each event.
fn check_window(config: &Config, mistakes: &mut Vec<Mistake>) {
    let setting = config.get("limits", "message_rate_per_user");
    if setting.rate().is_some_and(|rate| rate.count.get() > WINDOW_EVENTS_MAX) {
        let text = format!(
            "\"{}\" counts more than {WINDOW_EVENTS_MAX} publishes; it must count at most that",
            rate_text(setting.rate())
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
        mistakes.push(Mistake::refused(written(joined, most), format!("{table}.history_on_join"), text));
    }
}

/// A memory budget that this machine does not have.
#[must_use]
pub fn check_memory(config: &Config, machine: &HostMachine) -> Option<Mistake> {
    let budget = config.get("limits", "memory_budget");
    let Share::Bytes(bytes) = budget.share() else { return None };
    (bytes > machine.memory_bytes).then(|| {
        let text = format!(
            "{} is more than the {} MiB that this process may use; it must be at most that",
            size_text(bytes),
            machine.memory_bytes >> 20
        );
        Mistake::refused(&budget.origin, "limits.memory_budget", text)
    })
}
