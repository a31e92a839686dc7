//! The one registry of keys: name, form, default, meaning, example. The check of files, the JSON Schema,
//! the suggestions, the reference file and the reading of `VESTIBULE_SECTION__KEY` all come from it.
//!
//! Not here: what several keys mean together. That is [`crate::resolve`].

pub(crate) mod auth;
pub(crate) mod credential;
pub(crate) mod edge;
pub(crate) mod route;
pub(crate) mod suggest;

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What it is where nobody says anything, as TOML. Without one the key is absent, or
    /// `resolve` knows better (the text of `doc` says how).
    pub(crate) default: Option<&'static str>,
    /// One or two sentences.
    pub(crate) doc: &'static str,
    /// A value for the reference file, as TOML; the default where there is none.
    pub(crate) example: Option<&'static str>,
    /// Its table must have it.
    pub(crate) required: bool,
    /// Never shown.
    pub(crate) secret: bool,
    /// A table that stays absent, with its defaults, unless somebody writes it.
    pub(crate) optional: bool,
    /// Known in form, but not built: asking for it is refused.
    pub(crate) later: bool,
}

/// What a value looks like.
#[derive(Debug)]
pub(crate) enum Kind {
    /// An access rule: a word, a table, a list of tables.
    Access,
    Bool,
    /// Longer than nothing, with a unit.
    Duration,
    /// A whole number between two bounds.
    Int(i64, i64),
    List(&'static Kind),
    /// Names of one's own, each with such a value.
    Map(&'static Kind),
    /// One value or a list.
    OneOrMany(&'static Kind),
    /// Any keys of a route, none required.
    PartialRoute,
    /// A path of a file or folder.
    Path,
    /// Bytes.
    Size,
    Table(&'static [Key]),
    Tables(&'static [Key]),
    /// A text of a certain form.
    Text(&'static Form),
    /// `false`, `true`, a hop count or a list of networks.
    TrustedProxies,
    /// One of these.
    Word(&'static [&'static str]),
}

/// The form of a text.
pub(crate) struct Form {
    /// "an origin", "a host".
    pub(crate) what: &'static str,
    pub(crate) check: fn(&str) -> Result<(), String>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.what)
    }
}

impl Key {
    pub(crate) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            doc,
            example: None,
            required: false,
            secret: false,
            optional: false,
            later: false,
        }
    }

    pub(crate) const fn default(mut self, toml: &'static str) -> Self {
        self.default = Some(toml);
        self
    }

    pub(crate) const fn example(mut self, toml: &'static str) -> Self {
        self.example = Some(toml);
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub(crate) const fn later(mut self) -> Self {
        self.later = true;
        self
    }
}

macro_rules! forms {
    ($($name:ident = $what:literal, $check:ident;)*) => {
        $(pub(crate) static $name: Form = Form { what: $what, check: crate::form::$check };)*
    };
}

forms! {
    ANY = "a text", check_any;
    API_PREFIX = "a path prefix", check_api_prefix;
    BOOTSTRAP = "a provider and a subject or username", check_bootstrap;
    CREDENTIAL = "a kind of credential", check_credential;
    DOMAIN = "a domain", check_domain;
    EMAIL = "an e-mail address", check_email;
    GROUP = "a group name", check_group;
    HEADER_NAME = "a header name", check_header_name;
    HEADER_VALUE = "a header value", check_header_value;
    HEX_KEY = "64 hex digits", check_hex_key;
    HOST = "a host", check_host;
    KEY_PREFIX = "a key prefix", check_key_prefix;
    METHOD = "an HTTP method", check_method;
    NAME = "a name", check_name;
    NETWORK = "a network", check_network;
    ORIGIN = "an origin", check_origin;
    PATTERN = "a path pattern", check_pattern;
    PREFIX = "a path", check_path;
    REDIS_URL = "a Redis URL", check_redis_url;
    SOCKET = "an address and port", check_socket;
    SOCKET_OR_OFF = "an address and port", check_socket_or_off;
    STORE_URL = "the URL of a store", check_store_url;
    UPSTREAM = "the URL of an app", check_upstream;
    URL = "a URL", check_url;
}

/// Any text.
pub(crate) static TEXT: Kind = Kind::Text(&ANY);
/// A list of texts.
pub(crate) const TEXTS: Kind = Kind::List(&TEXT);

/// Every section of the file.
pub(crate) static ROOT: &[Key] = &[
    Key::new("include", Kind::List(&TEXT), "Further files, relative to this one; `*` stands for any run of characters of one name. Their lists of tables are added, their tables merged; one key in two files is an error.")
        .example("[\"routes.d/*.toml\"]"),
    Key::new("server", Kind::Table(edge::SERVER), "The process as a whole."),
    Key::new("listener", Kind::Tables(edge::LISTENER), "Where to listen. Without any: one plain `proxy` listener on 127.0.0.1:8080, or on the port of a loopback http `portal_url`."),
    Key::new("tls", Kind::Table(edge::TLS), "TLS towards clients."),
    Key::new("secrets", Kind::Table(credential::SECRETS), "Keys, one for each purpose. Each takes one value or a list: the first signs or seals, the others still verify or open."),
    Key::new("store", Kind::Table(credential::STORE), "Where accounts, sessions and keys are kept."),
    Key::new("auth", Kind::Table(auth::AUTH), "Who signs in, and how."),
    Key::new("api_keys", Kind::Table(credential::API_KEYS), "Keys for programs."),
    Key::new("smtp", Kind::Table(credential::SMTP), "Mail."),
    Key::new("provider", Kind::Tables(credential::PROVIDER), "Outside sign-in, any number. Variables of the environment describe providers too."),
    Key::new("jwt_issuer", Kind::Tables(credential::JWT_ISSUER), "Whose bearer tokens are taken besides ours, on routes whose `credentials` name `jwt:<name>`."),
    Key::new("identity_headers", Kind::Table(route::IDENTITY_HEADERS), "What apps are told about who is there."),
    Key::new("telemetry", Kind::Table(edge::TELEMETRY), "What is seen from the operator's side."),
    Key::new("policy", Kind::Map(&Kind::Access), "Access rules with a name, to be used as `access = \"name\"`.")
        .example("{ staff = { groups = [\"staff\"], mfa = true } }"),
    Key::new("defaults", Kind::Table(DEFAULTS), "What holds for every route that does not say otherwise."),
    Key::new("template", Kind::Map(&Kind::PartialRoute), "Route keys under a name, for routes with `template = \"name\"`: tables are merged at every depth, lists replaced.")
        .example("{ node-app = { preserve_host = true } }"),
    Key::new("route", Kind::Tables(route::ROUTE), "An app: host and path, where it is, who may pass."),
    Key::new("test", Kind::Tables(route::TEST), "What must hold, run before every reload.").later(),
];

static DEFAULTS: &[Key] = &[Key::new(
    "route",
    Kind::PartialRoute,
    "Any key of a route. A route's template comes between these and the route itself.",
)
.example("{ timeouts = { response = \"60s\" } }")];

/// The key under a dotted path of plain tables.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    let mut keys: &'static [Key] = ROOT;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let key = keys.iter().find(|k| k.name == part)?;
        if parts.peek().is_none() {
            return Some(key);
        }
        keys = key.kind.keys()?;
    }
    None
}

impl Kind {
    /// The keys of a table, or of each table of a list.
    pub(crate) fn keys(&self) -> Option<&'static [Key]> {
        match self {
            Self::PartialRoute => Some(route::ROUTE),
            Self::Table(keys) | Self::Tables(keys) => Some(keys),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(keys: &'static [Key], path: &str, visit: &mut dyn FnMut(&str, &'static Key)) {
        for key in keys {
            let path =
                if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            visit(&path, key);
            if let Kind::Table(keys) | Kind::Tables(keys) = key.kind {
                walk(keys, &path, visit);
            }
        }
    }

    #[test]
    fn seed_000_01_the_registry_holds_what_the_contract_names() {
        let mut paths = Vec::new();
        walk(ROOT, "", &mut |path, _| paths.push(path.to_owned()));
        for path in [
            "server.portal_url",
            "server.trusted_proxies",
            "listener.door",
            "tls.certificate.key",
            "tls.acme.directory",
            "secrets.store_key",
            "store.backup.keep",
            "auth.first_user",
            "auth.password.require",
            "auth.passkeys.enabled",
            "auth.session.cookie_domain",
            "auth.rate_limit.window",
            "api_keys.accept",
            "smtp.secure",
            "provider.mfa_from",
            "jwt_issuer.algorithms",
            "telemetry.access_log.format",
            "route.rule.access",
            "route.upstream_tls.insecure_skip_verify",
            "route.identity_headers.preset",
            "test.expect",
        ] {
            assert!(paths.iter().any(|p| p == path), "{path}");
        }
    }

    #[test]
    fn every_key_is_explained_and_every_default_and_example_is_toml_of_its_form() {
        walk(ROOT, "", &mut |path, key| {
            assert!(key.doc.ends_with('.'), "{path}: the explanation is a sentence");
            for text in [key.default, key.example].into_iter().flatten() {
                let text = format!("value = {text}");
                let table = crate::source::fragment(&text, &crate::tree::Origin::Default)
                    .unwrap_or_else(|| panic!("{path}: {text}"));
                let mut problems = crate::diagnostic::Problems::default();
                let mut node = table.get("value").unwrap().clone();
                if node.as_str().is_some_and(|t| t.starts_with("env:") || t.starts_with("file:")) {
                    continue;
                }
                let mut broken = Default::default();
                crate::raw::Checker { problems: &mut problems, broken: &mut broken }
                    .value(&mut node, &key.kind, path, path);
                assert!(problems.0.is_empty(), "{path}: {:?}", problems.0);
            }
        });
    }

    #[test]
    fn no_two_keys_of_a_table_share_a_name() {
        let mut seen = std::collections::BTreeSet::new();
        walk(ROOT, "", &mut |path, _| assert!(seen.insert(path.to_owned()), "{path}"));
    }
}
