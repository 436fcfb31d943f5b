//! The receipts of one room, as far as they are known here, and those that wait for the store. Of the receipts of one user
//! and kind one at a time is being kept; those that come meanwhile are merged into the highest of them. Asks nothing itself.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::base::chat::ReceiptKind;
use crate::base::ids::{Seq, UserName};
use crate::base::limits::{RECEIPT_ASKERS_MAX, RECEIPT_BYTES, RECEIPTS_PER_ROOM_MAX};
use crate::engine::owner::answer::Asker;

/// Those who wait for one receipt.
pub(in crate::engine::owner) type Askers = SmallVec<[Asker; 1]>;

/// A receipt that is to be kept.
#[derive(Debug)]
struct Wish {
    seq: Seq,
    askers: Askers,
}

/// The receipt of one user and kind.
#[derive(Debug, Default)]
struct Receipt {
    /// What is kept; `None`: not known yet.
    kept: Option<Seq>,
    /// What the store was asked to keep.
    asked: Option<Wish>,
    /// What it will be asked next.
    next: Option<Wish>,
}

impl Receipt {
    fn waits(&self) -> bool {
        self.asked.is_some()
    }
}

/// The receipts of one room.
#[derive(Debug, Default)]
pub(in crate::engine::owner) struct Receipts {
    by_user: BTreeMap<(UserName, ReceiptKind), Receipt>,
    name_bytes: usize,
    /// Those of `by_user` that wait.
    waiting: usize,
    askers: usize,
}

/// What is to be done for a receipt that a user has sent.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::owner) enum ReceiptStep {
    /// Answer with this one: the sent one is not higher.
    Answer(Seq),
    /// Answer, and tell the others: it has risen. There is no store.
    Raise(Seq),
    /// Ask the store to keep it. `is_first`: it must say first what it keeps.
    Ask { is_first: bool },
    /// Wait: the store is being asked.
    Wait,
    /// There is no room for it.
    Refuse,
}

/// What an answer of the store leads to.
#[derive(Debug, Default)]
pub(in crate::engine::owner) struct Settled {
    /// Those to answer.
    pub askers: Askers,
    /// The receipt that is kept, if it has risen by this.
    pub risen: Option<Seq>,
    /// What the store is to keep next.
    pub next: Option<Seq>,
}

impl Receipts {
    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.by_user.len() * RECEIPT_BYTES + self.name_bytes + self.askers * size_of::<Asker>()
    }

    /// Whether somebody waits for the store.
    pub fn waits(&self) -> bool {
        self.waiting > 0
    }

    /// Notes a receipt. `may_grow`: there is memory for one more, and the store may be asked.
    pub fn note(
        &mut self,
        (user, kind, seq): (UserName, ReceiptKind, Seq),
        asker: Asker,
        has_store: bool,
        may_grow: bool,
    ) -> ReceiptStep {
        let place = (user, kind);
        let Some(receipt) = self.by_user.get_mut(&place) else {
            if !may_grow || !self.make_place(has_store) {
                return ReceiptStep::Refuse;
            }
            self.name_bytes += place.0.len();
            let asked = has_store.then(|| Wish { seq, askers: SmallVec::from_elem(asker, 1) });
            self.waiting += usize::from(has_store);
            self.askers += usize::from(has_store);
            self.by_user.insert(place, Receipt { kept: (!has_store).then_some(seq), asked, next: None });
            return match (has_store, seq) {
                (true, _) => ReceiptStep::Ask { is_first: true },
                (false, 0) => ReceiptStep::Answer(0),
                (false, _) => ReceiptStep::Raise(seq),
            };
        };
        if let Some(kept) = receipt.kept.filter(|kept| *kept >= seq) {
            return ReceiptStep::Answer(kept);
        }
        if !has_store {
            receipt.kept = Some(seq);
            return ReceiptStep::Raise(seq);
        }
        if receipt.waits() {
            let next = receipt.next.get_or_insert_with(|| Wish { seq, askers: Askers::new() });
            next.seq = next.seq.max(seq);
            if !asker.wants_reply() && next.askers.iter().any(|other| other.conn() == asker.conn()) {
                return ReceiptStep::Wait;
            }
            if next.askers.len() >= RECEIPT_ASKERS_MAX {
                return ReceiptStep::Refuse;
            }
            next.askers.push(asker);
            self.askers += 1;
            return ReceiptStep::Wait;
        }
        if !may_grow {
            return ReceiptStep::Refuse;
        }
        let is_first = receipt.kept.is_none();
        receipt.asked = Some(Wish { seq, askers: SmallVec::from_elem(asker, 1) });
        self.waiting += 1;
        self.askers += 1;
        ReceiptStep::Ask { is_first }
    }

    /// Makes place for one more; where there is a store, by forgetting those that are kept.
    fn make_place(&mut self, has_store: bool) -> bool {
        if self.by_user.len() >= RECEIPTS_PER_ROOM_MAX && has_store {
            self.by_user.retain(|_, receipt| receipt.waits());
            self.name_bytes = self.by_user.keys().map(|(user, _)| user.len()).sum();
        }
        self.by_user.len() < RECEIPTS_PER_ROOM_MAX
    }

    /// Takes everybody who waits.
    pub fn take_askers(&mut self) -> Vec<Asker> {
        let receipts = std::mem::take(&mut self.by_user).into_values();
        let wishes = receipts.flat_map(|receipt| receipt.asked.into_iter().chain(receipt.next));
        wishes.flat_map(|wish| wish.askers).collect()
    }

    /// The store has said what it keeps, before it was asked to keep more.
    pub fn found(&mut self, user: &UserName, kind: ReceiptKind, kept: Seq) {
        if let Some(receipt) = self.by_user.get_mut(&(user.clone(), kind)) {
            receipt.kept = receipt.kept.max(Some(kept));
        }
    }

    /// The store keeps a receipt; `None`: it has failed to.
    pub fn settle(&mut self, user: &UserName, kind: ReceiptKind, kept: Option<Seq>) -> Settled {
        let Some(receipt) = self.by_user.get_mut(&(user.clone(), kind)) else { return Settled::default() };
        let Some(Wish { mut askers, .. }) = receipt.asked.take() else { return Settled::default() };
        self.waiting -= 1;
        // One that is not known for sure counts as risen.
        let risen = kept.filter(|kept| receipt.kept.is_none_or(|before| *kept > before));
        receipt.kept = receipt.kept.max(kept);
        match receipt.next.take() {
            Some(next) if kept.is_some_and(|kept| next.seq > kept) => {
                self.waiting += 1;
                receipt.asked = Some(next);
            }
            // It is kept with this one, or has failed with it.
            Some(next) => askers.extend(next.askers),
            None => {}
        }
        let next = receipt.asked.as_ref().map(|next| next.seq);
        self.askers -= askers.len();
        Settled { askers, risen, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{ConnId, CoreId};
    use crate::wire::form::Form;
    use crate::wire::protocol::ReplyTo;

    fn ann() -> UserName {
        UserName::new("ann").expect("valid")
    }

    fn asker(slot: u32, id: Option<u64>) -> Asker {
        let conn = ConnId { home: CoreId(0), slot, generation: 1 };
        Asker::Connection { conn, reply: ReplyTo { id, form: Form::Json } }
    }

    fn note(receipts: &mut Receipts, seq: Seq, asker: Asker) -> ReceiptStep {
        receipts.note((ann(), ReceiptKind::Read, seq), asker, true, true)
    }

    #[test]
    fn receipts_that_come_while_one_is_kept_are_merged() {
        let mut receipts = Receipts::default();
        assert_eq!(note(&mut receipts, 3, asker(1, Some(1))), ReceiptStep::Ask { is_first: true });
        for seq in [5, 9, 7] {
            assert_eq!(note(&mut receipts, seq, asker(1, None)), ReceiptStep::Wait);
        }
        assert_eq!(note(&mut receipts, 4, asker(2, Some(2))), ReceiptStep::Wait);
        assert_eq!((receipts.waiting, receipts.askers), (1, 3), "a connection that wants no reply waits once");
        receipts.found(&ann(), ReceiptKind::Read, 3);
        let settled = receipts.settle(&ann(), ReceiptKind::Read, Some(3));
        assert_eq!((settled.askers.len(), settled.risen, settled.next), (1, None, Some(9)), "it was kept before");
        let settled = receipts.settle(&ann(), ReceiptKind::Read, Some(9));
        assert_eq!((settled.askers.len(), settled.risen, settled.next), (2, Some(9), None));
        assert!(!receipts.waits() && receipts.askers == 0);
        assert_eq!(note(&mut receipts, 8, asker(1, None)), ReceiptStep::Answer(9));
        assert_eq!(note(&mut receipts, 10, asker(1, None)), ReceiptStep::Ask { is_first: false });
    }

    #[test]
    fn what_fails_fails_with_all_that_waits_for_it() {
        let mut receipts = Receipts::default();
        note(&mut receipts, 3, asker(1, Some(1)));
        note(&mut receipts, 4, asker(2, Some(1)));
        let settled = receipts.settle(&ann(), ReceiptKind::Read, None);
        assert_eq!((settled.askers.len(), settled.risen, settled.next), (2, None, None));
        assert!(!receipts.waits());
        assert_eq!(note(&mut receipts, 4, asker(2, Some(1))), ReceiptStep::Ask { is_first: true });
        assert_eq!(receipts.settle(&ann(), ReceiptKind::Read, Some(4)).risen, Some(4), "nobody knows better");
    }

    #[test]
    fn they_are_bounded() {
        let mut receipts = Receipts::default();
        note(&mut receipts, 1, asker(0, Some(1)));
        for slot in 0..RECEIPT_ASKERS_MAX as u32 {
            assert_eq!(note(&mut receipts, 2, asker(slot, Some(1))), ReceiptStep::Wait);
        }
        assert_eq!(note(&mut receipts, 3, asker(99, Some(1))), ReceiptStep::Refuse);
        let named = |number: usize| UserName::new(&format!("u{number}")).expect("valid");
        let mut add = |number, has_store| {
            receipts.note((named(number), ReceiptKind::Delivered, 1), asker(0, None), has_store, true)
        };
        for number in 1..RECEIPTS_PER_ROOM_MAX {
            assert_eq!(add(number, false), ReceiptStep::Raise(1));
        }
        assert_eq!(add(RECEIPTS_PER_ROOM_MAX, false), ReceiptStep::Refuse, "without a store none may be forgotten");
        assert_eq!(add(RECEIPTS_PER_ROOM_MAX, true), ReceiptStep::Ask { is_first: true });
        assert_eq!((receipts.by_user.len(), receipts.name_bytes), (2, 3 + 6), "those that wait are left");
        assert_eq!(
            receipts.note((named(1), ReceiptKind::Read, 1), asker(0, None), true, false),
            ReceiptStep::Refuse,
            "no memory"
        );
    }
}
