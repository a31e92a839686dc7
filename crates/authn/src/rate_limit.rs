//! Fixed windows counted from the first request, bounded in memory: authentication
//! endpoints (CONTRACT section 8, "Limits") and API keys.

use std::net::IpAddr;
use std::time::Duration;

use vestibule_core::time::UnixMillis;

use crate::Authn;

/// A limit that was passed; what the answer's headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Name of the policy: `auth-client`, `auth-email`, `auth-password`, `api-key`, `bad-credentials`, `busy`.
    pub scope: &'static str,
    /// Requests a window.
    pub requests: u32,
    /// Length of a window.
    pub window: Duration,
    /// Until the window ends. At least one second.
    pub retry_after: Duration,
}

impl Authn {
    /// Counts a request to an authentication endpoint (`auth.rate_limit` per client, IPv6 by /64,
    /// IPv4-mapped as IPv4). Called by the portal before anything else.
    pub fn count_auth_request(&self, client: IpAddr, now: UnixMillis) -> Result<(), Limited> {
        let _ = (client, now);
        todo!("authn helper")
    }
}
