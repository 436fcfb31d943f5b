//! What every store does, whatever it keeps its rooms in: checks over a small trait, run once for each kind of store. Knows no
//! kind of store.
//!
//! `subject` is the trait, `say` makes requests short; `history`, `pages`, `restarts`, `roles`, `rooms` and `beside` hold the
//! checks, and [`conformance`] makes a test of each.

pub mod beside;
pub mod history;
pub mod pages;
pub mod restarts;
pub mod roles;
pub mod rooms;
pub mod say;
pub mod subject;

/// A test for each check, over what the closure makes of [`subject::Conditions`].
macro_rules! conformance {
    ($make:expr) => {
        $crate::store::conformance::tests_of! { $make;
            history::a_room_keeps_its_first_epoch_and_its_records,
            history::records_that_are_not_next_change_nothing,
            history::a_load_gives_the_newest_records_without_holes,
            history::keys_outlive_their_records_until_their_window_ends,
            history::records_over_the_bound_are_not_shown_and_go,
            history::records_expire_and_the_numbering_stays_until_its_time,
            history::an_inbox_keeps_what_is_not_delivered,
            pages::pages_are_those_of_the_model,
            pages::a_page_of_another_numbering_is_empty,
            pages::large_records_end_a_page,
            restarts::what_is_kept_is_there_after_a_restart,
            restarts::unclean_ends_renumber_the_rooms_of_that_boot_if_it_was_behind,
            restarts::a_deleted_room_is_another_room_when_it_comes_back,
            restarts::records_of_a_deleted_life_are_dropped,
            roles::roles_and_refusals,
            roles::the_last_owner_stays,
            roles::administrators_do_what_owners_do,
            roles::members_of_a_room_are_bounded,
            roles::rooms_of_a_user_are_bounded,
            rooms::a_room_is_created_once_and_not_over_messages,
            rooms::what_was_not_created_is_not_there,
            rooms::private_rooms_are_closed_to_strangers,
            rooms::invites_let_in_as_often_and_as_long_as_they_say,
            rooms::valid_invites_are_bounded,
            rooms::receipts_rise_to_the_head,
            rooms::users_with_receipts_are_bounded,
            rooms::rooms_of_a_user_are_listed_in_order,
            beside::sessions_are_found_until_they_expire,
            beside::sessions_that_a_boot_left_open_expire,
            beside::the_oldest_sessions_go_first,
            beside::accounts_are_kept_in_order,
            beside::the_first_signing_key_stays,
            beside::dead_letters_are_numbered_and_bounded,
        }
    };
}

macro_rules! tests_of {
    ($make:expr; $($file:ident::$check:ident,)*) => {
        $(
            #[test]
            fn $check() {
                $crate::store::conformance::$file::$check(&$make);
            }
        )*
    };
}

pub(crate) use {conformance, tests_of};
