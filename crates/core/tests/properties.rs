//! Properties of everything in `core` that parses, matches or decides.
//!
//! Matching and finding are held against references that are written to be read, not to
//! be fast; the alphabets are small and nasty so that collisions happen.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails where its own input is wrong"
)]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
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
use vestibule_core::pattern::{PathPattern, matches_glob};
use vestibule_core::policy::{Access, AccessTable, Rule, decide};
use vestibule_core::return_to::{Origin, ReturnTo};
use vestibule_core::route::overlap::{Finding, analyse};
use vestibule_core::route::{HeaderEdits, Route, RouteTable, UpstreamTls};
use vestibule_core::time::UnixMillis;
use vestibule_core::verdict::{Trace, Verdict};

fn route(name: &str, hosts: Vec<HostPattern>, path: &str) -> Route {
    Route {
        name: name.into(),
        origin: "test".into(),
        hosts,
        path: path.into(),
        upstreams: Vec::new(),
        access: Access::Deny,
        rules: Vec::new(),
        ignore_case: false,
        allow_in_path: PathAllowances::default(),
        cors_preflight: false,
        cors_origins: Vec::new(),
        allowed_origins: Vec::new(),
        block_unsafe_cross_site: false,
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
        told_groups: Vec::new(),
        access_log: true,
        pass_bearer: false,
        provider_token: Default::default(),
    }
}

fn normal(text: &str) -> NormalPath {
    NormalPath::parse(text).unwrap().0
}

/// Raw targets as an attacker writes them.
fn raw_path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "/", ".", "..", "a", "B", "~", ";", "\\", "%", "%2e", "%2E", "%252e", "%25252e",
        "%2f", "%2F", "%252f", "%5c", "%255c", "%3b", "%253b", "%61", "%41", "%25", "%00",
        "%c0%ae", "%c0%af", "%20", "é", "#", "?", "\t", "%zz", "*",
    ]);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// Paths in normal form over few letters.
fn plain_path() -> impl Strategy<Value = NormalPath> {
    let piece = prop::sample::select(vec!["/", "/", "a", "b", "aa", "A"]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| normal(&format!("/{}", pieces.concat())))
}

fn pattern_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["/", "/", "a", "b", "*", "aa", "/*", "A"]);
    prop::collection::vec(piece, 0..7).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn pattern() -> impl Strategy<Value = PathPattern> {
    pattern_text().prop_filter_map("`**` is no pattern", |text| PathPattern::parse(&text).ok())
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match (bytes[at], byte) {
            (b'%', Some(hex)) => {
                out.push(u8::from_str_radix(hex, 16).unwrap());
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// The patterns of CONTRACT section 3, said by recursion over characters.
fn reference_match(pattern: &str, path: &str) -> bool {
    fn glob(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if glob(rest, path) => true,
            (Some((b'*', _)), Some((byte, rest))) => *byte != b'/' && glob(pattern, rest),
            (Some((a, pattern)), Some((b, path))) => a == b && glob(pattern, path),
            _ => false,
        }
    }
    let whole = |pattern: &str, path: &str| glob(pattern.as_bytes(), path.as_bytes());
    if let Some(head) = pattern.strip_suffix("/*") {
        return whole(head, path)
            || path.char_indices().any(|(at, c)| c == '/' && whole(head, &path[..at]));
    }
    let slash_too = !pattern.contains('*') && !pattern.ends_with('/');
    whole(pattern, path)
        || (slash_too && path.strip_suffix('/').is_some_and(|path| whole(pattern, path)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn c2_a_normal_form_is_its_own_normal_form(raw in raw_path()) {
        if let Ok((path, needs)) = NormalPath::parse(&raw) {
            prop_assert_eq!(NormalPath::parse(path.as_str()), Ok((path.clone(), needs)));
            prop_assert_eq!(decoded(raw.as_bytes()), decoded(path.as_str().as_bytes()));
        }
    }

    #[test]
    fn c2_no_reader_finds_another_path_in_what_is_accepted(raw in raw_path()) {
        let Ok((path, needs)) = NormalPath::parse(&raw) else { return Ok(()) };
        let strict = needs.within(PathAllowances::default()).is_ok();
        let mut bytes = path.as_str().as_bytes().to_vec();
        for _ in 0..3 {
            let segments = bytes.split(|b| matches!(b, b'/' | b'\\'));
            for segment in segments {
                let name = segment.split(|b| *b == b';').next().unwrap_or_default();
                prop_assert!(name != b"." && name != b"..", "{} in {}", raw, path);
            }
            bytes = decoded(&bytes);
        }
        if strict {
            let slashes = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'/').count();
            let once = decoded(path.as_str().as_bytes());
            prop_assert_eq!(slashes(&once), slashes(path.as_str().as_bytes()));
            prop_assert!(!once.windows(2).any(|two| two == b"//"));
            prop_assert!(!once.contains(&b'\\') && !once.contains(&0) && !once.contains(&b';'));
        }
    }

    #[test]
    fn c2_another_spelling_of_a_path_matches_alike(
        path in plain_path(), encode in prop::collection::vec(any::<bool>(), 40), pattern in pattern(),
    ) {
        let mut spelled = String::new();
        for (byte, encode) in path.as_str().bytes().zip(encode) {
            match encode && byte != b'/' {
                true => spelled.push_str(&format!("%{byte:02x}")),
                false => spelled.push(char::from(byte)),
            }
        }
        let read = normal(&spelled);
        prop_assert_eq!(&read, &path);
        prop_assert_eq!(pattern.matches(&read, false), pattern.matches(&path, false));
    }

    #[test]
    fn c1_c7_patterns_match_as_the_reference_does(text in pattern_text(), path in plain_path()) {
        let Ok(pattern) = PathPattern::parse(&text) else { return Ok(()) };
        prop_assert_eq!(pattern.matches(&path, false), reference_match(&text, path.as_str()), "{}", path);
        let (lower, lower_path) = (text.to_lowercase(), path.as_str().to_lowercase());
        prop_assert_eq!(pattern.matches(&path, true), reference_match(&lower, &lower_path), "{}", path);
    }

    #[test]
    fn a_pattern_that_covers_another_matches_whatever_it_matches(
        wide in pattern(), narrow in pattern(), path in plain_path(), fold: bool,
    ) {
        if wide.covers(&narrow, fold) && narrow.matches(&path, fold) {
            prop_assert!(wide.matches(&path, fold), "{} covers {}, not {}", wide, narrow, path);
        }
    }

    #[test]
    fn a_pattern_is_held_against_prefixes_truly(
        pattern in pattern(), prefix in prop::sample::select(vec!["/", "/a", "/a/b", "/aa"]), path in plain_path(),
    ) {
        let route = route("r", Vec::new(), prefix);
        if route.covers(&path) {
            let matches = pattern.matches(&path, false);
            prop_assert!(matches || !pattern.covers_prefix(prefix, false), "{} covers {}", pattern, prefix);
            prop_assert!(!matches || pattern.reaches_prefix(prefix, false), "{} reaches {}", pattern, prefix);
        }
    }

    #[test]
    fn globs_match_as_the_reference_does(glob in "[ab*]{0,6}", text in "[ab]{0,8}") {
        fn reference(glob: &[u8], text: &[u8]) -> bool {
            match (glob.split_first(), text.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), _) if reference(rest, text) => true,
                (Some((b'*', _)), Some((_, text))) => reference(glob, text),
                (Some((a, glob)), Some((b, text))) => a == b && reference(glob, text),
                _ => false,
            }
        }
        prop_assert_eq!(matches_glob(&glob, &text), reference(glob.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn c6_a_canonical_host_is_its_own_reading(text in "[a-cA-C0-9._:x\\[\\]@ -]{0,14}") {
        if let Ok(host) = Host::parse(&text) {
            prop_assert_eq!(Host::parse(host.as_str()), Ok(host.clone()));
            prop_assert_eq!(Host::parse(&text.to_uppercase()), Ok(host.clone()));
            prop_assert!(!host.as_str().bytes().any(|b| b.is_ascii_uppercase()));
            let with_port = format!("{text}:8443");
            prop_assert_eq!(Host::parse_authority(&with_port), Ok((host, Some(8443))));
        }
    }

    #[test]
    fn e1_what_is_accepted_lies_on_a_host_of_ours(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "https://", "http://", "https:", "//", "/", "/", "\\", "@", ":", ":443", ":8443", "?", "#", ".",
            "..", "%2f", "%5c", "%09", "%2e", "\t", " ", "evil.example", "img.example.com", "auth.example.com",
            "x.apps.example.com", "a", ";", "é", "javascript:", "[::1]",
        ]), 0..8),
    ) {
        let rd = pieces.concat();
        let portal = Origin::parse("https://auth.example.com").unwrap();
        let hosts = ["img.example.com", "*.apps.example.com:8443"];
        let hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
        let routes = RouteTable::new(vec![Arc::new(route("r", hosts, "/"))]);
        let Some(to) = ReturnTo::parse(&rd, &portal, &routes) else { return Ok(()) };
        let (path, url) = match &to {
            ReturnTo::Portal(path) => (path, format!("{portal}{path}")),
            ReturnTo::App { origin, path_and_query } => {
                prop_assert!(routes.find_host(&origin.host).is_some(), "{rd}");
                prop_assert_eq!(origin.scheme, Scheme::Https);
                prop_assert!(origin.port == 443 || origin.port == 8443 && origin.host.as_str().ends_with(".apps.example.com"));
                (path_and_query, format!("{origin}{path_and_query}"))
            }
        };
        prop_assert!(path.starts_with('/') && !path.starts_with("//"), "{rd}");
        prop_assert!(path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\' && b != b'#'), "{rd}");
        prop_assert_eq!(ReturnTo::parse(&url, &portal, &routes), Some(to));
    }
}

fn table_routes() -> impl Strategy<Value = Vec<Arc<Route>>> {
    let host = prop::sample::select(vec!["a.x", "b.x", "x", "*.x", "*.a.x", "c.a.x", "1.2.3.4"]);
    let path = prop::sample::select(vec!["/", "/a", "/a/b", "/a/bb", "/aa", "/a/b/a", "/A"]);
    let one = (prop::collection::vec(host, 1..3), path);
    prop::collection::vec(one, 0..8).prop_map(|rows| {
        let named = |(index, (hosts, path)): (usize, (Vec<&str>, &str))| {
            let hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
            Arc::new(route(&index.to_string(), hosts, path))
        };
        rows.into_iter().enumerate().map(named).collect()
    })
}

/// Exact hosts first, then wildcards; the longest prefix; the first of equals.
fn reference_find<'a>(
    routes: &'a [Arc<Route>],
    host: &Host,
    path: &NormalPath,
) -> Option<&'a Arc<Route>> {
    let has = |route: &Route, wildcard| {
        route.hosts.iter().any(|pattern| pattern.wildcard == wildcard && pattern.matches(host))
    };
    let wildcard = !routes.iter().any(|route| has(route, false));
    let mut best: Option<&Arc<Route>> = None;
    for route in routes.iter().filter(|route| has(route, wildcard) && route.covers(path)) {
        if best.is_none_or(|best| route.path.len() > best.path.len()) {
            best = Some(route);
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn c6_c7_c10_the_table_finds_what_a_walk_over_all_routes_finds(
        routes in table_routes(),
        host in prop::sample::select(vec!["a.x", "b.x", "d.x", "x", "c.a.x", "e.a.x", "y", "1.2.3.4", "2.3.4.5"]),
        path in plain_path(),
    ) {
        let host = Host::parse(host).unwrap();
        let table = RouteTable::new(routes.clone());
        let found = table.find(&host, &path).map(|route| &route.name);
        prop_assert_eq!(found, reference_find(&routes, &host, &path).map(|route| &route.name));
        if found.is_some() {
            prop_assert!(table.find_host(&host).is_some());
        }
    }

    #[test]
    fn a_rule_called_unreachable_never_decides(
        rules in prop::collection::vec(
            (prop::collection::vec(pattern(), 0..3), prop::collection::vec(prop::sample::select(vec!["GET", "HEAD", "PUT"]), 0..3)),
            1..5,
        ),
        prefix in prop::sample::select(vec!["/", "/a"]),
        path in plain_path(),
        method in prop::sample::select(vec!["GET", "HEAD", "PUT", "POST"]),
    ) {
        let mut route = route("r", Vec::new(), prefix);
        route.rules = rules
            .into_iter()
            .enumerate()
            .map(|(index, (paths, methods))| Rule {
                number: index + 1,
                paths,
                methods: methods.into_iter().map(Arc::from).collect(),
                access: Access::Deny,
            })
            .collect();
        if !route.covers(&path) {
            return Ok(());
        }
        let decided = decide(&route, &facts(&path, method), None, NOW, None).rule;
        for finding in analyse(&[Arc::new(route)]) {
            match finding {
                Finding::UnreachableRule { rule, .. } | Finding::RuleOutsideRoute { rule, .. } => {
                    prop_assert_ne!(decided, Some(rule));
                }
                _ => {}
            }
        }
    }
}

const NOW: UnixMillis = UnixMillis::from_secs(1_800_000_000);

fn facts<'a>(path: &'a NormalPath, method: &'a str) -> Facts<'a> {
    static HOST: std::sync::LazyLock<Host> =
        std::sync::LazyLock::new(|| Host::parse("a.x").unwrap());
    Facts {
        door: Door::Proxy,
        method,
        scheme: Scheme::Https,
        host: &HOST,
        port: 443,
        path,
        client_ip: [10, 0, 0, 1].into(),
        network_ip: [10, 0, 0, 1].into(),
        has_forwarding_header: false,
        audience: Audience::Program,
        fetch_site: FetchSite::Absent,
        origin: None,
        upgrade: false,
        preflight: false,
        preflight_method: None,
    }
}

fn kind() -> impl Strategy<Value = CredentialKind> {
    prop::sample::select(vec![
        CredentialKind::ApiKey,
        CredentialKind::Basic,
        CredentialKind::Jwt("ci".into()),
        CredentialKind::Session,
        CredentialKind::Token,
    ])
}

fn identity() -> impl Strategy<Value = Identity> {
    let groups = prop::sample::subsequence(vec!["a", "b"], 0..=2);
    let scopes =
        prop::sample::select(vec!["", "route:r", "route:r:GET", "route:other", "x:s", "route:*"]);
    let status =
        prop::sample::select(vec![Status::Active, Status::Active, Status::Active, Status::Pending]);
    let age = prop::option::of(0_i64..1_000);
    (kind(), groups, scopes, status, age, any::<(bool, bool)>()).prop_map(
        |(credential, groups, scopes, status, age, (mfa, admin))| Identity {
            generation: 1,
            account: Some(AccountId("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap())),
            username: "ann".into(),
            email: Some("ann@example.com".into()),
            name: "".into(),
            role: if admin { Role::Admin } else { Role::User },
            status,
            groups: groups.into_iter().map(|group| Group::new(group).unwrap()).collect(),
            scopes: match (&credential, scopes) {
                (CredentialKind::ApiKey | CredentialKind::Basic, text) if !text.is_empty() => {
                    Scopes::parse([text]).unwrap()
                }
                _ => Scopes::all(),
            },
            credential,
            session: None,
            key: None,
            rate_limit: None,
            auth_time: age.map(|secs| UnixMillis::from_secs(NOW.secs() - secs)),
            amr: Arc::new([]),
            mfa,
            claims: Arc::new([]),
            provider_tokens: None,
            must_change_password: false,
            expires_at: UnixMillis(i64::MAX),
        },
    )
}

fn access_table() -> impl Strategy<Value = AccessTable> {
    let groups = prop::option::of(prop::sample::subsequence(vec!["a", "b"], 0..=2));
    let kinds = prop::option::of(prop::collection::vec(kind(), 0..3));
    let networks = prop::option::of(prop::sample::select(vec!["10.0.0.0/8", "192.0.2.0/24"]));
    let age = prop::option::of(0_u64..1_000);
    let scopes = prop::option::of(Just(vec![Arc::from("x:s")]));
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.3), prop::bool::weighted(0.2));
    (flags, groups, kinds, networks, age, scopes).prop_map(
        |((public, mfa, admin), groups, credentials, networks, age, scopes)| AccessTable {
            public,
            groups: groups.map(|names| names.into_iter().map(|g| Group::new(g).unwrap()).collect()),
            roles: admin.then(|| vec![Role::Admin]),
            credentials,
            mfa,
            max_auth_age: age.map(Duration::from_secs),
            networks: networks.map(|net| vec![net.parse().unwrap()]),
            scopes,
            ..AccessTable::default()
        },
    )
}

fn verdict(tables: &[AccessTable], identity: Option<&Identity>, now: UnixMillis) -> Verdict {
    let mut route = route("r", Vec::new(), "/");
    route.access = Access::AnyOf(tables.to_vec());
    let path = normal("/x");
    let facts = facts(&path, "POST");
    let mut trace = Trace::default();
    let decision = decide(&route, &facts, identity, now, None);
    assert_eq!(decide(&route, &facts, identity, now, Some(&mut trace)), decision);
    decision.verdict
}

/// How light an obstacle is; an allow is the lightest.
fn weight(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow(_) => 0,
        Verdict::Challenge { .. } => 1,
        Verdict::StepUp { .. } => 2,
        Verdict::Deny { .. } => 3,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_list_passes_exactly_where_one_of_its_tables_does(
        tables in prop::collection::vec(access_table(), 1..4), identity in prop::option::of(identity()),
    ) {
        let whole = verdict(&tables, identity.as_ref(), NOW);
        let single = |table: &AccessTable| verdict(std::slice::from_ref(table), identity.as_ref(), NOW);
        prop_assert_eq!(whole.is_allow(), tables.iter().any(|table| single(table).is_allow()));
        let lightest = tables.iter().map(|table| weight(single(table))).min();
        prop_assert_eq!(Some(weight(whole)), lightest);
    }

    #[test]
    fn c9_another_criterion_never_lets_anybody_in(
        table in access_table(), other in access_table(), identity in prop::option::of(identity()),
    ) {
        let both = AccessTable {
            public: table.public,
            groups: table.groups.clone().or(other.groups),
            roles: table.roles.clone().or(other.roles),
            credentials: match (&table.credentials, other.credentials) {
                (Some(own), _) => Some(own.clone()),
                (None, more) => more.map(|kinds| kinds.into_iter().filter(CredentialKind::is_taken_by_default).collect()),
            },
            mfa: table.mfa || other.mfa,
            max_auth_age: table.max_auth_age.or(other.max_auth_age),
            networks: table.networks.clone().or(other.networks),
            scopes: table.scopes.clone(),
            ..AccessTable::default()
        };
        if verdict(&[both], identity.as_ref(), NOW).is_allow() {
            prop_assert!(verdict(&[table], identity.as_ref(), NOW).is_allow());
        }
    }

    #[test]
    fn a_sign_in_that_was_too_old_stays_too_old(
        table in access_table(), identity in identity(), later in 0_u64..2_000,
    ) {
        let tables = [table];
        if verdict(&tables, Some(&identity), NOW.plus(Duration::from_secs(later))).is_allow() {
            prop_assert!(verdict(&tables, Some(&identity), NOW).is_allow());
        }
    }

    #[test]
    fn nobody_passes_a_table_that_is_not_public(
        tables in prop::collection::vec(access_table(), 0..4),
    ) {
        let public = tables.iter().any(AccessTable::is_public);
        prop_assert!(public || !verdict(&tables, None, NOW).is_allow());
    }

    #[test]
    fn who_is_sent_to_sign_in_could_be_let_in_by_a_session(
        tables in prop::collection::vec(access_table(), 1..4),
    ) {
        let ideal = Identity {
            credential: CredentialKind::Session,
            groups: ["a", "b"].iter().map(|group| Group::new(group).unwrap()).collect(),
            role: Role::Admin,
            status: Status::Active,
            mfa: true,
            auth_time: Some(NOW),
            scopes: Scopes::all(),
            ..somebody()
        };
        let could = tables.iter().all(|table| table.groups.as_ref().is_none_or(|groups| !groups.is_empty()));
        if let Verdict::Challenge { can_sign_in, .. } = verdict(&tables, None, NOW)
            && could
        {
            prop_assert_eq!(can_sign_in, verdict(&tables, Some(&ideal), NOW).is_allow());
        }
    }
}

fn somebody() -> Identity {
    Identity {
        generation: 1,
        account: None,
        username: "ann".into(),
        email: None,
        name: "".into(),
        role: Role::User,
        status: Status::Active,
        groups: Arc::new([]),
        credential: CredentialKind::Session,
        session: None,
        key: None,
        scopes: Scopes::all(),
        rate_limit: None,
        auth_time: None,
        amr: Arc::new([]),
        mfa: false,
        claims: Arc::new([]),
        provider_tokens: None,
        must_change_password: false,
        expires_at: UnixMillis(i64::MAX),
    }
}
