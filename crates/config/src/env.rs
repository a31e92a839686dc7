//! The environment: the one table of documented names, and how each is read. `VESTIBULE_SECTION__KEY`
//! needs no table, it follows the registry ([`overlay`]). Variables of providers are a family with names
//! of one's own and are gathered in [`providers`].
//!
//! A name that is not ours is never an error.

pub(crate) mod overlay;
pub(crate) mod providers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Environment;
use crate::diagnostic::{Diagnostic, Problems};
use crate::form;
use crate::keys;
use crate::raw::Checker;
use crate::source;
use crate::tree::{Node, Table, Value};

/// One documented variable.
#[derive(Debug)]
pub(crate) struct Documented {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) reading: Reading,
}

/// What becomes of a documented variable's value.
#[derive(Debug)]
pub(crate) enum Reading {
    /// The account of mode admin.
    AdminOfModeAdmin(&'static str),
    /// The first administrator outside mode admin.
    FirstAdmin(&'static str),
    /// The app's own business.
    Ignored,
    /// The value of a key.
    Key(&'static str),
    /// The opposite of a key.
    Not(&'static str),
    /// A URL whose origin is the portal's where the file names none.
    Origin,
    /// Gathered by [`providers`].
    Provider,
    /// The store, under one profile only.
    Store(&'static str),
}

use Reading::*;

/// Every variable that a document names.
pub(crate) static DOCUMENTED: &[Documented] = &[
    row("AUTH_SECRET", "signs session tokens", Key("secrets.auth_secret")),
    row("ENABLE_EMAIL_SIGNIN", "password sign-in on", Key("auth.password.enabled")),
    row("MIN_PASSWORD_LENGTH", "minimum length of a password", Key("auth.password.min_length")),
    row("SMTP_ENABLED", "mail on", Key("smtp.enabled")),
    row("SMTP_HOST", "mail server", Key("smtp.host")),
    row("SMTP_PORT", "its port", Key("smtp.port")),
    row("SMTP_USER", "its user", Key("smtp.user")),
    row("SMTP_PASSWORD", "its password", Key("smtp.password")),
    row("SMTP_FROM", "sender of mail", Key("smtp.from")),
    row("SMTP_SECURE", "true: implicit TLS, false: STARTTLS", Key("smtp.secure")),
    row("ENABLE_OAUTH_SIGNIN", "switch for OAUTH_* sets", Provider),
    row("ORIGIN", "public origin", Origin),
    row("ADMIN_EMAIL", "first administrator", FirstAdmin("auth.admin.email")),
    row("ADMIN_PASSWORD", "its password", FirstAdmin("auth.admin.password")),
    row("LOCAL_AUTH", "local accounts on", Key("auth.password.enabled")),
    row("OIDC_PROVIDERS", "ids of OIDC_* sets", Provider),
    row("BOOTSTRAP_ADMIN", "who becomes administrator", Key("auth.bootstrap_admin")),
    row("TRUSTED_PROXIES", "whose forwarding headers are believed", Key("server.trusted_proxies")),
    row("AUTH_BYPASS", "every request is the built-in administrator", Key("auth.bypass")),
    row(
        "ALLOW_INSECURE_AUTH_BYPASS",
        "permits bypass off loopback",
        Key("auth.allow_insecure_bypass"),
    ),
    row("AUTH_MODE", "none, admin, full", Key("auth.mode")),
    row("AUTH_BASE_URL", "base of callbacks; its origin is the portal's", Origin),
    row("API_PREFIX", "prefix of callbacks and of an alias of the API", Key("server.api_prefix")),
    row("AUTH_JWT_SECRET", "signs access tokens", Key("secrets.jwt_secret")),
    row("AUTH_ADMIN_EMAIL", "the account of mode admin", AdminOfModeAdmin("auth.admin.email")),
    row("AUTH_ADMIN_PASSWORD", "its password", AdminOfModeAdmin("auth.admin.password")),
    row("AUTH_JWT_ACCESS_TOKEN_LIFETIME", "seconds", Key("auth.token.access_lifetime")),
    row("AUTH_JWT_REFRESH_TOKEN_LIFETIME", "seconds", Key("auth.token.refresh_lifetime")),
    row("AUTH_DISABLE_PASSWORD", "password sign-in off", Not("auth.password.enabled")),
    row("AUTH_DISABLE_SIGNUP", "sign-up off", Not("auth.password.signup")),
    row("AUTH_GOOGLE_CLIENT_ID", "Google", Provider),
    row("AUTH_GOOGLE_CLIENT_SECRET", "Google", Provider),
    row("AUTH_GOOGLE_REDIRECT_URI", "Google, custom callback", Provider),
    row("AUTH_GOOGLE_ALLOWED_DOMAINS", "Google, domains of e-mail", Provider),
    row("AUTH_GITHUB_CLIENT_ID", "GitHub", Provider),
    row("AUTH_GITHUB_CLIENT_SECRET", "GitHub", Provider),
    row("AUTH_GITHUB_REDIRECT_URI", "GitHub, custom callback", Provider),
    row("DATABASE_URL", "the store", Store("everruns")),
    row("DB_PATH", "SQLite file", Store("openinary")),
    row("MODE", "a variable of the app", Ignored),
    row("VESTIBULE_PROFILE", "defaults of one document", Key("server.profile")),
];

const fn row(name: &'static str, meaning: &'static str, reading: Reading) -> Documented {
    Documented { name, meaning, reading }
}

/// Reads values by name, or from the file that `<NAME>_FILE` names.
pub(crate) struct Variables<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) files: &'a mut BTreeSet<PathBuf>,
}

impl Variables<'_> {
    /// The value; an empty one is none. Fails where both spellings are set or the file cannot be read.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>, Box<Diagnostic>> {
        let set = |name: &str| self.environment.get(name).filter(|v| !v.is_empty());
        let file_name = format!("{name}_FILE");
        let path = match (set(name), set(&file_name)) {
            (value, None) => return Ok(value.cloned()),
            (Some(_), Some(_)) => {
                let message = format!("both `{name}` and `{file_name}` are set");
                let help = format!("unset one of them: `{file_name}` reads the value from a file");
                return Err(Diagnostic::error("both-set", message).help(help).into());
            }
            (None, Some(path)) => PathBuf::from(path),
        };
        self.files.insert(path.clone());
        match source::read_text(&path) {
            Ok((text, _)) => {
                let text = text.trim_end_matches(['\r', '\n']);
                Ok((!text.is_empty()).then(|| text.to_owned()))
            }
            Err(why) => Err(Diagnostic::error(
                "unreadable-file",
                format!("cannot read `{}`, which `{file_name}` names: {why}", path.display()),
            )
            .into()),
        }
    }
}

/// `file:/path` where the value comes from the file that `<NAME>_FILE` names.
pub(crate) fn via_file(environment: &Environment, name: &str) -> Option<Arc<str>> {
    let path = environment.get(&format!("{name}_FILE")).filter(|path| !path.is_empty())?;
    Some(format!("file:{path}").into())
}

/// What of the rest the reading of documented variables depends on.
pub(crate) struct Around<'a> {
    pub(crate) profile: &'a str,
    /// The mode that files and profile say; a variable may say otherwise.
    pub(crate) file: &'a Table,
}

/// The documented variables as a tree to lay over the file.
pub(crate) fn documented(
    variables: &mut Variables<'_>,
    around: &Around<'_>,
    problems: &mut Problems,
    broken: &mut BTreeSet<String>,
) -> Table {
    let mut overlay = Table::default();
    let mut said: Vec<(&str, &str, Value)> = Vec::new();
    let mut first_admin = 0;
    for row in DOCUMENTED {
        let text = match variables.value(row.name) {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(problem) => {
                problems.add(problem);
                if let Key(path) | Not(path) | AdminOfModeAdmin(path) | FirstAdmin(path) =
                    row.reading
                {
                    broken.insert(path.to_owned());
                }
                continue;
            }
        };
        let origin = tree_origin(row.name);
        let mode = mode(variables.environment, around.file);
        let (path, invert) = match row.reading {
            Key(path) => (path, false),
            Not(path) => (path, true),
            AdminOfModeAdmin(path) if mode == "admin" => (path, false),
            FirstAdmin(path) if mode != "admin" => {
                first_admin += 1;
                (path, false)
            }
            AdminOfModeAdmin(_) | FirstAdmin(_) => {
                if mode != "none" {
                    problems.add(Diagnostic::notice(
                        "variable-ignored",
                        format!("`{}` is ignored in mode {mode}", row.name),
                    ));
                }
                continue;
            }
            Store(profile) if profile == around.profile => {
                let url = if row.name == "DB_PATH" { format!("sqlite://{text}") } else { text };
                overlay.set_at("store.url", Node::text(url, origin));
                continue;
            }
            Store(profile) => {
                problems.add(Diagnostic::notice(
                    "variable-ignored",
                    format!("`{}` is left to the app: it names our store under profile `{profile}` only", row.name),
                ));
                continue;
            }
            Ignored | Origin | Provider => continue,
        };
        let Some(key) = keys::find(path) else { continue };
        let via = via_file(variables.environment, row.name);
        if reads_itself(around.file, path, row.name) {
            continue;
        }
        let mut node = if invert {
            match form::boolean(&text) {
                Ok(value) => Node::new(Value::Bool(!value), origin),
                Err(_) => Node::text(text, origin),
            }
        } else {
            Node::text(text, origin)
        };
        node.via = via;
        if !(Checker { problems, broken }).value(&mut node, &key.kind, path, row.name) {
            broken.insert(path.to_owned());
            continue;
        }
        if let Some((_, other, _)) =
            said.iter().find(|(p, _, value)| *p == path && *value != node.value)
        {
            problems.add(
                Diagnostic::error(
                    "conflicting-variables",
                    format!("`{other}` and `{}` disagree", row.name),
                )
                .help(format!("both set `{path}`: unset one of them")),
            );
        }
        said.push((path, row.name, node.value.clone()));
        overlay.set_at(path, node);
    }
    if first_admin == 2 {
        overlay.set_at("auth.first_user", Node::text("account", tree_origin("ADMIN_EMAIL")));
    }
    overlay
}

/// A variable as an origin.
pub(crate) fn tree_origin(name: &str) -> crate::tree::Origin {
    crate::tree::Origin::Env(Arc::from(name))
}

/// Whether the file itself takes the key's value from that variable: then it is not laid over the
/// file a second time, where it would replace a list.
fn reads_itself(file: &Table, path: &str, name: &str) -> bool {
    let via = format!("env:{name}");
    file.at(path).is_some_and(|node| {
        node.items().iter().any(|item| item.via.as_deref() == Some(via.as_str()))
    })
}

fn mode<'a>(environment: &'a Environment, file: &'a Table) -> &'a str {
    let set = |name: &str| environment.get(name).map(String::as_str).filter(|v| !v.is_empty());
    set("VESTIBULE_AUTH__MODE")
        .or_else(|| set("AUTH_MODE"))
        .or_else(|| Some(file.str("auth.mode")).filter(|m| !m.is_empty()))
        .unwrap_or("full")
}

/// The profile that environment or file name.
pub(crate) fn profile(environment: &Environment, file: &Table) -> String {
    let set = |name: &str| environment.get(name).filter(|v| !v.is_empty());
    set("VESTIBULE_SERVER__PROFILE")
        .or_else(|| set("VESTIBULE_PROFILE"))
        .cloned()
        .unwrap_or_else(|| file.str("server.profile").to_owned())
}

/// The environment without the names that `VESTIBULE_IGNORE_ENV` shuts out.
pub(crate) fn without_ignored(environment: &Environment) -> Environment {
    let patterns = environment.get("VESTIBULE_IGNORE_ENV").map(String::as_str).unwrap_or_default();
    let patterns = form::list(patterns);
    let ignored = |name: &str| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
    };
    environment
        .iter()
        .filter(|(name, _)| !ignored(name))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

/// Whether anything of ours is set, so that a server can start without a file.
pub(crate) fn says_anything(environment: &Environment) -> bool {
    environment.iter().any(|(name, value)| {
        let base = name.strip_suffix("_FILE").unwrap_or(name);
        !value.is_empty()
            && (DOCUMENTED
                .iter()
                .any(|row| row.name == base && !matches!(row.reading, Ignored | Store(_)))
                || (name.starts_with("VESTIBULE_") && name.contains("__"))
                || providers::is_of_a_family(name))
    })
}

/// What `ORIGIN` and `AUTH_BASE_URL` say.
pub(crate) struct Base {
    /// The portal's origin.
    pub(crate) origin: Option<Node>,
    /// The path of `AUTH_BASE_URL` without final slash, which callbacks begin with.
    pub(crate) path: String,
    /// Whether `AUTH_BASE_URL` is set; else it is the profile's.
    pub(crate) is_said: bool,
}

/// Reads both. Reports two origins that differ, what is no URL, and a path that is cut off.
pub(crate) fn base(variables: &mut Variables<'_>, profile: &str, problems: &mut Problems) -> Base {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    let mut base_path = None;
    for name in ["ORIGIN", "AUTH_BASE_URL"] {
        let Ok(Some(text)) = variables.value(name) else { continue };
        let read = form::split_url(text.trim()).filter(|(_, path)| !path.contains(['?', '#']));
        let Some((origin, path)) = read else {
            problems.add(
                Diagnostic::error("bad-value", format!("`{name}` is `{text}`, which is no URL"))
                    .help(format!("write for example {name}=https://auth.example.com")),
            );
            continue;
        };
        if name == "AUTH_BASE_URL" {
            base_path = Some(path.trim_end_matches('/').to_owned());
        } else if !matches!(path, "" | "/") {
            problems.add(Diagnostic::notice(
                "path-cut-off",
                format!(
                    "the path `{path}` of `{name}` is no part of the portal's origin `{origin}`"
                ),
            ));
        }
        found.push((name, origin.to_string()));
    }
    if let [(_, first), (_, second)] = found.as_slice()
        && first != second
    {
        problems.add(
            Diagnostic::error(
                "conflicting-variables",
                format!("`ORIGIN` ({first}) and `AUTH_BASE_URL` ({second}) disagree"),
            )
            .help("both name the portal's origin: unset one of them, or write `server.portal_url`"),
        );
    }
    let of_profile = crate::profile::base_url(profile).and_then(form::split_url);
    let is_said = base_path.is_some();
    let path = base_path
        .or_else(|| of_profile.as_ref().map(|(_, path)| (*path).to_owned()))
        .unwrap_or_default();
    let said = found.into_iter().next().map(|(name, origin)| Node::text(origin, tree_origin(name)));
    let origin = said.or_else(|| {
        let (origin, _) = of_profile?;
        Some(Node::text(origin.to_string(), crate::tree::Origin::Profile("everruns")))
    });
    Base { origin, path, is_said }
}

/// The process environment. Names and values that are no UTF-8 are left out.
pub(crate) fn of_process() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Whether a path is where container engines put secrets: readable inside, and only there.
pub(crate) fn is_container_secret(path: &Path) -> bool {
    path.starts_with("/run/secrets") || path.starts_with("/var/run/secrets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_variable_of_a_key_names_a_key_that_exists() {
        for row in DOCUMENTED {
            if let Key(path) | Not(path) | AdminOfModeAdmin(path) | FirstAdmin(path) = row.reading {
                assert!(keys::find(path).is_some(), "{}: {path}", row.name);
            }
            assert!(!row.meaning.is_empty());
        }
    }

    #[test]
    fn names_can_be_shut_out() {
        let environment: Environment = [
            ("ORIGIN", "a"),
            ("ADMIN_EMAIL", "b"),
            ("ADMIN_PASSWORD", "c"),
            ("AUTH_MODE", "d"),
            ("VESTIBULE_IGNORE_ENV", "ORIGIN,ADMIN_*"),
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .into();
        let left = without_ignored(&environment);
        assert!(
            left.contains_key("AUTH_MODE")
                && !left.contains_key("ORIGIN")
                && !left.contains_key("ADMIN_EMAIL")
        );
    }
}
