use std::sync::Arc;

use super::*;
use crate::route::tests::route;

fn portal() -> Origin {
    Origin::parse("https://auth.example.com").unwrap()
}

fn table() -> RouteTable {
    RouteTable::new(vec![
        Arc::new(route("img", &["img.example.com"], "/")),
        Arc::new(route("docs", &["docs.example.com:8443"], "/handbook")),
        Arc::new(route("any", &["*.apps.example.com"], "/")),
        Arc::new(route("local", &["[::1]:8443", "127.0.0.1:8443"], "/")),
    ])
}

fn read(rd: &str) -> Option<ReturnTo> {
    ReturnTo::parse(rd, &portal(), &table())
}

fn url(rd: &str) -> Option<String> {
    read(rd).map(|to| match to {
        ReturnTo::App { origin, path_and_query } => format!("{origin}{path_and_query}"),
        ReturnTo::Portal(path) => format!("{}{path}", portal()),
    })
}

#[test]
fn e1_places_of_ours_are_kept() {
    for (rd, to) in [
        ("/", "https://auth.example.com/"),
        (
            "/settings?tab=keys&x=//evil.example",
            "https://auth.example.com/settings?tab=keys&x=//evil.example",
        ),
        ("/login#/x", "https://auth.example.com/login"),
        ("https://auth.example.com", "https://auth.example.com/"),
        ("https://auth.example.com:443/a", "https://auth.example.com/a"),
        ("https://img.example.com", "https://img.example.com/"),
        ("https://img.example.com?x=1", "https://img.example.com/?x=1"),
        ("https://img.example.com/a/b?q=a%20b&c=%0A", "https://img.example.com/a/b?q=a%20b&c=%0A"),
        ("HTTPS://IMG.Example.Com./a", "https://img.example.com/a"),
        ("https://img.example.com:443/a", "https://img.example.com/a"),
        ("https://img.example.com/a#@evil.example", "https://img.example.com/a"),
        ("https://img.example.com#@evil.example", "https://img.example.com/"),
        ("https://img.example.com/@evil.example", "https://img.example.com/@evil.example"),
        ("https://img.example.com?@evil.example/", "https://img.example.com/?@evil.example/"),
        ("https://img.example.com/a;b/c%2Fd//e", "https://img.example.com/a;b/c%2Fd//e"),
        ("https://docs.example.com/elsewhere", "https://docs.example.com/elsewhere"),
        ("https://docs.example.com:8443/handbook", "https://docs.example.com:8443/handbook"),
        ("https://x.apps.example.com/", "https://x.apps.example.com/"),
        ("https://[::1]:8443/", "https://[::1]:8443/"),
        ("https://[0:0::1]/", "https://[::1]/"),
        ("https://127.0.0.1:8443/", "https://127.0.0.1:8443/"),
    ] {
        assert_eq!(url(rd).as_deref(), Some(to), "{rd}");
    }
}

/// Every one of these must be refused; what a browser makes of it is another place, or two
/// browsers disagree.
const ELSEWHERE: &[&str] = &[
    // nothing, or relative
    "",
    ".",
    "..",
    "settings",
    "./settings",
    "../settings",
    "?rd=x",
    "#x",
    // scheme-relative and slash games
    "//evil.example",
    "//evil.example/%2e%2e",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "//\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n/evil.example",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/%0D%0ALocation:%20https://evil.example",
    "/%5cevil.example",
    "/%5C/evil.example",
    "/%00/evil.example",
    "/%7f/evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/%2e%2e//evil.example",
    "/%252e%252e//evil.example",
    "/a/..;/b",
    "//img.example.com",
    // scheme games
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https:\\\\evil.example",
    "https:/\\evil.example",
    "https:img.example.com",
    "https:///img.example.com",
    "https:",
    "https://",
    "https:///",
    "https://?x",
    "http://img.example.com/",
    "http://auth.example.com/",
    "http:///evil.example",
    "ftp://img.example.com/",
    "wss://img.example.com/",
    "javascript:alert(1)",
    "javascript://img.example.com/%0aalert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>",
    "vbscript:x",
    "blob:https://img.example.com/x",
    "view-source:https://img.example.com/",
    "://img.example.com/",
    " https://img.example.com/",
    "https://img.example.com/ ",
    "\u{1}https://img.example.com/",
    "\u{feff}https://img.example.com/",
    "x:https://img.example.com/",
    // hosts that look like ours
    "https://evil.example/",
    "https://img.example.com.evil.example/",
    "https://evilimg.example.com/",
    "https://img.example.comevil/",
    "https://example.com/",
    "https://sub.img.example.com/",
    "https://apps.example.com/",
    "https://a.b.apps.example.com/",
    "https://.apps.example.com/",
    "https://*.apps.example.com/",
    "https://auth.example.com.evil.example/",
    "https://img.example.com../",
    "https://img..example.com/",
    "https://img%2eexample.com/",
    "https://img.example.com%2f.evil.example/",
    "https://img.example.com%00.evil.example/",
    "https://img.example.com%40evil.example/",
    "https://img.example.com\u{ff0f}.evil.example/",
    "https://img\u{3002}example\u{3002}com/",
    "https://img\u{ff0e}example.com/",
    "https://\u{456}mg.example.com/",
    "https://xn--mg-sia.example.com/",
    "https://\u{ff49}mg.example.com/",
    "https://img.example.com,evil.example/",
    "https://img.example.com;evil.example/",
    "https://img.example.com\\.evil.example/",
    "https://evil.example\\@img.example.com/",
    "https://evil.example\\.img.example.com/",
    "https://img.example.com\t.evil.example/",
    "https://img.example.com\r\n.evil.example/",
    "https://img.example.com\0.evil.example/",
    "https://img.example.com .evil.example/",
    "https://img.example.com|evil.example/",
    // credentials
    "https://img.example.com@evil.example/",
    "https://evil.example@img.example.com/",
    "https://user:pass@img.example.com/",
    "https://@img.example.com/",
    "https://:@img.example.com/",
    "https://img.example.com:443@evil.example/",
    "https://auth.example.com@img.example.com/",
    // fragments and queries before a false host
    "https://evil.example#.img.example.com/",
    "https://evil.example?.img.example.com/",
    "https://evil.example/.img.example.com/",
    // ports
    "https://img.example.com:8443/",
    "https://auth.example.com:8443/",
    "https://docs.example.com:9443/",
    "https://img.example.com:/",
    "https://img.example.com:0/",
    "https://img.example.com:0443/",
    "https://img.example.com:65979/",
    "https://img.example.com:443:443/",
    "https://img.example.com:4 43/",
    "https://img.example.com:https/",
    // addresses
    "https://2130706433/",
    "https://0x7f000001/",
    "https://127.1:8443/",
    "https://0177.0.0.1:8443/",
    "https://[::ffff:127.0.0.1]:8443/",
    "https://[::1/",
    "https://::1/",
    "https://[::1]evil.example/",
    "https://[::1%25eth0]/",
    // paths that have no normal form, or would be a host by themselves
    "https://img.example.com//evil.example",
    "https://img.example.com/\\evil.example",
    "https://img.example.com/../evil",
    "https://img.example.com/%2e%2e/evil",
    "https://img.example.com/a%",
    "https://img.example.com/%0d%0aSet-Cookie:x=y",
    "https://img.example.com/é",
];

#[test]
fn e1_more_than_eighty_ways_elsewhere_are_refused() {
    assert!(ELSEWHERE.len() >= 80, "{}", ELSEWHERE.len());
    for rd in ELSEWHERE {
        assert_eq!(read(rd), None, "{rd:?}");
    }
}

#[test]
fn e1_what_is_longer_than_4_kib_is_refused() {
    let fits = format!("/{}", "a".repeat(MAX_RETURN_TO - 1));
    assert!(read(&fits).is_some());
    assert_eq!(read(&format!("{fits}a")), None);
}

#[test]
fn e1_an_http_portal_leads_to_http_only() {
    let portal = Origin::parse("http://auth.localhost:8443").unwrap();
    let routes = RouteTable::new(vec![Arc::new(route("app", &["app.localhost"], "/"))]);
    let read = |rd| ReturnTo::parse(rd, &portal, &routes);
    assert!(read("http://app.localhost:8443/x").is_some());
    assert!(read("http://app.localhost/x").is_none());
    assert!(read("https://app.localhost:8443/x").is_none());
    assert_eq!(read("http://auth.localhost:8443/a"), Some(ReturnTo::Portal("/a".to_owned())));
    assert_eq!(read("http://auth.localhost/a"), None);
}

#[test]
fn seed_002_41_an_app_on_the_portals_own_origin_is_reached_by_its_path() {
    let portal = Origin::parse("http://localhost:9300").unwrap();
    let routes = RouteTable::new(vec![Arc::new(route("app", &["localhost"], "/"))]);
    let to = ReturnTo::parse("http://localhost:9300/app?x=1", &portal, &routes);
    assert_eq!(to, Some(ReturnTo::Portal("/app?x=1".to_owned())));
}

#[test]
fn an_origin_is_a_scheme_a_host_and_a_port() {
    let shown = |text| Origin::parse(text).map(|origin| origin.to_string());
    assert_eq!(shown("http://Localhost:8080/").as_deref(), Some("http://localhost:8080"));
    assert_eq!(shown("https://[::1]:443").as_deref(), Some("https://[::1]"));
    for bad in [
        "",
        "https",
        "https:",
        "https://",
        "https:///",
        "//a",
        "a",
        "a:443",
        "ftp://a",
        "https://a/b",
        "https://a//",
        "https://a?",
        "https://a#",
        "https://u@a",
        "https://a:",
        "https://a:0",
        " https://a",
        "https://a ",
        "https://*.a",
    ] {
        assert_eq!(shown(bad), None, "{bad:?}");
    }
}
