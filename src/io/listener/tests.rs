//! Real binds on loopback: shared ports, ports in use, inherited options.

use std::net::{Ipv4Addr, TcpStream};

use socket2::SockRef;

use super::*;

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[test]
fn cores_share_one_free_port() {
    let listeners = ListeningSockets::bind(&[LOOPBACK], 3).expect("binds");
    let port = listeners.addresses[0].port();
    assert_ne!(port, 0);
    assert_eq!(listeners.by_core.len(), 3);
    for core in &listeners.by_core {
        assert_eq!(core[0].local_addr().expect("bound").port(), port);
    }
    // The kernel spreads connections over the sockets: not all 64 reach one core.
    let clients: Vec<_> = (0..64).map(|_| TcpStream::connect(listeners.addresses[0]).expect("connects")).collect();
    let mut busy = 0;
    for core in &listeners.by_core {
        core[0].set_nonblocking(true).expect("set");
        busy += usize::from(core[0].accept().is_ok());
    }
    assert!(busy > 1, "one core got all connections");
    drop(clients);
}

#[test]
fn accepted_sockets_do_not_delay() {
    let listeners = ListeningSockets::bind(&[LOOPBACK], 1).expect("binds");
    let _client = TcpStream::connect(listeners.addresses[0]).expect("connects");
    let (accepted, _) = listeners.by_core[0][0].accept().expect("accepts");
    assert!(accepted.nodelay().expect("asked"), "TCP_NODELAY is inherited from the listener");
}

#[test]
fn a_port_in_use_is_refused_even_if_its_owner_shares_it() {
    let ours = ListeningSockets::bind(&[LOOPBACK], 2).expect("binds");
    let error = ListeningSockets::bind(&ours.addresses, 2).expect_err("in use by a sharing server of the same user");
    assert_eq!(error.error.kind(), io::ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(text.contains(&ours.addresses[0].to_string()) && text.contains("already does"), "{text}");
    drop(ours);
}

#[test]
fn a_port_in_use_without_sharing_is_refused() {
    let other = TcpListener::bind(LOOPBACK).expect("binds");
    let address = other.local_addr().expect("bound");
    assert_eq!(ListeningSockets::bind(&[address], 1).expect_err("in use").address, address);
}

#[test]
fn a_restart_does_not_wait_for_old_connections() {
    let first = ListeningSockets::bind(&[LOOPBACK], 1).expect("binds");
    let addresses = first.addresses.clone();
    let client = TcpStream::connect(addresses[0]).expect("connects");
    let (accepted, _) = first.by_core[0][0].accept().expect("accepts");
    // The server closes first, so the server's port lingers.
    drop(accepted);
    drop(client);
    drop(first);
    ListeningSockets::bind(&addresses, 2).expect("binds again");
}

#[test]
fn an_address_of_another_host_is_named() {
    let address = SocketAddr::from(([192, 0, 2, 1], 8080));
    let error = ListeningSockets::bind(&[address], 1).expect_err("not ours").to_string();
    assert!(error.contains("192.0.2.1:8080") && error.contains("no such address"), "{error}");
}

#[test]
fn ipv6_works_beside_ipv4_on_one_port() {
    let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let six = match ListeningSockets::bind(&[any6], 2) {
        Ok(six) => six,
        Err(error) if error.error.raw_os_error() == Some(libc::EAFNOSUPPORT) => panic!("this test needs IPv6"),
        Err(error) => panic!("{error}"),
    };
    let port = six.addresses[0].port();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("[::] takes IPv4 when nothing else does");
    TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("and IPv6");
    drop(six);
    let both = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))];
    let both = ListeningSockets::bind(&both, 2).expect("each its own");
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("IPv4");
    TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("IPv6");
    assert!(SockRef::from(&both.by_core[1][1]).only_v6().expect("asked"));
}

#[test]
fn inherited_sockets_are_spread_or_shared() {
    let bind = |cores| ListeningSockets::bind(&[LOOPBACK], cores).expect("binds");
    // Three of one address and one of another, for two cores.
    let (three, one) = (bind(3), bind(1));
    let (first, second) = (three.addresses[0], one.addresses[0]);
    let sockets: Vec<TcpListener> = three.by_core.into_iter().chain(one.by_core).flatten().collect();
    sockets.iter().for_each(|socket| socket.set_nonblocking(true).expect("set"));
    let taken = ListeningSockets::inherited(sockets, 2).expect("taken");
    assert_eq!(taken.addresses, [first, second]);
    let addresses = |core: usize| -> Vec<SocketAddr> {
        taken.by_core[core].iter().map(|socket| socket.local_addr().expect("bound")).collect()
    };
    assert_eq!((addresses(0), addresses(1)), (vec![first, first, second], vec![first, second]));
    assert!(taken.by_core.iter().flatten().all(|socket| !SockRef::from(socket).nonblocking().expect("asked")));
    // Every inherited socket belongs to some core.
    let clients: Vec<_> = (0..30).map(|_| TcpStream::connect(first).expect("connects")).collect();
    let mut accepted = 0;
    for socket in taken.by_core.iter().flatten() {
        socket.set_nonblocking(true).expect("set");
        accepted += std::iter::from_fn(|| socket.accept().ok()).count();
    }
    assert_eq!(accepted, clients.len());
}

#[test]
fn accepted_sockets_inherit_the_bound_on_unsent_bytes() {
    let listeners = ListeningSockets::bind(&[LOOPBACK], 1).expect("binds");
    let accept = || {
        let client = TcpStream::connect(listeners.addresses[0]).expect("connects");
        let (accepted, _) = listeners.by_core[0][0].accept().expect("accepts");
        accepted.set_nonblocking(true).expect("set");
        (client, accepted)
    };
    // Bytes that the socket takes for a client that does not read.
    let pushed = |accepted: &mut TcpStream| -> usize {
        let mut total = 0;
        let deadline = std::time::Instant::now() + std::time::Duration::from_millis(500);
        while std::time::Instant::now() < deadline {
            match io::Write::write(accepted, &[7; 16 * 1024]) {
                Ok(count) => total += count,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
        total
    };
    let (_client, mut unbounded) = accept();
    let before = pushed(&mut unbounded);
    listeners.bound_sends(64 * 1024).expect("bounded");
    let (_client, mut bounded) = accept();
    assert_eq!(SockRef::from(&bounded).tcp_notsent_lowat().expect("asked"), 64 * 1024);
    let after = pushed(&mut bounded);
    // Both figures include the client's receive buffer.
    assert!(after < 1 << 20 && before > 2 * after, "{before} bytes without a bound, {after} with");
}
