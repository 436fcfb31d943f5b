//! Whether a room was created, as far as its owner knows, and who may bring one into being.

use crate::engine::access::Standing;
use crate::engine::settings::CreationPolicy;

/// Whether a room was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Creation {
    /// It was not. It has no roles, and anyone whose token allows it may join.
    #[default]
    Not,
    /// It was: the store decides who may join, and by which role.
    Done,
    /// The store was asked to create it and has not answered in time.
    Unsure,
    /// The store was asked to delete it and has not answered in time.
    DeletionUnsure,
}

impl Creation {
    /// Whether the store must be asked who may join: it was created, or may have been.
    pub const fn asks_store(self) -> bool {
        !matches!(self, Creation::Not)
    }
}

/// Whether a policy lets somebody of this standing bring a room into being.
pub(super) fn may_create(policy: CreationPolicy, standing: Standing) -> bool {
    match policy {
        CreationPolicy::Anyone => true,
        CreationPolicy::Named => standing >= Standing::Named,
        CreationPolicy::Admin => standing >= Standing::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_has_its_least_standing() {
        let lets = |policy| [Standing::Anyone, Standing::Named, Standing::Admin].map(|own| may_create(policy, own));
        assert_eq!(lets(CreationPolicy::Anyone), [true; 3]);
        assert_eq!(lets(CreationPolicy::Named), [false, true, true]);
        assert_eq!(lets(CreationPolicy::Admin), [false, false, true]);
    }
}
