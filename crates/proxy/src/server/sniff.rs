//! Watches the raw bytes of an HTTP/1 connection for what hyper accepts and the contract does
//! not: hyper drops the second of two equal `Content-Length` fields and the one beside
//! `Transfer-Encoding` before anybody can see them.
//!
//! It never interprets a message for others; it only spoils one. Where a head is refused, the
//! byte that ends the offending line becomes NUL and nothing follows it, so hyper answers 400
//! and closes, in order after pipelined predecessors.

/// Longest line of chunk framing.
const MAX_CHUNK_LINE: usize = 4096;
/// Beyond this hyper refuses the head for its size.
const MAX_LINE: usize = super::super::limits::MAX_READ_BUFFER;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Blind,
    Body(u64),
    ChunkData(u64),
    ChunkEnd,
    ChunkSize,
    Head,
    Spoilt,
    Trailer,
}

/// What reading some bytes meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How many of the bytes may be passed on; the last one is already spoilt where it is fewer.
    pub(crate) keep: usize,
    /// A head began in these bytes and is not finished.
    pub(crate) in_head: bool,
    /// A head was finished in these bytes.
    pub(crate) head_done: bool,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Sniffer {
    stage: Stage,
    line: Vec<u8>,
    has_request_line: bool,
    content_length: Option<u64>,
    chunked: bool,
}

impl Sniffer {
    pub(crate) fn new() -> Self {
        Self {
            stage: Stage::Head,
            line: Vec::new(),
            has_request_line: false,
            content_length: None,
            chunked: false,
        }
    }

    /// From here on the bytes are no HTTP/1 (an upgraded connection).
    pub(crate) fn stop(&mut self) {
        self.stage = Stage::Blind;
    }

    /// Whether the message was refused: nothing more is read.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.stage == Stage::Spoilt
    }

    /// Looks at the next bytes of the connection.
    pub(crate) fn inspect(&mut self, bytes: &mut [u8]) -> Seen {
        let mut seen = Seen { keep: bytes.len(), ..Seen::default() };
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.stage {
                Stage::Blind => break,
                Stage::Spoilt => {
                    seen.keep = at;
                    break;
                }
                Stage::Body(left) | Stage::ChunkData(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    at += here;
                    self.skip(left - here as u64);
                }
                _ => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        self.keep_partial(rest);
                        break;
                    };
                    let Some(line) = rest.get(..end) else { break };
                    at += end + 1;
                    if self.take_line(line, &mut seen) {
                        continue;
                    }
                    self.stage = Stage::Spoilt;
                    seen.keep = at;
                    if let Some(last) = bytes.get_mut(at - 1) {
                        *last = 0;
                    }
                    return seen;
                }
            }
        }
        seen.in_head =
            self.stage == Stage::Head && (self.has_request_line || !self.line.is_empty());
        seen
    }

    fn skip(&mut self, left: u64) {
        self.stage = match (self.stage, left) {
            (Stage::Body(_), 0) => Stage::Head,
            (Stage::Body(_), left) => Stage::Body(left),
            (_, 0) => Stage::ChunkEnd,
            (_, left) => Stage::ChunkData(left),
        };
    }

    fn keep_partial(&mut self, rest: &[u8]) {
        let limit = if self.stage == Stage::Head { MAX_LINE } else { MAX_CHUNK_LINE };
        if self.line.len() + rest.len() > limit {
            // hyper refuses a head of this size, and a chunk line of this size, by itself.
            self.stage = if self.stage == Stage::Head { Stage::Blind } else { Stage::Spoilt };
        } else {
            self.line.extend_from_slice(rest);
        }
    }

    /// Whether the line is in order.
    fn take_line(&mut self, tail: &[u8], seen: &mut Seen) -> bool {
        if self.line.is_empty() {
            return self.line_is_good(tail, seen);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(tail);
        let good = self.line_is_good(&line, seen);
        line.clear();
        self.line = line;
        good
    }

    fn line_is_good(&mut self, line: &[u8], seen: &mut Seen) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.stage {
            Stage::ChunkEnd => {
                self.stage = Stage::ChunkSize;
                line.is_empty()
            }
            Stage::ChunkSize => match chunk_size(line) {
                Some(0) => {
                    self.stage = Stage::Trailer;
                    true
                }
                Some(size) => {
                    self.stage = Stage::ChunkData(size);
                    true
                }
                None => false,
            },
            Stage::Trailer => {
                if line.is_empty() {
                    self.stage = Stage::Head;
                }
                true
            }
            _ if line.is_empty() => {
                if self.has_request_line {
                    self.finish_head();
                    seen.head_done = true;
                }
                true
            }
            _ if !self.has_request_line => {
                self.has_request_line = true;
                memchr::memchr2(b'#', b'\r', line).is_none()
            }
            _ => self.field_is_good(line),
        }
    }

    fn finish_head(&mut self) {
        self.stage = match (self.chunked, self.content_length) {
            (true, _) => Stage::ChunkSize,
            (false, Some(length)) if length > 0 => Stage::Body(length),
            _ => Stage::Head,
        };
        self.has_request_line = false;
        self.content_length = None;
        self.chunked = false;
    }

    fn field_is_good(&mut self, line: &[u8]) -> bool {
        match line.first().map(|first| first | 0x20) {
            // A folded line (RFC 9112, 5.2); a tab folds to `)` here.
            Some(b' ' | b')') | None => false,
            Some(b'c') => match value_of(line, b"content-length") {
                None => !has_cr(line),
                Some(value) => {
                    let fits = self.content_length.is_none() && !self.chunked;
                    self.content_length = decimal(value);
                    fits && self.content_length.is_some()
                }
            },
            Some(b't') => match value_of(line, b"transfer-encoding") {
                None => !has_cr(line),
                Some(value) => {
                    let fits = self.content_length.is_none() && !self.chunked;
                    self.chunked = true;
                    fits && value.eq_ignore_ascii_case(b"chunked")
                }
            },
            _ => !has_cr(line),
        }
    }
}

fn has_cr(line: &[u8]) -> bool {
    memchr::memchr(b'\r', line).is_some()
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (own, rest) = line.split_at_checked(name.len())?;
    if !own.eq_ignore_ascii_case(name) {
        return None;
    }
    // A name that goes on, or white space before the colon: hyper reads the one as another
    // field and refuses the other.
    let value = rest.strip_prefix(b":")?;
    Some(value.trim_ascii())
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if plain { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at_checked(digits)?;
    let extension = rest.trim_ascii_start();
    let plain = (1..=15).contains(&digits) && (extension.is_empty() || extension.starts_with(b";"));
    if !plain || has_cr(line) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What passes, fed in pieces of `step` bytes.
    fn passed(text: &str, step: usize) -> Vec<u8> {
        let mut sniffer = Sniffer::new();
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            let mut piece = piece.to_vec();
            let seen = sniffer.inspect(&mut piece);
            out.extend_from_slice(&piece[..seen.keep]);
        }
        out
    }

    #[test]
    fn k1_doubtful_framing_is_spoilt_wherever_the_reads_cut_it() {
        for head in [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            for step in [1, 3, 7, 4096] {
                let passed = passed(head, step);
                assert_eq!(passed.last(), Some(&0), "{head:?} by {step}");
                assert!(passed.len() < head.len() || passed.len() == head.len(), "{head:?}");
                assert_eq!(passed.iter().filter(|&&b| b == 0).count(), 1, "{head:?} by {step}");
            }
        }
    }

    #[test]
    fn pipelined_messages_pass_untouched() {
        let text = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\nContent-Length: 5\r\nX: y#z\r\n\r\n\
                    POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5;ext=1\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n\
                    GET /c HTTP/1.1\nHost: a\n\n";
        for step in [1, 2, 5, 64, 4096] {
            assert_eq!(passed(text, step), text.as_bytes(), "by {step}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_stream_passes_untouched_however_it_is_cut(
            cuts in proptest::collection::vec(1usize..40, 1..64),
            body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let mut stream = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
            stream.extend_from_slice(&body);
            stream.extend_from_slice(b"\r\nPOST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
            for piece in body.chunks(17) {
                stream.extend_from_slice(format!("{:x};x=y\r\n", piece.len()).as_bytes());
                stream.extend_from_slice(piece);
                stream.extend_from_slice(b"\r\n");
            }
            stream.extend_from_slice(b"0\r\nT: x\r\n\r\nGET /c HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
            let (mut sniffer, mut out, mut rest) = (Sniffer::new(), Vec::new(), stream.as_slice());
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                let mut piece = piece.to_vec();
                let seen = sniffer.inspect(&mut piece);
                out.extend_from_slice(&piece[..seen.keep]);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            proptest::prop_assert_eq!(out, stream);
            proptest::prop_assert!(!sniffer.is_spoilt());
            proptest::prop_assert_eq!(sniffer.stage, Stage::Head);
        }
    }

    #[test]
    fn a_bad_message_after_a_body_is_found() {
        let text = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
                    POST /b HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx";
        let passed = passed(text, 4096);
        assert_eq!(passed.last(), Some(&0));
    }

    #[test]
    fn k4_chunk_junk_is_spoilt() {
        for body in
            ["zz\r\n", "5 x\r\nhello\r\n", "5\r\nhelloX\r\n", "FFFFFFFFFFFFFFFFF\r\n", "-1\r\n"]
        {
            let text =
                format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            assert_eq!(passed(&text, 4096).last(), Some(&0), "{body:?}");
        }
    }
}
