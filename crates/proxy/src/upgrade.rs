//! Connections after 101: bytes both ways until either side ends, nothing moves for
//! `timeouts.idle`, the credential behind them ends, or the proxy drains.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::limits::Deadline;
use crate::record::Exchange;
use crate::snapshot::CompiledRoute;

const BUFFER: usize = 16 * 1024;

/// Joins the two ends in a task of the worker.
pub(crate) fn join(exchange: &Exchange, route: &CompiledRoute, client: OnUpgrade, app: OnUpgrade) {
    let worker = exchange.worker.clone();
    let held = worker.hold_connection();
    let revoked = exchange.watch();
    let idle = route.route.idle_timeout;
    exchange.conn.upgrade();
    tokio::task::spawn_local(async move {
        let _held = held;
        let deadline = worker.ticker.deadline();
        let joined = async {
            let (Ok(client), Ok(app)) = tokio::join!(client, app) else { return };
            copy_both(TokioIo::new(client), TokioIo::new(app), &deadline, idle).await;
        };
        tokio::select! {
            () = joined => {}
            () = ended(revoked) => {}
            () = worker.draining() => {}
        }
    });
}

async fn ended(revoked: Option<Pin<Box<dyn Future<Output = ()>>>>) {
    match revoked {
        Some(revoked) => revoked.await,
        None => std::future::pending().await,
    }
}

async fn copy_both(
    client: impl AsyncRead + AsyncWrite + Unpin,
    app: impl AsyncRead + AsyncWrite + Unpin,
    deadline: &Deadline,
    idle: Duration,
) {
    deadline.arm(idle);
    let (from_client, to_client) = tokio::io::split(client);
    let (from_app, to_app) = tokio::io::split(app);
    let both = async {
        tokio::join!(
            copy(from_client, to_app, deadline, idle),
            copy(from_app, to_client, deadline, idle)
        )
    };
    tokio::select! {
        _ = both => {}
        () = deadline.expired() => {}
    }
}

/// Copies until the end of `from`, which is then told to `to`.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    deadline: &Deadline,
    idle: Duration,
) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        deadline.arm(idle);
        if to.write_all(bytes).await.is_err() || to.flush().await.is_err() {
            break;
        }
        deadline.arm(idle);
    }
    let _ = to.shutdown().await;
}
