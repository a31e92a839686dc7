//! `[server]`

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::return_to::Origin;

/// Resolved `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// The portal's origin as the outside sees it. Its scheme decides the cookie.
    pub portal: Origin,
    /// `environment = "development"`.
    pub development: bool,
    /// Profile name, for the start line; empty: none.
    pub profile: String,
    /// Where the database, the keys and the control socket live.
    pub data_dir: PathBuf,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// Worker threads of the proxy, resolved: never 0.
    pub workers: usize,
    /// A request head not finished by then: 408 and close.
    pub header_timeout: Duration,
    /// Prefix of the JSON API's alias and callback form (`API_PREFIX`), with leading slash; empty: none.
    pub api_prefix: String,
    /// The redirect URI of a provider that names none, with `<id>` for its id.
    pub provider_redirect_uri: String,
}

/// `trusted_proxies`. Only a list gives the power to ask the hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedProxies {
    /// `true`: the left-most address is the client, for limits and logs only.
    All,
    /// The n-th address from the right is the client, for limits and logs only.
    Hops(usize),
    /// The right-most address not in the list is the client.
    List(Vec<IpNet>),
    /// Nobody is believed.
    Nobody,
}
