//! Rate limits, connection limits and the idle timeout, by the inputs and outputs of engines.

use std::net::Ipv4Addr;

use super::*;
use crate::base::ids::UserName;
use crate::base::places::Places;
use crate::engine::call::{Call, Whom};
use crate::engine::rates::Rate;
use crate::engine::settings::Limits;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn limited(limits: Limits) -> One {
    One::with(Settings { cores: 1, limits, ..Settings::for_tests() })
}

pub(super) fn head(user: &str) -> String {
    HEAD.replace("user=ann", &format!("user={user}&room=a"))
}

pub(super) fn text(command: &str) -> Vec<u8> {
    client_frame(Opcode::Text, command.as_bytes(), [1, 2, 3, 4])
}

fn publish(id: u32) -> Vec<u8> {
    text(&format!(r#"{{"type":"publish","room":"a","id":{id},"data":{id}}}"#))
}

impl One {
    /// Opens a connection; returns its answer.
    fn open(&mut self, slot: u32, user: &str) -> String {
        self.handle(Input::Accepted { slot, peer: PEER });
        self.receive(slot, head(user).as_bytes());
        self.text()
    }

    /// Everything that is sent in a turn.
    fn text(&mut self) -> String {
        self.turn().iter().map(|send| String::from_utf8_lossy(&send.bytes).into_owned()).collect()
    }

    fn say(&mut self, slot: u32, bytes: &[u8]) -> String {
        self.receive(slot, bytes);
        self.text()
    }

    fn counters(&self) -> &CoreCounters {
        &self.engine.counters
    }
}

#[test]
fn publishes_over_the_rate_of_a_connection_are_refused_until_it_rests() {
    let mut one = limited(Limits { message_rate: Rate::new(2, 1_000), ..Limits::default() });
    one.open(0, "ann");
    for id in 1..=4 {
        assert!(one.say(0, &publish(id)).contains(r#""type":"published""#));
    }
    let refused = one.say(0, &publish(5));
    assert!(refused.contains(r#""code":"rate_limited""#) && refused.contains(r#""retry_after_ms":500"#), "{refused}");
    assert!(refused.contains(r#""id":5"#));
    assert!(one.say(0, &text(r#"{"type":"ping","id":6}"#)).contains("pong"), "other commands have their own rate");
    one.pass(500);
    assert!(one.say(0, &publish(7)).contains(r#""seq":5"#), "what was refused took no number");
}

#[test]
fn commands_over_the_rate_are_refused_whatever_they_are() {
    let mut one = limited(Limits { command_rate: Rate::new(1, 1_000), ..Limits::default() });
    one.open(0, "ann");
    assert!(one.say(0, &text("nonsense")).contains("bad_command"));
    assert!(one.say(0, &text(r#"{"type":"ping","id":1}"#)).contains("pong"));
    assert!(one.say(0, &text("nonsense")).contains("rate_limited"));
    assert!(one.say(0, &text(r#"{"type":"ping","id":2}"#)).contains("rate_limited"));
    assert_eq!(one.counters().rate_limited.get(), 2);
}

#[test]
fn a_hundred_refusals_in_a_row_close_and_a_success_begins_anew() {
    let mut one = limited(Limits { message_rate: Rate::new(1, 1_000), ..Limits::default() });
    one.open(0, "ann");
    let mut id = 0;
    let mut flood = |one: &mut One, count: u32| {
        (0..count)
            .map(|_| {
                id += 1;
                one.say(0, &publish(id))
            })
            .collect::<String>()
    };
    let text = flood(&mut one, 2 + 99);
    assert_eq!((text.matches("published").count(), text.matches("rate_limited").count()), (2, 99));
    one.pass(1_000);
    let text = flood(&mut one, 1 + 99);
    assert_eq!((text.matches("published").count(), text.matches("rate_limited").count()), (1, 99));
    assert!(one.output.ended.is_empty());
    let last = flood(&mut one, 1);
    assert!(last.contains("rate_limited") && last.contains("rate limited"), "refused, then closed: {last}");
    assert_eq!(one.output.ended[0].code, Some(crate::base::codes::CloseCode::Rate));
    assert_eq!(one.counters().closed_rate.get(), 1);
}

#[test]
fn the_pace_of_a_connection_that_rests_is_forgotten() {
    let mut one = limited(Limits { message_rate: Rate::new(50, 1_000), ..Limits::default() });
    one.open(0, "ann");
    one.say(0, &publish(1));
    assert_eq!(one.engine.home.paces.len(), 1);
    let heartbeat_ms = Settings::for_tests().heartbeat_interval_ms;
    for _ in 0..=heartbeat_ms / TICK_MS {
        one.pass(TICK_MS);
    }
    assert_eq!(one.engine.home.paces.len(), 0);
}

#[test]
fn a_user_has_one_window_on_all_connections() {
    let mut one = limited(Limits { message_rate_per_user: Rate::new(3, 10_000), ..Limits::default() });
    one.open(0, "ann");
    one.open(1, "ann");
    one.open(2, "bob");
    assert!(one.say(0, &publish(1)).contains("published"));
    assert!(one.say(1, &publish(2)).contains("published"));
    assert!(one.say(0, &publish(3)).contains("published"));
    assert!(one.say(1, &publish(4)).contains("rate_limited"));
    assert!(one.say(2, &publish(5)).contains("published"), "another user");
}

#[test]
fn a_room_carries_so_much() {
    let mut settings = Settings { cores: 1, ..Settings::for_tests() };
    Arc::make_mut(&mut settings.rooms).room_message_rate = Rate::new(1, 1_000);
    let mut one = One::with(settings);
    one.open(0, "ann");
    one.open(1, "bob");
    assert!(one.say(0, &publish(1)).contains("published") && one.say(1, &publish(2)).contains("published"));
    let refused = one.say(1, &publish(3));
    assert!(refused.contains("rate_limited") && refused.contains(r#""retry_after_ms":1000"#), "{refused}");
}

#[test]
fn connections_over_a_limit_are_refused_before_the_upgrade_and_counted_out_when_they_end() {
    let mut one = limited(Limits { connections_per_user: 1, connections_per_ip: 2, ..Limits::default() });
    assert!(one.open(0, "ann").starts_with("HTTP/1.1 101"));
    let refused = one.open(1, "ann");
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("limit_exceeded"), "{refused}");
    assert!(refused.contains("Retry-After: 1\r\n"), "{refused}");
    assert!(one.open(2, "bob").starts_with("HTTP/1.1 101"), "the one refused is no longer counted for its address");
    assert!(one.open(3, "eve").starts_with("HTTP/1.1 429"));
    one.handle(Input::Disconnected { slot: 0 });
    assert!(one.open(4, "ann").starts_with("HTTP/1.1 101"));
    assert_eq!((one.counters().refused_limit.get(), one.counters().refused.get()), (2, 2));
    for slot in [2, 4] {
        one.handle(Input::Disconnected { slot });
    }
    one.turn();
    assert_eq!(one.engine.counted(), 0);
}

#[test]
fn the_rate_of_upgrades_says_when_to_come_back() {
    let mut one = limited(Limits { connect_rate_per_ip: Rate::new(1, 3_000), ..Limits::default() });
    assert!(one.open(0, "a").starts_with("HTTP/1.1 101") && one.open(1, "b").starts_with("HTTP/1.1 101"));
    let refused = one.open(2, "c");
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("Retry-After: 3\r\n"), "{refused}");
    assert!(refused.contains("rate_limited"), "{refused}");
}

#[test]
fn idle_connections_are_closed_and_listeners_are_not_idle() {
    let mut one = limited(Limits { idle_timeout_ms: 1_000, ..Limits::default() });
    one.open(0, "ann");
    one.open(1, "bob");
    one.handle(Input::Accepted { slot: 2, peer: PEER });
    one.receive(2, HEAD.as_bytes());
    one.turn();
    let rest = |one: &mut One, ms: u64| {
        for _ in 0..ms / TICK_MS {
            one.pass(TICK_MS);
        }
        one.text()
    };
    rest(&mut one, 700);
    one.say(0, &publish(1));
    rest(&mut one, 800);
    let ended: Vec<u32> = one.output.ended.drain(..).map(|ended| ended.conn.slot).collect();
    assert_eq!(ended, [2], "who heard a message is not idle");
    let text = rest(&mut one, 1_000);
    assert!(text.contains("idle timeout"), "{text}");
    assert_eq!((one.output.ended.len(), one.counters().closed_idle.get()), (2, 3));
}

impl One {
    /// Other limits hold from now on, for rooms this rate.
    fn change(&mut self, limits: Limits, room_rate: Option<Rate>) {
        let mut settings = Settings { cores: 1, limits, ..Settings::for_tests() };
        Arc::make_mut(&mut settings.rooms).room_message_rate = room_rate;
        self.handle(Input::Settings(Arc::new(settings)));
    }

    /// How many publishes of a connection are carried out.
    fn published(&mut self, slot: u32, count: u32) -> usize {
        (0..count).filter(|id| self.say(slot, &publish(*id)).contains(r#""type":"published""#)).count()
    }
}

#[test]
fn other_limits_hold_at_once_and_close_nobody() {
    let mut one = limited(Limits::default());
    one.open(0, "ann");
    let limits = Limits { connections_per_user: 2, idle_timeout_ms: 1_000, ..Limits::default() };
    one.change(limits, Rate::new(1, 10_000));
    assert!(one.open(1, "ann").starts_with("HTTP/1.1 101"));
    assert!(one.open(2, "ann").starts_with("HTTP/1.1 429"), "who came before is counted");
    one.change(Limits { connections_per_user: 1, ..limits_of(&one) }, Rate::new(1, 10_000));
    assert!(one.output.ended.is_empty(), "nobody is closed");
    one.handle(Input::Disconnected { slot: 1 });
    assert!(one.open(3, "ann").starts_with("HTTP/1.1 429"));
    one.change(Limits { connections_per_user: 0, ..limits_of(&one) }, Rate::new(1, 10_000));
    assert!(one.open(4, "ann").starts_with("HTTP/1.1 101"));
    one.change(Limits { connections_per_user: 3, ..limits_of(&one) }, Rate::new(1, 10_000));
    assert!(one.open(5, "ann").starts_with("HTTP/1.1 101"));
    assert!(one.open(6, "ann").starts_with("HTTP/1.1 429"), "who came while it was off is counted, once");
    for slot in [4, 5] {
        one.handle(Input::Disconnected { slot });
    }
    one.output.ended.clear();
    for _ in 0..20 {
        one.pass(TICK_MS);
    }
    one.turn();
    assert_eq!(one.output.ended.last().map(|ended| (ended.conn.slot, ended.cause)), Some((0, "idle timeout")));
    one.pass(TICK_MS);
    assert_eq!(one.engine.counted(), 0, "everybody counted has been counted out");
}

fn limits_of(one: &One) -> Limits {
    one.engine.home.settings.limits.clone()
}

#[test]
fn every_rate_of_messages_takes_effect_at_once() {
    const HOUR: u64 = 3_600_000;
    type LimitChange = fn(Option<Rate>) -> (Limits, Option<Rate>);
    let changes: [(&str, u64, LimitChange); 4] = [
        ("message_rate", 2, |rate| (Limits { message_rate: rate, ..Limits::default() }, None)),
        ("command_rate", 2, |rate| (Limits { command_rate: rate, ..Limits::default() }, None)),
        ("message_rate_per_user", 1, |rate| (Limits { message_rate_per_user: rate, ..Limits::default() }, None)),
        ("room_message_rate", 2, |rate| (Limits::default(), rate)),
    ];
    for (what, bursts, change) in changes {
        let mut one = limited(Limits::default());
        one.open(0, "ann");
        let set = |one: &mut One, rate: Option<Rate>| {
            let (limits, room_rate) = change(rate);
            one.change(limits, room_rate);
        };
        assert_eq!(one.published(0, 20), 20, "{what}");
        set(&mut one, Rate::new(3, HOUR));
        assert_eq!(one.published(0, 20), 3 * bursts as usize, "{what}, turned on");
        set(&mut one, Rate::new(5, HOUR));
        assert_eq!(one.published(0, 20), 2 * bursts as usize, "{what}, loosened");
        set(&mut one, Rate::new(1_000, HOUR));
        assert_eq!(one.published(0, 20), 20, "{what}, loosened further");
        set(&mut one, Rate::new(3, HOUR));
        let refused = one.say(0, &publish(1));
        assert!(refused.contains("rate_limited"), "{what}, tightened: {refused}");
        let retry_after_ms: u64 = refused
            .split_once(r#""retry_after_ms":"#)
            .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
            .expect("it says when");
        assert!((1..=HOUR).contains(&retry_after_ms), "{what}: {retry_after_ms}");
        set(&mut one, None);
        assert_eq!(one.published(0, 20), 20, "{what}, turned off");
    }
}

/// Two engines whose hops are carried at once.
pub(super) struct Two {
    pub(super) engines: [Engine; 2],
    pub(super) now: Now,
    /// Slots that were closed.
    pub(super) closed: Vec<u32>,
}

impl Two {
    pub(super) fn new(limits: Limits) -> Two {
        Two::with(Settings { cores: 2, limits, ..Settings::for_tests() })
    }

    pub(super) fn with(settings: Settings) -> Two {
        let settings = Arc::new(settings);
        let engine = |core| Engine::new(settings.clone(), CoreId(core), 1, Arc::default());
        let now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };
        Two { engines: [engine(0), engine(1)], now, closed: Vec::new() }
    }

    /// One input to one core, and all that follows from it. Gives what each core sends.
    pub(super) fn handle(&mut self, core: usize, input: Input<'_>) -> String {
        let mut output = Output::default();
        self.engines[core].handle(self.now, input, &mut output);
        self.carry(core, output)
    }

    /// All that follows from what one core asked for. Gives what each core sends.
    pub(super) fn carry(&mut self, core: usize, output: Output) -> String {
        let mut text = String::new();
        let mut outputs = [Output::default(), Output::default()];
        outputs[core] = output;
        loop {
            let mut carried = false;
            for from in 0..2 {
                let to = 1 - from;
                let mut hops = self.engines[from].take_staged(CoreId(to as u16), Vec::new());
                carried |= !hops.is_empty();
                let input = Input::Hops { from: CoreId(from as u16), hops: &mut hops };
                self.engines[to].handle(self.now, input, &mut outputs[to]);
                self.engines[from].finish_turn(self.now, &mut outputs[from]);
                for send in std::mem::take(&mut outputs[from].sends) {
                    text.push_str(&String::from_utf8_lossy(&send.bytes));
                    self.engines[from].handle(self.now, Input::Sent { slot: send.slot }, &mut outputs[from]);
                }
                self.closed.append(&mut outputs[from].closes);
            }
            if !carried {
                return text;
            }
        }
    }

    /// Asserts that nothing is remembered once every window is over.
    pub(super) fn expect_nothing_counted(&mut self, user: &str) {
        self.now.mono_us += 10_000_000;
        for _ in 0..2 {
            self.handle(0, Input::Tick);
            self.handle(1, Input::Tick);
            self.now.mono_us += 10_000_000;
        }
        assert_eq!(self.engines.each_ref().map(|engine| engine.counted()), [0, 0], "{user}");
    }

    pub(super) fn open(&mut self, core: usize, slot: u32, user: &str) -> String {
        self.handle(core, Input::Accepted { slot, peer: PEER });
        self.handle(core, Input::Received { slot, bytes: &mut head(user).into_bytes() })
    }

    fn say(&mut self, core: usize, slot: u32, bytes: &[u8]) -> String {
        self.handle(core, Input::Received { slot, bytes: &mut bytes.to_vec() })
    }
}

#[test]
fn limits_are_exact_over_cores() {
    for user in ["ann", "bob", "eve", "kim"] {
        let mut two = Two::new(Limits {
            connections_per_user: 2,
            connections_per_ip: 5,
            connect_rate: Rate::new(1_000, 1_000),
            message_rate_per_user: Rate::new(5, 1_000),
            ..Limits::default()
        });
        assert!(two.open(0, 0, user).starts_with("HTTP/1.1 101"));
        assert!(two.open(1, 0, user).starts_with("HTTP/1.1 101"));
        assert!(two.open(1, 1, user).starts_with("HTTP/1.1 429"));
        let mut text = String::new();
        for id in 0..10 {
            text.push_str(&two.say(id as usize % 2, 0, &publish(id)));
        }
        let (published, refused) =
            (text.matches(r#""type":"published""#).count(), text.matches("rate_limited").count());
        assert_eq!((published, refused), (5, 5), "{user}: {text}");
        two.handle(1, Input::Disconnected { slot: 0 });
        assert!(two.open(0, 3, user).starts_with("HTTP/1.1 101"), "{user}");
        two.handle(0, Input::Disconnected { slot: 0 });
        two.handle(0, Input::Disconnected { slot: 3 });
        two.expect_nothing_counted(user);
    }
}

#[test]
fn a_users_window_and_connections_that_were_open_before_are_counted_over_cores() {
    for user in ["ann", "bob", "eve", "kim"] {
        let mut two = Two::new(Limits::default());
        assert!(two.open(0, 0, user).starts_with("HTTP/1.1 101"));
        assert!(two.open(1, 0, user).starts_with("HTTP/1.1 101"));
        let limits = Limits {
            connections_per_user: 3,
            connections_per_ip: 4,
            message_rate_per_user: Rate::new(5, 1_000),
            ..Limits::default()
        };
        let settings = Arc::new(Settings { cores: 2, limits, ..Settings::for_tests() });
        // One core goes by the new settings before the other; an upgrade comes in between.
        two.handle(0, Input::Settings(settings.clone()));
        assert!(two.open(0, 1, user).starts_with("HTTP/1.1 101"), "{user}");
        two.handle(1, Input::Settings(settings));
        assert!(two.open(1, 1, user).starts_with("HTTP/1.1 429"), "{user}");
        assert!(two.open(1, 2, "other").starts_with("HTTP/1.1 101"), "{user}");
        assert!(two.open(0, 2, "third").starts_with("HTTP/1.1 429"), "{user}: of the address");
        let text: String = (0..10).map(|id| two.say(id as usize % 2, 0, &publish(id))).collect();
        let published = text.matches(r#""type":"published""#).count();
        assert_eq!((published, text.matches("rate_limited").count()), (5, 5), "{user}: {text}");
        for (core, slot) in [(0, 0), (0, 1), (1, 0), (1, 2)] {
            two.handle(core, Input::Disconnected { slot });
        }
        two.now.mono_us += 2_000_000;
        two.handle(0, Input::Tick);
        two.handle(1, Input::Tick);
        assert_eq!(two.engines.each_ref().map(|engine| engine.counted()), [0, 0], "{user}");
    }
}

#[test]
fn a_publish_that_is_counted_elsewhere_outlives_a_leave_and_a_lost_connection() {
    for user in ["ann", "bob", "eve", "kim"] {
        let mut two = Two::new(Limits { message_rate_per_user: Rate::new(5, 1_000), ..Limits::default() });
        two.open(0, 0, user);
        two.open(0, 1, "listener");
        let leave = text(r#"{"type":"leave","room":"a","id":99}"#);
        let said = two.say(0, 0, &[publish(1), leave].concat());
        assert!(said.contains(r#""type":"published""#) && said.contains(r#""seq":1"#), "{user}: {said}");
        two.open(1, 0, user);
        let mut bytes = publish(2);
        bytes.extend(client_frame(Opcode::Close, &1000_u16.to_be_bytes(), [1, 2, 3, 4]));
        let said = two.say(1, 0, &bytes);
        assert!(said.contains(r#""seq":2"#), "{user}: the listener hears it: {said}");
    }
}

#[test]
fn a_socket_that_ends_while_it_waits_is_counted_nowhere() {
    for user in ["ann", "bob", "eve", "kim"] {
        let limits = Limits { connections_per_user: 2, connections_per_ip: 5, ..Limits::default() };
        let mut two = Two::new(limits);
        let mut output = Output::default();
        for core in 0..2 {
            // The questions of both are under way when the sockets end.
            let (engine, now) = (&mut two.engines[core], two.now);
            engine.handle(now, Input::Accepted { slot: 0, peer: PEER }, &mut output);
            engine.handle(now, Input::Received { slot: 0, bytes: &mut head(user).into_bytes() }, &mut output);
            engine.handle(now, Input::Disconnected { slot: 0 }, &mut output);
        }
        two.handle(0, Input::Tick);
        two.handle(1, Input::Tick);
        assert_eq!(two.engines.each_ref().map(|engine| engine.counted()), [0, 0], "{user}");
    }
}

#[test]
fn who_waited_while_the_server_filled_is_turned_away_and_counted_nowhere() {
    for user in ["ann", "bob", "eve", "kim"] {
        let limits = Limits { connections_per_user: 9, connections_per_ip: 9, ..Limits::default() };
        let settings = Settings { cores: 2, max_connections_per_core: 1, limits, ..Settings::for_tests() };
        let mut two = Two::with(settings);
        let mut output = Output::default();
        let (engine, now) = (&mut two.engines[0], two.now);
        for slot in 0..2 {
            // Both are told that there is room before either is in, where the answer comes from the other core.
            engine.handle(now, Input::Accepted { slot, peer: PEER }, &mut output);
            engine.handle(now, Input::Received { slot, bytes: &mut head(user).into_bytes() }, &mut output);
        }
        two.handle(0, Input::Tick);
        assert_eq!(two.engines[0].open_slots(), 1, "{user}");
        two.handle(0, Input::Disconnected { slot: 0 });
        assert_eq!(two.engines.each_ref().map(|engine| engine.counted()), [0, 0], "{user}");
    }
}

/// Ends the connection in a slot of a core.
type Ending<'a> = &'a dyn Fn(&mut Two, usize, u32);

#[test]
fn the_limit_on_connections_is_exact_over_cores_and_places_come_back_whatever_the_end() {
    let settings = Settings { cores: 2, max_connections: 3, ..Settings::for_tests() };
    let mut two = Two::with(settings.clone());
    let places: Arc<Places> = Arc::default();
    two.engines = two.engines.map(|engine| engine.sharing(places.clone()));
    let at_capacity = |answer: String| {
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Retry-After: 5\r\n"), "{answer}");
    };
    let mut slots = 0..;
    let mut open = |two: &mut Two, core: usize| {
        let slot = slots.next().expect("without end");
        (slot, two.open(core, slot, "ann"))
    };
    // Each kind of end in turn, of a connection on either core: one place comes back, and no more.
    let ends: [Ending<'_>; 5] = [
        &|two, core, slot| drop(two.handle(core, Input::Disconnected { slot })),
        &|two, core, slot| drop(two.say(core, slot, &client_frame(Opcode::Close, &[], [1, 2, 3, 4]))),
        &|two, core, slot| drop(two.say(core, slot, &[0xff; 8])),
        &|two, core, _| {
            let whom = Whom::User(UserName::new("ann").expect("valid"));
            let call = Call::Disconnect { whom, from: 0, reason: None };
            two.handle(core, Input::Call { token: 1, call });
        },
        &|two, core, _| {
            // Silent for the whole heartbeat timeout: it is closed, and so are the other silent ones.
            for _ in 0..=settings.heartbeat_timeout_ms / TICK_MS + 1 {
                two.now.mono_us += TICK_MS * 1_000;
                two.handle(core, Input::Tick);
            }
        },
    ];
    for end in ends {
        for core in 0..2 {
            let (slot, answer) = open(&mut two, core);
            assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
            let others: Vec<(u32, String)> = (0..2).map(|_| open(&mut two, 1 - core)).collect();
            assert!(others.iter().all(|(_, answer)| answer.starts_with("HTTP/1.1 101")), "{others:?}");
            for core in 0..2 {
                at_capacity(open(&mut two, core).1);
            }
            assert_eq!(places.taken(), 3);
            end(&mut two, core, slot);
            assert_eq!(places.taken(), 2);
            let (last, answer) = open(&mut two, core);
            assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
            at_capacity(open(&mut two, 1 - core).1);
            two.handle(core, Input::Disconnected { slot: last });
            for (slot, _) in others {
                two.handle(1 - core, Input::Disconnected { slot });
            }
            assert_eq!(places.taken(), 0);
        }
    }
}

#[test]
fn another_limit_on_connections_holds_for_whoever_comes_and_cuts_nobody() {
    let with = |max_connections| Settings { cores: 1, max_connections, ..Settings::for_tests() };
    let mut one = One::with(with(2));
    let status = |one: &mut One, slot: u32| one.open(slot, "ann")[9..12].to_owned();
    assert_eq!([0, 1, 2].map(|slot| status(&mut one, slot)), ["101", "101", "503"]);
    one.handle(Input::Settings(Arc::new(with(1))));
    assert!(one.output.ended.is_empty(), "nobody is cut");
    one.handle(Input::Disconnected { slot: 0 });
    assert_eq!(status(&mut one, 3), "503", "one is still there, and one is all there may be");
    one.handle(Input::Settings(Arc::new(with(3))));
    assert_eq!([4, 5, 6].map(|slot| status(&mut one, slot)), ["101", "101", "503"]);
}
