//! Bodies, upgrades and other things that a hook must not damage.

use vestibule_testkit::{Request, ws};

use crate::stage::{IMG, Stage, WIKI};

crate::with_every_proxy!(
    m3_bodies_arrive_whole_however_they_are_framed,
    m3_refused_uploads_leave_the_connection_usable,
    d7_websockets_pass_for_the_signed_in_and_from_their_own_origin_only,
    d7_answers_of_the_app_pass_as_they_are,
);

fn m3_bodies_arrive_whole_however_they_are_framed(stage: &mut Stage) {
    let mut ann = stage.signed_in("ann");
    ann.enter(WIKI);
    let body: Vec<u8> = (0..10 << 20).map(|n: u32| (n % 251) as u8).collect();
    let upload = Request::new("POST", &format!("{WIKI}/upload")).body(body.clone());
    let answer = ann.send(upload).expect(200);
    assert_eq!(answer.json()["body_length"], body.len());
    assert!(stage.wiki.last().body == body, "the body changed on its way");

    let head = ann.dressed(
        Request::new("PUT", &format!("{WIKI}/chunked")).header("Transfer-Encoding", "chunked"),
    );
    let mut conn = stage.client().connect("wiki.example.test");
    conn.send(&head.bytes());
    conn.send(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    assert_eq!(conn.read_response("PUT").unwrap().status, 200);
    assert_eq!(stage.wiki.last().body, b"hello world");

    let expecting = ann.dressed(
        Request::new("POST", &format!("{WIKI}/expect"))
            .header("Expect", "100-continue")
            .body("later"),
    );
    assert_eq!(stage.client().send(&expecting).status, 200);
    assert_eq!(stage.wiki.last().body, b"later");
}

fn m3_refused_uploads_leave_the_connection_usable(stage: &mut Stage) {
    let mut conn = stage.client().connect("wiki.example.test");
    let upload = Request::new("POST", &format!("{WIKI}/upload")).body(vec![b'x'; 100_000]);
    assert_eq!(conn.exchange(&upload).status, 401);
    // Either the proxy closes, or the next answer belongs to the next question.
    let next = Request::get(&format!("{WIKI}/open/next"));
    if conn.write_all(&next.bytes()).is_ok()
        && let Ok(answer) = conn.read_response("GET")
    {
        assert_eq!(answer.json()["target"], "/open/next");
    }
    assert!(!stage.wiki.requests().iter().any(|seen| seen.method == "POST"));
}

fn d7_websockets_pass_for_the_signed_in_and_from_their_own_origin_only(stage: &mut Stage) {
    let mut ann = stage.signed_in("ann");
    ann.enter(WIKI);
    let open = |request: Request| ws::open(&stage.client(), &request);
    let url = format!("{WIKI}/ws");
    let mut socket = open(ann.dressed(Request::get(&url).header("Origin", WIKI))).expect("101");
    socket.send_text("hello");
    assert_eq!(socket.text(), "hello");
    assert_eq!(stage.wiki.last().header("remote-user"), Some("ann"));
    stage.wiki.clear();
    for origin in [IMG, "https://evil.test", "null"] {
        let answer = open(ann.dressed(Request::get(&url).header("Origin", origin)));
        assert_eq!(answer.err().map(|answer| answer.status), Some(403), "{origin}");
    }
    let nobody = open(Request::get(&url).header("Origin", WIKI));
    assert_eq!(nobody.err().map(|answer| answer.status), Some(401));
    assert_eq!(stage.reached(), 0);
}

fn d7_answers_of_the_app_pass_as_they_are(stage: &mut Stage) {
    let mut ann = stage.signed_in("ann");
    ann.enter(WIKI);
    for status in [201, 401, 403, 404, 500] {
        let answer = ann.send(Request::get(&format!("{WIKI}/status/{status}")));
        assert_eq!((answer.status, answer.text().as_str()), (status, "status"));
        assert_eq!(answer.header("x-vestibule"), None, "an app's {status} is not ours");
    }
    let answer = ann.send(Request::get(&format!("{WIKI}/set-cookie?app=1%3B+Path=/")));
    assert_eq!(answer.all("set-cookie").collect::<Vec<_>>(), ["app=1; Path=/"]);
    let events = ann.send(Request::get(&format!("{WIKI}/sse")));
    assert_eq!(events.text(), "data: 1\n\ndata: 2\n\n");
    let chunked = ann.send(Request::get(&format!("{WIKI}/chunked")));
    assert_eq!(chunked.text(), "onetwo");
}
