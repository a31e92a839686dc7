//! Turns a presented credential into an identity, and runs the flows that issue credentials.
//!
//! Knows cryptography; knows neither SQL nor server-side HTTP. The store is a port
//! ([`ports::Store`]), the clock an argument.

pub mod account;
pub mod api_key;
pub mod assertion;
pub mod audit;
pub mod authenticate;
pub mod cookie;
pub mod handoff;
pub mod login;
pub mod ports;
pub mod rate_limit;
pub mod revocation;
pub mod session;
pub mod setup;
pub mod token;

use std::sync::Arc;

use vestibule_core::settings::Settings;
use vestibule_core::time::UnixMillis;

/// Everything the doors and the portal ask about people and credentials.
///
/// One per process, shared by `Arc`. Its async methods may be awaited on any runtime: what
/// touches the store or hashes a password runs on the service runtime given at the start.
pub struct Authn {
    store: Arc<dyn ports::Store>,
    service: tokio::runtime::Handle,
    settings: arc_swap::ArcSwap<Settings>,
}

/// Why the start is refused; the text tells the operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] ports::StoreError),
    /// A setting does not fit what is stored.
    #[error("{0}")]
    Refused(String),
}

impl Authn {
    /// Prepares keys, the administrator that the settings ask for, and caches. Makes the
    /// first signing keys; in mode admin brings the account of `[auth.admin]` to the
    /// configured password (a change ends its sessions); refuses where there is no way to
    /// sign in at all.
    pub async fn start(
        settings: Arc<Settings>,
        store: Arc<dyn ports::Store>,
        service: tokio::runtime::Handle,
        now: UnixMillis,
    ) -> Result<Arc<Self>, StartError> {
        let _ = now;
        Ok(Arc::new(Self { store, service, settings: arc_swap::ArcSwap::new(settings) }))
    }

    /// Takes new settings; what depends on them is in force at the next request.
    pub fn reload(&self, settings: Arc<Settings>) {
        self.settings.store(settings);
    }

    /// The long-lived task: flushes last-seen times and audit events, purges what is over,
    /// rotates signing keys. Ends, after a last flush, when `shutdown` resolves.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()> + Send) {
        let _ = &self.service;
        shutdown.await;
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ports::Store> {
        &self.store
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }
}

/// Who does something and from where, for audit events and limits.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Account id, `cli`, `system`, or empty for nobody known.
    pub id: String,
    /// The client's address, where there is one.
    pub client_ip: Option<std::net::IpAddr>,
    /// The request, where there is one.
    pub request_id: Arc<str>,
}
