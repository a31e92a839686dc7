//! Sockets: bound once per worker with SO_REUSEPORT, all at start, so that a port that is
//! taken or forbidden stops the start and not a request.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use vestibule_core::settings::listener::Listener;

use crate::StartError;
use crate::server;
use crate::worker::{Handed, Worker};

const BACKLOG: i32 = 4096;

/// One listener's sockets, one per worker.
pub(crate) struct Bound {
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<TcpListener>,
}

/// Binds for every worker. The error says what to do about it.
pub(crate) fn bind(listener: &Listener, workers: usize) -> Result<Bound, StartError> {
    let refused = |source| StartError::Bind { address: listener.address, source };
    if listener.address.port() != 0 {
        // With SO_REUSEPORT a second server would silently share the port.
        socket(listener.address, false).map_err(refused)?;
    }
    let first = socket(listener.address, true).map_err(refused)?;
    let address = first.local_addr().map_err(refused)?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(socket(address, true).map_err(refused)?);
    }
    Ok(Bound { address, sockets })
}

fn socket(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    if share {
        socket.listen(BACKLOG)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts until the worker drains.
pub(crate) async fn accept(worker: Rc<Worker>, listener: usize, socket: tokio::net::TcpListener) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = worker.draining() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let Some(relief) = worker.relief() else {
                    serve(&worker, stream, peer, listener);
                    continue;
                };
                match stream.into_std() {
                    Ok(stream) => {
                        let _ = relief.send(Handed { stream, peer, listener });
                    }
                    Err(error) => tracing::warn!(%error, "a connection is lost"),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of file descriptors: trying at once would spin.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Serves what other workers accepted and handed over.
pub(crate) async fn take(worker: Rc<Worker>, mut handed: UnboundedReceiver<Handed>) {
    while let Some(Handed { stream, peer, listener }) = handed.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => serve(&worker, stream, peer, listener),
            Err(error) => tracing::warn!(%error, "a connection is lost"),
        }
    }
}

fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, listener: usize) {
    let held = worker.hold_connection();
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let _held = held;
        server::serve(worker, stream, peer, listener).await;
    });
}
