//! What is written of each request, and what limits cost.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vestibule_core::api_key::RateLimit;
use vestibule_testkit::{Recorder, Request, h2, until};

use crate::house::{House, route};

/// An access log that a test can read.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn all(&self) -> Vec<serde_json::Value> {
        let bytes = self.0.lock().unwrap();
        bytes.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

#[test]
fn each_request_leaves_one_line_with_every_field_and_no_secret() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"signed-in\""));
    let ann = house.account("ann");
    let key = house.key(&ann);
    let upload = Request::new("POST", "https://app.test/a%22b?token=hidden").body("hello");
    assert_eq!(house.plain().send(&upload.header("X-Api-Key", &key)).status, 200);
    assert_eq!(house.plain().send(&Request::get("https://app.test/x")).status, 401);
    let lines = until("two lines", || Some(house.lines.all()).filter(|lines| lines.len() == 2));
    let mut names: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    names.sort();
    let mut want = [
        "time",
        "request_id",
        "client_ip",
        "host",
        "method",
        "path",
        "status",
        "bytes_in",
        "bytes_out",
        "duration_ms",
        "upstream_ms",
        "route",
        "rule",
        "verdict",
        "reason",
        "door",
        "user_id",
    ];
    want.sort_unstable();
    assert_eq!(names, want);
    let (allowed, refused) = (&lines[0], &lines[1]);
    assert_eq!((&allowed["status"], &allowed["bytes_in"]), (&200.into(), &5.into()));
    assert_eq!((&allowed["verdict"], &allowed["reason"]), (&"allow".into(), &"granted".into()));
    assert_eq!(allowed["user_id"], ann.id.to_string());
    assert_eq!((&allowed["path"], &allowed["door"]), (&"/a%22b".into(), &"proxy".into()));
    assert!(allowed["upstream_ms"].is_number() && refused["upstream_ms"].is_null());
    assert_eq!(
        (&refused["verdict"], &refused["reason"]),
        (&"challenge".into(), &"not-signed-in".into())
    );
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("hidden") && !text.contains(&key));
    let metrics = house.proxy.metrics().render();
    for line in [
        "vestibule_requests_total{route=\"app\",code=\"200\",method=\"POST\"} 1",
        "vestibule_verdicts_total{door=\"proxy\",verdict=\"challenge\",reason=\"not-signed-in\"} 1",
        "vestibule_upstream_duration_seconds_count 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}\n{metrics}");
    }
}

#[test]
fn a_key_over_its_limit_is_429_with_the_limit_told() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"signed-in\""));
    let ann = house.account("ann");
    let limit = RateLimit { requests: 2, window: Duration::from_secs(60) };
    let key = house.key_with(&ann, Some(limit));
    let ask = || house.plain().send(&Request::get("https://app.test/").header("X-Api-Key", &key));
    assert_eq!((ask().status, ask().status), (200, 200));
    let over = ask();
    assert_eq!((over.status, over.code().as_deref()), (429, Some("RATE_LIMITED")));
    let retry: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry));
    assert_eq!(over.header("ratelimit-policy"), Some("\"api-key\";q=2;w=60"));
    assert!(over.header("ratelimit").unwrap().starts_with("\"api-key\";r=0;t="));
}

#[test]
fn l3_crumbs_and_decoded_bytes_are_bounded_on_http2() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    let crumbs = |count: usize| {
        (0..count).fold(Request::get("https://app.test/"), |request, n| {
            request.header("Cookie", format!("c{n}=1"))
        })
    };
    let answers = h2::tls(house.address(1), &[crumbs(80), crumbs(101)]);
    assert_eq!((answers[0].status, answers[1].status), (200, 431));
    let big = Request::get("https://app.test/").header("X-Big", vec![b'x'; 33 * 1024]);
    let address = house.address(1);
    let answers = std::panic::catch_unwind(|| h2::tls(address, &[big]));
    assert!(answers.is_err() || answers.is_ok_and(|answers| answers[0].status == 431));
    assert_eq!(app.count(), 1);
}
