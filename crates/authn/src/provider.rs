//! Sign-in at outside providers: what portal and command line ask for.
//!
//! The protocol is in [`crate::oidc`]; here is what it means for accounts and sessions, and
//! every answer that a person or an administrator can get.

mod account;
mod links;
mod logout;
mod manage;
mod refresh;
mod registry;
mod sign_in;

use std::net::IpAddr;
use std::sync::Arc;

use vestibule_core::account::Account;
use vestibule_core::id::{AccountId, SessionId};
use vestibule_core::settings::provider::Provider;
use vestibule_core::settings::provider::spec::{ProviderSpec, SpecProblem};
use vestibule_core::time::UnixMillis;

use crate::ports::StoreError;
use crate::session::StartedSession;

pub(crate) use self::refresh::Renewals;
pub(crate) use self::registry::Registry;

/// A provider as the sign-in page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderButton {
    /// Stands in `/api/v1/auth/login/<id>`.
    pub id: Arc<str>,
    /// `Sign in with …`.
    pub label: String,
    /// It did not answer when it was asked last.
    pub is_down: bool,
}

/// What a sign-in at a provider is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderPurpose {
    /// To add the identity to an account that is signed in (`/settings`).
    Link {
        /// Whose.
        account: AccountId,
    },
    /// To prove again who sits there, in a session that runs; `mfa`: with a second factor.
    Reauth {
        /// Whose.
        account: AccountId,
        /// Which gets the new proof.
        session: SessionId,
        /// A second factor is asked for.
        mfa: bool,
    },
    /// To sign in.
    SignIn,
}

/// The start of a sign-in at a provider.
#[derive(Clone, Debug)]
pub struct ProviderStart {
    /// Id of the provider.
    pub provider: String,
    /// What for.
    pub purpose: ProviderPurpose,
    /// Where to go afterwards, as the browser said it; checked where it leads.
    pub rd: String,
    /// Value of the cookie that binds flows to the browser, where it has one.
    pub browser: Option<String>,
}

/// Where the browser goes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderStarted {
    /// The provider's authorization endpoint with our request.
    pub location: String,
    /// Value for the cookie that binds flows to the browser ([`crate::oidc::FLOW_LIFETIME`]).
    pub browser: String,
}

/// What came back to a callback. Repeated parameters never get here (400).
#[derive(Clone, Debug, Default)]
pub struct ProviderCallback {
    /// Id of the provider, from the path.
    pub provider: String,
    /// The URL that was called: the portal's origin and the path as the outside sees it.
    pub redirect_uri: String,
    /// `code`
    pub code: Option<String>,
    /// `state`
    pub state: Option<String>,
    /// `iss` (RFC 9207)
    pub iss: Option<String>,
    /// `error`
    pub error: Option<String>,
    /// `error_description`, for the log only.
    pub error_description: Option<String>,
    /// Value of the cookie that binds flows to the browser.
    pub browser: Option<String>,
    /// The session the browser has; a sign-in ends it.
    pub session: Option<SessionId>,
    /// Who is signed in there.
    pub account: Option<AccountId>,
    /// From where.
    pub client_ip: Option<IpAddr>,
    /// For the list of sessions.
    pub user_agent: String,
}

/// A sign-in at a provider that succeeded.
#[derive(Clone, Debug)]
pub enum ProviderFinished {
    /// The identity now belongs to the account.
    Linked {
        /// Where to go.
        rd: String,
    },
    /// The running session has a new proof and token.
    Reauthenticated {
        /// Whose.
        account: Account,
        /// The session.
        session: StartedSession,
        /// Where to go.
        rd: String,
    },
    /// A session began.
    SignedIn {
        /// Whose.
        account: Account,
        /// The session.
        session: StartedSession,
        /// Where to go.
        rd: String,
    },
}

/// Why a sign-in at a provider ended without one. Logged and audited already.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProviderRefused {
    /// 403: the account is disabled.
    #[error("the account is disabled")]
    AccountDisabled,
    /// 403 `PROVIDER_DENIED`: the person, or the provider's policy, said no.
    #[error("declined at the provider")]
    Declined,
    /// 403 `EMAIL_DOMAIN_NOT_ALLOWED`.
    #[error("e-mail domain not allowed")]
    EmailDomain,
    /// 401 `PROVIDER_SIGNIN_FAILED`: protocol, tokens, claims, state, or the provider is down.
    #[error("{reason}")]
    Failed {
        /// A stable word for logs, e.g. `token_endpoint_invalid_client`.
        reason: &'static str,
        /// A sentence for the person: what to do. Holds nothing the provider wrote.
        advice: &'static str,
    },
    /// 403 `LINK_REFUSED`. `pending`: after the full sign-in to the account one confirmation
    /// joins ([`crate::Authn::pending_link`]).
    #[error("the identity is not joined to the account by itself")]
    LinkRefused {
        /// Why: `administrator`, `email_unverified`, `in_use`, `never`.
        reason: &'static str,
        /// Token of the waiting link.
        pending: Option<String>,
    },
    /// 404 `PROVIDER_NOT_CONFIGURED`.
    #[error("unknown, off or incomplete provider")]
    NotConfigured,
    /// 403 `SIGNUP_DISABLED`: nobody new comes in by a provider.
    #[error("no account, and none is made by a provider sign-in")]
    SignupOff,
    /// 503.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A sign-in at a provider that came back and ended without one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct ProviderStopped {
    /// Why.
    pub why: ProviderRefused,
    /// Where the person wanted to go; empty where the answer belongs to no sign-in of this
    /// browser.
    pub rd: String,
}

impl From<StoreError> for ProviderStopped {
    fn from(error: StoreError) -> Self {
        Self { why: error.into(), rd: String::new() }
    }
}

/// An identity that waits for its owner's sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingLink {
    /// Button text of the provider.
    pub label: String,
    /// How the provider calls the person.
    pub display: String,
    /// The account it may be joined to.
    pub account: AccountId,
}

/// A link as `/settings` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkShown {
    /// Id of the provider it was last used through.
    pub provider: String,
    /// Its label; the id where it is gone.
    pub label: String,
    /// `iss`
    pub issuer: String,
    /// Who it is there.
    pub subject: String,
    /// How the provider calls the person.
    pub display: String,
    /// When it was made.
    pub linked_at: UnixMillis,
    /// Last sign-in.
    pub last_used_at: UnixMillis,
}

/// Why an identity was not taken off an account.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UnlinkError {
    /// It is the only way in.
    #[error("it is the only way to sign in to this account")]
    LastWay,
    /// Not a link of this account, or the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a provider answered last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProviderStatus {
    /// It did not.
    Down {
        /// Why, for administrators.
        reason: String,
        /// When it was asked.
        at: UnixMillis,
    },
    /// Nobody asked yet.
    #[default]
    Unknown,
    /// Well.
    Up {
        /// When it was asked.
        at: UnixMillis,
    },
}

/// A provider as administrators see it.
#[derive(Clone, Debug)]
pub struct ProviderShown {
    /// As resolved.
    pub provider: Provider,
    /// As written down, without its secret; of file and environment: as resolved.
    pub spec: ProviderSpec,
    /// How it answered last.
    pub status: ProviderStatus,
}

/// Why a provider was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProviderChangeError {
    /// What is wrong with its keys: 400.
    #[error("the provider is refused")]
    Bad(Vec<SpecProblem>),
    /// Nobody could sign in without it: 409 `LAST_WAY_IN`.
    #[error("nobody could sign in without this provider: passwords are off, and no other is on")]
    LastWayIn,
    /// There is none of that id: 404.
    #[error("no such provider")]
    NotFound,
    /// It stands in the file or the environment: 409 `PROVIDER_READ_ONLY`.
    #[error("the provider stands in the route file or the environment")]
    ReadOnly,
    /// The id is taken: 409 `PROVIDER_EXISTS`.
    #[error("a provider of that id exists")]
    Taken,
    /// 503.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a test of a provider found.
#[derive(Clone, Debug)]
pub struct ProviderReport {
    /// What to register at the provider, byte for byte.
    pub redirect_uri: String,
    /// Where logout tokens go, to register too; empty where the provider sends none.
    pub backchannel_logout_uri: String,
    /// Each thing that was tried, in order.
    pub checks: Vec<ProviderCheck>,
}

impl ProviderReport {
    /// Whether everything was well.
    pub fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.is_good)
    }
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderCheck {
    /// `discovery`, `issuer`, `endpoints`, `keys`, `clock`, `pkce`, `logout`, `client`.
    pub name: &'static str,
    /// Whether it is well.
    pub is_good: bool,
    /// What was found.
    pub found: String,
    /// What to do, where it is not well.
    pub help: Option<String>,
}

/// Why a logout token was not taken: 400.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogoutRefused {
    /// The token does not hold; the word is for the log.
    #[error("{0}")]
    Bad(&'static str),
    /// 404.
    #[error("unknown, off or incomplete provider")]
    NotConfigured,
    /// 503.
    #[error(transparent)]
    Store(#[from] StoreError),
}
