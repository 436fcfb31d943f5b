//! Sockets that are no WebSocket: how fast one address may open them, and who makes way for whom.

use super::limits::{Two, head};
use super::*;
use crate::base::causes::REFUSALS;
use crate::engine::rates::Rate;
use crate::engine::settings::Limits;
use crate::engine::trusted::Trusted;

/// Two connections at once, then one every three seconds.
fn rated() -> Limits {
    Limits { connect_rate_per_ip: Rate::new(1, 3_000), ..Limits::default() }
}

fn refused(counters: &CoreCounters, status: u16, cause: &str) -> u64 {
    let at = REFUSALS.iter().position(|refusal| *refusal == (status, cause)).expect("it is listed");
    counters.causes.refusals().nth(at).expect("one for each")
}

impl One {
    /// What one socket is answered in a turn.
    fn answer(&mut self, slot: u32, request: &[u8]) -> String {
        self.receive(slot, request);
        let sends = self.turn();
        let of_slot = sends.iter().filter(|send| send.slot == slot);
        of_slot.map(|send| String::from_utf8_lossy(&send.bytes).into_owned()).collect()
    }
}

#[test]
fn sockets_without_a_request_count_for_the_rate_of_their_address() {
    let mut one = One::with(Settings { cores: 1, limits: rated(), ..Settings::for_tests() });
    for slot in 0..12 {
        one.handle(accepted(slot));
    }
    // Eight are within four times the rate; two more may stay to be told; whoever comes beyond them is not waited for.
    assert_eq!(one.output.closes, [10, 11]);
    assert_eq!(refused(&one.counters, 0, "rate_limited"), 2);
    assert!(one.answer(0, HEAD.as_bytes()).starts_with("HTTP/1.1 101"));
    let refusal = one.answer(8, HEAD.as_bytes());
    assert!(refusal.starts_with("HTTP/1.1 429") && refusal.contains("Retry-After: 1\r\n"), "{refusal}");
    for slot in [2, 9] {
        assert!(one.answer(slot, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200"));
    }
    assert!(one.answer(1, HEAD.as_bytes()).starts_with("HTTP/1.1 101"), "other requests took nothing of its upgrades");
    let refusal = one.answer(3, HEAD.as_bytes());
    assert!(refusal.starts_with("HTTP/1.1 429") && refusal.contains("Retry-After: 3\r\n"), "{refusal}");
    assert_eq!((one.counters.refused_limit.get(), refused(&one.counters, 429, "rate_limited")), (4, 2));
    // Other addresses have their own rate, and this one has its own again in time.
    one.handle(Input::Accepted { slot: 10, peer: IpAddr::from([192, 0, 2, 2]) });
    assert!(one.answer(10, HEAD.as_bytes()).starts_with("HTTP/1.1 101"));
    one.pass(3_000);
    one.handle(accepted(11));
    assert!(one.answer(11, HEAD.as_bytes()).starts_with("HTTP/1.1 101"));
    for slot in 0..12 {
        one.handle(Input::Disconnected { slot });
    }
    one.pass(10_000);
    one.pass(10_000);
    assert_eq!((one.engine.counted(), one.engine.home.lobby.over_rate()), (0, 0));
}

#[test]
fn the_rate_of_an_address_is_one_on_all_cores_and_no_request_overtakes_it() {
    for last in 1..9 {
        let peer = IpAddr::from([192, 0, 2, last]);
        let mut two = Two::new(rated());
        let mut answers: Vec<String> = Vec::new();
        for slot in 0..6 {
            let core = slot as usize % 2;
            let (engine, now) = (&mut two.engines[core], two.now);
            let mut output = Output::default();
            // The request is there before its core may have heard from the one that counts.
            engine.handle(now, Input::Accepted { slot, peer }, &mut output);
            if output.closes.is_empty() {
                engine.handle(now, Input::Received { slot, bytes: &mut head("ann").into_bytes() }, &mut output);
            }
            answers.push(two.carry(core, output));
        }
        let count = |status: &str| answers.iter().filter(|answer| answer.starts_with(status)).count();
        let silent = answers.iter().filter(|answer| answer.is_empty()).count();
        assert_eq!(count("HTTP/1.1 101"), 2, "{answers:?}");
        assert_eq!(count("HTTP/1.1 429") + silent, 4, "{answers:?}");
        assert!(silent <= 2, "{answers:?}");
        // Silent sockets beyond what is answered are closed whatever core they are on.
        two.closed.clear();
        for slot in 6..20 {
            two.handle(slot as usize % 2, Input::Accepted { slot, peer });
        }
        assert!(two.closed.len() >= 2, "{:?}", two.closed);
        for slot in 0..20 {
            let core = slot as usize % 2;
            if two.engines[core].home.sessions.get(slot).is_some_and(|session| session.phase != Phase::Free) {
                two.handle(core, Input::Disconnected { slot });
            }
        }
        two.expect_nothing_counted("ann");
    }
}

#[test]
fn clients_behind_a_proxy_are_counted_by_their_own_addresses_when_these_are_known() {
    let trusted_proxies = Trusted::new(&["192.0.2.0/24".parse().expect("a network")]);
    let mut one = One::with(Settings { cores: 1, limits: rated(), trusted_proxies, ..Settings::for_tests() });
    let from = |client: &str| HEAD.replace("Host: a\r\n", &format!("Host: a\r\nX-Forwarded-For: {client}\r\n"));
    // The proxy itself is nobody's client, however many it opens and whatever it asks for.
    (0..50).for_each(|slot| one.handle(accepted(slot)));
    assert!(one.output.closes.is_empty());
    for slot in 0..5 {
        assert!(one.answer(slot, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200"));
    }
    // Named by a header of their request, or by the PROXY protocol before it.
    for (first, named) in [(5, false), (20, true)] {
        let status = |one: &mut One, slot: u32, client: [u8; 4]| {
            if named {
                one.handle(Input::Peer { slot, peer: IpAddr::from(client) });
                if one.output.closes.contains(&slot) {
                    return "closed".to_owned();
                }
            }
            let request = if named { HEAD.to_owned() } else { from(&IpAddr::from(client).to_string()) };
            one.answer(slot, request.as_bytes())[9..12].to_owned()
        };
        let host = u8::from(named);
        let statuses: Vec<String> =
            (first..first + 6).map(|slot| status(&mut one, slot, [203, 0, 113, host])).collect();
        assert_eq!(statuses, ["101", "101", "429", "429", "429", "429"]);
        assert_eq!(status(&mut one, first + 6, [203, 0, 113, 7 + host]), "101", "another client");
    }
}

#[test]
fn an_address_that_opens_sockets_without_end_leaves_the_others_theirs() {
    let limits = Limits { connect_rate_per_ip: Rate::new(50, 1_000), ..Limits::default() };
    let mut one = One::with(Settings { cores: 1, limits, sockets_max: 100_000, ..Settings::for_tests() });
    // A slow client from elsewhere, whose request takes all of its time.
    one.handle(Input::Accepted { slot: 0, peer: IpAddr::from([203, 0, 113, 9]) });
    let mut free: Vec<u32> = (1..100_000).rev().collect();
    for _ in 0..(HEAD_TIMEOUT_MS - 1_000) / TICK_MS {
        for _ in 0..2_000 {
            one.handle(accepted(free.pop().expect("slots enough")));
            free.append(&mut one.output.closes);
        }
        one.pass(TICK_MS);
        free.append(&mut one.output.closes);
        one.output.refused.clear();
    }
    assert!(!free.contains(&0) && one.counters.refused_crowded.get() == 0, "the flood does not fill what all share");
    assert!(one.counters.upgrading.get() < 4_000, "{}", one.counters.upgrading.get());
    assert!(one.answer(0, HEAD.as_bytes()).starts_with("HTTP/1.1 101"));
}

#[test]
fn one_bound_holds_for_every_socket_that_is_no_websocket_and_none_that_is_makes_way() {
    let settings =
        Settings { cores: 1, sockets_max: u32::MAX, max_connections_per_core: 1_000, ..Settings::for_tests() };
    let mut one = One::with(settings);
    let half_open = |one: &One| one.engine.home.slots.half_open();
    // The oldest of all are WebSockets: open, and told to go.
    for slot in 0..20 {
        one.handle(accepted(slot));
        one.receive(slot, HEAD.as_bytes());
    }
    one.turn();
    (10..20).for_each(|slot| one.receive(slot, &[0xff; 8]));
    one.turn();
    one.pass(TICK_MS);
    // Then come some that were refused, some whose TLS has failed, and some that say nothing.
    for slot in 20..HALF_OPEN_MAX + 20 {
        one.handle(accepted(slot));
        match slot % 4 {
            0 => one.receive(slot, b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"),
            1 => one.handle(Input::Broken { slot }),
            2 => one.receive(slot, b"GET /ws"),
            _ => {}
        }
        if slot % 512 == 0 {
            one.turn();
            one.now.mono_us += 1_000;
        }
    }
    while !one.turn().is_empty() {}
    assert!(one.output.closes.is_empty());
    assert_eq!(half_open(&one), HALF_OPEN_MAX);
    for slot in HALF_OPEN_MAX + 20..HALF_OPEN_MAX + 2_020 {
        one.handle(accepted(slot));
        assert_eq!(half_open(&one), HALF_OPEN_MAX);
    }
    let closes = std::mem::take(&mut one.output.closes);
    assert_eq!(closes.len(), 2_000);
    assert!(closes.iter().all(|slot| (20..HALF_OPEN_MAX + 20).contains(slot)), "no WebSocket, and nobody who is new");
    for kind in 0..4 {
        let made_way = closes.iter().filter(|slot| *slot % 4 == kind).count();
        assert!((300..700).contains(&made_way), "{made_way} of kind {kind}, where 500 were as old");
    }
    assert_eq!(one.counters.connections.get(), 10);
}
