//! Runs the verdict tables in `tests/verdicts/*.toml`: the access language by examples.
//!
//! Each table holds routes, people and requests with the expected verdict. A table is prose
//! first; this file only reads it. The notation of `access` here is the plain one of the
//! route file, read by a few lines of this test and not by `config`, whose own tests hold
//! that side.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where its own input is wrong"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Value;
use vestibule_core::account::{Role, Status};
use vestibule_core::api_key::Scopes;
use vestibule_core::assertion::Preset;
use vestibule_core::credential::CredentialKind;
use vestibule_core::facts::{Audience, Door, Facts, FetchSite, Scheme};
use vestibule_core::group::Group;
use vestibule_core::host::{Host, HostPattern};
use vestibule_core::id::AccountId;
use vestibule_core::identity::Identity;
use vestibule_core::path::{NormalPath, PathAllowances};
use vestibule_core::pattern::PathPattern;
use vestibule_core::policy::{Access, AccessTable, Rule, decide};
use vestibule_core::route::{HeaderEdits, Route, RouteTable, UpstreamTls};
use vestibule_core::time::UnixMillis;
use vestibule_core::verdict::{Reason, Trace, Verdict};

/// When everything in the tables happens.
const NOW: UnixMillis = UnixMillis::from_secs(1_800_000_000);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// What the table is about; never empty.
    about: String,
    route: Vec<RouteRow>,
    #[serde(default)]
    people: BTreeMap<String, Person>,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteRow {
    name: String,
    host: String,
    #[serde(default = "root")]
    path: String,
    access: Option<Value>,
    #[serde(default)]
    rule: Vec<RuleRow>,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    allow_in_path: Vec<String>,
    #[serde(default)]
    cors_preflight: bool,
    #[serde(default)]
    allowed_origins: Vec<String>,
    #[serde(default)]
    block_unsafe: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleRow {
    #[serde(default)]
    path: Vec<String>,
    #[serde(default)]
    method: Vec<String>,
    access: Value,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    email: Option<String>,
    credential: String,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    mfa: bool,
    #[serde(default)]
    signed_in_secs_ago: Option<i64>,
    #[serde(default)]
    claims: Vec<(String, String)>,
    #[serde(default)]
    must_change_password: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The claim. Unique within its table.
    name: String,
    /// `METHOD URL`.
    request: String,
    /// A name of `people`; absent: nobody is signed in.
    #[serde(rename = "as")]
    person: Option<String>,
    ip: Option<IpAddr>,
    origin: Option<String>,
    fetch_site: Option<String>,
    #[serde(default)]
    upgrade: bool,
    /// The method that a preflight asks about.
    preflight: Option<String>,
    /// `<verdict> <reason> [<code or step or sign-in>]`, `no-route`, or `bad-target`.
    expect: String,
    /// The number of the rule that decides; 0: the route's own access.
    rule: Option<usize>,
}

fn root() -> String {
    "/".to_owned()
}

fn texts(value: &Value) -> Vec<Arc<str>> {
    value.as_array().unwrap().iter().map(|text| Arc::from(text.as_str().unwrap())).collect()
}

fn access(value: &Value) -> Access {
    let word = |table: AccessTable| Access::AnyOf(vec![table]);
    match value {
        Value::String(text) => match text.as_str() {
            "public" => word(AccessTable { public: true, ..AccessTable::default() }),
            "signed-in" => word(AccessTable::default()),
            "mfa" => word(AccessTable { mfa: true, ..AccessTable::default() }),
            "api-key" => word(AccessTable {
                credentials: Some(vec![CredentialKind::ApiKey]),
                ..AccessTable::default()
            }),
            "admin" => {
                word(AccessTable { roles: Some(vec![Role::Admin]), ..AccessTable::default() })
            }
            "deny" => Access::Deny,
            other => panic!("no word of the access language: {other}"),
        },
        Value::Array(tables) => Access::AnyOf(tables.iter().map(access_table).collect()),
        table => Access::AnyOf(vec![access_table(table)]),
    }
}

fn access_table(value: &Value) -> AccessTable {
    let mut table = AccessTable::default();
    for (key, value) in value.as_table().unwrap() {
        match key.as_str() {
            "public" => table.public = value.as_bool().unwrap(),
            "users" => table.users = Some(texts(value)),
            "emails" => table.emails = Some(texts(value)),
            "email_domains" => table.email_domains = Some(texts(value)),
            "groups" => {
                table.groups = Some(texts(value).iter().map(|g| Group::new(g).unwrap()).collect());
            }
            "roles" => {
                table.roles = Some(texts(value).iter().map(|r| r.parse().unwrap()).collect())
            }
            "credentials" => {
                let kinds = texts(value);
                let kind = |word: &Arc<str>| CredentialKind::from_word(word).unwrap();
                table.credentials = Some(kinds.iter().map(kind).collect());
            }
            "mfa" => table.mfa = value.as_bool().unwrap(),
            "max_auth_age_secs" => {
                let secs = u64::try_from(value.as_integer().unwrap()).unwrap();
                table.max_auth_age = Some(Duration::from_secs(secs));
            }
            "networks" => {
                table.networks = Some(texts(value).iter().map(|n| n.parse().unwrap()).collect());
            }
            "scopes" => table.scopes = Some(texts(value)),
            "claims" => {
                let claims = value.as_table().unwrap();
                let claim = |(name, values)| (Arc::from(String::as_str(name)), texts(values));
                table.claims = Some(claims.iter().map(claim).collect());
            }
            other => panic!("no criterion: {other}"),
        }
    }
    table
}

fn route(row: &RouteRow) -> Route {
    let rule = |(index, row): (usize, &RuleRow)| Rule {
        number: index + 1,
        paths: row.path.iter().map(|path| PathPattern::parse(path).unwrap()).collect(),
        methods: row.method.iter().map(|method| Arc::from(method.as_str())).collect(),
        access: access(&row.access),
    };
    let allows = |word: &str| row.allow_in_path.iter().any(|own| own == word);
    Route {
        name: row.name.as_str().into(),
        origin: "table".into(),
        hosts: vec![HostPattern::parse(&row.host).unwrap()],
        path: row.path.as_str().into(),
        upstreams: Vec::new(),
        access: row.access.as_ref().map_or(Access::Deny, access),
        rules: row.rule.iter().enumerate().map(rule).collect(),
        ignore_case: row.ignore_case,
        allow_in_path: PathAllowances {
            double_slash: allows("double-slash"),
            encoded_slash: allows("encoded-slash"),
            semicolon: allows("semicolon"),
        },
        cors_preflight: row.cors_preflight,
        cors_origins: Vec::new(),
        allowed_origins: row.allowed_origins.iter().map(|o| Arc::from(o.as_str())).collect(),
        block_unsafe_cross_site: row.block_unsafe,
        portal: Vec::new(),
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(600),
        max_body: None,
        preserve_host: true,
        strip_prefix: "".into(),
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        upstream_tls: UpstreamTls::default(),
        preset: Preset::Remote,
        assertion: true,
        told_groups: vec!["*".into()],
        access_log: true,
        pass_bearer: false,
        provider_token: Default::default(),
    }
}

fn identity(name: &str, person: &Person) -> Identity {
    let credential = match person.credential.as_str() {
        "none" => CredentialKind::None,
        word => CredentialKind::from_word(word).unwrap(),
    };
    let foreign = matches!(credential, CredentialKind::Jwt(_));
    let auth_time = person.signed_in_secs_ago.map(|secs| UnixMillis::from_secs(NOW.secs() - secs));
    Identity {
        generation: 1,
        account: (!foreign)
            .then(|| AccountId("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap())),
        username: person.username.as_deref().unwrap_or(name).into(),
        email: person.email.as_deref().map(Arc::from),
        name: "".into(),
        role: person.role.as_deref().map_or(Role::User, |word| word.parse().unwrap()),
        status: person.status.as_deref().map_or(Status::Active, |word| word.parse().unwrap()),
        groups: person.groups.iter().map(|group| Group::new(group).unwrap()).collect(),
        credential,
        session: None,
        key: None,
        scopes: Scopes::parse(person.scopes.iter().map(String::as_str)).unwrap(),
        rate_limit: None,
        auth_time,
        amr: Arc::new([]),
        mfa: person.mfa,
        provider_tokens: None,
        claims: person
            .claims
            .iter()
            .map(|(name, value)| (Arc::from(name.as_str()), Arc::from(value.as_str())))
            .collect(),
        must_change_password: person.must_change_password,
        expires_at: UnixMillis(i64::MAX),
    }
}

/// The verdict in the notation of `expect`, the rule's number, and the reason.
fn run(table: &Table, routes: &RouteTable, case: &Case) -> (String, Option<usize>, Option<Reason>) {
    let answer = |text: &str| (text.to_owned(), None, None);
    let (method, url) = case.request.split_once(' ').unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let (authority, target) = rest.split_at(rest.find('/').unwrap());
    let (host, port) = Host::parse_authority(authority).unwrap();
    let path = target.split('?').next().unwrap();
    let Ok((path, needs)) = NormalPath::parse(path) else { return answer("bad-target") };
    let Some(route) = routes.find(&host, &path) else { return answer("no-route") };
    if needs.within(route.allow_in_path).is_err() {
        return answer("bad-target");
    }
    let facts = Facts {
        door: Door::Proxy,
        method,
        scheme,
        host: &host,
        port: port.unwrap_or(scheme.default_port()),
        path: &path,
        client_ip: case.ip.unwrap_or([203, 0, 113, 9].into()),
        network_ip: case.ip.unwrap_or([203, 0, 113, 9].into()),
        has_forwarding_header: false,
        audience: Audience::Program,
        fetch_site: FetchSite::from_header(case.fetch_site.as_deref()),
        origin: case.origin.as_deref(),
        upgrade: case.upgrade,
        preflight: case.preflight.is_some(),
        preflight_method: case.preflight.as_deref(),
    };
    let person = case.person.as_ref().map(|name| identity(name, &table.people[name]));
    let decision = decide(route, &facts, person.as_ref(), NOW, None);
    let mut trace = Trace::default();
    let traced = decide(route, &facts, person.as_ref(), NOW, Some(&mut trace));
    assert_eq!(decision, traced, "{}: a trace changes the decision", case.name);
    assert!(trace.steps.len() >= 2, "{}: {trace:?}", case.name);
    for step in &trace.steps {
        assert!(step.ends_with('.') && !step.contains('\n'), "{}: {step:?}", case.name);
    }
    let detail = match decision.verdict {
        Verdict::Allow(_) => String::new(),
        Verdict::Challenge { can_sign_in: true, .. } => " sign-in".to_owned(),
        Verdict::Challenge { can_sign_in: false, .. } => " no-sign-in".to_owned(),
        Verdict::StepUp { step, .. } => format!(" {}", step.as_str()),
        Verdict::Deny { code, .. } => format!(" {code}"),
    };
    let reason = decision.verdict.reason();
    (format!("{} {reason}{detail}", decision.verdict.as_str()), decision.rule, Some(reason))
}

/// Runs one table; returns the reasons that it showed.
fn hold(file: &str) -> BTreeSet<Reason> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts").join(file);
    let table: Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(!table.about.trim().is_empty(), "{file} says what it is about");
    let routes = RouteTable::new(table.route.iter().map(|row| Arc::new(route(row))).collect());
    let mut names = BTreeSet::new();
    let mut reasons = BTreeSet::new();
    let mut wrong = Vec::new();
    for case in &table.case {
        assert!(names.insert(&case.name), "{file}: `{}` stands twice", case.name);
        let (given, rule, reason) = run(&table, &routes, case);
        reasons.extend(reason);
        if given != case.expect || case.rule.is_some_and(|number| number != rule.unwrap_or(0)) {
            wrong.push(format!(
                "{}\n    {} expects {} (rule {:?}), got {given} (rule {rule:?})",
                case.name, case.request, case.expect, case.rule
            ));
        }
    }
    assert!(wrong.is_empty(), "{file}:\n  {}", wrong.join("\n  "));
    reasons
}

const TABLES: &[&str] = &[
    "accounts.toml",
    "browser.toml",
    "credentials.toml",
    "criteria.toml",
    "image-service.toml",
    "networks.toml",
    "nothing-checked.toml",
    "obstacles.toml",
    "paths.toml",
    "preflight.toml",
    "rules.toml",
    "words.toml",
];

#[test]
fn every_table_is_run_and_every_reason_of_the_decision_is_shown() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, TABLES);
    let shown: BTreeSet<Reason> = TABLES.iter().flat_map(|file| hold(file)).collect();
    let of_the_decision = BTreeSet::from([
        Reason::AccountDisabled,
        Reason::AccountPending,
        Reason::AccountRejected,
        Reason::AuthOff,
        Reason::CredentialKind,
        Reason::CrossSite,
        Reason::DenyRule,
        Reason::Granted,
        Reason::MfaMissing,
        Reason::Network,
        Reason::NotAllowed,
        Reason::NotSignedIn,
        Reason::Origin,
        Reason::PasswordChange,
        Reason::Preflight,
        Reason::Public,
        Reason::Scope,
        Reason::SignInTooOld,
    ]);
    assert_eq!(shown, of_the_decision);
}

#[test]
fn seed_001_45_only_active_accounts_with_a_settled_password_pass() {
    hold("accounts.toml");
}

#[test]
fn a_cookie_counts_only_for_what_its_own_origin_asks() {
    hold("browser.toml");
}

#[test]
fn seed_003_06_a_credential_of_another_kind_is_forbidden_not_challenged() {
    hold("credentials.toml");
}

#[test]
fn c9_every_criterion_turns_an_allow_into_a_deny() {
    hold("criteria.toml");
}

#[test]
fn seed_003_28_seed_003_30_seed_003_36_seed_003_37_seed_003_55_seed_003_56_seed_003_60_seed_003_61_the_image_services_table()
 {
    hold("image-service.toml");
}

#[test]
fn networks_open_and_close() {
    hold("networks.toml");
}

#[test]
fn seed_002_49_mode_none_knows_no_challenge_but_obeys_deny() {
    hold("nothing-checked.toml");
}

#[test]
fn the_lightest_obstacle_of_any_table_is_told() {
    hold("obstacles.toml");
}

#[test]
fn c1_c2_c3_c4_c6_c7_paths_have_one_reading() {
    hold("paths.toml");
}

#[test]
fn preflights_pass_where_the_route_or_a_public_rule_says_so() {
    hold("preflight.toml");
}

#[test]
fn b7_the_first_rule_wins_and_methods_are_compared_by_case() {
    hold("rules.toml");
}

#[test]
fn the_words_of_the_access_language() {
    hold("words.toml");
}
