//! The two differential oracles (SECURITY.md, section 3): what was decided about is what the app
//! got, and what the app was told about a person is ours.

use std::collections::BTreeMap;

use serde_json::json;
use vestibule_testkit::{Client, Gateway, MANAGED, Response, Route, TRUSTED};

use crate::gateway;
use crate::oracle::{Mirror, Normal, Pipeline, Rng, cases, in_parallel, naive, seed, target};

const STRICT: &str = "strict.example.test";
const LOOSE: &str = "loose.example.test";
const STRIPPED: &str = "stripped.example.test";
/// Requests under way on one connection.
const BATCH: usize = 24;

/// Who asks: the fields that prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Session,
    Key,
}

/// The contract's verdict, as a status at the proxy door.
fn expected(who: Who, method: &str, path: &str) -> u16 {
    let below = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let signed_in = if who == Who::Nobody { 401 } else { 200 };
    if below("/area") || below("/public") {
        return 200;
    }
    if below("/admin") {
        return 403;
    }
    if below("/staff") {
        return if who == Who::Nobody { 401 } else { 403 };
    }
    if below("/keys") {
        return match who {
            Who::Nobody => 401,
            Who::Session => 403,
            Who::Key => 200,
        };
    }
    if below("/rw") {
        return match method {
            "POST" => 200,
            "GET" | "HEAD" => signed_in,
            _ => 403,
        };
    }
    signed_in
}

fn ruled(route: Route) -> Route {
    route
        .access("signed-in")
        .rule(&["/public/*"], &[], "public")
        .rule(&["/admin/*"], &[], "deny")
        .rule(&["/staff/*"], &[], "{ groups = [\"staff\"] }")
        .rule(&["/keys/*"], &[], "api-key")
        .rule(&["/rw/*"], &["POST"], "public")
        .rule(&["/rw/*"], &["GET"], "signed-in")
        .rule(&["/rw/*"], &[], "deny")
}

const LEAVE: &str = "[\"double-slash\", \"encoded-slash\", \"semicolon\"]";

struct Stage {
    gateway: Gateway,
    cookies: BTreeMap<&'static str, String>,
    key: String,
    _mirrors: [Mirror; 2],
}

/// Three hosts with the same rules: one refuses what is doubtful, two let it pass. `/area` is
/// another route, on another upstream; on the third host it is stripped.
fn stage() -> Stage {
    let mirrors = [Mirror::start("main"), Mirror::start("area")];
    let [main, area] = [mirrors[0].url(), mirrors[1].url()];
    let gateway = gateway()
        .toml("[api_keys]\nrate_limit = { requests = 1000000000, window = \"1m\" }")
        .toml("[telemetry]\naccess_log = { format = \"off\" }")
        .route(ruled(Route::new("strict", STRICT).upstream(&main)))
        .route(ruled(Route::new("loose", LOOSE).upstream(&main)).set("allow_in_path", LEAVE))
        .route(ruled(Route::new("stripped", STRIPPED).upstream(&main)).set("allow_in_path", LEAVE))
        .route(
            Route::new("strict-area", STRICT).set("path", "/area").upstream(&area).access("public"),
        )
        .route(
            Route::new("loose-area", LOOSE)
                .set("path", "/area")
                .upstream(&area)
                .set("allow_in_path", LEAVE)
                .access("public"),
        )
        .route(
            Route::new("stripped-area", STRIPPED)
                .set("path", "/area")
                .set("strip_prefix", "/area")
                .upstream(&area)
                .set("allow_in_path", LEAVE)
                .access("public"),
        )
        .user("ann", &["friends"])
        .start();
    let mut ann = gateway.as_user("ann");
    let mut cookies = BTreeMap::new();
    for host in [STRICT, LOOSE, STRIPPED] {
        ann.enter(&format!("https://{host}/"));
        let cookie = ann.session_cookie(host).expect("a cookie of the app's host");
        cookies.insert(host, format!("{}={}", cookie.name, cookie.value));
    }
    let (_, key) = ann.create_key(&json!({ "name": "oracle" }));
    Stage { gateway, cookies, key, _mirrors: mirrors }
}

impl Stage {
    /// Fields that prove who asks, each with its line end.
    fn proof(&self, who: Who, host: &str) -> String {
        match who {
            Who::Nobody => String::new(),
            Who::Session => format!("Cookie: {}\r\n", self.cookies[host]),
            Who::Key => format!("X-Api-Key: {}\r\n", self.key),
        }
    }

    fn hook(&self) -> Client {
        Client::plain(self.gateway.hook()).from(TRUSTED)
    }
}

/// One request of the path oracle.
#[derive(Clone, Debug)]
struct Asked {
    who: Who,
    method: String,
    /// The route's host; `None`: the host sent is nobody's.
    host: Option<&'static str>,
    /// The host as sent; malformed where the answer must be 400.
    sent_host: String,
    malformed_host: bool,
    target: String,
    /// `http://host` before the target; with another host: 400.
    absolute: Option<String>,
    contradicts: bool,
}

fn asked(rng: &mut Rng) -> Asked {
    let who = [Who::Nobody, Who::Session, Who::Key][rng.below(3)];
    let methods = [
        "GET",
        "GET",
        "GET",
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "get",
        "PosT",
        "PROPFIND",
        "M-SEARCH",
        "AVERYLONGMETHODNAMEOFFORTYCHARACTERSHERE",
        "PO\u{53}T",
    ];
    let method = rng.pick(&methods).to_owned();
    let host = *[&STRICT, &STRICT, &LOOSE, &STRIPPED][rng.below(4)];
    let (mut known, mut malformed_host) = (Some(host), false);
    let sent_host = match rng.below(20) {
        0 => host.to_uppercase(),
        1 => format!("{host}."),
        2 => format!("{host}:443"),
        3 => format!("{host}.:8443"),
        4 => {
            known = None;
            let strangers = [
                "other.example.test",
                "xstrict.example.test",
                "strict.example.testx",
                "example.test",
                "a.strict.example.test",
                "xn--strict-9za.example.test",
                "127.0.0.1",
                "[::1]",
                "strict",
            ];
            rng.pick(&strangers).to_owned()
        }
        5 => {
            malformed_host = true;
            let junk = [
                ";x",
                ",other.example.test",
                "@other.example.test",
                " x",
                ":0443",
                ":",
                ":99999",
                ":x",
                "..",
                "\"",
                "/x",
                "?x",
                "#x",
                "%2e",
                "\\x",
                "\u{e9}",
                ":443:443",
            ];
            format!("{host}{}", rng.pick(&junk))
        }
        _ => host.to_owned(),
    };
    let target = target(rng);
    let mut contradicts = false;
    let plain = target.starts_with('/') && !malformed_host && sent_host.eq_ignore_ascii_case(host);
    let absolute = (plain && rng.once_in(12)).then(|| match rng.below(5) {
        0 => {
            contradicts = true;
            "http://other.example.test".to_owned()
        }
        1 => {
            contradicts = true;
            format!("http://{host}@other.example.test")
        }
        2 => {
            contradicts = true;
            format!("ftp://{host}")
        }
        3 => format!("HTTPS://{}", host.to_uppercase()),
        _ => format!("http://{host}"),
    });
    Asked { who, method, host: known, sent_host, malformed_host, target, absolute, contradicts }
}

impl Asked {
    fn bytes(&self, stage: &Stage) -> Vec<u8> {
        let proof = self.host.map_or(String::new(), |host| stage.proof(self.who, host));
        let length = if self.method == "POST" { "Content-Length: 0\r\n" } else { "" };
        let absolute = self.absolute.as_deref().unwrap_or_default();
        format!(
            "{} {absolute}{} HTTP/1.1\r\nHost: {}\r\n{proof}{length}\r\n",
            self.method, self.target, self.sent_host
        )
        .into_bytes()
    }

    /// The same question at a hook; `None`: the dialect cannot spell it.
    fn question(&self, stage: &Stage, auth_request: bool) -> Option<Vec<u8>> {
        let spelled = self.target.trim() == self.target && self.absolute.is_none();
        if !spelled || self.sent_host.trim() != self.sent_host {
            return None;
        }
        let proof = self.host.map_or(String::new(), |host| stage.proof(self.who, host));
        let (method, host, target) = (&self.method, &self.sent_host, &self.target);
        let fields = if auth_request {
            if !target.starts_with('/') || self.malformed_host {
                return None;
            }
            format!("X-Original-Method: {method}\r\nX-Original-URL: https://{host}{target}\r\n")
        } else {
            format!(
                "X-Forwarded-Method: {method}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: {host}\r\n\
                 X-Forwarded-Uri: {target}\r\n"
            )
        };
        let path = if auth_request { "auth-request" } else { "forward-auth" };
        let head =
            format!("GET /api/authz/{path} HTTP/1.1\r\nHost: hook.test\r\n{fields}{proof}\r\n");
        Some(head.into_bytes())
    }

    /// The contract's answer: a status, and what the app then sees.
    fn expected(&self) -> (u16, Option<Seen>) {
        let refused = (400, None);
        if self.malformed_host || self.contradicts {
            return refused;
        }
        let Some((normal, query)) = naive(&self.target) else { return refused };
        let Some(host) = self.host else { return (404, None) };
        if host == STRICT && normal.needs_leave {
            return refused;
        }
        let status = expected(self.who, &self.method, &normal.path);
        (status, (status == 200).then(|| Seen::of(host, &normal, query.as_deref())))
    }

    fn may_be_refused(&self) -> bool {
        naive(&self.target).is_none_or(|(normal, _)| normal.doubtful)
    }
}

/// What an upstream receives.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    upstream: &'static str,
    target: String,
}

impl Seen {
    fn of(host: &str, normal: &Normal, query: Option<&str>) -> Self {
        let rest = normal.path.strip_prefix("/area");
        let area = rest.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut target = match area {
            Some("") if host == STRIPPED => "/".to_owned(),
            Some(rest) if host == STRIPPED => rest.to_owned(),
            _ => normal.path.clone(),
        };
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        Self { upstream: if area.is_some() { "area" } else { "main" }, target }
    }
}

/// What is wrong with an answer at the proxy door.
fn fault(asked: &Asked, answer: Option<&Response>) -> Option<String> {
    let Some(answer) = answer else { return Some("no answer".to_owned()) };
    let (status, seen) = asked.expected();
    if answer.status == 400 && status != 400 && asked.may_be_refused() {
        return None;
    }
    if answer.status != status {
        return Some(format!("{} instead of {status}: {:?}", answer.status, answer.headers));
    }
    let Some(seen) = seen else {
        let reached = answer.header("x-mirror").is_some();
        return reached.then(|| "a refused request reached an upstream".to_owned());
    };
    let told = format!("{} {}", asked.method, seen.target);
    if answer.header("x-seen") != Some(&told) || answer.header("x-mirror") != Some(seen.upstream) {
        return Some(format!("{seen:?} was decided about, {:?} was forwarded", answer.headers));
    }
    None
}

#[test]
fn c1_c2_c3_c4_c6_c7_b7_what_is_decided_about_is_what_the_app_gets() {
    let stage = stage();
    in_parallel(cases(), |mut rng, share| {
        let mut pipeline = Pipeline::new(stage.gateway.client());
        let (mut forwarded, mut refused) = (0_usize, 0_usize);
        for _ in 0..share.div_ceil(BATCH) {
            let batch: Vec<Asked> = (0..BATCH).map(|_| asked(&mut rng)).collect();
            let bytes: Vec<_> =
                batch.iter().map(|one| (one.method.clone(), one.bytes(&stage))).collect();
            for (one, answer) in batch.iter().zip(pipeline.send(&bytes)) {
                if let Some(fault) = fault(one, answer.as_ref()) {
                    panic!("seed {}: {one:?}\n{fault}", seed());
                }
                match answer.map_or(0, |answer| answer.status) {
                    200 => forwarded += 1,
                    400 => refused += 1,
                    _ => {}
                }
            }
        }
        // A generator that only makes nonsense proves nothing.
        assert!(forwarded * 8 > share && refused * 20 > share, "{forwarded} {refused} of {share}");
    });
}

#[test]
fn c2_c5_d2_a_hook_decides_as_the_proxy_does() {
    let stage = stage();
    in_parallel(cases() / 4, |mut rng, share| {
        let mut pipeline = Pipeline::new(stage.hook());
        let mut allowed = 0_usize;
        let mut sent = 0;
        while sent < share {
            let mut batch = Vec::new();
            while batch.len() < BATCH {
                let (one, auth_request) = (asked(&mut rng), rng.once_in(2));
                if let Some(question) = one.question(&stage, auth_request) {
                    batch.push((one, auth_request, question));
                }
            }
            let bytes: Vec<_> =
                batch.iter().map(|(_, _, question)| ("GET".to_owned(), question.clone())).collect();
            for ((one, auth_request, _), answer) in batch.iter().zip(pipeline.send(&bytes)) {
                let got = answer.as_ref().map_or(0, |answer| answer.status);
                let (status, _) = one.expected();
                let wanted: &[u16] = match (status, auth_request) {
                    (400, true) => &[400, 403],
                    (404, true) => &[403],
                    (400, false) => &[400],
                    (404, false) => &[404],
                    (200, _) if one.may_be_refused() => &[200, 400, 403],
                    (200, _) => &[200],
                    (401 | 403, _) if one.may_be_refused() => &[400, 401, 403],
                    (401, _) => &[401],
                    _ => &[403],
                };
                assert!(
                    wanted.contains(&got) || (got == 400 && one.may_be_refused()),
                    "seed {}: {one:?} (auth-request: {auth_request})\n{wanted:?}: {answer:?}",
                    seed()
                );
                allowed += usize::from(got == 200);
            }
            sent += BATCH;
        }
        assert!(allowed * 8 > share, "{allowed} of {share}");
    });
}

// ---- managed headers ----

/// What no upstream may ever read in a field that asserts an identity.
const FORGED: &str = "f0rged";

/// A name that an app may take for `name`.
fn spelling(rng: &mut Rng, name: &str) -> String {
    let mut out: String = name
        .chars()
        .map(|c| match c {
            '-' if rng.once_in(3) => '_',
            '-' if rng.once_in(6) => ['.', '~', '!', '\'', '+'][rng.below(5)],
            c if rng.once_in(3) => c.to_ascii_uppercase(),
            c => c,
        })
        .collect();
    if rng.once_in(12) {
        out.push(['-', '_', '.'][rng.below(3)]);
    }
    out
}

struct Forgery {
    who: Who,
    host: &'static str,
    public: bool,
    fields: String,
}

impl std::fmt::Display for Forgery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}: {:?} {} {}", seed(), self.who, self.host, self.fields)
    }
}

fn forgery(rng: &mut Rng, stage: &Stage) -> Forgery {
    let who = [Who::Nobody, Who::Session, Who::Key][rng.below(3)];
    let host = *[&STRICT, &LOOSE, &STRIPPED][rng.below(3)];
    let public = rng.once_in(3);
    let mut fields = Vec::new();
    for _ in 0..=rng.below(6) {
        let name = rng.pick(MANAGED);
        let value = match rng.below(6) {
            0 => format!("{FORGED}, admin"),
            1 => format!("\u{e9}{FORGED}\u{20ac}"),
            2 => String::new(),
            3 => format!("  {FORGED}\t"),
            _ => FORGED.to_owned(),
        };
        fields.push(format!("{}:{value}\r\n", spelling(rng, name)));
        if rng.once_in(3) {
            fields.push(format!("{}: {FORGED}2\r\n", spelling(rng, name)));
        }
    }
    for _ in 0..rng.below(3) {
        let spelled = rng.pick(&["Connection", "connection", "CONNECTION", "cOnnection"]);
        let options = [
            "remote-user",
            "Remote-User,keep-alive",
            "keep-alive , X-Vestibule-Assertion",
            "remote-email,,",
            "remote_user",
            " remote-groups ",
            "x-forwarded-for, x-real-ip, remote-name",
            "te, remote-user",
            "keep-alive",
            "host, content-length",
            "proxy-connection",
            "x-forwarded-proto, traceparent",
        ];
        fields.push(format!("{spelled}: {}\r\n", rng.pick(&options)));
    }
    if rng.once_in(2) {
        fields.push(
            format!("Cookie: theme=dark; Remote-User={FORGED}-cookie\r\n")
                .replace(FORGED, "harmless"),
        );
    }
    for _ in 0..rng.below(3) {
        let family = [
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Forwarded-Port",
            "X-Forwarded-Prefix",
            "X-Forwarded-Uri",
            "X-Forwarded-Method",
            "X-Forwarded-Server",
            "X-Forwarded-Ssl",
            "X-Real-IP",
            "Forwarded",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Client-IP",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X_Forwarded_For",
            "X.Real.IP",
            "X-Vestibule-Anything",
            "X-Vestibule",
        ];
        fields.push(format!("{}: {FORGED}\r\n", rng.pick(&family)));
    }
    fields.push(stage.proof(who, host));
    for at in (1..fields.len()).rev() {
        fields.swap(at, rng.below(at + 1));
    }
    Forgery { who, host, public, fields: fields.concat() }
}

/// The fields of a raw head whose name an app may take for a managed one.
fn managed(head: &str) -> Vec<(String, String)> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (folded(name), value.trim().to_owned()))
        .filter(|(name, _)| MANAGED.contains(&name.as_str()) || name.starts_with("x-vestibule"))
        .collect()
}

/// A name as the most careless of apps reads it.
fn folded(name: &str) -> String {
    let name: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    name.trim_end_matches('-').to_owned()
}

fn told(answer: &[(String, String)]) -> BTreeMap<&str, &str> {
    answer.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// What an app of the preset `remote` is told about ann, less the assertion.
const ANN: &[(&str, &str)] = &[
    ("remote-user", "ann"),
    ("remote-email", "ann@example.test"),
    ("remote-name", "ann"),
    ("remote-groups", "friends"),
];

#[test]
fn a2_b1_b2_b3_b4_b6_b9_the_app_is_told_what_we_say_and_nothing_else() {
    let stage = stage();
    in_parallel(cases(), |mut rng, share| {
        let mut pipeline = Pipeline::new(stage.gateway.client());
        let mut asserted = 0_usize;
        for _ in 0..share.div_ceil(BATCH) {
            let batch: Vec<Forgery> = (0..BATCH).map(|_| forgery(&mut rng, &stage)).collect();
            let bytes: Vec<_> = batch
                .iter()
                .map(|one| {
                    let path = if one.public { "/public/a" } else { "/a" };
                    let method = "GET".to_owned();
                    let head =
                        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{}\r\n", one.host, one.fields);
                    (method, head.into_bytes())
                })
                .collect();
            for (one, answer) in batch.iter().zip(pipeline.send(&bytes)) {
                let case = one;
                let answer = answer.unwrap_or_else(|| panic!("{case}no answer"));
                if one.who == Who::Nobody && !one.public {
                    assert_eq!(answer.status, 401, "{case}");
                    assert_eq!(answer.header("x-mirror"), None, "{case}");
                    continue;
                }
                assert_eq!(answer.status, 200, "{case}{answer:?}");
                let head = answer.text();
                assert!(!head.contains(FORGED), "{case}\nreached the app:\n{head}");
                assert!(!head.contains("vestibule=") && !head.contains(&stage.key), "{case}{head}");
                let seen = managed(&head);
                if one.who == Who::Nobody {
                    assert_eq!(seen, [], "{case}{head}");
                    continue;
                }
                asserted += 1;
                let map = told(&seen);
                assert_eq!(map.len(), seen.len(), "twice: {case}{head}");
                assert_eq!(map.len(), ANN.len() + 1, "{case}{head}");
                for (name, value) in ANN {
                    assert_eq!(map.get(name), Some(value), "{case}{head}");
                }
                let assertion = map["x-vestibule-assertion"];
                assert_eq!(assertion.split('.').count(), 3, "{case}{assertion}");
            }
        }
        assert!(asserted * 3 > share, "{asserted} of {share}");
    });
}

#[test]
fn b1_b2_a_hooks_answer_names_every_header_once_and_says_only_what_we_know() {
    let stage = stage();
    in_parallel(cases() / 4, |mut rng, share| {
        let mut pipeline = Pipeline::new(stage.hook());
        for _ in 0..share.div_ceil(BATCH) {
            let batch: Vec<Forgery> = (0..BATCH).map(|_| forgery(&mut rng, &stage)).collect();
            let bytes: Vec<_> = batch
                .iter()
                .map(|one| {
                    let path = if one.public { "/public/a" } else { "/a" };
                    // What the asking proxy says of the request stands once; the client's own
                    // words of that family are the proxy's to remove.
                    let fields: String = one
                        .fields
                        .split_inclusive("\r\n")
                        .filter(|line| {
                            let name = line.split(':').next().unwrap_or_default();
                            let name = folded(name);
                            !name.starts_with("x-forwarded") || MANAGED.contains(&name.as_str())
                        })
                        .collect();
                    let head = format!(
                        "GET /api/authz/forward-auth HTTP/1.1\r\nHost: hook.test\r\nX-Forwarded-Method: GET\r\n\
                         X-Forwarded-Proto: https\r\nX-Forwarded-Host: {}\r\nX-Forwarded-Uri: {path}\r\n{fields}\r\n",
                        one.host
                    );
                    ("GET".to_owned(), head.into_bytes())
                })
                .collect();
            for (one, answer) in batch.iter().zip(pipeline.send(&bytes)) {
                let case = one;
                let answer = answer.unwrap_or_else(|| panic!("{case}no answer"));
                if one.who == Who::Nobody && !one.public {
                    assert_eq!(answer.status, 401, "{case}");
                    continue;
                }
                assert_eq!(answer.status, 200, "{case}{answer:?}");
                assert!(answer.body.is_empty(), "{case}");
                for name in MANAGED {
                    let values: Vec<&str> = answer.all(name).collect();
                    assert_eq!(values.len(), 1, "{name}: {case}{answer:?}");
                    let ours = ANN.iter().find(|(told, _)| told == name).map_or("", |(_, v)| v);
                    let ours = if one.who == Who::Nobody { "" } else { ours };
                    if *name == "x-vestibule-assertion" && one.who != Who::Nobody {
                        assert_eq!(values[0].split('.').count(), 3, "{case}{answer:?}");
                    } else {
                        assert_eq!(values[0], ours, "{name}: {case}{answer:?}");
                    }
                }
            }
        }
    });
}
