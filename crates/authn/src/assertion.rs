//! The signed assertion an app can check by itself (`X-Vestibule-Assertion`), and our JWKS.

use vestibule_core::identity::Identity;
use vestibule_core::time::UnixMillis;

use crate::Authn;

/// A signed assertion and how long it may still be handed out.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// The compact JWT (`typ: vestibule-assertion+jwt`, EdDSA, 5 minutes).
    pub token: String,
    /// From here on (half its life, or the credential's end) a new one must be made.
    pub renew_at: UnixMillis,
}

impl Authn {
    /// Signs an assertion for one app origin. `groups`: the ones that the route tells.
    /// Costs a signature: the caller keeps it per identity generation and origin.
    pub fn sign_assertion(
        &self,
        identity: &Identity,
        app_origin: &str,
        groups: &[&str],
        now: UnixMillis,
    ) -> Option<Assertion> {
        let _ = (identity, app_origin, groups, now);
        todo!("authn helper")
    }

    /// The public keys, as a JWK set (RFC 7517): assertions and, where they are EdDSA, access tokens.
    pub fn jwks(&self, now: UnixMillis) -> String {
        let _ = now;
        todo!("authn helper")
    }
}
