//! Access tokens (JWT, `typ: at+jwt`, RFC 9068) and rotating refresh tokens.

use std::sync::Arc;
use std::time::Duration;

use vestibule_core::time::UnixMillis;

use crate::ports::StoreResult;
use crate::session::SignIn;
use crate::{Actor, Authn};

/// What `POST /login` and `POST /refresh` answer.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// Life of the access token.
    pub expires_in: Duration,
}

impl Authn {
    /// Makes a token session with its first pair of tokens.
    pub async fn issue_tokens(
        self: &Arc<Self>,
        sign_in: SignIn,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<Tokens> {
        let _ = (sign_in, actor, now);
        todo!("authn helper")
    }

    /// Uses a refresh token. `None`: it does not hold (a second use also ends the family).
    pub async fn refresh(
        self: &Arc<Self>,
        refresh_token: &str,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<Option<Tokens>> {
        let _ = (refresh_token, actor, now);
        todo!("authn helper")
    }
}
