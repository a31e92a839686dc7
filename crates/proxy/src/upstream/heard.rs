//! What an app has said before the head of its answer was whole: a request may be sent again
//! only while no byte has come, and hyper neither tells nor bounds it, since it skips interim
//! (1xx) answers for as long as they come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of interim answers and head. More than hyper can read before it hands the head over.
const MOST: u64 = 1 << 20;
const WHOLE: u64 = u64::MAX;

/// Bytes that came since the request went out, until the head was whole. An atomic because an
/// upgraded connection is `Send`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<AtomicU64>);

impl Heard {
    /// A request is about to be sent.
    pub(crate) fn expect_head(&self) {
        self.0.store(0, Relaxed);
    }

    /// The head is there.
    pub(crate) fn head_came(&self) {
        self.0.store(WHOLE, Relaxed);
    }

    /// Whether a byte came since the request.
    pub(crate) fn anything(&self) -> bool {
        self.0.load(Relaxed) > 0
    }

    fn count(&self, bytes: usize) -> io::Result<()> {
        let before = self.0.load(Relaxed);
        if before == WHOLE || bytes == 0 {
            return Ok(());
        }
        let after = before + bytes as u64;
        self.0.store(after, Relaxed);
        if after > MOST {
            Err(io::Error::other("no head in the first MiB of an answer"))
        } else {
            Ok(())
        }
    }
}

/// A stream that counts what is read from it.
pub(super) struct Listened<S> {
    io: S,
    heard: Heard,
}

impl<S> Listened<S> {
    pub(super) fn new(io: S) -> (Self, Heard) {
        let heard = Heard::default();
        (Self { io, heard: heard.clone() }, heard)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let came = buf.filled().len() - before;
        match read {
            Poll::Ready(Ok(())) => Poll::Ready(self.heard.count(came)),
            other => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
