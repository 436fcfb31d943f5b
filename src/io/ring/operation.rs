//! What an operation is called between its submission and its completions: the 64 bits of `user_data`.

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OperationKind {
    /// An accept; in the kernel's hands the index is that of the accept, in a completion it is the listener's.
    Accept = 1,
    /// One-shot wait until a socket is readable; the index is the slot's.
    Poll = 2,
    /// A receive, one-shot or multishot; the index is the slot's.
    Receive = 3,
    /// A send; in the kernel's hands the index is that of the send, in a completion it is the slot's.
    Send = 4,
    /// Half-close; the index is the slot's.
    Shutdown = 5,
    /// Freeing of a slot, which completes only when it fails; the index is the slot's.
    Close = 6,
    /// A cancellation, whose outcome shows in the completions of what it cancels.
    Cancel = 7,
    /// Multishot wait on the descriptor by which other threads wake this one.
    Wake = 8,
}

/// Names one operation. The generation tells the uses of a slot apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What it is.
    pub kind: OperationKind,
    /// Which use of the slot; 0 for what belongs to no slot.
    pub generation: u16,
    /// Which slot, listener or send.
    pub index: u32,
}

impl Operation {
    /// A operation.
    #[must_use]
    pub const fn new(kind: OperationKind, generation: u16, index: u32) -> Operation {
        Operation { kind, generation, index }
    }

    pub(super) const fn to_user_data(self) -> u64 {
        (self.kind as u64) << 56 | (self.generation as u64) << 32 | self.index as u64
    }

    pub(super) fn from_user_data(data: u64) -> Operation {
        let kind = match data >> 56 {
            1 => OperationKind::Accept,
            2 => OperationKind::Poll,
            3 => OperationKind::Receive,
            4 => OperationKind::Send,
            5 => OperationKind::Shutdown,
            6 => OperationKind::Close,
            7 => OperationKind::Cancel,
            8 => OperationKind::Wake,
            other => unreachable!("the kernel returned user data of kind {other}, which no operation carries"),
        };
        Operation { kind, generation: (data >> 32) as u16, index: data as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let kinds = [
            OperationKind::Accept,
            OperationKind::Poll,
            OperationKind::Receive,
            OperationKind::Send,
            OperationKind::Shutdown,
            OperationKind::Close,
            OperationKind::Cancel,
            OperationKind::Wake,
        ];
        for kind in kinds {
            let operation = Operation::new(kind, 0xabcd, 0xffff_fffe);
            assert_eq!(Operation::from_user_data(operation.to_user_data()), operation);
        }
    }
}
