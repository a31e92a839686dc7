//! A request's path through both doors: facts, route, credential, decision, then forwarding
//! or an answer of ours. The only order in which these steps are taken.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use vestibule_authn::authenticate::{
    Audience as TokenAudience, CredentialHeaders, Outcome, Presented, Reading, Takes,
};
use vestibule_core::facts::{Audience, Door, Facts, Scheme};
use vestibule_core::host::Host;
use vestibule_core::identity::Identity;
use vestibule_core::local::{LocalContext, LocalPlace};
use vestibule_core::path::{Needs, NormalPath};
use vestibule_core::policy::{Decision, decide};
use vestibule_core::settings::listener::ListenerDoor;
use vestibule_core::verdict::{Code, Reason, Verdict};

use crate::body::{self, OutBody};
use crate::challenge::{self, Asked, Refusal};
use crate::facts::{self, Client};
use crate::forward::{self, Forward};
use crate::forward_auth;
use crate::headers;
use crate::limits::MAX_FIELDS;
use crate::record::Exchange;
use crate::resource::METADATA_PATH;
use crate::server::guard::ConnState;
use crate::snapshot::{CompiledRoute, Snapshot};
use crate::worker::Worker;

const X_API_KEY: http::HeaderName = http::HeaderName::from_static("x-api-key");
/// How long a connection may stand still while no route says otherwise.
const IDLE: Duration = Duration::from_secs(600);
/// What a client that closed before its answer is logged as (nginx' word for it).
const CLIENT_CLOSED: u16 = 499;

/// Answers one request. The record is written when the answer's body is over.
pub(crate) async fn handle(
    worker: Rc<Worker>,
    conn: Arc<ConnState>,
    request: Request<Incoming>,
) -> Response<OutBody> {
    conn.begin_exchange();
    conn.set_idle(IDLE);
    let snapshot = worker.snapshot();
    let mut exchange = Box::new(begin(worker, conn, &snapshot, &request));
    let response = answer(&snapshot, &mut exchange, request).await;
    exchange.status = response.status().as_u16();
    response.map(|body| body.recorded(exchange))
}

fn begin(
    worker: Rc<Worker>,
    conn: Arc<ConnState>,
    snapshot: &Snapshot,
    request: &Request<Incoming>,
) -> Exchange {
    let server = &snapshot.settings.server;
    let client = facts::client(request.headers(), conn.peer.ip(), &server.trusted_proxies);
    let told = client.vouched.then(|| headers::told_request_id(request.headers())).flatten();
    let combined = worker.log.form() == vestibule_core::settings::telemetry::AccessLog::Combined;
    let field = |name| if combined { request.headers().get(name).cloned() } else { None };
    Exchange {
        started: Instant::now(),
        now: worker.now(),
        request_id: told.unwrap_or_else(|| worker.next_id()),
        method: request.method().clone(),
        host: None,
        path: None,
        client,
        door: Door::Proxy,
        status: CLIENT_CLOSED,
        verdict: "deny",
        reason: Reason::BadTarget,
        rule: None,
        route: None,
        identity: None,
        meter: None,
        bytes_out: 0,
        upstream_time: None,
        broke_off: false,
        user_agent: field(header::USER_AGENT),
        referer: field(header::REFERER),
        worker,
        conn,
    }
}

async fn answer(
    snapshot: &Arc<Snapshot>,
    exchange: &mut Exchange,
    request: Request<Incoming>,
) -> Response<OutBody> {
    if request.headers().len() > MAX_FIELDS {
        return challenge::too_many_fields();
    }
    if let Some(expect) = request.headers().get(header::EXPECT)
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return challenge::expectation_failed();
    }
    if !facts::length_is_plain(request.headers()) {
        return refuse(snapshot, exchange, &reader(&request), None, &Refusal::malformed());
    }
    let door = exchange.worker.shared.listeners.get(exchange.conn.listener).map(|l| l.door);
    let target = match Target::read(snapshot, exchange, &request) {
        Ok(target) => target,
        Err(refusal) => return refuse(snapshot, exchange, &reader(&request), None, &refusal),
    };
    match door {
        Some(ListenerDoor::Proxy) => proxy_door(snapshot, exchange, request, target).await,
        Some(ListenerDoor::ForwardAuth) => {
            Box::pin(forward_auth::answer(snapshot, exchange, request)).await
        }
        Some(ListenerDoor::Redirect) | None => redirect_door(snapshot, exchange, &request, &target),
    }
}

/// Who reads a refusal, of a request whose head may already be on its way.
pub(crate) struct Reader<'a> {
    pub(crate) method: &'a Method,
    pub(crate) audience: Audience,
    pub(crate) origin: Option<&'a HeaderValue>,
}

impl<'a> Reader<'a> {
    pub(crate) fn of(method: &'a Method, headers: &'a HeaderMap, upgrade: bool) -> Self {
        let origin = headers.get(header::ORIGIN);
        Self { method, audience: facts::audience(headers, upgrade), origin }
    }
}

fn reader(request: &Request<Incoming>) -> Reader<'_> {
    Reader::of(request.method(), request.headers(), false)
}

/// What a request is for.
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) scheme: Scheme,
    pub(crate) path: NormalPath,
    pub(crate) needs: Needs,
    /// For its query; its path is the raw one.
    pub(crate) uri: Uri,
}

impl Target {
    fn read(
        snapshot: &Snapshot,
        exchange: &mut Exchange,
        request: &Request<Incoming>,
    ) -> Result<Self, Refusal> {
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            exchange.host =
                facts::host_of(request, &exchange.worker.hosts).ok().map(|(host, _)| host);
            return Err(Refusal::method_refused());
        }
        let (host, port) =
            facts::host_of(request, &exchange.worker.hosts).map_err(|_| Refusal::malformed())?;
        exchange.host = Some(host.clone());
        let portal = &snapshot.portal;
        let scheme =
            facts::scheme(request.headers(), exchange.conn.tls, exchange.client, portal.scheme);
        let (path, needs) =
            NormalPath::parse(request.uri().path()).map_err(|_| Refusal::bad_target())?;
        exchange.path = Some(path.clone());
        if exchange.conn.names.as_ref().is_some_and(|names| {
            exchange.conn.sni.as_deref() != Some(host.as_str()) && !names.cover(host.as_str())
        }) {
            return Err(Refusal::new(Code::MisdirectedRequest, Reason::Misdirected));
        }
        let port = port.unwrap_or(scheme.default_port());
        Ok(Self { host, port, scheme, path, needs, uri: request.uri().clone() })
    }

    /// `scheme://host[:port]` as the browser sees it.
    fn origin(&self) -> String {
        CompiledRoute::app_origin(self.scheme, &self.host, self.port)
    }

    /// The URL as the browser sees it.
    pub(crate) fn url(&self) -> String {
        let origin = self.origin();
        match self.uri.query() {
            Some(query) => format!("{origin}{}?{query}", self.path),
            None => format!("{origin}{}", self.path),
        }
    }
}

/// The answer of a refusal at the proxy door, noted in the record.
pub(crate) fn refuse(
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    reader: &Reader<'_>,
    target: Option<&Target>,
    refusal: &Refusal,
) -> Response<OutBody> {
    note(exchange, refusal);
    let url = target.map(Target::url).unwrap_or_default();
    let asked = Asked {
        method: reader.method,
        audience: reader.audience,
        url: &url,
        origin: reader.origin.and_then(|origin| origin.to_str().ok()),
        request_id: &exchange.request_id,
        pages: &snapshot.pages,
        route: exchange.route.as_deref(),
    };
    challenge::answer(refusal, &asked)
}

/// Notes a refusal in the record.
pub(crate) fn note(exchange: &mut Exchange, refusal: &Refusal) {
    match refusal.decision {
        Some(Decision { verdict, rule }) => exchange.decided(verdict, rule),
        None => exchange.refused(refusal.reason),
    }
}

fn redirect_door(
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    request: &Request<Incoming>,
    target: &Target,
) -> Response<OutBody> {
    let known =
        snapshot.is_portal_host(&target.host) || snapshot.table.find_host(&target.host).is_some();
    let refusal = Refusal::https_required(known);
    let outside = Target {
        scheme: Scheme::Http,
        host: target.host.clone(),
        // The listener's own port says nothing about the one that serves https.
        port: https_port(snapshot),
        path: target.path.clone(),
        needs: target.needs,
        uri: target.uri.clone(),
    };
    refuse(snapshot, exchange, &reader(request), Some(&outside), &refusal)
}

async fn proxy_door(
    snapshot: &Arc<Snapshot>,
    exchange: &mut Exchange,
    request: Request<Incoming>,
    target: Target,
) -> Response<OutBody> {
    let portal_host = snapshot.is_portal_host(&target.host);
    if portal_host && forward_auth::dialect(target.path.as_str()).is_some() {
        return Box::pin(forward_auth::answer(snapshot, exchange, request)).await;
    }
    if !facts::credentials_stand_once(request.headers()) {
        let refusal = Refusal::malformed();
        return refuse(snapshot, exchange, &reader(&request), Some(&target), &refusal);
    }
    if snapshot.portal.scheme == Scheme::Https && target.scheme == Scheme::Http {
        let refusal = Refusal::https_required(true);
        let outside = Target { port: https_port(snapshot), ..target };
        return refuse(snapshot, exchange, &reader(&request), Some(&outside), &refusal);
    }
    let route = snapshot.find(&target.host, &target.path).cloned();
    if target.path.as_str() == METADATA_PATH
        && let Some(resource) = snapshot.resources.find(&target.host)
        && !snapshot.settings.auth.is_off()
    {
        exchange.route = route.or_else(|| snapshot.find_host(&target.host).cloned());
        exchange.decided(Verdict::Allow(Reason::Reserved), None);
        return resource.answer(request.method(), &target.origin());
    }
    if portal_host && is_portals(snapshot, exchange, &target, route.as_deref()) {
        let prefixed = snapshot.shared_host && below(target.path.as_str(), "/.vestibule");
        let place = LocalPlace::Portal { prefixed };
        return Box::pin(local(snapshot, exchange, request, target, place, route)).await;
    }
    if below(target.path.as_str(), "/.vestibule") {
        let Some(route) = route.or_else(|| snapshot.find_host(&target.host).cloned()) else {
            return no_route(snapshot, exchange, &request, &target);
        };
        exchange.route = Some(route.clone());
        let place = LocalPlace::AppReserved { route: route.route.clone() };
        return Box::pin(local(snapshot, exchange, request, target, place, Some(route))).await;
    }
    match route {
        Some(route) if route.target.is_some() => {
            exchange.conn.set_idle(route.route.idle_timeout);
            exchange.route = Some(route.clone());
            app(snapshot, exchange, request, target, route).await
        }
        _ => no_route(snapshot, exchange, &request, &target),
    }
}

/// Whether a path of the portal's host is the portal's: by the configuration, or as the
/// callback of a provider that was made at run time.
pub(crate) fn is_portals(
    snapshot: &Snapshot,
    exchange: &Exchange,
    target: &Target,
    route: Option<&CompiledRoute>,
) -> bool {
    snapshot.is_portal_path(&target.path, route.map(|route| &*route.route))
        || exchange.worker.shared.authn.is_provider_callback(target.path.as_str())
}

/// The port that, put after `https://`, is the outside one of the portal. 80 stands for the
/// scheme's default.
fn https_port(snapshot: &Snapshot) -> u16 {
    if snapshot.portal.port == 443 { 80 } else { snapshot.portal.port }
}

fn below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn no_route(
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    request: &Request<Incoming>,
    target: &Target,
) -> Response<OutBody> {
    let refusal = Refusal::new(Code::NoRoute, Reason::NoRoute);
    refuse(snapshot, exchange, &reader(request), Some(target), &refusal)
}

async fn app(
    snapshot: &Arc<Snapshot>,
    exchange: &mut Exchange,
    mut request: Request<Incoming>,
    target: Target,
    route: Arc<CompiledRoute>,
) -> Response<OutBody> {
    let has_body = !request.body().is_end_stream();
    let upgrade = if request.headers().contains_key(header::UPGRADE) && !has_body {
        wants_upgrade(&mut request)
    } else {
        None
    };
    let (parts, body) = request.into_parts();
    let question = Question {
        door: Door::Proxy,
        client: exchange.client,
        method: &parts.method,
        headers: &parts.headers,
        target: &target,
        audience: facts::audience(&parts.headers, upgrade.is_some()),
        upgrade: upgrade.is_some(),
        has_body,
    };
    let audience = question.audience;
    match judge(snapshot, exchange, &route, &question).await {
        Ok(pass) => {
            let forward = Forward { parts, body, target, route, pass, upgrade, audience };
            forward::forward(snapshot, exchange, forward).await
        }
        Err(refusal) => {
            let origin = parts.headers.get(header::ORIGIN);
            let reader = Reader { method: &parts.method, audience, origin };
            let response = refuse(snapshot, exchange, &reader, Some(&target), &refusal);
            body::linger(&parts, body);
            response
        }
    }
}

fn wants_upgrade(request: &mut Request<Incoming>) -> Option<hyper::upgrade::OnUpgrade> {
    let wants = facts::upgrade(request.version(), request.headers());
    wants.then(|| hyper::upgrade::on(request))
}

/// What is asked of the policy, at either door.
pub(crate) struct Question<'a> {
    pub(crate) door: Door,
    pub(crate) client: Client,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) target: &'a Target,
    pub(crate) audience: Audience,
    pub(crate) upgrade: bool,
    pub(crate) has_body: bool,
}

/// A request that is let through.
pub(crate) struct Pass {
    /// Whom to assert; `None`: nobody, or a preflight.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) reading: Reading,
}

/// Authenticates and decides. What is refused is refused alike at both doors.
pub(crate) async fn judge(
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    route: &CompiledRoute,
    question: &Question<'_>,
) -> Result<Pass, Refusal> {
    let target = question.target;
    if target.needs.within(route.route.allow_in_path).is_err() {
        return Err(Refusal::bad_target());
    }
    let auth_off = snapshot.settings.auth.is_off();
    let forwarded = auth_off && facts::has_forwarding_header(question.headers);
    if forwarded && on_loopback(exchange) {
        return Err(Refusal::new(Code::BypassRefused, Reason::BypassRefused));
    }
    let reading = read(exchange, question.headers, route.takes());
    let identity = if auth_off {
        Some(exchange.worker.shared.authn.anonymous(exchange.now))
    } else {
        let outcome = identify(snapshot, exchange, &target.host, &reading).await;
        proved(outcome)?
    };
    let origin = question.headers.get(header::ORIGIN);
    let preflight = facts::preflight(question.method, question.headers, question.has_body);
    let facts = Facts {
        door: question.door,
        method: question.method.as_str(),
        scheme: target.scheme,
        host: &target.host,
        port: target.port,
        path: &target.path,
        client_ip: question.client.ip,
        network_ip: question.client.network_ip,
        has_forwarding_header: forwarded,
        audience: question.audience,
        fetch_site: facts::fetch_site(question.headers),
        // What is no visible ASCII is nobody's origin, and not absent either.
        origin: origin.map(|origin| origin.to_str().unwrap_or("null")),
        upgrade: question.upgrade,
        preflight: preflight.is_some(),
        preflight_method: preflight,
    };
    let mut decision = decide(&route.route, &facts, identity.as_deref(), exchange.now, None);
    if auth_off && decision.verdict.reason() != Reason::DenyRule {
        decision.verdict = Verdict::Allow(Reason::AuthOff);
    }
    exchange.decided(decision.verdict, decision.rule);
    exchange.identity.clone_from(&identity);
    match Refusal::of(decision) {
        Some(refusal) => Err(refusal),
        None if decision.verdict.reason() == Reason::Preflight => {
            Ok(Pass { identity: None, reading })
        }
        None => Ok(Pass { identity, reading }),
    }
}

fn on_loopback(exchange: &Exchange) -> bool {
    let listener = exchange.worker.shared.listeners.get(exchange.conn.listener);
    listener.is_some_and(|listener| listener.address.ip().is_loopback())
}

/// Classifies what the request shows.
fn read(exchange: &Exchange, headers: &HeaderMap, takes: Takes<'_>) -> Reading {
    let bytes = |name| headers.get(name).map(HeaderValue::as_bytes);
    let mut lines = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let first = lines.next();
    let more: Vec<&[u8]>;
    let one: [&[u8]; 1];
    let cookies: &[&[u8]] = match (first, lines.next()) {
        (None, _) => &[],
        (Some(first), None) => {
            one = [first];
            &one
        }
        (Some(first), Some(second)) => {
            more = [first, second].into_iter().chain(lines).collect();
            &more
        }
    };
    let shown = CredentialHeaders {
        authorization: bytes(header::AUTHORIZATION),
        x_api_key: bytes(X_API_KEY),
        cookies,
    };
    exchange.worker.shared.authn.read(&shown, takes)
}

async fn identify(
    snapshot: &Snapshot,
    exchange: &Exchange,
    host: &Host,
    reading: &Reading,
) -> Outcome {
    if reading.presented == Presented::Nothing {
        return Outcome::NotPresented;
    }
    let authn = &exchange.worker.shared.authn;
    let audience = if snapshot.is_portal_host(host) {
        TokenAudience::Portal
    } else {
        TokenAudience::App(host.as_str())
    };
    let (client, now) = (exchange.client.ip, exchange.now);
    if let Some(outcome) = authn.authenticate_cached(reading, audience, client, now) {
        return outcome;
    }
    Box::pin(authn.authenticate(reading, audience, client, now)).await
}

fn proved(outcome: Outcome) -> Result<Option<Arc<Identity>>, Refusal> {
    match outcome {
        Outcome::Identified(identity) => Ok(Some(identity)),
        Outcome::NotPresented => Ok(None),
        Outcome::Rejected(reason) => Err(Refusal::new(Code::InvalidCredential, reason)),
        Outcome::RateLimited(limited) => Err(Refusal::limited(limited)),
        Outcome::Unavailable => Err(Refusal::new(Code::StoreUnavailable, Reason::StoreUnavailable)),
    }
}

/// Hands a request to the portal and relays its answer.
pub(crate) async fn local(
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    request: Request<Incoming>,
    target: Target,
    place: LocalPlace,
    route: Option<Arc<CompiledRoute>>,
) -> Response<OutBody> {
    let reason =
        if matches!(place, LocalPlace::Portal { .. }) { Reason::Portal } else { Reason::Reserved };
    exchange.decided(Verdict::Allow(reason), None);
    let takes = route.as_ref().map(|route| route.takes()).unwrap_or_default();
    let reading = read(exchange, request.headers(), takes);
    let outcome = if snapshot.settings.auth.is_off() {
        Outcome::Identified(exchange.worker.shared.authn.anonymous(exchange.now))
    } else {
        identify(snapshot, exchange, &target.host, &reading).await
    };
    if let Outcome::RateLimited(limited) = outcome {
        let refusal = Refusal::limited(limited);
        return refuse(snapshot, exchange, &reader(&request), Some(&target), &refusal);
    }
    let forwarded = facts::has_forwarding_header(request.headers());
    let context = context(exchange, &target, place, &reading, outcome, forwarded);
    let (mut parts, body) = request.into_parts();
    headers::strip_request(&mut parts.headers, false);
    parts.extensions.clear();
    parts.extensions.insert(context);
    let body = body.map_err(|error| Box::new(error) as crate::body::BoxError).boxed_unsync();
    let shared = &exchange.worker.shared;
    let answering = shared.local.call(Request::from_parts(parts, body));
    match shared.service.spawn(answering).await {
        Ok(response) => relay_local(response),
        Err(error) => {
            tracing::error!(%error, "the portal failed while answering");
            let method = exchange.method.clone();
            let reader = Reader { method: &method, audience: Audience::Program, origin: None };
            let refusal = Refusal::new(Code::Internal, Reason::Internal);
            refuse(snapshot, exchange, &reader, Some(&target), &refusal)
        }
    }
}

fn relay_local(response: Response<crate::local::LocalBody>) -> Response<OutBody> {
    response.map(OutBody::local)
}

fn context(
    exchange: &mut Exchange,
    target: &Target,
    place: LocalPlace,
    reading: &Reading,
    outcome: Outcome,
    forwarded: bool,
) -> LocalContext {
    let (bad_credential, store_unavailable) = match outcome {
        Outcome::Rejected(_) => (true, false),
        Outcome::Unavailable => (false, true),
        _ => (false, false),
    };
    let identity = match outcome {
        Outcome::Identified(identity) => Some(identity),
        _ => None,
    };
    exchange.identity.clone_from(&identity);
    let by_cookie = matches!(reading.presented, Presented::Session(_));
    LocalContext {
        place,
        client_ip: exchange.client.ip,
        direct_loopback: exchange.conn.peer.ip().is_loopback() && !forwarded,
        request_id: exchange.request_id.shared(),
        scheme: target.scheme,
        host: target.host.clone(),
        port: target.port,
        cookie_session: identity.as_ref().and_then(|i| i.session).filter(|_| by_cookie),
        identity,
        bad_credential,
        store_unavailable,
    }
}

/// Whether an answer to this reading is one person's by cookie.
pub(crate) fn is_by_cookie(reading: &Reading) -> bool {
    matches!(reading.presented, Presented::Session(_))
}
