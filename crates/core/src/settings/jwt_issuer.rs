//! `[[jwt_issuer]]` (built later; the settings keep its place).

use std::sync::Arc;

/// Resolved `[[jwt_issuer]]`.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    /// Names the identity: `<name>:<sub>`.
    pub name: Arc<str>,
    /// The `iss` claim.
    pub issuer: String,
}
