//! Deliberate defects that prove that the checks can fail: hops dropped, repeated, swapped or sent to the wrong room in
//! a lane; frames dropped, repeated or swapped on the way to a client; a store and a link that lie. The engine has no
//! hook for any of them.

use std::sync::Arc;

use roomring::base::ids::RoomName;
use roomring::engine::hop::{Hop, ToHome, ToOwner};
use roomring::wire::protocol::Answer;
use roomring::wire::publication::Publication;

use super::codec;

/// One defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// A `Deliver` is lost in a lane.
    LoseDeliver,
    /// A `Deliver` comes twice.
    RepeatDeliver,
    /// Two deliveries of one room change places in a lane.
    SwapDelivers,
    /// A `Deliver` arrives as another room's.
    WrongRoom,
    /// One core is shown other data than the others.
    OtherData,
    /// From some point on, no `News` arrives.
    LoseNews,
    /// A `Leave` is lost.
    LoseLeave,
    /// A `Joined` is lost.
    LoseJoined,
    /// A `Published` is lost.
    LosePublished,
    /// A `Published` tells the wrong seq.
    WrongSeq,
    /// A frame to a client is lost.
    LoseFrame,
    /// A frame to a client comes twice.
    RepeatFrame,
    /// Two frames to a client change places.
    SwapFrames,
    /// A client gets a frame that was meant for another one.
    WrongClient,
    /// The store loses what it had committed when its node crashes.
    ForgetfulStore,
    /// The link gives one number to two publishes.
    RepeatingLink,
    /// The store leaves a record out of the pages that it reads.
    HolePage,
    /// The link numbers a publish again whose key it knows.
    ForgottenKey,
    /// The link fails over to a replica that lacks the newest records, and goes on as if nothing had happened.
    HiddenRollback,
    /// The lease of a machine that has ended never runs out.
    EndlessLease,
    /// The log acknowledges a group that is not synced.
    AckBeforeSync,
    /// A group that is on the disk in part counts at the next start.
    TornGroup,
    /// A read does not wait for what was asked before it.
    EarlyRead,
    /// The log says that everything is kept, though something was lost.
    FalseEnd,
    /// A group is said to have failed, and comes back after a later one.
    ReplayedGroup,
}

impl Canary {
    /// Every one.
    pub const ALL: [Canary; 25] = [
        Canary::LoseDeliver,
        Canary::RepeatDeliver,
        Canary::SwapDelivers,
        Canary::WrongRoom,
        Canary::OtherData,
        Canary::LoseNews,
        Canary::LoseLeave,
        Canary::LoseJoined,
        Canary::LosePublished,
        Canary::WrongSeq,
        Canary::LoseFrame,
        Canary::RepeatFrame,
        Canary::SwapFrames,
        Canary::WrongClient,
        Canary::ForgetfulStore,
        Canary::RepeatingLink,
        Canary::HolePage,
        Canary::ForgottenKey,
        Canary::HiddenRollback,
        Canary::EndlessLease,
        Canary::AckBeforeSync,
        Canary::TornGroup,
        Canary::EarlyRead,
        Canary::FalseEnd,
        Canary::ReplayedGroup,
    ];

    /// Whether it happens on the way to a client.
    fn is_in_frames(self) -> bool {
        matches!(self, Canary::LoseFrame | Canary::RepeatFrame | Canary::SwapFrames | Canary::WrongClient)
    }
}

/// A defect that waits for its chance.
#[derive(Debug)]
pub struct Cage {
    canary: Canary,
    /// Chances to let pass first, so that the run is well under way.
    skip: u32,
    /// It was put in.
    pub sung: bool,
    kept: Option<Vec<u8>>,
}

impl Cage {
    /// A defect that happens once, when the run is well under way.
    pub fn new(canary: Canary) -> Self {
        let skip = if canary == Canary::EndlessLease { 0 } else { 5 };
        Self { canary, skip, sung: false, kept: None }
    }

    /// Whether it is this one and its time has come; counts the chance.
    pub fn sings(&mut self, canary: Canary) -> bool {
        if self.canary != canary || self.sung {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.sung = true;
        true
    }

    /// Which one it is.
    pub fn canary(&self) -> Canary {
        self.canary
    }

    /// Puts the defect into a batch of hops.
    pub fn spoil_hops(&mut self, hops: &mut Vec<Hop>, rooms: &[String]) {
        if self.canary == Canary::LoseNews && self.sung {
            hops.retain(|hop| !matches!(hop, Hop::ToHome(ToHome::News { .. })));
            return;
        }
        let mut at = 0;
        while at < hops.len() {
            let fits = self.fits(&hops[at..]);
            if fits && self.sings(self.canary) {
                self.spoil(hops, at, rooms);
                return;
            }
            at += 1;
        }
    }

    /// Whether the defect would show in the first of these hops.
    fn fits(&self, hops: &[Hop]) -> bool {
        match (&hops[0], self.canary) {
            (
                Hop::ToHome(ToHome::Deliver { .. }),
                Canary::LoseDeliver | Canary::RepeatDeliver | Canary::WrongRoom | Canary::OtherData,
            )
            | (Hop::ToHome(ToHome::News { .. }), Canary::LoseNews)
            | (Hop::ToOwner(ToOwner::Leave { .. }), Canary::LoseLeave)
            | (Hop::ToHome(ToHome::Joined { .. }), Canary::LoseJoined) => true,
            (Hop::ToHome(ToHome::Deliver { .. }), Canary::SwapDelivers) => are_neighbours(hops),
            (
                Hop::ToHome(ToHome::Answer { answer: Answer::Published { seq: Some(_), .. }, reply, .. }),
                Canary::LosePublished | Canary::WrongSeq,
            ) => reply.wants_reply(),
            _ => false,
        }
    }

    fn spoil(&self, hops: &mut Vec<Hop>, at: usize, rooms: &[String]) {
        match self.canary {
            Canary::LoseDeliver | Canary::LoseNews | Canary::LoseLeave | Canary::LoseJoined | Canary::LosePublished => {
                hops.remove(at);
            }
            Canary::SwapDelivers => hops.swap(at, at + 1),
            Canary::RepeatDeliver => {
                if let Hop::ToHome(ToHome::Deliver { room, delivery }) = &hops[at] {
                    let again = ToHome::Deliver { room: room.clone(), delivery: delivery.clone() };
                    hops.insert(at, Hop::ToHome(again));
                }
            }
            Canary::WrongRoom => {
                if let Hop::ToHome(ToHome::Deliver { room, .. }) = &mut hops[at] {
                    let other = rooms.iter().find(|name| **name != **room).expect("several rooms");
                    *room = RoomName::new(other).expect("a name of the run");
                }
            }
            Canary::OtherData => {
                if let Hop::ToHome(ToHome::Deliver { delivery, .. }) = &mut hops[at] {
                    delivery.publication = Arc::new(other_data(&delivery.publication));
                    delivery.variants = None;
                }
            }
            Canary::WrongSeq => {
                if let Hop::ToHome(ToHome::Answer { answer: Answer::Published { seq: Some(seq), .. }, .. }) =
                    &mut hops[at]
                {
                    *seq += 1;
                }
            }
            _ => {}
        }
    }

    /// Puts the defect into what one client is sent, made of whole frames. Only live messages are touched.
    pub fn spoil_frames(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if !self.canary.is_in_frames() || self.sung || bytes.starts_with(b"HTTP") {
            return None;
        }
        let mut frames = split(bytes)?;
        for at in 0..frames.len() {
            let next_is_live =
                frames.get(at + 1).is_some_and(|next| is_live(next) && room_of(next) == room_of(&frames[at]));
            if !is_live(&frames[at]) || (self.canary == Canary::SwapFrames && !next_is_live) {
                continue;
            }
            if self.canary == Canary::WrongClient {
                // The frame of one client is kept, and shown later to one that got none like it.
                let Some(kept) = &self.kept else {
                    self.kept = Some(frames[at].clone());
                    return None;
                };
                if room_of(kept) == room_of(&frames[at]) || !self.sings(self.canary) {
                    continue;
                }
                let kept = self.kept.take().expect("just seen");
                frames.insert(at, kept);
                return Some(frames.concat());
            }
            if !self.sings(self.canary) {
                continue;
            }
            match self.canary {
                Canary::LoseFrame => {
                    frames.remove(at);
                }
                Canary::RepeatFrame => frames.insert(at, frames[at].clone()),
                _ => frames.swap(at, at + 1),
            }
            return Some(frames.concat());
        }
        None
    }
}

fn are_neighbours(hops: &[Hop]) -> bool {
    matches!(hops, [
        Hop::ToHome(ToHome::Deliver { room: first, .. }),
        Hop::ToHome(ToHome::Deliver { room: second, .. }),
        ..
    ] if first == second)
}

/// The same publication with one digit of its data changed in its frames, lengths kept.
fn other_data(publication: &Publication) -> Publication {
    let mut other = publication.clone();
    for (form, frame) in publication.frames.iter() {
        let mut bytes = frame.to_vec();
        let data = bytes.windows(publication.data.len()).rposition(|window| *window == *publication.data);
        let (start, len) = data.map_or((0, bytes.len()), |start| (start, publication.data.len()));
        let digit = bytes[start..start + len].iter().position(u8::is_ascii_digit);
        let digit = start + digit.unwrap_or(0);
        bytes[digit] = if bytes[digit] == b'7' { b'3' } else { b'7' };
        other.frames.set(form, bytes.into());
    }
    other
}

fn split(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut frames, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let total = codec::read_header(rest).ok()??.total();
        frames.push(rest.get(..total)?.to_vec());
        rest = &rest[total..];
    }
    Some(frames)
}

/// A live message that echoes to all: in JSON, so that it is told from a message behind a `joined`.
fn is_live(frame: &[u8]) -> bool {
    frame.windows(17).any(|window| window == b"\"type\":\"message\"," || window == b"\"type\":\"message\"}")
}

fn room_of(frame: &[u8]) -> Option<String> {
    let header = codec::read_header(frame).ok()??;
    let value: serde_json::Value = serde_json::from_slice(&frame[header.len..]).ok()?;
    Some(value.get("room")?.as_str()?.to_owned())
}
