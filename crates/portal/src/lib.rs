//! Talks to people and to administrators' tools: pages and the JSON API, on axum.

use std::sync::Arc;

use vestibule_authn::Authn;

/// What the portal asks of the process around it.
pub trait Host: Send + Sync + 'static {
    /// The clock.
    fn now(&self) -> vestibule_core::time::UnixMillis;
    /// The routes in force, for `rd` and the launcher.
    fn routes(&self) -> Arc<vestibule_core::route::RouteTable>;
    /// The version, `x.y.z`.
    fn version(&self) -> &'static str;
}

/// The portal as one axum router: all of its paths, those of app hosts under
/// `/.vestibule/`, and those that are prefixed where a host is shared. Every request must
/// carry a [`vestibule_core::local::LocalContext`] extension.
pub fn router(authn: Arc<Authn>, host: Arc<dyn Host>) -> axum::Router {
    let _ = (authn, host);
    axum::Router::new()
}
