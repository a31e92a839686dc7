//! Speaks HTTP/1.1 and HTTP/2 with one client: limits, the timeouts of a connection, and its
//! graceful end. What a request means is the pipeline's business.

pub(crate) mod guard;
pub(crate) mod sniff;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use self::guard::{ConnState, Guard, Phase};
use crate::body::OutBody;
use crate::limits::{
    Deadline, HANDSHAKE_TIMEOUT, KEEP_ALIVE, MAX_FIELDS, MAX_HEAD_BYTES, MAX_READ_BUFFER,
    MAX_STREAMS,
};
use crate::worker::Worker;
use crate::{pipeline, record};

/// How long an idle HTTP/2 client may take to answer our goodbye.
const FAREWELL: Duration = Duration::from_secs(1);
const PREFACE_START: &[u8] = b"PRI ";
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Spawns futures on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExec;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExec
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Serves one accepted connection to its end.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: std::net::SocketAddr,
    listener: usize,
) {
    let _ = stream.set_nodelay(true);
    let tls = worker.shared.listeners.get(listener).is_some_and(|l| l.tls);
    if tls {
        serve_tls(worker, stream, peer, listener).await;
    } else {
        serve_plain(worker, stream, peer, listener).await;
    }
}

async fn serve_tls(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: std::net::SocketAddr,
    listener: usize,
) {
    let acceptor = worker.shared.tls.acceptor();
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let stream = match handshake.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return worker.metrics.connection_error(record::ConnectionError::Tls),
        Err(_) => return worker.metrics.connection_error(record::ConnectionError::TlsTimeout),
    };
    let session = stream.get_ref().1;
    let http2 = session.alpn_protocol() == Some(b"h2");
    let sni = session.server_name().map(Box::<str>::from);
    let names = sni.as_deref().and_then(|sni| worker.shared.tls.names_for(sni));
    let state = Arc::new(ConnState::new(peer, listener, true, names, sni));
    serve_stream(worker, stream, Bytes::new(), http2, state).await;
}

async fn serve_plain(
    worker: Rc<Worker>,
    mut stream: TcpStream,
    peer: std::net::SocketAddr,
    listener: usize,
) {
    let state = Arc::new(ConnState::new(peer, listener, false, None, None));
    let limit = worker.snapshot().settings.server.header_timeout;
    let deadline = worker.ticker.deadline();
    deadline.arm(limit);
    let start = tokio::select! {
        biased;
        start = read_start(&mut stream) => start,
        () = deadline.expired() => {
            worker.metrics.connection_error(record::ConnectionError::HeaderTimeout);
            say_timeout(&mut stream).await;
            return;
        }
        () = worker.draining() => return,
    };
    let Some(start) = start else { return };
    let http2 = start.starts_with(PREFACE_START);
    serve_stream(worker, stream, start, http2, state).await;
}

/// The first bytes, enough to tell HTTP/2's preface from a method. `None`: closed.
async fn read_start(stream: &mut TcpStream) -> Option<Bytes> {
    let mut start = BytesMut::with_capacity(4096);
    loop {
        match stream.read_buf(&mut start).await {
            Ok(count) if count > 0 => {}
            _ => return None,
        }
        let common = start.len().min(PREFACE_START.len());
        let undecided =
            common < PREFACE_START.len() && start.get(..common) == PREFACE_START.get(..common);
        if !undecided {
            return Some(start.freeze());
        }
    }
}

async fn serve_stream<S>(
    worker: Rc<Worker>,
    stream: S,
    start: Bytes,
    http2: bool,
    state: Arc<ConnState>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(Guard::new(stream, start, !http2, state.clone()));
    let service = {
        let (worker, state) = (worker.clone(), state.clone());
        service_fn(move |request: Request<Incoming>| {
            let (worker, state) = (worker.clone(), state.clone());
            async move {
                Ok::<Response<OutBody>, Infallible>(pipeline::handle(worker, state, request).await)
            }
        })
    };
    let (deadline, limit) =
        (worker.ticker.deadline(), worker.snapshot().settings.server.header_timeout);
    let served = if http2 {
        let conn = http2_builder().serve_connection(io, service);
        Driver::new(&worker, conn, state, deadline, limit).await
    } else {
        let conn = http1_builder().serve_connection(io, service).with_upgrades();
        let mut driver = Driver::new(&worker, conn, state, deadline, limit);
        let served = (&mut driver).await;
        if matches!(served, Err(End::HeadTimeout))
            && let Some(parts) = driver.conn.into_parts()
        {
            say_timeout(&mut parts.io.into_inner()).await;
        }
        served
    };
    if let Some(error) = served.err().and_then(|end| end.kind()) {
        worker.metrics.connection_error(error);
    }
}

async fn say_timeout(io: &mut (impl AsyncWrite + Unpin)) {
    let farewell = async {
        let _ = io.write_all(REQUEST_TIMEOUT).await;
        let _ = io.shutdown().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), farewell).await;
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .half_close(false)
        .header_read_timeout(None)
        .max_headers(MAX_FIELDS)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_READ_BUFFER);
    builder
}

fn http2_builder() -> http2::Builder<LocalExec> {
    let mut builder = http2::Builder::new(LocalExec);
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024);
    builder
}

/// How a connection ended other than well.
#[derive(Debug)]
enum End {
    Hyper(hyper::Error),
    HeadTimeout,
    Idle,
    Stalled,
}

impl End {
    /// What is counted; that an idle connection ends is nobody's error.
    fn kind(&self) -> Option<record::ConnectionError> {
        use record::ConnectionError as E;
        Some(match self {
            Self::Hyper(error) if error.is_parse_too_large() => E::HeadTooLarge,
            Self::Hyper(error) if error.is_parse() => E::BadRequest,
            Self::Hyper(_) => E::Io,
            Self::HeadTimeout => E::HeaderTimeout,
            Self::Idle => return None,
            Self::Stalled => E::Stalled,
        })
    }
}

/// A hyper connection that can be asked to end after what is under way.
trait Drain: Future<Output = hyper::Result<()>> {
    fn drain(self: Pin<&mut Self>);
}

impl<I, B, S> Drain for http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S> Drain for http2::Connection<I, S, LocalExec>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Polls a connection and holds its timeouts.
struct Driver<C> {
    conn: C,
    worker: Rc<Worker>,
    state: Arc<ConnState>,
    deadline: Deadline,
    head_limit: Duration,
    seen_epoch: u64,
    seen_moved: u64,
    drained: bool,
}

impl<C> Driver<C> {
    fn new(
        worker: &Rc<Worker>,
        conn: C,
        state: Arc<ConnState>,
        deadline: Deadline,
        head_limit: Duration,
    ) -> Self {
        deadline.arm(head_limit);
        let seen_epoch = state.epoch();
        Self {
            conn,
            worker: worker.clone(),
            state,
            deadline,
            head_limit,
            seen_epoch,
            seen_moved: 0,
            drained: false,
        }
    }

    fn rearm(&mut self) {
        self.seen_epoch = self.state.epoch();
        self.seen_moved = self.state.moved();
        match self.state.phase() {
            Phase::Head => self.deadline.arm(self.head_limit),
            Phase::Idle if self.drained => self.deadline.arm(FAREWELL),
            Phase::Idle => self.deadline.arm(KEEP_ALIVE),
            Phase::Exchange if !self.state.idle().is_zero() => self.deadline.arm(self.state.idle()),
            Phase::Exchange | Phase::Raw => self.deadline.disarm(),
        }
    }

    /// What to do about a deadline that has passed; `None`: it was moved.
    fn expire(&mut self) -> Option<End> {
        if self.state.phase() == Phase::Exchange && self.state.moved() != self.seen_moved {
            self.rearm();
            return None;
        }
        Some(match self.state.phase() {
            Phase::Head => End::HeadTimeout,
            Phase::Idle | Phase::Raw => End::Idle,
            Phase::Exchange => End::Stalled,
        })
    }
}

impl<C: Drain + Unpin> Future for Driver<C> {
    type Output = Result<(), End>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if !this.drained && this.worker.is_draining() {
            this.drained = true;
            Pin::new(&mut this.conn).drain();
            this.rearm();
        }
        if let Poll::Ready(served) = Pin::new(&mut this.conn).poll(cx) {
            return Poll::Ready(served.map_err(End::Hyper));
        }
        if this.state.epoch() != this.seen_epoch {
            this.rearm();
        }
        while this.deadline.poll_expired(cx).is_ready() {
            if let Some(end) = this.expire() {
                return Poll::Ready(Err(end));
            }
        }
        Poll::Pending
    }
}
