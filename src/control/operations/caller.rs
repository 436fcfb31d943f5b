//! From a request to the cores and back: which core is asked, and how long it may take. Never waits on a core's thread.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::refused::Refused;
use crate::base::codes::ErrorCode;
use crate::base::ids::{CoreId, RoomName, UserName};
use crate::engine::call::{Call, CallAnswer};
use crate::engine::placement::owner_of;
use crate::io::calls::Reply;
use crate::io::core::CoreHandle;
use crate::io::services::Control;
use crate::wire::protocol::{Answer, Ask, Refusal};

/// The user in whose name the server itself asks and publishes.
pub const SERVER: &str = "server";

/// A core that has not answered by then is given up on; it may still do what was asked.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The cores of this process, as far as calls go.
pub trait CallCores: Send + Sync {
    /// How many there are.
    fn cores(&self) -> u16;

    /// Gives a call to a core. `false`: its channel is full, or it has ended; the call is dropped with its reply.
    fn try_call(&self, core: CoreId, call: Call, reply: Reply) -> bool;
}

impl CallCores for Arc<[CoreHandle]> {
    fn cores(&self) -> u16 {
        u16::try_from(self.len()).expect("the range of server.cores")
    }

    fn try_call(&self, core: CoreId, call: Call, reply: Reply) -> bool {
        self.get(core.index()).is_some_and(|handle| handle.try_tell(Control::Call { call, reply }).is_ok())
    }
}

/// Where a listing goes on: written `core-place`. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub core: u16,
    pub place: u32,
}

impl Cursor {
    pub const START: Cursor = Cursor { core: 0, place: 0 };

    /// Reads the `after` of a request.
    pub fn read(text: Option<&str>) -> Result<Self, Refused> {
        let Some(text) = text else { return Ok(Self::START) };
        let read = || {
            let (core, place) = text.split_once('-')?;
            Some(Cursor { core: core.parse().ok()?, place: place.parse().ok()? })
        };
        read().ok_or_else(|| Refused::bad("`after` must be the `next` of the answer before"))
    }

    /// As the `next` of an answer.
    pub fn text(self) -> String {
        format!("{}-{}", self.core, self.place)
    }
}

/// Asks cores.
pub(super) struct Caller(Box<dyn CallCores>);

impl Caller {
    pub fn new(cores: impl CallCores + 'static) -> Self {
        Self(Box::new(cores))
    }

    pub fn cores(&self) -> u16 {
        self.0.cores()
    }

    /// One core's answer.
    ///
    /// # Errors
    /// It refuses, cannot be reached, or does not answer in time.
    pub async fn ask(&self, core: CoreId, call: Call) -> Result<CallAnswer, Refused> {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may have given up: then there is nobody to tell.
        let reply = Reply::new(move |answer| drop(sender.send(answer)));
        if !self.0.try_call(core, call, reply) {
            return Err(Refused::overloaded("a core of the server takes no more calls now"));
        }
        match timeout(CALL_TIMEOUT, receiver).await {
            Ok(Ok(CallAnswer::Room(Answer::Refused(Refusal { code, message, retry_after_ms })))) => {
                Err(Refused { retry_after_ms, ..Refused::of(code, message) })
            }
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Refused::unavailable("a core of the server has ended")),
            Err(_) => {
                let message = "a core of the server does not answer; it may still do what was asked";
                Err(Refused::unavailable(message))
            }
        }
    }

    /// The answer of a room's owner to what the server itself asks.
    pub async fn ask_room(&self, room: RoomName, ask: Ask) -> Result<Answer, Refused> {
        let server = UserName::new(SERVER).expect("a valid name");
        self.ask_room_as(server, room, ask).await
    }

    /// The answer of a room's owner to what is asked in a user's name.
    pub async fn ask_room_as(&self, from: UserName, room: RoomName, ask: Ask) -> Result<Answer, Refused> {
        let owner = owner_of(&room, self.cores());
        match self.ask(owner, Call::Room { room, from, ask }).await? {
            CallAnswer::Room(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    /// Goes through the places of all cores from a cursor on. `call` asks for a run of places; `take` takes its answer
    /// and gives where to go on in that core, or `None` at its end. `is_enough` is asked after each answer.
    /// Returns where the next listing would go on; `None`: all places have been gone through.
    pub async fn scan<T>(
        &self,
        from: Cursor,
        into: &mut T,
        call: impl Fn(&T, u32) -> Call,
        take: impl Fn(&mut T, CallAnswer) -> Option<u32>,
        is_enough: impl Fn(&T) -> bool,
    ) -> Result<Option<Cursor>, Refused> {
        let mut cursor = from;
        while cursor.core < self.cores() {
            let answer = self.ask(CoreId(cursor.core), call(into, cursor.place)).await?;
            cursor = match take(into, answer) {
                Some(place) => Cursor { place, ..cursor },
                None => Cursor { core: cursor.core + 1, place: 0 },
            };
            if is_enough(into) {
                return Ok((cursor.core < self.cores()).then_some(cursor));
            }
        }
        Ok(None)
    }
}

/// What a core says that it was not asked.
pub(super) fn unexpected() -> Refused {
    tracing::error!("a core answers what it was not asked");
    Refused::of(ErrorCode::Internal, "the server made a mistake")
}
