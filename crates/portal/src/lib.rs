//! Talks to people and to administrators' tools: pages and the JSON API, on axum.
//!
//! Every answer of this crate passes [`dispatch`], which reads the request once, counts it,
//! checks where it comes from, and puts the security headers on. It knows no socket and no
//! store: requests arrive from the proxy with a [`vestibule_core::local::LocalContext`], and
//! whatever concerns people and credentials is asked of [`Authn`].

mod api;
mod app_host;
mod assets;
mod body;
mod csrf;
mod dispatch;
mod guard;
mod json;
mod navigation;
mod pages;
mod params;
mod problem;
mod security_headers;
mod service;
mod view;
mod visit;

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
/// carry a [`vestibule_core::local::LocalContext`] extension; one without it is answered 500.
pub fn router(authn: Arc<Authn>, host: Arc<dyn Host>) -> axum::Router {
    dispatch::router(Arc::new(dispatch::Portal { authn, host }))
}
