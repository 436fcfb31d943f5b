//! Owns the listening sockets: one per core and address, over which the kernel spreads connections, or sockets handed
//! over by a supervisor. Binds them and bounds the kernel's memory per connection; never accepts.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// The kernel lowers this to `net.core.somaxconn`, so the host's own limit applies.
const BACKLOG: i32 = i32::MAX;

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The system's error.
    pub error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: another process, or another entry of the list, already does")
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

/// The listening sockets of all cores.
#[derive(Debug)]
pub struct ListeningSockets {
    /// The addresses, in the order of the request. For port 0, the port that the system chose.
    pub addresses: Vec<SocketAddr>,
    /// One socket per address, by core.
    pub by_core: Vec<Vec<TcpListener>>,
}

impl ListeningSockets {
    /// Binds each address once per core (`cores` is at least 1). For port 0 the system chooses a free port, which the
    /// cores share.
    ///
    /// # Errors
    /// The first address that cannot be bound.
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

    /// Uses inherited sockets that already listen. Spreads the sockets of one address over the cores; cores share
    /// sockets if there are too few.
    ///
    /// # Errors
    /// The system's error, mostly too many open files.
    pub fn inherited(sockets: Vec<TcpListener>, cores: u16) -> io::Result<ListeningSockets> {
        let mut taken = ListeningSockets { addresses: Vec::new(), by_core: (0..cores).map(|_| Vec::new()).collect() };
        let mut groups: Vec<Vec<TcpListener>> = Vec::new();
        for socket in sockets {
            // A ring waits for connections only on a blocking socket.
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

    /// Bounds the kernel's send memory per connection: `bytes` not sent yet (`TCP_NOTSENT_LOWAT`), and twice as many in
    /// all with the kernel's overhead (`SO_SNDBUF`), which a reader that never acknowledges would fill. Accepted
    /// sockets inherit both. 0 keeps the system's bounds, up to 4 MiB (`net.ipv4.tcp_wmem`).
    ///
    /// Receive memory needs no bound: a core takes bytes from the kernel as they arrive, and the kernel drops
    /// out-of-order bytes first when TCP memory runs short. A fixed receive buffer would disable the kernel's window
    /// tuning, which large messages over long distances need.
    ///
    /// # Errors
    /// The system's error.
    pub fn bound_sends(&self, bytes: u32) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        for listener in self.by_core.iter().flatten() {
            let socket = SockRef::from(listener);
            socket.set_tcp_notsent_lowat(bytes)?;
            // The kernel lowers it to net.core.wmem_max, then doubles it.
            socket.set_send_buffer_size(bytes as usize)?;
        }
        Ok(())
    }
}

/// Binds without `SO_REUSEPORT`, so that a port in use by another process is refused even if that process shares it,
/// then sets the option. At no moment can another process take the port.
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
    // Lingering connections of an earlier run must not block the port of a restarted server.
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

/// Whether an IPv6 address also accepts IPv4: `[::]` does, unless the list has an IPv4 address with the same port.
fn is_dual(address: SocketAddr, all: &[SocketAddr]) -> bool {
    let clashes = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port() && other.port() != 0;
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !all.iter().any(clashes)
}

#[cfg(test)]
mod tests;
