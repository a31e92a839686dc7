//! Names of apps, looked up at most every 10 s and after a failed connection. A name that
//! does not resolve is a fault of the request, never of the start.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vestibule_core::route::Upstream;

use crate::error::Fault;

const LOOK_UP_AFTER: Duration = Duration::from_secs(10);

struct Entry {
    addresses: Rc<[SocketAddr]>,
    at: Instant,
}

/// A worker's memory of names.
#[derive(Default)]
pub(crate) struct Resolver {
    known: RefCell<HashMap<(Arc<str>, u16), Entry>>,
}

impl Resolver {
    /// The app's addresses, in the order of the system's resolver.
    pub(crate) async fn resolve(&self, upstream: &Upstream) -> Result<Rc<[SocketAddr]>, Fault> {
        let bare = upstream.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Rc::new([SocketAddr::new(ip, upstream.port)]));
        }
        let key = (upstream.host.clone(), upstream.port);
        if let Some(entry) = self.known.borrow().get(&key)
            && entry.at.elapsed() < LOOK_UP_AFTER
        {
            return Ok(entry.addresses.clone());
        }
        let found = tokio::net::lookup_host((bare, upstream.port)).await;
        let addresses: Rc<[SocketAddr]> = match found {
            Ok(found) => found.collect(),
            Err(error) => return Err(Fault::Unresolved(error)),
        };
        if addresses.is_empty() {
            return Err(Fault::Unresolved(std::io::Error::other("the name has no address")));
        }
        let entry = Entry { addresses: addresses.clone(), at: Instant::now() };
        self.known.borrow_mut().insert(key, entry);
        Ok(addresses)
    }

    /// The next connection looks the name up again.
    pub(crate) fn forget(&self, upstream: &Upstream) {
        self.known.borrow_mut().remove(&(upstream.host.clone(), upstream.port));
    }
}
