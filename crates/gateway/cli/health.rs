//! `vestibule health`: for container health checks.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::{Request, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{ConfigArgs, output, store};

/// How long the whole question may take.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// What to ask [default: /readyz on `telemetry.listen`]
    #[arg(long)]
    url: Option<Uri>,
}

pub(crate) fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => default_url(&args.config)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, ask(&url))
            .await
            .with_context(|| format!("{url} did not answer within {} s", PATIENCE.as_secs()))?
    })?;
    if status.is_success() {
        output::line("healthy");
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!("{url} answered {status}; see the server's log")
}

fn default_url(config: &ConfigArgs) -> anyhow::Result<Uri> {
    let settings = store::settings(config)?;
    let address = settings.telemetry.listen.context(
        "`telemetry.listen` is off; name what to ask with --url http://HOST:PORT/health",
    )?;
    Ok(format!("http://{address}/readyz").parse()?)
}

async fn ask(url: &Uri) -> anyhow::Result<http::StatusCode> {
    let host = url.host().context("the URL names no host")?;
    let tls = match url.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => anyhow::bail!("the URL must begin with http:// or https://"),
    };
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
        .await
        .with_context(|| format!("cannot connect to {host}:{port}; is the server running?"))?;
    if !tls {
        return get(stream, url).await;
    }
    let name = rustls::pki_types::ServerName::try_from(host.to_owned())
        .context("the host is no TLS name")?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(tls_config()?))
        .connect(name, stream)
        .await
        .with_context(|| format!("no TLS with {host}:{port}"))?;
    get(stream, url).await
}

fn tls_config() -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        roots.add(certificate)?;
    }
    Ok(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

async fn get<S>(stream: S, url: &Uri) -> anyhow::Result<http::StatusCode>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(target)
        .header(header::HOST, authority)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?.status())
}
