//! Validated plain data: the contract between configuration and runtime, one file a section.
//! Nothing here is optional that has a default.

pub mod api_keys;
pub mod auth;
pub mod jwt_issuer;
pub mod listener;
pub mod provider;
pub mod secrets;
pub mod server;
pub mod smtp;
pub mod store;
pub mod telemetry;
pub mod tls;

use std::sync::Arc;

use crate::route::Route;

/// Everything that configuration says, resolved and cross-checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[server]`
    pub server: server::Server,
    /// `[[listener]]`
    pub listeners: Vec<listener::Listener>,
    /// `[tls]`
    pub tls: tls::Tls,
    /// `[secrets]`
    pub secrets: secrets::Secrets,
    /// `[store]`
    pub store: store::Store,
    /// `[auth]`
    pub auth: auth::Auth,
    /// `[api_keys]`
    pub api_keys: api_keys::ApiKeys,
    /// `[smtp]`, where enabled.
    pub smtp: Option<smtp::Smtp>,
    /// `[[provider]]` and the providers of the environment, complete ones only, in order.
    pub providers: Vec<provider::Provider>,
    /// Providers of the environment that lack something and are off.
    pub incomplete_providers: Vec<provider::IncompleteProvider>,
    /// `[[jwt_issuer]]`
    pub jwt_issuers: Vec<jwt_issuer::JwtIssuer>,
    /// `[telemetry]`
    pub telemetry: telemetry::Telemetry,
    /// `[[route]]`, enabled ones only, in the order of the file.
    pub routes: Vec<Arc<Route>>,
}
