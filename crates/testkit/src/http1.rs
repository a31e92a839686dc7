//! HTTP/1.1 by hand: every byte that leaves is the test's, every byte that comes is kept.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

/// Longest wait for a byte.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Where to connect, how, and from which address.
#[derive(Clone)]
pub struct Client {
    /// The socket.
    pub address: SocketAddr,
    /// TLS, where the socket speaks it.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The loopback address to come from.
    pub source: Option<IpAddr>,
}

/// A connection.
pub struct Conn {
    stream: Stream,
    /// Bytes read and not yet consumed.
    pub buffered: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

/// A request. [`Request::new`] makes one from an absolute URL; `Host` is written from it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The scheme of the URL.
    pub scheme: String,
    /// `host[:port]`.
    pub authority: String,
    /// Path and query, as given.
    pub target: String,
    /// Fields, without `Host` and `Content-Length`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Sent with `Content-Length` where present.
    pub body: Option<Vec<u8>>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Fields in the order of arrival, names as sent.
    pub headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub body: Vec<u8>,
    /// Trailers of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Heads of 1xx answers that came before.
    pub interim: Vec<Response>,
}

impl Client {
    /// A plain client.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, source: None }
    }

    /// A TLS client that trusts the shared test authority.
    pub fn tls(address: SocketAddr) -> Self {
        let tls = crate::Ca::shared().client(&["http/1.1"]);
        Self { address, tls: Some(tls), source: None }
    }

    /// The same client from another loopback address.
    #[must_use]
    pub fn from(mut self, source: &str) -> Self {
        self.source = Some(source.parse().unwrap());
        self
    }

    /// A connection; `host` is the SNI where TLS is spoken.
    pub fn connect(&self, host: &str) -> Conn {
        self.try_connect(host).unwrap_or_else(|error| panic!("connect {}: {error}", self.address))
    }

    /// As [`Client::connect`], with the error.
    pub fn try_connect(&self, host: &str) -> io::Result<Conn> {
        let tcp = tcp(self.address, self.source)?;
        let Some(config) = &self.tls else {
            return Ok(Conn { stream: Stream::Plain(tcp), buffered: Vec::new() });
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session =
            rustls::ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(session, tcp);
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(Conn { stream: Stream::Tls(Box::new(stream)), buffered: Vec::new() })
    }

    /// One request on a connection of its own.
    pub fn send(&self, request: &Request) -> Response {
        self.try_send(request).unwrap_or_else(|error| {
            panic!("{} {}{}: {error}", request.method, request.authority, request.target)
        })
    }

    /// As [`Client::send`], with the error.
    pub fn try_send(&self, request: &Request) -> io::Result<Response> {
        let host = request.host();
        let mut conn = self.try_connect(host)?;
        // A server may answer and close before it has read everything.
        let sent = conn.write_all(&request.bytes());
        match conn.read_response(&request.method) {
            Ok(response) => Ok(response),
            Err(error) => sent.and(Err(error)),
        }
    }

    /// Sends bytes on a connection of its own and reads until the other side closes.
    pub fn raw(&self, host: &str, bytes: &[u8]) -> Vec<u8> {
        let mut conn = self.connect(host);
        let _ = conn.write_all(bytes);
        conn.read_to_close()
    }
}

fn tcp(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&address.into(), READ_TIMEOUT)?;
    socket.set_tcp_nodelay(true)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_write_timeout(Some(READ_TIMEOUT))?;
    Ok(stream)
}

impl Conn {
    /// Sends a request and reads its answer; the connection stays.
    pub fn exchange(&mut self, request: &Request) -> Response {
        self.write_all(&request.bytes()).unwrap();
        self.read_response(&request.method).unwrap()
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.write_all(bytes).unwrap();
    }

    /// Sends bytes, with the error.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Reads one answer to a request of that method; 1xx heads (but 101) are gathered.
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let mut response = self.read_head()?;
            if (100..200).contains(&response.status) && response.status != 101 {
                interim.push(response);
                continue;
            }
            response.interim = interim;
            if method != "HEAD" && !matches!(response.status, 101 | 204 | 304) {
                self.read_body(&mut response)?;
            }
            return Ok(response);
        }
    }

    /// Reads a head: what stands before the empty line.
    pub fn read_head(&mut self) -> io::Result<Response> {
        let head = self.read_until(b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&head);
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| invalid(&format!("no status line: {status_line:?}")))?;
        Ok(Response { status, headers: fields(lines)?, ..Response::default() })
    }

    fn read_body(&mut self, response: &mut Response) -> io::Result<()> {
        if response.header("transfer-encoding").is_some_and(|te| te.ends_with("chunked")) {
            loop {
                let line = self.read_until(b"\r\n")?;
                let text = String::from_utf8_lossy(&line);
                let size = text.trim_end().split(';').next().unwrap_or_default().trim().to_owned();
                let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
                if size == 0 {
                    break;
                }
                let mut chunk = self.read_exact(size + 2)?;
                chunk.truncate(size);
                response.body.append(&mut chunk);
            }
            loop {
                let line = self.read_until(b"\r\n")?;
                if line == b"\r\n" {
                    return Ok(());
                }
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                response.trailers.extend(fields([text.as_str()].into_iter())?);
            }
        }
        if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            response.body = self.read_exact(length)?;
            return Ok(());
        }
        response.body = self.read_to_close();
        Ok(())
    }

    /// Reads exactly so many bytes.
    pub fn read_exact(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffered.len() < length {
            self.fill()?;
        }
        Ok(self.buffered.drain(..length).collect())
    }

    /// Reads up to and with a mark.
    pub fn read_until(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        let mut from = 0;
        loop {
            let found = self.buffered.get(from..).unwrap_or_default();
            if let Some(at) = found.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.buffered.drain(..from + at + mark.len()).collect());
            }
            from = self.buffered.len().saturating_sub(mark.len() - 1);
            self.fill()?;
        }
    }

    /// Reads until the other side closes (or resets, or a byte is not in time).
    pub fn read_to_close(&mut self) -> Vec<u8> {
        while self.fill().is_ok() {}
        std::mem::take(&mut self.buffered)
    }

    /// Whether the other side closes within that time, whatever it sends before.
    pub fn closes_within(&mut self, within: Duration) -> bool {
        self.set_read_timeout(within);
        let closed = loop {
            match self.fill() {
                Ok(()) => {}
                Err(error) => break !is_timeout(&error),
            }
        };
        self.set_read_timeout(READ_TIMEOUT);
        closed
    }

    /// Sets the longest wait for a byte.
    pub fn set_read_timeout(&self, timeout: Duration) {
        self.tcp().set_read_timeout(Some(timeout)).unwrap();
    }

    /// Sets the longest wait until a byte can be sent.
    pub fn set_write_timeout(&self, timeout: Duration) {
        self.tcp().set_write_timeout(Some(timeout)).unwrap();
    }

    /// Ends the sending direction.
    pub fn shutdown_write(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.tcp().shutdown(std::net::Shutdown::Write);
    }

    /// Ends the connection by a reset instead of an orderly close.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(self.tcp());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The address that the other side sees.
    pub fn local_address(&self) -> SocketAddr {
        self.tcp().local_addr().unwrap()
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    /// Reads some more bytes into `buffered`; an end of file is an error.
    pub fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut chunk)?,
            Stream::Tls(stream) => stream.read(&mut chunk)?,
        };
        if read == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the other side closed"));
        }
        self.buffered.extend_from_slice(&chunk[..read]);
        Ok(())
    }
}

/// Whether a read gave up waiting.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> io::Result<Vec<(String, String)>> {
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) =
                line.split_once(':').ok_or_else(|| invalid(&format!("no field: {line:?}")))?;
            Ok((name.to_owned(), value.trim().to_owned()))
        })
        .collect()
}

impl Request {
    /// A request for an absolute URL.
    pub fn new(method: &str, url: &str) -> Self {
        let (scheme, rest) =
            url.split_once("://").unwrap_or_else(|| panic!("not an absolute URL: {url}"));
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Self {
            method: method.to_owned(),
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            target: target.split('#').next().unwrap_or_default().to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// `GET url`
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// As a browser that navigates.
    #[must_use]
    pub fn navigation(self) -> Self {
        self.header("Accept", "text/html,application/xhtml+xml;q=0.9")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document")
            .header("Sec-Fetch-Site", "none")
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// With a JSON body and its type.
    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    /// With a form body and its type; names and values are percent-encoded.
    #[must_use]
    pub fn form(self, pairs: &[(&str, &str)]) -> Self {
        let body: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        self.header("Content-Type", "application/x-www-form-urlencoded").body(body.join("&"))
    }

    /// The host without its port.
    pub fn host(&self) -> &str {
        self.authority.split(':').next().unwrap_or_default()
    }

    /// The URL.
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.target)
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.authority)
                .into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(body) = &self.body {
            out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            out.extend_from_slice(body);
        } else {
            out.extend_from_slice(b"\r\n");
        }
        out
    }
}

impl Response {
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

    /// `Location`.
    ///
    /// # Panics
    /// Where there is none.
    #[track_caller]
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("no Location in {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("status {}, no JSON ({error}): {}", self.status, self.text())
        })
    }

    /// The stable code of a denial: `X-Vestibule`, else `code` of the problem document.
    pub fn code(&self) -> Option<String> {
        self.header("x-vestibule").map(str::to_owned).or_else(|| {
            let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
            body.get("code")?.as_str().map(str::to_owned)
        })
    }

    /// Panics unless the status is the one expected; shows the whole answer.
    #[track_caller]
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }
}

/// Percent-encodes everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_without_being_normalised() {
        let request = Request::get("https://a.test:8443/x/../%2e?q=//#frag");
        assert_eq!(request.authority, "a.test:8443");
        assert_eq!(request.host(), "a.test");
        assert_eq!(request.target, "/x/../%2e?q=//");
        assert_eq!(Request::get("http://a.test").target, "/");
    }

    #[test]
    fn a_form_is_percent_encoded() {
        let request = Request::new("POST", "http://a.test/").form(&[("a b", "c&d=é")]);
        assert_eq!(request.body.unwrap(), b"a%20b=c%26d%3D%C3%A9");
    }
}
