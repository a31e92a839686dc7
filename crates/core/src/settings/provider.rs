//! `[[provider]]`: where people sign in besides here.

pub mod spec;

use std::sync::Arc;

use crate::account::Role;
use crate::group::Group;
use crate::secret::Secret;

/// Resolved `[[provider]]`: complete, checked, with everything filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// `[a-z0-9_-]{1,32}`
    pub id: Arc<str>,
    /// How to speak to it.
    pub kind: ProviderKind,
    /// Where it is.
    pub place: ProviderPlace,
    /// Our name there.
    pub client_id: String,
    /// `None`: a public client; then `pkce` is true.
    pub client_secret: Option<Secret>,
    /// Button text: `Sign in with …`.
    pub label: String,
    /// What is asked for, in order, without duplicates.
    pub scopes: Vec<String>,
    /// Proof of possession (RFC 7636, S256).
    pub pkce: bool,
    /// Shown and usable.
    pub enabled: bool,
    /// Lower case; not empty: others are refused, and a match makes a new account active.
    pub allowed_domains: Vec<Arc<str>>,
    /// Every new account is active.
    pub auto_approve: bool,
    /// Its word on e-mail addresses is believed.
    pub trust_email: bool,
    /// When a sign-in there counts as multi-factor.
    pub mfa_from: MfaFrom,
    /// What is sent as `redirect_uri`: absolute, on the portal's host. The one form in which
    /// its callback is taken.
    pub redirect_uri: String,
    /// Which claim says what; dots lead into objects.
    pub claims: ProviderClaims,
    /// Claim value to local group.
    pub groups: Vec<(Arc<str>, Group)>,
    /// Claim value to role; empty: the provider says nothing about roles.
    pub roles: Vec<(Arc<str>, Role)>,
    /// Who wrote it down.
    pub origin: ProviderOrigin,
}

/// `kind`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderKind {
    /// OpenID Connect at `{base_url}/application/o/{slug}/`.
    Authentik,
    /// OAuth 2 without OpenID Connect.
    Github,
    /// OpenID Connect, with `hd` held against `allowed_domains`.
    Google,
    /// OpenID Connect.
    Oidc,
}

impl ProviderKind {
    /// The word in configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authentik => "authentik",
            Self::Github => "github",
            Self::Google => "google",
            Self::Oidc => "oidc",
        }
    }
}

/// Where a provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderPlace {
    /// The discovery document's URL; its `issuer` is taken from the document, but must be
    /// the URL without `/.well-known/openid-configuration`.
    Discovery(String),
    /// The base URL of GitHub or of a GitHub Enterprise server, without final slash.
    Github(String),
    /// The issuer, exactly as `iss` will say it.
    Issuer(String),
}

/// `mfa_from`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MfaFrom {
    /// The claim `acr` has this value.
    Acr(String),
    /// The claim `amr` holds a word of RFC 8176 for a second factor (`mfa`, `otp`, `hwk`, …).
    Amr,
    /// Never.
    None,
}

/// `claims`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderClaims {
    /// Who it is. Anything but `sub` changes the account's key, never the checks of `sub`.
    pub subject: String,
    /// User name.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// Whether that address is proved. Empty: nothing says so (a renamed `email` without its
    /// own `email_verified`).
    pub email_verified: String,
    /// Groups.
    pub groups: String,
}

/// Who wrote a provider down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderOrigin {
    /// Variables; read-only at run time.
    Environment,
    /// The route file; read-only at run time.
    File,
    /// An administrator, at run time.
    Stored,
}

impl ProviderOrigin {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::File => "file",
            Self::Stored => "stored",
        }
    }
}

/// A set of variables that lacks something: its provider is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteProvider {
    /// Its id.
    pub id: Arc<str>,
    /// The variables to set.
    pub missing: Vec<String>,
}
