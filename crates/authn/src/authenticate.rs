//! The chain of credentials ("Which credential decides", CONTRACT section 4).
//!
//! [`crate::Authn::read`] classifies what a request shows, without a look-up.
//! [`crate::Authn::authenticate_cached`] answers from the cache or from cryptography alone, and is
//! synchronous; only where it answers `None` is [`crate::Authn::authenticate`] awaited.

use std::net::IpAddr;
use std::sync::Arc;

use vestibule_core::identity::Identity;
use vestibule_core::time::UnixMillis;
use vestibule_core::verdict::Reason;

use crate::Authn;

/// The header fields that may hold a credential, as received.
#[derive(Clone, Copy, Debug, Default)]
pub struct CredentialHeaders<'a> {
    /// `Authorization`
    pub authorization: Option<&'a [u8]>,
    /// `X-Api-Key`
    pub x_api_key: Option<&'a [u8]>,
    /// Every `Cookie` field, joined in order.
    pub cookies: &'a [&'a [u8]],
}

/// Which host asks, for tokens that are bound to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience<'a> {
    /// An app's host, canonical, without port.
    App(&'a str),
    /// The portal (and apps that share its host).
    Portal,
}

/// What a request shows, classified by form alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// A string of ours by form: an API key.
    ApiKey(String),
    /// Ours by form and already known to be malformed.
    Bad,
    /// Nothing.
    Nothing,
    /// An access token of ours by form (`iss` is the portal).
    Token(String),
    /// A session cookie whose tag holds: the token's digest.
    Session(crate::ports::Digest),
}

/// What [`crate::Authn::read`] found.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The credential that decides.
    pub presented: Presented,
    /// `Authorization` is ours by form: it never reaches an app.
    pub authorization_is_ours: bool,
    /// `X-Api-Key` is ours by form: it never reaches an app.
    pub api_key_is_ours: bool,
    /// Some cookie of ours is present: `Cookie` must be cleaned.
    pub has_own_cookies: bool,
    /// The credential came from `Authorization: Basic`.
    pub basic: bool,
}

/// What a credential proved.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Somebody.
    Identified(Arc<Identity>),
    /// Nothing was shown, or a cookie that means nothing any more.
    NotPresented,
    /// A credential of ours that does not hold: 401 `INVALID_CREDENTIAL`, also on public rules.
    Rejected(Reason),
    /// Over a key's limit, or too many bad credentials from one client.
    RateLimited(crate::rate_limit::Limited),
    /// The store could not be asked.
    Unavailable,
}

impl Authn {
    /// Classifies what a request shows. `takes_basic`: the route's rules name `basic`.
    /// No look-up is made; a cookie whose tag does not hold is nothing.
    pub fn read(&self, headers: &CredentialHeaders<'_>, takes_basic: bool) -> Reading {
        let _ = (headers, takes_basic);
        todo!("authn helper")
    }

    /// Answers from the cache, or where no store is needed; `None`: ask [`Authn::authenticate`].
    /// Counts against a key's limit.
    pub fn authenticate_cached(
        &self,
        reading: &Reading,
        audience: Audience<'_>,
        client: IpAddr,
        now: UnixMillis,
    ) -> Option<Outcome> {
        let _ = (reading, audience, client, now);
        todo!("authn helper")
    }

    /// Answers with the store's help, loading each credential once however many ask.
    pub async fn authenticate(
        self: &Arc<Self>,
        reading: &Reading,
        audience: Audience<'_>,
        client: IpAddr,
        now: UnixMillis,
    ) -> Outcome {
        let _ = (reading, audience, client, now);
        todo!("authn helper")
    }

    /// The built-in administrator of mode none and bypass: user name `anonymous`.
    pub fn anonymous(&self, now: UnixMillis) -> Arc<Identity> {
        let _ = now;
        todo!("authn helper")
    }
}
