//! Access tokens (JWT, `typ: at+jwt`, RFC 9068) and rotating refresh tokens.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use vestibule_core::account::Status;
use vestibule_core::time::UnixMillis;

use crate::identity_cache::Subject;
use crate::jwt::{self, AccessClaims};
use crate::ports::{
    RefreshOutcome, SessionFound, SessionKind, SessionRecord, StoreError, StoreResult,
};
use crate::session::SignIn;
use crate::signing::Purpose;
use crate::{Actor, Authn, keyring};

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

/// A family of refresh tokens, however often renewed, ends after this many of their lives.
const FAMILY_LIVES: u32 = 12;

impl Authn {
    /// Makes a token session with its first pair of tokens.
    pub async fn issue_tokens(
        self: &Arc<Self>,
        sign_in: SignIn,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<Tokens> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            let life = this.settings().auth.refresh_lifetime;
            let end = now.plus(life.saturating_mul(FAMILY_LIVES));
            let session = sign_in.into_record(SessionKind::Token, end, now);
            let (refresh_token, digest) = keyring::mint(&this.active.load().keyring.refresh)?;
            this.store.create_session(session.clone(), None).await?;
            this.store.add_refresh_token(session.id, digest, now, now.plus(life)).await?;
            this.cache.something_new();
            let tokens = this.pair(&session, refresh_token, now)?;
            this.signed_in(&session, &actor, now);
            Ok(tokens)
        })
        .await
    }

    /// Uses a refresh token. `None`: it does not hold (a second use also ends the family).
    pub async fn refresh(
        self: &Arc<Self>,
        refresh_token: &str,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<Option<Tokens>> {
        let active = self.active.load_full();
        let digest = keyring::open(&active.keyring.refresh, refresh_token.as_bytes());
        let Some(digest) = digest else { return Ok(None) };
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            let (next, next_digest) = keyring::mint(&active.keyring.refresh)?;
            let end = now.plus(active.settings.auth.refresh_lifetime);
            let outcome = this.store.rotate_refresh_token(&digest, next_digest, now, end).await?;
            match outcome {
                RefreshOutcome::Rotated(found) => this.renewed(*found, next, now).await,
                RefreshOutcome::Reused(session) => {
                    this.revoke(&[Subject::Session(session)]);
                    let detail = "reason=refresh-token-reused";
                    this.audit_by(&actor, "session.revoked", session, "success", detail, now);
                    Ok(None)
                }
                RefreshOutcome::Unknown => Ok(None),
            }
        })
        .await
    }

    /// The same checks as at a sign-in.
    async fn renewed(
        &self,
        found: SessionFound,
        next: String,
        now: UnixMillis,
    ) -> StoreResult<Option<Tokens>> {
        let refused = self.is_shut_out(&found.account)
            || found.account.effective_status() == Status::Disabled
            || found.account.must_change_password
            || found.session.expires_at <= now;
        if refused {
            return Ok(None);
        }
        self.pending.sessions.note(found.session.id, now);
        self.pair(&found.session, next, now).map(Some)
    }

    fn pair(
        &self,
        session: &SessionRecord,
        refresh_token: String,
        now: UnixMillis,
    ) -> StoreResult<Tokens> {
        let active = self.active.load_full();
        let life = active.settings.auth.access_lifetime.min(session.expires_at.since(now));
        let claims = AccessClaims {
            iss: active.portal.clone(),
            aud: active.portal.clone(),
            sub: session.account.to_string(),
            sid: session.id.to_string(),
            jti: URL_SAFE_NO_PAD.encode(keyring::random::<16>()?),
            iat: now.secs(),
            exp: now.plus(life).secs(),
            nbf: None,
        };
        let signing = self.signing.load();
        let signed = match active.keyring.jwt.first() {
            Some((key, _)) => jwt::sign(jwt::ACCESS_TOKEN, None, key, &claims),
            None => signing
                .signer(Purpose::AccessToken, now)
                .and_then(|k| jwt::sign(jwt::ACCESS_TOKEN, Some(&k.kid), &k.encoding, &claims)),
        };
        let access_token = signed
            .ok_or_else(|| StoreError::Unavailable("an access token cannot be signed".into()))?;
        Ok(Tokens { access_token, refresh_token, expires_in: life })
    }
}
