//! An upstream that keeps every raw byte it receives and answers as it is told, also with
//! nonsense. HTTP/1.1 on plain threads; reads framing strictly so that what a test sees is
//! what a careful app would have seen.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::wait::{DEADLINE, until};

/// What a recorder does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Status, fields, body with `Content-Length`.
    Full(u16, Vec<(String, String)>, Vec<u8>),
    /// 200 with JSON: `method`, `target`, `headers` (a list of pairs), `body_length`, `connection`.
    Echo,
    /// Exactly these bytes; the connection stays.
    Raw(Vec<u8>),
    /// Exactly these bytes, then an orderly close.
    RawThenClose(Vec<u8>),
    /// Bytes with a pause before each piece, then the connection stays.
    Drip(Vec<(Duration, Vec<u8>)>),
    /// A chunked 200 of these chunks, with trailers.
    Chunked(Vec<Vec<u8>>, Vec<(String, String)>),
    /// Closes without a byte.
    Close,
    /// Resets the connection.
    Reset,
    /// Never answers; holds the connection until the other side closes it.
    Hang,
    /// 101 and then whatever comes is sent back (WebSocket frames are echoed unmasked).
    WebSocketEcho,
    /// Reads no body: answers 200 at once and closes.
    EarlyClose,
}

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// All bytes of head and body.
    pub raw: Vec<u8>,
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// `HTTP/1.1`
    pub version: String,
    /// Fields in the order of arrival, names as sent; bytes that are not UTF-8 as Latin-1.
    pub headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub body: Vec<u8>,
    /// Trailers of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether the body came to its end.
    pub complete: bool,
}

/// The upstream. It stops when dropped.
pub struct Recorder {
    address: SocketAddr,
    socket: Option<PathBuf>,
    shared: Arc<Shared>,
}

type Handler = Box<dyn Fn(&Recorded) -> Answer + Send + Sync>;

struct Shared {
    handler: Handler,
    requests: Mutex<Vec<Recorded>>,
    arrived: Condvar,
    connections: AtomicUsize,
    bytes: Mutex<Vec<Vec<u8>>>,
    stopped: AtomicBool,
}

impl Recorder {
    /// A recorder that answers by path: `/sse`, `/ws`, `/chunked`, `/trailers`, `/hang`,
    /// `/close`, `/reset`, `/status/NNN`, `/bytes/N`, `/set-cookie` (the query is the cookie, with `+` for a space and `%3B` for `;`);
    /// everything else is [`Answer::Echo`].
    pub fn start() -> Self {
        Self::with(by_path)
    }

    /// A recorder with its own answers.
    pub fn with(handler: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> Self {
        Self::bind("127.0.0.1:0".parse().unwrap(), handler, None)
    }

    /// A recorder behind TLS.
    pub fn tls(
        config: Arc<rustls::ServerConfig>,
        handler: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::bind("127.0.0.1:0".parse().unwrap(), handler, Some(config))
    }

    /// A recorder on a given address, for upstreams that come back.
    pub fn at(address: SocketAddr) -> Self {
        Self::bind(address, by_path, None)
    }

    /// A recorder on a unix socket.
    pub fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let shared = Shared::new(Box::new(by_path));
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let state = Arc::clone(&state);
                let number = state.connection();
                std::thread::spawn(move || state.serve(number, Pipe::Unix(stream)));
            }
        });
        Self { address: "127.0.0.1:0".parse().unwrap(), socket: Some(path.to_owned()), shared }
    }

    fn bind(
        address: SocketAddr,
        handler: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::new(Box::new(handler));
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                let state = Arc::clone(&state);
                let number = state.connection();
                let tls = tls.clone();
                std::thread::spawn(move || {
                    let pipe = match tls {
                        None => Pipe::Tcp(stream),
                        Some(config) => {
                            let Ok(session) = rustls::ServerConnection::new(config) else { return };
                            Pipe::Tls(Box::new(rustls::StreamOwned::new(session, stream)))
                        }
                    };
                    state.serve(number, pipe);
                });
            }
        });
        Self { address, socket: None, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a route's `upstream`.
    pub fn url(&self) -> String {
        match &self.socket {
            Some(path) => format!("unix:{}", path.display()),
            None => format!("http://{}", self.address),
        }
    }

    /// All requests so far (complete heads).
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many requests so far.
    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// How many connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Every byte of every connection so far.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        self.shared.bytes.lock().unwrap().clone()
    }

    /// The last request.
    ///
    /// # Panics
    /// Where none came.
    #[track_caller]
    pub fn last(&self) -> Recorded {
        self.requests().pop().expect("the upstream received nothing")
    }

    /// Forgets what came.
    pub fn clear(&self) {
        self.shared.requests.lock().unwrap().clear();
        self.shared.bytes.lock().unwrap().iter_mut().for_each(Vec::clear);
    }

    /// Waits until so many requests have come.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Recorded> {
        let requests = self.shared.requests.lock().unwrap();
        let (requests, timeout) = self
            .shared
            .arrived
            .wait_timeout_while(requests, DEADLINE, |requests| requests.len() < count)
            .unwrap();
        assert!(!timeout.timed_out(), "{} of {count} requests came", requests.len());
        requests.clone()
    }

    /// Stops listening, so that its port can be used again; open connections end with their
    /// current exchange.
    pub fn stop(self) -> SocketAddr {
        let address = self.address;
        drop(self);
        until("the recorder's port is free", || TcpListener::bind(address).ok());
        address
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        match &self.socket {
            Some(path) => drop(UnixStream::connect(path)),
            None => drop(TcpStream::connect(self.address)),
        }
    }
}

impl Shared {
    fn new(handler: Handler) -> Arc<Self> {
        Arc::new(Self {
            handler,
            requests: Mutex::default(),
            arrived: Condvar::new(),
            connections: AtomicUsize::new(0),
            bytes: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    fn connection(&self) -> usize {
        self.bytes.lock().unwrap().push(Vec::new());
        self.connections.fetch_add(1, Ordering::SeqCst)
    }

    fn serve(&self, number: usize, pipe: Pipe) {
        let mut conn = Wire { pipe, buffered: Vec::new(), number, shared: self };
        while !self.stopped.load(Ordering::Relaxed) {
            let Some(mut request) = conn.read_head() else { return };
            request.connection = number;
            // The answer is chosen by the head, so that an early one is possible.
            let answer = (self.handler)(&request);
            if !matches!(answer, Answer::EarlyClose) {
                if request.header("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue"))
                {
                    let _ = conn.pipe.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                conn.read_body(&mut request);
            }
            let complete = request.complete;
            let echo = echo(&request);
            self.requests.lock().unwrap().push(request.clone());
            self.arrived.notify_all();
            if !complete && !matches!(answer, Answer::EarlyClose) {
                return;
            }
            if !conn.answer(answer, &request, &echo) {
                return;
            }
        }
    }
}

impl Recorded {
    /// The first field of that name, any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All fields of that name, any case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether the bytes hold a text.
    pub fn holds(&self, text: &str) -> bool {
        self.raw.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

enum Pipe {
    Tcp(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
    Unix(UnixStream),
}

impl Pipe {
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }

    fn linger_zero(&self) {
        let tcp = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => &stream.sock,
            Self::Unix(_) => return,
        };
        let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
    }
}

struct Wire<'a> {
    pipe: Pipe,
    buffered: Vec<u8>,
    number: usize,
    shared: &'a Shared,
}

impl Wire<'_> {
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        match self.pipe.read(&mut chunk) {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.buffered.extend_from_slice(&chunk[..read]);
                if let Some(log) = self.shared.bytes.lock().unwrap().get_mut(self.number) {
                    // Enough for every test of framing; a 10 GiB upload is not kept.
                    if log.len() < 64 << 20 {
                        log.extend_from_slice(&chunk[..read]);
                    }
                }
                true
            }
        }
    }

    fn take_until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffered.windows(mark.len()).position(|w| w == mark) {
                return Some(self.buffered.drain(..at + mark.len()).collect());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffered.len() < length {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffered.drain(..length).collect())
    }

    fn read_head(&mut self) -> Option<Recorded> {
        let raw = self.take_until(b"\r\n\r\n")?;
        let text: String = match std::str::from_utf8(&raw) {
            Ok(text) => text.to_owned(),
            Err(_) => raw.iter().map(|&byte| char::from(byte)).collect(),
        };
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let mut words = lines.next()?.splitn(3, ' ').map(str::to_owned);
        Some(Recorded {
            method: words.next()?,
            target: words.next()?,
            version: words.next()?,
            headers: fields(lines),
            raw,
            ..Recorded::default()
        })
    }

    fn read_body(&mut self, request: &mut Recorded) {
        if request.all("transfer-encoding").any(|te| te.eq_ignore_ascii_case("chunked")) {
            request.complete = self.read_chunks(request).is_some();
        } else if let Some(length) = request.header("content-length") {
            let length: usize = length.parse().unwrap_or(0);
            if let Some(body) = self.take(length) {
                request.raw.extend_from_slice(&body);
                request.body = body;
                request.complete = true;
            } else {
                request.body = std::mem::take(&mut self.buffered);
            }
        } else {
            request.complete = true;
        }
    }

    fn read_chunks(&mut self, request: &mut Recorded) -> Option<()> {
        loop {
            let line = self.take_until(b"\r\n")?;
            request.raw.extend_from_slice(&line);
            let text = String::from_utf8_lossy(&line).into_owned();
            let size = usize::from_str_radix(text.trim_end().split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            let chunk = self.take(size + 2)?;
            request.raw.extend_from_slice(&chunk);
            request.body.extend_from_slice(&chunk[..size]);
        }
        loop {
            let line = self.take_until(b"\r\n")?;
            request.raw.extend_from_slice(&line);
            if line == b"\r\n" {
                return Some(());
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            request.trailers.extend(fields([text.as_str()].into_iter()));
        }
    }

    /// Answers; `false`: the connection ends.
    fn answer(&mut self, answer: Answer, request: &Recorded, echo: &[u8]) -> bool {
        match answer {
            Answer::Echo => {
                let json = ("Content-Type".to_owned(), "application/json".to_owned());
                self.full(200, &[json], echo, request.method == "HEAD")
            }
            Answer::Full(status, headers, body) => {
                self.full(status, &headers, &body, request.method == "HEAD")
            }
            Answer::Raw(bytes) => self.pipe.write_all(&bytes).is_ok(),
            Answer::RawThenClose(bytes) => {
                let _ = self.pipe.write_all(&bytes);
                false
            }
            Answer::Drip(pieces) => pieces.into_iter().all(|(pause, bytes)| {
                std::thread::park_timeout(pause);
                self.pipe.write_all(&bytes).is_ok()
            }),
            Answer::Chunked(chunks, trailers) => self.chunked(&chunks, &trailers),
            Answer::Close => false,
            Answer::Reset => {
                self.pipe.linger_zero();
                false
            }
            Answer::Hang => {
                while self.fill() {}
                false
            }
            Answer::WebSocketEcho => {
                self.websocket(request);
                false
            }
            Answer::EarlyClose => {
                let _ = self.pipe.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly",
                );
                false
            }
        }
    }

    fn full(&mut self, status: u16, headers: &[(String, String)], body: &[u8], head: bool) -> bool {
        let mut out = format!("HTTP/1.1 {status} Recorded\r\n");
        for (name, value) in headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut out = out.into_bytes();
        if !head {
            out.extend_from_slice(body);
        }
        self.pipe.write_all(&out).is_ok()
    }

    fn chunked(&mut self, chunks: &[Vec<u8>], trailers: &[(String, String)]) -> bool {
        let names: Vec<&str> = trailers.iter().map(|(name, _)| name.as_str()).collect();
        let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n".to_vec();
        if !names.is_empty() {
            out.extend_from_slice(format!("Trailer: {}\r\n", names.join(", ")).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        for chunk in chunks {
            out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n");
        for (name, value) in trailers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        self.pipe.write_all(&out).is_ok()
    }

    fn websocket(&mut self, request: &Recorded) {
        let Some(key) = request.header("sec-websocket-key") else {
            let _ = self.pipe.write_all(b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n");
            return;
        };
        let accept = crate::ws::accept(key);
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        if self.pipe.write_all(head.as_bytes()).is_err() {
            return;
        }
        loop {
            while let Some((frame, used)) = crate::ws::parse(&self.buffered) {
                self.buffered.drain(..used);
                let back = crate::ws::frame(frame.opcode, &frame.payload, None);
                if self.pipe.write_all(&back).is_err() || frame.opcode == crate::ws::CLOSE {
                    return;
                }
            }
            if !self.fill() {
                return;
            }
        }
    }
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn echo(request: &Recorded) -> Vec<u8> {
    let headers: Vec<_> =
        request.headers.iter().map(|(name, value)| serde_json::json!([name, value])).collect();
    serde_json::json!({
        "method": request.method,
        "target": request.target,
        "headers": headers,
        "body_length": request.body.len(),
        "connection": request.connection,
    })
    .to_string()
    .into_bytes()
}

fn by_path(request: &Recorded) -> Answer {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let text = |text: &str| text.as_bytes().to_vec();
    match path {
        "/chunked" => Answer::Chunked(vec![text("one"), text("two")], Vec::new()),
        "/close" => Answer::Close,
        "/hang" => Answer::Hang,
        "/reset" => Answer::Reset,
        "/set-cookie" => {
            let cookie = ("Set-Cookie".to_owned(), query.replace('+', " ").replace("%3B", ";"));
            Answer::Full(200, vec![cookie], text("set"))
        }
        "/sse" => Answer::Drip(vec![
            (
                Duration::ZERO,
                text(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
                ),
            ),
            (Duration::from_millis(300), text("9\r\ndata: 2\n\n\r\n0\r\n\r\n")),
        ]),
        "/trailers" => {
            Answer::Chunked(vec![text("body")], vec![("X-Checksum".into(), "abc".into())])
        }
        "/ws" => Answer::WebSocketEcho,
        _ => {
            if let Some(code) = path.strip_prefix("/status/").and_then(|code| code.parse().ok()) {
                return Answer::Full(code, Vec::new(), text("status"));
            }
            if let Some(size) = path.strip_prefix("/bytes/").and_then(|size| size.parse().ok()) {
                return Answer::Full(200, Vec::new(), vec![b'x'; size]);
            }
            Answer::Echo
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Request};

    #[test]
    fn a_recorder_keeps_raw_bytes_and_echoes() {
        let recorder = Recorder::start();
        let client = Client::plain(recorder.address());
        let mut conn = client.connect("a.test");
        let body = Request::new("POST", "http://a.test/x").header("X-Odd", "1").body("hello");
        assert_eq!(conn.exchange(&body).json()["body_length"], 5);
        let chunked = b"POST /y HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\nT: 1\r\n\r\n";
        conn.send(chunked);
        assert_eq!(conn.read_response("POST").unwrap().status, 200);
        let requests = recorder.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].raw, body.bytes());
        assert_eq!(requests[1].raw, chunked);
        assert_eq!(requests[1].body, b"abc");
        assert_eq!(requests[1].trailers, [("T".to_owned(), "1".to_owned())]);
        assert_eq!(recorder.connections(), 1);
    }

    #[test]
    fn a_recorder_echoes_websocket_frames() {
        let recorder = Recorder::start();
        let mut socket =
            crate::ws::open(&Client::plain(recorder.address()), &Request::get("http://a.test/ws"))
                .unwrap();
        socket.send_text("hello");
        assert_eq!(socket.text(), "hello");
    }
}
