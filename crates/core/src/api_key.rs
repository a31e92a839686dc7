//! What an API key's scopes allow, and the form of a key. The secret part is `authn`'s.

use std::sync::Arc;
use std::time::Duration;

/// Number of base62 characters behind `<prefix>_`: 37 random digits and 6 check digits.
pub const KEY_DIGITS: usize = 43;
/// How many of them are random.
pub const KEY_RANDOM_DIGITS: usize = 37;

/// A fixed window: `requests` pass in each `window`, counted from the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// How many requests pass in one window. At least 1.
    pub requests: u32,
    /// How long a window lasts. At least one second.
    pub window: Duration,
}

/// One scope of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `admin`: the administration API, if the owner is an administrator.
    Admin,
    /// `x:<anything>`: for the criterion `scopes`.
    Custom(Arc<str>),
    /// `keys`: the owner's own keys.
    Keys,
    /// `route:<name>[:<METHOD>,…]`; an empty list of methods means all.
    Route {
        /// The route's name.
        name: Arc<str>,
        /// Upper-case methods; GET includes HEAD.
        methods: Arc<[Arc<str>]>,
    },
    /// `route:*`
    Routes,
}

/// A text that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no scope: use `route:<name>`, `route:<name>:GET,POST`, `route:*`, `keys`, `admin` or `x:<anything>`"
)]
pub struct InvalidScope(pub String);

/// All scopes of a credential. Without any, the owner's whole rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(Arc<[Scope]>);

impl Scope {
    /// Reads one scope.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let invalid = || InvalidScope(text.chars().take(200).collect());
        if text.len() > 200 || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(invalid());
        }
        match text {
            "admin" => return Ok(Self::Admin),
            "keys" => return Ok(Self::Keys),
            "route:*" => return Ok(Self::Routes),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("x:") {
            return if rest.is_empty() {
                Err(invalid())
            } else {
                Ok(Self::Custom(Arc::from(text)))
            };
        }
        let rest = text.strip_prefix("route:").ok_or_else(invalid)?;
        let (name, methods) = match rest.split_once(':') {
            None => (rest, Vec::new()),
            Some((name, methods)) => (name, methods.split(',').map(Arc::from).collect()),
        };
        let method_ok = |m: &Arc<str>| !m.is_empty() && m.bytes().all(|b| b.is_ascii_uppercase());
        if name.is_empty() || !methods.iter().all(method_ok) {
            return Err(invalid());
        }
        Ok(Self::Route { name: Arc::from(name), methods: methods.into() })
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        match self {
            Self::Admin => "admin".to_owned(),
            Self::Custom(text) => text.to_string(),
            Self::Keys => "keys".to_owned(),
            Self::Routes => "route:*".to_owned(),
            Self::Route { name, methods } if methods.is_empty() => format!("route:{name}"),
            Self::Route { name, methods } => format!("route:{name}:{}", methods.join(",")),
        }
    }

    /// Whether every right of `other` is a right of this scope too.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Routes, Self::Routes | Self::Route { .. }) => true,
            (Self::Route { name: a, methods: mine }, Self::Route { name: b, methods: theirs }) => {
                a == b
                    && (mine.is_empty()
                        || (!theirs.is_empty() && theirs.iter().all(|m| allows_method(mine, m))))
            }
            (a, b) => a == b,
        }
    }
}

fn allows_method(methods: &[Arc<str>], method: &str) -> bool {
    methods.iter().any(|m| &**m == method || (&**m == "GET" && method == "HEAD"))
}

impl Scopes {
    /// No narrowing: the owner's whole rights.
    pub fn all() -> Self {
        Self(Arc::new([]))
    }

    /// From a list; an empty list is [`Scopes::all`].
    pub fn new(list: Vec<Scope>) -> Self {
        Self(list.into())
    }

    /// Reads a list of texts. Fails on the first that is no scope.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidScope> {
        texts.into_iter().map(Scope::parse).collect::<Result<Vec<_>, _>>().map(Self::new)
    }

    /// The text forms, in order.
    pub fn to_texts(&self) -> Vec<String> {
        self.0.iter().map(Scope::to_text).collect()
    }

    /// Whether nothing is narrowed.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the route may be used with the method.
    pub fn allow_route(&self, route: &str, method: &str) -> bool {
        self.is_all()
            || self.0.iter().any(|scope| match scope {
                Scope::Routes => true,
                Scope::Route { name, methods } => {
                    &**name == route && (methods.is_empty() || allows_method(methods, method))
                }
                _ => false,
            })
    }

    /// Whether any route is named, or all of them are meant.
    pub fn name_routes(&self) -> bool {
        self.is_all() || self.0.iter().any(|s| matches!(s, Scope::Route { .. } | Scope::Routes))
    }

    /// Whether the owner's own keys may be managed.
    pub fn allow_keys(&self) -> bool {
        self.is_all() || self.0.contains(&Scope::Keys)
    }

    /// Whether the administration may be used (the owner must be an administrator besides).
    pub fn allow_admin(&self) -> bool {
        self.is_all() || self.0.contains(&Scope::Admin)
    }

    /// Whether the text of a scope stands in the list, for the criterion `scopes`.
    pub fn names(&self, text: &str) -> bool {
        self.0.iter().any(|scope| match scope {
            Scope::Custom(own) => **own == *text,
            other => other.to_text() == text,
        })
    }

    /// Whether every right of `other` is a right of these scopes too.
    pub fn cover(&self, other: &Self) -> bool {
        self.is_all()
            || (!other.is_all() && other.0.iter().all(|o| self.0.iter().any(|s| s.covers(o))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(texts: &[&str]) -> Scopes {
        Scopes::parse(texts.iter().copied()).unwrap()
    }

    #[test]
    fn a_route_scope_holds_for_its_methods_and_get_includes_head() {
        let scopes = scopes(&["route:files:GET"]);
        assert!(scopes.allow_route("files", "GET") && scopes.allow_route("files", "HEAD"));
        assert!(!scopes.allow_route("files", "POST") && !scopes.allow_route("other", "GET"));
        assert!(!scopes.allow_keys() && !scopes.allow_admin());
    }

    #[test]
    fn a_key_covers_only_what_lies_within_its_own_scopes() {
        let own = scopes(&["route:files:GET,POST", "keys"]);
        assert!(own.cover(&scopes(&["route:files:GET"])));
        assert!(!own.cover(&scopes(&["route:files"])));
        assert!(!own.cover(&Scopes::all()));
        assert!(!own.cover(&scopes(&["admin"])));
        assert!(Scopes::all().cover(&scopes(&["admin"])));
    }

    #[test]
    fn texts_come_back_as_they_were() {
        let texts = [
            "admin",
            "keys",
            "route:*",
            "route:a",
            "route:a:GET,POST",
            "x:y z".trim_end_matches(" z"),
        ];
        assert_eq!(scopes(&texts).to_texts(), texts);
        for bad in ["", "route:", "route:a:", "route:a:get", "x:", "write", "x:a b"] {
            assert!(Scope::parse(bad).is_err(), "{bad:?}");
        }
    }
}
