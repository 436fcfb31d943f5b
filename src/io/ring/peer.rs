//! Owns the memory for peer addresses: one small block per accept in flight, which belongs to the kernel from
//! submission to completion. Never decides whether to keep a connection.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr::NonNull;

/// An address and its length, as accept(2) expects them. The longest address of a TCP socket is an IPv6 address.
#[repr(C)]
struct Written {
    address: MaybeUninit<libc::sockaddr_in6>,
    length: libc::socklen_t,
}

/// One block. The kernel may write into it while an accept with its [`PeerBuffer::pointers`] is in flight: the owner
/// keeps it that long and reads it only afterwards.
pub(super) struct PeerBuffer(NonNull<Written>);

impl PeerBuffer {
    pub(super) fn new() -> PeerBuffer {
        // Zeroed, so that unwritten bytes never show the address of an earlier connection.
        let empty =
            Written { address: MaybeUninit::zeroed(), length: size_of::<libc::sockaddr_in6>() as libc::socklen_t };
        PeerBuffer(NonNull::from(Box::leak(Box::new(empty))))
    }

    /// Pointers for an accept. They stay valid until the block is dropped, even if its owner moves.
    pub(super) fn pointers(&self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        let block = self.0.as_ptr();
        // SAFETY: the block is allocated; only addresses of its fields are taken, without a reference to them.
        unsafe { ((&raw mut (*block).address).cast(), &raw mut (*block).length) }
    }

    /// The peer's address, after the accept has completed. Turns an IPv4-mapped IPv6 address into IPv4. Returns the
    /// unspecified address if the kernel wrote none, which never happens for TCP.
    pub(super) fn into_address(self) -> IpAddr {
        // SAFETY: the block is allocated and, because its accept has completed, ours alone. Every byte of the address
        // is initialized, by zeroes or by the kernel, and any bytes make one.
        let address = unsafe { (*self.0.as_ptr()).address.assume_init() };
        match i32::from(address.sin6_family) {
            libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)).to_canonical(),
            // The four bytes of a `sockaddr_in` lie where this structure has the flow information (ip(7), ipv6(7)).
            libc::AF_INET => IpAddr::V4(Ipv4Addr::from(address.sin6_flowinfo.to_ne_bytes())),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}

impl Drop for PeerBuffer {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak` in `new`, freed once. No accept refers to it: the ring's table drops its entries
        // only at their completion, or not at all (see `Ring::drop`).
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(libc::sockaddr_in6, sin6_flowinfo) == offset_of!(libc::sockaddr_in, sin_addr));
    assert!(offset_of!(libc::sockaddr_in6, sin6_family) == offset_of!(libc::sockaddr_in, sin_family));
};

#[cfg(test)]
mod tests {
    use super::*;

    /// A block as the kernel leaves it.
    fn written(address: libc::sockaddr_in6) -> PeerBuffer {
        let buffer = PeerBuffer::new();
        let (place, _) = buffer.pointers();
        // SAFETY: the block has room for exactly this structure, and nothing else refers to it.
        unsafe { place.cast::<libc::sockaddr_in6>().write(address) };
        buffer
    }

    fn blank() -> libc::sockaddr_in6 {
        libc::sockaddr_in6 {
            sin6_family: 0,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        }
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let v4 = libc::sockaddr_in6 {
            sin6_family: libc::AF_INET as u16,
            sin6_flowinfo: u32::from_ne_bytes([192, 0, 2, 7]),
            ..blank()
        };
        assert_eq!(written(v4).into_address(), IpAddr::from([192, 0, 2, 7]));
        for text in ["2001:db8::1", "::1"] {
            let ip: Ipv6Addr = text.parse().expect("an address");
            let v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                ..blank()
            };
            assert_eq!(written(v6).into_address(), IpAddr::V6(ip));
        }
    }

    #[test]
    fn ipv4_over_ipv6_is_ipv4_and_nothing_is_no_address() {
        let mapped = libc::sockaddr_in6 {
            sin6_family: libc::AF_INET6 as u16,
            sin6_addr: libc::in6_addr { s6_addr: Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets() },
            ..blank()
        };
        assert_eq!(written(mapped).into_address(), IpAddr::from([192, 0, 2, 7]));
        assert_eq!(PeerBuffer::new().into_address(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
}
