//! The one way out to others: providers, key sets, introspection.
//!
//! One answer may take ten seconds and a mebibyte, and is never another place's: redirects
//! are errors. Addresses where no provider can be (link-local, unspecified, multicast) are
//! not connected to, whoever wrote the URL; loopback and private networks are, for that is
//! where self-hosted providers live.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use vestibule_core::secret::Secret;

/// One answer, from the first byte sent to the last one read.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest body that is read.
const MAX_BODY: usize = 1 << 20;
const IDLE: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("vestibule/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// Where it leads is no place for a provider.
    #[error("the address {0} is link-local, unspecified or multicast")]
    Address(IpAddr),
    /// No connection: refused, unresolvable, TLS.
    #[error("no connection: {0}")]
    Connect(String),
    /// The answer broke off or is no HTTP.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// It says that it cannot answer now.
    #[error("it answers {0}")]
    NotNow(u16),
    /// It leads elsewhere.
    #[error("it answers with a redirect")]
    Redirect,
    /// The body is too long.
    #[error("the answer is longer than 1 MiB")]
    TooLong,
    /// It takes too long.
    #[error("no answer within 10 s")]
    TimedOut,
    /// No URL of http or https.
    #[error("`{0}` is no URL that can be asked")]
    Url(String),
}

impl FetchError {
    /// A stable word for logs.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Address(_) => "address_refused",
            Self::Broken(_) => "answer_broken",
            Self::Connect(_) => "unreachable",
            Self::NotNow(_) => "not_now",
            Self::Redirect => "redirect",
            Self::TimedOut => "timeout",
            Self::TooLong => "answer_too_long",
            Self::Url(_) => "bad_url",
        }
    }
}

type Https = HttpsConnector<HttpConnector<Resolver>>;

/// The client. Made at its first use, because reading the system's certificates takes time
/// that a start without providers need not spend.
#[derive(Default)]
pub(crate) struct Fetch {
    client: OnceLock<Client<Https, Full<Bytes>>>,
}

impl Fetch {
    /// GETs a URL as `accept`, with a bearer token where one is given.
    pub(crate) async fn get(
        &self,
        url: &str,
        accept: &'static str,
        bearer: Option<&Secret>,
    ) -> Result<Response<Vec<u8>>, FetchError> {
        let mut request = Request::get(url)
            .header(header::ACCEPT, accept)
            .body(Vec::new())
            .map_err(|_| FetchError::Url(shown(url)))?;
        if let Some(token) = bearer {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
                .map_err(|_| FetchError::Broken("the access token is no header value".into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        self.send(request).await
    }

    /// Sends a request; the answer's body is whole.
    pub(crate) async fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, FetchError> {
        let (mut parts, body) = request.into_parts();
        check_host(&parts.uri)?;
        parts.headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let request = Request::from_parts(parts, Full::new(Bytes::from(body)));
        match tokio::time::timeout(PATIENCE, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::TimedOut),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Vec<u8>>, FetchError> {
        let client = self.client.get_or_init(new_client);
        let answer = client.request(request).await.map_err(|error| why(&error))?;
        if answer.status().is_redirection() && answer.status() != StatusCode::NOT_MODIFIED {
            return Err(FetchError::Redirect);
        }
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::TooLong
            } else {
                FetchError::Broken(error.to_string())
            }
        })?;
        Ok(Response::from_parts(parts, body.to_bytes().to_vec()))
    }
}

/// Whether the answer says that it is JSON (or says nothing).
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_none_or(|value| {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        let kind = text.split(';').next().unwrap_or_default().trim();
        kind == "application/json" || kind.ends_with("+json")
    })
}

/// A URL without its query, for messages.
fn shown(url: &str) -> String {
    url.split('?').next().unwrap_or_default().chars().take(200).collect()
}

fn new_client() -> Client<Https, Full<Bytes>> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's certificates cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS);
    let tls = match builder {
        Ok(builder) => builder.with_root_certificates(roots).with_no_client_auth(),
        Err(error) => {
            // Cannot be with the one provider that is linked; without it nothing is trusted.
            tracing::error!(%error, "TLS towards providers cannot be set up");
            rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth()
        }
    };
    let mut http = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(PATIENCE / 2));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(2)
        .build(https)
}

/// What the client's error means, by its causes.
fn why(error: &hyper_util::client::legacy::Error) -> FetchError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut text = String::new();
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>()
            && let Some(refused) = io.get_ref().and_then(|inner| inner.downcast_ref::<Refused>())
        {
            return FetchError::Address(refused.0);
        }
        text = current.to_string();
        cause = current.source();
    }
    if error.is_connect() { FetchError::Connect(text) } else { FetchError::Broken(text) }
}

/// An address in the URL itself never meets the resolver.
fn check_host(uri: &http::Uri) -> Result<(), FetchError> {
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let host =
        uri.host().filter(|_| is_web).ok_or_else(|| FetchError::Url(shown(&uri.to_string())))?;
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) if is_no_place(address) => Err(FetchError::Address(address)),
        _ => Ok(()),
    }
}

fn is_no_place(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets().first() == Some(&0)
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
    }
}

/// The system's resolver, without the addresses that are no place for a provider. Names are
/// resolved for each connection, and what is connected to is what was checked.
#[derive(Clone)]
struct Resolver(GaiResolver);

#[derive(Debug, thiserror::Error)]
#[error("the address {0} is not connected to")]
struct Refused(IpAddr);

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        tower::Service::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = tower::Service::call(&mut self.0, name);
        Box::pin(async move {
            let all: Vec<SocketAddr> = found.await?.collect();
            if let Some(bad) = all.iter().find(|address| is_no_place(address.ip())) {
                return Err(io::Error::other(Refused(bad.ip())));
            }
            Ok(all.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j11_addresses_that_are_no_place_for_a_provider_are_refused_in_every_spelling() {
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://[::ffff:169.254.169.254]/",
            "http://0.0.0.0/",
            "http://0.1.2.3/",
            "http://[::]/",
            "http://[fe80::1]/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://[ff02::1]/",
        ] {
            let refused = check_host(&url.parse().unwrap());
            assert!(matches!(refused, Err(FetchError::Address(_))), "{url}: {refused:?}");
        }
        for url in ["http://127.0.0.1/", "https://10.0.0.8/x", "https://id.example.com/"] {
            assert_eq!(check_host(&url.parse().unwrap()), Ok(()), "{url}");
        }
        for url in ["ftp://a/", "/path", "file://a/etc/passwd"] {
            assert!(matches!(check_host(&url.parse().unwrap()), Err(FetchError::Url(_))), "{url}");
        }
    }

    #[test]
    fn only_json_is_json() {
        let mut headers = HeaderMap::new();
        assert!(is_json(&headers));
        for (text, expected) in [
            ("application/json; charset=utf-8", true),
            ("Application/JSON", true),
            ("application/jwk-set+json", true),
            ("text/html", false),
            ("application/jwt", false),
        ] {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
            assert_eq!(is_json(&headers), expected, "{text}");
        }
    }
}
