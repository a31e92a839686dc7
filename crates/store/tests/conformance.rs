//! What every backend of the store must do, as one suite; here it runs against SQLite.
//!
//! A further backend adds one `conformance!` and one `providers!` line with a function that
//! makes an empty store. The double in memory that the tests of `authn` use is held to the
//! claims of providers too: whole sign-ins are tested on it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

use std::sync::Arc;

use vestibule_authn::ports::Store;
use vestibule_core::settings::secrets::StoreKey;
use vestibule_store::sqlite::SqliteStore;

#[path = "conformance/denied_jwts.rs"]
mod denied_jwts;
#[path = "conformance/links.rs"]
mod links;
#[allow(dead_code, reason = "most of it serves the tests of `authn`")]
#[path = "../../authn/tests/flows/memory.rs"]
mod memory_double;
#[path = "conformance/once.rs"]
mod once;
#[path = "conformance/provider_sessions.rs"]
mod provider_sessions;
#[path = "conformance/stored_providers.rs"]
mod stored_providers;
#[path = "conformance/suite.rs"]
mod suite;

/// An empty store and whatever must live as long as it.
struct Fresh {
    store: Arc<dyn Store>,
    _dir: Option<tempfile::TempDir>,
}

async fn sqlite() -> Fresh {
    let dir = tempfile::tempdir().unwrap();
    let key = StoreKey::from_hex(&"5a".repeat(32)).unwrap();
    let store = SqliteStore::open(&dir.path().join("vestibule.db"), &[key]).await.unwrap();
    Fresh { store: Arc::new(store), _dir: Some(dir) }
}

async fn memory() -> Fresh {
    Fresh { store: memory_double::Memory::new(), _dir: None }
}

macro_rules! conformance {
    ($name:ident, $backend:ident: $($module:ident { $($claim:ident),+ $(,)? })+) => {
        mod $name {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let fresh = super::$backend().await;
                    super::$module::$claim(std::sync::Arc::clone(&fresh.store)).await;
                }
            )+)+
        }
    };
}

macro_rules! providers {
    ($name:ident, $backend:ident) => {
        conformance!($name, $backend:
            denied_jwts {
                a_denial_holds_for_its_issuer_and_claim_only,
                a_denial_is_taken_back_once,
            }
            links {
                a_late_note_never_brings_an_unlinked_identity_back,
                a_linked_account_is_made_whole_or_not_at_all,
                a_note_of_a_sign_in_changes_link_and_account_together,
                a_note_that_is_refused_leaves_link_and_account_as_they_were,
                a_refused_link_takes_nothing_from_the_account,
                f3_a_deleted_account_leaves_no_identity_behind,
                g8_a_linked_identity_never_moves_to_another_account,
                g8_an_identity_is_issuer_and_subject_byte_for_byte,
                g8_of_100_first_sign_ins_of_one_identity_one_makes_an_account,
                g8_one_subject_joined_by_100_accounts_at_once_is_joined_to_one,
                joining_empties_an_account_of_every_other_way_in,
                joining_without_emptying_only_adds,
                links_are_listed_oldest_first_and_removed_by_their_owner,
                seed_001_57_of_100_first_identities_one_becomes_administrator,
                seed_001_59_an_administrator_is_made_only_while_there_is_none,
                seed_001_59_of_100_bootstraps_at_once_one_becomes_administrator,
            }
            once {
                a_look_takes_nothing,
                g10_of_100_replays_of_a_logout_token_one_is_new,
                what_is_over_may_happen_again,
            }
            provider_sessions {
                a_session_at_a_provider_is_made_whole_or_not_at_all,
                an_ended_session_gets_no_tokens_back,
                f3_tokens_end_with_their_session,
                g5_tokens_of_100_sign_ins_at_once_stay_apart,
                g10_a_logout_token_names_sessions_of_its_issuer_only,
                f3_sessions_of_providers_that_are_gone_end_and_no_others,
                what_a_session_keeps_of_its_provider_is_read_back_and_replaced,
            }
            stored_providers {
                a_removed_provider_leaves_no_secret_to_its_successor,
                a_secret_that_is_not_given_stays,
                providers_are_listed_in_order_of_creation,
            }
        );
    };
}

providers!(memory_providers, memory);
providers!(sqlite_providers, sqlite);

conformance!(sqlite, sqlite: suite {
    a_batch_of_touches_moves_times_forward_only,
    a_change_of_an_account_leaves_the_rest_as_it_was,
    a_host_token_needs_a_live_session,
    a_key_is_found_by_its_hash_with_its_owner,
    a_known_browser_is_known_for_its_account_only,
    a_new_token_voids_every_older_one,
    a_refresh_token_is_used_once_and_a_second_use_ends_its_session,
    a_refresh_token_of_an_ended_session_is_unknown,
    a_session_needs_an_account,
    a_taken_username_gets_a_number,
    accounts_are_listed_in_order_of_creation,
    audit_is_read_newest_first,
    deleting_an_account_takes_everything_it_owns,
    ending_sessions_spares_the_excepted_one,
    g14_a_one_time_value_is_taken_by_one_of_100,
    missing_things_are_not_found,
    notes_are_replaced,
    one_email_in_two_spellings_is_one_account,
    parallel_uses_of_one_refresh_token_rotate_it_once,
    seed_001_57_of_100_first_sign_ups_one_becomes_administrator,
    seed_003_23_of_100_first_administrators_one_is_made,
    signing_keys_are_added_once,
    the_first_account_becomes_administrator_and_no_other,
    the_last_administrator_stays,
    the_purge_takes_what_is_over_and_nothing_else,
});
