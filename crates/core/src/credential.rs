//! Kinds of credential a request can carry.

use std::fmt;
use std::sync::Arc;

/// What kind of credential proved an identity; also what a rule's `credentials` names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// `api-key`: a key of ours in `X-Api-Key` or `Authorization: Bearer`.
    ApiKey,
    /// `basic`: an API key as the password of `Authorization: Basic`.
    Basic,
    /// `client-cert`: a TLS client certificate.
    ClientCert,
    /// `jwt:<issuer name>`: a bearer JWT of a configured issuer.
    Jwt(Arc<str>),
    /// Nobody asked for one: `auth.mode = "none"` or a bypass.
    None,
    /// `session`: the session cookie.
    Session,
    /// `token`: an access token of the portal's own.
    Token,
}

impl CredentialKind {
    /// Whether an access table without `credentials` takes this kind.
    pub fn is_taken_by_default(&self) -> bool {
        matches!(self, Self::ApiKey | Self::None | Self::Session | Self::Token)
    }

    /// The kind that a word of the route file names; `None` for an unknown word.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "api-key" => Some(Self::ApiKey),
            "basic" => Some(Self::Basic),
            "client-cert" => Some(Self::ClientCert),
            "session" => Some(Self::Session),
            "token" => Some(Self::Token),
            _ => word
                .strip_prefix("jwt:")
                .filter(|name| !name.is_empty())
                .map(|name| Self::Jwt(Arc::from(name))),
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiKey => f.write_str("api-key"),
            Self::Basic => f.write_str("basic"),
            Self::ClientCert => f.write_str("client-cert"),
            Self::Jwt(issuer) => write!(f, "jwt:{issuer}"),
            Self::None => f.write_str("none"),
            Self::Session => f.write_str("session"),
            Self::Token => f.write_str("token"),
        }
    }
}
