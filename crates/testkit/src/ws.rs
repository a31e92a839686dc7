//! WebSocket frames (RFC 6455), as much as an echo test needs: no extensions, no fragments.

use std::io;

use base64::Engine;

use crate::{Client, Conn, Request, Response};

/// Opcode of a text frame.
pub const TEXT: u8 = 1;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The opcode.
    pub opcode: u8,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

/// An open socket.
pub struct Socket {
    /// The connection underneath.
    pub conn: Conn,
}

/// Adds the handshake's fields to a request.
#[must_use]
pub fn handshake(request: Request) -> Request {
    request
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// Opens a socket; whatever answer is not 101 is returned as the error.
pub fn open(client: &Client, request: &Request) -> Result<Socket, Box<Response>> {
    let request = handshake(request.clone());
    let mut conn = client.connect(request.host());
    conn.send(&request.bytes());
    let response = conn.read_response(&request.method).expect("no answer to a handshake");
    if response.status != 101 {
        return Err(Box::new(response));
    }
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    Ok(Socket { conn })
}

impl Socket {
    /// Sends a text frame.
    pub fn send_text(&mut self, text: &str) {
        self.conn.send(&frame(TEXT, text.as_bytes(), Some([1, 2, 3, 4])));
    }

    /// Reads a frame.
    pub fn read(&mut self) -> io::Result<Frame> {
        loop {
            if let Some((frame, used)) = parse(&self.conn.buffered) {
                self.conn.buffered.drain(..used);
                return Ok(frame);
            }
            self.conn.fill()?;
        }
    }

    /// Reads a text frame.
    ///
    /// # Panics
    /// Where something else comes, or nothing.
    #[track_caller]
    pub fn text(&mut self) -> String {
        let frame = self.read().expect("no frame");
        assert_eq!(frame.opcode, TEXT);
        String::from_utf8(frame.payload).expect("text that is no UTF-8")
    }
}

/// One final frame; clients mask.
pub fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    let bit = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..=125 => out.push(bit | short as u8),
        medium @ 126..=0xffff => {
            out.push(bit | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(bit | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        out.extend_from_slice(payload);
    }
    out
}

/// Reads a frame from the front; how many bytes it took.
pub fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, mut at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let mask = if second & 0x80 != 0 {
        at += 4;
        Some(bytes.get(at - 4..at)?)
    } else {
        None
    };
    let payload = bytes.get(at..at + length)?;
    let payload = match mask {
        Some(mask) => {
            payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
        }
        None => payload.to_vec(),
    };
    Some((Frame { opcode: first & 0x0f, payload }, at + length))
}

/// `Sec-WebSocket-Accept` for a key.
pub(crate) fn accept(key: &str) -> String {
    base64::engine::general_purpose::STANDARD
        .encode(sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()))
}

/// SHA-1 (RFC 3174): the handshake asks for it, and no dependency of ours has it.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut h: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut w = [0u32; 80];
        for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes(bytes.try_into().unwrap());
        }
        for t in 16..80 {
            w[t] = (w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = h;
        for (t, word) in w.iter().enumerate() {
            let (f, k) = match t {
                0..20 => ((b & c) | (!b & d), 0x5A82_7999),
                20..40 => (b ^ c ^ d, 0x6ED9_EBA1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
                _ => (b ^ c ^ d, 0xCA62_C1D6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(f)
                .wrapping_add(e)
                .wrapping_add(k)
                .wrapping_add(*word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, value) in h.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(value);
        }
    }
    let mut out = [0; 20];
    for (bytes, word) in out.chunks_exact_mut(4).zip(h) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455_holds() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn frames_of_every_length_survive() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![7; length];
            for mask in [None, Some([1, 2, 3, 4])] {
                let bytes = frame(TEXT, &payload, mask);
                let (parsed, used) = parse(&bytes).unwrap();
                assert_eq!((parsed.payload.len(), used), (length, bytes.len()));
                assert_eq!(parsed.payload, payload);
            }
        }
    }
}
