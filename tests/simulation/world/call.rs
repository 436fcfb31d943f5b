//! The control address asks in between: questions that change nothing for any client, whatever state a room is in. Each is
//! answered once, by the core that was asked, as long as that lives.

use roomring::base::ids::{RoomName, UserName};
use roomring::base::limits::PAGE_MAX;
use roomring::engine::call::{Call, CallAnswer, ConnOrder, RoomOrder};
use roomring::engine::input::Input;
use roomring::engine::output::Output;
use roomring::engine::placement::owner_of;
use roomring::wire::protocol::{Answer, Ask};

use super::super::link::CoreAt;
use super::super::node::Standing;
use super::{Part, World};

/// How likely a turn has a call.
const CHANCE: f64 = 0.02;

/// How likely it asks for a session.
const SESSION_CHANCE: f64 = 0.2;

/// The most that a listing is asked for here.
const LIMIT_MAX: u64 = 5;

impl World {
    pub(super) fn ask_something(&mut self, at: CoreAt, output: &mut Output) {
        if self.part != Part::Chaos || !self.calls.chance(CHANCE) {
            return;
        }
        let call = self.draw_call(at);
        let token = self.next_token;
        self.next_token += 1;
        let node = &mut self.nodes[at.node];
        let now = node.now(self.now_us);
        let core = &mut node.cores[at.core];
        core.asked.insert(token);
        core.engine.handle(now, Input::Call { token, call }, output);
    }

    fn draw_call(&mut self, at: CoreAt) -> Call {
        let limit = self.calls.range(1, LIMIT_MAX) as u32;
        let name = self.calls.pick(&self.rooms).clone();
        let room = RoomName::new(&name).expect("rooms have valid names");
        let from = UserName::new("server").expect("valid");
        let is_owned = usize::from(owner_of(&name, self.profile.cores).0) == at.core;
        if self.calls.chance(SESSION_CHANCE)
            && let Some(session) = self.nodes[at.node].store.pick_session(self.calls.next())
        {
            return Call::FindSession { session };
        }
        match self.calls.below(7) {
            0 => Call::Rooms { from: 0, limit, order: RoomOrder::Place },
            1 => Call::Rooms { from: 0, limit, order: *self.calls.pick(&[RoomOrder::Members, RoomOrder::Rate]) },
            2 => Call::Connections { from: 0, limit, order: ConnOrder::Queued, user: None, room: None },
            3 => Call::Connections { from: 0, limit, order: ConnOrder::Slot, user: None, room: Some(room) },
            4 if is_owned => Call::Room { room, from, ask: Ask::Presence { after: None, limit } },
            5 if is_owned => {
                let ask = Ask::History { after: None, before: None, limit: PAGE_MAX };
                Call::Room { room, from, ask }
            }
            6 if is_owned => Call::Room { room, from, ask: Ask::Summary },
            _ => Call::Kick { room, user: UserName::new("nobody here").expect("valid"), from: 0 },
        }
    }

    pub(super) fn hear_answers(&mut self, at: CoreAt, output: &mut Output) {
        for (token, answer) in output.answers.drain(..) {
            let was_asked = self.nodes[at.node].cores[at.core].asked.remove(&token);
            self.judge.check(was_asked, || format!("{at:?}: call {token} is answered and was not asked: {answer:?}"));
            let fits = match &answer {
                CallAnswer::Rooms { rooms, .. } => rooms.len() as u64 <= LIMIT_MAX,
                CallAnswer::Connections { connections, .. } => connections.len() as u64 <= LIMIT_MAX,
                CallAnswer::Room(Answer::Presence { total, users }) => users.len() as u64 <= LIMIT_MAX.min(*total),
                CallAnswer::Room(Answer::History { head, first_seq, messages }) => {
                    let seqs: Vec<u64> = messages.iter().map(|message| message.seq).collect();
                    let is_run = seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]);
                    is_run && seqs.iter().all(|seq| (*first_seq..=head.seq).contains(seq))
                }
                CallAnswer::Ended { count, .. } => *count == 0,
                // Whoever asks, asks for one that is kept.
                CallAnswer::Session(found) => !matches!(found, Ok(None)),
                CallAnswer::Room(Answer::Summary(_) | Answer::Refused(_)) => true,
                CallAnswer::Room(_) => false,
            };
            self.judge.check(fits, || format!("{at:?}: call {token} is answered wrongly: {answer:?}"));
        }
    }

    /// Nobody waits for an answer any more.
    pub(super) fn expect_no_calls(&mut self) {
        for node in self.nodes.iter().filter(|node| node.standing == Standing::Up) {
            for core in &node.cores {
                self.judge.check(core.asked.is_empty(), || format!("calls are not answered: {:?}", core.asked));
            }
        }
    }
}
