//! Owns the identity of an operation between its submission and its completions: the 64 bits of `user_data`. Never
//! acts.

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OperationKind {
    /// Accept. The index is the accept's in the kernel, the listener's in a completion.
    Accept = 1,
    /// One-shot wait until a socket is readable. The index is the slot.
    Poll = 2,
    /// Receive, one-shot or multishot. The index is the slot.
    Receive = 3,
    /// Send. The index is the send's in the kernel, the slot in a completion.
    Send = 4,
    /// Half-close. The index is the slot.
    Shutdown = 5,
    /// Frees a slot; completes only on failure. The index is the slot.
    Close = 6,
    /// Cancellation. The canceled operations' completions show its effect.
    Cancel = 7,
    /// Multishot wait on the eventfd by which other threads wake this core.
    Wake = 8,
}

/// Identifies one operation. The generation distinguishes the uses of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The kind.
    pub kind: OperationKind,
    /// The use of the slot; 0 for an operation without a slot.
    pub generation: u16,
    /// The slot, listener, accept or send.
    pub index: u32,
}

impl Operation {
    /// Creates an identity.
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
