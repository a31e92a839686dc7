//! A portal on a memory store, and who asks it: browsers with a cookie jar, and programs.
//!
//! Requests get their [`LocalContext`] as the proxy would make it, by asking the same facade.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

use vestibule_authn::authenticate::{Audience, CredentialHeaders, Outcome, Presented, Takes};
use vestibule_authn::{Actor, Authn};
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::facts::Scheme;
use vestibule_core::host::Host;
use vestibule_core::local::{LocalContext, LocalPlace};
use vestibule_core::route::RouteTable;
use vestibule_core::secret::Secret;
use vestibule_core::settings::Settings;
use vestibule_core::time::UnixMillis;

pub(crate) const PORTAL: &str = "https://auth.example.com";
pub(crate) const APP: &str = "https://app.example.com";
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// A portal under test.
pub(crate) struct Stage {
    pub(crate) authn: Arc<Authn>,
    router: axum::Router,
    clock: Arc<Clock>,
    requests: AtomicU64,
    /// Whether requests come from this machine, not forwarded: so it is in mode none.
    pub(crate) peer_is_local: bool,
}

struct Clock {
    now: AtomicI64,
    routes: Arc<RouteTable>,
}

impl vestibule_portal::Host for Clock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(Ordering::SeqCst))
    }

    fn routes(&self) -> Arc<RouteTable> {
        self.routes.clone()
    }

    fn version(&self) -> &'static str {
        "1.2.3"
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn set_cookies(&self) -> Vec<String> {
        let all = self.headers.get_all(header::SET_COOKIE);
        all.iter().map(|v| v.to_str().unwrap().to_owned()).collect()
    }
}

/// One request before it is sent.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) direct_loopback: bool,
    pub(crate) client: IpAddr,
}

impl Ask {
    pub(crate) fn new(method: Method, url: &str) -> Self {
        let url = if url.starts_with('/') { format!("{PORTAL}{url}") } else { url.to_owned() };
        Self {
            method,
            url,
            headers: Vec::new(),
            body: String::new(),
            direct_loopback: false,
            client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(self, body: serde_json::Value) -> Self {
        let mut ask = self.header("content-type", "application/json");
        ask.body = body.to_string();
        ask
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let mut ask = self.header("content-type", "application/x-www-form-urlencoded");
        let pairs = fields.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v)));
        ask.body = pairs.collect::<Vec<_>>().join("&");
        ask
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn on_loopback(mut self) -> Self {
        self.direct_loopback = true;
        self
    }
}

pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

impl Stage {
    /// Mode full, sign-up on without approval, three apps.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same after a change of the settings.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = crate::configuration::settings();
        change(&mut settings);
        let routes = Arc::new(RouteTable::new(settings.routes.clone()));
        let clock = Arc::new(Clock { now: AtomicI64::new(1_800_000_000_000), routes });
        let authn = Authn::start(
            Arc::new(settings),
            crate::memory::Memory::new(),
            tokio::runtime::Handle::current(),
            UnixMillis(1_800_000_000_000),
        )
        .await
        .expect("authn starts");
        let router = vestibule_portal::router(authn.clone(), clock.clone());
        let peer_is_local = authn.settings().auth.is_off();
        Self { authn, router, clock, requests: AtomicU64::new(0), peer_is_local }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(self.clock.now.load(Ordering::SeqCst))
    }

    pub(crate) fn pass_time(&self, by: Duration) {
        self.clock.now.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor { id: "system".to_owned(), client_ip: None, request_id: Arc::from("test") }
    }

    /// Adds an active account with [`PASSWORD`].
    pub(crate) async fn person(&self, email: &str, role: Role) -> Account {
        self.account(email, role, Status::Active).await
    }

    pub(crate) async fn account(&self, email: &str, role: Role, status: Status) -> Account {
        let add = vestibule_authn::account::AddAccount {
            email: email.to_owned(),
            name: "Ann Example".to_owned(),
            username: None,
            role,
            status,
            groups: Vec::new(),
            password: Some(Secret::new(PASSWORD)),
        };
        self.authn.add_account(add, &self.actor(), self.now()).await.expect("account is made")
    }

    /// Sends a request as the proxy would hand it over.
    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        let (scheme, rest) = ask.url.split_once("://").unwrap();
        let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let target = if target.is_empty() { "/" } else { target };
        let (host, port) = Host::parse_authority(authority).unwrap();
        let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
        let mut request = Request::builder().method(ask.method).uri(target);
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(ask.body)).unwrap();
        let settings = self.authn.settings();
        let is_portal = host == settings.server.portal.host;
        let place = if is_portal {
            LocalPlace::Portal { prefixed: target.starts_with("/.vestibule/") }
        } else {
            let route = self.clock.routes.find_host(&host).expect("a host with a route");
            LocalPlace::AppReserved { route: route.clone() }
        };
        let mut ctx = LocalContext {
            place,
            client_ip: ask.client,
            direct_loopback: ask.direct_loopback || self.peer_is_local,
            request_id: format!("req-{}", self.requests.fetch_add(1, Ordering::SeqCst)).into(),
            scheme,
            port: port.unwrap_or(scheme.default_port()),
            host,
            identity: None,
            bad_credential: false,
            store_unavailable: false,
            cookie_session: None,
        };
        self.authenticate(request.headers(), is_portal, &mut ctx).await;
        request.extensions_mut().insert(ctx);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn authenticate(&self, headers: &HeaderMap, is_portal: bool, ctx: &mut LocalContext) {
        let cookies: Vec<&[u8]> =
            headers.get_all(header::COOKIE).iter().map(|v| v.as_bytes()).collect();
        let shown = CredentialHeaders {
            authorization: headers.get(header::AUTHORIZATION).map(|v| v.as_bytes()),
            x_api_key: headers.get("x-api-key").map(|v| v.as_bytes()),
            cookies: &cookies,
        };
        let reading = self.authn.read(&shown, Takes::default());
        let host = ctx.host.clone();
        let audience = if is_portal { Audience::Portal } else { Audience::App(host.as_str()) };
        let now = self.now();
        let cached = self.authn.authenticate_cached(&reading, audience, ctx.client_ip, now);
        let outcome = match cached {
            Some(outcome) => outcome,
            None => self.authn.authenticate(&reading, audience, ctx.client_ip, now).await,
        };
        match outcome {
            Outcome::Identified(identity) => {
                if matches!(reading.presented, Presented::Session(_)) {
                    ctx.cookie_session = identity.session;
                }
                ctx.identity = Some(identity);
            }
            Outcome::NotPresented => {}
            Outcome::Rejected(_) => ctx.bad_credential = true,
            Outcome::RateLimited(_) => panic!("a key is over its limit"),
            Outcome::Unavailable => ctx.store_unavailable = true,
        }
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(Ask::new(Method::GET, url)).await
    }

    pub(crate) async fn post(&self, url: &str, body: serde_json::Value) -> Answer {
        self.send(Ask::new(Method::POST, url).json(body)).await
    }

    /// Signs in as a program does; the access token.
    pub(crate) async fn token_of(&self, email: &str) -> String {
        let body = serde_json::json!({ "email": email, "password": PASSWORD });
        let answer = self.post("/api/v1/auth/login", body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser { stage: self, jar: BTreeMap::new() }
    }

    /// A browser in which somebody has signed in by the form.
    pub(crate) async fn browser_of(&self, email: &str) -> Browser<'_> {
        let mut browser = self.browser();
        let answer = browser.sign_in(email, PASSWORD, "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        browser
    }
}

/// A browser: keeps cookies per host, sends Fetch Metadata.
pub(crate) struct Browser<'a> {
    stage: &'a Stage,
    pub(crate) jar: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser<'_> {
    pub(crate) async fn send(&mut self, ask: Ask) -> Answer {
        let host = ask.url.split('/').nth(2).unwrap().to_owned();
        let cookies = self.jar.entry(host.clone()).or_default();
        let field = cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; ");
        let ask = if field.is_empty() { ask } else { ask.header("cookie", &field) };
        let answer = self.stage.send(ask).await;
        let cookies = self.jar.entry(host).or_default();
        for field in answer.set_cookies() {
            let (pair, attributes) = field.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// A navigation that the person started.
    pub(crate) async fn open(&mut self, url: &str) -> Answer {
        let ask = Ask::new(Method::GET, url)
            .header("accept", "text/html")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-site", "none");
        self.send(ask).await
    }

    /// A navigation and all redirects behind it; the URLs that were visited.
    pub(crate) async fn follow(&mut self, url: &str) -> (Vec<String>, Answer) {
        let mut visited = vec![url.to_owned()];
        let mut answer = self.open(url).await;
        while answer.status.is_redirection() {
            let to = answer.location().to_owned();
            assert!(visited.len() < 12, "a loop: {visited:?}");
            visited.push(to.clone());
            let is_ours = to.starts_with(&self.stage.authn.settings().server.portal.to_string())
                || to.contains("/.vestibule/");
            if !is_ours {
                break;
            }
            answer = self.open(&to).await;
        }
        (visited, answer)
    }

    /// Submits a form of the portal's own page.
    pub(crate) async fn submit(&mut self, url: &str, fields: &[(&str, &str)]) -> Answer {
        let ask = Ask::new(Method::POST, url)
            .header("accept", "text/html")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-site", "same-origin")
            .form(fields);
        self.send(ask).await
    }

    pub(crate) async fn sign_in(&mut self, email: &str, password: &str, rd: &str) -> Answer {
        self.submit("/login", &[("email", email), ("password", password), ("rd", rd)]).await
    }

    pub(crate) fn cookie(&self, host: &str, name: &str) -> Option<String> {
        self.jar.get(host)?.get(name).cloned()
    }
}
