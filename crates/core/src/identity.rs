//! Who a credential proved.

use std::sync::Arc;

use crate::account::{Account, Role, Status};
use crate::api_key::{RateLimit, Scopes};
use crate::credential::CredentialKind;
use crate::group::Group;
use crate::id::{AccountId, KeyId, SessionId};
use crate::secret::Secret;
use crate::time::UnixMillis;

/// Who stands behind a request, as proved by one credential at one moment.
///
/// Made by `authn`, kept in its cache behind an `Arc`, read by policy and by both doors.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Unique to this value: differs whenever anything below may differ. Rendered header
    /// values are kept under it.
    pub generation: u64,
    /// The account; `None` for a foreign JWT.
    pub account: Option<AccountId>,
    /// The account's user name, `<issuer name>:<sub>` for a foreign JWT, `anonymous` in mode none.
    pub username: Arc<str>,
    /// Verified addresses only.
    pub email: Option<Arc<str>>,
    /// Display name, may be empty.
    pub name: Arc<str>,
    /// Role; always [`Role::User`] for foreign JWTs without a map.
    pub role: Role,
    /// An administrator's is always active.
    pub status: Status,
    /// Sorted.
    pub groups: Arc<[Group]>,
    /// What kind of credential proved it.
    pub credential: CredentialKind,
    /// The session behind a cookie or an access token.
    pub session: Option<SessionId>,
    /// The API key, for keys and Basic.
    pub key: Option<KeyId>,
    /// What narrows the owner's rights; [`Scopes::all`] for everything but keys.
    pub scopes: Scopes,
    /// The key's own limit, for keys.
    pub rate_limit: Option<RateLimit>,
    /// When the person last proved who they are. Sessions and own tokens only.
    pub auth_time: Option<UnixMillis>,
    /// Authentication methods (RFC 8176 words).
    pub amr: Arc<[Arc<str>]>,
    /// Whether the sign-in counts as multi-factor.
    pub mfa: bool,
    /// String claims of a foreign JWT, for the criterion `claims`; a list is several entries.
    pub claims: Arc<[(Arc<str>, Arc<str>)]>,
    /// What the provider of the sign-in issued, for routes that pass it on.
    pub provider_tokens: Option<Arc<ProviderTokens>>,
    /// Signs in, but reaches nothing until the password is changed.
    pub must_change_password: bool,
    /// From here on the credential is void. Never in the future of the credential's own end.
    pub expires_at: UnixMillis,
}

impl Identity {
    /// The start of an identity for an account: everything that comes from the account,
    /// with an unlimited credential of the given kind.
    pub fn of_account(
        account: &Account,
        credential: CredentialKind,
        generation: u64,
        expires_at: UnixMillis,
    ) -> Self {
        Self {
            generation,
            account: Some(account.id),
            username: account.username.clone(),
            email: account.verified_email().cloned(),
            name: account.name.clone(),
            role: account.role,
            status: account.effective_status(),
            groups: account.groups.clone(),
            credential,
            session: None,
            key: None,
            scopes: Scopes::all(),
            rate_limit: None,
            auth_time: None,
            amr: Arc::new([]),
            mfa: false,
            claims: Arc::new([]),
            provider_tokens: None,
            must_change_password: account.must_change_password,
            expires_at,
        }
    }
}

/// The tokens that a provider issued at a sign-in, as they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderTokens {
    /// The access token.
    pub access_token: Secret,
    /// The ID token, where there is one.
    pub id_token: Option<Secret>,
}
