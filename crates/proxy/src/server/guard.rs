//! The client's connection as hyper sees it: passes bytes, watches their framing
//! ([`Sniffer`]) and tells the connection's driver what state it is in.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::sniff::Sniffer;
use crate::tls::CertificateNames;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A request is being answered.
    Exchange,
    /// A head is awaited or under way.
    Head,
    /// Between two requests.
    Idle,
    /// Upgraded: others time it out.
    Raw,
}

/// Shared by the connection's driver, its I/O and its exchanges. All on one thread; atomics
/// only because an upgraded connection must be `Send`.
#[derive(Debug)]
pub(crate) struct ConnState {
    pub(crate) peer: std::net::SocketAddr,
    /// The peer's address as a header tells it.
    pub(crate) peer_value: http::HeaderValue,
    pub(crate) listener: usize,
    pub(crate) tls: bool,
    /// What the certificate shown covers.
    pub(crate) names: Option<Arc<CertificateNames>>,
    pub(crate) sni: Option<Box<str>>,
    phase: AtomicU32,
    epoch: AtomicU64,
    moved: AtomicU64,
    open: AtomicU32,
    idle_millis: AtomicU64,
    raw: AtomicBool,
}

impl ConnState {
    pub(crate) fn new(
        peer: std::net::SocketAddr,
        listener: usize,
        tls: bool,
        names: Option<Arc<CertificateNames>>,
        sni: Option<Box<str>>,
    ) -> Self {
        let peer_value = http::HeaderValue::try_from(peer.ip().to_string());
        Self {
            peer,
            peer_value: peer_value.unwrap_or(http::HeaderValue::from_static("unknown")),
            listener,
            tls,
            names,
            sni,
            phase: AtomicU32::new(Phase::Head as u32),
            epoch: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            open: AtomicU32::new(0),
            idle_millis: AtomicU64::new(0),
            raw: AtomicBool::new(false),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            p if p == Phase::Exchange as u32 => Phase::Exchange,
            p if p == Phase::Head as u32 => Phase::Head,
            p if p == Phase::Raw as u32 => Phase::Raw,
            _ => Phase::Idle,
        }
    }

    /// Changes with every change of the phase.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Changes with every byte that moves.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// How long no byte may move while a request is answered.
    pub(crate) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_millis.load(Relaxed))
    }

    pub(crate) fn set_idle(&self, idle: Duration) {
        let millis = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        if self.idle_millis.swap(millis, Relaxed) != millis {
            self.epoch.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn begin_exchange(&self) {
        self.open.fetch_add(1, Relaxed);
        self.enter(Phase::Exchange);
    }

    pub(crate) fn end_exchange(&self) {
        let left = self.open.load(Relaxed).saturating_sub(1);
        self.open.store(left, Relaxed);
        if left == 0 && self.phase() == Phase::Exchange {
            self.enter(Phase::Idle);
        }
    }

    /// From here on the connection carries no HTTP.
    pub(crate) fn upgrade(&self) {
        self.raw.store(true, Relaxed);
        self.enter(Phase::Raw);
    }

    fn enter(&self, phase: Phase) {
        if self.phase() != Phase::Raw {
            self.phase.store(phase as u32, Relaxed);
            self.epoch.store(self.epoch.load(Relaxed) + 1, Relaxed);
        }
    }

    fn move_bytes(&self, count: usize) {
        self.moved.store(self.moved.load(Relaxed) + count as u64, Relaxed);
    }
}

/// A stream with some bytes read in advance, sniffed where it speaks HTTP/1.
#[derive(Debug)]
pub(crate) struct Guard<S> {
    io: S,
    prefix: Bytes,
    sniffer: Option<Sniffer>,
    state: Arc<ConnState>,
}

impl<S> Guard<S> {
    pub(crate) fn new(io: S, prefix: Bytes, http1: bool, state: Arc<ConnState>) -> Self {
        Self { io, prefix, sniffer: http1.then(Sniffer::new), state }
    }

    fn look(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let Some(new) = buf.filled_mut().get_mut(before..) else { return };
        if new.is_empty() {
            return;
        }
        self.state.move_bytes(new.len());
        let Some(sniffer) = &mut self.sniffer else { return };
        if self.state.raw.load(Relaxed) {
            sniffer.stop();
            return;
        }
        let was_exchange = self.state.phase() == Phase::Exchange;
        let seen = sniffer.inspect(new);
        buf.set_filled(before + seen.keep);
        if seen.head_done {
            self.state.enter(Phase::Exchange);
        } else if seen.in_head && (!was_exchange || self.state.open.load(Relaxed) == 0) {
            self.enter_head();
        }
    }

    /// The head's time runs from its first byte.
    fn enter_head(&self) {
        if self.state.phase() != Phase::Head {
            self.state.enter(Phase::Head);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.sniffer.as_ref().is_some_and(Sniffer::is_spoilt) {
            return Poll::Ready(Ok(()));
        }
        if self.prefix.is_empty() {
            match Pin::new(&mut self.io).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        } else {
            let count = self.prefix.len().min(buf.remaining());
            if let Some(head) = self.prefix.get(..count) {
                buf.put_slice(head);
            }
            self.prefix.advance(count);
        }
        self.look(buf, before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = wrote {
            self.state.move_bytes(count);
        }
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(count)) = wrote {
            self.state.move_bytes(count);
        }
        wrote
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
