//! Small servers inside the process, for `vestibule protect`: the demo app, which shows what
//! it received, and the doorstep, which sends `localhost` to the app's own name.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What a small server answers.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// The demo app.
    Demo {
        /// Where the portal is, for the links on the page.
        portal: String,
    },
    /// A redirect to the app.
    Doorstep {
        /// The app's origin.
        app: String,
    },
}

/// Starts a server on a free loopback port; it runs as long as the runtime.
pub(crate) async fn spawn(role: Role) -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).await.context("cannot open a loopback port")?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let role = role.clone();
            let service = service_fn(move |request| {
                let answer = answer(&role, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(async move {
                // A client that goes away mid-answer is no event worth a line.
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    Ok(address)
}

fn answer(role: &Role, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    match role {
        Role::Demo { portal } => page(portal, request),
        Role::Doorstep { app } => {
            let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::FOUND;
            if let Ok(location) = HeaderValue::try_from(format!("{app}{target}")) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
    }
}

fn page(portal: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let name = request
        .headers()
        .get("remote-name")
        .or_else(|| request.headers().get("remote-user"))
        .map_or_else(
            || "nobody".to_owned(),
            |value| escape(&String::from_utf8_lossy(value.as_bytes())),
        );
    let mut rows = String::new();
    for (field, value) in request.headers() {
        let value = escape(&String::from_utf8_lossy(value.as_bytes()));
        let ours =
            field.as_str().starts_with("remote-") || field.as_str().starts_with("x-vestibule");
        let class = if ours { " class=\"ours\"" } else { "" };
        // Writing to a String does not fail.
        let _ = write!(
            rows,
            "<tr{class}><th scope=\"row\">{}</th><td>{value}</td></tr>",
            escape(field.as_str())
        );
    }
    let target = escape(&request.uri().to_string());
    let method = escape(request.method().as_str());
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Demo app</title><style>{STYLE}</style></head>\
         <body><main><h1>Hello, {name}</h1><p>This is the demo app behind Vestibule. It has no sign-in of its own: \
         the highlighted lines tell it who you are.</p><p><code>{method} {target}</code></p><table><caption>Headers the app received</caption>{rows}</table>\
         <p><a href=\"/.vestibule/sign-out\">Sign out</a> · <a href=\"{portal}/\">Portal</a></p></main></body></html>"
    );
    let mut response = Response::new(Full::from(html));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0}\
main{max-width:56rem;margin:0 auto;padding:2rem 1rem}table{border-collapse:collapse;width:100%;table-layout:fixed}\
caption{text-align:left;font-weight:600;padding:.5rem 0}th,td{text-align:left;vertical-align:top;padding:.35rem .5rem;\
border-top:1px solid color-mix(in srgb,currentColor 20%,transparent);overflow-wrap:anywhere;font-size:.9rem}\
th{width:35%;font-weight:500}.ours{background:color-mix(in srgb,#3b82f6 14%,transparent)}";
