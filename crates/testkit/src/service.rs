//! A small HTTP/1.1 server for parts that are servers with a memory: providers, issuers. One
//! thread and one request a connection; what it answers is a function of the whole request.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Scene, Script};

/// A request, read to its end.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The method.
    pub method: String,
    /// The target's path.
    pub path: String,
    /// What stands behind the `?`.
    pub query: String,
    /// Fields in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Closes without a byte.
    Close,
    /// A JSON head, then spaces without end.
    Endless,
    /// Status, fields, body.
    Full(u16, Vec<(String, String)>, Vec<u8>),
    /// Waits, then the other one.
    Held(Duration, Box<Reply>),
    /// Promises more than it sends, then closes.
    Truncated(Vec<u8>),
}

/// What an endless answer promises: 10 GiB.
const ENDLESS: u64 = 10 << 30;

/// The server. It stops when dropped.
pub(crate) struct Service {
    script: Script,
}

impl Service {
    /// Serves on an address, port 0 for any.
    pub(crate) fn at(
        address: SocketAddr,
        answer: impl Fn(&Heard) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let script = Script::at(address, move |scene| {
            if let Some(heard) = Heard::read(scene) {
                answer(&heard).send(scene);
            }
        });
        Self { script }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.script.address()
    }

    /// How often a text came over the wire.
    pub(crate) fn heard(&self, text: &str) -> usize {
        self.script.heard(text)
    }
}

impl Heard {
    fn read(scene: &mut Scene) -> Option<Self> {
        let head = scene.head()?;
        let mut lines = head.trim_end().split("\r\n");
        let mut words = lines.next()?.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut heard = Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: String::new(),
        };
        let length = heard.header("content-length").and_then(|text| text.parse().ok());
        let body = scene.exactly(length.unwrap_or(0))?;
        heard.body = String::from_utf8_lossy(&body).into_owned();
        Some(heard)
    }

    /// The first field of that name, any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        first(parameters(&self.query), name)
    }

    /// A parameter of a form in the body.
    pub fn form(&self, name: &str) -> Option<String> {
        first(parameters(&self.body), name)
    }

    /// The bearer token.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// User and password of Basic, unescaped as RFC 6749 (2.3.1) wants it.
    pub fn basic(&self) -> Option<(String, String)> {
        use base64::Engine;
        let text = self.header("authorization")?.strip_prefix("Basic ")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        Some((unescape(user), unescape(password)))
    }

    /// A cookie of the browser.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.header("cookie")?.split(';');
        pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(found, value)| (found == name).then_some(value))
    }
}

impl Reply {
    /// 200 with JSON, never kept.
    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self::json_text(200, value.to_string())
    }

    /// JSON of any status, as written.
    pub(crate) fn json_text(status: u16, text: impl Into<Vec<u8>>) -> Self {
        let fields = [("Content-Type", "application/json"), ("Cache-Control", "no-store")];
        Self::with(status, &fields, text)
    }

    /// Any answer.
    pub(crate) fn with(status: u16, fields: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Self::Full(status, fields.iter().map(owned).collect(), body.into())
    }

    /// 302.
    pub(crate) fn redirect(to: &str) -> Self {
        Self::with(302, &[("Location", to), ("Cache-Control", "no-store")], "")
    }

    /// A page for people.
    pub(crate) fn page(status: u16, text: &str) -> Self {
        let page = format!("<!doctype html><title>{text}</title><p>{text}</p>");
        Self::with(status, &[("Content-Type", "text/html; charset=utf-8")], page)
    }

    /// Adds a field.
    pub(crate) fn and(self, name: &str, value: &str) -> Self {
        match self {
            Self::Full(status, mut fields, body) => {
                fields.push((name.to_owned(), value.to_owned()));
                Self::Full(status, fields, body)
            }
            Self::Held(time, inner) => Self::Held(time, Box::new(inner.and(name, value))),
            other => other,
        }
    }

    fn send(self, scene: &mut Scene) {
        match self {
            Self::Close => {}
            Self::Endless => {
                scene.send(head(200, &[], ENDLESS).as_bytes());
                let spaces = vec![b' '; 64 * 1024];
                let mut sent = 0;
                while sent < ENDLESS && !scene.stopped() && scene.send(&spaces) {
                    sent += spaces.len() as u64;
                }
            }
            Self::Full(status, fields, body) => {
                scene.send(head(status, &fields, body.len() as u64).as_bytes());
                scene.send(&body);
            }
            Self::Held(time, inner) => {
                scene.hold(time);
                if !scene.stopped() {
                    inner.send(scene);
                }
            }
            Self::Truncated(body) => {
                scene.send(head(200, &[], body.len() as u64 + 100).as_bytes());
                scene.send(&body);
            }
        }
    }
}

fn head(status: u16, fields: &[(String, String)], length: u64) -> String {
    let mut head = format!("HTTP/1.1 {status} Told\r\n");
    if fields.is_empty() {
        head.push_str("Content-Type: application/json\r\n");
    }
    for (name, value) in fields {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Content-Length: {length}\r\nConnection: close\r\n\r\n");
    head
}

/// The pairs of a query or of a form, unescaped, in order.
pub fn parameters(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect()
}

/// The first parameter of that name in a URL's query.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    first(parameters(url.split_once('?')?.1.split('#').next()?), name)
}

fn first(pairs: Vec<(String, String)>, name: &str) -> Option<String> {
    pairs.into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// `Date` as HTTP writes it (RFC 9110, 5.6.7).
pub(crate) fn http_date(seconds: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (mut year, mut left) = (1970, days);
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    while left >= 365 + i64::from(leap(year)) {
        left -= 365 + i64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!(
        "{}, {:02} {} {year} {:02}:{:02}:{:02} GMT",
        DAYS[days.rem_euclid(7) as usize],
        left + 1,
        MONTHS[month],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_unescaped_in_order() {
        assert_eq!(
            parameters("a=b+c&d=%C3%A9&e&a=%2"),
            [("a", "b c"), ("d", "é"), ("e", ""), ("a", "%2")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(parameter("https://a.test/x?y=1&z=2#z=3", "z").as_deref(), Some("2"));
    }

    #[test]
    fn dates_are_those_of_rfc_9110() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(1_709_164_800), "Thu, 29 Feb 2024 00:00:00 GMT");
    }
}
