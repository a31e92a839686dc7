//! HTTP/2 by hand (RFC 9113): frames as a test writes them, answers as far as a test asks for
//! them. The header compression of answers is turned off by our SETTINGS, so that a status
//! can be read without a decoder's state.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::wait::DEADLINE;

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types.
pub const DATA: u8 = 0;
/// HEADERS.
pub const HEADERS: u8 = 1;
/// PRIORITY.
pub const PRIORITY: u8 = 2;
/// RST_STREAM.
pub const RST_STREAM: u8 = 3;
/// SETTINGS.
pub const SETTINGS: u8 = 4;
/// PUSH_PROMISE.
pub const PUSH_PROMISE: u8 = 5;
/// PING.
pub const PING: u8 = 6;
/// GOAWAY.
pub const GOAWAY: u8 = 7;
/// WINDOW_UPDATE.
pub const WINDOW_UPDATE: u8 = 8;
/// CONTINUATION.
pub const CONTINUATION: u8 = 9;

/// Flag of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// Flag of SETTINGS and PING.
pub const ACK: u8 = 1;
/// Flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;

/// SETTINGS_HEADER_TABLE_SIZE.
pub const HEADER_TABLE_SIZE: u16 = 1;
/// SETTINGS_ENABLE_PUSH.
pub const ENABLE_PUSH: u16 = 2;
/// SETTINGS_MAX_CONCURRENT_STREAMS.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
/// SETTINGS_INITIAL_WINDOW_SIZE.
pub const INITIAL_WINDOW_SIZE: u16 = 4;
/// SETTINGS_MAX_HEADER_LIST_SIZE.
pub const MAX_HEADER_LIST_SIZE: u16 = 6;

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The type.
    pub kind: u8,
    /// The flags.
    pub flags: u8,
    /// The stream.
    pub stream: u32,
    /// The payload.
    pub payload: Vec<u8>,
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered with that status.
    Status(u16),
    /// Reset with that error code.
    Reset(u32),
    /// The connection is going away with that error code.
    GoAway(u32),
    /// The connection ended without a word.
    Closed,
}

/// A connection. What comes is gathered by a thread, so that a flood is never held up by
/// answers that nobody reads.
pub struct Link {
    stream: TcpStream,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    frames: Vec<Frame>,
    closed: bool,
}

impl Link {
    /// Connects by prior knowledge and says preface and SETTINGS.
    pub fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &[])
    }

    /// As [`Link::open`], with further settings.
    pub fn open_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let heard = Arc::<Heard>::default();
        let (reader, log) = (stream.try_clone().unwrap(), Arc::clone(&heard));
        std::thread::spawn(move || listen(reader, &log));
        let mut link = Self { stream, heard };
        let mut all = vec![(HEADER_TABLE_SIZE, 0), (ENABLE_PUSH, 0)];
        all.extend_from_slice(settings);
        link.send(&[PREFACE, &self::settings(&all)].concat());
        link
    }

    /// Sends bytes; `false`: the other side is gone.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends pieces until all are sent or the other side is gone; how many bytes were sent.
    pub fn flood(&mut self, pieces: impl Iterator<Item = Vec<u8>>) -> usize {
        let mut sent = 0;
        for piece in pieces {
            if self.is_closed() || !self.send(&piece) {
                break;
            }
            sent += piece.len();
        }
        sent
    }

    /// All frames so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.heard.state.lock().unwrap().frames.clone()
    }

    /// Whether the other side has closed.
    pub fn is_closed(&self) -> bool {
        self.heard.state.lock().unwrap().closed
    }

    /// Whether the other side closes within that time.
    pub fn closes_within(&self, within: Duration) -> bool {
        self.wait(within, |state| state.closed.then_some(())).is_some()
    }

    /// The error code of GOAWAY, once it came; `None`: closed without one, or not in time.
    pub fn goaway(&self) -> Option<u32> {
        self.wait(DEADLINE, |state| match state.frames.iter().find(|f| f.kind == GOAWAY) {
            Some(frame) => Some(Some(word(&frame.payload, 4))),
            None => state.closed.then_some(None),
        })
        .flatten()
    }

    /// The settings that the server announced.
    #[track_caller]
    pub fn settings(&self) -> Vec<(u16, u32)> {
        let payload = self
            .wait(DEADLINE, |state| {
                let mut frames = state.frames.iter();
                Some(frames.find(|f| f.kind == SETTINGS && f.flags & ACK == 0)?.payload.clone())
            })
            .expect("no SETTINGS came");
        payload
            .chunks_exact(6)
            .map(|entry| (u16::from_be_bytes([entry[0], entry[1]]), word(entry, 2)))
            .collect()
    }

    /// Waits until it is known what became of a stream.
    ///
    /// # Panics
    /// Where nothing came in time.
    #[track_caller]
    pub fn outcome(&self, stream: u32) -> Outcome {
        let found = self.wait(DEADLINE, |state| {
            let of_stream = |frame: &&Frame| frame.stream == stream;
            for frame in state.frames.iter().filter(of_stream) {
                match frame.kind {
                    HEADERS => return Some(Outcome::Status(status(&frame.payload))),
                    RST_STREAM => return Some(Outcome::Reset(word(&frame.payload, 0))),
                    _ => {}
                }
            }
            match state.frames.iter().find(|frame| frame.kind == GOAWAY) {
                Some(frame) if word(&frame.payload, 4) != 0 || state.closed => {
                    Some(Outcome::GoAway(word(&frame.payload, 4)))
                }
                _ => state.closed.then_some(Outcome::Closed),
            }
        });
        found.unwrap_or_else(|| panic!("nothing became of stream {stream}: {:?}", self.frames()))
    }

    /// The body of a stream once it has ended; `None`: it was cut.
    pub fn body(&self, stream: u32) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        self.wait(DEADLINE, |state| {
            let of_stream: Vec<&Frame> =
                state.frames.iter().filter(|frame| frame.stream == stream).collect();
            let over = of_stream.iter().any(|frame| {
                frame.kind == RST_STREAM
                    || (matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0)
            });
            (over || state.closed).then(|| {
                for frame in &of_stream {
                    if frame.kind == DATA {
                        body.extend_from_slice(&frame.payload);
                    }
                }
                !state.closed && !of_stream.iter().any(|frame| frame.kind == RST_STREAM)
            })
        })
        .filter(|whole| *whole)
        .map(|_| body)
    }

    fn wait<T>(&self, within: Duration, mut pick: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let end = std::time::Instant::now() + within;
        let mut state = self.heard.state.lock().unwrap();
        loop {
            if let Some(found) = pick(&state) {
                return Some(found);
            }
            let left = end.checked_duration_since(std::time::Instant::now())?;
            state = self.heard.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn listen(mut stream: TcpStream, heard: &Heard) {
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).is_err() {
            break;
        }
        let frame =
            Frame { kind: head[3], flags: head[4], stream: word(&head, 5) & 0x7fff_ffff, payload };
        let mut state = heard.state.lock().unwrap();
        // Acknowledgements of a flood are counted by nobody.
        if frame.kind != PING || state.frames.len() < 10_000 {
            state.frames.push(frame);
        }
        heard.changed.notify_all();
    }
    heard.state.lock().unwrap().closed = true;
    heard.changed.notify_all();
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A SETTINGS frame.
pub fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in entries {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// A RST_STREAM frame.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A WINDOW_UPDATE frame.
pub fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// A HEADERS frame with a whole block.
pub fn headers(stream: u32, block: &[u8], ends: bool) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | if ends { END_STREAM } else { 0 }, stream, block)
}

/// A field, literal, not indexed, not compressed (RFC 7541, 6.2.2).
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    literal(0x00, name, value)
}

/// A field that enters the dynamic table: the newest entry there is [`newest`].
pub fn indexed_field(name: &[u8], value: &[u8]) -> Vec<u8> {
    literal(0x40, name, value)
}

/// One byte that repeats the newest entry of the dynamic table.
pub fn newest() -> Vec<u8> {
    vec![0x80 | 62]
}

/// The block of a request's pseudo-fields.
pub fn request(method: &str, authority: &str, path: &str) -> Vec<u8> {
    fields(&[(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)])
}

/// A block of fields in that order.
pub fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    list.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect()
}

fn literal(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    for text in [name, value] {
        integer(&mut out, text.len());
        out.extend_from_slice(text);
    }
    out
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn integer(out: &mut Vec<u8>, value: usize) {
    if value < 127 {
        out.push(value as u8);
        return;
    }
    out.push(127);
    let mut left = value - 127;
    while left >= 128 {
        out.push((left % 128 + 128) as u8);
        left /= 128;
    }
    out.push(left as u8);
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_be_bytes(four.try_into().unwrap()))
}

/// The status of an answer's block: its first field, after changes of the table's size.
fn status(block: &[u8]) -> u16 {
    let mut rest = block;
    while let Some((&first, after)) = rest.split_first() {
        if first & 0xe0 == 0x20 {
            rest = after;
            continue;
        }
        return match first {
            0x88 => 200,
            0x89 => 204,
            0x8a => 206,
            0x8b => 304,
            0x8c => 400,
            0x8d => 404,
            0x8e => 500,
            0x48 | 0x08 | 0x18 => digits(after),
            other => panic!("no :status first: {other:#x}"),
        };
    }
    panic!("an empty header block")
}

/// A string of digits, plain or in the Huffman code of RFC 7541.
fn digits(text: &[u8]) -> u16 {
    let length = usize::from(text[0] & 0x7f);
    let bytes = &text[1..=length];
    if text[0] & 0x80 == 0 {
        return std::str::from_utf8(bytes).unwrap().parse().unwrap();
    }
    let bits: Vec<u8> = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect();
    let (mut number, mut at) = (0, 0);
    let take = |at: usize, count: usize| -> Option<u16> {
        let bits = bits.get(at..at + count)?;
        Some(bits.iter().fold(0, |sum, &bit| sum << 1 | u16::from(bit)))
    };
    for _ in 0..3 {
        let (digit, used) = match (take(at, 5), take(at, 6)) {
            (Some(digit @ 0..=2), _) => (digit, 5),
            (_, Some(six @ 25..=31)) => (six - 22, 6),
            other => panic!("no digits: {other:?} in {bytes:02x?}"),
        };
        number = number * 10 + digit;
        at += used;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_every_form() {
        assert_eq!(status(&[0x20, 0x88]), 200);
        assert_eq!(status(&[0x08, 3, b'4', b'3', b'1']), 431);
        // RFC 7541, C.6.1: 302 in the Huffman code.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), 302);
    }

    #[test]
    fn integers_are_written_as_rfc_7541_says() {
        let mut out = Vec::new();
        integer(&mut out, 127 + 1337);
        assert_eq!(out, [127, 0b1011_1001, 10]);
    }

    #[test]
    fn a_request_by_hand_is_answered_by_a_real_server() {
        let upstream = crate::h2::Upstream::start();
        let mut link = Link::open(upstream.address());
        link.send(&headers(1, &request("GET", "a.test", "/x"), true));
        assert_eq!(link.outcome(1), Outcome::Status(200));
        assert_eq!(link.body(1), Some(Vec::new()));
        assert_eq!(upstream.requests()[0].target, "/x");
        link.send(&window(0, 0));
        assert_eq!(link.goaway(), Some(1), "PROTOCOL_ERROR");
        assert!(link.closes_within(DEADLINE));
    }
}
