//! Where a sign-in may lead back to: `rd` (CONTRACT section 4).

use crate::facts::Scheme;
use crate::route::RouteTable;

/// The longest `rd` that is read, in bytes.
pub const MAX_RETURN_TO: usize = 4096;

/// The portal's origin, as the outside sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: crate::host::Host,
    /// The port, the scheme's default where the URL names none.
    pub port: u16,
}

impl Origin {
    /// Reads `scheme://host[:port]`, with at most one final `/`.
    pub fn parse(text: &str) -> Option<Self> {
        let _ = text;
        todo!("core helper")
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// A checked place to go to after signing in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReturnTo {
    /// A URL of a host with a route, as given.
    App {
        /// Where the hand-off happens.
        origin: Origin,
        /// Path and query, starting with `/`.
        path_and_query: String,
    },
    /// A path (with query) of the portal.
    Portal(String),
}

impl ReturnTo {
    /// Checks an `rd`. `None` for everything but the portal itself and hosts with a route,
    /// under the portal's scheme, on the portal's outside port or one that `host` names,
    /// without credentials, control characters, backslashes or white space (SECURITY E1).
    pub fn parse(rd: &str, portal: &Origin, routes: &RouteTable) -> Option<Self> {
        let _ = (rd, portal, routes);
        todo!("core helper")
    }
}
