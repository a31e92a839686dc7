//! Where a sign-in may lead back to: `rd` (CONTRACT section 4).
//!
//! Not a URL parser. A URL parser's business is to make sense of what it gets; this one
//! takes the one spelling that every browser reads alike and refuses the rest. What comes
//! out is put together from the parts that were checked, never copied from the input.

use crate::facts::Scheme;
use crate::host::Host;
use crate::path::NormalPath;
use crate::route::RouteTable;

/// The longest `rd` that is read, in bytes.
pub const MAX_RETURN_TO: usize = 4096;

/// The portal's origin, as the outside sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: Host,
    /// The port, the scheme's default where the URL names none.
    pub port: u16,
}

impl Origin {
    /// Reads `scheme://host[:port]`, with at most one final `/`. `None` for everything
    /// else: another scheme, a path, credentials, an empty port.
    ///
    /// ```
    /// use vestibule_core::return_to::Origin;
    ///
    /// let origin = Origin::parse("https://Auth.example.com:443/").unwrap();
    /// assert_eq!(origin.to_string(), "https://auth.example.com");
    /// assert!(Origin::parse("https://auth.example.com/portal").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = split_scheme(text)?;
        Self::of(scheme, rest.strip_suffix('/').unwrap_or(rest))
    }

    fn of(scheme: Scheme, authority: &str) -> Option<Self> {
        let (host, port) = Host::parse_authority(authority).ok()?;
        Some(Self { scheme, host, port: port.unwrap_or(scheme.default_port()) })
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
    /// A URL of a host with a route.
    App {
        /// Where the hand-off happens.
        origin: Origin,
        /// Path and query as given, starting with one `/`. Never `//`, so that it may
        /// stand in a `Location` by itself.
        path_and_query: String,
    },
    /// A path (with query) of the portal; as for an app, never `//`.
    Portal(String),
}

impl ReturnTo {
    /// Checks an `rd`. `None` for everything but the portal itself and hosts with a route,
    /// under the portal's scheme, on the portal's outside port or one that `host` names,
    /// without credentials, control characters, backslashes or white space (SECURITY E1).
    /// A fragment is cut off.
    ///
    /// ```
    /// use vestibule_core::return_to::{Origin, ReturnTo};
    /// use vestibule_core::route::RouteTable;
    ///
    /// let portal = Origin::parse("https://auth.example.com").unwrap();
    /// let read = |rd| ReturnTo::parse(rd, &portal, &RouteTable::default());
    /// assert_eq!(read("/settings?tab=keys"), Some(ReturnTo::Portal("/settings?tab=keys".to_owned())));
    /// assert_eq!(read("//evil.example"), None);
    /// ```
    pub fn parse(rd: &str, portal: &Origin, routes: &RouteTable) -> Option<Self> {
        let visible = |b: u8| b.is_ascii_graphic() && b != b'\\';
        if rd.len() > MAX_RETURN_TO || !rd.bytes().all(visible) {
            return None;
        }
        let rd = rd.split('#').next()?;
        if rd.starts_with('/') {
            return checked(rd).map(Self::Portal);
        }
        let (scheme, rest) = split_scheme(rd)?;
        let (authority, path_and_query) =
            rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let origin = Origin::of(scheme, authority)?;
        let path_and_query = match path_and_query.starts_with('/') {
            true => checked(path_and_query)?,
            false => format!("/{path_and_query}"),
        };
        if origin == *portal {
            return Some(Self::Portal(path_and_query));
        }
        let known_port = origin.port == portal.port || routes.names_port(&origin.host, origin.port);
        let known = routes.find_host(&origin.host).is_some() && known_port;
        (known && scheme == portal.scheme).then_some(Self::App { origin, path_and_query })
    }
}

fn split_scheme(url: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))?;
    Some((scheme, rest))
}

/// A path and query whose path has a normal form, does not start with `//` (which would be
/// another host) and holds no encoded control character (which some reader may decode).
fn checked(path_and_query: &str) -> Option<String> {
    let path = path_and_query.split('?').next()?;
    let (normal, _) = NormalPath::parse(path).ok()?;
    let control = |code: &str| {
        let byte = code.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_some_and(|byte| byte.is_ascii_control())
    };
    let clean =
        !normal.as_str().starts_with("//") && !normal.as_str().split('%').skip(1).any(control);
    clean.then(|| path_and_query.to_owned())
}

#[cfg(test)]
mod tests;
