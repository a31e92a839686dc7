//! The forward-auth doors: another proxy asks about a request it holds. Who may ask and how
//! the question is spelt is data; what is answered comes from the same pipeline.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use vestibule_core::facts::{Door, Scheme};
use vestibule_core::host::Host;
use vestibule_core::path::NormalPath;
use vestibule_core::settings::server::TrustedProxies;
use vestibule_core::verdict::{Code, Reason};

use crate::body::OutBody;
use crate::challenge::{self, Asked, Refusal};
use crate::facts::{
    self, X_FORWARDED_HOST, X_FORWARDED_METHOD, X_FORWARDED_PROTO, X_FORWARDED_URI,
    X_ORIGINAL_METHOD, X_ORIGINAL_URL,
};
use crate::headers::{self, AppOrigin, X_VESTIBULE};
use crate::pipeline::{self, Pass, Question, Target};
use crate::record::Exchange;
use crate::snapshot::{CompiledRoute, Snapshot};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How one family of proxies spells its question.
#[derive(Debug)]
pub(crate) struct Dialect {
    paths: &'static [&'static str],
    door: Door,
    method: HeaderName,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Scheme, host and URI in a header each.
    Parts,
    /// The whole URL in one.
    Url(HeaderName),
}

static DIALECTS: [Dialect; 2] = [
    Dialect {
        paths: &["/api/authz/forward-auth", "/api/verify"],
        door: Door::ForwardAuth,
        method: X_FORWARDED_METHOD,
        place: Place::Parts,
    },
    Dialect {
        paths: &["/api/authz/auth-request", "/oauth2/auth"],
        door: Door::AuthRequest,
        method: X_ORIGINAL_METHOD,
        place: Place::Url(X_ORIGINAL_URL),
    },
];

/// The dialect that a path is for.
pub(crate) fn dialect(path: &str) -> Option<&'static Dialect> {
    DIALECTS.iter().find(|dialect| dialect.paths.contains(&path))
}

/// Answers a question; on a forward-auth listener everything that is no question is 404.
pub(crate) async fn answer(
    snapshot: &Arc<Snapshot>,
    exchange: &mut Exchange,
    request: Request<Incoming>,
) -> Response<OutBody> {
    let (parts, _body) = request.into_parts();
    let Some(dialect) = dialect(parts.uri.path()) else {
        let reader = pipeline::Reader::of(&parts.method, &parts.headers, false);
        let refusal = Refusal::new(Code::NoRoute, Reason::NoRoute);
        return pipeline::refuse(snapshot, exchange, &reader, None, &refusal);
    };
    exchange.door = dialect.door;
    (exchange.host, exchange.path) = (None, None);
    let mut asked = None;
    let judged = judge(snapshot, exchange, dialect, &parts.headers, &mut asked).await;
    match judged {
        Ok((route, pass)) => match &asked {
            Some((_, target)) => allow(exchange, &route, &pass, &parts.headers, target),
            None => Response::new(OutBody::empty()),
        },
        Err(refusal) => {
            refuse(snapshot, exchange, dialect, &parts.headers, asked.as_ref(), &refusal)
        }
    }
}

type AskedAbout = (Method, Target);

async fn judge(
    snapshot: &Arc<Snapshot>,
    exchange: &mut Exchange,
    dialect: &Dialect,
    headers: &HeaderMap,
    asked: &mut Option<AskedAbout>,
) -> Result<(Arc<CompiledRoute>, Pass), Refusal> {
    if !may_ask(snapshot, exchange) {
        return Err(Refusal::new(Code::UntrustedProxy, Reason::UntrustedProxy));
    }
    if !facts::credentials_stand_once(headers) {
        return Err(malformed());
    }
    let (method, target) = asked.insert(read(dialect, headers)?);
    exchange.method = method.clone();
    exchange.host = Some(target.host.clone());
    exchange.path = Some(target.path.clone());
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::method_refused());
    }
    let route = snapshot.find(&target.host, &target.path).cloned();
    let path = target.path.as_str();
    if path == "/.vestibule" || path.starts_with("/.vestibule/") {
        tracing::warn!(host = %target.host, "a hook was asked about /.vestibule/: the asking proxy must send that path to Vestibule itself (`vestibule snippet` shows how)");
        return Err(Refusal::new(Code::ReservedPath, Reason::Reserved));
    }
    let portals = snapshot.is_portal_host(&target.host)
        && pipeline::is_portals(snapshot, exchange, target, route.as_deref());
    if portals {
        return Err(Refusal::new(Code::Forbidden, Reason::Portal));
    }
    let route = route.ok_or_else(|| Refusal::new(Code::NoRoute, Reason::NoRoute))?;
    exchange.route = Some(route.clone());
    if snapshot.portal.scheme == Scheme::Https && target.scheme == Scheme::Http {
        return Err(Refusal::https_required(true));
    }
    let question = Question {
        door: dialect.door,
        client: exchange.client,
        method,
        headers,
        target,
        audience: facts::audience(headers, facts::hook_upgrade(headers)),
        upgrade: facts::hook_upgrade(headers),
        has_body: false,
    };
    let pass = pipeline::judge(snapshot, exchange, &route, &question).await?;
    Ok((route, pass))
}

/// Only a listed peer may ask; where trust is a count or `true`, only a local one.
fn may_ask(snapshot: &Snapshot, exchange: &Exchange) -> bool {
    match snapshot.settings.server.trusted_proxies {
        TrustedProxies::List(_) => exchange.client.vouched,
        TrustedProxies::All | TrustedProxies::Hops(_) => exchange.conn.peer.ip().is_loopback(),
        TrustedProxies::Nobody => false,
    }
}

fn malformed() -> Refusal {
    Refusal::new(Code::BadRequestTarget, Reason::HookMalformed)
}

/// Reads the question. Each header stands exactly once.
fn read(dialect: &Dialect, headers: &HeaderMap) -> Result<AskedAbout, Refusal> {
    let one = |name: &HeaderName| {
        facts::single(headers, name).filter(|value| !value.is_empty()).ok_or_else(malformed)
    };
    let method = Method::from_bytes(one(&dialect.method)?.as_bytes()).map_err(|_| malformed())?;
    let (scheme, authority, uri) = match &dialect.place {
        Place::Parts => (one(&X_FORWARDED_PROTO)?, one(&X_FORWARDED_HOST)?, one(&X_FORWARDED_URI)?),
        Place::Url(name) => split_url(one(name)?)?,
    };
    let scheme = match scheme {
        // Traefik's words for a WebSocket's handshake.
        "ws" => Scheme::Http,
        "wss" => Scheme::Https,
        other => facts::proto(other).ok_or_else(malformed)?,
    };
    let (host, port) = Host::parse_authority(authority).map_err(|_| malformed())?;
    if matches!(dialect.place, Place::Url(_)) && headers.contains_key(X_FORWARDED_HOST) {
        let (told, _) = Host::parse_authority(one(&X_FORWARDED_HOST)?).map_err(|_| malformed())?;
        if told != host {
            return Err(malformed());
        }
    }
    if uri.contains('#') {
        return Err(malformed());
    }
    let parsed: Uri = uri.parse().map_err(|_| malformed())?;
    let path = uri.split_once('?').map_or(uri, |(path, _)| path);
    let (path, needs) = NormalPath::parse(path).map_err(|_| malformed())?;
    let port = port.unwrap_or(scheme.default_port());
    Ok((method, Target { host, port, scheme, path, needs, uri: parsed }))
}

/// Scheme, authority, and path with query of an absolute URL.
fn split_url(url: &str) -> Result<(&str, &str, &str), Refusal> {
    let (scheme, rest) = url.split_once("://").ok_or_else(malformed)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, uri) = rest.split_at_checked(end).ok_or_else(malformed)?;
    Ok((scheme, authority, if uri.is_empty() { "/" } else { uri }))
}

fn refuse(
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    dialect: &Dialect,
    headers: &HeaderMap,
    asked: Option<&AskedAbout>,
    refusal: &Refusal,
) -> Response<OutBody> {
    pipeline::note(exchange, refusal);
    let url = asked.map(|(_, target)| target.url()).unwrap_or_default();
    let asked = Asked {
        method: asked.map_or(&Method::GET, |(method, _)| method),
        audience: facts::audience(headers, facts::hook_upgrade(headers)),
        url: &url,
        origin: headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()),
        request_id: &exchange.request_id,
        pages: &snapshot.pages,
        route: exchange.route.as_deref(),
    };
    match dialect.door {
        Door::AuthRequest => challenge::answer_auth_request(refusal, &asked),
        _ => challenge::answer(refusal, &asked),
    }
}

/// 200 without a body: every identity header there is, and what of the client's credentials
/// the app may see.
fn allow(
    exchange: &Exchange,
    route: &CompiledRoute,
    pass: &Pass,
    asked: &HeaderMap,
    target: &Target,
) -> Response<OutBody> {
    let mut response = Response::new(OutBody::empty());
    let told = response.headers_mut();
    let rendered = pass.identity.as_ref().map(|identity| {
        let origin = AppOrigin { scheme: target.scheme, host: &target.host, port: target.port };
        let worker = &exchange.worker;
        worker.rendered.identity(&worker.shared.authn, route, identity, origin, exchange.now)
    });
    headers::assert_everything(told, rendered.as_deref());
    let reading = &pass.reading;
    let kept_back = headers::keeps_authorization_back(reading, route);
    for (name, is_ours) in
        [(header::AUTHORIZATION, kept_back), (X_API_KEY, reading.api_key_is_ours)]
    {
        if let Some(value) = asked.get(&name).filter(|_| !is_ours) {
            told.insert(name, value.clone());
        }
    }
    let cookies = headers::app_cookies(asked).map(|cookies| HeaderValue::from_bytes(&cookies));
    if let Some(Ok(cookies)) = cookies {
        told.insert(header::COOKIE, cookies);
    }
    told.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    told.insert(X_VESTIBULE, HeaderValue::from_static("ALLOWED"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn is_read(path: &str, lines: &[(&'static str, &str)]) -> bool {
        read(dialect(path).unwrap(), &question(lines)).is_ok()
    }

    const WHOLE: [(&str, &str); 4] = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "app.test"),
        ("x-forwarded-uri", "/a?b=c"),
    ];

    #[test]
    fn a10_each_forwarded_header_stands_exactly_once() {
        assert!(is_read("/api/verify", &WHOLE));
        for at in 0..WHOLE.len() {
            let mut missing = WHOLE.to_vec();
            missing.remove(at);
            assert!(!is_read("/api/verify", &missing), "without {:?}", WHOLE[at]);
            let mut twice = WHOLE.to_vec();
            twice.push(WHOLE[at]);
            assert!(!is_read("/api/verify", &twice), "twice {:?}", WHOLE[at]);
            let mut empty = WHOLE.to_vec();
            empty[at].1 = "";
            assert!(!is_read("/api/verify", &empty), "empty {:?}", WHOLE[at]);
        }
    }

    #[test]
    fn a3_a_scheme_that_is_none_of_the_web_is_refused() {
        for (scheme, good) in [
            ("https", true),
            ("wss", true),
            ("javascript", false),
            ("https,http", false),
            ("HTTPS", false),
        ] {
            let mut question = WHOLE.to_vec();
            question[1].1 = scheme;
            assert_eq!(is_read("/api/verify", &question), good, "{scheme}");
        }
    }

    #[test]
    fn c5_a_malformed_original_url_is_refused() {
        let asks = |url: &str| {
            is_read("/oauth2/auth", &[("x-original-method", "GET"), ("x-original-url", url)])
        };
        assert!(asks("https://app.test/a?b"));
        assert!(asks("https://app.test"));
        for bad in [
            "/a",
            "app.test/a",
            "ftp://app.test/",
            "https://",
            "https://a b/",
            "https://u@app.test/",
            "https://app.test/a#b",
            "https://app.test/a/../b",
            "https:///a",
        ] {
            assert!(!asks(bad), "{bad}");
        }
    }

    #[test]
    fn an_original_url_and_a_forwarded_host_must_agree() {
        let asks = |host: &str| {
            is_read(
                "/oauth2/auth",
                &[
                    ("x-original-method", "GET"),
                    ("x-original-url", "https://app.test/"),
                    ("x-forwarded-host", host),
                ],
            )
        };
        assert!(asks("app.test") && asks("APP.test:443"));
        assert!(!asks("other.test"));
    }
}
