//! A new connection to an app: TCP or unix socket, TLS where the URL says https, and the
//! HTTP version that both sides speak.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use vestibule_core::route::{Upstream, UpstreamScheme, UpstreamTls};

use super::heard::Listened;
use super::resolve::Resolver;
use super::{Http1, Sender, Target};
use crate::error::Fault;
use crate::limits::MAX_ANSWER_FIELDS;
use crate::server::LocalExec;

/// TLS towards one app.
#[derive(Clone, Debug)]
pub(crate) struct ClientTls {
    both: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// TLS configurations of one load, each made once: reading the system's authorities takes
/// milliseconds.
#[derive(Default)]
pub(crate) struct ClientConfigs(RefCell<HashMap<UpstreamTls, Pair>>);

/// With HTTP/2 on offer, and without.
type Pair = (Arc<ClientConfig>, Arc<ClientConfig>);

impl ClientConfigs {
    fn of(&self, tls: &UpstreamTls) -> Result<Pair, String> {
        let key = UpstreamTls { server_name: None, ..tls.clone() };
        if let Some(known) = self.0.borrow().get(&key) {
            return Ok(known.clone());
        }
        let http1 = client_config(tls)?;
        let mut both = http1.clone();
        both.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let made = (Arc::new(both), Arc::new(http1));
        self.0.borrow_mut().insert(key, made.clone());
        Ok(made)
    }
}

impl ClientTls {
    /// Fails where the authorities' file cannot be read or the name is no host name.
    pub(crate) fn new(
        host: &str,
        tls: &UpstreamTls,
        configs: &ClientConfigs,
    ) -> Result<Self, String> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = tls.server_name.as_deref().unwrap_or(bare).to_owned();
        let name = ServerName::try_from(name.clone()).map_err(|_| {
            format!("`{name}` is no TLS server name; set `upstream_tls.server_name`")
        })?;
        let (both, http1) = configs.of(tls)?;
        Ok(Self { both, http1, name })
    }
}

fn client_config(tls: &UpstreamTls) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if tls.danger_skip_verify {
        let verifier = Arc::new(DangerAcceptAny(provider));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth());
    }
    Ok(builder.with_root_certificates(roots(tls)?).with_no_client_auth())
}

fn roots(tls: &UpstreamTls) -> Result<rustls::RootCertStore, String> {
    let mut roots = rustls::RootCertStore::empty();
    let Some(file) = &tls.ca_file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let shown = file.display();
    let found: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found = found.map_err(|error| format!("upstream_tls.ca_file {shown}: {error}"))?;
    if roots.add_parsable_certificates(found).0 == 0 {
        return Err(format!("upstream_tls.ca_file {shown} holds no usable certificate"));
    }
    Ok(roots)
}

/// Opens a connection and starts its HTTP side on this worker.
pub(crate) async fn connect(
    target: &Target,
    resolver: &Resolver,
    upgrade: bool,
    own: &[SocketAddr],
) -> Result<Sender, Fault> {
    if target.upstream.scheme == UpstreamScheme::Unix {
        let socket = UnixStream::connect(&*target.upstream.host).await.map_err(Fault::Connect)?;
        return http1(socket).await;
    }
    let socket = dial(&target.upstream, resolver).await?;
    if is_own(&socket, own) {
        return Err(Fault::Itself);
    }
    let Some(tls) = &target.tls else {
        return match target.upstream.scheme {
            UpstreamScheme::H2c if !upgrade => http2(TokioIo::new(socket)).await,
            _ => http1(socket).await,
        };
    };
    let config = if upgrade { &tls.http1 } else { &tls.both };
    let connector = TlsConnector::from(config.clone());
    let stream = connector.connect(tls.name.clone(), socket).await.map_err(Fault::Tls)?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(TokioIo::new(stream)).await
    } else {
        http1(stream).await
    }
}

async fn dial(upstream: &Upstream, resolver: &Resolver) -> Result<TcpStream, Fault> {
    let mut last = None;
    for address in resolver.resolve(upstream).await?.iter() {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Err(error) => last = Some(error),
        }
    }
    resolver.forget(upstream);
    Err(Fault::Connect(last.unwrap_or_else(|| std::io::Error::other("no address"))))
}

/// Whether the other end is one of our own doors. A request sent there would come back to
/// its route, and so on until no socket is left.
fn is_own(socket: &TcpStream, own: &[SocketAddr]) -> bool {
    let (Ok(peer), Ok(local)) = (socket.peer_addr(), socket.local_addr()) else { return false };
    let on_this_machine = peer.ip() == local.ip() || peer.ip().is_loopback();
    on_this_machine
        && own.iter().any(|door| {
            door.port() == peer.port() && (door.ip().is_unspecified() || door.ip() == peer.ip())
        })
}

async fn http1<S>(stream: S) -> Result<Sender, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, heard) = Listened::new(stream);
    let io = TokioIo::new(stream);
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_ANSWER_FIELDS).max_buf_size(128 * 1024);
    let (sender, conn) = builder.handshake(io).await.map_err(Fault::Handshake)?;
    tokio::task::spawn_local(async move {
        // Its failure reaches whoever waits for the answer.
        let _ = conn.with_upgrades().await;
    });
    Ok(Sender::H1(Http1 { sender, heard }))
}

async fn http2<I: Read + Write + Unpin + Send + 'static>(io: I) -> Result<Sender, Fault> {
    let mut builder = http2::Builder::new(LocalExec);
    builder
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .max_header_list_size(64 * 1024)
        .max_send_buf_size(256 * 1024);
    let (sender, conn) = builder.handshake(io).await.map_err(Fault::Handshake)?;
    tokio::task::spawn_local(async move {
        let _ = conn.await;
    });
    Ok(Sender::H2(sender))
}

/// `insecure_skip_verify`: any certificate will do, its signature is still checked.
#[derive(Debug)]
struct DangerAcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for DangerAcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
