//! The app of the load runs: one thread, epoll, answers ready in memory. It reads a request only as
//! far as its end (no bodies), because it must cost less than whatever stands before it.
//!
//! `upstream PORT`; `GET /N` is answered with N bytes, for N of 512, 8192 and 65536.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool for load runs that ends loudly"
)]

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// Sizes that are answered.
const SIZES: [usize; 3] = [512, 8192, 65536];

struct Conn {
    stream: TcpStream,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("bind");
    listener.set_nonblocking(true).expect("non-blocking");
    println!("listening on {}", listener.local_addr().expect("an address"));
    let answers: Vec<Vec<u8>> = SIZES.iter().map(|&size| answer(size)).collect();
    let poll = epoll::create(CreateFlags::CLOEXEC).expect("epoll");
    epoll::add(&poll, listener.as_fd(), EventData::new_u64(0), EventFlags::IN).expect("add");
    let (mut conns, mut next) = (HashMap::<u64, Conn>::new(), 1);
    let mut events: Vec<Event> = Vec::with_capacity(256);
    loop {
        events.clear();
        if epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None).is_err() {
            continue;
        }
        for event in &events {
            let id = event.data.u64();
            if id == 0 {
                while let Ok((stream, _)) = listener.accept() {
                    let _ = (stream.set_nonblocking(true), stream.set_nodelay(true));
                    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
                    epoll::add(&poll, stream.as_fd(), EventData::new_u64(next), flags)
                        .expect("add");
                    conns.insert(next, Conn { stream, unread: Vec::new(), unsent: Vec::new() });
                    next += 1;
                }
            } else if let Some(conn) = conns.get_mut(&id)
                && !conn.turn(&answers)
            {
                conns.remove(&id);
            }
        }
    }
}

impl Conn {
    /// Reads and answers what there is; `false`: the connection has ended.
    fn turn(&mut self, answers: &[Vec<u8>]) -> bool {
        let mut chunk = [0; 16 * 1024];
        loop {
            if !self.flush() {
                return false;
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(read) => self.unread.extend_from_slice(&chunk[..read]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            while let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let which = SIZES.iter().position(|size| {
                    self.unread.strip_prefix(b"GET /").is_some_and(|rest| {
                        let text = size.to_string();
                        rest.starts_with(text.as_bytes()) && rest.get(text.len()) == Some(&b' ')
                    })
                });
                self.unread.drain(..end + 4);
                self.unsent.extend_from_slice(&answers[which.unwrap_or(0)]);
            }
        }
    }

    fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

fn answer(size: usize) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    )
    .into_bytes();
    out.resize(out.len() + size, b'x');
    out
}
