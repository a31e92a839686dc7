//! `[[jwt_issuer]]`: whose bearer tokens are taken besides ours.

use std::sync::Arc;

use crate::secret::Secret;

/// Resolved `[[jwt_issuer]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtIssuer {
    /// Names the identity: `<name>:<sub>`.
    pub name: Arc<str>,
    /// The `iss` claim.
    pub issuer: String,
    /// Where its keys are; `None`: tokens are asked about, not verified here.
    pub jwks_url: Option<String>,
    /// One of these must stand in `aud`.
    pub audience: Vec<String>,
    /// Signatures that are taken, by their JOSE names; never HS*.
    pub algorithms: Vec<String>,
    /// Which claim says what, by dotted paths.
    pub claims: JwtClaims,
    /// Where opaque tokens are asked about (RFC 7662).
    pub introspection: Option<Introspection>,
}

/// `claims`: what is `None` is not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwtClaims {
    /// User name, told as display name; the identity stays `<name>:<sub>`.
    pub username: Option<String>,
    /// E-mail address; counts where `email_verified` is true.
    pub email: Option<String>,
    /// Groups.
    pub groups: Option<String>,
    /// Role: `admin` or `user`.
    pub role: Option<String>,
}

/// How opaque tokens are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// The endpoint.
    pub url: String,
    /// Our name there.
    pub client_id: String,
    /// Our secret there.
    pub client_secret: Option<Secret>,
}
