//! The control socket in the data directory: a command tells a running server that it has
//! changed the store, and waits until the change is in force.
//!
//! The protocol is one line each way: `changed` – `ok`. The socket's mode (0600) is its access rule.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use vestibule_authn::Authn;

/// How long a command waits for the server's word.
const PATIENCE: Duration = Duration::from_secs(2);

fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Binds the socket. The data directory's lock is held by the caller, so a file that is
/// left over belongs to a dead server.
pub(crate) fn bind(data_dir: &Path) -> anyhow::Result<UnixListener> {
    let path = socket_path(data_dir);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot remove {}", path.display()));
        }
    }
    let listener = UnixListener::bind(&path)
        .with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves the socket until the task is dropped.
pub(crate) async fn serve(listener: UnixListener, authn: Arc<Authn>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let authn = authn.clone();
                tokio::spawn(async move {
                    match tokio::time::timeout(PATIENCE, answer(stream, &authn)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%error, "control socket"),
                        Err(_) => tracing::debug!("control socket: no word in time"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, authn: &Arc<Authn>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(64).read_line(&mut line).await?;
    let reply = match line.trim_end() {
        "changed" => {
            authn.store_changed_outside().await;
            "ok\n"
        }
        _ => "unknown\n",
    };
    stream.write_all(reply.as_bytes()).await
}

/// Tells a running server, if there is one, that the store was changed, and waits until it
/// has looked. Without a server there is nobody to tell.
pub(crate) async fn tell_server(data_dir: &Path) {
    let told = tokio::time::timeout(PATIENCE, async {
        let mut stream = UnixStream::connect(socket_path(data_dir)).await?;
        stream.write_all(b"changed\n").await?;
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).await
    })
    .await;
    if told.is_err() {
        crate::cli::warn(
            "a running server did not answer in time; it will notice the change by itself",
        );
    }
}
