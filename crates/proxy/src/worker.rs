//! One thread, one runtime, its own sockets, pools, buffers and clock. Workers share only
//! what [`Shared`] holds; nothing on a worker may block.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;
use vestibule_authn::Authn;
use vestibule_core::settings::listener::Listener;
use vestibule_core::time::UnixMillis;

use crate::facts::Hosts;
use crate::headers::Rendered;
use crate::limits::Ticker;
use crate::listener;
use crate::local::LocalService;
use crate::record::RequestId;
use crate::record::access_log::{LogChannel, WorkerLog};
use crate::record::metrics::{Registry, WorkerMetrics};
use crate::snapshot::Snapshot;
use crate::tls::TlsServer;
use crate::upstream::Pools;

const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// An accepted connection on its way to another worker.
pub(crate) struct Handed {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: std::net::SocketAddr,
    pub(crate) listener: usize,
}

/// Where a worker takes connections that others accepted.
pub(crate) type Inbox = UnboundedSender<Handed>;

/// What all workers see.
pub(crate) struct Shared {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) tls: TlsServer,
    pub(crate) authn: Arc<Authn>,
    pub(crate) local: Arc<dyn LocalService>,
    pub(crate) service: Handle,
    pub(crate) clock: fn() -> UnixMillis,
    pub(crate) registry: Arc<Registry>,
    /// Where the proxy doors really listen.
    pub(crate) doors: Vec<std::net::SocketAddr>,
    /// Open connections by worker.
    pub(crate) loads: Vec<AtomicUsize>,
    /// By worker.
    pub(crate) inboxes: Vec<Inbox>,
    /// Cancelled when the proxy stops accepting and lets what is under way finish.
    pub(crate) drain: CancellationToken,
    /// Cancelled when even that is over.
    pub(crate) stop: CancellationToken,
}

/// One worker.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ticker: Rc<Ticker>,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) log: WorkerLog,
    pub(crate) pools: Pools,
    pub(crate) rendered: Rendered,
    pub(crate) hosts: Hosts,
    number: usize,
    seed: (u64, u64),
    requests: Cell<u64>,
    draining: Cell<bool>,
    snapshot: RefCell<arc_swap::cache::Cache<ArcSwapRef, Arc<Snapshot>>>,
}

/// Lets the cache borrow the swap through what all workers share.
struct ArcSwapRef(Arc<Shared>);

impl std::ops::Deref for ArcSwapRef {
    type Target = ArcSwap<Snapshot>;

    fn deref(&self) -> &Self::Target {
        &self.0.snapshot
    }
}

/// Counts a connection until dropped.
pub(crate) struct HeldConnection(Rc<Worker>);

impl Drop for HeldConnection {
    fn drop(&mut self) {
        if let Some(load) = self.0.shared.loads.get(self.0.number) {
            load.fetch_sub(1, Relaxed);
        }
    }
}

impl Worker {
    fn new(shared: Arc<Shared>, log: LogChannel, number: usize) -> Rc<Self> {
        let form = shared.snapshot.load().settings.telemetry.access_log;
        Rc::new(Self {
            ticker: Ticker::new(),
            metrics: WorkerMetrics::new(&shared.registry),
            log: WorkerLog::new(log, form),
            pools: Pools::new(shared.doors.clone()),
            rendered: Rendered::default(),
            hosts: Hosts::default(),
            number,
            seed: uuid::Uuid::new_v4().as_u64_pair(),
            requests: Cell::new(0),
            draining: Cell::new(false),
            snapshot: RefCell::new(arc_swap::cache::Cache::new(ArcSwapRef(shared.clone()))),
            shared,
        })
    }

    /// Runs until the proxy stops.
    pub(crate) async fn run(
        number: usize,
        shared: Arc<Shared>,
        log: LogChannel,
        sockets: Vec<std::net::TcpListener>,
        handed: UnboundedReceiver<Handed>,
    ) {
        let worker = Self::new(shared, log, number);
        tokio::task::spawn_local(listener::take(worker.clone(), handed));
        tokio::task::spawn_local(worker.ticker.clone().run());
        tokio::task::spawn_local(WorkerLog::run(|w: &Self| &w.log, worker.clone()));
        tokio::task::spawn_local(worker.clone().sweep());
        for (index, socket) in sockets.into_iter().enumerate() {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => {
                    tokio::task::spawn_local(listener::accept(worker.clone(), index, socket));
                }
                Err(error) => return tracing::error!(%error, "a listening socket is lost"),
            }
        }
        worker.draining().await;
        worker.draining.set(true);
        worker.ticker.wake_all();
        let stop = worker.shared.stop.clone();
        while worker.load() > 0 {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
        worker.log.flush();
    }

    /// The configuration in force.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow_mut().load().clone()
    }

    /// The time by the wall clock.
    pub(crate) fn now(&self) -> UnixMillis {
        (self.shared.clock)()
    }

    /// A new request's id: random per worker, then counted through a mixer.
    pub(crate) fn next_id(&self) -> RequestId {
        let count = self.requests.get().wrapping_add(1);
        self.requests.set(count);
        let (high, low) = (mix(self.seed.0 ^ count), mix(self.seed.1.wrapping_add(count)));
        let bytes = uuid::Uuid::from_u64_pair(high, low).into_bytes();
        RequestId::Own(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Connections that this worker holds.
    fn load(&self) -> usize {
        self.shared.loads.get(self.number).map_or(0, |load| load.load(Relaxed))
    }

    /// Who should serve the next connection: the emptiest worker where this one has over two
    /// more than the mean, since SO_REUSEPORT spreads a front proxy's few connections
    /// unevenly. `None`: this one.
    pub(crate) fn relief(&self) -> Option<&Inbox> {
        let loads = &self.shared.loads;
        let total: usize = loads.iter().map(|load| load.load(Relaxed)).sum();
        if loads.len() < 2 || self.load() * loads.len() <= total + 2 * loads.len() {
            return None;
        }
        let emptiest = loads.iter().enumerate().min_by_key(|(_, load)| load.load(Relaxed))?.0;
        self.shared.inboxes.get(emptiest).filter(|_| emptiest != self.number)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Resolves when no new connection is taken any more.
    pub(crate) async fn draining(&self) {
        self.shared.drain.cancelled().await;
    }

    pub(crate) fn hold_connection(self: &Rc<Self>) -> HeldConnection {
        if let Some(load) = self.shared.loads.get(self.number) {
            load.fetch_add(1, Relaxed);
        }
        HeldConnection(self.clone())
    }

    async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            self.pools.sweep(self.ticker.true_now());
            let form = self.snapshot().settings.telemetry.access_log;
            self.log.set_form(form);
        }
    }
}

/// A bijection that spreads neighbouring numbers (splitmix64).
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
