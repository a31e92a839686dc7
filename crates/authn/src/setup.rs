//! The one-time token of `/setup`.

use std::sync::Arc;

use vestibule_core::time::UnixMillis;

use crate::Authn;

impl Authn {
    /// A new setup token (32 random bytes, 1 h), replacing any earlier one; `None` where a user exists
    /// or the settings ask for another way. `gateway` writes the URL to `data_dir/setup-url`.
    pub async fn new_setup_token(self: &Arc<Self>, now: UnixMillis) -> Option<String> {
        let _ = now;
        todo!("authn helper")
    }

    /// Whether `/setup` exists at the moment: no user yet, `first_user = "setup"`.
    pub async fn is_setup_open(self: &Arc<Self>) -> bool {
        todo!("authn helper")
    }

    /// Whether the text is the setup token of this start. Does not use it up:
    /// [`Authn::set_up_first_admin`] closes the page for good.
    pub fn is_setup_token(&self, text: &str, now: UnixMillis) -> bool {
        let _ = (text, now);
        todo!("authn helper")
    }
}
