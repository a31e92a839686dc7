//! The signed assertion an app can check by itself (`X-Vestibule-Assertion`), and our JWKS.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use vestibule_core::account::Status;
use vestibule_core::identity::Identity;
use vestibule_core::time::UnixMillis;

use crate::signing::Purpose;
use crate::{Authn, jwt, keyring};

/// How long an assertion holds.
pub(crate) const LIFETIME: Duration = Duration::from_secs(300);
/// At least this much of its life is left when it is handed out.
const HALF_LIFE: Duration = Duration::from_secs(150);

/// A signed assertion and how long it may still be handed out.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// The compact JWT (`typ: vestibule-assertion+jwt`, EdDSA, 5 minutes).
    pub token: String,
    /// From here on (half its life, or the credential's end) a new one must be made.
    pub renew_at: UnixMillis,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    email_verified: bool,
    name: &'a str,
    groups: &'a [&'a str],
    role: &'static str,
    amr: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    iat: i64,
    exp: i64,
    jti: String,
}

impl Authn {
    /// Signs an assertion for one app origin. `groups`: the ones that the route tells.
    /// Costs a signature: the caller keeps it per identity generation and origin.
    ///
    /// `None` for accounts that are not active, and where the system's cryptography fails.
    pub fn sign_assertion(
        &self,
        identity: &Identity,
        app_origin: &str,
        groups: &[&str],
        now: UnixMillis,
    ) -> Option<Assertion> {
        if identity.status != Status::Active {
            return None;
        }
        let active = self.active.load();
        let keys = self.signing.load();
        let key = keys.signer(Purpose::Assertion, now)?;
        let claims = Claims {
            iss: &active.portal,
            aud: app_origin,
            sub: identity
                .account
                .map_or_else(|| identity.username.to_string(), |id| id.to_string()),
            username: &identity.username,
            email: identity.email.as_deref(),
            email_verified: identity.email.is_some(),
            name: &identity.name,
            groups,
            role: identity.role.as_str(),
            amr: identity.amr.iter().map(|word| &**word).collect(),
            auth_time: identity.auth_time.map(UnixMillis::secs),
            sid: identity.session.map(|id| id.to_string()),
            iat: now.secs(),
            exp: now.plus(LIFETIME).secs(),
            jti: URL_SAFE_NO_PAD.encode(keyring::random::<16>().ok()?),
        };
        let token = jwt::sign(jwt::ASSERTION, Some(&key.kid), &key.encoding, &claims)?;
        Some(Assertion { token, renew_at: now.plus(HALF_LIFE).min(identity.expires_at) })
    }
}
