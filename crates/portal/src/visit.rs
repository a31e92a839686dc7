//! One request as the portal's handlers see it: who asks, from where, under which settings.
//!
//! Made once in [`crate::dispatch`]; handlers take it as an extractor ([`V`]).

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, Method, header};

use vestibule_authn::cookie::{self, Cookies};
use vestibule_authn::session::StartedSession;
use vestibule_authn::{Actor, Authn};
use vestibule_core::credential::CredentialKind;
use vestibule_core::facts::FetchSite;
use vestibule_core::identity::Identity;
use vestibule_core::local::{LocalContext, LocalPlace};
use vestibule_core::secret::Secret;
use vestibule_core::settings::Settings;
use vestibule_core::settings::auth::Mode;
use vestibule_core::time::UnixMillis;

use crate::dispatch::{Area, Portal, is_provider_flow};
use crate::problem::Problem;

/// One request.
pub(crate) struct Visit {
    pub(crate) portal: Arc<Portal>,
    pub(crate) ctx: LocalContext,
    pub(crate) now: UnixMillis,
    pub(crate) settings: Arc<Settings>,
    /// Names and forms of our cookies.
    pub(crate) names: Cookies,
    pub(crate) area: Area,
    pub(crate) method: Method,
    /// Path and query without the prefix of a shared host.
    pub(crate) target: String,
    /// The path as it was called.
    pub(crate) outside: String,
    pub(crate) fetch_site: FetchSite,
    pub(crate) origin: Option<String>,
    pub(crate) user_agent: String,
    /// Whether the answer is read by a person.
    pub(crate) wants_page: bool,
    /// Whether a page is asked for that stands by itself: no frame, no script's request.
    pub(crate) is_top_level: bool,
    /// What forms send back.
    pub(crate) csrf_token: String,
    /// Whether the browser does not have that token yet.
    pub(crate) csrf_is_new: bool,
    cookies: Vec<(String, String)>,
    prefix: &'static str,
}

/// The two spellings of a request's path.
pub(crate) struct Paths {
    /// See [`Visit::target`].
    pub(crate) target: String,
    /// See [`Visit::outside`].
    pub(crate) outside: String,
}

impl Visit {
    /// Reads what the handlers need off a request.
    pub(crate) fn new(
        portal: Arc<Portal>,
        mut ctx: LocalContext,
        area: Area,
        method: Method,
        paths: Paths,
        headers: &HeaderMap,
    ) -> Self {
        let settings = portal.authn.settings();
        let names = Cookies::new(&settings);
        let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
        let cookies = headers
            .get_all(header::COOKIE)
            .iter()
            .flat_map(|field| cookie::pairs(field.as_bytes()))
            .filter_map(|(name, value)| {
                let name = std::str::from_utf8(name).ok()?;
                let value = std::str::from_utf8(value).ok()?;
                cookie::is_ours(name.as_bytes()).then(|| (name.to_owned(), value.to_owned()))
            })
            .collect::<Vec<_>>();
        let csrf = cookies
            .iter()
            .find(|(name, _)| name == names.csrf)
            .map(|(_, value)| value.clone())
            .filter(|value| (32..=128).contains(&value.len()));
        let shared = portal.host.routes().find_host(&settings.server.portal.host).is_some();
        let now = portal.host.now();
        if settings.auth.is_off() {
            ctx.bad_credential = false;
            ctx.store_unavailable = false;
            ctx.cookie_session = None;
            ctx.identity = Some(portal.authn.anonymous(now));
        }
        let prefixed = matches!(ctx.place, LocalPlace::Portal { prefixed: true });
        Self {
            now,
            area,
            method,
            target: paths.target,
            outside: paths.outside,
            fetch_site: FetchSite::from_header(
                headers.get("sec-fetch-site").map(|v| v.to_str().unwrap_or("?")),
            ),
            origin: text(header::ORIGIN).map(str::to_owned),
            user_agent: text(header::USER_AGENT).unwrap_or_default().chars().take(256).collect(),
            wants_page: is_navigation(headers),
            is_top_level: is_top_level(headers),
            csrf_is_new: csrf.is_none(),
            csrf_token: csrf.unwrap_or_else(|| portal.authn.new_flow()),
            cookies,
            prefix: if shared || prefixed { "/.vestibule" } else { "" },
            names,
            settings,
            ctx,
            portal,
        }
    }

    /// The facade.
    pub(crate) fn authn(&self) -> &Arc<Authn> {
        &self.portal.authn
    }

    /// Who acts, for audit events.
    pub(crate) fn actor(&self) -> Actor {
        let id = self.ctx.identity.as_ref().and_then(|i| i.account);
        Actor {
            id: id.map(|id| id.to_string()).unwrap_or_default(),
            client_ip: Some(self.ctx.client_ip),
            request_id: self.ctx.request_id.clone(),
        }
    }

    /// An absolute URL of a portal page; `path` starts with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.settings.server.portal, self.prefix)
    }

    /// What pages put before a portal path: the prefix, or on an app's host the whole origin.
    pub(crate) fn base(&self) -> String {
        match self.ctx.place {
            LocalPlace::AppReserved { .. } => self.url(""),
            LocalPlace::Portal { .. } => self.prefix.to_owned(),
        }
    }

    /// Whether pages live under `/.vestibule/` because the host has routes too.
    pub(crate) fn is_shared_host(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// The path without the prefix of a shared host.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether what is refused here may be shown as a page: everything outside the API, and
    /// the links in it that people follow.
    pub(crate) fn is_for_people(&self) -> bool {
        self.area != Area::Api || is_provider_flow(self.path())
    }

    /// A cookie of ours by name. Two different values count as none.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let mut values = self.cookies.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let first = values.next()?;
        values.all(|other| other == first).then_some(first)
    }

    /// Whether nothing is checked: mode none, or bypass.
    pub(crate) fn auth_is_off(&self) -> bool {
        self.settings.auth.is_off()
    }

    /// The mode in force; a bypass is mode none.
    pub(crate) fn mode(&self) -> Mode {
        if self.auth_is_off() { Mode::None } else { self.settings.auth.mode }
    }

    /// Whether people sign in with a password.
    pub(crate) fn has_password_sign_in(&self) -> bool {
        match self.mode() {
            Mode::Admin => true,
            Mode::Full => self.settings.auth.password.enabled,
            Mode::None => false,
        }
    }

    /// Whether people may make accounts themselves.
    pub(crate) fn has_signup(&self) -> bool {
        let password = &self.settings.auth.password;
        self.mode() == Mode::Full && password.enabled && password.signup
    }

    /// Whether the credential goes along by itself (cookie, or none at all), so that another
    /// site could make the browser send it.
    pub(crate) fn credential_is_ambient(&self) -> bool {
        !self.ctx.bad_credential
            && self.ctx.identity.as_ref().is_none_or(|identity| {
                matches!(identity.credential, CredentialKind::Session | CredentialKind::None)
            })
    }

    /// Whether the text is the form token of this browser.
    pub(crate) fn is_csrf_token(&self, text: &str) -> bool {
        !self.csrf_is_new && Secret::new(text).matches(&self.csrf_token)
    }

    /// The identity of a person who is signed in by a browser session.
    pub(crate) fn browser_identity(&self) -> Option<&Arc<Identity>> {
        self.ctx.identity.as_ref().filter(|_| self.ctx.cookie_session.is_some())
    }

    /// `Set-Cookie` fields of a session that began or got a new token. The form token ends
    /// with the old session.
    pub(crate) fn session_cookies(&self, started: &StartedSession) -> Vec<String> {
        let session = &started.session;
        let max_age = session.remember.then(|| session.expires_at.since(self.now));
        vec![self.names.set_session(&started.token, max_age), self.names.clear(self.names.csrf)]
    }
}

/// Navigation by Fetch Metadata; where that is absent, by `Accept`.
fn is_navigation(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-mode").map(|mode| mode.as_bytes()) {
        Some(mode) => mode == b"navigate",
        None => headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .any(|accept| accept.contains("text/html")),
    }
}

/// Whether Fetch Metadata, where it is sent, tells of a page in a tab of its own.
fn is_top_level(headers: &HeaderMap) -> bool {
    let only = |name: &str, value: &[u8]| {
        headers.get_all(name).iter().all(|field| field.as_bytes() == value)
    };
    only("sec-fetch-mode", b"navigate") && only("sec-fetch-dest", b"document")
}

/// The extractor of a [`Visit`].
#[derive(Clone)]
pub(crate) struct V(pub(crate) Arc<Visit>);

impl Deref for V {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for V {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<V>().cloned().ok_or_else(Problem::internal)
    }
}
