//! What `authn` asks of a store. SQLite implements it today; every backend passes one
//! conformance suite.
//!
//! Rules for an implementation: a write is durable when its future resolves (kill -9 loses
//! no acknowledged write); a one-time value is taken exactly once however many ask at once;
//! whatever must be read back (signing keys) is sealed at rest; tokens arrive here already
//! hashed.

use std::sync::Arc;

use async_trait::async_trait;

use vestibule_core::account::{Account, Role, Status};
use vestibule_core::api_key::{RateLimit, Scopes};
use vestibule_core::group::Group;
use vestibule_core::id::{AccountId, KeyId, SessionId};
use vestibule_core::secret::Secret;
use vestibule_core::settings::provider::spec::ProviderSpec;
use vestibule_core::time::UnixMillis;

/// SHA-256 of a token's secret part.
pub type Digest = [u8; 32];

/// Why a store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A unique value is taken; names which: `email`, `username`, `setup`, …
    #[error("{0} is already in use")]
    Conflict(&'static str),
    /// What was to be changed is not there.
    #[error("not found")]
    NotFound,
    /// It would leave no administrator.
    #[error("the last administrator cannot be demoted or deleted")]
    LastAdmin,
    /// The store cannot be asked at the moment. The text is for the log only.
    #[error("the store is unavailable: {0}")]
    Unavailable(Arc<str>),
}

/// Result of a store call.
pub type StoreResult<T> = Result<T, StoreError>;

/// A new account.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Made by the caller (UUID v4).
    pub id: AccountId,
    /// Wished user name; a number is added on collision.
    pub username: String,
    /// Canonical.
    pub email: Option<String>,
    /// Whether it counts.
    pub email_verified: bool,
    /// Display name.
    pub name: String,
    /// Role.
    pub role: Role,
    /// Status.
    pub status: Status,
    /// Groups.
    pub groups: Vec<Group>,
    /// PHC string; `None`: no password.
    pub password_hash: Option<String>,
    /// Must change it at the first sign-in.
    pub must_change_password: bool,
    /// When.
    pub created_at: UnixMillis,
}

/// Under what condition an account is made; checked in the same transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateCondition {
    /// Always.
    Always,
    /// Only while no account exists (else [`StoreError::Conflict`] with `"setup"`).
    NoAccounts,
    /// While no account exists the new one becomes an active administrator; otherwise it is made as given.
    FirstBecomesAdmin,
    /// While no administrator exists the new one becomes an active administrator; otherwise it is made as given.
    NoAdminBecomesAdmin,
}

/// A partial change of an account; `None` leaves as is.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// User name.
    pub username: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// E-mail and whether it is verified.
    pub email: Option<(Option<String>, bool)>,
    /// Role. [`StoreError::LastAdmin`] where it would leave no administrator.
    pub role: Option<Role>,
    /// Status.
    pub status: Option<Status>,
    /// Groups.
    pub groups: Option<Vec<Group>>,
    /// Password hash and whether it must be changed.
    pub password: Option<(Option<String>, bool)>,
}

/// An identity at a provider that an account signs in with. Its key is (issuer, subject).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderLink {
    /// The issuer, as its tokens say it (GitHub: its base URL).
    pub issuer: String,
    /// Who it is there: the configured subject claim. Never empty.
    pub subject: String,
    /// Whose.
    pub account: AccountId,
    /// The provider it was last used through.
    pub provider: String,
    /// How the provider calls the person, for lists.
    pub display: String,
    /// Groups that the account has because the provider last said so, sorted.
    pub groups: Vec<Group>,
    /// Role that the account has because the provider last said so.
    pub role: Option<Role>,
    /// When it was made.
    pub linked_at: UnixMillis,
    /// Last sign-in.
    pub last_used_at: UnixMillis,
}

/// What a session that began at a provider keeps of it (tokens sealed at rest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSession {
    /// Id of the provider.
    pub provider: String,
    /// `iss`
    pub issuer: String,
    /// The claim `sub` (not a configured subject claim): what logout tokens and refreshed
    /// tokens name.
    pub sub: String,
    /// The subject of the [`ProviderLink`].
    pub link_subject: String,
    /// `sid`, where the ID token had one.
    pub sid: Option<String>,
    /// The ID token, for `id_token_hint` and for routes that pass it on.
    pub id_token: Option<Secret>,
    /// The access token.
    pub access_token: Secret,
    /// The refresh token.
    pub refresh_token: Option<Secret>,
    /// When the access token ends and is to be renewed; `None`: never (no refresh token, or
    /// no end told).
    pub refresh_at: Option<UnixMillis>,
}

/// Which sessions a logout token names. Within one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderSessions<'a> {
    /// Every session of the person.
    Sub(&'a str),
    /// The session of that `sid`; where `sub` is given too, both must fit, and sessions of
    /// `sub` without any `sid` fit as well.
    Sid {
        /// `sid`
        sid: &'a str,
        /// `sub`
        sub: Option<&'a str>,
    },
}

/// A provider that an administrator made at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredProvider {
    /// Its keys, among them the id; the secret is sealed at rest.
    pub spec: ProviderSpec,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Last change.
    pub updated_at: UnixMillis,
}

/// A foreign JWT, or all of a subject's, that is taken no longer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeniedJwt {
    /// `iss`
    pub issuer: String,
    /// By what.
    pub by: DeniedBy,
}

/// What a [`DeniedJwt`] is denied by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeniedBy {
    /// `jti`
    Jti(String),
    /// `sub`
    Sub(String),
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// A browser's, with cookies.
    Browser,
    /// Behind access and refresh tokens.
    Token,
}

/// A session as stored.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// Public id.
    pub id: SessionId,
    /// Whose.
    pub account: AccountId,
    /// What for.
    pub kind: SessionKind,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When the person last proved who they are.
    pub auth_time: UnixMillis,
    /// Last use; never moves back.
    pub last_seen: UnixMillis,
    /// Absolute end.
    pub expires_at: UnixMillis,
    /// "Remember me".
    pub remember: bool,
    /// RFC 8176 words.
    pub amr: Vec<String>,
    /// Counts as multi-factor.
    pub mfa: bool,
    /// The portal must give the browser a new token at its next visit (role change).
    pub rotate: bool,
    /// Where it was made from, for the list.
    pub client_ip: String,
    /// What made it, cut to 256 bytes, for the list.
    pub user_agent: String,
}

/// A session found by one of its tokens.
#[derive(Clone, Debug)]
pub struct SessionFound {
    /// The session.
    pub session: SessionRecord,
    /// Its account.
    pub account: Account,
    /// The host (`host` or `host:port` as the hand-off named it) that the token is bound to; `None`: the portal's own token.
    pub host: Option<String>,
}

/// An API key as stored, without its secret.
#[derive(Clone, Debug)]
pub struct ApiKeyRecord {
    /// Public id.
    pub id: KeyId,
    /// Whose.
    pub owner: AccountId,
    /// Given by the owner.
    pub name: String,
    /// Of the key, without the underscore.
    pub prefix: String,
    /// First characters, for the list (prefix, `_` and 4 digits).
    pub start: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Its end.
    pub expires_at: Option<UnixMillis>,
    /// Switched off or on by its owner.
    pub enabled: bool,
    /// What narrows it.
    pub scopes: Scopes,
    /// Its own limit.
    pub rate_limit: Option<RateLimit>,
    /// Last use, at most 60 s late.
    pub last_used_at: Option<UnixMillis>,
}

/// A partial change of an API key; `None` leaves as is.
#[derive(Clone, Debug, Default)]
pub struct ApiKeyChange {
    /// Name.
    pub name: Option<String>,
    /// On or off.
    pub enabled: Option<bool>,
    /// A new end, or none.
    pub expires_at: Option<Option<UnixMillis>>,
    /// Scopes.
    pub scopes: Option<Scopes>,
    /// Its own limit, or the default one.
    pub rate_limit: Option<Option<RateLimit>>,
}

/// What became of a refresh token that was shown.
#[derive(Clone, Debug)]
pub enum RefreshOutcome {
    /// It was good; the new one is stored in the same transaction.
    Rotated(Box<SessionFound>),
    /// It was used before: its family (the session) is ended now.
    Reused(SessionId),
    /// Unknown, expired, or its session is over.
    Unknown,
}

/// A signing key as stored (sealed at rest).
#[derive(Clone)]
pub struct SigningKeyRecord {
    /// The `kid`.
    pub kid: String,
    /// `access-token` or `assertion`.
    pub purpose: String,
    /// PKCS#8 of the private key.
    pub pkcs8: Vec<u8>,
    /// When it was made; used for signing 10 minutes later, or at once where it is the first.
    pub created_at: UnixMillis,
    /// From here on it neither signs nor verifies.
    pub retired_at: Option<UnixMillis>,
}

/// Kinds of one-time value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OneTimeKind {
    /// A hand-off code for an app host.
    Handoff,
    /// A half-finished sign-in that waits for its second factor.
    MfaPending,
    /// A `jti` of a logout token that was taken.
    LogoutToken,
    /// An identity at a provider that waits for its owner's full sign-in, to be joined.
    ProviderLink,
    /// State of a sign-in at a provider.
    ProviderState,
}

impl OneTimeKind {
    /// The word in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handoff => "handoff",
            Self::MfaPending => "mfa-pending",
            Self::LogoutToken => "logout-token",
            Self::ProviderLink => "provider-link",
            Self::ProviderState => "provider-state",
        }
    }
}

/// Something that happened, for the audit trail. Never holds a secret.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// When.
    pub time: UnixMillis,
    /// Dotted name from CONTRACT section 9, e.g. `signin.success`.
    pub event: &'static str,
    /// Who did it: an account id, `cli`, `system`, or empty for nobody known.
    pub actor: String,
    /// To whom or what: an account, session or key id, an attempted e-mail.
    pub subject: String,
    /// From where; empty where there is no client.
    pub client_ip: String,
    /// The request; empty where there is none.
    pub request_id: String,
    /// `success` or `failure`.
    pub outcome: &'static str,
    /// Short machine-readable detail (`reason=…`), may be empty.
    pub detail: String,
}

/// A stored audit event, newest first in lists.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// Running number.
    pub seq: i64,
    /// Dotted name.
    pub event: String,
    /// See [`AuditEvent`].
    pub time: UnixMillis,
    /// See [`AuditEvent`].
    pub actor: String,
    /// See [`AuditEvent`].
    pub subject: String,
    /// See [`AuditEvent`].
    pub client_ip: String,
    /// See [`AuditEvent`].
    pub request_id: String,
    /// See [`AuditEvent`].
    pub outcome: String,
    /// See [`AuditEvent`].
    pub detail: String,
}

/// Facts for `GET /health/database`.
#[derive(Clone, Debug)]
pub struct StoreHealth {
    /// `sqlite`.
    pub engine: &'static str,
    /// Number of the newest applied migration.
    pub schema_version: i64,
    /// Octal file mode, `0600`.
    pub mode: String,
    /// `ok`, or what the integrity check said.
    pub integrity: String,
    /// Bytes on disk.
    pub size: u64,
    /// Newest backup.
    pub last_backup: Option<UnixMillis>,
}

/// The store port.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // Accounts.

    /// One account.
    async fn account(&self, id: AccountId) -> StoreResult<Option<Account>>;
    /// By canonical e-mail.
    async fn account_by_email(&self, email: &str) -> StoreResult<Option<Account>>;
    /// By user name (lower case).
    async fn account_by_username(&self, username: &str) -> StoreResult<Option<Account>>;
    /// All accounts after `after`, in order of creation, at most `limit`.
    async fn accounts(&self, after: Option<AccountId>, limit: u32) -> StoreResult<Vec<Account>>;
    /// How many accounts there are.
    async fn count_accounts(&self) -> StoreResult<u64>;
    /// Makes an account; a taken e-mail is [`StoreError::Conflict`], a taken user name gets a number.
    async fn create_account(&self, new: NewAccount, when: CreateCondition) -> StoreResult<Account>;
    /// Changes an account and returns it as it is then.
    async fn change_account(&self, id: AccountId, change: AccountChange) -> StoreResult<Account>;
    /// Deletes an account with everything it owns.
    async fn delete_account(&self, id: AccountId) -> StoreResult<()>;
    /// The password's PHC string.
    async fn password_hash(&self, id: AccountId) -> StoreResult<Option<String>>;

    // Sessions and their tokens.

    /// Stores a session with its portal token (`None` for [`SessionKind::Token`]).
    async fn create_session(
        &self,
        session: SessionRecord,
        token: Option<Digest>,
    ) -> StoreResult<()>;
    /// Finds the session of a token (portal's or an app host's) that is not over at `now`.
    async fn session_by_token(&self, token: &Digest) -> StoreResult<Option<SessionFound>>;
    /// A session with its account.
    async fn session(&self, id: SessionId) -> StoreResult<Option<SessionFound>>;
    /// Sessions of one account, or of all; newest first.
    async fn sessions(&self, account: Option<AccountId>) -> StoreResult<Vec<SessionRecord>>;
    /// Replaces the portal token, ends all host tokens, clears `rotate`, and sets what a new proof changes.
    async fn rotate_session(
        &self,
        id: SessionId,
        token: Digest,
        proof: Option<SessionProof>,
    ) -> StoreResult<()>;
    /// Marks all sessions of an account so that the portal gives them new tokens.
    async fn mark_sessions_for_rotation(&self, account: AccountId) -> StoreResult<()>;
    /// Adds an app host's token to a live session.
    async fn add_host_token(
        &self,
        session: SessionId,
        host: &str,
        token: Digest,
        now: UnixMillis,
    ) -> StoreResult<()>;
    /// Ends one session with all its tokens; whether it was there.
    async fn delete_session(&self, id: SessionId) -> StoreResult<bool>;
    /// Ends all sessions of an account but `except`; the ids that ended.
    async fn delete_sessions(
        &self,
        account: AccountId,
        except: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>>;
    /// Ends every session of everybody (a secret changed).
    async fn delete_all_sessions(&self) -> StoreResult<u64>;
    /// Moves `last_seen` forward for many sessions at once.
    async fn touch_sessions(&self, seen: &[(SessionId, UnixMillis)]) -> StoreResult<()>;
    /// How many sessions are alive.
    async fn count_sessions(&self, now: UnixMillis) -> StoreResult<u64>;

    // Refresh tokens (table `refresh_tokens`, text column `user_id`).

    /// Stores the first refresh token of a session.
    async fn add_refresh_token(
        &self,
        session: SessionId,
        token: Digest,
        now: UnixMillis,
        expires_at: UnixMillis,
    ) -> StoreResult<()>;
    /// Uses a refresh token and stores its successor, in one transaction.
    async fn rotate_refresh_token(
        &self,
        token: &Digest,
        next: Digest,
        now: UnixMillis,
        next_expires_at: UnixMillis,
    ) -> StoreResult<RefreshOutcome>;

    // Identities at providers.

    /// Makes an account together with its first link. A link that exists is
    /// [`StoreError::Conflict`] with `"link"`; the rest is as [`Store::create_account`].
    async fn create_linked_account(
        &self,
        new: NewAccount,
        when: CreateCondition,
        link: ProviderLink,
    ) -> StoreResult<Account>;
    /// The link of an identity, with its account.
    async fn provider_link(
        &self,
        issuer: &str,
        subject: &str,
    ) -> StoreResult<Option<(ProviderLink, Account)>>;
    /// Links of one account, oldest first.
    async fn provider_links(&self, account: AccountId) -> StoreResult<Vec<ProviderLink>>;
    /// Adds a link to an account that exists ([`StoreError::NotFound`] else); one of that
    /// identity is [`StoreError::Conflict`] with `"link"`. In the same transaction, where
    /// `verified_email` is given: it becomes the account's verified e-mail; and with
    /// `empty_first` the account loses password, sessions, keys, known devices and other
    /// links before. The sessions that ended.
    async fn add_provider_link(
        &self,
        link: ProviderLink,
        verified_email: Option<&str>,
        empty_first: bool,
    ) -> StoreResult<Vec<SessionId>>;
    /// Notes what the provider said at a sign-in or refresh: provider, display name, groups,
    /// role, time. Where the account is to change, that is done in the same transaction, under
    /// the rules of [`Store::change_account`]. The account as it is then.
    async fn update_provider_link(
        &self,
        link: ProviderLink,
        change: Option<AccountChange>,
    ) -> StoreResult<Account>;
    /// Makes the account an active administrator while there is none; whether it did.
    async fn make_admin_if_none(&self, account: AccountId) -> StoreResult<bool>;
    /// Removes a link of an account; whether it was there.
    async fn delete_provider_link(
        &self,
        account: AccountId,
        issuer: &str,
        subject: &str,
    ) -> StoreResult<bool>;
    /// Like [`Store::create_session`], of a sign-in at a provider, in one transaction.
    async fn create_provider_session(
        &self,
        session: SessionRecord,
        token: Digest,
        provider: ProviderSession,
    ) -> StoreResult<()>;
    /// What a session keeps of its provider.
    async fn provider_session(&self, session: SessionId) -> StoreResult<Option<ProviderSession>>;
    /// Replaces (or sets) what a live session keeps of its provider; [`StoreError::NotFound`]
    /// where the session is gone.
    async fn set_provider_session(
        &self,
        session: SessionId,
        provider: ProviderSession,
    ) -> StoreResult<()>;
    /// Ends the sessions that began at any provider but these; their ids.
    async fn delete_sessions_of_other_providers(
        &self,
        kept: &[&str],
    ) -> StoreResult<Vec<SessionId>>;
    /// Ids of the sessions that a logout token names.
    async fn sessions_at_provider(
        &self,
        issuer: &str,
        which: ProviderSessions<'_>,
    ) -> StoreResult<Vec<SessionId>>;

    // Providers made at run time, and the denylist of foreign JWTs.

    /// All of them, in order of creation.
    async fn stored_providers(&self) -> StoreResult<Vec<StoredProvider>>;
    /// Adds one; a taken id is [`StoreError::Conflict`] with `"provider"`.
    async fn create_stored_provider(&self, provider: StoredProvider) -> StoreResult<()>;
    /// Replaces one; without a secret the old one stays. [`StoreError::NotFound`].
    async fn change_stored_provider(&self, provider: StoredProvider) -> StoreResult<()>;
    /// Removes one; whether it was there.
    async fn delete_stored_provider(&self, id: &str) -> StoreResult<bool>;
    /// Takes a foreign JWT no longer. Again: no error.
    async fn deny_jwt(&self, denied: DeniedJwt, now: UnixMillis) -> StoreResult<()>;
    /// Takes it again; whether it was denied.
    async fn allow_jwt(&self, denied: &DeniedJwt) -> StoreResult<bool>;
    /// Whether a token with these claims is denied.
    async fn is_jwt_denied(&self, issuer: &str, sub: &str, jti: Option<&str>) -> StoreResult<bool>;

    // API keys.

    /// Stores a key under the SHA-256 of its whole text.
    async fn create_api_key(&self, key: ApiKeyRecord, hash: Digest) -> StoreResult<()>;
    /// A key by the SHA-256 of its whole text, with its owner.
    async fn api_key_by_hash(&self, hash: &Digest) -> StoreResult<Option<(ApiKeyRecord, Account)>>;
    /// One key.
    async fn api_key(&self, id: KeyId) -> StoreResult<Option<ApiKeyRecord>>;
    /// Keys of one account, or of all; newest first.
    async fn api_keys(&self, owner: Option<AccountId>) -> StoreResult<Vec<ApiKeyRecord>>;
    /// Changes a key and returns it as it is then.
    async fn change_api_key(&self, id: KeyId, change: ApiKeyChange) -> StoreResult<ApiKeyRecord>;
    /// Deletes a key; whether it was there.
    async fn delete_api_key(&self, id: KeyId) -> StoreResult<bool>;
    /// Every prefix that some key has.
    async fn api_key_prefixes(&self) -> StoreResult<Vec<String>>;
    /// Moves `last_used_at` forward for many keys at once.
    async fn touch_api_keys(&self, used: &[(KeyId, UnixMillis)]) -> StoreResult<()>;

    // One-time values, known devices, signing keys, notes, audit.

    /// Keeps a value until it is taken or ends.
    async fn put_one_time(
        &self,
        kind: OneTimeKind,
        key: Digest,
        value: Vec<u8>,
        expires_at: UnixMillis,
    ) -> StoreResult<()>;
    /// Keeps that something happened, until `expires_at`; `false` where it is known already.
    /// Exactly one caller gets `true`.
    async fn remember_once(
        &self,
        kind: OneTimeKind,
        key: Digest,
        now: UnixMillis,
        expires_at: UnixMillis,
    ) -> StoreResult<bool>;
    /// A value without taking it.
    async fn peek_one_time(
        &self,
        kind: OneTimeKind,
        key: &Digest,
        now: UnixMillis,
    ) -> StoreResult<Option<Vec<u8>>>;
    /// Takes a value: exactly one caller gets it.
    async fn take_one_time(
        &self,
        kind: OneTimeKind,
        key: &Digest,
        now: UnixMillis,
    ) -> StoreResult<Option<Vec<u8>>>;
    /// Remembers that somebody signed in from this browser.
    async fn add_known_device(
        &self,
        account: AccountId,
        device: Digest,
        now: UnixMillis,
    ) -> StoreResult<()>;
    /// Whether the account signed in from this browser before.
    async fn is_known_device(&self, account: AccountId, device: &Digest) -> StoreResult<bool>;
    /// All signing keys of a purpose, oldest first.
    async fn signing_keys(&self, purpose: &str) -> StoreResult<Vec<SigningKeyRecord>>;
    /// Adds a signing key unless one with a `created_at` later than `not_after` exists; returns all, as [`Store::signing_keys`].
    async fn add_signing_key(
        &self,
        key: SigningKeyRecord,
        not_after: Option<UnixMillis>,
    ) -> StoreResult<Vec<SigningKeyRecord>>;
    /// A small fact by name.
    async fn note(&self, name: &str) -> StoreResult<Option<String>>;
    /// Keeps a small fact.
    async fn set_note(&self, name: &str, value: &str) -> StoreResult<()>;
    /// Adds to the audit trail, in one transaction.
    async fn append_audit(&self, events: &[AuditEvent]) -> StoreResult<()>;
    /// The audit trail, newest first, before `before` where given.
    async fn audit(&self, before: Option<i64>, limit: u32) -> StoreResult<Vec<AuditRecord>>;

    // Upkeep.

    /// Removes what is over: sessions, one-time values, refresh tokens, old devices.
    async fn purge(&self, now: UnixMillis, idle_timeout: std::time::Duration) -> StoreResult<()>;
    /// Answers where the store can be asked.
    async fn ping(&self) -> StoreResult<()>;
    /// For `GET /health/database`.
    async fn health(&self) -> StoreResult<StoreHealth>;
}

/// What a new proof of identity changes in a running session.
#[derive(Clone, Debug)]
pub struct SessionProof {
    /// When.
    pub auth_time: UnixMillis,
    /// How.
    pub amr: Vec<String>,
    /// Whether it counts as multi-factor.
    pub mfa: bool,
}
