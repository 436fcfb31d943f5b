//! Calls of the service thread that wait for a core's engine: which answer goes to whom. The engine knows tokens alone.

use std::fmt;

use slab::Slab;

use crate::base::ids::CoreId;
use crate::engine::call::CallAnswer;
use crate::engine::tokens::{TokenPart, count_of};

/// Takes the answer of one call. Dropped without it when the core ends before it has answered.
pub struct Reply(Box<dyn FnOnce(CallAnswer) + Send>);

impl Reply {
    /// `take` runs on the core's thread: it must not wait.
    #[must_use]
    pub fn new(take: impl FnOnce(CallAnswer) + Send + 'static) -> Self {
        Self(Box::new(take))
    }

    /// Gives the answer.
    pub fn answer(self, answer: CallAnswer) {
        (self.0)(answer);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// The calls of one core that have not been answered. As many as the engine lets wait: most are answered in their turn,
/// and those that wait for a link or a store are under its bounds.
#[derive(Debug)]
pub(super) struct Calls {
    core: CoreId,
    replies: Slab<Reply>,
}

impl Calls {
    pub fn new(core: CoreId) -> Self {
        Self { core, replies: Slab::new() }
    }

    /// The token of a new call.
    pub fn add(&mut self, reply: Reply) -> u64 {
        TokenPart::Calls.token(self.core, self.replies.insert(reply) as u64)
    }

    /// Hands the answers out.
    pub fn answer(&mut self, answers: &mut Vec<(u64, CallAnswer)>) {
        for (token, answer) in answers.drain(..) {
            let reply = usize::try_from(count_of(token)).ok().and_then(|place| self.replies.try_remove(place));
            debug_assert!(reply.is_some(), "a call is answered once");
            if let Some(reply) = reply {
                reply.answer(answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn each_call_gets_its_own_answer() {
        let (sender, receiver) = bounded(8);
        let mut calls = Calls::new(CoreId(1));
        let tokens = [0, 1].map(|number| {
            let sender = sender.clone();
            calls.add(Reply::new(move |answer| sender.send((number, answer)).expect("room for it")))
        });
        let ended = |count| CallAnswer::Ended { count, next: None };
        calls.answer(&mut vec![(tokens[1], ended(11)), (tokens[0], ended(10))]);
        for expected in [(1, 11), (0, 10)] {
            let (number, CallAnswer::Ended { count, .. }) = receiver.try_recv().expect("answered") else {
                panic!("another")
            };
            assert_eq!((number, count), expected);
        }
        assert!(calls.replies.is_empty());
        let dropped = calls.add(Reply::new(move |_| drop(sender)));
        assert!(tokens.contains(&dropped), "tokens of answered calls are given out again");
        drop(calls);
        assert!(receiver.recv().is_err(), "whoever waits is told by the end of the channel");
    }
}
