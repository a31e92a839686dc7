//! Bodies on their way: what the client sends on to an app ([`InBody`]) and what it gets
//! ([`OutBody`]). Neither buffers; both count, and an end is seen wherever it comes.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::limits::{Deadline, LINGER, LINGER_BYTES, WATCH_AFTER};
use crate::local::LocalBody;
use crate::record::Exchange;
use crate::upstream::Lease;

/// Any failure of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is known of a request body under way, shared by the body and who waits for the answer.
#[derive(Default)]
pub(crate) struct Meter {
    pub(crate) bytes: Cell<u64>,
    pub(crate) done: Cell<bool>,
    pub(crate) too_large: Cell<bool>,
    /// The client's connection failed or its framing was bad.
    pub(crate) broken: Cell<bool>,
    /// Armed for the answer's head once the body has ended.
    pub(crate) answer_by: Cell<Option<(Rc<Deadline>, Duration)>>,
}

impl Meter {
    fn finish(&self) {
        if !self.done.replace(true)
            && let Some((deadline, limit)) = self.answer_by.take()
        {
            deadline.arm(limit);
        }
    }
}

/// A request body passed on frame by frame.
pub(crate) struct InBody {
    incoming: Option<Incoming>,
    meter: Rc<Meter>,
    limit: Option<u64>,
    passes_trailers: bool,
}

#[derive(Debug, thiserror::Error)]
enum InBodyError {
    #[error("the request body is over the route's limit")]
    TooLarge,
    #[error("the request body broke off")]
    Broken,
}

impl InBody {
    /// No body at all.
    pub(crate) fn empty(meter: Rc<Meter>) -> Self {
        meter.done.set(true);
        Self { incoming: None, meter, limit: None, passes_trailers: false }
    }

    /// The client's body, at most `limit` bytes of it.
    pub(crate) fn new(
        incoming: Incoming,
        meter: Rc<Meter>,
        limit: Option<u64>,
        passes_trailers: bool,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::empty(meter);
        }
        Self { incoming: Some(incoming), meter, limit, passes_trailers }
    }

    fn take_data(&mut self, data: &Bytes) -> Result<(), BoxError> {
        let bytes = self.meter.bytes.get() + data.len() as u64;
        self.meter.bytes.set(bytes);
        if self.limit.is_some_and(|limit| bytes > limit) {
            self.meter.too_large.set(true);
            self.incoming = None;
            return Err(InBodyError::TooLarge.into());
        }
        if self.incoming.as_ref().is_some_and(Body::is_end_stream) {
            self.meter.finish();
        }
        Ok(())
    }
}

impl Body for InBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
            match std::task::ready!(Pin::new(incoming).poll_frame(cx)) {
                None => {
                    self.incoming = None;
                    self.meter.finish();
                    return Poll::Ready(None);
                }
                Some(Err(_)) => {
                    self.incoming = None;
                    self.meter.broken.set(true);
                    return Poll::Ready(Some(Err(InBodyError::Broken.into())));
                }
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        let data = data.clone();
                        return Poll::Ready(Some(self.take_data(&data).map(|()| frame)));
                    }
                    if self.passes_trailers {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

enum Kind {
    Bytes(Option<Bytes>),
    Empty,
    Local(LocalBody),
    Upstream(Incoming, Option<Lease>),
}

/// What the client gets. Carries the exchange's record, written when the body is over.
pub(crate) struct OutBody {
    kind: Kind,
    exchange: Option<Box<Exchange>>,
    watch: Watching,
}

/// Ends the response when its credential ends, once it has been open for a while.
enum Watching {
    Live(Pin<Box<dyn Future<Output = ()>>>),
    Off,
    Waiting(Deadline),
    Wanted(Duration),
}

#[derive(Debug, thiserror::Error)]
#[error("the credential behind this response has ended")]
struct Revoked;

impl OutBody {
    fn of(kind: Kind) -> Self {
        Self { kind, exchange: None, watch: Watching::Off }
    }

    /// Nothing.
    pub(crate) fn empty() -> Self {
        Self::of(Kind::Empty)
    }

    /// A page or a document of ours.
    pub(crate) fn bytes(bytes: Bytes) -> Self {
        Self::of(Kind::Bytes(Some(bytes)))
    }

    /// The portal's answer.
    pub(crate) fn local(body: LocalBody) -> Self {
        Self::of(Kind::Local(body))
    }

    /// The app's answer; the lease goes back to its pool when the body has ended.
    pub(crate) fn upstream(incoming: Incoming, lease: Lease) -> Self {
        let mut body = Self::of(Kind::Upstream(incoming, Some(lease)));
        body.release();
        body
    }

    /// Ends with the identity's credential; at once for streams, else after [`WATCH_AFTER`].
    pub(crate) fn watched(mut self, at_once: bool) -> Self {
        self.watch = Watching::Wanted(if at_once { Duration::ZERO } else { WATCH_AFTER });
        self
    }

    /// Hands over the record, to be written when the body is over.
    pub(crate) fn recorded(mut self, exchange: Box<Exchange>) -> Self {
        self.exchange = Some(exchange);
        self
    }

    fn release(&mut self) {
        if let Kind::Upstream(incoming, lease) = &mut self.kind
            && incoming.is_end_stream()
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
    }

    fn revoked(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.kind = Kind::Empty;
        Poll::Ready(Some(Err(Box::new(Revoked))))
    }

    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(exchange) = &self.exchange else { return Poll::Pending };
        loop {
            match &mut self.watch {
                Watching::Off => return Poll::Pending,
                Watching::Wanted(after) => {
                    let deadline = exchange.worker.ticker.deadline();
                    deadline.arm(*after);
                    self.watch = if after.is_zero() {
                        exchange.watch().map_or(Watching::Off, Watching::Live)
                    } else {
                        Watching::Waiting(deadline)
                    };
                }
                Watching::Waiting(deadline) => {
                    std::task::ready!(deadline.poll_expired(cx));
                    self.watch = exchange.watch().map_or(Watching::Off, Watching::Live);
                }
                Watching::Live(ended) => return ended.as_mut().poll(cx),
            }
        }
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = match &mut this.kind {
            Kind::Empty => return Poll::Ready(None),
            Kind::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Local(body) => Pin::new(body).poll_frame(cx),
            Kind::Upstream(incoming, _) => {
                Pin::new(incoming).poll_frame(cx).map_err(|error| Box::new(error) as BoxError)
            }
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(data), Some(exchange)) = (frame.data_ref(), &mut this.exchange) {
                    exchange.bytes_out += data.len() as u64;
                }
                this.release();
                // A stream that never pauses ends with its credential too.
                if !this.is_end_stream() && this.poll_watch(cx).is_ready() {
                    return this.revoked();
                }
            }
            Poll::Ready(Some(Err(_))) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.broke_off = true;
                }
                if let Kind::Upstream(_, lease) = &mut this.kind {
                    *lease = None;
                }
            }
            Poll::Ready(None) => {
                if let Kind::Upstream(_, lease) = &mut this.kind
                    && let Some(lease) = lease.take()
                {
                    lease.give_back();
                }
            }
            Poll::Pending => {
                if this.poll_watch(cx).is_ready() {
                    return this.revoked();
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Bytes(bytes) => bytes.is_none(),
            Kind::Local(body) => body.is_end_stream(),
            Kind::Upstream(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Local(body) => body.size_hint(),
            Kind::Upstream(incoming, _) => incoming.size_hint(),
        }
    }
}

/// Reads on, for a while, what a refused client is still sending, so that it gets to read
/// our answer instead of a reset. Not where it waits for our leave to send.
pub(crate) fn linger(parts: &Parts, mut body: Incoming) {
    let waits = parts.headers.contains_key(http::header::EXPECT);
    if body.is_end_stream() || waits || parts.version == http::Version::HTTP_2 {
        return;
    }
    tokio::task::spawn_local(tokio::time::timeout(LINGER, async move {
        let mut left = LINGER_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    }));
}

/// Whether a message is gRPC, whose trailers matter.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
