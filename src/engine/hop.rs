//! Hops, the one-way messages between cores: to the owner of a room, the home of a connection, the limiter of an
//! address, the core of a user.
//!
//! A lane is FIFO, so hops from an owner reach a home in order: `Joined`, then exactly the deliveries after it. Each
//! variant documents its sender, its receiver, what happens when the lane is full, and who repairs that.

use std::net::IpAddr;
use std::sync::Arc;

use arcstr::ArcStr;
use bytes::Bytes;

use crate::base::chat::Role;
use crate::base::ids::{ConnId, Position, RoomName, Seq, UserName};
use crate::engine::access::Standing;
use crate::engine::kept::ListedRoom;
use crate::engine::news::News;
use crate::engine::trace::Mark;
use crate::wire::form::Frames;
use crate::wire::protocol::{Answer, Ask, LeftReason, Recover, Refusal, ReplyTo};
use crate::wire::publication::Publication;
use crate::wire::reading::{Reading, Variants};

/// A hop in any direction.
#[derive(Debug)]
pub enum Hop {
    /// For the owner half of the receiving core.
    ToOwner(ToOwner),
    /// For the home half of the receiving core.
    ToHome(ToHome),
    /// For the limiter of the receiving core.
    ToLimiter(ToLimiter),
    /// For the user half of the receiving core.
    ToUser(ToUser),
}

/// A connection as a room's owner knows it.
#[derive(Clone, Debug)]
pub struct MemberRef {
    /// Which connection.
    pub conn: ConnId,
    /// Its user.
    pub user: UserName,
    /// How it reads pushes.
    pub reading: Reading,
}

/// From a connection's home to a room's owner.
#[derive(Debug)]
pub enum ToOwner {
    /// A connection asks to be a member. Answered by `Joined` or `Refused`. Also refused `overloaded` while the
    /// joiner's core is behind in this room and its lane cannot take the missed messages: the later repair would send
    /// the new member messages that its `Joined` already covers.
    /// Lane full: not sent; the home answers `overloaded`.
    Join {
        /// Which room.
        room: RoomName,
        /// The connection.
        member: MemberRef,
        /// Whether the user is away on this connection.
        away: bool,
        /// Whether the connection is a member already, or has a join pending. Then it only gets a fresh `Joined`; if
        /// that earlier join was refused, so is this one.
        again: bool,
        /// The position to recover from.
        recover: Option<Recover>,
        /// Number of the newest messages wanted.
        history: Option<u32>,
        /// The code of an invite.
        invite: Option<ArcStr>,
        /// What the connection's token says of the room.
        standing: Standing,
        /// Identifies the command to answer.
        reply: ReplyTo,
    },
    /// A member leaves: by command (`reply` is set; answered by `Left`), or because its connection has ended. If the
    /// join was refused, a no-op. A leave by command takes effect after the member's own publications.
    /// Lane full: not sent; the home keeps it and sends it when the lane has room, so it is never lost.
    Leave {
        /// Which room.
        room: RoomName,
        /// The connection.
        member: MemberRef,
        /// The away state of the user on this connection, as last sent to the owner.
        away: bool,
        /// Identifies the command to answer.
        reply: Option<ReplyTo>,
    },
    /// Removes a member from the room. Answered by `Expelled`. If the join was refused, a no-op.
    /// Lane full: not sent; the home keeps it and sends it when the lane has room, so it is never lost.
    Expel {
        /// Which room.
        room: RoomName,
        /// The connection.
        member: MemberRef,
        /// The away state of the user on this connection, as last sent to the owner.
        away: bool,
        /// The reason.
        reason: LeftReason,
    },
    /// A member's request to the room, such as a publish. Answered by `Answer`, in order; if the join was refused,
    /// refused `not_joined`.
    /// Lane full: not sent; the home answers `overloaded`.
    Ask {
        /// Which room.
        room: RoomName,
        /// Which connection.
        conn: ConnId,
        /// Its user.
        user: UserName,
        /// The request.
        ask: Ask,
        /// When it arrived, monotonic microseconds.
        arrived_us: u64,
        /// Its trace mark, if it is a sampled publish.
        trace: Option<Mark>,
        /// Identifies the command to answer.
        reply: ReplyTo,
    },
    /// A request about the room that needs no membership ([`Ask::is_for_members`]). Answered by `Answer`, in order.
    /// Lane full: not sent; the home answers `overloaded`.
    Administer {
        /// Which room.
        room: RoomName,
        /// Which connection.
        conn: ConnId,
        /// Its user.
        user: UserName,
        /// The request.
        ask: Ask,
        /// What the connection's token says of the room.
        standing: Standing,
        /// Identifies the command to answer.
        reply: ReplyTo,
    },
    /// A member went away or came back on this connection. No answer.
    /// Lane full: not sent; the membership stays marked, and the newest state is sent when the lane has room.
    Away {
        /// Which room.
        room: RoomName,
        /// The connection. If its join was refused, a no-op.
        conn: ConnId,
        /// Its user.
        user: UserName,
        /// The new state. The old one was the opposite.
        away: bool,
    },
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRefusal {
    /// The whole server is over its upgrade rate.
    ServerRate {
        /// When to try again, milliseconds.
        retry_after_ms: u64,
    },
    /// The address is over its upgrade rate.
    AddressRate {
        /// When to try again, milliseconds.
        retry_after_ms: u64,
    },
    /// The address has the maximum number of connections.
    AddressConnections,
    /// The user has the maximum number of connections.
    UserConnections,
}

/// An address is over its connection rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOften {
    /// When to try again, milliseconds.
    pub retry_after_ms: u64,
    /// Whether the connection may stay until its request is answered by 429. Applies to as many connections as the rate
    /// admits. Further ones are closed without an answer, which saves a TLS handshake and the wait for a head.
    pub is_answered: bool,
}

/// A publication for the members on one core.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The publication.
    pub publication: Arc<Publication>,
    /// Its compressed frames. Not kept in history, so a delivery repaired from there has none.
    pub variants: Option<Arc<Variants>>,
    /// The publish's trace mark, if it is sampled. A repaired delivery has none.
    pub trace: Option<Mark>,
}

impl Delivery {
    /// The finished frame for members with this reading.
    #[must_use]
    pub fn frame(&self, room: &RoomName, reading: Reading) -> Bytes {
        match self.variants.as_ref().and_then(|variants| variants.get(reading)) {
            Some(frame) => frame.clone(),
            None => self.publication.frame(room, reading.form()),
        }
    }
}

/// What the store has found for a connection.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Found {
    /// A session, of this user if there is one, to be resumed from these positions.
    Session { user: Option<UserName>, positions: Box<[(RoomName, Recover)]> },
    /// Rooms of the connection's user.
    Rooms(Vec<ListedRoom>),
}

/// Selects members of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOut {
    /// Everyone.
    All,
    /// The connections of a user.
    User(UserName),
    /// All but those of a user.
    AllBut(UserName),
}

impl PutOut {
    /// Whether a user is selected.
    #[must_use]
    pub fn selects(&self, user: &UserName) -> bool {
        match self {
            PutOut::All => true,
            PutOut::User(own) => own == user,
            PutOut::AllBut(own) => own != user,
        }
    }
}

/// From a room's owner to a connection's home.
#[derive(Debug)]
pub enum ToHome {
    /// The join is done. Deliveries after `head` follow on this lane.
    /// Lane full: the join is `Refused` instead.
    Joined {
        /// Which room.
        room: RoomName,
        /// The connection.
        conn: ConnId,
        /// The room's numbering and head.
        head: Position,
        /// Whether `messages` is exactly what the client missed.
        recovered: bool,
        /// Oldest first.
        messages: Vec<Arc<Publication>>,
        /// Users present.
        members: u64,
        /// The user's role in a created room.
        role: Option<Role>,
        /// Identifies the command to answer.
        reply: ReplyTo,
    },
    /// The leave is done. Lane full: staged anyway (one for each membership).
    Left {
        /// Which room.
        room: RoomName,
        /// The connection.
        conn: ConnId,
        /// Identifies the command to answer.
        reply: ReplyTo,
    },
    /// The member was removed. Lane full: staged anyway (one for each membership).
    Expelled {
        /// Which room.
        room: RoomName,
        /// The connection.
        conn: ConnId,
        /// The reason.
        reason: LeftReason,
    },
    /// The home must expel members on that core: it sends an `Expel` for each. Lane full: staged anyway (one for each
    /// core and for each `Ask` taken that removes somebody).
    PutOut {
        /// Which room.
        room: RoomName,
        /// The members.
        whom: PutOut,
        /// The reason.
        reason: LeftReason,
    },
    /// The answer to an `Ask`. Lane full: staged anyway (one for each ask taken), but a page, which is large, becomes a
    /// refusal.
    Answer {
        /// Which room.
        room: RoomName,
        /// The connection.
        conn: ConnId,
        /// The answer.
        answer: Answer,
        /// Identifies the command to answer.
        reply: ReplyTo,
    },
    /// A join was refused: it made no member. The home forgets the membership that it prepared, unless an earlier join
    /// succeeded. Lane full: staged anyway (one for each join taken).
    JoinRefused {
        /// Which room.
        room: RoomName,
        /// The connection.
        conn: ConnId,
        /// The reason.
        refusal: Refusal,
        /// Identifies the command to answer.
        reply: ReplyTo,
    },
    /// What a connection has looked up, or why nobody could tell. From the user half of the same core, so no lane can be
    /// full. Lane full: never.
    LookedUp {
        /// The connection.
        conn: ConnId,
        /// What was found.
        found: Result<Found, Refusal>,
        /// Identifies the command to answer.
        reply: ReplyTo,
    },
    /// An upgrade is within the limits of its address and of the server. Lane full: staged anyway (one for each
    /// question).
    ConnectAdmitted {
        /// The connection.
        conn: ConnId,
        /// The address that the connection is counted for, if any. Its limiter must be told when the connection ends.
        counted: Option<IpAddr>,
    },
    /// A connection is over the rate of its address. Lane full: staged anyway (at most one for each `Connected`).
    TooOften {
        /// The connection.
        conn: ConnId,
        /// How far over the rate it is.
        too_often: TooOften,
    },
    /// The address may make this request about an account. Lane full: staged anyway (one for each question).
    AttemptAdmitted {
        /// The connection.
        conn: ConnId,
    },
    /// The address has made too many requests about accounts. Lane full: staged anyway (one for each question).
    AttemptRefused {
        /// The connection.
        conn: ConnId,
        /// When to try again, milliseconds.
        retry_after_ms: u64,
    },
    /// A user may have this connection, which is now counted. Lane full: staged anyway (one for each question).
    UserAdmitted {
        /// The connection.
        conn: ConnId,
        /// The user.
        user: UserName,
    },
    /// An upgrade is over a limit. It is no longer counted anywhere. Lane full: staged anyway (one for each question).
    ConnectRefused {
        /// The connection.
        conn: ConnId,
        /// The reason.
        refusal: ConnectRefusal,
    },
    /// A hop that a home sent by way of the core of its user (`Pass`), if it is within the user's limit. The home sends
    /// it to the room's owner, or refuses it if that lane is full. Lane full: staged anyway (one for each hop passed).
    Passed {
        /// The hop.
        hop: Box<ToOwner>,
    },
    /// A numbered publication for all members on that core. Seqs have no holes within an epoch, except after `Gap`.
    /// Lane full: delayed. The owner notes that the core is behind. At a later turn it sends the missed messages from
    /// history in order, or `Gap` for those that history no longer holds.
    Deliver {
        /// Which room.
        room: RoomName,
        /// The publication.
        delivery: Delivery,
    },
    /// A publication without a number, for all members on that core.
    /// Lane full: dropped and counted; nobody repairs it.
    Push {
        /// Which room.
        room: RoomName,
        /// Its frames in the forms of the members there.
        frames: Frames,
        /// The same compressed, for members that read compressed messages.
        variants: Option<Arc<Variants>>,
        /// The publishing connection, if it asked not to receive its own message.
        except: Option<ConnId>,
    },
    /// Presence news for all members on that core.
    /// Lane full: delayed. The owner notes what the core has missed, and sends the newest state at a later tick.
    News {
        /// Which room.
        room: RoomName,
        /// The news, for members whose outbox is full.
        news: Arc<News>,
        /// Its frames in the forms of the members there.
        frames: Frames,
        /// The same compressed, for members that read compressed messages.
        variants: Option<Arc<Variants>>,
    },
    /// Members on that core will not receive these seqs. Lane full: delayed like `Deliver`, and covers more seqs by
    /// then.
    Gap {
        /// Which room.
        room: RoomName,
        /// First missing seq.
        from: Seq,
        /// Last missing seq.
        to: Seq,
    },
    /// The room has a new numbering: each member is pushed a `joined`. Deliveries after `head` follow.
    /// Lane full: delayed like `Deliver`.
    NewEpoch {
        /// Which room.
        room: RoomName,
        /// The new numbering and its head.
        head: Position,
        /// The newest messages, oldest first.
        messages: Vec<Arc<Publication>>,
        /// Users present.
        members: u64,
    },
}

/// From a connection's home to the core that counts the client's `address`, or to the core that counts the whole
/// server.
#[derive(Debug)]
#[allow(missing_docs, reason = "each variant says what its fields are for")]
pub enum ToLimiter {
    /// A socket was accepted. Answered by `TooOften` if it is over the rate of its address, otherwise not at all: the
    /// answer to a later `Connect` follows it on the same lane.
    /// Lane full: not sent, and the socket is not counted; the number of sockets is bounded in any case.
    Connected { conn: ConnId, address: IpAddr },
    /// A client asks for an upgrade. Answered by `ConnectAdmitted` or `ConnectRefused`, by way of `ConnectServer` if
    /// the server has an upgrade rate.
    /// Lane full: not sent; the home refuses the upgrade.
    Connect { conn: ConnId, address: IpAddr },
    /// An upgrade is within the limits of its address. `counted` says whether that address counts it. From the core of
    /// the address to the first core.
    /// Lane full: staged anyway (one for each `Connect`).
    ConnectServer { conn: ConnId, address: IpAddr, counted: bool },
    /// A connection counted for its address has ended, or was not admitted.
    /// Lane full: not sent; the home keeps it and sends it when the lane has room. The limiter of the server, which
    /// refuses connections after they were counted, stages it anyway (one for each connection counted).
    ForgetAddress { address: IpAddr },
    /// A request about an account. Answered by `AttemptAdmitted` or `AttemptRefused`.
    /// Lane full: not sent; the home refuses the request.
    Attempt { conn: ConnId, address: IpAddr },
    /// Signature checks of refused tokens, counted as `upgrades` of their address.
    /// Lane full: staged anyway (a few for each upgrade or refresh that was admitted).
    ChargeAddress { address: IpAddr, upgrades: u32 },
    /// Open connections that are counted from now on, by address, because a limit was turned on.
    /// Lane full: staged anyway (one for each core and change of settings, and one for each connection admitted
    /// meanwhile).
    Count { addresses: Vec<(IpAddr, u32)> },
}

/// From a connection's home to the core of its user.
#[derive(Debug)]
#[allow(missing_docs, reason = "each variant says what its fields are for")]
pub enum ToUser {
    /// A user asks for a connection. Answered by `UserAdmitted` or `ConnectRefused`.
    /// Lane full: not sent; the home refuses the upgrade.
    Register { conn: ConnId, user: UserName },
    /// A connection counted for its user has ended, or was not admitted.
    /// Lane full: not sent; the home keeps it and sends it when the lane has room.
    Forget { user: UserName },
    /// Open connections that are counted from now on, by user, because a limit was turned on.
    /// Lane full: staged anyway (one for each core and change of settings, and one for each connection admitted
    /// meanwhile).
    Count { users: Vec<(UserName, u32)> },
    /// A hop from a connection to a room, if a core other than its home counts its user's publishes. All hops of the
    /// connection go by way of that core, so that they stay in order. Comes back as `Passed`, in order; a publish over
    /// the limit is answered by `Refused` instead.
    /// Lane full: as for the hop inside.
    Pass { hop: Box<ToOwner> },
}

impl ToOwner {
    /// The room that it is for.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        match self {
            ToOwner::Join { room, .. }
            | ToOwner::Leave { room, .. }
            | ToOwner::Expel { room, .. }
            | ToOwner::Ask { room, .. }
            | ToOwner::Administer { room, .. }
            | ToOwner::Away { room, .. } => room,
        }
    }

    /// The connection that it is from.
    #[must_use]
    pub fn conn(&self) -> ConnId {
        match self {
            ToOwner::Join { member, .. } | ToOwner::Leave { member, .. } | ToOwner::Expel { member, .. } => member.conn,
            ToOwner::Ask { conn, .. } | ToOwner::Administer { conn, .. } | ToOwner::Away { conn, .. } => *conn,
        }
    }
}

impl Hop {
    /// Bytes that the hop takes and keeps alive, for the budget.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // History is charged for them.
        fn all(messages: &[Arc<Publication>]) -> usize {
            size_of_val(messages)
        }
        fn asked(hop: &ToOwner) -> usize {
            match hop {
                ToOwner::Ask { ask, .. } | ToOwner::Administer { ask, .. } => ask.bytes(),
                ToOwner::Join { invite: Some(invite), .. } => invite.len(),
                _ => 0,
            }
        }
        fn packed(variants: &Option<Arc<Variants>>) -> usize {
            variants.as_ref().map_or(0, |variants| variants.bytes())
        }
        let more = match self {
            Hop::ToOwner(hop) => asked(hop),
            Hop::ToUser(ToUser::Pass { hop }) | Hop::ToHome(ToHome::Passed { hop }) => {
                size_of::<ToOwner>() + asked(hop)
            }
            Hop::ToHome(ToHome::Deliver { delivery, .. }) => delivery.publication.bytes() + packed(&delivery.variants),
            Hop::ToHome(ToHome::Push { frames, variants, .. }) => frames.len() + packed(variants),
            // The list entry of a user takes less than the frames that name it.
            Hop::ToHome(ToHome::News { frames, variants, .. }) => 2 * frames.len() + packed(variants),
            Hop::ToHome(
                ToHome::Joined { messages, .. }
                | ToHome::NewEpoch { messages, .. }
                | ToHome::Answer { answer: Answer::History { messages, .. }, .. },
            ) => all(messages),
            Hop::ToHome(ToHome::Answer { answer: Answer::Presence { users, .. }, .. }) => size_of_val(&**users),
            _ => 0,
        };
        size_of::<Self>() + more
    }
}

// Hops are moved between cores by value in batches. At three cache lines each, that is cheap.
const _: () = assert!(size_of::<Hop>() <= 192, "box the large parts of a hop");
