//! A TCP hop between two parties that can be told to misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the hop does to connections. A change holds for new connections, and for the next
/// bytes of open ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Bytes pass both ways.
    None,
    /// Accepted and reset at once.
    Reset,
    /// Accepted, and nothing ever answers.
    Stall,
    /// Answers pass until so many bytes, then the connection is cut.
    CutAfter(usize),
    /// Each piece of an answer is held back so long.
    Delay(Duration),
}

/// The hop.
pub struct FaultProxy {
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    stopped: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl FaultProxy {
    /// A hop in front of `target`, without a fault.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            fault: Arc::new(Mutex::new(Fault::None)),
            stopped: Arc::default(),
            connections: Arc::default(),
        };
        let (fault, stopped, connections) =
            (Arc::clone(&proxy.fault), Arc::clone(&proxy.stopped), Arc::clone(&proxy.connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                connections.fetch_add(1, Ordering::SeqCst);
                let fault = Arc::clone(&fault);
                std::thread::spawn(move || relay(stream, target, &fault));
            }
        });
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

/// An address that swallows connections: a queue of one that nobody takes from is filled, and
/// the kernel drops what comes after.
pub struct BlackHole {
    address: SocketAddr,
    _listener: socket2::Socket,
    _filling: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens one on a free port.
    pub fn open() -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let domain = socket2::Domain::for_address(any);
        let listener = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut filling = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            filling.push(stream);
        }
        Self { address, _listener: listener, _filling: filling }
    }

    /// As a route's `upstream`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn relay(client: TcpStream, target: SocketAddr, fault: &Arc<Mutex<Fault>>) {
    if *fault.lock().unwrap() == Fault::Reset {
        let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
        return;
    }
    let Ok(server) = TcpStream::connect(target) else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(client_out), Ok(server_out)) = (client.try_clone(), server.try_clone()) else { return };
    let there = Arc::clone(fault);
    let upward = std::thread::spawn(move || pump(client, server_out, &there, false));
    pump(server, client_out, fault, true);
    let _ = upward.join();
}

fn pump(mut from: TcpStream, mut to: TcpStream, fault: &Mutex<Fault>, answers: bool) {
    let mut chunk = [0; 16 * 1024];
    let mut passed = 0;
    while let Ok(read) = from.read(&mut chunk) {
        if read == 0 {
            break;
        }
        let mut bytes = &chunk[..read];
        let now = *fault.lock().unwrap();
        match now {
            Fault::None => {}
            Fault::Reset => {
                let _ = socket2::SockRef::from(&to).set_linger(Some(Duration::ZERO));
                break;
            }
            Fault::Stall => continue,
            Fault::CutAfter(limit) if answers => {
                bytes = bytes.get(..limit.saturating_sub(passed).min(read)).unwrap_or_default();
            }
            Fault::Delay(pause) if answers => std::thread::park_timeout(pause),
            Fault::CutAfter(_) | Fault::Delay(_) => {}
        }
        passed += bytes.len();
        if to.write_all(bytes).is_err() || bytes.len() < read {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
