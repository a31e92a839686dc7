//! An upstream that is a function of its socket, for answers that no server would give. A
//! [`crate::Recorder`] reads and answers requests; a script decides about every byte itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::wait::DEADLINE;

/// The upstream. It stops listening when dropped.
pub struct Script {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    received: Mutex<Vec<Vec<u8>>>,
    stopped: AtomicBool,
}

/// One connection of a script.
pub struct Scene {
    /// Which connection it is, from 0.
    pub number: usize,
    stream: TcpStream,
    buffered: Vec<u8>,
    shared: Arc<Shared>,
}

impl Script {
    /// Plays the same function on every connection; the connection ends with it.
    pub fn start(play: impl Fn(&mut Scene) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), play)
    }

    /// As [`Script::start`], on a given address, for servers that come late or come back.
    pub fn at(address: SocketAddr, play: impl Fn(&mut Scene) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let (state, play) = (Arc::clone(&shared), Arc::new(play));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                let _ = stream.set_read_timeout(Some(DEADLINE));
                let _ = stream.set_write_timeout(Some(DEADLINE));
                state.received.lock().unwrap().push(Vec::new());
                let number = state.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, play) = (Arc::clone(&state), Arc::clone(&play));
                std::thread::spawn(move || {
                    play(&mut Scene { number, stream, buffered: Vec::new(), shared });
                });
            }
        });
        Self { address, shared }
    }

    /// An upstream that sends the same bytes for each request head and then keeps the
    /// connection (`closes`: ends it).
    pub fn saying(answer: impl Into<Vec<u8>>, closes: bool) -> Self {
        let answer = answer.into();
        Self::start(move |scene| {
            while scene.head().is_some() {
                if !scene.send(&answer) || closes {
                    return;
                }
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a route's `upstream`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// What every connection received so far, as far as its function has read it.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.shared.received.lock().unwrap().clone()
    }

    /// How often a text stands in all that was received.
    pub fn heard(&self, text: &str) -> usize {
        let occurrences = |bytes: &Vec<u8>| {
            bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
        };
        self.received().iter().map(occurrences).sum()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Scene {
    /// Reads a head, up to and with the empty line; `None`: the other side closed.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffered.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffered.drain(..at + 4).collect();
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            self.fill()?;
        }
    }

    /// Reads exactly so many bytes; `None`: the other side closed before.
    pub fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffered.len() < length {
            self.fill()?;
        }
        Some(self.buffered.drain(..length).collect())
    }

    /// Reads and forgets so many bytes; how many came.
    pub fn swallow(&mut self, length: u64) -> u64 {
        let mut came = (self.buffered.len() as u64).min(length);
        self.buffered.clear();
        let mut chunk = vec![0; 256 * 1024];
        while came < length {
            match self.stream.read(&mut chunk) {
                Ok(read) if read > 0 => came += read as u64,
                _ => break,
            }
        }
        came
    }

    /// Keeps the other side waiting; ends early where the script is stopped.
    pub fn hold(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.stopped() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
    }

    /// Whether the script is stopped: long scenes then end.
    pub fn stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst)
    }

    /// Whether any byte stands ready or comes within that time.
    pub fn more_within(&mut self, within: Duration) -> bool {
        if !self.buffered.is_empty() {
            return true;
        }
        let _ = self.stream.set_read_timeout(Some(within));
        let more = self.fill().is_some();
        let _ = self.stream.set_read_timeout(Some(DEADLINE));
        more
    }

    /// Reads until the other side closes.
    pub fn until_closed(&mut self) {
        while self.fill().is_some() {}
    }

    /// Sends bytes; `false`: the other side is gone.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Ends the sending direction.
    pub fn half_close(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// The connection will end by a reset.
    pub fn reset(&mut self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    fn fill(&mut self) -> Option<()> {
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.read(&mut chunk).ok().filter(|&read| read > 0)?;
        self.buffered.extend_from_slice(&chunk[..read]);
        if let Some(log) = self.shared.received.lock().unwrap().get_mut(self.number) {
            log.extend_from_slice(&chunk[..read]);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Request};

    #[test]
    fn a_script_says_what_it_is_told_and_keeps_what_it_heard() {
        let script = Script::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false);
        let mut conn = Client::plain(script.address()).connect("a.test");
        for _ in 0..2 {
            assert_eq!(conn.exchange(&Request::get("http://a.test/x")).body, b"ok");
        }
        assert_eq!((script.connections(), script.heard("GET /x")), (1, 2));
    }
}
