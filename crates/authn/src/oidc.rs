//! OpenID Connect and OAuth 2 as a relying party: discovery, the authorization request, the
//! token endpoint, ID tokens, UserInfo. Knows the protocol; knows neither accounts nor pages
//! (those are [`crate::provider`]).
//!
//! Protocol messages are the `openidconnect` crate's ([`client`]); tokens are read by our own
//! strict reading ([`crate::jose`]), the same for every kind of token. See
//! `docs/decisions/0030-who-reads-a-token.md`.

pub(crate) mod client;
pub(crate) mod github;
pub(crate) mod id_token;
pub(crate) mod metadata;
pub(crate) mod person;
pub(crate) mod remote;
pub(crate) mod userinfo;

use std::time::Duration;

/// How long a sign-in at a provider may take, and how long the cookie that binds it lives.
pub const FLOW_LIFETIME: Duration = Duration::from_secs(600);

/// Why a step at a provider failed. The word is for logs and stable; the sentence tells the
/// person what to do and holds nothing that the provider wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub(crate) struct Fault {
    pub(crate) reason: &'static str,
    /// For the log: what was found.
    pub(crate) detail: String,
    /// For the person.
    pub(crate) advice: &'static str,
}

pub(crate) const TRY_AGAIN: &str = "Go back to the sign-in page and try again.";
pub(crate) const PROVIDER_DOWN: &str = "The provider does not answer at the moment. Try again in \
    a few minutes, or sign in another way.";
pub(crate) const TELL_ADMIN: &str = "The sign-in with this provider is not set up right. Tell an \
    administrator, and name the request below.";
pub(crate) const CLOCKS: &str = "The clocks of this server and of the provider disagree. Tell an \
    administrator, and name the request below.";

impl Fault {
    pub(crate) fn new(
        reason: &'static str,
        detail: impl Into<String>,
        advice: &'static str,
    ) -> Self {
        Self { reason, detail: detail.into(), advice }
    }
}

impl From<crate::jose::Bad> for Fault {
    fn from(bad: crate::jose::Bad) -> Self {
        let advice = match bad.0 {
            "token_expired" | "token_from_the_future" | "token_not_yet_valid" => CLOCKS,
            "jwks_unavailable" | "jwks_status" => PROVIDER_DOWN,
            _ => TELL_ADMIN,
        };
        Self::new(bad.0, "", advice)
    }
}
