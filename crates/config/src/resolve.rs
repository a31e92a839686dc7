//! From the merged tree to settings: what is conditional, what contradicts itself, what is missing.
//! Mirrors the sections of the file; every problem is reported, not only the first.
//!
//! Not here: the form of single values. Those were checked before ([`crate::raw`]).

pub(crate) mod access;
pub(crate) mod auth;
pub(crate) mod jwt_issuer;
pub(crate) mod later;
pub(crate) mod permissions;
pub(crate) mod provider;
pub(crate) mod route;
pub(crate) mod secrets;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod telemetry;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod warnings;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use vestibule_core::settings::Settings;
use vestibule_core::settings::listener::Listener;

use crate::diagnostic::{Diagnostic, Problems};
use crate::env::Base;
use crate::env::providers::EnvironmentProvider;
use crate::keys::{Key, Kind};
use crate::tree::{Node, Origin, Table, Value};

/// What resolving needs besides the tree.
pub(crate) struct Context<'a> {
    pub(crate) problems: &'a mut Problems,
    pub(crate) broken: &'a BTreeSet<String>,
    pub(crate) files: &'a mut BTreeSet<PathBuf>,
    pub(crate) profile: &'a str,
    /// What `ORIGIN` and `AUTH_BASE_URL` say.
    pub(crate) base: Base,
    /// What the environment says about providers besides their keys.
    pub(crate) providers: Vec<EnvironmentProvider>,
    /// Names of `[[jwt_issuer]]`, for `credentials`.
    pub(crate) issuer_names: Vec<String>,
}

impl Context<'_> {
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        origin: &Origin,
        help: &str,
    ) {
        self.problems.add(Diagnostic::error(code, message).at(origin).help(help));
    }

    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        origin: &Origin,
        help: &str,
    ) {
        self.problems.add(Diagnostic::warning(code, message).at(origin).help(help));
    }

    /// Whether a key is missing and nobody has complained about it yet.
    pub(crate) fn is_missing(&self, root: &Table, path: &str) -> bool {
        let empty = match root.at(path).map(|n| &n.value) {
            None => true,
            Some(Value::Str(text)) => text.is_empty(),
            Some(Value::List(items)) => items.is_empty(),
            Some(_) => false,
        };
        empty && !self.broken.contains(path)
    }
}

/// Resolves everything. The result counts only where no error was reported.
pub(crate) fn resolve(root: &mut Table, cx: &mut Context<'_>) -> Settings {
    later::report(root, cx);
    route::lay_out(root, cx);
    fill(root, crate::keys::ROOT);
    let (server, listeners) = server::resolve(root, cx);
    let providers = provider::resolve(root, &server, cx);
    let jwt_issuers = jwt_issuer::resolve(root, &server, cx);
    let tls = tls::resolve(root, &listeners, cx);
    let auth = auth::resolve(root, &server, &listeners, &providers, cx);
    let secrets = secrets::resolve(root, &auth, cx);
    let store = store::resolve(root, &server, cx);
    let smtp = store::smtp(root, cx);
    let telemetry = telemetry::resolve(root, cx);
    let api_keys = store::api_keys(root, &server, cx);
    let routes = route::resolve(root, &server, &listeners, &telemetry, cx);
    permissions::check(root, cx);
    let settings = Settings {
        server,
        listeners,
        tls: tls.settings,
        secrets,
        store,
        auth,
        api_keys,
        smtp,
        providers,
        incomplete_providers: provider::incomplete(cx),
        jwt_issuers,
        telemetry,
        routes: routes.iter().map(|r| Arc::clone(&r.route)).collect(),
    };
    warnings::report(&settings, &routes, &tls.names, root, cx);
    settings
}

/// Fills in the defaults of the registry where nobody said anything.
pub(crate) fn fill(table: &mut Table, keys: &'static [Key]) {
    for key in keys {
        if let Some(text) = key.default
            && table.get(key.name).is_none()
            && let Some(value) = default_of(text)
        {
            table.set(key.name, value);
        }
        match (&key.kind, table.get_mut(key.name).map(|n| &mut n.value)) {
            (Kind::Table(inner), Some(Value::Table(table))) => fill(table, inner),
            (Kind::Table(inner), None) if !key.optional => {
                let mut filled = Table::default();
                fill(&mut filled, inner);
                table.set(key.name, Node::new(Value::Table(filled), Origin::Default));
            }
            (Kind::Tables(inner), Some(Value::List(items))) => {
                for item in items {
                    if let Value::Table(table) = &mut item.value {
                        fill(table, inner);
                    }
                }
            }
            _ => {}
        }
    }
}

fn default_of(text: &str) -> Option<Node> {
    crate::source::fragment(&format!("value = {text}"), &Origin::Default)?.get("value").cloned()
}

/// Whether every listener is on loopback.
pub(crate) fn all_loopback(listeners: &[Listener]) -> bool {
    listeners.iter().all(|l| l.address.ip().is_loopback())
}
