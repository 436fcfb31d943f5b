//! Listening sockets: one per core and address, between which the kernel spreads the connections; or those that were
//! handed over. Binds, and bounds what the kernel holds for each connection; never accepts.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// The kernel cuts the backlog down to `net.core.somaxconn`, so this is the host's own limit.
const BACKLOG: i32 = i32::MAX;

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: another process (or another entry of the list) has it already")
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "cannot listen on {address}: this host has no such address")
            }
            io::ErrorKind::PermissionDenied => write!(
                f,
                "cannot listen on {address}: ports below net.ipv4.ip_unprivileged_port_start need the capability \
                 CAP_NET_BIND_SERVICE"
            ),
            _ => write!(f, "cannot listen on {address}: {}", self.error),
        }
    }
}

impl std::error::Error for BindError {}

/// The listeners of all cores.
#[derive(Debug)]
pub struct ListeningSockets {
    /// The addresses, in the order asked for, with the ports that the system picked for port 0.
    pub addresses: Vec<SocketAddr>,
    /// One listener for each address, by core.
    pub by_core: Vec<Vec<TcpListener>>,
}

impl ListeningSockets {
    /// Binds each address once for each of `cores` cores (at least 1). With port 0 the system picks one free port, which
    /// the cores share.
    ///
    /// # Errors
    /// The first address that cannot be had, and why.
    pub fn bind(addresses: &[SocketAddr], cores: u16) -> Result<ListeningSockets, BindError> {
        let mut bound = ListeningSockets { addresses: Vec::new(), by_core: (0..cores).map(|_| Vec::new()).collect() };
        for address in addresses {
            let dual = is_dual(*address, addresses);
            let failed = |error| BindError { address: *address, error };
            let first = bind_first(*address, dual).map_err(failed)?;
            let actual = first.local_addr().map_err(failed)?;
            let mut first = Some(first);
            for listeners in &mut bound.by_core {
                let listener = match first.take() {
                    Some(first) => first,
                    None => bind_another(actual, dual).map_err(failed)?,
                };
                listeners.push(listener);
            }
            bound.addresses.push(actual);
        }
        Ok(bound)
    }

    /// Uses sockets that listen already, at least one for each core and address: several of one address are spread over
    /// the cores, and cores that outnumber them share.
    ///
    /// # Errors
    /// What the system said: too many files, mostly.
    pub fn inherited(sockets: Vec<TcpListener>, cores: u16) -> io::Result<ListeningSockets> {
        let mut taken = ListeningSockets { addresses: Vec::new(), by_core: (0..cores).map(|_| Vec::new()).collect() };
        let mut groups: Vec<Vec<TcpListener>> = Vec::new();
        for socket in sockets {
            // A ring waits for connections only on a socket that waits itself.
            socket.set_nonblocking(false)?;
            SockRef::from(&socket).set_tcp_nodelay(true)?;
            let address = socket.local_addr()?;
            match taken.addresses.iter().position(|known| *known == address) {
                Some(index) => groups[index].push(socket),
                None => {
                    taken.addresses.push(address);
                    groups.push(vec![socket]);
                }
            }
        }
        for group in &groups {
            for place in 0..group.len().max(usize::from(cores)) {
                let socket = group[place % group.len()].try_clone()?;
                taken.by_core[place % usize::from(cores)].push(socket);
            }
        }
        Ok(taken)
    }

    /// Bounds what the kernel holds for a connection: `bytes` that it has not sent yet (`TCP_NOTSENT_LOWAT`), and, with its
    /// own overhead, twice as many in all (`SO_SNDBUF`), which a reader that takes but never acknowledges would fill.
    /// Accepted sockets inherit both. 0 leaves the system's own bounds, up to 4 MiB (`net.ipv4.tcp_wmem`).
    ///
    /// Nothing is set for what is received: a core takes that from the kernel as it comes; what comes out of order the
    /// kernel throws away first when TCP's memory runs short; and a fixed buffer would end the kernel's own tuning of the
    /// window, which large messages from far away need.
    ///
    /// # Errors
    /// What the system said.
    pub fn bound_sends(&self, bytes: u32) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        for listener in self.by_core.iter().flatten() {
            let socket = SockRef::from(listener);
            socket.set_tcp_notsent_lowat(bytes)?;
            // The kernel doubles it, and cuts it down to net.core.wmem_max before that.
            socket.set_send_buffer_size(bytes as usize)?;
        }
        Ok(())
    }
}

/// Binds alone, so that a port that anyone else listens on is refused, even by a process that shares its ports; and
/// shares it only then, which leaves no moment in which someone else could take it.
fn bind_first(address: SocketAddr, dual: bool) -> io::Result<TcpListener> {
    let socket = open(address, dual)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    listen(socket)
}

fn bind_another(address: SocketAddr, dual: bool) -> io::Result<TcpListener> {
    let socket = open(address, dual)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    listen(socket)
}

fn open(address: SocketAddr, dual: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier run that linger do not keep a restarted server from its port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether an IPv6 address takes IPv4 connections too: `[::]` does, unless IPv4 is asked for by itself on that port.
fn is_dual(address: SocketAddr, all: &[SocketAddr]) -> bool {
    let clashes = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port() && other.port() != 0;
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !all.iter().any(clashes)
}

#[cfg(test)]
mod tests;
