//! The running proxy as `gateway` holds it: start, reload, metrics, shutdown.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vestibule_authn::Authn;
use vestibule_core::settings::Settings;
use vestibule_core::settings::listener::{Listener, ListenerDoor};
use vestibule_core::time::UnixMillis;

use crate::listener::{self, Bound};
use crate::local::LocalService;
use crate::record::access_log::{AccessSink, LogChannel};
use crate::record::metrics::{Metrics, Registry};
use crate::snapshot::{Ids, Snapshot};
use crate::tls::TlsServer;
use crate::worker::{Handed, Shared, Worker};

/// Exit code of a process whose worker died: half a proxy is worse than none.
const WORKER_DIED: i32 = 70;

/// What the proxy needs to run.
pub struct ProxyConfig {
    /// The configuration.
    pub settings: Arc<Settings>,
    /// Who people are.
    pub authn: Arc<Authn>,
    /// The portal.
    pub local: Arc<dyn LocalService>,
    /// The runtime for the portal's work.
    pub service: Handle,
    /// The wall clock.
    pub clock: fn() -> UnixMillis,
    /// Where access lines are written.
    pub access_log: AccessSink,
}

/// Why the proxy does not start. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be bound.
    #[error("cannot listen on {address}: {}", bind_advice(address, source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A route, certificate or key does not hold up.
    #[error("{0}")]
    Configuration(String),
    /// A thread or its runtime cannot be made.
    #[error(
        "cannot start a worker thread: {0}. Raise the limits on threads and open files (`ulimit -u`, `ulimit -n`)"
    )]
    Worker(io::Error),
}

fn bind_advice(address: &SocketAddr, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program listens there. Stop it (`ss -ltnp 'sport = :{}'` names it) or choose another `address` in [[listener]]",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {} needs a permission. Give the service CAP_NET_BIND_SERVICE (systemd: `AmbientCapabilities=CAP_NET_BIND_SERVICE`) or choose a port from 1024 on",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "no network interface has this address. Use one that `ip addr` shows, or 0.0.0.0"
                .to_owned()
        }
        _ => source.to_string(),
    }
}

/// The proxy while it runs.
pub struct Proxy {
    shared: Arc<Shared>,
    ids: Ids,
    addresses: Vec<(usize, SocketAddr)>,
    workers: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Proxy {
    /// Binds every listener and starts the workers. Fails as [`StartError`] says, before any
    /// request is answered.
    pub fn start(config: ProxyConfig) -> Result<Self, StartError> {
        let settings = config.settings;
        let ids = Ids::default();
        let snapshot = Snapshot::new(settings.clone(), &ids).map_err(StartError::Configuration)?;
        let tls = TlsServer::new(&settings.tls).map_err(StartError::Configuration)?;
        let workers = settings.server.workers.max(1);
        let bound = settings.listeners.iter().map(|one| listener::bind(one, workers));
        let bound = bound.collect::<Result<Vec<_>, _>>()?;
        let registry = Arc::new(Registry::default());
        let (alive, ended) = mpsc::channel(1);
        let log = LogChannel::start(config.access_log, registry.clone(), alive.clone())
            .map_err(StartError::Worker)?;
        let (inboxes, handed): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            listeners: settings.listeners.clone(),
            tls,
            authn: config.authn,
            local: config.local,
            service: config.service,
            clock: config.clock,
            registry,
            doors: proxy_doors(&settings.listeners, &bound),
            loads: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            inboxes,
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
        });
        let addresses = bound.iter().map(|bound| bound.address).enumerate().collect();
        let all = per_worker(bound, workers).into_iter().zip(handed);
        for (number, (sockets, handed)) in all.enumerate() {
            let work = Work { number, shared: shared.clone(), log: log.clone(), sockets, handed };
            spawn_worker(work, alive.clone()).map_err(StartError::Worker)?;
        }
        Ok(Self { shared, ids, addresses, workers: tokio::sync::Mutex::new(ended) })
    }

    /// The index of each listener in the settings, and the address it really has.
    pub fn local_addresses(&self) -> Vec<(usize, SocketAddr)> {
        self.addresses.clone()
    }

    /// Puts new settings in force for the next request; no connection is dropped and no
    /// GOAWAY sent. Fails, and changes nothing, where they do not hold up or where listeners
    /// differ, which needs a restart.
    pub fn reload(&self, settings: Arc<Settings>) -> Result<(), String> {
        if settings.listeners != self.shared.listeners {
            return Err(
                "[[listener]] has changed, which needs a restart; nothing was reloaded".to_owned()
            );
        }
        let snapshot = Snapshot::new(settings, &self.ids)?;
        self.shared.tls.reload(&snapshot.settings.tls)?;
        self.shared.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// Reads all certificates and keys again. A pair that is broken or does not match keeps
    /// the old certificate and is logged.
    pub fn reload_certificates(&self) {
        self.shared.tls.reload_certificates();
    }

    /// The metrics at this moment.
    pub fn metrics(&self) -> Metrics {
        Metrics { registry: self.shared.registry.clone(), certificates: self.shared.tls.expiries() }
    }

    /// Stops accepting, ends idle connections, lets requests under way finish for at most
    /// `grace`, then ends what is left. Resolves when every worker is gone.
    pub async fn shutdown(&self, grace: Duration) {
        self.shared.drain.cancel();
        let mut workers = self.workers.lock().await;
        if tokio::time::timeout(grace, workers.recv()).await.is_err() {
            self.shared.stop.cancel();
            workers.recv().await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.drain.cancel();
        self.shared.stop.cancel();
    }
}

/// The addresses at which a request is forwarded.
fn proxy_doors(listeners: &[Listener], bound: &[Bound]) -> Vec<SocketAddr> {
    let doors = listeners.iter().zip(bound);
    let proxies = doors.filter(|(listener, _)| listener.door == ListenerDoor::Proxy);
    proxies.map(|(_, bound)| bound.address).collect()
}

/// Turns sockets by listener into sockets by worker.
fn per_worker(bound: Vec<Bound>, workers: usize) -> Vec<Vec<TcpListener>> {
    let mut by_worker: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for one in bound {
        for (sockets, socket) in by_worker.iter_mut().zip(one.sockets) {
            sockets.push(socket);
        }
    }
    by_worker
}

/// What a worker's thread starts with.
struct Work {
    number: usize,
    shared: Arc<Shared>,
    log: LogChannel,
    sockets: Vec<TcpListener>,
    handed: mpsc::UnboundedReceiver<Handed>,
}

fn spawn_worker(work: Work, alive: mpsc::Sender<()>) -> io::Result<()> {
    let name = format!("worker-{}", work.number);
    std::thread::Builder::new().name(name).spawn(move || {
        let _alive = alive;
        let Work { number, shared, log, sockets, handed } = work;
        let watch = Watchdog(shared.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(Worker::run(number, shared, log, sockets, handed)),
            Err(error) => tracing::error!(%error, "a worker's runtime cannot be made"),
        }
        drop(watch);
    })?;
    Ok(())
}

/// Takes the process down where a worker ends, or panics, though nobody asked it to.
struct Watchdog(Arc<Shared>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        if !self.0.drain.is_cancelled() {
            tracing::error!(
                "a worker died; the process ends so that its supervisor starts it anew"
            );
            std::process::exit(WORKER_DIED);
        }
    }
}
