//! A dialect of its own whose connections identify themselves by their first message: shows what a further protocol
//! needs, on an engine run by hand.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use roomring::base::codes::ErrorCode;
use roomring::base::counters::CoreCounters;
use roomring::base::ids::CoreId;
use roomring::base::time::Now;
use roomring::engine::Engine;
use roomring::engine::hosts::AllowedHosts;
use roomring::engine::input::Input;
use roomring::engine::output::Output;
use roomring::engine::settings::{
    CreationPolicy, KeepingMode, Limits, NumberingMode, RoomSettings, Settings, SlowPolicy,
};
use roomring::engine::trusted::Trusted;
use roomring::wire::client::{ServerDecoder, client_frame};
use roomring::wire::dialect::{DIALECTS, Dialect, Identifies};
use roomring::wire::form::Form;
use roomring::wire::frame::Opcode;
use roomring::wire::handshake::ForwardedHeader;
use roomring::wire::protocol::{Ask, BadRequest, Command, Publish, ReplyTo, Request};
use roomring::wire::publication::DataKind;

/// Lines of text: first `hello <user>`, then `join <room>` and `say <room> <JSON>`.
static DIALECTS_AND_LINES: [Dialect; 3] = [
    DIALECTS[0],
    DIALECTS[1],
    Dialect {
        subprotocol: "test.v1",
        form: Form::Json,
        read_text: read_line,
        read_binary: |_| Err(unreadable("lines are text")),
        identifies: Identifies::ByMessage,
    },
];

fn unreadable(message: &str) -> BadRequest {
    BadRequest { reply: ReplyTo { id: None, form: Form::Json }, code: ErrorCode::BadCommand, message: message.into() }
}

fn read_line(line: &str) -> Result<Request<'_>, BadRequest> {
    let (word, rest) = line.split_once(' ').ok_or_else(|| unreadable("a line has two words"))?;
    let command = match word {
        "hello" => Command::Identify { token: None, user: Some(rest.into()) },
        "join" => Command::Join { room: rest.into(), recover: None, history: None, invite: None },
        "say" => {
            let (room, json) = rest.split_once(' ').ok_or_else(|| unreadable("say needs a room and JSON"))?;
            let data = json.as_bytes().to_vec().into();
            let publish = Publish { kind: DataKind::Json, data, key: None, echo: true, ephemeral: false };
            Command::Ask { room: room.into(), ask: Ask::Publish(publish) }
        }
        _ => return Err(unreadable("unknown word")),
    };
    Ok(Request { reply: ReplyTo { id: None, form: Form::Json }, command })
}

fn settings() -> Settings {
    let rooms = RoomSettings {
        history_size: 10,
        history_ttl_ms: 60_000,
        numbering_ttl_ms: 0,
        history_on_join: 10,
        history_on_join_max: 10,
        recovery_max: 10,
        slow_policy: SlowPolicy::Disconnect,
        presence: false,
        presence_names_max: 0,
        presence_grace_ms: 0,
        room_message_rate: None,
        create: CreationPolicy::Anyone,
    };
    Settings {
        node: "here".to_owned(),
        cores: 1,
        max_connections: 10,
        max_connections_per_core: 10,
        sockets_max: 20,
        warm_connections: 0,
        dialects: &DIALECTS_AND_LINES,
        max_message_bytes: 65_536,
        echo_path: String::new(),
        allowed_origins: Vec::new(),
        allowed_hosts: AllowedHosts::any(),
        trusted_proxies: Trusted::default(),
        forwarded_header: ForwardedHeader::default(),
        outbox_bytes: 1 << 20,
        rooms_per_connection: 0,
        limits: Limits { connections_per_user: 1, ..Limits::default() },
        memory_budget_bytes: 1 << 30,
        io_bytes_per_connection: 0,
        heartbeat_interval_ms: 25_000,
        heartbeat_timeout_ms: 60_000,
        compression: None,
        rooms: Arc::new(rooms),
        classes: Vec::new(),
        trace_sample: 0,
        numbering: NumberingMode::Own,
        keeping: KeepingMode::None,
        rooms_are_administered: false,
        accounts: None,
    }
}

struct Driven {
    engine: Engine,
    counters: Arc<CoreCounters>,
    output: Output,
    now: Now,
}

impl Driven {
    fn new() -> Driven {
        let counters = Arc::new(CoreCounters::default());
        let engine = Engine::new(Arc::new(settings()), CoreId(0), 1, counters.clone());
        let now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };
        Driven { engine, counters, output: Output::default(), now }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, input, &mut self.output);
    }

    /// Sends bytes from one slot. Returns the bytes sent to each slot in answer.
    fn receive(&mut self, slot: u32, bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.handle(Input::Received { slot, bytes: &mut bytes.to_vec() });
        self.engine.finish_turn(self.now, &mut self.output);
        let sends = std::mem::take(&mut self.output.sends);
        sends.iter().for_each(|send| self.handle(Input::Sent { slot: send.slot }));
        sends.into_iter().map(|send| (send.slot, send.bytes.to_vec())).collect()
    }

    /// The messages of an answer, each with its slot; of a close frame, its code.
    fn say(&mut self, slot: u32, line: &str) -> Vec<(u32, String)> {
        let mut heard = Vec::new();
        for (slot, bytes) in self.receive(slot, &client_frame(Opcode::Text, line.as_bytes(), [1, 2, 3, 4])) {
            let (mut decoder, mut used) = (ServerDecoder::default(), 0);
            while used < bytes.len() {
                let (consumed, message) = decoder.next(&bytes[used..], 1 << 20).expect("a sound server");
                used += consumed;
                let message = message.expect("whole messages");
                let text = match message.opcode {
                    Opcode::Close => u16::from_be_bytes([message.payload[0], message.payload[1]]).to_string(),
                    _ => String::from_utf8_lossy(message.payload).into_owned(),
                };
                heard.push((slot, text));
            }
        }
        heard
    }

    fn upgrade(&mut self, slot: u32, subprotocol: &str) -> String {
        self.handle(Input::Accepted { slot, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) });
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        );
        let answers = self.receive(slot, head.as_bytes());
        answers.into_iter().map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).collect()
    }
}

#[test]
fn a_connection_says_who_it_is_and_then_speaks() {
    let mut driven = Driven::new();
    let answer = driven.upgrade(0, "test.v1");
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("Sec-WebSocket-Protocol: test.v1\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n") && driven.counters.connections.get() == 0, "no push before the first message");
    let [(0, welcome)] = &driven.say(0, "hello ann")[..] else { panic!("one welcome") };
    assert!(welcome.contains(r#""type":"welcome""#) && welcome.contains(r#""user":"ann""#), "{welcome}");
    driven.say(0, "join lobby");
    // A connection with another dialect is in the same room.
    assert!(driven.upgrade(1, "roomring.v1.json").contains("welcome"));
    driven.say(1, r#"{"type":"join","room":"lobby"}"#);
    let heard = driven.say(0, r#"say lobby {"text":"hi"}"#);
    assert_eq!(heard.len(), 2, "{heard:?}");
    for (slot, message) in heard {
        let expected = [r#""type":"message""#, r#""from":"ann""#, r#""data":{"text":"hi"}"#];
        assert!(expected.iter().all(|part| message.contains(part)), "{slot}: {message}");
    }
    let [(0, error)] = &driven.say(0, "dance")[..] else { panic!("one error") };
    assert!(error.contains(r#""type":"error""#) && error.contains("two words"), "{error}");
}

#[test]
fn who_is_not_let_in_is_told_by_a_close_code() {
    let mut driven = Driven::new();
    driven.upgrade(0, "test.v1");
    driven.say(0, "hello ann");
    for (slot, line, code) in [(1, "join lobby", "4401"), (2, "hello", "1002"), (3, "hello ann", "4429")] {
        driven.upgrade(slot, "test.v1");
        let heard = driven.say(slot, line);
        assert_eq!(heard.last(), Some(&(slot, code.to_owned())), "{line}: {heard:?}");
        assert!(driven.say(slot, "hello bob").is_empty(), "it is not listened to any more");
    }
    assert_eq!((driven.counters.connections.get(), driven.counters.refused.get()), (1, 3));
}
