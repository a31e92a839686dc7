//! An HTTP/2 client over TLS or with prior knowledge, each request on a runtime of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::{Ca, Request, Response};

/// Sends requests one after the other on one TLS connection with ALPN `h2`.
pub fn tls(address: SocketAddr, requests: &[Request]) -> Vec<Response> {
    block_on(async {
        let host = requests.first().expect("a request").host().to_owned();
        let connector = tokio_rustls::TlsConnector::from(Ca::shared().client(&["h2"]));
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from(host).unwrap();
        let stream = connector.connect(name, tcp).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "h2 was not agreed on");
        exchange(TokioIo::new(stream), requests).await
    })
}

/// Sends requests one after the other on one plain connection, by prior knowledge.
pub fn plain(address: SocketAddr, requests: &[Request]) -> Vec<Response> {
    block_on(async {
        exchange(TokioIo::new(TcpStream::connect(address).await.unwrap()), requests).await
    })
}

/// The ALPN name that a TLS listener agrees on.
pub fn alpn(address: SocketAddr, host: &str, offered: &[&str]) -> Option<String> {
    block_on(async {
        let connector = tokio_rustls::TlsConnector::from(Ca::shared().client(offered));
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from(host.to_owned()).unwrap();
        let stream = connector.connect(name, tcp).await.unwrap();
        stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let within = tokio::time::timeout;
    runtime.block_on(async { within(crate::DEADLINE, work).await.expect("in time") })
}

async fn exchange<I>(io: I, requests: &[Request]) -> Vec<Response>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), io).await.unwrap();
    let running = tokio::spawn(connection);
    let mut responses = Vec::new();
    for request in requests {
        let mut builder =
            http::Request::builder().method(request.method.as_str()).uri(request.url());
        for (name, value) in &request.headers {
            builder = builder.header(name.as_str(), value.as_slice());
        }
        let body = Full::new(Bytes::from(request.body.clone().unwrap_or_default()));
        let answer = sender.send_request(builder.body(body).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let collected = body.collect().await.unwrap();
        let pairs = |map: &http::HeaderMap| -> Vec<(String, String)> {
            map.iter()
                .map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect()
        };
        responses.push(Response {
            status: head.status.as_u16(),
            headers: pairs(&head.headers),
            trailers: collected.trailers().map(&pairs).unwrap_or_default(),
            body: collected.to_bytes().to_vec(),
            interim: Vec::new(),
        });
    }
    drop(sender);
    running.abort();
    responses
}

/// A client configuration for tests that need the handshake itself.
pub fn config(alpn: &[&str]) -> Arc<rustls::ClientConfig> {
    Ca::shared().client(alpn)
}
