//! What one core says to another, one way: to the owner of a room, to the home of a connection, to where an
//! address is counted, to the core of a user.
//!
//! A lane is FIFO, so what leaves an owner for a home arrives in that order: `Joined`, then exactly the deliveries after
//! it. Each variant says who sends it, who receives it, what happens when the lane is full, and who repairs that.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::ids::{ConnId, Position, RoomName, Seq, UserName};
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
    /// A connection wants to be a member. Answered by `Joined` or `Refused`. Refused `overloaded` too while the joiner's
    /// core is behind in this room and its lane cannot take what it missed: the repair that comes later would give the
    /// new member messages that its `Joined` already stands for.
    /// Lane full: not sent; the home answers `overloaded`.
    Join {
        /// Which room.
        room: RoomName,
        /// Who.
        member: MemberRef,
        /// Whether the user is away on this connection.
        away: bool,
        /// Whether this connection is a member already: then nothing but a fresh `Joined` is wanted. Where the owner has
        /// refused the join that this one counts on, it is refused likewise.
        again: bool,
        /// From where to continue.
        recover: Option<Recover>,
        /// How many of the newest messages are wanted.
        history: Option<u32>,
        /// Where the reply goes.
        reply: ReplyTo,
    },
    /// A member leaves: by command (`reply` is set; answered by `Left`), or its connection has gone. If the join was
    /// refused, a no-op. By command it is done once the member's own publications have come.
    /// Lane full: not sent; the home keeps it and sends it when the lane has room, so it is never lost.
    Leave {
        /// Which room.
        room: RoomName,
        /// Who.
        member: MemberRef,
        /// What the owner was told last of the user's being away on this connection.
        away: bool,
        /// Where the reply goes.
        reply: Option<ReplyTo>,
    },
    /// A member is put out of the room. Answered by `Expelled`; if the join was refused, a no-op.
    /// Lane full: not sent; the home keeps it and sends it when the lane has room, so it is never lost.
    Expel {
        /// Which room.
        room: RoomName,
        /// Who.
        member: MemberRef,
        /// What the owner was told last of the user's being away on this connection.
        away: bool,
        /// Why.
        reason: LeftReason,
    },
    /// A member asks something of the room, or publishes to it. Answered by `Answer`, in order; one whose join was refused
    /// is refused `not_joined`.
    /// Lane full: not sent; the home answers `overloaded`.
    Ask {
        /// Which room.
        room: RoomName,
        /// Which connection.
        conn: ConnId,
        /// Its user.
        user: UserName,
        /// What.
        ask: Ask,
        /// When it arrived, monotonic microseconds.
        arrived_us: u64,
        /// Its mark, if it is a publish that is sampled.
        trace: Option<Mark>,
        /// Where the reply goes.
        reply: ReplyTo,
    },
    /// A member's connection went away or came back. No answer.
    /// Lane full: not sent; the membership stays marked, and the newest state is sent when the lane has room.
    Away {
        /// Which room.
        room: RoomName,
        /// Which connection: of one whose join was refused, nothing changes.
        conn: ConnId,
        /// Its user.
        user: UserName,
        /// The new state; the old one was the opposite.
        away: bool,
    },
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRefusal {
    /// The whole server takes no more upgrades for now.
    ServerRate {
        /// When to try again, milliseconds.
        retry_after_ms: u64,
    },
    /// This address asks too often.
    AddressRate {
        /// When to try again, milliseconds.
        retry_after_ms: u64,
    },
    /// This address has as many connections as it may.
    AddressConnections,
    /// This user has as many connections as one may.
    UserConnections,
}

/// An address has opened connections faster than its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOften {
    /// When to try again, milliseconds.
    pub retry_after_ms: u64,
    /// Whether the connection may stay until its request is answered by 429: as many may as the rate lets in. Those beyond
    /// them are closed without an answer, which costs neither a TLS handshake nor the wait for a head.
    pub is_answered: bool,
}

/// A publication on its way to the members of one core.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The publication.
    pub publication: Arc<Publication>,
    /// Its frames compressed, for members who read so. Not kept in history; a delivery made good from there has none.
    pub variants: Option<Arc<Variants>>,
    /// The publish's mark, if it is sampled; a delivery made good later has none.
    pub trace: Option<Mark>,
}

impl Delivery {
    /// The finished frame for members who read so.
    #[must_use]
    pub fn frame(&self, room: &RoomName, reading: Reading) -> Bytes {
        match self.variants.as_ref().and_then(|variants| variants.get(reading)) {
            Some(frame) => frame.clone(),
            None => self.publication.frame(room, reading.form()),
        }
    }
}

/// From a room's owner to a connection's home.
#[derive(Debug)]
pub enum ToHome {
    /// The join is done; deliveries after `head` follow on this lane.
    /// Lane full: the join is `Refused` in its place.
    Joined {
        /// Which room.
        room: RoomName,
        /// Whose.
        conn: ConnId,
        /// The room's numbering and head.
        head: Position,
        /// Whether `messages` is exactly what was missed.
        recovered: bool,
        /// Oldest first.
        messages: Vec<Arc<Publication>>,
        /// Users present.
        members: u64,
        /// Where the reply goes.
        reply: ReplyTo,
    },
    /// The leave is done. Lane full: staged all the same (one for each membership).
    Left {
        /// Which room.
        room: RoomName,
        /// Whose.
        conn: ConnId,
        /// Where the reply goes.
        reply: ReplyTo,
    },
    /// The member has been put out. Lane full: staged all the same (one for each membership).
    Expelled {
        /// Which room.
        room: RoomName,
        /// Whose.
        conn: ConnId,
        /// Why.
        reason: LeftReason,
    },
    /// The answer to an `Ask`. Lane full: staged all the same (one for each ask taken); in place of a page, which is large,
    /// a refusal.
    Answer {
        /// Which room.
        room: RoomName,
        /// Whose.
        conn: ConnId,
        /// What.
        answer: Answer,
        /// Where the reply goes.
        reply: ReplyTo,
    },
    /// A join was refused: it made no member, and the home forgets the membership it prepared, unless an earlier join made
    /// one. Lane full: staged all the same (one for each join taken).
    JoinRefused {
        /// Which room.
        room: RoomName,
        /// Whose.
        conn: ConnId,
        /// Why.
        refusal: Refusal,
        /// Where the reply goes.
        reply: ReplyTo,
    },
    /// An upgrade is within the limits of its address and of the server. Lane full: staged all the same (one for each
    /// question).
    ConnectAdmitted {
        /// Whose.
        conn: ConnId,
        /// The address for which the connection has been counted, if it has: to be told when it ends.
        counted: Option<IpAddr>,
    },
    /// A connection is one too many for the rate of its address. Lane full: staged all the same (at most one for each
    /// `Connected`).
    TooOften {
        /// Which.
        conn: ConnId,
        /// How far over the rate it is.
        too_often: TooOften,
    },
    /// A user may have this connection; it has been counted. Lane full: staged all the same (one for each question).
    UserAdmitted {
        /// Whose.
        conn: ConnId,
        /// The user.
        user: UserName,
    },
    /// An upgrade is over a limit; nothing is counted for it any more. Lane full: staged all the same (one for each
    /// question).
    ConnectRefused {
        /// Whose.
        conn: ConnId,
        /// Why.
        refusal: ConnectRefusal,
    },
    /// What a home had passed by the core of its user, less the publishes over their user's limit: the home sends it to the room's
    /// owner, or refuses it where that lane is full. Lane full: staged all the same (one for each hop passed).
    Passed {
        /// What.
        hop: Box<ToOwner>,
    },
    /// A numbered publication for all members on that core. Seqs come without holes within an epoch, but after `Gap`.
    /// Lane full: put off. The owner notes that the core is behind and, at a later turn, sends what it missed from
    /// history in order, or `Gap` for what history no longer holds.
    Deliver {
        /// Which room.
        room: RoomName,
        /// What.
        delivery: Delivery,
    },
    /// A publication without a number, for all members on that core.
    /// Lane full: dropped and counted; nobody repairs it.
    Push {
        /// Which room.
        room: RoomName,
        /// In the forms that have members there.
        frames: Frames,
        /// The same compressed, for members who read so.
        variants: Option<Arc<Variants>>,
        /// A connection that asked to be spared.
        except: Option<ConnId>,
    },
    /// Who is there changed, for all members on that core.
    /// Lane full: put off. The owner notes what the core has missed and sends the newest state at a later tick.
    News {
        /// Which room.
        room: RoomName,
        /// What: for members who cannot be told now.
        news: Arc<News>,
        /// The same in the forms that have members there.
        frames: Frames,
        /// The same compressed, for members who read so.
        variants: Option<Arc<Variants>>,
    },
    /// Members on that core will not get these. Lane full: put off like `Deliver`, and covers more by then.
    Gap {
        /// Which room.
        room: RoomName,
        /// First missing.
        from: Seq,
        /// Last missing.
        to: Seq,
    },
    /// The room's numbering is another one from here: each member is pushed a `joined`. Deliveries after `head` follow.
    /// Lane full: put off like `Deliver`.
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

/// From a connection's home to the core where its address or the server as a whole is counted.
#[derive(Debug)]
pub enum ToLimiter {
    /// A socket has come. Answered by `TooOften` if it is over the rate of its address, otherwise not at all: whatever is
    /// asked for it later rides behind this, so its answer comes behind that one. To the core of the address.
    /// Lane full: not sent, and the socket is not counted; how many there may be is bounded all the same.
    Connected {
        /// Which.
        conn: ConnId,
        /// Of its client.
        address: IpAddr,
    },
    /// An upgrade was asked for. Answered by `ConnectAdmitted` or `ConnectRefused`, by way of `ConnectServer` where the
    /// whole server's rate is limited. To the core of the address.
    /// Lane full: not sent; the home refuses the upgrade.
    Connect {
        /// Whose.
        conn: ConnId,
        /// Of its client.
        address: IpAddr,
    },
    /// An upgrade that is within the limits of its address. To the first core.
    /// Lane full: staged all the same (one for each `Connect`).
    ConnectServer {
        /// Whose.
        conn: ConnId,
        /// Of its client.
        address: IpAddr,
        /// Whether it has been counted for its address.
        counted: bool,
    },
    /// A connection that was counted for its address has ended, or was not let in after all.
    /// Lane full: not sent; the home keeps it and sends it when the lane has room. The limiter, which refuses a
    /// connection after it was counted, stages it all the same (one for each connection counted).
    ForgetAddress {
        /// Of its client.
        address: IpAddr,
    },
    /// Tokens of a client that were not good took so many signature checks: as many upgrades less for its address. To the
    /// core of the address.
    /// Lane full: staged all the same (a few for each upgrade or refresh that was admitted).
    ChargeAddress {
        /// Of the client.
        address: IpAddr,
        /// How many.
        upgrades: u32,
    },
    /// Connections that are open already are counted from now on, because a limit has been turned on. To the core of their
    /// addresses.
    /// Lane full: staged all the same (one for each core and change of settings, and one for each connection that was let
    /// in meanwhile).
    Count {
        /// Connections of each address.
        addresses: Vec<(IpAddr, u32)>,
    },
}

/// From a connection's home to the core of its user.
#[derive(Debug)]
pub enum ToUser {
    /// A user opens a connection. Answered by `UserAdmitted` or `ConnectRefused`.
    /// Lane full: not sent; the home refuses the upgrade.
    Register {
        /// Whose.
        conn: ConnId,
        /// The user.
        user: UserName,
    },
    /// A connection that was counted for its user has ended, or was not let in after all.
    /// Lane full: not sent; the home keeps it and sends it when the lane has room.
    Forget {
        /// The user.
        user: UserName,
    },
    /// Connections that are open already are counted from now on, because a limit has been turned on.
    /// Lane full: staged all the same (one for each core and change of settings, and one for each connection that was let
    /// in meanwhile).
    Count {
        /// Connections of each user.
        users: Vec<(UserName, u32)>,
    },
    /// All that a connection says to rooms while its user's publishes are counted on another core than its home: what
    /// must stay in order rides one lane. Comes back by `Passed`, in order; a publish over the limit is answered by
    /// `Refused` instead. Lane full: as the hop that is passed says.
    Pass {
        /// What.
        hop: Box<ToOwner>,
    },
}

impl ToOwner {
    /// Which room it is for.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        match self {
            ToOwner::Join { room, .. }
            | ToOwner::Leave { room, .. }
            | ToOwner::Expel { room, .. }
            | ToOwner::Ask { room, .. }
            | ToOwner::Away { room, .. } => room,
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn conn(&self) -> ConnId {
        match self {
            ToOwner::Join { member, .. } | ToOwner::Leave { member, .. } | ToOwner::Expel { member, .. } => member.conn,
            ToOwner::Ask { conn, .. } | ToOwner::Away { conn, .. } => *conn,
        }
    }
}

impl Hop {
    /// Bytes that the hop takes and keeps alive: what it is charged with.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // Their history has them.
        fn all(messages: &[Arc<Publication>]) -> usize {
            size_of_val(messages)
        }
        fn asked(hop: &ToOwner) -> usize {
            if let ToOwner::Ask { ask, .. } = hop { ask.bytes() } else { 0 }
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
            // Each user's place in the list costs less than the frames that name it.
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

// A batch of hops is moved between cores by value; two cache lines each keep that cheap.
const _: () = assert!(size_of::<Hop>() <= 192, "box the large parts of a hop");
