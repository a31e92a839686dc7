//! `[auth]` and its tables.

use std::sync::Arc;
use std::time::Duration;

use crate::api_key::RateLimit;
use crate::secret::Secret;

/// Resolved `[auth]`.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Who signs in at all.
    pub mode: Mode,
    /// Accounts that made themselves start pending.
    pub approval: bool,
    /// A first provider sign-in may make an account.
    pub provider_signup: bool,
    /// How the first administrator comes to be.
    pub first_user: FirstUser,
    /// `[auth.admin]`: the first administrator (`FirstUser::Account`) or the one account of mode admin.
    pub admin: Option<Admin>,
    /// `<provider>:<subject or username>`.
    pub bootstrap_admin: Option<(Arc<str>, Arc<str>)>,
    /// Joining by verified e-mail.
    pub link_verified_email: LinkVerifiedEmail,
    /// `AUTH_BYPASS`: like mode none.
    pub bypass: bool,
    /// Lifts the loopback condition of mode none and bypass; never that of production.
    pub allow_insecure_bypass: bool,
    /// `[auth.password]`
    pub password: Password,
    /// `[auth.email] verification`
    pub email_verification: EmailVerification,
    /// `[auth.passkeys] enabled`
    pub passkeys: bool,
    /// `[auth.totp] enabled`
    pub totp: bool,
    /// `[auth.session]`
    pub session: Session,
    /// `[auth.token] access_lifetime`
    pub access_lifetime: Duration,
    /// `[auth.token] refresh_lifetime`
    pub refresh_lifetime: Duration,
    /// `[auth.rate_limit]`; `None`: off (development on loopback).
    pub rate_limit: Option<RateLimit>,
}

impl Auth {
    /// Whether every request is the built-in administrator.
    pub fn is_off(&self) -> bool {
        self.bypass || self.mode == Mode::None
    }
}

/// `auth.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Only the account of `[auth.admin]` signs in.
    Admin,
    /// Accounts, keys, providers.
    Full,
    /// Nothing is checked.
    None,
}

impl Mode {
    /// `none`, `admin`, `full`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Full => "full",
            Self::None => "none",
        }
    }

    /// `None`, `Admin`, `Full`, as `/health` prints it.
    pub const fn as_title(self) -> &'static str {
        match self {
            Self::Admin => "Admin",
            Self::Full => "Full",
            Self::None => "None",
        }
    }
}

/// `auth.first_user`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FirstUser {
    /// `[auth.admin]` is made at first start.
    Account,
    /// The first to sign in becomes administrator.
    Admin,
    /// Nobody.
    None,
    /// The one-time token page.
    Setup,
}

/// `[auth.admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Lower case.
    pub email: Arc<str>,
    /// Its password.
    pub password: Secret,
    /// The documented default of a profile: must be changed at the first sign-in.
    pub is_documented_default: bool,
}

/// `auth.link_verified_email`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkVerifiedEmail {
    /// Silent on the provider's word.
    Always,
    /// Only in `/settings`.
    Never,
    /// Silent unless an administrator or a second factor is touched.
    Safe,
}

/// `[auth.password]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// Password sign-in.
    pub enabled: bool,
    /// People may make accounts themselves.
    pub signup: bool,
    /// In characters.
    pub min_length: usize,
    /// In characters.
    pub max_length: usize,
    /// Composition rules.
    pub require: Vec<Require>,
    /// Refuse common passwords and ones that hold the e-mail or host.
    pub blocklist: bool,
}

/// A composition rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Require {
    /// Upper and lower case.
    MixedCase,
    /// A digit.
    Number,
    /// Neither letter nor digit.
    Symbol,
}

/// `auth.email.verification`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmailVerification {
    /// Required when SMTP is on.
    Auto,
    /// Never.
    Off,
    /// Always.
    Required,
}

/// `[auth.session]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Longest life without "remember me".
    pub lifetime: Duration,
    /// Ends after this long without a request.
    pub idle_timeout: Duration,
    /// Longest life with "remember me".
    pub remember_me: Duration,
    /// A parent domain for one shared cookie; empty: host-only cookies and hand-off.
    pub cookie_domain: String,
}
