//! What passes on the wire, and what must not: framing, HTTP/2, TLS, upgrades, limits,
//! upstreams that misbehave, and the server's end. SECURITY.md 1.K, 1.L and section 4.
//!
//! Bytes are compared at the upstream wherever smuggling could show: an answer alone proves
//! nothing about what was forwarded.

mod http1;
mod http2;
mod lifetime;
mod limits;
mod pool;
mod tls;
mod upstream;
mod websocket;

use std::time::{Duration, Instant};

use vestibule_testkit::{Client, Conn, Gateway, GatewayBuilder, Request, Route};

/// The host of the public route.
pub(crate) const APP: &str = "app.example.test";
/// A URL there.
pub(crate) const URL: &str = "https://app.example.test/";

/// The longest that something which needs no waiting may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A gateway of one worker, so that pools are shared, without routes.
pub(crate) fn gateway() -> GatewayBuilder {
    crate::gateway().toml("[server]\nworkers = 1")
}

/// A public route of [`APP`].
pub(crate) fn public(upstream: impl Into<String>) -> Route {
    Route::new("app", APP).upstream(upstream).access("public")
}

/// A gateway with one public route.
pub(crate) fn in_front_of(upstream: impl Into<String>) -> Gateway {
    gateway().route(public(upstream)).start()
}

/// What came back for some bytes.
#[derive(Debug)]
pub(crate) struct Said {
    /// The status of every answer, 1xx included.
    pub(crate) statuses: Vec<u16>,
    /// Whether the server closed.
    pub(crate) closed: bool,
    /// Everything.
    pub(crate) text: String,
}

/// Sends bytes on a connection of their own and waits for the server to close it.
pub(crate) fn say(client: &Client, bytes: impl AsRef<[u8]>) -> Said {
    let mut conn = client.connect(APP);
    // The server may answer and close before it has read everything.
    let _ = conn.write_all(bytes.as_ref());
    heard(&mut conn, SOON)
}

/// What came on a connection until the server closed it.
pub(crate) fn heard(conn: &mut Conn, within: Duration) -> Said {
    let closed = conn.closes_within(within);
    let text = String::from_utf8_lossy(&std::mem::take(&mut conn.buffered)).into_owned();
    let statuses = text
        .match_indices("HTTP/1.")
        .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok())
        .collect();
    Said { statuses, closed, text }
}

/// Asserts that bytes are answered with one status of these and nothing more, and that the
/// connection ends.
#[track_caller]
pub(crate) fn assert_refused(client: &Client, bytes: impl AsRef<[u8]>, status: &[u16]) {
    let said = say(client, &bytes);
    let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
    let shown = shown.get(..shown.len().min(300)).unwrap_or(&shown);
    assert!(said.closed, "the connection stays after {shown:?}: {said:?}");
    assert_eq!(said.statuses.len(), 1, "{shown:?}: {said:?}");
    assert!(status.contains(&said.statuses[0]), "{shown:?}: {said:?}");
}

/// Asserts that a client without history is answered within a second. Other tests keep the
/// machine busy too, so that one of three tries must be quick, not each.
#[track_caller]
pub(crate) fn assert_serves(gateway: &Gateway) {
    let mut took = Vec::new();
    for _ in 0..3 {
        let started = Instant::now();
        let _ = gateway.client().send(&Request::get(URL)).expect(200);
        if started.elapsed() < Duration::from_secs(1) {
            return;
        }
        took.push(started.elapsed());
    }
    panic!("fresh clients waited {took:?}");
}

/// Resident memory of the server, in MiB.
pub(crate) fn rss_mib(gateway: &mut Gateway) -> u64 {
    gateway.process().rss_kib() / 1024
}
