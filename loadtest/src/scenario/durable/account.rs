//! Owns the account of one room in `durable`: which publish was acknowledged at which seq, and what is wrong with the
//! messages that the server gives back. Never sends.

use std::collections::HashSet;

use crate::payload::Stamp;

/// Counts of what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Acknowledged publishes that were read back for the first time.
    pub confirmed: u64,
    /// Publishes without an answer that the server had kept.
    pub unanswered_kept: u64,
    /// Acknowledged publishes that the server no longer had to keep.
    pub trimmed: u64,
    /// Publishes that were read back once, and not again.
    pub lost_again: u64,
    /// Messages that came twice, under the same seq or another one.
    pub duplicated: u64,
    /// Messages in another order than they were published or acknowledged in.
    pub reordered: u64,
    /// Messages with other content, and other contradictions.
    pub wrong: u64,
    /// All messages.
    pub read: u64,
}

/// The account of a room. Member `m` of `n` has the publishes `m`, `m + n`, `m + 2 n` …
#[derive(Debug)]
pub struct RoomAccount {
    room: u32,
    /// Messages that the server keeps.
    history: u64,
    /// The number of the next publish of each member.
    next: Vec<u32>,
    /// Seq of the last acknowledged publish of each member.
    last_acknowledged: Vec<u64>,
    epoch: Option<Vec<u8>>,
    /// The message at each seq, from 1.
    kept: Vec<KeptMessage>,
    /// Seq of each publish, from 0; 0 if it is not known.
    seqs: Vec<u32>,
    /// Publishes without an answer from a server that was killed.
    unanswered: HashSet<u32>,
    /// Everything up to this seq was read back.
    checked: u64,
    /// Complete while no check runs.
    reading: Reading,
}

/// What is known of the message at a seq.
#[derive(Clone, Copy, Debug, Default)]
struct KeptMessage {
    number: u32,
    state: KeptState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum KeptState {
    /// No publish is known to have this seq.
    #[default]
    Unknown,
    /// Acknowledged, not read back.
    Acknowledged,
    /// Read back.
    Confirmed,
    /// Read back once, and then no more; or no longer kept.
    Gone,
}

/// A check in progress.
#[derive(Debug, Default)]
struct Reading {
    /// The next seq.
    next: u64,
    /// The next seq when the page was asked for.
    asked: u64,
    /// Seqs that were skipped.
    missing: HashSet<u64>,
    /// Last number of each member.
    last: Vec<Option<u32>>,
}

/// What to do after a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPage {
    /// Ask for messages after this seq.
    Ask(u64),
    /// The room was read to its head.
    Complete,
}

/// A page of messages without the messages.
#[derive(Clone, Copy, Debug)]
pub struct PageEnds<'a> {
    /// The room's epoch.
    pub epoch: &'a str,
    /// Lowest seq that the server still has.
    pub first: u64,
    /// The room's head.
    pub head: u64,
}

impl RoomAccount {
    /// Starts the account of room number `room` with `members` members, of which the server keeps the newest `history`
    /// messages.
    #[must_use]
    pub fn new(room: u32, members: u32, history: u64) -> Self {
        RoomAccount {
            room,
            history,
            next: (0..members).collect(),
            last_acknowledged: vec![0; members as usize],
            epoch: None,
            kept: Vec::new(),
            seqs: Vec::new(),
            unanswered: HashSet::new(),
            checked: 0,
            reading: Reading::default(),
        }
    }

    fn members(&self) -> u32 {
        self.next.len() as u32
    }

    /// Takes the next publish of a member. Returns its number.
    pub fn launch(&mut self, member: u32) -> u32 {
        let step = self.members();
        let next = &mut self.next[member as usize];
        let number = *next;
        *next += step;
        if self.seqs.len() <= number as usize {
            self.seqs.resize(number as usize + 1, 0);
        }
        number
    }

    /// Whether a publish of this room has the stamp, and there were enough publishes for the seq.
    fn was_sent(&self, stamp: Stamp, seq: u64) -> bool {
        let Stamp { number, room } = stamp;
        room == self.room && number < self.next[(number % self.members()) as usize] && seq <= self.seqs.len() as u64
    }

    /// Checks the room's epoch, which never changes: the server promises that it keeps the numbering.
    ///
    /// # Errors
    /// The contradiction.
    pub fn check_epoch(&mut self, epoch: &[u8]) -> Result<(), String> {
        let known = self.epoch.get_or_insert_with(|| epoch.to_vec());
        if known == epoch {
            return Ok(());
        }
        let [epoch, known] = [epoch, known].map(String::from_utf8_lossy);
        Err(format!("room {}: epoch {epoch} after {known}", self.room))
    }

    /// Takes the answer to publish `number`.
    ///
    /// # Errors
    /// The contradiction.
    pub fn acknowledge(&mut self, number: u32, seq: u64, epoch: &[u8]) -> Result<(), String> {
        let room = self.room;
        self.check_epoch(epoch)?;
        let most = self.seqs.len() as u64;
        if seq == 0 || seq > most {
            return Err(format!("room {room}: publish {number} was acknowledged as seq {seq} of {most} publishes"));
        }
        let index = seq as usize - 1;
        if self.kept.len() <= index {
            self.kept.resize(index + 1, KeptMessage::default());
        }
        let kept = &mut self.kept[index];
        if kept.state != KeptState::Unknown {
            let other = kept.number;
            return Err(format!("room {room}: publish {number} was acknowledged as seq {seq}, like {other}"));
        }
        *kept = KeptMessage { number, state: KeptState::Acknowledged };
        self.seqs[number as usize] = seq as u32;
        let member = (number % self.members()) as usize;
        let before = std::mem::replace(&mut self.last_acknowledged[member], seq);
        if before > seq {
            return Err(format!(
                "room {room}: publish {number} was acknowledged as seq {seq}, an earlier one as {before}"
            ));
        }
        Ok(())
    }

    /// Gives up the answer to publish `number`: the server may have kept it.
    pub fn abandon(&mut self, number: u32) {
        self.unanswered.insert(number);
    }

    /// Begins a check: of everything, or of what is new. Returns the seq after which to ask.
    pub fn begin_check(&mut self, of_everything: bool) -> u64 {
        let after = if of_everything { 0 } else { self.checked };
        let last = vec![None; self.next.len()];
        self.reading = Reading { next: after + 1, asked: after + 1, missing: HashSet::new(), last };
        after
    }

    /// Takes a message of a page: its stamp, and whether its data is what was published.
    ///
    /// # Errors
    /// What is wrong with it. It is counted.
    pub fn read(&mut self, seq: u64, stamp: Option<Stamp>, is_intact: bool, tally: &mut Tally) -> Result<(), String> {
        tally.read += 1;
        let room = self.room;
        let is_late = seq < self.reading.next;
        if is_late {
            if !self.reading.missing.remove(&seq) {
                tally.duplicated += 1;
                return Err(format!("room {room}: seq {seq} came twice"));
            }
            tally.reordered += 1;
        } else {
            self.skip_to(seq, tally);
            self.reading.next = seq + 1;
        }
        let Some(Stamp { number, .. }) = stamp.filter(|stamp| self.was_sent(*stamp, seq)) else {
            tally.wrong += 1;
            return Err(format!("room {room}: seq {seq} was never published: {stamp:?}"));
        };
        if !is_intact {
            tally.wrong += 1;
            return Err(format!("room {room}: the data of seq {seq} (publish {number}) is not what was published"));
        }
        let member = (number % self.members()) as usize;
        let before = self.reading.last[member].replace(number).filter(|before| *before > number);
        let elsewhere = u64::from(self.seqs[number as usize]);
        let kept = self.kept.get_mut(seq as usize - 1).filter(|kept| kept.state != KeptState::Unknown);
        match kept {
            Some(kept) if kept.number == number => {
                tally.confirmed += u64::from(kept.state == KeptState::Acknowledged);
                kept.state = KeptState::Confirmed;
            }
            Some(kept) => {
                tally.reordered += 1;
                return Err(format!("room {room}: seq {seq} is publish {number}, not {}", kept.number));
            }
            None if self.unanswered.remove(&number) => self.adopt(seq, number, tally),
            None if elsewhere != 0 => {
                tally.duplicated += 1;
                return Err(format!("room {room}: publish {number} is seq {elsewhere} and {seq}"));
            }
            None => {
                tally.wrong += 1;
                return Err(format!("room {room}: seq {seq} is publish {number}, which waits for its answer"));
            }
        }
        match before {
            // What is late is counted already.
            None => Ok(()),
            Some(_) if is_late => Err(format!("room {room}: seq {seq} came after a later one")),
            Some(before) => {
                tally.reordered += 1;
                Err(format!(
                    "room {room}: publish {number} (seq {seq}) comes after {before}, which was published later"
                ))
            }
        }
    }

    /// A publish without an answer was kept. From now on it must stay.
    fn adopt(&mut self, seq: u64, number: u32, tally: &mut Tally) {
        tally.unanswered_kept += 1;
        self.seqs[number as usize] = seq as u32;
        let index = seq as usize - 1;
        if self.kept.len() <= index {
            self.kept.resize(index + 1, KeptMessage::default());
        }
        self.kept[index] = KeptMessage { number, state: KeptState::Confirmed };
    }

    /// Counts the seqs before `seq` that did not come.
    fn skip_to(&mut self, seq: u64, tally: &mut Tally) {
        // Seqs beyond all publishes are holes as well, but need not be looked at one by one.
        let end = seq.min(self.seqs.len() as u64 + 1);
        for missing in self.reading.next..end {
            self.reading.missing.insert(missing);
            match self.kept.get_mut(missing as usize - 1) {
                // Not confirmed, so it counts as lost if it never comes.
                Some(KeptMessage { state: KeptState::Acknowledged | KeptState::Gone, .. }) => {}
                Some(kept @ KeptMessage { state: KeptState::Confirmed, .. }) => {
                    kept.state = KeptState::Gone;
                    tally.lost_again += 1;
                }
                Some(KeptMessage { state: KeptState::Unknown, .. }) | None => tally.wrong += 1,
            }
        }
        tally.wrong += seq.saturating_sub(end.max(self.reading.next));
    }

    /// Takes the ends of a page before its messages: accepts that the server no longer has the oldest messages, if it has
    /// as many as it must keep.
    pub fn begin_page(&mut self, ends: &PageEnds<'_>, tally: &mut Tally) -> Result<(), String> {
        self.check_epoch(ends.epoch.as_bytes()).inspect_err(|_| tally.wrong += 1)?;
        let PageEnds { first, head, .. } = *ends;
        if first <= self.reading.next || (head + 1).saturating_sub(first) < self.history {
            return Ok(());
        }
        for kept in self.kept.iter_mut().take(first as usize - 1).skip(self.reading.next as usize - 1) {
            tally.trimmed += u64::from(kept.state == KeptState::Acknowledged);
            kept.state = KeptState::Gone;
        }
        self.reading.next = first;
        Ok(())
    }

    /// Takes the end of a page with `count` messages.
    ///
    /// # Errors
    /// Messages are missing at its end.
    pub fn end_page(&mut self, ends: &PageEnds<'_>, count: usize, tally: &mut Tally) -> Result<AfterPage, String> {
        let has_advanced = count > 0 && self.reading.next > self.reading.asked;
        if has_advanced && self.reading.next <= ends.head {
            self.reading.asked = self.reading.next;
            return Ok(AfterPage::Ask(self.reading.next - 1));
        }
        let acknowledged = self.kept.len() as u64;
        let came = self.reading.next - 1;
        // Whatever is acknowledged beyond the head was lost, and so was what the server does not give.
        self.skip_to(ends.head.max(acknowledged) + 1, tally);
        self.checked = self.checked.max(came);
        // The server has answered for everything up to its head: later publishes get later seqs.
        self.unanswered.clear();
        if came < ends.head.max(acknowledged) {
            let (room, head) = (self.room, ends.head);
            return Err(format!("room {room}: no message after seq {came}; head {head}, acknowledged {acknowledged}"));
        }
        Ok(AfterPage::Complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: &[u8] = b"00000000000000aa";

    struct Room {
        account: RoomAccount,
        tally: Tally,
        said: Vec<String>,
    }

    impl Room {
        /// A room of one member with `acknowledged` publishes with answers, and `unanswered` without.
        fn new(acknowledged: u32, unanswered: u32, history: u64) -> Self {
            let mut account = RoomAccount::new(3, 1, history);
            for _ in 0..acknowledged {
                let number = account.launch(0);
                account.acknowledge(number, u64::from(number) + 1, EPOCH).expect("in order");
            }
            for _ in 0..unanswered {
                let number = account.launch(0);
                account.abandon(number);
            }
            Room { account, tally: Tally::default(), said: Vec::new() }
        }

        /// Reads pages of at most three of these messages: seq and number.
        fn check(&mut self, of_everything: bool, messages: &[(u64, u32)], head: u64) -> Tally {
            let after = self.account.begin_check(of_everything);
            let first = messages.first().map_or(1, |message| message.0);
            let ends = PageEnds { epoch: "00000000000000aa", first, head };
            let mut rest = messages.iter().skip_while(|message| message.0 <= after && !of_everything).peekable();
            loop {
                let page: Vec<_> = rest.by_ref().take(3).collect();
                self.account.begin_page(&ends, &mut self.tally).expect("the same epoch");
                for (seq, number) in page.iter().copied() {
                    let stamp = Some(Stamp { number: *number, room: 3 });
                    self.said.extend(self.account.read(*seq, stamp, true, &mut self.tally).err());
                }
                match self.account.end_page(&ends, page.len(), &mut self.tally) {
                    Ok(AfterPage::Ask(_)) => {}
                    Ok(AfterPage::Complete) => return self.tally,
                    Err(what) => {
                        self.said.push(what);
                        return self.tally;
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_acknowledged_is_confirmed_once() {
        let mut room = Room::new(5, 0, 100);
        let all = [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)];
        let wanted = Tally { confirmed: 5, read: 5, ..Tally::default() };
        assert_eq!(room.check(false, &all, 5), wanted, "{:?}", room.said);
        assert_eq!(room.check(false, &all, 5), wanted, "nothing is new: {:?}", room.said);
        assert_eq!(room.check(true, &all, 5), Tally { read: 10, ..wanted }, "{:?}", room.said);
        assert_eq!(Room::new(0, 0, 100).check(true, &[], 0), Tally::default());
    }

    #[test]
    fn a_lost_publish_is_not_confirmed() {
        let mut room = Room::new(5, 0, 100);
        assert_eq!(room.check(true, &[(1, 0), (2, 1), (4, 3), (5, 4)], 5).confirmed, 4, "in the middle");
        let mut room = Room::new(5, 0, 100);
        assert_eq!(room.check(true, &[(1, 0), (2, 1), (3, 2)], 3).confirmed, 3, "at the end");
        assert!(room.said[0].contains("head 3, acknowledged 5"), "{:?}", room.said);
        let mut room = Room::new(2, 0, 100);
        assert_eq!(room.check(true, &[], 0).confirmed, 0, "all");
        let mut room = Room::new(3, 0, 100);
        room.check(true, &[(1, 0), (2, 1), (3, 2)], 3);
        assert_eq!(room.check(true, &[(1, 0), (3, 2)], 3).lost_again, 1, "lost by a later kill");
        assert_eq!(room.check(true, &[(1, 0), (3, 2)], 3).lost_again, 1, "counted once");
    }

    #[test]
    fn a_duplicated_publish_is_found() {
        let mut room = Room::new(3, 0, 100);
        let tally = room.check(true, &[(1, 0), (2, 1), (2, 1), (3, 2)], 3);
        assert_eq!((tally.confirmed, tally.duplicated), (3, 1), "the same seq twice");
        let mut room = Room::new(2, 0, 100);
        room.account.launch(0);
        let tally = room.check(true, &[(1, 0), (2, 1), (3, 1)], 3);
        assert_eq!((tally.confirmed, tally.duplicated), (2, 1), "another seq: {:?}", room.said);
    }

    #[test]
    fn another_order_is_found() {
        let mut room = Room::new(3, 0, 100);
        let tally = room.check(true, &[(1, 0), (3, 2), (2, 1)], 3);
        assert_eq!((tally.confirmed, tally.reordered), (3, 1), "within a page: {:?}", room.said);
        let mut room = Room::new(3, 0, 100);
        let tally = room.check(true, &[(1, 0), (2, 2), (3, 1)], 3);
        assert_eq!((tally.confirmed, tally.reordered), (1, 2), "numbered otherwise: {:?}", room.said);
        let mut room = Room::new(1, 2, 100);
        let tally = room.check(true, &[(1, 0), (2, 2), (3, 1)], 3);
        assert_eq!((tally.unanswered_kept, tally.reordered), (2, 1), "without answers: {:?}", room.said);
    }

    #[test]
    fn publishes_without_an_answer_may_be_kept_but_then_must_stay() {
        let mut room = Room::new(2, 2, 100);
        let tally = room.check(false, &[(1, 0), (2, 1), (3, 3)], 3);
        assert_eq!((tally.confirmed, tally.unanswered_kept, tally.wrong), (2, 1, 0), "{:?}", room.said);
        let tally = room.check(true, &[(1, 0), (2, 1)], 2);
        assert_eq!(tally.lost_again, 1, "{:?}", room.said);
        let mut room = Room::new(2, 1, 100);
        assert_eq!(room.check(true, &[(1, 0), (2, 1)], 2).wrong, 0);
        let tally = room.check(true, &[(1, 0), (2, 1), (3, 2)], 3);
        assert_eq!(tally.wrong, 1, "it was not there after the kill: {:?}", room.said);
    }

    #[test]
    fn wrong_content_and_contradictions_are_found() {
        let mut room = Room::new(2, 0, 100);
        assert_eq!(room.check(true, &[(1, 0), (2, 7)], 2).wrong, 1, "never published");
        let mut room = Room::new(1, 0, 100);
        let after = room.account.begin_check(true);
        let mut tally = Tally::default();
        assert!(room.account.read(after + 1, Some(Stamp { number: 0, room: 3 }), false, &mut tally).is_err());
        assert_eq!((tally.confirmed, tally.wrong), (0, 1), "other data");
        assert!(room.account.read(2, Some(Stamp { number: 0, room: 4 }), true, &mut tally).is_err(), "another room");
        let ends = PageEnds { epoch: "00000000000000ab", first: 1, head: 1 };
        assert!(room.account.begin_page(&ends, &mut tally).is_err(), "another epoch");
        let mut account = RoomAccount::new(3, 1, 100);
        let numbers = [account.launch(0), account.launch(0), account.launch(0)];
        assert!(account.acknowledge(numbers[0], 2, EPOCH).is_ok());
        assert!(account.acknowledge(numbers[1], 2, EPOCH).is_err(), "two publishes with one seq");
        assert!(account.acknowledge(numbers[1], 1, EPOCH).is_err(), "the reverse order");
        assert!(account.acknowledge(numbers[2], 9, EPOCH).is_err(), "beyond all publishes");
        assert!(account.acknowledge(numbers[2], 3, b"00000000000000ab").is_err(), "another epoch");
    }

    #[test]
    fn only_what_need_not_be_kept_may_be_gone() {
        let mut room = Room::new(5, 0, 3);
        let tally = room.check(true, &[(3, 2), (4, 3), (5, 4)], 5);
        assert_eq!((tally.confirmed, tally.trimmed, tally.wrong), (3, 2, 0), "{:?}", room.said);
        let mut room = Room::new(5, 0, 4);
        let tally = room.check(true, &[(3, 2), (4, 3), (5, 4)], 5);
        assert_eq!((tally.confirmed, tally.trimmed), (3, 0), "2 is lost");
    }

    #[test]
    fn members_have_numbers_of_their_own() {
        let mut account = RoomAccount::new(0, 2, 100);
        assert_eq!([account.launch(1), account.launch(0), account.launch(1)], [1, 0, 3]);
        for (number, seq) in [(1, 1), (3, 3), (0, 2)] {
            account.acknowledge(number, seq, EPOCH).expect("each member's are in order");
        }
    }
}
