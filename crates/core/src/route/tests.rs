use super::*;
use crate::policy::AccessTable;

/// A route with every default, for tests of this crate.
pub(crate) fn route(name: &str, hosts: &[&str], path: &str) -> Route {
    Route {
        name: name.into(),
        origin: "test.toml:1".into(),
        hosts: hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect(),
        path: path.into(),
        upstreams: Vec::new(),
        access: Access::AnyOf(vec![AccessTable::default()]),
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
        told_groups: vec!["*".into()],
        access_log: true,
        pass_bearer: false,
        provider_token: Default::default(),
    }
}

fn table(routes: &[(&str, &[&str], &str)]) -> RouteTable {
    RouteTable::new(routes.iter().map(|(n, h, p)| Arc::new(route(n, h, p))).collect())
}

fn find<'a>(table: &'a RouteTable, host: &str, path: &str) -> Option<&'a str> {
    let path = NormalPath::parse(path).unwrap().0;
    table.find(&Host::parse(host).unwrap(), &path).map(|route| &*route.name)
}

#[test]
fn c7_the_longest_prefix_at_a_segment_border_wins() {
    let table = table(&[
        ("root", &["a.example"], "/"),
        ("deep", &["a.example"], "/api/v1"),
        ("api", &["a.example"], "/api"),
    ]);
    for (path, name) in [
        ("/", "root"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/v1", "deep"),
        ("/api/v1/x", "deep"),
        ("/api/v10", "api"),
        ("/apiX", "root"),
        ("/api%2fv1", "root"),
        ("/API", "root"),
        ("/x/api", "root"),
    ] {
        assert_eq!(find(&table, "a.example", path), Some(name), "{path}");
    }
}

#[test]
fn c6_an_exact_host_beats_a_wildcard_and_never_falls_back_to_it() {
    let table = table(&[
        ("any", &["*.example.com"], "/"),
        ("img", &["img.example.com"], "/t"),
        ("both", &["one.example", "two.example"], "/"),
    ]);
    assert_eq!(find(&table, "IMG.example.com.", "/t/x"), Some("img"));
    assert_eq!(find(&table, "img.example.com", "/other"), None);
    assert_eq!(find(&table, "other.example.com", "/t/x"), Some("any"));
    assert_eq!(find(&table, "a.b.example.com", "/"), None);
    assert_eq!(find(&table, "example.com", "/"), None);
    assert_eq!(find(&table, "two.example", "/"), Some("both"));
    assert_eq!(find(&table, "unknown.example", "/"), None);
}

#[test]
fn the_route_for_reserved_paths_is_the_one_nearest_the_root() {
    let table = table(&[
        ("deep", &["a.example"], "/x/y"),
        ("near", &["a.example"], "/x"),
        ("root", &["b.example"], "/"),
        ("other", &["b.example"], "/a"),
    ]);
    let name =
        |host| table.find_host(&Host::parse(host).unwrap()).map(|route| route.name.to_string());
    assert_eq!(name("a.example").as_deref(), Some("near"));
    assert_eq!(name("b.example").as_deref(), Some("root"));
    assert_eq!(name("c.example"), None);
}

#[test]
fn ports_of_a_host_are_named_not_matched() {
    let table = table(&[("a", &["a.example:8443"], "/"), ("b", &["*.b.example:9443"], "/")]);
    let host = |text| Host::parse(text).unwrap();
    assert_eq!(find(&table, "a.example", "/"), Some("a"));
    assert!(table.names_port(&host("a.example"), 8443));
    assert!(!table.names_port(&host("a.example"), 9443));
    assert!(table.names_port(&host("x.b.example"), 9443));
    assert!(!table.names_port(&host("c.example"), 8443));
}

#[test]
fn c6_ten_thousand_routes_are_all_found() {
    let hosts: Vec<String> = (0..5_000).map(|n| format!("h{n}.example")).collect();
    let mut routes: Vec<_> = hosts.iter().map(|host| Arc::new(route(host, &[host], "/"))).collect();
    routes.extend((0..5_000).map(|n| {
        let path = format!("/p{n}");
        Arc::new(route(&path, &["one.example"], &path))
    }));
    let table = RouteTable::new(routes);
    for n in [0, 1, 4_999] {
        let host = format!("h{n}.example");
        assert_eq!(find(&table, &host, "/x"), Some(&*host));
        let path = format!("/p{n}");
        assert_eq!(find(&table, "one.example", &format!("{path}/x")), Some(&*path));
    }
    assert_eq!(find(&table, "one.example", "/p5000"), None);
    assert_eq!(find(&table, "h5000.example", "/"), None);
}

#[test]
fn only_groups_that_a_glob_names_are_told() {
    let mut route = route("a", &["a.example"], "/");
    let group = |name| Group::new(name).unwrap();
    assert!(route.tells_group(&group("редакторы")));
    route.told_groups = vec!["app-*".into(), "staff".into()];
    assert!(route.tells_group(&group("app-")) && route.tells_group(&group("staff")));
    assert!(!route.tells_group(&group("my-app-x")) && !route.tells_group(&group("Staff")));
    route.told_groups.clear();
    assert!(!route.tells_group(&group("staff")));
}
