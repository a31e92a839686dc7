//! `[[listener]]`

use std::net::SocketAddr;

/// Where to listen and what to answer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address; port 0 asks for a free one.
    pub address: SocketAddr,
    /// TLS by rustls.
    pub tls: bool,
    /// What is answered.
    pub door: ListenerDoor,
}

/// What a listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenerDoor {
    /// The hooks, for every Host; proxies nothing.
    ForwardAuth,
    /// The reverse proxy and the portal.
    Proxy,
    /// 308 to https.
    Redirect,
}

impl ListenerDoor {
    /// The word in the route file and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForwardAuth => "forward-auth",
            Self::Proxy => "proxy",
            Self::Redirect => "redirect",
        }
    }
}
