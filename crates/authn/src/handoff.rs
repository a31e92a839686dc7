//! From the portal's session to an app host's own token (CONTRACT section 4).

use std::sync::Arc;

use vestibule_core::id::SessionId;
use vestibule_core::time::UnixMillis;

use crate::ports::StoreResult;
use crate::{Actor, Authn};

/// How long a hand-off code lives.
pub const CODE_LIFETIME: std::time::Duration = std::time::Duration::from_secs(60);
/// How long a flow cookie lives.
pub const FLOW_LIFETIME: std::time::Duration = std::time::Duration::from_secs(600);

/// A redeemed hand-off.
#[derive(Clone, Debug)]
pub struct HostSession {
    /// The app host's cookie value.
    pub token: String,
    /// Its Max-Age, where the session is remembered.
    pub max_age: Option<std::time::Duration>,
}

impl Authn {
    /// A random value for a flow cookie.
    pub fn new_flow(&self) -> String {
        todo!("authn helper")
    }

    /// `state` of a flow cookie's value: base64url of its SHA-256.
    pub fn flow_state(flow: &str) -> String {
        let _ = flow;
        todo!("authn helper")
    }

    /// Mints a code for one host and state: single use, [`CODE_LIFETIME`].
    pub async fn mint_handoff(
        self: &Arc<Self>,
        session: SessionId,
        host: &str,
        state: &str,
        now: UnixMillis,
    ) -> StoreResult<String> {
        let _ = (session, host, state, now);
        todo!("authn helper")
    }

    /// Redeems a code. `None`: missing, wrong, used, or for another host or browser.
    pub async fn redeem_handoff(
        self: &Arc<Self>,
        code: &str,
        host: &str,
        state: &str,
        flow: &str,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<Option<HostSession>> {
        let _ = (code, host, state, flow, actor, now);
        todo!("authn helper")
    }
}
