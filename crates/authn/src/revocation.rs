//! What was proved once and holds no longer: cache entries and live exchanges.

use vestibule_core::identity::Identity;

use crate::Authn;

/// Ends when the credential behind a live exchange ends: revoked, expired, signed out, or
/// its account no longer active. Dropping it takes the exchange off the list.
#[derive(Debug)]
pub struct Watch {}

impl Watch {
    /// Resolves when the exchange must be closed.
    pub async fn ended(&mut self) {
        std::future::pending::<()>().await;
    }
}

impl Authn {
    /// Registers a live exchange (an upgrade, a gRPC stream, a response open for over 1 s).
    pub fn watch(&self, identity: &Identity) -> Watch {
        let _ = identity;
        todo!("authn helper")
    }

    /// Something outside this process changed the store: forget every cached identity, drop
    /// negative entries, and ask the store about every watched credential again.
    pub async fn store_changed_outside(self: &std::sync::Arc<Self>) {
        todo!("authn helper")
    }
}
