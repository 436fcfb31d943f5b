//! Calls to the cores: which core to ask, and for how long to wait. Never blocks a core.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::OperationError;
use crate::base::codes::ErrorCode;
use crate::base::ids::{CoreId, RoomName, UserName};
use crate::engine::call::{Call, CallAnswer};
use crate::engine::placement::owner_of;
use crate::io::calls::CallReply;
use crate::io::core::CoreHandle;
use crate::io::services::Control;
use crate::wire::protocol::{Answer, Ask, Refusal};

/// The user that the server asks and publishes as, unless a request names another.
pub const SERVER: &str = "server";

/// How long a core may take to answer. The call may still take effect afterwards.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes calls to the cores of this process.
pub trait CallCores: Send + Sync {
    /// The number of cores.
    fn cores(&self) -> u16;

    /// Queues a call. `false` if the core's channel is full or the core has ended: the call and its reply are dropped.
    fn try_call(&self, core: CoreId, call: Call, reply: CallReply) -> bool;
}

impl CallCores for Arc<[CoreHandle]> {
    fn cores(&self) -> u16 {
        u16::try_from(self.len()).expect("the range of server.cores")
    }

    fn try_call(&self, core: CoreId, call: Call, reply: CallReply) -> bool {
        self.get(core.index()).is_some_and(|handle| handle.try_tell(Control::Call { call, reply }).is_ok())
    }
}

/// Where a listing continues, written `core-place`. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub core: u16,
    pub place: u32,
}

impl Cursor {
    pub const START: Cursor = Cursor { core: 0, place: 0 };

    /// Reads the `after` of a request.
    pub fn read(text: Option<&str>) -> Result<Self, OperationError> {
        let Some(text) = text else { return Ok(Self::START) };
        let read = || {
            let (core, place) = text.split_once('-')?;
            Some(Cursor { core: core.parse().ok()?, place: place.parse().ok()? })
        };
        let invalid = || OperationError::bad(format!("`after` is {text:?}; it must be the `next` of the page before"));
        read().ok_or_else(invalid)
    }

    /// As the `next` of a page.
    pub fn text(self) -> String {
        format!("{}-{}", self.core, self.place)
    }
}

/// Asks cores and waits for their answers.
pub(super) struct Caller(Box<dyn CallCores>);

impl Caller {
    pub fn new(cores: impl CallCores + 'static) -> Self {
        Self(Box::new(cores))
    }

    pub fn cores(&self) -> u16 {
        self.0.cores()
    }

    /// Asks one core.
    ///
    /// # Errors
    /// The core refuses, cannot be reached, or does not answer in time.
    pub async fn ask(&self, core: CoreId, call: Call) -> Result<CallAnswer, OperationError> {
        let (sender, receiver) = oneshot::channel();
        // The request may have ended meanwhile, and the receiver with it.
        let reply = CallReply::new(move |answer| drop(sender.send(answer)));
        if !self.0.try_call(core, call, reply) {
            return Err(OperationError::overloaded("too many calls are queued for a core of the server"));
        }
        match timeout(CALL_TIMEOUT, receiver).await {
            Ok(Ok(CallAnswer::Room(Answer::Refused(Refusal { code, message, retry_after_ms })))) => {
                Err(OperationError { retry_after_ms, ..OperationError::of(code, message) })
            }
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(OperationError::unavailable("a core of the server has stopped")),
            Err(_) => {
                let message = "a core of the server did not answer in time; the operation may still take effect";
                Err(OperationError::unavailable(message))
            }
        }
    }

    /// Asks a room's owner as the server.
    pub async fn ask_room(&self, room: RoomName, ask: Ask) -> Result<Answer, OperationError> {
        let server = UserName::new(SERVER).expect("a valid name");
        self.ask_room_as(server, room, ask).await
    }

    /// Asks a room's owner in a user's name.
    pub async fn ask_room_as(&self, from: UserName, room: RoomName, ask: Ask) -> Result<Answer, OperationError> {
        let owner = owner_of(&room, self.cores());
        match self.ask(owner, Call::Room { room, from, ask }).await? {
            CallAnswer::Room(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    /// Scans the places of all cores from a cursor on. `call` asks for a run of places; `take` takes its answer and returns
    /// where to continue on that core, or `None` at its end. The scan stops early when `is_enough` holds after an answer.
    /// Returns where the next page begins, or `None` after the last place.
    pub async fn scan<T>(
        &self,
        from: Cursor,
        into: &mut T,
        call: impl Fn(&T, u32) -> Call,
        take: impl Fn(&mut T, CallAnswer) -> Option<u32>,
        is_enough: impl Fn(&T) -> bool,
    ) -> Result<Option<Cursor>, OperationError> {
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

/// A core gave an answer that belongs to another call: a bug.
pub(super) fn unexpected() -> OperationError {
    tracing::error!("unexpected answer from core");
    OperationError::of(ErrorCode::Internal, "internal error: unexpected answer from a core")
}
