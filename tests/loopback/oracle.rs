//! What the two differential oracles share: a seeded generator of hostile requests, the naive
//! reading of the contract that they are held against, an upstream that shows what reached it,
//! and a client that keeps many requests under way.
//!
//! The reading is written from the contract, not from the gateway: where the two differ, one is
//! wrong. `VESTIBULE_ORACLE_SEED` replays a failure, `VESTIBULE_ORACLE_CASES` sets the length.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vestibule_testkit::{Client, Conn, Response};

/// `SplitMix64`: small, seeded, and the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The seed of this run.
pub(crate) fn seed() -> u64 {
    number("VESTIBULE_ORACLE_SEED", 0x5eed_2026)
}

/// How many requests an oracle sends.
pub(crate) fn cases() -> usize {
    number("VESTIBULE_ORACLE_CASES", 100_000) as usize
}

/// Runs `cases` cases on a few threads; each gets a generator of its own and its share.
pub(crate) fn in_parallel(cases: usize, work: impl Fn(Rng, usize) + Sync) {
    const THREADS: usize = 4;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (work, seed) = (&work, seed().wrapping_add(thread as u64));
            scope.spawn(move || work(Rng::new(seed), cases / THREADS));
        }
    });
}

// ---- paths ----

const SEGMENTS: &[&str] = &[
    "public",
    "public",
    "public",
    "admin",
    "admin",
    "staff",
    "keys",
    "rw",
    "area",
    "a",
    "b.c",
    "publicX",
    "adminX",
    "Public",
    "ADMIN",
    "pub",
    "%70ublic",
    "adm%69n",
    "%61dmin",
    "st%61ff",
    "publi%63",
    "a%20b",
    "a*b",
    "~u",
    "a$'()",
    "+",
    "@",
    "a:b",
    "=",
    "&",
    "!",
    "%e2%82%ac",
    "%C3%a9",
    "%2a",
    "%24",
    "...",
    ".a",
    "..b",
    "a.",
    "-_.~",
    "%2D%5f%2e%7E1",
];

const HOSTILE: &[&str] = &[
    "..",
    ".",
    "%2e",
    "%2E%2e",
    ".%2e",
    "%2e.",
    "%252e",
    "%252e%252e",
    "%25252e%25252e",
    "%2525252e",
    "..;",
    "..;x=y",
    ".;",
    ";",
    ";x",
    "admin;x=y",
    "admin;",
    ";x=y;admin",
    "%3b",
    "%3Bx",
    "..%3b",
    "%2f",
    "%2F",
    "%252f",
    "..%2f",
    "..%2Fadmin",
    "%2e%2e%2fadmin",
    "..%252fadmin",
    "%5c",
    "%5C",
    "..%5cadmin",
    "\\",
    "..\\",
    "\\..\\admin",
    "%255c",
    "%255c..",
    "%00",
    "public%00",
    "%0a",
    "%0d%0a",
    "%7f",
    "%01",
    "%09",
    "%c0%ae%c0%ae",
    "%c0%af",
    "..%c0%afadmin",
    "%c1%9c",
    "%e0%80%af",
    "%ef%bc%8f",
    "%23",
    "%23/public",
    "%3f",
    "%3F/public",
    "%",
    "%2",
    "%zz",
    "%u002e",
    "%%41",
    "%25",
    "%25%32%65",
    "\u{e9}",
    "\u{2024}\u{2024}",
    "\u{ff0f}",
    "\u{1}",
    "\t",
    "\u{7f}",
    " ",
    "{x}",
    "a|b",
    "a^b",
    "a\"b",
    "a<b>",
    "a`b",
    "[x]",
    "#",
    "#/public",
    "admin#",
];

const QUERIES: &[&str] = &[
    "?",
    "??",
    "?x=/public",
    "?/../admin",
    "?%2e%2e/",
    "?a=//b&c=;d",
    "?q=%00%5c",
    "?/public/../admin",
    "?'$!*",
];

/// A request target as an attacker would write it. No CR and no LF: those end the line, and
/// framing is another suite's.
pub(crate) fn target(rng: &mut Rng) -> String {
    if rng.once_in(60) {
        let odd = [
            "*",
            "",
            "public",
            "public/a",
            "//",
            "///public",
            "/",
            "//public/a",
            "/%",
            "/?",
            "?",
            "#",
            "/#",
        ];
        return rng.pick(&odd).to_owned();
    }
    let mut path = String::new();
    for _ in 0..=rng.below(4) {
        path.push_str(match rng.below(24) {
            0 => "//",
            1 => "/./",
            2 => "/../",
            3 => "%2f",
            4 => "\\",
            _ => "/",
        });
        let pool = if rng.once_in(3) { HOSTILE } else { SEGMENTS };
        path.push_str(rng.pick(pool));
    }
    if rng.once_in(5) {
        path.push('/');
    }
    if rng.once_in(8) {
        path = spelled_otherwise(rng, &path);
    }
    if rng.once_in(25) && path.is_ascii() {
        let at = rng.below(path.len()) + 1;
        path.insert(at, char::from(0x21 + rng.below(0x5e) as u8));
    }
    if rng.once_in(4) {
        path.push_str(rng.pick(QUERIES));
    }
    path
}

/// Some characters as escapes, of escapes too.
fn spelled_otherwise(rng: &mut Rng, path: &str) -> String {
    let mut out = String::from("/");
    for byte in path.bytes().skip(1) {
        if rng.once_in(4) {
            let hex = if rng.once_in(2) { format!("{byte:02x}") } else { format!("{byte:02X}") };
            let percent = if rng.once_in(4) { "%25" } else { "%" };
            out.push_str(percent);
            out.push_str(&hex);
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

/// The contract's normal form of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Normal {
    pub(crate) path: String,
    /// `//`, `%2F` or `;`: only where a route permits it.
    pub(crate) needs_leave: bool,
    /// Holds what two readers may take for different things though the contract lets it pass, or
    /// what is no URI (RFC 3986): refusing it is right, too.
    pub(crate) doubtful: bool,
}

/// Path and query of a target; `None`: it has no normal form.
pub(crate) fn naive(target: &str) -> Option<(Normal, Option<String>)> {
    if target.bytes().any(|byte| byte == b'#' || byte <= 0x20 || byte == 0x7f) {
        return None;
    }
    let (raw, query) = match target.find('?') {
        Some(at) => (&target[..at], Some(target[at + 1..].to_owned())),
        None => (target, None),
    };
    if !raw.starts_with('/') {
        return None;
    }
    let bytes = raw.as_bytes();
    let mut path = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte <= 0x20 || byte >= 0x7f || byte == b'\\' {
            return None;
        }
        if byte != b'%' {
            path.push(char::from(byte));
            at += 1;
            continue;
        }
        let escaped = hex_pair(bytes, at + 1)?;
        let text = char::from(escaped);
        if escaped == 0 || text == '\\' {
            return None;
        }
        if text.is_ascii_alphanumeric() || "-._~".contains(text) {
            path.push(text);
        } else {
            path.push_str(&format!("%{escaped:02X}"));
        }
        at += 3;
    }
    // The normal form itself, the escapes that it keeps, and two more readings.
    let mut reading = path.clone().into_bytes();
    let mut overlong = false;
    for _ in 0..4 {
        overlong |= reading.contains(&0xc0) || reading.contains(&0xc1);
        let segments = reading.split(|byte| b"/\\".contains(byte));
        for segment in segments {
            let name = segment.split(|&byte| byte == b';').next().unwrap();
            if name == b"." || name == b".." {
                return None;
            }
        }
        reading = decoded(&reading);
    }
    let needs_leave =
        path.contains("//") || path.contains("%2F") || path.contains(';') || path.contains("%3B");
    let doubtful = overlong || target.contains(['"', '<', '>', '^', '`', '{', '|', '}', '[', ']']);
    Some((Normal { path, needs_leave, doubtful }, query))
}

fn hex_pair(bytes: &[u8], at: usize) -> Option<u8> {
    let pair = bytes.get(at..at + 2)?;
    if !pair.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match hex_pair(bytes, at + 1) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

// ---- the upstream ----

/// An upstream that answers with what it received: `X-Mirror` is its name, `X-Seen` the method
/// and target, the body the raw head.
pub(crate) struct Mirror {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Mirror {
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let _ = stream.set_nodelay(true);
                std::thread::spawn(move || reflect(stream, name));
            }
        });
        Self { address, stopped }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

fn reflect(mut stream: TcpStream, name: &str) {
    let mut buffer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        while let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..at + 4).collect();
            let line = head.split(|&byte| byte == b'\r').next().unwrap();
            let seen = line.strip_suffix(b" HTTP/1.1").unwrap_or(line);
            let mut answer =
                format!("HTTP/1.1 200 OK\r\nX-Mirror: {name}\r\nX-Seen: ").into_bytes();
            answer.extend_from_slice(seen);
            answer.extend_from_slice(
                format!("\r\nContent-Length: {}\r\n\r\n", head.len()).as_bytes(),
            );
            if !seen.starts_with(b"HEAD ") {
                answer.extend_from_slice(&head);
            }
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}

// ---- the client ----

/// A kept connection with several requests under way.
pub(crate) struct Pipeline {
    client: Client,
    conn: Option<Conn>,
}

impl Pipeline {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, conn: None }
    }

    /// Sends `(method, bytes)` without waiting for answers, then reads them in order. `None`: the
    /// connection was closed without one. A connection that is closed in between costs nothing:
    /// what was not answered is sent again on another.
    pub(crate) fn send(&mut self, batch: &[(String, Vec<u8>)]) -> Vec<Option<Response>> {
        let mut answers = Vec::with_capacity(batch.len());
        while answers.len() < batch.len() {
            let fresh = self.conn.is_none();
            let mut conn = self.conn.take().unwrap_or_else(|| self.client.connect("localhost"));
            let from = answers.len();
            let bytes: Vec<u8> =
                batch[from..].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            let _ = conn.write_all(&bytes);
            let mut open = true;
            for (method, _) in &batch[from..] {
                let Ok(answer) = conn.read_response(method) else {
                    open = false;
                    break;
                };
                open =
                    !answer.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
                answers.push(Some(answer));
                if !open {
                    break;
                }
            }
            if answers.len() == from && fresh {
                answers.push(None);
            }
            if open {
                self.conn = Some(conn);
            }
        }
        answers
    }
}
