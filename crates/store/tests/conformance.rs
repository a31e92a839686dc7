//! What every backend of the store must do, as one suite; here it runs against SQLite.
//!
//! A further backend adds one `conformance!` line with a function that makes an empty store.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

use std::sync::Arc;

use vestibule_authn::ports::Store;
use vestibule_core::settings::secrets::StoreKey;
use vestibule_store::sqlite::SqliteStore;

#[path = "conformance/suite.rs"]
mod suite;

/// An empty store and whatever must live as long as it.
struct Fresh {
    store: Arc<dyn Store>,
    _dir: tempfile::TempDir,
}

async fn sqlite() -> Fresh {
    let dir = tempfile::tempdir().unwrap();
    let key = StoreKey::from_hex(&"5a".repeat(32)).unwrap();
    let store = SqliteStore::open(&dir.path().join("vestibule.db"), &[key]).await.unwrap();
    Fresh { store: Arc::new(store), _dir: dir }
}

macro_rules! conformance {
    ($backend:ident: $($claim:ident),+ $(,)?) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let fresh = super::$backend().await;
                    super::suite::$claim(std::sync::Arc::clone(&fresh.store)).await;
                }
            )+
        }
    };
}

conformance!(sqlite:
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
);
