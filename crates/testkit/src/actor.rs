//! Somebody who uses the gateway: a browser's jar and manners, or a program's key.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::http1::encode;
use crate::{Client, Request, Response};

/// Most redirects that a navigation follows.
const MOST_REDIRECTS: usize = 12;

/// A person or a program. A clone has a jar of its own.
#[derive(Clone)]
pub struct Actor {
    client: Client,
    hook: Option<Client>,
    portal: String,
    host: String,
    jar: Vec<Cookie>,
    headers: Vec<(String, String)>,
}

/// Which door is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The reverse proxy.
    Proxy,
    /// `/api/authz/forward-auth`
    ForwardAuth,
    /// `/api/authz/auth-request`
    AuthRequest,
}

impl Door {
    /// All of them: what is shown at one is shown at every one.
    pub const ALL: [Self; 3] = [Self::Proxy, Self::ForwardAuth, Self::AuthRequest];
}

/// A cookie in a jar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The host that set it.
    pub host: String,
    /// `Domain`, where given.
    pub domain: Option<String>,
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// The whole `Set-Cookie` field.
    pub set: String,
}

/// Where a navigation ended.
#[derive(Clone, Debug)]
pub struct Landing {
    /// The last URL.
    pub url: String,
    /// Its answer.
    pub response: Response,
    /// Every URL on the way, the first and the last included.
    pub visited: Vec<String>,
}

impl Actor {
    /// Somebody at a socket. `host` completes URLs that are given as a path.
    pub fn new(client: Client, portal: &str, host: impl Into<String>) -> Self {
        Self {
            client,
            hook: None,
            portal: portal.to_owned(),
            host: host.into(),
            jar: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The same person at another socket (a proxy in front, the TLS listener).
    #[must_use]
    pub fn at(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// With the socket that answers the hooks.
    #[must_use]
    pub fn with_hook(mut self, hook: Option<Client>) -> Self {
        self.hook = hook;
        self
    }

    /// Sends a field with every request.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The cookies.
    pub fn jar(&self) -> &[Cookie] {
        &self.jar
    }

    /// Puts a cookie into the jar, replacing one of that host and name.
    pub fn set_cookie(&mut self, host: &str, name: &str, value: &str) {
        self.jar.retain(|cookie| cookie.host != host || cookie.name != name);
        let (host, name, value) = (host.to_owned(), name.to_owned(), value.to_owned());
        self.jar.push(Cookie { host, domain: None, name, value, set: String::new() });
    }

    /// The value of a session cookie of ours on that host, whatever its prefix.
    pub fn session_cookie(&self, host: &str) -> Option<Cookie> {
        let names = ["__Host-vestibule", "__Secure-vestibule", "vestibule"];
        self.jar
            .iter()
            .find(|cookie| cookie.covers(host) && names.contains(&cookie.name.as_str()))
            .cloned()
    }

    /// `https://host/path` of a URL or of a path on the default host.
    pub fn url(&self, url: &str) -> String {
        if url.contains("://") {
            return url.to_owned();
        }
        let scheme = self.portal.split("://").next().unwrap_or("https");
        format!("{scheme}://{}{url}", self.host)
    }

    /// Sends a request with jar and headers, and keeps the cookies of the answer.
    pub fn send(&mut self, request: Request) -> Response {
        let request = self.dressed(request);
        let response = self.client.send(&request);
        self.keep(request.host(), &response);
        response
    }

    /// The request with this actor's cookies and headers.
    pub fn dressed(&self, mut request: Request) -> Request {
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let cookies: Vec<String> = self
            .jar
            .iter()
            .filter(|cookie| cookie.covers(request.host()))
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        if cookies.is_empty() { request } else { request.header("Cookie", cookies.join("; ")) }
    }

    /// `GET` as a program; signed in at the portal, the host is entered first.
    pub fn get(&mut self, url: &str) -> Response {
        let url = self.url(url);
        self.enter(&url);
        self.send(Request::get(&url))
    }

    /// Any request; signed in at the portal, the host is entered first.
    pub fn request(&mut self, request: Request) -> Response {
        self.enter(&request.url());
        self.send(request)
    }

    /// Gets this host's own cookie by the hand-off, if there is a portal session and no cookie yet.
    pub fn enter(&mut self, url: &str) {
        let request = Request::get(url);
        let portal = Request::get(&self.portal).host().to_owned();
        if self.session_cookie(&portal).is_some() && self.session_cookie(request.host()).is_none() {
            let start = format!(
                "{}://{}/.vestibule/start?rd={}",
                request.scheme,
                request.authority,
                encode(url)
            );
            let mut next = start;
            for _ in 0..MOST_REDIRECTS {
                if self.session_cookie(request.host()).is_some() {
                    return;
                }
                let response = self.send(Request::get(&next).navigation());
                match response.header("location") {
                    Some(location) => next = absolute(&next, location),
                    None => return,
                }
            }
        }
    }

    /// Opens a URL as a browser does: navigation, redirects, cookies.
    pub fn navigate(&mut self, url: &str) -> Landing {
        let mut url = self.url(url);
        let mut visited = vec![url.clone()];
        loop {
            let response = self.send(Request::get(&url).navigation());
            let redirect = matches!(response.status, 301 | 302 | 303 | 307 | 308);
            match response.header("location") {
                Some(location) if redirect => url = absolute(&url, location),
                _ => return Landing { url, response, visited },
            }
            visited.push(url.clone());
            assert!(visited.len() <= MOST_REDIRECTS, "a loop of redirects: {visited:#?}");
        }
    }

    /// As [`Actor::navigate`], and on to servers that the gateway sends the browser to: whatever
    /// URL names a socket is asked there.
    pub fn travel(&mut self, url: &str) -> Landing {
        let mut url = self.url(url);
        let mut visited = vec![url.clone()];
        loop {
            let response = self.visit(&url);
            let redirect = matches!(response.status, 301 | 302 | 303 | 307 | 308);
            match response.header("location") {
                Some(location) if redirect => url = absolute(&url, location),
                _ => return Landing { url, response, visited },
            }
            visited.push(url.clone());
            assert!(visited.len() <= MOST_REDIRECTS, "a loop of redirects: {visited:#?}");
        }
    }

    /// One step of [`Actor::travel`].
    pub fn visit(&mut self, url: &str) -> Response {
        let request = self.dressed(Request::get(url).navigation());
        let ours = Request::get(&self.portal).authority == request.authority;
        let response = match request.authority.parse() {
            Ok(socket) if !ours => Client::plain(socket).send(&request),
            _ => self.client.send(&request),
        };
        self.keep(request.host(), &response);
        response
    }

    /// Who this is at the providers of a test.
    #[must_use]
    pub fn known_as(mut self, person: &str) -> Self {
        self.set_cookie("127.0.0.1", "person", person);
        self
    }

    /// Signs in at a provider as a browser does: start, provider, callback, and on to where it
    /// leads. `rd` may be empty.
    pub fn sign_in_with(&mut self, provider: &str, rd: &str) -> Landing {
        self.travel(&self.start_url(provider, rd))
    }

    /// The start alone: the answer that should lead to the provider.
    pub fn start_with(&mut self, provider: &str, rd: &str) -> Response {
        self.visit(&self.start_url(provider, rd))
    }

    /// The start and the way to the provider; the URL that it sends the browser back to.
    #[track_caller]
    pub fn callback_of(&mut self, provider: &str, rd: &str) -> String {
        let start = self.start_with(provider, rd);
        let back = self.visit(start.location());
        back.location().to_owned()
    }

    fn start_url(&self, provider: &str, rd: &str) -> String {
        let rd = if rd.is_empty() { String::new() } else { format!("?rd={}", encode(rd)) };
        format!("{}/api/v1/auth/login/{provider}{rd}", self.portal)
    }

    /// Asks a door about a request without a body: what the app's host would answer at the
    /// proxy door, or the hook's answer.
    pub fn ask(&mut self, door: Door, method: &str, url: &str) -> Response {
        self.ask_with(door, Request::new(method, &self.url(url)))
    }

    /// As [`Actor::ask`], for a request with fields of its own.
    pub fn ask_with(&mut self, door: Door, request: Request) -> Response {
        let request = self.dressed(request);
        if door == Door::Proxy {
            return self.client.send(&request);
        }
        let hook = self.hook.clone().expect("this gateway has no forward-auth listener");
        hook.send(&hook_request(door, &request, hook.source))
    }

    /// Signs in at the portal through the API, so that the jar holds the portal's cookie.
    pub fn sign_in(&mut self, email: &str, password: &str) -> Response {
        let body = json!({ "email": email, "password": password, "cookie": true });
        self.api("POST", "/login", Some(&body))
    }

    /// Signs out at the portal.
    pub fn sign_out(&mut self) -> Response {
        self.api("POST", "/logout", Some(&json!({})))
    }

    /// A request to `/api/v1/auth…` at the portal, as its own pages would make it.
    pub fn api(&mut self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let request = Request::new(method, &format!("{}/api/v1/auth{path}", self.portal))
            .header("Origin", &self.portal)
            .header("Sec-Fetch-Site", "same-origin")
            .header("Accept", "application/json");
        self.send(match body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    /// Makes an API key: its id and the key itself.
    #[track_caller]
    pub fn create_key(&mut self, body: &Value) -> (String, String) {
        let created = self.api("POST", "/api-keys", Some(body)).expect(201).json();
        let text = |name: &str| created[name].as_str().expect("a text").to_owned();
        (text("id"), text("key"))
    }

    /// Signs in for tokens: access and refresh token.
    #[track_caller]
    pub fn tokens(&mut self, email: &str, password: &str) -> (String, String) {
        let body = json!({ "email": email, "password": password });
        let tokens = self.api("POST", "/login", Some(&body)).expect(200).json();
        let text = |name: &str| tokens[name].as_str().expect("a text").to_owned();
        (text("access_token"), text("refresh_token"))
    }

    fn keep(&mut self, host: &str, response: &Response) {
        for set in response.all("set-cookie") {
            let mut parts = set.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let attribute = |wanted: &str| {
                set.split(';').skip(1).find_map(|part| {
                    let (name, value) = part.split_once('=').unwrap_or((part, ""));
                    name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
                })
            };
            let domain = attribute("domain");
            self.jar.retain(|cookie| {
                cookie.host != host || cookie.name != name || cookie.domain != domain
            });
            if attribute("max-age").as_deref() == Some("0") || value.is_empty() {
                continue;
            }
            self.jar.push(Cookie {
                host: host.to_owned(),
                domain,
                name: name.to_owned(),
                value: value.to_owned(),
                set: set.to_owned(),
            });
        }
    }
}

impl Cookie {
    fn covers(&self, host: &str) -> bool {
        match &self.domain {
            None => self.host == host,
            Some(domain) => {
                let domain = domain.trim_start_matches('.');
                host == domain || host.ends_with(&format!(".{domain}"))
            }
        }
    }
}

/// The question that Traefik, Caddy or nginx would ask about a request.
pub(crate) fn hook_request(door: Door, request: &Request, source: Option<IpAddr>) -> Request {
    let mut hook = match door {
        Door::Proxy => return request.clone(),
        Door::ForwardAuth => Request::get("http://hook.test/api/authz/forward-auth")
            .header("X-Forwarded-Method", &request.method)
            .header("X-Forwarded-Proto", &request.scheme)
            .header("X-Forwarded-Host", &request.authority)
            .header("X-Forwarded-Uri", &request.target),
        Door::AuthRequest => Request::get("http://hook.test/api/authz/auth-request")
            .header("X-Original-Method", &request.method)
            .header("X-Original-URL", request.url()),
    };
    hook = hook.header("X-Forwarded-For", if source.is_some() { "127.0.0.1" } else { "127.0.0.2" });
    hook.headers.extend(request.headers.iter().cloned());
    hook
}

fn absolute(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let base = Request::get(base);
    if location.starts_with('/') {
        return format!("{}://{}{location}", base.scheme, base.authority);
    }
    let path = base.target.split('?').next().unwrap_or("/");
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{}://{}{folder}/{location}", base.scheme, base.authority)
}
