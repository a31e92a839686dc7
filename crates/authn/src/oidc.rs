//! OpenID Connect and OAuth 2 as a relying party. Knows the protocol; knows neither accounts
//! nor pages ([`crate::provider`]).

use std::time::Duration;

/// How long a sign-in at a provider may take, and how long the cookie that binds it lives.
pub const FLOW_LIFETIME: Duration = Duration::from_secs(600);
