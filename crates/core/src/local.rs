//! What the proxy tells the portal about a request it hands over.

use std::net::IpAddr;
use std::sync::Arc;

use crate::facts::Scheme;
use crate::host::Host;
use crate::id::SessionId;
use crate::identity::Identity;
use crate::route::Route;

/// Which of the portal's parts a request is for.
#[derive(Clone, Debug)]
pub enum LocalPlace {
    /// `/.vestibule/*` (or `/.well-known/…` of ours) on an app's host.
    AppReserved {
        /// The route of that host and path.
        route: Arc<Route>,
    },
    /// The portal, at its own paths. `prefixed` where pages live under `/.vestibule/`
    /// because the host also has routes: then links must carry that prefix.
    Portal {
        /// Whether the page was reached under `/.vestibule/`.
        prefixed: bool,
    },
}

/// Travels with a request (as an extension) from the proxy to the portal.
#[derive(Clone, Debug)]
pub struct LocalContext {
    /// Which part is asked.
    pub place: LocalPlace,
    /// The address that limits and the audit log use.
    pub client_ip: IpAddr,
    /// Whether the socket's peer is on loopback and sent no forwarding header.
    pub direct_loopback: bool,
    /// The request's id, in every error.
    pub request_id: Arc<str>,
    /// Scheme, host and port as the browser sees them.
    pub scheme: Scheme,
    /// See `scheme`.
    pub host: Host,
    /// See `scheme`.
    pub port: u16,
    /// Who the request's credential proved, if anybody.
    pub identity: Option<Arc<Identity>>,
    /// A credential of ours was shown and does not hold.
    pub bad_credential: bool,
    /// The store could not be asked about the credential.
    pub store_unavailable: bool,
    /// The session of the cookie shown, where that is what proved the identity.
    pub cookie_session: Option<SessionId>,
}
