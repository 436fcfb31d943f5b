//! Owns the PROXY protocol header: removes it from the connections of trusted proxies before TLS and engine see any
//! bytes, and reports the client's address instead. Never times a header out: the engine's limit for the request head
//! starts at the accept and covers the header.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::base::counters::CoreCounters;
use crate::engine::input::Input;
use crate::engine::trusted::Trusted;
use crate::wire::proxy::{Parsed, parse};

/// The headers that one core waits for.
#[derive(Debug)]
pub struct ProxyHeaders {
    /// Proxies that send a header; empty if not configured.
    trusted: Trusted,
    /// The incomplete header of each slot, at most `wire::proxy::V2_BYTES_MAX` bytes.
    awaited: HashMap<u32, Vec<u8>, FixedState>,
    counters: Arc<CoreCounters>,
}

impl ProxyHeaders {
    /// Expects a header on each connection from `trusted`.
    #[must_use]
    pub fn new(trusted: Trusted, counters: Arc<CoreCounters>) -> ProxyHeaders {
        ProxyHeaders { trusted, awaited: HashMap::default(), counters }
    }

    /// Passes an input on, without the header's bytes. Replaces a header by [`Input::Peer`], and a malformed one by
    /// [`Input::Disconnected`]. `hand_on` returns whether the engine closed the slot in response.
    #[inline]
    pub fn pass(&mut self, input: Input<'_>, mut hand_on: impl FnMut(Input<'_>) -> bool) {
        match input {
            Input::Accepted { slot, peer } if !self.trusted.is_empty() => {
                self.accepted(slot, peer);
                hand_on(Input::Accepted { slot, peer });
            }
            Input::Received { slot, bytes } if !self.awaited.is_empty() => self.received(slot, bytes, &mut hand_on),
            other => {
                hand_on(other);
            }
        }
    }

    /// Forgets a closed slot: its next bytes belong to another connection.
    #[inline]
    pub fn forget(&mut self, slot: u32) {
        if !self.awaited.is_empty() {
            self.awaited.remove(&slot);
        }
    }

    fn accepted(&mut self, slot: u32, peer: IpAddr) {
        if self.trusted.contains(peer) {
            self.awaited.insert(slot, Vec::new());
        } else {
            // A connection that ended without the engine's close may have left its entry.
            self.awaited.remove(&slot);
        }
    }

    fn received(&mut self, slot: u32, bytes: &mut [u8], hand_on: &mut impl FnMut(Input<'_>) -> bool) {
        let Some(part) = self.awaited.get_mut(&slot) else {
            hand_on(Input::Received { slot, bytes });
            return;
        };
        let before = part.len();
        // Nearly always the header arrives in one piece, and nothing is copied.
        let parsed = if before == 0 {
            parse(bytes)
        } else {
            part.extend_from_slice(bytes);
            parse(part)
        };
        match parsed {
            Parsed::Incomplete if before == 0 => part.extend_from_slice(bytes),
            Parsed::Incomplete => {}
            Parsed::Complete { used, client } => {
                self.awaited.remove(&slot);
                if let Some(peer) = client
                    && hand_on(Input::Peer { slot, peer })
                {
                    return;
                }
                let rest = &mut bytes[used - before..];
                if !rest.is_empty() {
                    hand_on(Input::Received { slot, bytes: rest });
                }
            }
            Parsed::Malformed(cause) => {
                self.awaited.remove(&slot);
                self.counters.refused_preface.add(1);
                self.counters.causes.refused(0, "preface");
                tracing::debug!(slot, cause, "connection of a trusted proxy closed");
                hand_on(Input::Disconnected { slot });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 4660 80\r\n";
    const PROXY: [u8; 4] = [10, 0, 0, 1];

    /// A client that the engine closes as soon as it learns its address.
    const REFUSED: [u8; 4] = [203, 0, 113, 66];

    /// Inputs that would reach the engine, as text.
    struct PassedOn {
        headers: ProxyHeaders,
        inputs: Vec<String>,
        counters: Arc<CoreCounters>,
    }

    impl PassedOn {
        fn new(networks: &[&str]) -> PassedOn {
            let networks: Vec<_> = networks.iter().map(|text| text.parse().expect("a network")).collect();
            let counters = Arc::new(CoreCounters::default());
            let headers = ProxyHeaders::new(Trusted::new(&networks), counters.clone());
            PassedOn { headers, inputs: Vec::new(), counters }
        }

        fn pass(&mut self, input: Input<'_>) {
            let Self { headers, inputs, .. } = self;
            headers.pass(input, |input| {
                let is_refused = matches!(input, Input::Peer { peer, .. } if peer == IpAddr::from(REFUSED));
                inputs.push(match input {
                    Input::Accepted { slot, peer } => format!("{slot} from {peer}"),
                    Input::Peer { slot, peer } => format!("{slot} is {peer}"),
                    Input::Received { slot, bytes } => format!("{slot}: {}", String::from_utf8_lossy(bytes)),
                    Input::Disconnected { slot } => format!("{slot} ended"),
                    other => format!("{other:?}"),
                });
                is_refused
            });
        }

        fn accept(&mut self, slot: u32, peer: [u8; 4]) {
            self.pass(Input::Accepted { slot, peer: IpAddr::from(peer) });
        }

        fn receive(&mut self, slot: u32, bytes: &[u8]) {
            self.pass(Input::Received { slot, bytes: &mut bytes.to_vec() });
        }

        fn take(&mut self) -> Vec<String> {
            std::mem::take(&mut self.inputs)
        }
    }

    #[test]
    fn a_header_is_removed_however_it_is_cut() {
        let mut passed = PassedOn::new(&["10.0.0.0/8"]);
        let whole = [HEADER, b"GET"].concat();
        for cut in 0..=whole.len() {
            passed.accept(1, PROXY);
            for part in [&whole[..cut], &whole[cut..]].into_iter().filter(|part| !part.is_empty()) {
                passed.receive(1, part);
            }
            let inputs = passed.take();
            assert_eq!(inputs[..2], ["1 from 10.0.0.1", "1 is 203.0.113.9"], "{cut}");
            let rest: String = inputs[2..].iter().map(|input| input.strip_prefix("1: ").expect("bytes")).collect();
            assert_eq!(rest, "GET", "{cut}");
            passed.receive(1, HEADER);
            assert_eq!(
                passed.take(),
                [format!("1: {}", String::from_utf8_lossy(HEADER))],
                "only the first one is a header"
            );
        }
        passed.accept(2, PROXY);
        whole.iter().for_each(|byte| passed.receive(2, &[*byte]));
        assert_eq!(passed.take(), ["2 from 10.0.0.1", "2 is 203.0.113.9", "2: G", "2: E", "2: T"]);
    }

    #[test]
    fn strangers_are_plain_clients() {
        let mut passed = PassedOn::new(&["10.0.0.0/8"]);
        passed.accept(1, PROXY);
        passed.accept(2, [192, 0, 2, 1]);
        passed.receive(2, b"PROXY TCP4 1.1.1.1 2.2.2.2 1 1\r\n");
        assert_eq!(passed.take()[2..], ["2: PROXY TCP4 1.1.1.1 2.2.2.2 1 1\r\n"]);
        let mut off = PassedOn::new(&[]);
        off.accept(1, PROXY);
        off.receive(1, HEADER);
        assert_eq!(off.take().len(), 2);
    }

    #[test]
    fn the_sockets_own_address_may_stay() {
        let mut passed = PassedOn::new(&["10.0.0.0/8"]);
        passed.accept(1, PROXY);
        passed.receive(1, b"PROXY UNKNOWN\r\nGET");
        assert_eq!(passed.take(), ["1 from 10.0.0.1", "1: GET"]);
    }

    #[test]
    fn a_client_refused_by_address_sends_nothing_on() {
        let mut passed = PassedOn::new(&["10.0.0.0/8"]);
        passed.accept(1, PROXY);
        passed.receive(1, b"PROXY TCP4 203.0.113.66 10.0.0.1 4660 80\r\nGET");
        assert_eq!(passed.take(), ["1 from 10.0.0.1", "1 is 203.0.113.66"]);
    }

    #[test]
    fn a_malformed_header_ends_the_connection_and_is_counted() {
        let mut passed = PassedOn::new(&["10.0.0.0/8"]);
        passed.accept(1, PROXY);
        passed.receive(1, b"GET /ws");
        assert_eq!(passed.take(), ["1 from 10.0.0.1", "1 ended"]);
        assert_eq!(passed.counters.refused_preface.get(), 1);
    }

    #[test]
    fn a_slot_that_is_closed_is_forgotten() {
        let mut passed = PassedOn::new(&["10.0.0.0/8"]);
        passed.accept(1, PROXY);
        passed.receive(1, &HEADER[..10]);
        passed.headers.forget(1);
        passed.accept(1, [192, 0, 2, 1]);
        passed.receive(1, b"GET");
        assert_eq!(passed.take()[1..], ["1 from 192.0.2.1", "1: GET"]);
        assert!(passed.headers.awaited.is_empty());
    }
}
