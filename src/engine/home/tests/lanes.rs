//! What a home does while another core's lane is full.

use super::limits::text;
use super::*;
use crate::base::ids::UserName;
use crate::base::limits::LANE_BYTES_MAX;
use crate::engine::placement::owner_of;
use crate::engine::rates::Rate;
use crate::engine::settings::Limits;
use crate::engine::user::core_of_user;

const CORES: u16 = 3;
/// The core of the connection; its room is on the first core and its user is counted on the last.
const HOME: usize = 1;

struct Three {
    engines: Vec<Engine>,
    now: Now,
    said: String,
}

impl Three {
    fn new() -> Three {
        let limits = Limits { message_rate_per_user: Rate::new(1_000, 1_000), ..Limits::default() };
        let settings = Arc::new(Settings { cores: CORES, limits, ..Settings::for_tests() });
        let engine = |core| Engine::new(settings.clone(), CoreId(core), 1, Arc::default());
        let now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };
        Three { engines: (0..CORES).map(engine).collect(), now, said: String::new() }
    }

    fn handle(&mut self, core: usize, input: Input<'_>) {
        let mut output = Output::default();
        self.engines[core].handle(self.now, input, &mut output);
        self.engines[core].finish_turn(self.now, &mut output);
        for send in output.sends.drain(..) {
            self.said.push_str(&String::from_utf8_lossy(&send.bytes));
            self.engines[core].handle(self.now, Input::Sent { slot: send.slot }, &mut Output::default());
        }
    }

    /// Carries what one core has staged for another. Whether there was anything.
    fn carry(&mut self, from: usize, to: usize) -> bool {
        let mut hops = self.engines[from].take_staged(CoreId(to as u16), Vec::new());
        let has_hops = !hops.is_empty();
        self.handle(to, Input::Hops { from: CoreId(from as u16), hops: &mut hops });
        has_hops
    }

    /// Carries everything until there is nothing; gives what was said.
    fn settle(&mut self) -> String {
        let pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
        while pairs.iter().fold(false, |carried, (from, to)| self.carry(*from, *to) | carried) {}
        std::mem::take(&mut self.said)
    }
}

#[test]
fn what_was_passed_by_a_users_core_does_not_enter_a_full_lane() {
    let is_counted_last = |name: &String| core_of_user(&UserName::new(name).expect("valid"), CORES) == CoreId(2);
    let user = (0..).map(|number| format!("user{number}")).find(is_counted_last).expect("some are");
    let room = (0..).map(|number| format!("room{number}")).find(|room| owner_of(room, CORES) == CoreId(0));
    let room = room.expect("some are");
    let mut three = Three::new();
    three.handle(HOME, accepted(0));
    let head = HEAD.replace("user=ann", &format!("user={user}&room={room}"));
    three.handle(HOME, Input::Received { slot: 0, bytes: &mut head.into_bytes() });
    assert!(three.settle().contains(r#""type":"joined""#));

    let full = |three: &mut Three, bytes| three.engines[HOME].outbound.set_queued_bytes(CoreId(0), bytes);
    let commands = [
        format!(r#"{{"type":"publish","room":"{room}","data":1,"id":1}}"#),
        format!(r#"{{"type":"history","room":"{room}","id":2}}"#),
        format!(r#"{{"type":"join","room":"{room}","id":3}}"#),
        format!(r#"{{"type":"publish","room":"{room}","data":1,"id":4}}"#),
    ];
    for command in &commands {
        three.handle(HOME, Input::Received { slot: 0, bytes: &mut text(command) });
    }
    three.carry(HOME, 2);
    full(&mut three, LANE_BYTES_MAX);
    three.carry(2, HOME);
    assert_eq!(three.engines[HOME].staged_bytes(CoreId(0)), 0, "nothing enters it");
    let said = three.settle();
    assert_eq!(said.matches("overloaded").count(), commands.len(), "{said}");
    for id in 1..=commands.len() {
        assert_eq!(said.matches(&format!(r#""id":{id}"#)).count(), 1, "{id} is answered once: {said}");
    }

    // What comes when there is room again is done; the membership is what it was.
    full(&mut three, 0);
    let again = format!(r#"{{"type":"publish","room":"{room}","data":1,"id":5}}"#);
    three.handle(HOME, Input::Received { slot: 0, bytes: &mut text(&again) });
    let said = three.settle();
    assert!(said.contains(r#""type":"published""#) && said.contains(r#""seq":1"#), "{said}");
    assert!(said.contains(r#""type":"message""#), "a member still: {said}");
}

#[test]
fn questions_leave_room_in_a_lane_for_what_is_published() {
    let room = (0..).map(|number| format!("room{number}")).find(|room| owner_of(room, CORES) == CoreId(0));
    let room = room.expect("some are");
    let mut three = Three::new();
    three.handle(HOME, accepted(0));
    let is_counted_here = |name: &String| core_of_user(&UserName::new(name).expect("valid"), CORES) == CoreId(1);
    let user = (0..).map(|number| format!("user{number}")).find(is_counted_here).expect("some are");
    let head = HEAD.replace("user=ann", &format!("user={user}&room={room}"));
    three.handle(HOME, Input::Received { slot: 0, bytes: &mut head.into_bytes() });
    three.settle();
    let waiting = LANE_BYTES_MAX / 4 * 3;
    three.engines[HOME].outbound.set_queued_bytes(CoreId(0), waiting);
    for (what, more) in [("history", ""), ("join", ""), ("publish", r#","data":1"#)] {
        let command = format!(r#"{{"type":"{what}","room":"{room}","id":1{more}}}"#);
        three.handle(HOME, Input::Received { slot: 0, bytes: &mut text(&command) });
        let said = three.settle();
        assert_eq!(said.contains("overloaded"), what != "publish", "{said}");
    }
}
