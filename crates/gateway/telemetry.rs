//! The operator's listener: `/healthz` (alive), `/readyz` (fit to serve), `/metrics`.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use vestibule_authn::Authn;
use vestibule_authn::counters::Counters;
use vestibule_proxy::Proxy;

/// What the listener tells about.
pub(crate) struct Telemetry {
    pub(crate) authn: Arc<Authn>,
    pub(crate) proxy: Arc<Proxy>,
    /// Whether the last reload took the new configuration.
    pub(crate) last_reload_ok: AtomicBool,
    /// Set while the server winds down.
    pub(crate) stopping: AtomicBool,
}

/// Binds the listener.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for metrics; set `telemetry.listen` to a free address, or to \"\" to switch it off")
    })
}

/// Serves until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, telemetry: Arc<Telemetry>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the telemetry listener cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let telemetry = telemetry.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let telemetry = telemetry.clone();
            async move { Ok::<_, Infallible>(answer(&telemetry, &request).await) }
        });
        tokio::spawn(async move {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
            // A scraper that goes away is no event worth a line.
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(telemetry: &Telemetry, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned());
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => ready(telemetry).await,
        "/metrics" => text(StatusCode::OK, metrics(telemetry)),
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
    }
}

async fn ready(telemetry: &Telemetry) -> Response<Full<Bytes>> {
    if telemetry.stopping.load(Ordering::Relaxed) {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    match tokio::time::timeout(Duration::from_secs(2), telemetry.authn.store().ping()).await {
        Ok(Ok(())) => text(StatusCode::OK, "ready\n".to_owned()),
        _ => text(StatusCode::SERVICE_UNAVAILABLE, "store unavailable\n".to_owned()),
    }
}

fn metrics(telemetry: &Telemetry) -> String {
    let mut out = telemetry.proxy.metrics().render();
    render_counters(&mut out, &telemetry.authn.counters());
    let ok = u8::from(telemetry.last_reload_ok.load(Ordering::Relaxed));
    // Writing to a String does not fail.
    let _ = write!(
        out,
        "# HELP vestibule_config_last_reload_success Whether the last reload took the new configuration.\n\
         # TYPE vestibule_config_last_reload_success gauge\nvestibule_config_last_reload_success {ok}\n"
    );
    out
}

fn render_counters(out: &mut String, counters: &Counters) {
    let head = |out: &mut String, name: &str, kind: &str, help: &str| {
        // Writing to a String does not fail.
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    };
    let name = "vestibule_signins_total";
    head(out, name, "counter", "Sign-ins by method and result.");
    for (method, result, count) in &counters.signins {
        let _ = writeln!(out, "{name}{{method=\"{method}\",result=\"{result}\"}} {count}");
    }
    let by_label = [
        (
            "vestibule_cache_hits_total",
            "cache",
            "Credentials answered from the cache.",
            &counters.cache_hits,
        ),
        (
            "vestibule_cache_misses_total",
            "cache",
            "Credentials that the store was asked about.",
            &counters.cache_misses,
        ),
        (
            "vestibule_rate_limited_total",
            "scope",
            "Requests refused over a limit.",
            &counters.rate_limited,
        ),
    ];
    for (name, label, help, rows) in by_label {
        head(out, name, "counter", help);
        for (value, count) in rows {
            let _ = writeln!(out, "{name}{{{label}=\"{value}\"}} {count}");
        }
    }
    let gauges = [
        ("vestibule_sessions_active", "gauge", "Sessions in use lately.", counters.sessions_active),
        (
            "vestibule_audit_dropped_total",
            "counter",
            "Audit events that neither store nor memory could keep.",
            counters.audit_dropped,
        ),
    ];
    for (name, kind, help, value) in gauges {
        head(out, name, kind, help);
        let _ = writeln!(out, "{name} {value}");
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
