//! Bounds on what a client or an app may cost, and the worker's coarse clock that holds them.
//!
//! One tick of a quarter second per worker looks at every armed [`Deadline`]; arming one is a
//! store into a slot. A tokio timer per read costs several per cent of a proxied request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Header fields of one request, cookie crumbs counted one by one.
pub(crate) const MAX_FIELDS: usize = 100;
/// Bytes of a request head, and of HTTP/2's decoded header list.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Read buffer of a client's connection: more than a head, so that too large a head is seen as such.
pub(crate) const MAX_READ_BUFFER: usize = 64 * 1024;
/// Streams open at once on one HTTP/2 connection.
pub(crate) const MAX_STREAMS: u32 = 100;
/// A TLS handshake not finished by then is dropped.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client's connection without a request is closed after this long.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// An idle connection to an app is closed after this long: 60 s in ticks.
pub(crate) const UPSTREAM_KEEP_ALIVE_TICKS: u64 = 60 * 4;
/// Idle connections that a worker keeps to one app.
pub(crate) const UPSTREAM_IDLE_MAX: usize = 128;
/// Fields of an app's answer.
pub(crate) const MAX_ANSWER_FIELDS: usize = 256;
/// How long, and how much of, a refused body is read on.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// See [`LINGER`].
pub(crate) const LINGER_BYTES: usize = 4 * 1024 * 1024;
/// A response open longer than this is ended when its credential is revoked.
pub(crate) const WATCH_AFTER: Duration = Duration::from_secs(1);

const TICK: Duration = Duration::from_millis(250);
const NEVER: u64 = u64::MAX;

struct Slot {
    due: u64,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Slots {
    used: Vec<Option<Slot>>,
    free: Vec<usize>,
    live: usize,
}

/// The worker's coarse clock. Resolution: [`TICK`]; a deadline is never early.
pub(crate) struct Ticker {
    started: Instant,
    now: Cell<u64>,
    slots: RefCell<Slots>,
    filled: Notify,
}

/// A point in time that can be moved cheaply. Freed when dropped.
pub(crate) struct Deadline {
    ticker: Rc<Ticker>,
    key: usize,
}

impl Ticker {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            started: Instant::now(),
            now: Cell::new(0),
            slots: RefCell::default(),
            filled: Notify::new(),
        })
    }

    /// A deadline that is not armed yet.
    pub(crate) fn deadline(self: &Rc<Self>) -> Deadline {
        let slot = Slot { due: NEVER, waker: None };
        let mut slots = self.slots.borrow_mut();
        if slots.live == 0 {
            self.now.set(self.elapsed_ticks());
            self.filled.notify_one();
        }
        slots.live += 1;
        let key = match slots.free.pop() {
            Some(key) => {
                if let Some(place) = slots.used.get_mut(key) {
                    *place = Some(slot);
                }
                key
            }
            None => {
                slots.used.push(Some(slot));
                slots.used.len() - 1
            }
        };
        Deadline { ticker: self.clone(), key }
    }

    /// Ticks since the start, as of the last one. Stands while no deadline exists.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// Ticks since the start, by the system's clock.
    pub(crate) fn true_now(&self) -> u64 {
        self.elapsed_ticks()
    }

    /// The worker's task that moves the clock.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            if self.slots.borrow().live == 0 {
                self.filled.notified().await;
            }
            tokio::time::sleep(TICK).await;
            self.advance();
        }
    }

    /// Wakes everybody who waits for a deadline, so that they look at what else changed.
    pub(crate) fn wake_all(&self) {
        let wakers: Vec<Waker> = (self.slots.borrow_mut().used.iter_mut().flatten())
            .filter_map(|slot| slot.waker.take())
            .collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn elapsed_ticks(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis() / TICK.as_millis()).unwrap_or(NEVER - 1)
    }

    fn advance(&self) {
        let now = self.elapsed_ticks();
        self.now.set(now);
        let due: Vec<Waker> = (self.slots.borrow_mut().used.iter_mut().flatten())
            .filter(|slot| slot.due <= now)
            .filter_map(|slot| slot.waker.take())
            .collect();
        due.into_iter().for_each(Waker::wake);
    }
}

impl Deadline {
    /// Moves the deadline to `after` from now; longer by at most two ticks.
    pub(crate) fn arm(&self, after: Duration) {
        let ticks =
            u64::try_from(after.as_millis().div_ceil(TICK.as_millis())).unwrap_or(NEVER / 2);
        self.set(self.ticker.now.get().saturating_add(ticks).saturating_add(1));
    }

    /// Never expires until armed again.
    pub(crate) fn disarm(&self) {
        self.set(NEVER);
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut slots = self.ticker.slots.borrow_mut();
        let Some(Some(slot)) = slots.used.get_mut(self.key) else { return Poll::Pending };
        if slot.due <= self.ticker.now.get() {
            return Poll::Ready(());
        }
        match &slot.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => slot.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Resolves once the deadline has passed.
    pub(crate) async fn expired(&self) {
        std::future::poll_fn(|cx| self.poll_expired(cx)).await;
    }

    fn set(&self, due: u64) {
        if let Some(Some(slot)) = self.ticker.slots.borrow_mut().used.get_mut(self.key) {
            slot.due = due;
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut slots = self.ticker.slots.borrow_mut();
        let key = self.key;
        let freed = slots.used.get_mut(key).and_then(Option::take);
        if freed.is_some() {
            slots.free.push(key);
            slots.live -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_never_early() {
        let ticker = Ticker::new();
        let deadline = ticker.deadline();
        deadline.arm(TICK * 2);
        for tick in 1..=2 {
            ticker.now.set(tick);
            assert!(futures_util::poll!(std::pin::pin!(deadline.expired())).is_pending(), "{tick}");
        }
        ticker.now.set(3);
        assert!(futures_util::poll!(std::pin::pin!(deadline.expired())).is_ready());
    }

    #[test]
    fn a_dropped_deadline_gives_its_slot_back() {
        let ticker = Ticker::new();
        drop(ticker.deadline());
        let _next = ticker.deadline();
        assert_eq!(ticker.slots.borrow().used.len(), 1);
        assert_eq!(ticker.slots.borrow().live, 1);
    }
}
