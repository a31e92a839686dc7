//! An HTTP/2 client over TLS or with prior knowledge, each request on a runtime of its own,
//! and an upstream with prior knowledge that echoes bodies as they come.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::{Ca, Recorded, Request, Response};

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

/// An upstream that speaks HTTP/2 by prior knowledge. It answers 200 at once, sends the
/// request's data back as it comes and ends with the trailer `grpc-status: 0`.
pub struct Upstream {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Recorded>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Upstream {
    /// Listens on a free port.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Recorded>>>::default();
        let log = Arc::clone(&requests);
        runtime.spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        std::future::ready(Ok::<_, std::convert::Infallible>(echo(
                            request, connection, &log,
                        )))
                    });
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, requests, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a route's `upstream`.
    pub fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// All requests so far, as far as they have come; `raw` stays empty.
    pub fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap().clone()
    }
}

fn echo(
    request: http::Request<Incoming>,
    connection: usize,
    log: &Arc<Mutex<Vec<Recorded>>>,
) -> http::Response<Echo> {
    let (head, incoming) = request.into_parts();
    let mut headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    if let Some(authority) = head.uri.authority() {
        headers.push((":authority".to_owned(), authority.to_string()));
    }
    let mut requests = log.lock().unwrap();
    requests.push(Recorded {
        connection,
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        version: "HTTP/2".to_owned(),
        headers,
        ..Recorded::default()
    });
    let number = requests.len() - 1;
    let kind = head.headers.get("content-type").cloned();
    let mut response =
        http::Response::new(Echo { incoming, log: Arc::clone(log), number, ended: false });
    if let Some(kind) = kind {
        response.headers_mut().insert("content-type", kind);
    }
    response
}

/// The request's body, as an answer.
struct Echo {
    incoming: Incoming,
    log: Arc<Mutex<Vec<Recorded>>>,
    number: usize,
    ended: bool,
}

impl Body for Echo {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            let frame =
                std::task::ready!(Pin::new(&mut this.incoming).poll_frame(cx)).transpose()?;
            let mut log = this.log.lock().unwrap();
            let request = &mut log[this.number];
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    request.body.extend_from_slice(&data);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(trailers)) => {
                    let trailers = trailers.into_trailers().unwrap_or_default();
                    request.trailers = trailers
                        .iter()
                        .map(|(name, value)| {
                            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                            (name.to_string(), value)
                        })
                        .collect();
                }
                None => {
                    request.complete = true;
                    this.ended = true;
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
            }
        }
    }
}
