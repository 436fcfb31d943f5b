//! Peers that end their streams and still read, and sockets that io can no longer read.

use super::limits::{Two, head};
use super::*;
use crate::base::causes::{ENDS, End};
use crate::base::ids::UserName;
use crate::engine::call::{Call, Whom};
use crate::engine::rates::Rate;
use crate::engine::settings::Limits;

const MASK: [u8; 4] = [1, 2, 3, 4];

fn text(command: &str) -> Vec<u8> {
    client_frame(Opcode::Text, command.as_bytes(), MASK)
}

impl One {
    /// A connection that is open, with everything sent.
    fn opened(&mut self, slot: u32) {
        self.handle(accepted(slot));
        self.receive(slot, HEAD.as_bytes());
        self.turn();
    }

    /// The one send of a turn, which the kernel does not take yet.
    fn send(&mut self) -> Send {
        self.engine.finish_turn(self.now, &mut self.output);
        assert_eq!(self.output.sends.len(), 1, "{:?}", self.output.sends);
        self.output.sends.remove(0)
    }

    fn ended(&mut self) -> u64 {
        let at = ENDS.iter().position(|(_, cause)| *cause == End::Lost.cause()).expect("it is listed");
        self.counters.causes.ends().nth(at).expect("one for each")
    }
}

#[test]
fn whoever_ends_its_stream_behind_a_request_is_answered_before_the_close() {
    let close = client_frame(Opcode::Close, &1000_u16.to_be_bytes(), MASK);
    let requests: [(&str, Vec<u8>, &str); 7] = [
        ("health", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "HTTP/1.1 200"),
        ("not found", b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "HTTP/1.1 404"),
        ("origin", HEAD.replace("Host: a\r\n", "Host: a\r\nOrigin: http://b\r\n").into_bytes(), "HTTP/1.1 403"),
        ("nonsense", b"\x01\x02\r\n\r\n".to_vec(), "HTTP/1.1 400"),
        ("upgrade", HEAD.as_bytes().to_vec(), "HTTP/1.1 101"),
        ("close", [HEAD.as_bytes(), &close].concat(), "HTTP/1.1 101"),
        ("protocol", [HEAD.as_bytes(), &[0xff; 8]].concat(), "HTTP/1.1 101"),
    ];
    for (what, request, answer) in requests {
        let mut one = One::new();
        one.handle(accepted(0));
        one.receive(0, &request);
        one.handle(Input::Ended { slot: 0 });
        assert!(one.output.closes.is_empty(), "{what}");
        let send = one.send();
        assert!(send.bytes.starts_with(answer.as_bytes()) && send.is_last, "{what}: {send:?}");
        let close_code = send.bytes.windows(4).rev().find(|part| part[0] == 0x88).map(|part| [part[2], part[3]]);
        let expected = [("close", 1000), ("protocol", 1002)].iter().find(|(its, _)| *its == what);
        assert_eq!(close_code.map(u16::from_be_bytes), expected.map(|(_, code)| *code), "{what}");
        one.handle(Input::Sent { slot: 0 });
        assert_eq!(one.output.closes, [0], "{what}");
        assert!(one.output.shutdowns.is_empty(), "a close says it all: {what}");
        assert_eq!((one.engine.open_slots(), one.counters.upgrading.get()), (0, 0), "{what}");
    }
}

#[test]
fn whoever_ends_its_stream_without_a_close_frame_gets_what_is_queued() {
    let mut one = One::new();
    one.handle(accepted(0));
    one.receive(0, HEAD.replace("user=ann", "user=ann&room=a").as_bytes());
    one.turn();
    one.receive(0, &text(r#"{"type":"publish","room":"a","id":1,"data":1}"#));
    one.handle(Input::Ended { slot: 0 });
    // It is no connection any more, and its place is free.
    assert_eq!((one.counters.connections.get(), one.counters.members.get(), one.ended()), (0, 0, 1));
    let ended = &one.output.ended[0];
    assert_eq!((ended.code, ended.cause), (None, "connection ended without a close frame"));
    let send = one.send();
    let said = String::from_utf8_lossy(&send.bytes).into_owned();
    assert!(send.is_last && said.contains("\"published\"") && said.contains("\"message\""), "{said}");
    assert!(!send.bytes.contains(&0x88), "no close frame that it could not answer");
    one.handle(Input::Sent { slot: 0 });
    assert_eq!(one.output.closes, [0]);
    let room = one.engine.budget.used();
    // With nothing queued, or with a request that can never be complete, the close is immediate.
    one.output.closes.clear();
    one.opened(1);
    one.handle(Input::Ended { slot: 1 });
    one.handle(accepted(2));
    one.handle(Input::Ended { slot: 2 });
    one.handle(accepted(3));
    one.receive(3, &HEAD.as_bytes()[..40]);
    one.handle(Input::Ended { slot: 3 });
    assert_eq!(one.output.closes, [1, 2, 3]);
    assert_eq!(one.engine.budget.used(), room, "nothing of them is left");
}

#[test]
fn a_half_closed_peer_that_never_reads_is_closed_in_time_and_a_reset_at_once() {
    for resets in [false, true] {
        let mut one = One::new();
        one.opened(0);
        one.receive(0, &text(r#"{"type":"ping","id":1}"#));
        one.handle(Input::Ended { slot: 0 });
        assert!(one.send().is_last);
        one.pass(CLOSE_TIMEOUT_MS - TICK_MS);
        assert!(one.output.closes.is_empty());
        if resets {
            one.handle(Input::Disconnected { slot: 0 });
        } else {
            one.pass(2 * TICK_MS);
        }
        assert_eq!(one.output.closes, [0]);
    }
}

#[test]
fn a_stream_that_ends_while_the_server_closes_shortens_the_wait_only() {
    // Kicked, but the close frame is still to go out.
    let mut one = One::new();
    one.opened(0);
    let whom = Whom::User(UserName::new("ann").expect("valid"));
    one.handle(Input::Call { token: 1, call: Call::Disconnect { whom, from: 0, reason: None } });
    one.handle(Input::Ended { slot: 0 });
    let send = one.send();
    assert!(send.is_last && send.bytes.ends_with(b"forbidden"), "{send:?}");
    one.handle(Input::Sent { slot: 0 });
    assert_eq!(one.output.closes, [0]);
    // The same with the close frame sent, and after a refusal that was sent and followed by a half-close.
    one.output.closes.clear();
    one.opened(1);
    one.receive(1, &[0xff; 8]);
    one.turn();
    assert_eq!(one.output.shutdowns, [1]);
    one.handle(Input::Ended { slot: 1 });
    assert_eq!(one.output.closes, [1]);
    assert_eq!(one.counters.closed.get(), 2, "each is counted once");
}

#[test]
fn an_answer_that_waits_for_another_core_reaches_whoever_has_ended_its_stream() {
    // Some of these addresses and users are counted here, some on the other core.
    for user in ["ann", "bob", "eve", "kim"] {
        for (connections_per_user, answer) in [(2, "HTTP/1.1 101"), (1, "HTTP/1.1 429")] {
            let mut two = Two::new(Limits {
                connections_per_user,
                connections_per_ip: 9,
                connect_rate: Rate::new(1_000, 1_000),
                ..Limits::default()
            });
            two.open(1, 0, user);
            for core in 0..2 {
                let mut output = Output::default();
                let (engine, now) = (&mut two.engines[core], two.now);
                let slot = 1 + core as u32;
                engine.handle(now, accepted(slot), &mut output);
                let early = text(r#"{"type":"ping","id":1}"#);
                let mut bytes = [head(user).as_bytes(), &early].concat();
                engine.handle(now, Input::Received { slot, bytes: &mut bytes }, &mut output);
                engine.handle(now, Input::Ended { slot }, &mut output);
                assert!(output.closes.is_empty(), "{user}");
                // What has been said so far goes out with the rest.
                let said = two.carry(core, output);
                assert!(said.starts_with(answer), "{user}: {said}");
                assert_eq!(said.contains("\"pong\""), answer.ends_with("101"), "early bytes are served: {said}");
                assert_eq!(two.closed, [slot], "{user}");
                two.closed.clear();
            }
            two.handle(1, Input::Disconnected { slot: 0 });
            assert_eq!(two.engines.each_ref().map(Engine::open_slots), [0, 0]);
            two.expect_nothing_counted(user);
        }
    }
}

/// Brings a connection somewhere.
type SocketStage<'a> = &'a dyn Fn(&mut One);

#[test]
fn whatever_io_can_no_longer_read_is_half_closed_and_waited_for() {
    let kicked = |one: &mut One| {
        one.opened(0);
        let whom = Whom::User(UserName::new("ann").expect("valid"));
        one.handle(Input::Call { token: 1, call: Call::Disconnect { whom, from: 0, reason: None } });
    };
    let stages: [(&str, SocketStage<'_>); 6] = [
        ("nothing heard", &|one| one.handle(accepted(0))),
        ("half a head", &|one| {
            one.handle(accepted(0));
            one.receive(0, &HEAD.as_bytes()[..40]);
        }),
        ("open", &|one| one.opened(0)),
        ("a send under way", &|one| {
            one.opened(0);
            one.receive(0, &text(r#"{"type":"ping","id":1}"#));
            one.send();
        }),
        ("closing", &kicked),
        ("refused", &|one| {
            one.handle(accepted(0));
            one.receive(0, b"GET /nowhere HTTP/1.1\r\n\r\n");
        }),
    ];
    for (stage, prepare) in stages {
        for how in ["ended", "failed", "timeout", "ended before"] {
            let mut one = One::new();
            prepare(&mut one);
            if how == "ended before" && stage != "refused" && stage != "closing" {
                continue;
            }
            if how == "ended before" {
                one.handle(Input::Ended { slot: 0 });
            }
            one.handle(Input::Broken { slot: 0 });
            assert_eq!(one.counters.upgrading.get() + one.counters.connections.get(), 0, "{stage}");
            assert!(one.turn().is_empty(), "nothing is sent any more: {stage}");
            if how != "ended before" {
                assert_eq!((&one.output.shutdowns[..], &one.output.closes[..]), (&[0][..], &[][..]), "{stage}");
            }
            match how {
                "ended" => one.handle(Input::Ended { slot: 0 }),
                "failed" => one.handle(Input::Disconnected { slot: 0 }),
                "timeout" => one.pass(CLOSE_TIMEOUT_MS + TICK_MS),
                _ => {}
            }
            assert_eq!(one.output.closes, [0], "{stage}, {how}");
            assert_eq!((one.engine.open_slots(), one.engine.home.lobby.heads.bytes()), (0, 0), "{stage}");
        }
    }
}
