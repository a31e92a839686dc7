//! The access line: written by hand into the worker's buffer, handed to one writer thread by
//! size or after 200 ms. A sink that does not keep up costs lines, which are counted, and
//! never a request.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::Notify;
use vestibule_core::settings::telemetry::AccessLog;
use vestibule_core::time::UnixMillis;

use super::Exchange;
use super::metrics::Registry;

/// Where access lines go: standard output, or the file that `telemetry.access_log.file` names.
pub type AccessSink = Box<dyn Write + Send>;

const FLUSH_BYTES: usize = 32 * 1024;
const FLUSH_AFTER: Duration = Duration::from_millis(200);
const CHUNKS_IN_FLIGHT: usize = 256;

/// The way to the writer thread.
#[derive(Clone)]
pub(crate) struct LogChannel {
    sender: Option<SyncSender<Chunk>>,
    registry: Arc<Registry>,
}

struct Chunk {
    bytes: Vec<u8>,
    lines: u64,
}

impl LogChannel {
    /// Starts the writer thread, which ends, and drops `alive`, when every worker has ended.
    pub(crate) fn start(
        sink: AccessSink,
        registry: Arc<Registry>,
        alive: tokio::sync::mpsc::Sender<()>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(CHUNKS_IN_FLIGHT);
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            let _alive = alive;
            write_all(sink, &receiver);
        })?;
        Ok(Self { sender: Some(sender), registry })
    }
}

fn write_all(mut sink: AccessSink, chunks: &Receiver<Chunk>) {
    for chunk in chunks {
        let written = sink.write_all(&chunk.bytes).and_then(|()| sink.flush());
        if let Err(error) = written {
            tracing::warn!(%error, lines = chunk.lines, "access lines were lost");
        }
    }
}

/// A worker's buffer of lines.
pub(crate) struct WorkerLog {
    channel: LogChannel,
    form: Cell<AccessLog>,
    buffer: RefCell<Vec<u8>>,
    lines: Cell<u64>,
    filled: Notify,
    second: RefCell<(i64, String)>,
}

impl WorkerLog {
    pub(crate) fn new(channel: LogChannel, form: AccessLog) -> Self {
        Self {
            channel,
            form: Cell::new(form),
            buffer: RefCell::default(),
            lines: Cell::new(0),
            filled: Notify::new(),
            second: RefCell::default(),
        }
    }

    pub(crate) fn set_form(&self, form: AccessLog) {
        self.form.set(form);
    }

    pub(crate) fn form(&self) -> AccessLog {
        self.form.get()
    }

    /// The worker's task that flushes what waited long enough.
    pub(crate) async fn run<T>(self_of: impl Fn(&T) -> &Self, worker: Rc<T>) {
        let log = self_of(&worker);
        loop {
            log.filled.notified().await;
            tokio::time::sleep(FLUSH_AFTER).await;
            log.flush();
        }
    }

    /// Hands over what is buffered.
    pub(crate) fn flush(&self) {
        let bytes = std::mem::take(&mut *self.buffer.borrow_mut());
        let lines = self.lines.take();
        if bytes.is_empty() {
            return;
        }
        let sent = self.channel.sender.as_ref().map(|s| s.try_send(Chunk { bytes, lines }).is_ok());
        if sent != Some(true) {
            self.channel.registry.log_dropped.fetch_add(lines, Relaxed);
        }
    }

    /// Adds the line of a finished exchange.
    pub(crate) fn write(&self, exchange: &Exchange, took: Duration) {
        {
            let mut buffer = self.buffer.borrow_mut();
            match self.form.get() {
                AccessLog::Off => return,
                AccessLog::Json => self.json(&mut buffer, exchange, took),
                AccessLog::Combined => self.combined(&mut buffer, exchange),
            }
            buffer.push(b'\n');
            self.lines.set(self.lines.get() + 1);
            if buffer.len() < FLUSH_BYTES {
                if self.lines.get() == 1 {
                    self.filled.notify_one();
                }
                return;
            }
        }
        self.flush();
    }

    fn json(&self, out: &mut Vec<u8>, exchange: &Exchange, took: Duration) {
        out.extend_from_slice(b"{\"time\":\"");
        self.time(out, exchange.now);
        out.extend_from_slice(b"\",\"request_id\":\"");
        exchange.request_id.with_text(|id| escape(out, id.as_bytes()));
        out.extend_from_slice(b"\",\"client_ip\":\"");
        if exchange.client.ip == exchange.conn.peer.ip() {
            out.extend_from_slice(exchange.conn.peer_value.as_bytes());
        } else {
            let _ = write!(out, "{}", exchange.client.ip);
        }
        out.extend_from_slice(b"\",\"host\":\"");
        escape(out, exchange.host.as_ref().map_or("", |host| host.as_str()).as_bytes());
        out.extend_from_slice(b"\",\"method\":\"");
        escape(out, exchange.method.as_str().as_bytes());
        out.extend_from_slice(b"\",\"path\":\"");
        escape(out, exchange.path.as_ref().map_or("", |path| path.as_str()).as_bytes());
        out.extend_from_slice(b"\",\"status\":");
        number(out, u64::from(exchange.status));
        out.extend_from_slice(b",\"bytes_in\":");
        number(out, exchange.meter.as_ref().map_or(0, |meter| meter.bytes.get()));
        out.extend_from_slice(b",\"bytes_out\":");
        number(out, exchange.bytes_out);
        out.extend_from_slice(b",\"duration_ms\":");
        millis(out, took);
        out.extend_from_slice(b",\"upstream_ms\":");
        match exchange.upstream_time {
            Some(upstream) => millis(out, upstream),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"route\":\"");
        escape(out, exchange.route.as_ref().map_or("", |route| &route.route.name).as_bytes());
        out.extend_from_slice(b"\",\"rule\":");
        match exchange.rule {
            Some(rule) => number(out, rule as u64),
            None => out.extend_from_slice(b"null"),
        }
        for (name, word) in [
            (",\"verdict\":\"", exchange.verdict),
            ("\",\"reason\":\"", exchange.reason.as_str()),
            ("\",\"door\":\"", exchange.door.as_str()),
        ] {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(word.as_bytes());
        }
        out.extend_from_slice(b"\",\"user_id\":\"");
        if let Some(account) = exchange.identity.as_ref().and_then(|identity| identity.account) {
            let mut text = uuid::Uuid::encode_buffer();
            out.extend_from_slice(account.0.as_hyphenated().encode_lower(&mut text).as_bytes());
        }
        out.extend_from_slice(b"\"}");
    }

    /// Apache's combined format, without the query.
    fn combined(&self, out: &mut Vec<u8>, exchange: &Exchange) {
        let user = exchange.identity.as_ref().map_or("-", |identity| &identity.username);
        let _ = write!(out, "{} - ", exchange.client.ip);
        escape(out, user.as_bytes());
        out.extend_from_slice(b" [");
        let time = jiff::Timestamp::from_millisecond(exchange.now.0).unwrap_or_default();
        let _ = write!(out, "{}", time.strftime("%d/%b/%Y:%H:%M:%S +0000"));
        out.extend_from_slice(b"] \"");
        escape(out, exchange.method.as_str().as_bytes());
        out.push(b' ');
        escape(out, exchange.path.as_ref().map_or("-", |path| path.as_str()).as_bytes());
        let _ = write!(out, " HTTP/1.1\" {} {} \"", exchange.status, exchange.bytes_out);
        let without_query = |value: &[u8]| value.iter().position(|&b| b == b'?');
        match exchange.referer.as_ref().map(http::HeaderValue::as_bytes) {
            Some(referer) => {
                let end = without_query(referer).unwrap_or(referer.len());
                escape(out, referer.get(..end).unwrap_or_default());
            }
            None => out.push(b'-'),
        }
        out.extend_from_slice(b"\" \"");
        escape(out, exchange.user_agent.as_ref().map_or(b"-", |agent| agent.as_bytes()));
        out.push(b'"');
    }

    /// RFC 3339 with milliseconds; the part down to the second is kept.
    fn time(&self, out: &mut Vec<u8>, now: UnixMillis) {
        let mut second = self.second.borrow_mut();
        if second.0 != now.secs() || second.1.is_empty() {
            let time = jiff::Timestamp::from_second(now.secs()).unwrap_or_default();
            *second = (now.secs(), time.strftime("%Y-%m-%dT%H:%M:%S").to_string());
        }
        out.extend_from_slice(second.1.as_bytes());
        thousandths(out, now.0.rem_euclid(1000).unsigned_abs());
        out.push(b'Z');
    }
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn millis(out: &mut Vec<u8>, took: Duration) {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    number(out, micros / 1000);
    thousandths(out, micros % 1000);
}

/// `.` and three digits.
fn thousandths(out: &mut Vec<u8>, number: u64) {
    let digit = |place: u64| b'0' + u8::try_from(number / place % 10).unwrap_or(0);
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
}

/// A JSON string's inside: control characters, quotes and backslashes are escaped, bytes that
/// are no UTF-8 become U+FFFD.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |b: &u8| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'\\';
    if text.iter().all(plain) {
        return out.extend_from_slice(text);
    }
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' | '\\' => {
                out.push(b'\\');
                out.push(c as u8);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_json_string_whatever_a_client_sends() {
        let mut out = vec![b'"'];
        escape(&mut out, b"a\"b\\c\r\n\x00\xff\xc3\xa9");
        out.push(b'"');
        let read: String = serde_json::from_slice(&out).unwrap();
        assert_eq!(read, "a\"b\\c\r\n\0\u{fffd}é");
    }

    #[test]
    fn durations_have_three_decimals() {
        let mut out = Vec::new();
        millis(&mut out, Duration::from_micros(12_034));
        assert_eq!(out, b"12.034");
    }
}
