//! Sets of variables that describe a provider: `OAUTH_<P>_*`, `OIDC_<ID>_*`, `AUTH_GOOGLE_*`, `AUTH_GITHUB_*`.
//! Each becomes keys of `[[provider]]` and is joined by its id with what the file says; the variables win.
//!
//! An incomplete set never stops the start; it leaves the provider off and says which variable is missing.

use std::collections::BTreeSet;

use super::{Variables, tree_origin, via_file};
use crate::diagnostic::{Diagnostic, Problems};
use crate::form;
use crate::keys::credential::PROVIDER;
use crate::keys::{Key, Kind};
use crate::raw::Checker;
use crate::tree::{Node, Origin, Table, Value};

/// One set of variables.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) id: String,
    /// The beginning of its variables, such as `OAUTH_POCKET_ID`.
    pub(crate) family: String,
    shape: Shape,
    /// Keys of `[[provider]]`.
    pub(crate) table: Table,
    /// Off until `ENABLE_OAUTH_SIGNIN` says otherwise.
    waits: bool,
}

/// What a set is about, which decides what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// `OAUTH_<P>_BASE_URL` and `_SLUG`.
    Authentik,
    /// `OAUTH_<P>_DISCOVERY_URL`.
    Discovery,
    /// `OAUTH_GITHUB_*`.
    Github,
    /// `OIDC_<ID>_*`.
    Oidc,
    /// `AUTH_GOOGLE_*`, `AUTH_GITHUB_*`.
    Pair(&'static str),
}

/// A provider that the environment says something about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EnvironmentProvider {
    pub(crate) id: String,
    pub(crate) callback: Callback,
    /// Variables that it needs and has not: it is not among the providers then.
    pub(crate) missing: Vec<String>,
}

/// Which callback is sent where `redirect_uri` says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callback {
    /// The profile's.
    Default,
    /// `{AUTH_BASE_URL}{API_PREFIX}/v1/auth/callback/<id>`
    Base,
    /// `{portal}/api/auth/oidc/<id>/callback`
    Oidc,
}

/// Ending of a variable, and its key.
type Settings = &'static [(&'static str, &'static str)];

const OAUTH: Settings = &[
    ("CLIENT_ID", "client_id"),
    ("CLIENT_SECRET", "client_secret"),
    ("DISCOVERY_URL", "discovery_url"),
    ("BASE_URL", "base_url"),
    ("SLUG", "slug"),
    ("ENABLED", "enabled"),
    ("PRETTY_NAME", "label"),
    ("PKCE", "pkce"),
    ("SCOPES", "scopes"),
];
const OIDC: Settings = &[
    ("ISSUER", "issuer"),
    ("CLIENT_ID", "client_id"),
    ("CLIENT_SECRET", "client_secret"),
    ("REDIRECT_URI", "redirect_uri"),
    ("LABEL", "label"),
    ("SCOPE", "scopes"),
    ("SUBJECT_CLAIM", "claims.subject"),
    ("USERNAME_CLAIM", "claims.username"),
    ("EMAIL_CLAIM", "claims.email"),
];
const PAIR: Settings = &[
    ("CLIENT_ID", "client_id"),
    ("CLIENT_SECRET", "client_secret"),
    ("REDIRECT_URI", "redirect_uri"),
    ("ALLOWED_DOMAINS", "allowed_domains"),
];

/// The families with names of one's own, for the reference file.
pub(crate) fn documented() -> impl Iterator<Item = (String, &'static str)> {
    let of = |start: &'static str, settings: Settings| {
        settings.iter().map(move |(ending, key)| (format!("{start}_{ending}"), *key))
    };
    of("OAUTH_<PROVIDER>", OAUTH).chain(of("OIDC_<ID>", OIDC))
}

/// Whether a name is a setting of some provider.
pub(crate) fn is_of_a_family(name: &str) -> bool {
    split(name, "OAUTH_", OAUTH).is_some()
        || split(name, "OIDC_", OIDC).is_some()
        || ["AUTH_GOOGLE_", "AUTH_GITHUB_"].iter().any(|family| {
            name.strip_prefix(family).is_some_and(|rest| PAIR.iter().any(|(s, _)| *s == rest))
        })
}

/// Gathers every set, and reports what is misspelt or of a wrong form.
pub(crate) fn gather(
    variables: &mut Variables<'_>,
    problems: &mut Problems,
    broken: &mut BTreeSet<String>,
) -> Vec<Set> {
    let mut reader = Reader { variables, problems, broken };
    let mut found = reader.oauth();
    found.extend(reader.oidc());
    found.extend(reader.pair("google", "AUTH_GOOGLE"));
    found.extend(reader.pair("github", "AUTH_GITHUB"));
    found
}

struct Reader<'r, 'v> {
    variables: &'r mut Variables<'v>,
    problems: &'r mut Problems,
    broken: &'r mut BTreeSet<String>,
}

impl Reader<'_, '_> {
    fn oauth(&mut self) -> Vec<Set> {
        let switch = self.switch();
        let mut groups: Vec<String> = Vec::new();
        let environment = self.variables.environment;
        for name in environment.keys().filter(|n| n.starts_with("OAUTH_")) {
            match split(name, "OAUTH_", OAUTH) {
                Some((group, _)) if !groups.iter().any(|g| g == group) => {
                    groups.push(group.to_owned());
                }
                Some(_) => {}
                None => looks_like_ours(name, "OAUTH_", OAUTH, self.problems),
            }
        }
        groups.iter().filter_map(|group| self.oauth_set(group, switch)).collect()
    }

    fn oauth_set(&mut self, group: &str, switch: Option<bool>) -> Option<Set> {
        let id = group.to_ascii_lowercase().replace('_', "-");
        let family = format!("OAUTH_{group}");
        let mut table = self.settings(&family, OAUTH)?;
        let has = |key: &str| table.get(key).is_some();
        let shape = match group {
            _ if has("base_url") || has("slug") => Shape::Authentik,
            _ if has("discovery_url") => Shape::Discovery,
            "AUTHENTIK" => Shape::Authentik,
            "GITHUB" => Shape::Github,
            _ => Shape::Discovery,
        };
        let waits = switch.is_none() && shape != Shape::Authentik;
        if switch == Some(false) {
            let origin = tree_origin("ENABLE_OAUTH_SIGNIN");
            table.set("enabled", Node::new(Value::Bool(false), origin));
        }
        Some(Set { id, family, shape, table, waits })
    }

    /// `ENABLE_OAUTH_SIGNIN`: on, off, or not said.
    fn switch(&mut self) -> Option<bool> {
        let name = "ENABLE_OAUTH_SIGNIN";
        let text = match self.variables.value(name) {
            Ok(text) => text?,
            Err(problem) => {
                self.problems.add(problem);
                return None;
            }
        };
        form::boolean(&text)
            .map_err(|why| {
                self.problems.add(Diagnostic::error("bad-value", format!("`{name}`: {why}")))
            })
            .ok()
    }

    fn oidc(&mut self) -> Vec<Set> {
        let listed = match self.variables.value("OIDC_PROVIDERS") {
            Ok(text) => text.unwrap_or_default(),
            Err(problem) => {
                self.problems.add(problem);
                String::new()
            }
        };
        let mut found: Vec<Set> = Vec::new();
        for id in form::list(&listed) {
            let id = id.to_ascii_lowercase();
            if found.iter().any(|set| set.id == id) {
                continue;
            }
            let family = format!("OIDC_{}", id.to_ascii_uppercase().replace(['-', '.'], "_"));
            let table = self.settings(&family, OIDC).unwrap_or_default();
            found.push(Set { id, family, shape: Shape::Oidc, table, waits: false });
        }
        self.report_unlisted(&found);
        found
    }

    /// One notice for each id whose variables are there, but which no list names.
    fn report_unlisted(&mut self, found: &[Set]) {
        let mut told: Vec<&str> = Vec::new();
        let environment = self.variables.environment;
        let names = environment.keys().filter(|n| n.starts_with("OIDC_") && *n != "OIDC_PROVIDERS");
        for name in names {
            let Some((group, _)) = split(name, "OIDC_", OIDC) else {
                looks_like_ours(name, "OIDC_", OIDC, self.problems);
                continue;
            };
            let is_listed = found.iter().any(|s| s.family.strip_prefix("OIDC_") == Some(group));
            if is_listed || told.contains(&group) {
                continue;
            }
            told.push(group);
            let id = group.to_ascii_lowercase().replace('_', "-");
            self.problems.add(Diagnostic::notice(
                "provider-off",
                format!(
                    "the variables `OIDC_{group}_*` are ignored: OIDC_PROVIDERS does not list `{id}`"
                ),
            ));
        }
    }

    /// `kind` is the id, too.
    fn pair(&mut self, kind: &'static str, family: &str) -> Option<Set> {
        let table = self.settings(family, PAIR)?;
        let (id, family) = (kind.to_owned(), family.to_owned());
        Some(Set { id, family, shape: Shape::Pair(kind), table, waits: false })
    }

    /// The keys that a family sets; none: `None`.
    fn settings(&mut self, family: &str, settings: Settings) -> Option<Table> {
        let mut table = Table::default();
        let mut is_set = false;
        for (ending, path) in settings {
            let name = format!("{family}_{ending}");
            let text = match self.variables.value(&name) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                Err(problem) => {
                    self.problems.add(problem);
                    self.broken.insert(format!("provider.{path}"));
                    continue;
                }
            };
            is_set = true;
            if let Some(node) = self.node(&name, path, text) {
                table.set_at(path, node);
            }
        }
        is_set.then_some(table)
    }

    fn node(&mut self, name: &str, path: &str, text: String) -> Option<Node> {
        let key = key(path)?;
        let mut node = Node::text(text, tree_origin(name));
        node.via = via_file(self.variables.environment, name);
        let full = format!("provider.{path}");
        let mut checker = Checker { problems: self.problems, broken: self.broken };
        let names_nothing = matches!(key.kind, Kind::List(_))
            && node.as_str().is_some_and(|text| form::list(text).is_empty());
        if names_nothing {
            // An empty list of domains would be any domain.
            let message = format!("`{name}` is set, but names nothing");
            self.problems.add(Diagnostic::error("bad-value", message).help("unset it"));
        } else if checker.value(&mut node, &key.kind, &full, name) {
            return Some(node);
        }
        self.broken.insert(full);
        None
    }
}

/// Lays every set over the provider of its id, of which there is one more where the file has none.
/// An incomplete one is taken out of the tree.
pub(crate) fn join(
    root: &mut Table,
    sets: Vec<Set>,
    problems: &mut Problems,
) -> Vec<EnvironmentProvider> {
    let ids_of_file = |is_whole: bool| -> Vec<String> {
        let tables = root.tables("provider").into_iter().map(|(_, table)| table);
        tables
            .filter(|table| !is_whole || table.get("client_id").is_some())
            .map(|table| table.str("id").to_owned())
            .collect()
    };
    let (in_file, whole) = (ids_of_file(false), ids_of_file(true));
    let (waiting, mut sets): (Vec<Set>, Vec<Set>) = sets.into_iter().partition(|set| set.waits);
    for set in waiting {
        // The switch is about providers that variables alone make.
        if in_file.contains(&set.id) {
            sets.push(set);
            continue;
        }
        problems.add(Diagnostic::notice(
            "provider-off",
            format!("the variables `{}_*` are ignored until ENABLE_OAUTH_SIGNIN=true", set.family),
        ));
    }
    let mut ids: Vec<&str> = Vec::new();
    for set in &sets {
        if !ids.contains(&set.id.as_str()) {
            ids.push(&set.id);
        }
        lay(root, set, problems);
    }
    let mut joined = Vec::new();
    for id in ids {
        let of_id: Vec<&Set> = sets.iter().filter(|set| set.id == id).collect();
        let Some(table) = provider(root, id) else { continue };
        let is_off = matches!(table.get("enabled").map(|n| &n.value), Some(Value::Bool(false)));
        // What the file could do without its variables, it can with them.
        let missing: Vec<String> = match whole.iter().any(|known| known == id) {
            true => Vec::new(),
            false => of_id.iter().flat_map(|set| set.lacking(table)).collect(),
        };
        let is_complete = missing.is_empty();
        if !is_complete {
            take_out(root, id);
        }
        if is_complete || !is_off {
            let callback = callback(&of_id);
            joined.push(EnvironmentProvider { id: id.to_owned(), callback, missing });
        }
    }
    joined
}

fn callback(sets: &[&Set]) -> Callback {
    let any = |wanted: fn(&Shape) -> bool| sets.iter().any(|set| wanted(&set.shape));
    if any(|shape| *shape == Shape::Oidc) {
        Callback::Oidc
    } else if any(|shape| matches!(shape, Shape::Pair(_))) {
        Callback::Base
    } else {
        Callback::Default
    }
}

impl Set {
    /// What made it, for an origin.
    fn origin(&self) -> Origin {
        match (self.shape, self.table.entries.first()) {
            (Shape::Oidc, _) | (_, None) => tree_origin("OIDC_PROVIDERS"),
            (_, Some(first)) => first.key_origin.clone(),
        }
    }

    /// The kind, and whether it holds over what the file says: it does where the variables also
    /// say where the provider is.
    fn kind(&self) -> (&'static str, bool) {
        let has = |key: &str| self.table.get(key).is_some();
        match self.shape {
            Shape::Authentik => ("authentik", has("base_url") || has("slug")),
            Shape::Discovery => ("oidc", has("discovery_url")),
            Shape::Github => ("github", false),
            Shape::Oidc => ("oidc", has("issuer")),
            Shape::Pair(kind) => (kind, false),
        }
    }

    /// The variables that are needed besides.
    fn lacking(&self, joined: &Table) -> Vec<String> {
        let has = |key: &str| joined.get(key).is_some_and(|n| n.as_str() != Some(""));
        let is_placed = ["issuer", "discovery_url", "base_url"].into_iter().any(has)
            || matches!(joined.str("kind"), "google" | "github");
        let needed: &[(&str, bool)] = match self.shape {
            Shape::Authentik => &[
                ("BASE_URL", has("base_url")),
                ("SLUG", has("slug")),
                ("CLIENT_ID", has("client_id")),
                ("CLIENT_SECRET", has("client_secret")),
            ],
            Shape::Discovery => &[
                ("CLIENT_ID", has("client_id")),
                ("CLIENT_SECRET", has("client_secret")),
                ("DISCOVERY_URL", is_placed),
            ],
            Shape::Github | Shape::Pair(_) => {
                &[("CLIENT_ID", has("client_id")), ("CLIENT_SECRET", has("client_secret"))]
            }
            Shape::Oidc => &[
                ("ISSUER", is_placed),
                ("CLIENT_ID", has("client_id")),
                ("REDIRECT_URI", has("redirect_uri")),
            ],
        };
        let missing = needed.iter().filter(|(_, is_there)| !is_there);
        missing.map(|(ending, _)| format!("{}_{ending}", self.family)).collect()
    }
}

fn lay(root: &mut Table, set: &Set, problems: &mut Problems) {
    if !matches!(root.get("provider").map(|n| &n.value), Some(Value::List(_))) {
        root.set("provider", Node::new(Value::List(Vec::new()), set.origin()));
    }
    let Some(Value::List(items)) = root.get_mut("provider").map(|n| &mut n.value) else { return };
    let at = items.iter().position(|i| i.as_table().is_some_and(|t| t.str("id") == set.id));
    let at = at.unwrap_or_else(|| {
        let mut table = Table::default();
        table.set("id", Node::text(set.id.clone(), set.origin()));
        items.push(Node::new(Value::Table(table), set.origin()));
        items.len() - 1
    });
    let Some(Value::Table(under)) = items.get_mut(at).map(|n| &mut n.value) else { return };
    lay_kind(under, set);
    for entry in &set.table.entries {
        match &entry.node.value {
            Value::Table(inner) => {
                for inner in &inner.entries {
                    let path = format!("{}.{}", entry.key, inner.key);
                    lay_key(under, &path, &inner.node, &set.id, problems);
                }
            }
            _ => lay_key(under, &entry.key, &entry.node, &set.id, problems),
        }
    }
}

/// A kind of the environment gives way only to one that says more than `oidc`.
fn lay_kind(under: &mut Table, set: &Set) {
    let (kind, is_certain) = set.kind();
    let holds = match under.get("kind") {
        None => true,
        Some(node) if is_above(&node.origin) => false,
        Some(Node { origin: Origin::Env(_), .. }) => under.str("kind") == "oidc",
        Some(_) => is_certain,
    };
    if holds {
        under.set("kind", Node::text(kind, set.origin()));
    }
}

fn lay_key(under: &mut Table, path: &str, node: &Node, id: &str, problems: &mut Problems) {
    if let Some(there) = under.at(path) {
        if is_above(&there.origin) {
            return;
        }
        if let (Origin::Env(one), Origin::Env(other)) = (&there.origin, &node.origin)
            && there != node
            && path != "enabled"
        {
            let message = format!("`{one}` and `{other}` disagree");
            let help = format!("both describe the provider `{id}`: unset one of them");
            problems.add(Diagnostic::error("conflicting-variables", message).help(help));
        }
    }
    under.set_at(path, node.clone());
}

/// `VESTIBULE_PROVIDER__0__…` stands above the documented names.
fn is_above(origin: &Origin) -> bool {
    matches!(origin, Origin::Env(name) if name.starts_with("VESTIBULE_"))
}

fn provider<'a>(root: &'a Table, id: &str) -> Option<&'a Table> {
    root.tables("provider").into_iter().map(|(_, table)| table).find(|t| t.str("id") == id)
}

fn take_out(root: &mut Table, id: &str) {
    if let Some(Value::List(items)) = root.get_mut("provider").map(|n| &mut n.value) {
        items.retain(|item| item.as_table().is_none_or(|t| t.str("id") != id));
    }
}

/// The registry's key of a dotted path of `[[provider]]`.
fn key(path: &str) -> Option<&'static Key> {
    let (head, rest) = path.split_once('.').map_or((path, None), |(h, r)| (h, Some(r)));
    let key = PROVIDER.iter().find(|k| k.name == head)?;
    match rest {
        Some(rest) => key.kind.keys()?.iter().find(|k| k.name == rest),
        None => Some(key),
    }
}

/// The group and the setting of a name: the setting is the longest known ending.
fn split<'a>(name: &'a str, start: &str, known: Settings) -> Option<(&'a str, &'static str)> {
    let rest = name.strip_prefix(start)?;
    let rest = rest.strip_suffix("_FILE").unwrap_or(rest);
    let endings = known.iter().map(|(ending, _)| *ending);
    let setting = endings.filter(|s| rest.ends_with(*s)).max_by_key(|s| s.len())?;
    let group = rest.strip_suffix(setting)?.strip_suffix('_')?;
    (!group.is_empty()).then_some((group, setting))
}

/// One notice for a name that is nearly one of ours, such as `OAUTH_X_CLIENTID`.
fn looks_like_ours(name: &str, start: &str, known: Settings, problems: &mut Problems) {
    let squeezed = |text: &str| text.replace('_', "");
    let Some(rest) = name.strip_prefix(start) else { return };
    let near = known.iter().find(|(ending, _)| squeezed(rest).ends_with(&squeezed(ending)));
    if let Some((near, _)) = near {
        problems.add(Diagnostic::notice(
            "unknown-variable",
            format!("`{name}` is ignored: did you mean `{start}…_{near}`?"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;

    struct Read {
        /// Every provider's table that is complete.
        tables: Vec<Table>,
        joined: Vec<EnvironmentProvider>,
        said: Vec<String>,
    }

    fn beside(file: &str, pairs: &[(&str, &str)]) -> Read {
        let environment: Environment =
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let (mut problems, mut broken) = (Problems::default(), BTreeSet::new());
        let mut files = Default::default();
        let mut variables = Variables { environment: &environment, files: &mut files };
        let mut root = crate::source::fragment(file, &Origin::Default).unwrap();
        let sets = gather(&mut variables, &mut problems, &mut broken);
        let joined = join(&mut root, sets, &mut problems);
        let tables = root.tables("provider").into_iter().map(|(_, table)| table.clone()).collect();
        Read { tables, joined, said: problems.0.into_iter().map(|d| d.message).collect() }
    }

    fn read(pairs: &[(&str, &str)]) -> Read {
        beside("", pairs)
    }

    const POCKET_ID: [(&str, &str); 3] = [
        ("OAUTH_POCKET_ID_CLIENT_ID", "a"),
        ("OAUTH_POCKET_ID_CLIENT_SECRET", "b"),
        ("OAUTH_POCKET_ID_DISCOVERY_URL", "https://x/.well-known/openid-configuration"),
    ];

    #[test]
    fn seed_000_35_seed_000_48_the_id_is_lower_case_and_hyphenated() {
        let found = read(&[("OAUTH_MY_OWN_IDP_CLIENT_ID", "x"), ("ENABLE_OAUTH_SIGNIN", "true")]);
        assert_eq!(found.joined[0].id, "my-own-idp");
    }

    #[test]
    fn seed_000_32_seed_000_33_a_set_stays_off_without_the_switch() {
        let off = read(&POCKET_ID);
        assert!(off.tables.is_empty() && off.joined.is_empty());
        assert!(off.said[0].contains("ENABLE_OAUTH_SIGNIN"));
        let on = read(&[&POCKET_ID[..], &[("ENABLE_OAUTH_SIGNIN", "true")]].concat());
        assert_eq!((on.tables.len(), on.said.len()), (1, 0));
        let off = read(&[&POCKET_ID[..], &[("ENABLE_OAUTH_SIGNIN", "no")]].concat());
        assert!(!off.tables[0].bool("enabled") && off.tables[0].get("enabled").is_some());
    }

    #[test]
    fn seed_000_36_seed_000_37_seed_000_38_missing_variables_are_named() {
        let found = read(&[("OAUTH_X_PKCE", "true"), ("ENABLE_OAUTH_SIGNIN", "1")]);
        assert_eq!(
            found.joined[0].missing,
            ["OAUTH_X_CLIENT_ID", "OAUTH_X_CLIENT_SECRET", "OAUTH_X_DISCOVERY_URL"]
        );
        assert!(found.tables.is_empty());
    }

    #[test]
    fn seed_004_35_seed_004_46_authentik_is_on_by_itself_and_each_missing_one_is_named() {
        let four = ["BASE_URL", "SLUG", "CLIENT_ID", "CLIENT_SECRET"]
            .map(|s| format!("OAUTH_AUTHENTIK_{s}"));
        let all: Vec<(&str, &str)> = four.iter().map(|n| (n.as_str(), "https://x")).collect();
        assert_eq!(read(&all).tables[0].str("kind"), "authentik");
        for left_out in &four {
            let rest: Vec<_> = all.iter().filter(|(n, _)| n != left_out).copied().collect();
            assert_eq!(read(&rest).joined[0].missing, [left_out.as_str()], "{left_out}");
        }
        let pair = [all[2], all[3]];
        assert_eq!(read(&pair).joined[0].missing, [four[0].as_str(), four[1].as_str()]);
        let off = read(&[&all[..], &[("ENABLE_OAUTH_SIGNIN", "false")]].concat());
        assert!(off.tables[0].get("enabled").is_some() && !off.tables[0].bool("enabled"));
    }

    #[test]
    fn a_set_that_is_off_lacks_nothing() {
        let found = read(&[("OAUTH_X_CLIENT_ID", "x"), ("ENABLE_OAUTH_SIGNIN", "false")]);
        assert!(found.joined.is_empty() && found.tables.is_empty() && found.said.is_empty());
    }

    #[test]
    fn oauth_github_without_discovery_is_github_under_the_switch() {
        let pair = [("OAUTH_GITHUB_CLIENT_ID", "a"), ("OAUTH_GITHUB_CLIENT_SECRET", "b")];
        assert!(read(&pair).tables.is_empty());
        let on = read(&[&pair[..], &[("ENABLE_OAUTH_SIGNIN", "on")]].concat());
        assert_eq!(on.tables[0].str("kind"), "github");
    }

    #[test]
    fn seed_001_15_seed_001_16_listed_ids_are_read_in_order() {
        let found = read(&[
            ("OIDC_PROVIDERS", "plex,authelia;plex"),
            ("OIDC_AUTHELIA_ISSUER", "https://a"),
            ("OIDC_AUTHELIA_CLIENT_ID", "a"),
            ("OIDC_AUTHELIA_REDIRECT_URI", "https://p/cb"),
        ]);
        let ids: Vec<&str> = found.joined.iter().map(|p| p.id.as_str()).collect();
        assert_eq!(ids, ["plex", "authelia"]);
        assert_eq!(found.tables[0].str("issuer"), "https://a");
    }

    #[test]
    fn seed_001_17_seed_001_29_seed_001_30_seed_001_31_the_three_that_are_needed_are_named() {
        let found = read(&[("OIDC_PROVIDERS", "x")]);
        assert_eq!(
            found.joined[0].missing,
            ["OIDC_X_ISSUER", "OIDC_X_CLIENT_ID", "OIDC_X_REDIRECT_URI"]
        );
    }

    #[test]
    fn seed_001_18_variables_of_an_unlisted_id_draw_one_notice() {
        let found = read(&[("OIDC_Y_ISSUER", "https://y"), ("OIDC_Y_CLIENT_ID", "y")]);
        assert!(found.joined.is_empty() && found.tables.is_empty());
        assert_eq!(found.said.len(), 1);
    }

    #[test]
    fn seed_002_27_half_a_pair_names_the_other_half() {
        let found = read(&[("AUTH_GOOGLE_CLIENT_ID", "x")]);
        assert_eq!(found.joined[0].missing, ["AUTH_GOOGLE_CLIENT_SECRET"]);
        let found = read(&[("AUTH_GITHUB_CLIENT_SECRET", "x")]);
        assert_eq!(found.joined[0].missing, ["AUTH_GITHUB_CLIENT_ID"]);
    }

    #[test]
    fn two_families_that_disagree_about_one_id_are_refused_by_both_names() {
        let pairs = [
            ("AUTH_GOOGLE_CLIENT_ID", "a"),
            ("AUTH_GOOGLE_CLIENT_SECRET", "s"),
            ("OAUTH_GOOGLE_CLIENT_ID", "b"),
            ("OAUTH_GOOGLE_CLIENT_SECRET", "s"),
            ("OAUTH_GOOGLE_DISCOVERY_URL", "https://x"),
            ("ENABLE_OAUTH_SIGNIN", "true"),
        ];
        let said = read(&pairs).said;
        let both = |p: &&String| {
            p.contains("OAUTH_GOOGLE_CLIENT_ID") && p.contains("AUTH_GOOGLE_CLIENT_ID")
        };
        assert_eq!((said.len(), said.iter().filter(both).count()), (1, 1), "{said:?}");
        assert_eq!(read(&pairs).tables.len(), 1);
    }

    #[test]
    fn variables_win_over_the_file_key_by_key_and_complete_it() {
        let file = "provider = [{ id = 'google', issuer = 'http://127.0.0.1:9' }, { id = 'x', issuer = 'https://x', client_id = 'file', label = 'X' }]";
        let found = beside(
            file,
            &[
                ("AUTH_GOOGLE_CLIENT_ID", "a"),
                ("AUTH_GOOGLE_CLIENT_SECRET", "s"),
                ("OAUTH_X_PRETTY_NAME", "Y"),
            ],
        );
        let [google, x] = found.tables.as_slice() else { panic!("{:?}", found.tables) };
        assert_eq!((google.str("kind"), google.str("issuer")), ("google", "http://127.0.0.1:9"));
        assert_eq!((x.str("client_id"), x.str("label"), x.str("kind")), ("file", "Y", "oidc"));
        assert!(found.said.is_empty() && found.joined.iter().all(|p| p.missing.is_empty()));
        let half = beside(file, &[("AUTH_GOOGLE_CLIENT_ID", "a")]);
        assert_eq!(half.joined[0].missing, ["AUTH_GOOGLE_CLIENT_SECRET"]);
        assert_eq!(half.tables.len(), 1, "off, and the other one stays");
    }

    #[test]
    fn a_list_that_names_nothing_is_refused() {
        let found = read(&[
            ("AUTH_GOOGLE_CLIENT_ID", "a"),
            ("AUTH_GOOGLE_CLIENT_SECRET", "s"),
            ("AUTH_GOOGLE_ALLOWED_DOMAINS", " , "),
        ]);
        assert!(found.said[0].contains("AUTH_GOOGLE_ALLOWED_DOMAINS"), "{:?}", found.said);
    }

    #[test]
    fn a_misspelt_setting_draws_a_notice() {
        let said = read(&[("OAUTH_X_CLIENTID", "a")]).said;
        assert!(said[0].contains("CLIENT_ID"), "{said:?}");
    }

    #[test]
    fn every_setting_names_a_key() {
        for (_, path) in OAUTH.iter().chain(OIDC).chain(PAIR) {
            assert!(key(path).is_some(), "{path}");
        }
    }
}
