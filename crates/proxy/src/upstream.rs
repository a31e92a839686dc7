//! Connections to apps: one pool per worker and app, over hyper's own connections. A
//! connection goes back only when request and answer have both ended.

mod connect;
mod heard;
mod resolve;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use vestibule_core::route::{Upstream, UpstreamScheme, UpstreamTls};

pub(crate) use self::connect::{ClientConfigs, ClientTls};
use self::heard::Heard;
use self::resolve::Resolver;
use crate::body::{InBody, Meter};
use crate::error::Fault;
use crate::limits::{UPSTREAM_IDLE_MAX, UPSTREAM_KEEP_ALIVE_TICKS};
use crate::worker::Worker;

/// One app as a route reaches it, prepared when the configuration was loaded.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Names the pool; the same for as long as address and TLS stay the same.
    pub(crate) id: u32,
    pub(crate) upstream: Upstream,
    pub(crate) tls: Option<ClientTls>,
    /// Its own `host[:port]`.
    pub(crate) authority: http::uri::Authority,
}

/// Gives each app a number that survives reloads.
#[derive(Debug, Default)]
pub(crate) struct TargetIds {
    known: Mutex<HashMap<(Upstream, UpstreamTls), u32>>,
    next: AtomicU32,
}

impl TargetIds {
    pub(crate) fn id(&self, upstream: &Upstream, tls: &UpstreamTls) -> u32 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || self.next.fetch_add(1, Relaxed);
        *known.entry((upstream.clone(), tls.clone())).or_insert_with(fresh)
    }
}

impl Target {
    /// Fails where the address cannot stand in a URL or the TLS files cannot be read.
    pub(crate) fn new(
        ids: &TargetIds,
        upstream: &Upstream,
        tls: &UpstreamTls,
        configs: &ClientConfigs,
    ) -> Result<Self, String> {
        let text = match upstream.scheme {
            UpstreamScheme::Unix => "localhost".to_owned(),
            UpstreamScheme::Https if upstream.port == 443 => upstream.host.to_string(),
            UpstreamScheme::Http | UpstreamScheme::H2c if upstream.port == 80 => {
                upstream.host.to_string()
            }
            _ => format!("{}:{}", upstream.host, upstream.port),
        };
        let authority =
            text.parse().map_err(|_| format!("`{text}` is no address of an upstream"))?;
        let id = ids.id(upstream, tls);
        let tls = match upstream.scheme {
            UpstreamScheme::Https => Some(ClientTls::new(&upstream.host, tls, configs)?),
            _ => None,
        };
        Ok(Self { id, upstream: upstream.clone(), tls, authority })
    }
}

/// A connection that takes one request (HTTP/1) or many (HTTP/2).
pub(crate) enum Sender {
    H1(Http1),
    H2(http2::SendRequest<InBody>),
}

/// An HTTP/1 connection to an app.
pub(crate) struct Http1 {
    pub(crate) sender: http1::SendRequest<InBody>,
    pub(crate) heard: Heard,
}

struct Parked {
    http1: Http1,
    /// In ticks of the worker.
    since: u64,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Parked>,
    h2: Option<http2::SendRequest<InBody>>,
}

/// A worker's pools.
pub(crate) struct Pools {
    /// By the target's number.
    pools: RefCell<Vec<Pool>>,
    resolver: Resolver,
    /// Where this proxy itself listens.
    own: Vec<SocketAddr>,
}

/// A connection in use and whether it served a request before.
pub(crate) struct Checkout {
    pub(crate) sender: Sender,
    pub(crate) reused: bool,
}

impl Pools {
    /// No connection yet. `own`: the proxy's own doors, which are no apps.
    pub(crate) fn new(own: Vec<SocketAddr>) -> Self {
        Self { pools: RefCell::default(), resolver: Resolver::default(), own }
    }

    /// A connection that lives, else a new one. `upgrade`: HTTP/1.1 is needed.
    /// `fresh`: not one that was used before.
    pub(crate) async fn checkout(
        &self,
        target: &Target,
        connect_timeout: Duration,
        upgrade: bool,
        fresh: bool,
    ) -> Result<Checkout, Fault> {
        if !fresh && let Some(sender) = self.reuse(target.id, upgrade).await {
            return Ok(Checkout { sender, reused: true });
        }
        let connecting = connect::connect(target, &self.resolver, upgrade, &self.own);
        let sender = match tokio::time::timeout(connect_timeout, connecting).await {
            Ok(connected) => connected?,
            Err(_) => {
                self.resolver.forget(&target.upstream);
                return Err(Fault::ConnectTimeout);
            }
        };
        if let Sender::H2(sender) = &sender {
            self.with_pool(target.id, |pool| pool.h2 = Some(sender.clone()));
        }
        Ok(Checkout { sender, reused: false })
    }

    async fn reuse(&self, id: u32, upgrade: bool) -> Option<Sender> {
        loop {
            let mut http1 = {
                let mut pools = self.pools.borrow_mut();
                let pool = pools.get_mut(id as usize)?;
                if !upgrade && let Some(sender) = &pool.h2 {
                    if !sender.is_closed() {
                        return Some(Sender::H2(sender.clone()));
                    }
                    pool.h2 = None;
                }
                let parked = pool.idle.pop()?;
                if parked.http1.sender.is_closed() {
                    continue;
                }
                parked.http1
            };
            if http1.sender.is_ready() || http1.sender.ready().await.is_ok() {
                return Some(Sender::H1(http1));
            }
        }
    }

    fn park(&self, id: u32, http1: Http1, since: u64) {
        if http1.sender.is_closed() {
            return;
        }
        self.with_pool(id, |pool| {
            if pool.idle.len() < UPSTREAM_IDLE_MAX {
                pool.idle.push(Parked { http1, since });
            }
        });
    }

    fn with_pool(&self, id: u32, use_it: impl FnOnce(&mut Pool)) {
        let (mut pools, at) = (self.pools.borrow_mut(), id as usize);
        if pools.len() <= at {
            pools.resize_with(at + 1, Pool::default);
        }
        if let Some(pool) = pools.get_mut(at) {
            use_it(pool);
        }
    }

    /// Drops connections that are closed or were idle for long.
    pub(crate) fn sweep(&self, now: u64) {
        for pool in self.pools.borrow_mut().iter_mut() {
            pool.idle.retain(|parked| {
                !parked.http1.sender.is_closed()
                    && now.saturating_sub(parked.since) < UPSTREAM_KEEP_ALIVE_TICKS
            });
            if pool.h2.as_ref().is_some_and(http2::SendRequest::is_closed) {
                pool.h2 = None;
            }
        }
    }
}

/// The right to give a connection back to its pool.
pub(crate) struct Lease {
    pub(crate) worker: Rc<Worker>,
    pub(crate) target: u32,
    pub(crate) http1: Option<Http1>,
    pub(crate) meter: Rc<Meter>,
    /// Whether the app said `Connection: close`, or the answer ends with the connection.
    pub(crate) closes: bool,
}

impl Lease {
    /// Parks the connection, unless its request is still being sent.
    pub(crate) fn give_back(self) {
        if let Some(http1) = self.http1
            && self.meter.done.get()
            && !self.closes
        {
            let now = self.worker.ticker.now();
            self.worker.pools.park(self.target, http1, now);
        }
    }
}
