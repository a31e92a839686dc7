//! Sends an allowed request to its app and passes the answer on: nothing is buffered, the
//! request's own head is changed in place, and only a request that no app can have seen, or
//! a plain GET or HEAD, is sent a second time.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::HeaderValue;
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme as UriScheme, Uri};
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use vestibule_core::facts::Audience;
use vestibule_core::route::UpstreamScheme;

use crate::body::{self, InBody, Meter, OutBody, is_grpc};
use crate::challenge::Refusal;
use crate::error::{Blame, Fault};
use crate::facts;
use crate::headers::{self, AppOrigin, Origin};
use crate::limits::Deadline;
use crate::pipeline::{self, Pass, Reader, Target};
use crate::record::Exchange;
use crate::snapshot::{CompiledRoute, Snapshot};
use crate::upgrade;
use crate::upstream::{self, Checkout, Lease, Sender};

/// A request that is let through to its app.
pub(crate) struct Forward {
    pub(crate) parts: Parts,
    pub(crate) body: Incoming,
    pub(crate) target: Target,
    pub(crate) route: Arc<CompiledRoute>,
    pub(crate) pass: Pass,
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) audience: Audience,
}

/// What is kept of a request that is on its way.
struct Sent {
    method: Method,
    audience: Audience,
    origin: Option<HeaderValue>,
    grpc: bool,
    by_cookie: bool,
    http1: bool,
}

/// Forwards; whatever fails becomes an answer of ours.
pub(crate) async fn forward(
    snapshot: &Arc<Snapshot>,
    exchange: &mut Exchange,
    mut forward: Forward,
) -> Response<OutBody> {
    let route = forward.route.clone();
    let Some(app) = &route.target else {
        return Response::new(OutBody::empty());
    };
    let sent = Sent {
        method: forward.parts.method.clone(),
        audience: forward.audience,
        origin: forward.parts.headers.get(header::ORIGIN).cloned(),
        grpc: is_grpc(&forward.parts.headers),
        by_cookie: pipeline::is_by_cookie(&forward.pass.reading),
        http1: forward.parts.version != Version::HTTP_2,
    };
    let meter = Rc::new(Meter::default());
    exchange.meter = Some(meter.clone());
    let limit = route.route.max_body;
    let told = forward.body.size_hint().exact();
    let outcome = if limit.zip(told).is_some_and(|(limit, told)| told > limit) {
        body::linger(&forward.parts, forward.body);
        Err(Fault::BodyTooLarge)
    } else {
        prepare(snapshot, exchange, &mut forward, app);
        let body = InBody::new(forward.body, meter.clone(), limit, sent.grpc);
        let request = Request::from_parts(forward.parts, body);
        let started = Instant::now();
        let way = Way { exchange, route: &route, app, meter: &meter };
        let outcome = way.send(request, forward.upgrade.is_some()).await;
        exchange.upstream_time = Some(started.elapsed());
        outcome
    };
    match outcome {
        Ok((response, lease)) => pass_on(exchange, &route, &sent, response, lease, forward.upgrade)
            .unwrap_or_else(|fault| fail(snapshot, exchange, &sent, &forward.target, &fault)),
        Err(fault) => fail(snapshot, exchange, &sent, &forward.target, &fault),
    }
}

fn fail(
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    sent: &Sent,
    target: &Target,
    fault: &Fault,
) -> Response<OutBody> {
    if fault.blame() == Blame::Upstream {
        let route = exchange.route.as_ref().map_or("", |route| &*route.route.name);
        tracing::warn!(route, error = %fault, "an app did not answer");
    }
    let (code, reason) = fault.told();
    let mut refusal = Refusal::new(code, reason);
    if fault.blame() == Blame::Downstream {
        refusal = refusal.closing();
    }
    let (method, origin) = (&sent.method, sent.origin.as_ref());
    let reader = Reader { method, audience: sent.audience, origin };
    pipeline::refuse(snapshot, exchange, &reader, Some(target), &refusal)
}

/// Turns the client's head into the app's.
fn prepare(
    snapshot: &Snapshot,
    exchange: &Exchange,
    forward: &mut Forward,
    app: &upstream::Target,
) {
    let Forward { parts, target, route, pass, upgrade, .. } = forward;
    let te_trailers =
        facts::lists(&parts.headers, &header::TE, "trailers") && is_grpc(&parts.headers);
    let upgrade_to =
        if upgrade.is_some() { parts.headers.get(header::UPGRADE).cloned() } else { None };
    let asked_host = parts.headers.get(header::HOST).cloned();
    headers::strip_request(&mut parts.headers, exchange.client.vouched);
    headers::clean_credentials(&mut parts.headers, &pass.reading, route);
    parts.headers.reserve(20);
    let authority = asked_host.unwrap_or_else(|| authority_of(target));
    let origin = Origin {
        client: exchange.client,
        peer: &exchange.conn.peer_value,
        peer_ip: exchange.conn.peer.ip(),
        scheme: target.scheme,
        authority: &authority,
        port: target.port,
        request_id: &exchange.request_id,
    };
    headers::set_forwarding(&mut parts.headers, &origin);
    let host = if route.route.preserve_host { Some(authority) } else { None };
    let host = host.or_else(|| HeaderValue::from_str(app.authority.as_str()).ok());
    if let Some(host) = host {
        parts.headers.insert(header::HOST, host);
    }
    headers::edit(&mut parts.headers, &route.request_edits);
    if let Some(identity) = &pass.identity {
        let origin = AppOrigin { scheme: target.scheme, host: &target.host, port: target.port };
        let authn = &exchange.worker.shared.authn;
        let rendered =
            exchange.worker.rendered.identity(authn, route, identity, origin, exchange.now);
        headers::assert_identity(&mut parts.headers, &rendered);
    }
    if te_trailers {
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade_to {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    }
    let _ = snapshot;
    parts.uri = Uri::from(path_and_query(parts, target, &route.route.strip_prefix));
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
}

fn authority_of(target: &Target) -> HeaderValue {
    let text = if target.port == target.scheme.default_port() {
        target.host.to_string()
    } else {
        format!("{}:{}", target.host, target.port)
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// The path that was decided about, less the route's prefix; the query as it came.
fn path_and_query(parts: &Parts, target: &Target, strip_prefix: &str) -> PathAndQuery {
    let path = target.path.as_str();
    let stripped = match path.strip_prefix(strip_prefix) {
        Some(rest) if !strip_prefix.is_empty() && (rest.is_empty() || rest.starts_with('/')) => {
            rest
        }
        _ => path,
    };
    if stripped.len() == parts.uri.path().len()
        && stripped == parts.uri.path()
        && let Some(same) = parts.uri.path_and_query()
    {
        return same.clone();
    }
    let slash = if stripped.starts_with('/') { "" } else { "/" };
    let text = match target.uri.query() {
        Some(query) => format!("{slash}{stripped}?{query}"),
        None => format!("{slash}{stripped}"),
    };
    PathAndQuery::try_from(text).unwrap_or(PathAndQuery::from_static("/"))
}

/// The way of one request to its app.
struct Way<'a> {
    exchange: &'a Exchange,
    route: &'a CompiledRoute,
    app: &'a upstream::Target,
    meter: &'a Rc<Meter>,
}

impl Way<'_> {
    /// Sends, and sends once more where that is safe.
    async fn send(
        &self,
        request: Request<InBody>,
        upgrade: bool,
    ) -> Result<(Response<Incoming>, Lease), Fault> {
        let checkout = self.checkout(upgrade, false).await?;
        let repeatable = checkout.reused
            && matches!(*request.method(), Method::GET | Method::HEAD)
            && request.body().is_end_stream();
        let spare = repeatable.then(|| copy(&request, self.meter));
        let (fault, unsent) = match self.send_once(checkout.sender, request).await {
            Ok(answered) => return Ok(answered),
            Err(failed) => failed,
        };
        if !checkout.reused || !matches!(fault, Fault::Exchange(_)) {
            return Err(fault);
        }
        let Some(again) = unsent.or(spare) else { return Err(fault) };
        let fresh = self.checkout(upgrade, true).await?;
        self.send_once(fresh.sender, again).await.map_err(|(fault, _)| fault)
    }

    async fn checkout(&self, upgrade: bool, fresh: bool) -> Result<Checkout, Fault> {
        let pools = &self.exchange.worker.pools;
        pools.checkout(self.app, self.route.route.connect_timeout, upgrade, fresh).await
    }

    async fn send_once(
        &self,
        sender: Sender,
        mut request: Request<InBody>,
    ) -> Result<(Response<Incoming>, Lease), (Fault, Option<Request<InBody>>)> {
        let deadline = self.answer_deadline();
        let lease = |http1| Lease {
            worker: self.exchange.worker.clone(),
            target: self.app.id,
            http1,
            meter: self.meter.clone(),
            closes: false,
        };
        match sender {
            Sender::H1(mut http1) => {
                http1.heard.expect_head();
                let sending = http1.sender.try_send_request(request);
                match self.await_answer(sending, &deadline).await {
                    Ok(answered) => {
                        http1.heard.head_came();
                        Ok((answered, lease(Some(http1))))
                    }
                    Err((Fault::Exchange(error), None)) if http1.heard.anything() => {
                        Err((Fault::BrokeOff(error), None))
                    }
                    Err(failed) => Err(failed),
                }
            }
            Sender::H2(mut sender) => {
                self.for_http2(&mut request);
                let sending = sender.try_send_request(request);
                let answered = self.await_answer(sending, &deadline).await?;
                Ok((answered, lease(None)))
            }
        }
    }

    /// `timeouts.response` runs from the end of the request's body.
    fn answer_deadline(&self) -> Rc<Deadline> {
        let deadline = Rc::new(self.exchange.worker.ticker.deadline());
        let limit = self.route.route.response_timeout;
        if self.meter.done.get() {
            deadline.arm(limit);
        } else {
            self.meter.answer_by.set(Some((deadline.clone(), limit)));
        }
        deadline
    }

    async fn await_answer(
        &self,
        sending: impl Future<
            Output = Result<Response<Incoming>, hyper::client::conn::TrySendError<Request<InBody>>>,
        >,
        deadline: &Deadline,
    ) -> Result<Response<Incoming>, (Fault, Option<Request<InBody>>)> {
        let answered = tokio::select! {
            biased;
            answered = sending => answered,
            () = deadline.expired() => return Err((Fault::ResponseTimeout, None)),
        };
        answered.map_err(|mut failed| {
            let unsent = failed.take_message();
            let fault = if self.meter.too_large.get() {
                Fault::BodyTooLarge
            } else if self.meter.broken.get() {
                Fault::ClientBroke
            } else {
                Fault::Exchange(failed.into_error())
            };
            (fault, unsent)
        })
    }

    /// HTTP/2 carries scheme and authority in the target and has no hop-by-hop fields.
    fn for_http2(&self, request: &mut Request<InBody>) {
        let host = request.headers_mut().remove(header::HOST);
        let authority = host.and_then(|host| http::uri::Authority::try_from(host.as_bytes()).ok());
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.authority = Some(authority.unwrap_or_else(|| self.app.authority.clone()));
        parts.scheme = Some(match self.app.upstream.scheme {
            UpstreamScheme::Https => UriScheme::HTTPS,
            _ => UriScheme::HTTP,
        });
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        *request.version_mut() = Version::HTTP_2;
    }
}

/// A second copy of a request without a body.
fn copy(request: &Request<InBody>, meter: &Rc<Meter>) -> Request<InBody> {
    let mut copy = Request::new(InBody::empty(meter.clone()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Turns the app's answer into ours.
fn pass_on(
    exchange: &Exchange,
    route: &CompiledRoute,
    sent: &Sent,
    mut response: Response<Incoming>,
    mut lease: Lease,
    upgrade: Option<OnUpgrade>,
) -> Result<Response<OutBody>, Fault> {
    check_framing(&response)?;
    lease.closes = facts::lists(response.headers(), &header::CONNECTION, "close")
        || response.version() == Version::HTTP_10;
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switches {
        let Some(client) = upgrade else {
            return Err(Fault::BadAnswer("101 without having been asked"));
        };
        let protocol = response.headers().get(header::UPGRADE).cloned();
        let app = hyper::upgrade::on(&mut response);
        upgrade::join(exchange, route, client, app);
        headers::clean_answer(response.headers_mut(), sent.by_cookie);
        let (mut parts, _) = response.into_parts();
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            parts.headers.insert(header::UPGRADE, protocol);
        }
        parts.extensions.clear();
        return Ok(Response::from_parts(parts, OutBody::empty()));
    }
    let (mut parts, body) = response.into_parts();
    headers::clean_answer(&mut parts.headers, sent.by_cookie);
    headers::edit(&mut parts.headers, &route.response_edits);
    if sent.http1 {
        parts.version = Version::HTTP_11;
    } else {
        parts.headers.remove(header::TRAILER);
    }
    parts.extensions.clear();
    let mut body = OutBody::upstream(body, lease);
    if exchange.identity.is_some() {
        body = body.watched(sent.grpc);
    }
    Ok(Response::from_parts(parts, body))
}

/// Two readings of where an answer ends are none.
fn check_framing(response: &Response<Incoming>) -> Result<(), Fault> {
    if response.version() == Version::HTTP_2 {
        return Ok(());
    }
    let headers = response.headers();
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err(Fault::BadAnswer("Content-Length beside Transfer-Encoding"));
        }
        if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::BadAnswer("a Transfer-Encoding other than chunked"));
        }
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let plain = |length: &HeaderValue| length.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.next().is_some_and(|length| !plain(length)) || lengths.next().is_some() {
        return Err(Fault::BadAnswer("a doubtful Content-Length"));
    }
    Ok(())
}
