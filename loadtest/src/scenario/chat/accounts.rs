//! Owns what a user knows about inbox and unread counts, and the checks of what the server says about them. Never sends.

use crate::dialect::people::ListedRoom;

/// What a user knows about the own inbox.
#[derive(Debug, Default)]
pub struct InboxAccount {
    /// Everything up to here was received at least once.
    seen: u64,
    /// The highest `delivered` receipt that was sent.
    sent: u64,
    /// The highest one that was answered.
    confirmed: u64,
    /// The next seq on this connection, after the push of the inbox.
    next: Option<u64>,
}

impl InboxAccount {
    /// Highest seq received.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The connection is gone.
    pub fn lose_connection(&mut self) {
        self.next = None;
    }

    /// The server has pushed the inbox with its head, and `count` messages that end at it.
    ///
    /// # Errors
    /// It begins at the wrong message.
    pub fn opened(&mut self, head: u64, count: u64) -> Result<(), String> {
        if self.next.is_some() {
            return Err("the inbox was pushed twice on one connection".to_owned());
        }
        let first = (head + 1).saturating_sub(count);
        self.next = Some(first);
        let (sent, confirmed) = (self.sent, self.confirmed);
        if head < self.seen {
            return Err(format!("the inbox has the head {head} after seq {}", self.seen));
        }
        if first <= confirmed {
            return Err(format!("the inbox begins with seq {first} again, although {confirmed} was delivered"));
        }
        if first > sent + 1 {
            return Err(format!("the inbox begins with seq {first}, although only {sent} was delivered"));
        }
        Ok(())
    }

    /// Takes a message. Returns whether it is received for the first time.
    ///
    /// # Errors
    /// It is not the next one.
    pub fn take(&mut self, seq: u64) -> Result<bool, String> {
        let Some(next) = self.next else { return Err(format!("inbox seq {seq} before the push of the inbox")) };
        self.next = Some(next.max(seq + 1));
        let is_new = seq > self.seen;
        // A seq that was skipped stays unseen: it counts as lost.
        if seq == self.seen + 1 {
            self.seen = seq;
        }
        if seq == next { Ok(is_new) } else { Err(format!("inbox seq {seq} in place of {next}")) }
    }

    /// The receipt to send, if there is something new.
    pub fn receipt(&mut self) -> Option<u64> {
        let is_new = self.seen > self.sent;
        self.sent = self.sent.max(self.seen);
        is_new.then_some(self.sent)
    }

    /// The server has answered a receipt: from now on these messages must not come again.
    ///
    /// # Errors
    /// It has stored another seq than was sent.
    pub fn delivered(&mut self, seq: u64) -> Result<(), String> {
        if seq > self.sent || seq <= self.confirmed {
            return Err(format!("the delivered receipt is {seq}; {} was sent, {} stored", self.sent, self.confirmed));
        }
        self.confirmed = seq;
        Ok(())
    }
}

/// How far a user has read a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadMark {
    /// The highest `read` receipt that was sent.
    pub sent: u64,
    /// The highest one that was answered.
    pub confirmed: u64,
}

impl ReadMark {
    /// Checks a room in the list of rooms. `self` is the mark now; `confirmed` and `head` were known when the list was
    /// asked for.
    ///
    /// # Errors
    /// The contradiction.
    pub fn check(self, listed: &ListedRoom, confirmed: u64, head: u64) -> Result<(), String> {
        let ListedRoom { room, head_seq, read_seq, unread } = listed;
        if *unread != head_seq.saturating_sub(*read_seq) {
            return Err(format!("{room}: {unread} unread, with head {head_seq} and {read_seq} read"));
        }
        if *read_seq < confirmed || *read_seq > self.sent {
            return Err(format!(
                "{room}: {read_seq} read, but receipts up to {confirmed} were stored, {} sent",
                self.sent
            ));
        }
        if *head_seq < head {
            return Err(format!("{room}: head {head_seq}, but seq {head} was received before"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_comes_until_it_is_delivered() {
        let mut inbox = InboxAccount::default();
        assert_eq!(inbox.opened(0, 0), Ok(()), "empty");
        assert_eq!([inbox.take(1), inbox.take(2)], [Ok(true), Ok(true)], "live");
        inbox.lose_connection();
        assert_eq!(inbox.opened(3, 3), Ok(()), "nothing was delivered: all come again");
        assert_eq!([inbox.take(1), inbox.take(2), inbox.take(3)], [Ok(false), Ok(false), Ok(true)]);
        assert_eq!((inbox.receipt(), inbox.receipt()), (Some(3), None));
        inbox.lose_connection();
        assert_eq!(inbox.opened(3, 3), Ok(()), "the receipt may not have arrived");
        assert_eq!(inbox.take(1), Ok(false));
        assert_eq!(inbox.delivered(3), Ok(()));
        inbox.lose_connection();
        assert_eq!(inbox.opened(4, 1), Ok(()));
        assert_eq!((inbox.take(4), inbox.seen()), (Ok(true), 4));
    }

    #[test]
    fn faults_of_an_inbox_are_found() {
        let inbox = || {
            let mut inbox = InboxAccount::default();
            inbox.opened(0, 0).expect("empty");
            (1..=3).for_each(|seq| assert_eq!(inbox.take(seq), Ok(true)));
            assert_eq!(inbox.receipt(), Some(3));
            inbox.delivered(3).expect("stored");
            inbox.lose_connection();
            inbox
        };
        assert!(inbox().opened(3, 1).expect_err("again").contains("again"));
        assert!(inbox().opened(6, 2).expect_err("4 is lost").contains("begins with seq 5"));
        assert!(inbox().opened(2, 0).expect_err("the head went back").contains("head 2"));
        let mut lost = inbox();
        lost.opened(5, 2).expect("4 and 5");
        assert!(lost.take(5).expect_err("4 is lost").contains("in place of 4"));
        assert_eq!(lost.seen(), 3, "4 is owed");
        let mut twice = inbox();
        twice.opened(4, 1).expect("4");
        assert_eq!(twice.take(4), Ok(true));
        assert!(twice.take(4).is_err(), "duplicated on one connection");
        assert!(twice.opened(4, 1).is_err(), "pushed twice");
        assert!(twice.delivered(9).is_err(), "more than was sent");
        assert!(inbox().take(4).is_err(), "before the push");
    }

    #[test]
    fn unread_counts_agree_with_what_was_read() {
        let listed = |head_seq, read_seq, unread| ListedRoom { room: "r".into(), head_seq, read_seq, unread };
        let mark = ReadMark { sent: 5, confirmed: 5 };
        assert_eq!(mark.check(&listed(9, 5, 4), 5, 9), Ok(()));
        assert_eq!(mark.check(&listed(9, 4, 5), 4, 9), Ok(()), "the last receipt may have come later");
        assert!(mark.check(&listed(9, 5, 3), 5, 9).is_err(), "wrong sum");
        assert!(mark.check(&listed(9, 4, 5), 5, 9).is_err(), "a stored receipt is forgotten");
        assert!(mark.check(&listed(9, 6, 3), 5, 9).is_err(), "more read than was sent");
        assert!(mark.check(&listed(8, 5, 3), 5, 9).is_err(), "a message is not counted");
    }
}
