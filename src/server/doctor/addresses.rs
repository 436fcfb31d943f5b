//! The addresses that the server listens on: whether they exist, are allowed and are free. Binds none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::finding::{Finding, Topic};
use super::host::{HostFiles, parse_list};
use super::subject::Subject;
use super::texts::unit_line;
use crate::server::config::check::is_shared;

/// CAP_NET_BIND_SERVICE in a set of capabilities.
const BIND_SERVICE: u64 = 1 << 10;

/// The state LISTEN in /proc/net/tcp.
const LISTEN: &str = "0A";

/// All checks of this topic.
pub fn checks(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    let listeners = listeners(host);
    let addresses = subject.listen.iter().map(|address| ("server.listen", *address));
    addresses
        .chain([("control.listen", subject.control_listen)])
        .map(|(key, address)| judge(host, &listeners, key, address))
        .chain(subject.lacks_hosts.then(name_hosts))
        .collect()
}

/// Clients that use a name are refused, which shows only once they connect.
fn name_hosts() -> Finding {
    Finding::new(Topic::Addresses, "server.allowed_hosts", "empty")
        .wants("the names that clients use for this server", "requests for hosts other than its IP addresses get 403")
        .warn_unless(false, r#"server.allowed_hosts = ["chat.example.com"] in the configuration; ["*"] allows any"#)
}

fn judge(host: &HostFiles, listeners: &[ListeningSocket], key: &'static str, address: SocketAddr) -> Finding {
    let finding = |found: String| Finding::new(Topic::Addresses, key, format!("{address} {found}"));
    if !is_local(host, address.ip()) {
        let fix = format!("{key} in the configuration: an address of this host, or 0.0.0.0");
        return finding("is not an address of this host".into())
            .wants("an address of this host", "")
            .fail_unless(false, fix);
    }
    let free = ("free", "no other process may use it");
    if address.port() == 0 {
        return finding("picks a free port".into()).wants(free.0, free.1);
    }
    if let Some(listener) = listeners.iter().find(|listener| listener.clashes(address)) {
        return in_use(host, listener, key, &finding);
    }
    let first_free = host.number("proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or(1024);
    if u64::from(address.port()) < first_free && !may_bind_low(host) {
        let fix = format!(
            "{}, or sysctl -w net.ipv4.ip_unprivileged_port_start={}",
            unit_line("AmbientCapabilities=CAP_NET_BIND_SERVICE"),
            address.port()
        );
        let wanted = format!("CAP_NET_BIND_SERVICE, or a port of at least {first_free}");
        return finding("is a port that this user may not bind".into()).wants(wanted, "").fail_unless(false, fix);
    }
    let range = host.sysctl_numbers("net.ipv4.ip_local_port_range").unwrap_or_default();
    let reserved = parse_list(&host.sysctl("net.ipv4.ip_local_reserved_ports").unwrap_or_default());
    let is_lent = matches!(range[..], [first, last] if (first..=last).contains(&u64::from(address.port())))
        && !reserved.contains(&usize::from(address.port()));
    if is_lent {
        let why = "an outgoing connection may take it while the server restarts";
        let fix = format!("net.ipv4.ip_local_reserved_ports = {} in /etc/sysctl.d", address.port());
        return finding("free, in net.ipv4.ip_local_port_range".into())
            .wants("a port outside of the range", why)
            .warn_unless(false, fix);
    }
    finding("free".into()).wants(free.0, free.1)
}

/// A port that Roomring itself uses is no fault of the host.
fn in_use(host: &HostFiles, listener: &ListeningSocket, key: &str, finding: &dyn Fn(String) -> Finding) -> Finding {
    const WANTED: &str = "free";
    const WHY: &str = "no other process may use it";
    let pids = processes(host);
    let name = |pid: &str| host.text(&format!("proc/{pid}/comm")).unwrap_or_default();
    match pids.iter().find(|pid| holds(host, pid, listener.inode)) {
        Some(pid) if name(pid) == "roomring" => {
            finding(format!("served by roomring (pid {pid})")).wants("free, or served by roomring", WHY)
        }
        Some(pid) => finding(format!("in use by {} (pid {pid})", name(pid)))
            .wants(WANTED, WHY)
            .fail_unless(false, format!("stop {} (pid {pid}), or change {key}", name(pid))),
        None => match pids.iter().find(|pid| name(pid) == "roomring") {
            Some(pid) => finding(format!("in use, perhaps by roomring (pid {pid})"))
                .wants("free, or served by roomring", WHY)
                .warn_unless(false, "run the doctor as root to see which process uses it"),
            None => finding("in use".into())
                .wants(WANTED, WHY)
                .fail_unless(false, format!("find the process with ss -ltnp as root and stop it, or change {key}")),
        },
    }
}

/// The other processes.
fn processes(host: &HostFiles) -> Vec<String> {
    let own = host.link("proc/self");
    let is_pid = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    host.names("proc").into_iter().filter(|name| is_pid(name) && Some(name) != own.as_ref()).collect()
}

fn holds(host: &HostFiles, pid: &str, inode: u64) -> bool {
    let socket = format!("socket:[{inode}]");
    let folder = format!("proc/{pid}/fd");
    host.names(&folder).iter().any(|fd| host.link(&format!("{folder}/{fd}")).as_ref() == Some(&socket))
}

fn may_bind_low(host: &HostFiles) -> bool {
    let set = host.field("proc/self/status", "CapEff").and_then(|set| u64::from_str_radix(&set, 16).ok());
    set.is_some_and(|set| set & BIND_SERVICE != 0)
}

/// A listening socket of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListeningSocket {
    address: SocketAddr,
    inode: u64,
}

impl ListeningSocket {
    fn clashes(&self, address: SocketAddr) -> bool {
        is_shared(self.address, address)
    }
}

fn listeners(host: &HostFiles) -> Vec<ListeningSocket> {
    let files = ["proc/net/tcp", "proc/net/tcp6"].map(|path| host.text(path).unwrap_or_default());
    files.iter().flat_map(|text| text.lines().skip(1)).filter_map(listener).collect()
}

fn listener(line: &str) -> Option<ListeningSocket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (ip, port) = fields[1].split_once(':')?;
    let (ip, port) = (ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    Some(ListeningSocket { address: SocketAddr::new(ip, port), inode: fields.get(9)?.parse().ok()? })
}

/// The kernel prints the address's words as numbers of this machine.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |index: usize| u32::from_str_radix(hex.get(index * 8..index * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for index in 0..4 {
                bytes[index * 4..index * 4 + 4].copy_from_slice(&word(index)?);
            }
            Some(IpAddr::from(bytes))
        }
        _ => None,
    }
}

fn is_local(host: &HostFiles, ip: IpAddr) -> bool {
    if ip.is_unspecified() || host.number("proc/sys/net/ipv4/ip_nonlocal_bind") == Some(1) {
        return true;
    }
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_local_v4(host, ip),
        IpAddr::V6(ip) => is_local_v6(host, ip),
    }
}

/// By the routes that the kernel keeps for its own addresses. Without them, every address counts as local.
fn is_local_v4(host: &HostFiles, ip: Ipv4Addr) -> bool {
    let Some(routes) = host.text("proc/net/fib_trie") else { return true };
    let mut last = None;
    for line in routes.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if let (Some(address), Some(prefix)) = (last, line.strip_suffix(" host LOCAL"))
            && let Some(length) = prefix.strip_prefix('/').and_then(|length| length.parse::<u32>().ok())
        {
            let mask = u32::MAX.checked_shl(32 - length.min(32)).unwrap_or(0);
            if u32::from(address) & mask == u32::from(ip) & mask {
                return true;
            }
        }
    }
    false
}

fn is_local_v6(host: &HostFiles, ip: Ipv6Addr) -> bool {
    let Some(addresses) = host.text("proc/net/if_inet6") else { return true };
    let hex: String = ip.octets().iter().map(|byte| format!("{byte:02x}")).collect();
    addresses.lines().any(|line| line.starts_with(&hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn listeners_are_read() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100";
        let address = if cfg!(target_endian = "little") { "127.0.0.1:8080" } else { "1.0.0.127:8080" };
        assert_eq!(listener(line), Some(ListeningSocket { address: at(address), inode: 4242 }));
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listener("nonsense"), None);
        assert_eq!(ip_of("00000000000000000000000000000000"), Some(at("[::]:0").ip()));
    }

    #[test]
    fn addresses_clash_when_a_socket_would_take_the_others_connections() {
        let clashes = |one: &str, other: &str| ListeningSocket { address: at(one), inode: 1 }.clashes(at(other));
        assert!(clashes("127.0.0.1:80", "127.0.0.1:80") && !clashes("127.0.0.1:80", "127.0.0.1:81"));
        assert!(clashes("0.0.0.0:80", "127.0.0.1:80") && clashes("127.0.0.1:80", "0.0.0.0:80"));
        assert!(clashes("[::]:80", "127.0.0.1:80") && clashes("127.0.0.1:80", "[::]:80"));
        assert!(!clashes("0.0.0.0:80", "[::1]:80") && !clashes("127.0.0.1:80", "127.0.0.2:80"));
    }
}
