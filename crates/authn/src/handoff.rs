//! From the portal's session to an app host's own token (CONTRACT section 4).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use vestibule_core::id::SessionId;
use vestibule_core::time::UnixMillis;

use crate::ports::{OneTimeKind, StoreError, StoreResult};
use crate::{Actor, Authn, keyring};

/// How long a hand-off code lives.
pub const CODE_LIFETIME: std::time::Duration = std::time::Duration::from_secs(60);
/// How long a flow cookie lives.
pub const FLOW_LIFETIME: std::time::Duration = std::time::Duration::from_secs(600);

/// A redeemed hand-off.
#[derive(Clone, Debug)]
pub struct HostSession {
    /// The app host's cookie value.
    pub token: String,
    /// Its Max-Age, where the session is remembered.
    pub max_age: Option<std::time::Duration>,
}

/// What a code stands for.
#[derive(Serialize, Deserialize)]
struct Bound {
    session: String,
    host: String,
    state: String,
}

impl Authn {
    /// A random value for a flow cookie.
    pub fn new_flow(&self) -> String {
        // Without randomness there is no flow: an empty value matches no state.
        keyring::random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default()
    }

    /// `state` of a flow cookie's value: base64url of its SHA-256.
    pub fn flow_state(flow: &str) -> String {
        URL_SAFE_NO_PAD.encode(keyring::sha256(flow.as_bytes()))
    }

    /// Mints a code for one host and state: single use, [`CODE_LIFETIME`].
    pub async fn mint_handoff(
        self: &Arc<Self>,
        session: SessionId,
        host: &str,
        state: &str,
        now: UnixMillis,
    ) -> StoreResult<String> {
        let this = self.clone();
        let bound = Bound {
            session: session.to_string(),
            host: host.to_ascii_lowercase(),
            state: state.to_owned(),
        };
        self.on_service(async move {
            let (code, digest) = keyring::mint(&this.active.load().keyring.one_time)?;
            let value = serde_json::to_vec(&bound)
                .map_err(|_| StoreError::Unavailable("a hand-off cannot be written".into()))?;
            let end = now.plus(CODE_LIFETIME);
            this.store.put_one_time(OneTimeKind::Handoff, digest, value, end).await?;
            Ok(code)
        })
        .await
    }

    /// Redeems a code. `None`: missing, wrong, used, or for another host or browser.
    pub async fn redeem_handoff(
        self: &Arc<Self>,
        code: &str,
        host: &str,
        state: &str,
        flow: &str,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<Option<HostSession>> {
        let digest = keyring::open(&self.active.load().keyring.one_time, code.as_bytes());
        let own_state = Self::flow_state(flow);
        let same_browser = bool::from(own_state.as_bytes().ct_eq(state.as_bytes()));
        // Another browser's code is not used up by trying.
        let Some(digest) = digest.filter(|_| same_browser && !flow.is_empty()) else {
            return Ok(None);
        };
        let (this, host) = (self.clone(), host.to_ascii_lowercase());
        let actor = actor.clone();
        self.on_service(async move {
            this.tick(now);
            let taken = this.store.take_one_time(OneTimeKind::Handoff, &digest, now).await?;
            let bound = taken.and_then(|value| serde_json::from_slice::<Bound>(&value).ok());
            let Some(bound) = bound.filter(|b| b.host == host && b.state == own_state) else {
                return Ok(None);
            };
            let Ok(id) = bound.session.parse::<SessionId>() else { return Ok(None) };
            let Some(found) = this.store.session(id).await? else { return Ok(None) };
            if found.session.expires_at <= now || this.is_shut_out(&found.account) {
                return Ok(None);
            }
            let (token, digest) = keyring::mint(&this.active.load().keyring.session)?;
            match this.store.add_host_token(id, &host, digest, now).await {
                Ok(()) => {}
                // Signed out in between.
                Err(StoreError::NotFound) => return Ok(None),
                Err(error) => return Err(error),
            }
            this.cache.something_new();
            tracing::debug!(session = %id, host, request_id = %actor.request_id, "an app host got its own token");
            let session = found.session;
            let max_age = session.remember.then(|| session.expires_at.since(now));
            Ok(Some(HostSession { token, max_age }))
        })
        .await
    }
}
