//! What a store keeps beside the publications of rooms: sessions, created rooms with their members, invites and receipts,
//! accounts, dead letters. Requests and answers, as values. `store::state` carries the requests out, each as a whole and in
//! order; the rules of roles are there too, so that two cores never decide on different states.

use std::fmt;
use std::sync::Arc;

use super::record::Record;
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::ids::{Epoch, Position, RoomName, Seq, UserName};

/// The id of a session, which a client can resume by. Unguessable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub u128);

impl SessionId {
    /// Reads what `Display` writes; `None` for other text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex { u128::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// A session as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSession {
    /// The session's user.
    pub user: UserName,
    /// The machine on which it was opened.
    pub node: Arc<str>,
    /// When it was opened, Unix milliseconds.
    pub opened_at: u64,
}

/// A created room as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRoom {
    /// Who may join.
    pub visibility: Visibility,
    /// The shown title; may be empty.
    pub title: Box<str>,
    /// Number of lasting members.
    pub members: u64,
}

/// Who asks something of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user: UserName,
    /// May do what an owner may, whatever the role: the token says `admin`, or the server asks.
    pub is_admin: bool,
}

/// Something asked of one room. Codes and times are the asker's, so that the same request always has the same effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomAsk {
    /// Which room.
    pub room: RoomName,
    /// Who asks.
    pub actor: Actor,
    /// Unix milliseconds.
    pub at: u64,
    /// What.
    pub act: RoomAct,
}

/// What is asked of one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomAct {
    /// Create the room, with the actor as its owner. Refused `Exists` if it has been created, or has numbered a message.
    Create {
        /// Who may join.
        visibility: Visibility,
        /// At most [`TITLE_BYTES_MAX`](crate::base::limits::TITLE_BYTES_MAX).
        title: Box<str>,
    },
    /// Delete the room with all that is kept of it. By an owner. A room of this name that comes later is another room: it
    /// gets another epoch.
    Delete,
    /// Describe the room: [`RoomDone::Info`]. Of a private room only to its members and admins.
    Info,
    /// Ask whether the actor may join, and with which role. With a valid invite a stranger becomes a lasting member. A room
    /// that was not created lets anyone in, and an invite to it is invalid.
    Enter {
        /// The code of an invite.
        invite: Option<Box<str>>,
    },
    /// Keep an invite. By an admin.
    Invite {
        /// Its code.
        code: Box<str>,
        /// How often it can be used; 0: without bound.
        uses_max: u32,
        /// Until when, Unix milliseconds.
        expires_at: u64,
    },
    /// Give a user a role, and make the user a lasting member. Only an owner gives or takes the roles admin and owner; an
    /// admin makes members. The last owner cannot be given another role.
    SetRole {
        /// Who gets it.
        user: UserName,
        /// Which.
        role: Role,
    },
    /// End a lasting membership: another's by an admin (of admins and owners: by an owner), one's own by anybody. The last
    /// owner cannot go. In a room that was not created nothing is kept, and only `is_admin` is allowed.
    Remove {
        /// Whose.
        user: UserName,
    },
    /// Keep the actor's receipt: the highest seq of each kind, at most the room's head.
    Receipt {
        /// Of which kind.
        kind: ReceiptKind,
        /// Up to here.
        seq: Seq,
    },
    /// Read a user's receipt: [`RoomDone::Receipt`].
    FindReceipt {
        /// Of which kind.
        kind: ReceiptKind,
    },
}

/// What was asked of one room is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomDone {
    /// Created.
    Created,
    /// Deleted.
    Deleted,
    /// The room.
    Info {
        /// `None`: the room was not created.
        room: Option<KeptRoom>,
        /// The actor's role.
        role: Option<Role>,
        /// Its numbering and head, if anything is kept.
        head: Option<Position>,
    },
    /// The actor may join.
    Entered {
        /// The actor's role; `None`: no lasting member.
        role: Option<Role>,
        /// The actor has become a lasting member by this.
        is_new: bool,
    },
    /// The invite is kept.
    Invited,
    /// The role is given.
    RoleSet,
    /// The membership has ended, if there was one.
    Removed,
    /// The receipt that is kept; 0: none.
    Receipt {
        /// Up to here.
        seq: Seq,
    },
}

/// Why what was asked of a room is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomRefusal {
    /// There is no created room of this name.
    NotFound,
    /// There is one already, or messages of that name.
    Exists,
    /// The actor's role does not allow it.
    Forbidden,
    /// The room would be left without an owner.
    LastOwner,
    /// The invite is unknown, used up or expired.
    InviteInvalid,
    /// A bound is reached: lasting members or invites of a room, rooms of a user.
    Full,
}

/// One room of a user's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRoom {
    /// Its name.
    pub room: RoomName,
    /// The user's role.
    pub role: Role,
    /// The room's head.
    pub head_seq: Seq,
    /// The user's receipt of kind `read`.
    pub read_seq: Seq,
}

/// An account of mode `accounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAccount {
    /// Its user.
    pub user: UserName,
    /// The shown name.
    pub name: Option<Box<str>>,
    /// The password's hash in the PHC string format.
    pub password_hash: Box<str>,
    /// When it was made, Unix milliseconds.
    pub created_at: u64,
    /// An operator has locked it.
    pub is_locked: bool,
}

/// Something asked of the accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountAsk {
    /// Keep a new account: [`AccountDone::Done`], or `Exists`.
    Add(KeptAccount),
    /// [`AccountDone::Found`].
    Find(UserName),
    /// Replace a password's hash. [`AccountDone::Done`], or `Unknown`.
    SetPassword(UserName, Box<str>),
    /// Lock or unlock. [`AccountDone::Done`], or `Unknown`.
    SetLocked(UserName, bool),
    /// The accounts above a name, in the order of names: [`AccountDone::Listed`].
    List {
        /// The last name of the page before.
        after: Option<UserName>,
        /// Most accounts.
        limit: u32,
    },
    /// The key that signs tokens. The first one offered is kept for good: [`AccountDone::SigningKey`].
    SigningKey([u8; 32]),
}

/// What the accounts answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountDone {
    /// Done.
    Done,
    /// There is an account of this user already.
    Exists,
    /// There is none.
    Unknown,
    /// The account; `None`: there is none.
    Found(Option<KeptAccount>),
    /// A page.
    Listed(Vec<KeptAccount>),
    /// The key that is kept.
    SigningKey([u8; 32]),
}

/// Something that could not be kept or delivered, and that nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub id: u64,
    /// When it was given up, Unix milliseconds.
    pub at: u64,
    /// Why.
    pub reason: Box<str>,
    /// Where it was to go.
    pub room: RoomName,
    /// The numbering that it had.
    pub epoch: Epoch,
    /// What.
    pub record: Record,
}

/// Something asked of the dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterAsk {
    /// Keep one; its `id` is given by the store: [`DeadLetterDone::Added`].
    Add(DeadLetter),
    /// Those above an id: [`DeadLetterDone::Listed`].
    List {
        /// The last id of the page before; 0: from the first.
        after: u64,
        /// Most letters.
        limit: u32,
    },
    /// [`DeadLetterDone::Found`].
    Find(u64),
    /// Forget one: [`DeadLetterDone::Dropped`].
    Drop(u64),
}

/// What the dead letters answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterDone {
    /// Its id; `None`: there are too many, and it is lost.
    Added(Option<u64>),
    /// A page.
    Listed(Vec<DeadLetter>),
    /// The letter.
    Found(Option<DeadLetter>),
    /// Whether there was one.
    Dropped(bool),
}

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptAsk {
    /// Keeps a session. No answer: if it fails, a client that returns with the id gets a new session.
    SaveSession {
        /// Its id.
        session: SessionId,
        /// The session.
        kept: KeptSession,
    },
    /// The connection of a session has ended: the session is forgotten after `rooms.session_ttl`. No answer.
    EndSession {
        /// Its id.
        session: SessionId,
        /// Unix milliseconds.
        at: u64,
    },
    /// Looks a session up: [`KeptAnswer::Session`].
    FindSession {
        /// Its id.
        session: SessionId,
        /// Unix milliseconds: one that has expired is not found.
        at: u64,
    },
    /// Something about one room: [`KeptAnswer::Room`].
    Room(RoomAsk),
    /// The rooms of which a user is a lasting member, in the order of names: [`KeptAnswer::Rooms`].
    ListRooms {
        /// Whose.
        user: UserName,
        /// The last name of the page before.
        after: Option<RoomName>,
        /// Most rooms.
        limit: u32,
    },
    /// Something about accounts: [`KeptAnswer::Account`].
    Account(AccountAsk),
    /// Something about dead letters: [`KeptAnswer::DeadLetter`].
    DeadLetter(DeadLetterAsk),
}

impl KeptAsk {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_read(&self) -> bool {
        match self {
            KeptAsk::SaveSession { .. } | KeptAsk::EndSession { .. } => false,
            KeptAsk::FindSession { .. } | KeptAsk::ListRooms { .. } => true,
            KeptAsk::Room(RoomAsk { act, .. }) => {
                matches!(act, RoomAct::Info | RoomAct::Enter { invite: None } | RoomAct::FindReceipt { .. })
            }
            KeptAsk::Account(ask) => matches!(ask, AccountAsk::Find(_) | AccountAsk::List { .. }),
            KeptAsk::DeadLetter(ask) => matches!(ask, DeadLetterAsk::List { .. } | DeadLetterAsk::Find(_)),
        }
    }

    /// Whether it gets an answer.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !matches!(self, KeptAsk::SaveSession { .. } | KeptAsk::EndSession { .. })
    }
}

/// An answer of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptAnswer {
    /// A session; `None` if the store does not know it.
    Session(Option<KeptSession>),
    /// What was asked of a room.
    Room(Result<RoomDone, RoomRefusal>),
    /// A page of rooms.
    Rooms(Vec<ListedRoom>),
    /// What was asked of the accounts.
    Account(AccountDone),
    /// What was asked of the dead letters.
    DeadLetter(DeadLetterDone),
    /// The store failed.
    Unavailable {
        /// When to ask again.
        retry_after_ms: u64,
    },
}
