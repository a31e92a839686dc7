//! The one-time token of `/setup`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use vestibule_core::settings::auth::{FirstUser, Mode};
use vestibule_core::time::UnixMillis;

use crate::ports::Digest;
use crate::{Authn, keyring};

const LIFETIME: Duration = Duration::from_secs(3600);

/// The token of this start; it never reaches the store.
#[derive(Default)]
pub(crate) struct Setup {
    token: Mutex<Option<(Digest, UnixMillis)>>,
    closed: AtomicBool,
}

impl Setup {
    /// A user exists; the page is gone for good.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Authn {
    /// A new setup token (32 random bytes, 1 h), replacing any earlier one; `None` where a user exists
    /// or the settings ask for another way. `gateway` writes the URL to `data_dir/setup-url`.
    pub async fn new_setup_token(self: &Arc<Self>, now: UnixMillis) -> Option<String> {
        if !self.is_setup_open().await {
            return None;
        }
        let token = URL_SAFE_NO_PAD.encode(keyring::random::<32>().ok()?);
        let kept = (keyring::sha256(token.as_bytes()), now.plus(LIFETIME));
        *self.setup.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Some(token)
    }

    /// Whether `/setup` exists at the moment: no user yet, `first_user = "setup"`.
    /// A store that cannot be asked counts as "no".
    pub async fn is_setup_open(self: &Arc<Self>) -> bool {
        let settings = self.settings();
        let auth = &settings.auth;
        let asked_for =
            auth.mode == Mode::Full && !auth.is_off() && auth.first_user == FirstUser::Setup;
        if !asked_for || self.setup.closed.load(Ordering::SeqCst) {
            return false;
        }
        let this = self.clone();
        match self.on_service(async move { this.store.count_accounts().await }).await {
            Ok(0) => true,
            Ok(_) => {
                self.setup.close();
                false
            }
            Err(_) => false,
        }
    }

    /// Whether the text is the setup token of this start. Does not use it up:
    /// [`Authn::set_up_first_admin`] closes the page for good.
    pub fn is_setup_token(&self, text: &str, now: UnixMillis) -> bool {
        let token = self.setup.token.lock().unwrap_or_else(PoisonError::into_inner);
        token.is_some_and(|(digest, end)| {
            now < end && bool::from(keyring::sha256(text.as_bytes()).ct_eq(&digest))
        })
    }
}
