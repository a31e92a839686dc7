//! `vestibule protect`: one app behind a sign-in, with nothing to configure. It makes a data
//! directory with a secret, a database and a route file, and listens on loopback only.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use aws_lc_rs::rand;
use clap::Args;
use http::Uri;

use super::{output, serve};
use crate::{demo, logging, wire};

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("app").required(true).args(["upstream", "demo"])))]
pub(crate) struct ProtectArgs {
    /// Where the app listens, e.g. http://127.0.0.1:3000
    #[arg(value_name = "UPSTREAM_URL")]
    upstream: Option<Uri>,
    /// Bring an app that shows what it received
    #[arg(long)]
    demo: bool,
    /// Where to listen (loopback only)
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Serve https with a self-signed certificate
    #[arg(long)]
    tls: bool,
    /// Where accounts and keys are kept
    #[arg(long, value_name = "DIR", default_value = "vestibule-data")]
    data_dir: PathBuf,
}

/// Names on loopback that browsers resolve by themselves.
const APP: &str = "app.localhost";
const PORTAL: &str = "auth.localhost";

pub(crate) fn run(args: ProtectArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.listen.ip().is_loopback(),
        "`protect` listens on loopback only, and {} is not; to serve others, write a route file with \
         `vestibule init` and run `vestibule serve`",
        args.listen
    );
    make_dir(&args.data_dir)?;
    serve::service_runtime()?.block_on(protect(args))
}

async fn protect(args: ProtectArgs) -> anyhow::Result<ExitCode> {
    let scheme = if args.tls { "https" } else { "http" };
    // Held until the small servers have ports of their own, so that they do not take this one.
    let reserved = reserve(args.listen)?;
    let port = reserved
        .as_ref()
        .map_or(Ok(args.listen.port()), |socket| socket.local_addr().map(|a| a.port()))?;
    let listen = SocketAddr::new(args.listen.ip(), port);
    let portal = format!("{scheme}://{PORTAL}:{port}");
    let app = format!("{scheme}://{APP}:{port}");
    let upstream = match &args.upstream {
        Some(url) => upstream(url)?,
        None => {
            format!("http://{}", demo::spawn(demo::Role::Demo { portal: portal.clone() }).await?)
        }
    };
    let doorstep = demo::spawn(demo::Role::Doorstep { app: app.clone() }).await?;
    drop(reserved);
    make_secret(&args.data_dir.join("auth_secret"))?;
    if args.tls {
        make_certificate(&args.data_dir)?;
    }
    let file = args.data_dir.join("protect.toml");
    write_private(&file, &route_file(&args, listen, &portal, &upstream, doorstep))?;

    let environment = vestibule_config::Environment::new();
    let loaded = wire::load(Some(&file), &environment)?;
    logging::init(&loaded.settings.telemetry)?;
    serve::serve(Some(file), environment, loaded, move |_, setup| {
        output::line(&format!("\n  The app, behind a sign-in:  {app}/"));
        match setup {
            Some(url) => output::line(&format!("  First make yourself an account:  {url}\n")),
            None => output::line(&format!("  The portal:  {portal}/\n")),
        }
        output::line("  Ctrl-C ends it. Accounts and keys stay in the data directory.\n");
        Ok(())
    })
    .await
}

fn route_file(
    args: &ProtectArgs,
    listen: SocketAddr,
    portal: &str,
    upstream: &str,
    doorstep: SocketAddr,
) -> String {
    let dir = std::path::absolute(&args.data_dir).unwrap_or_else(|_| args.data_dir.clone());
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let path = |name: &str| quoted(&dir.join(name).display().to_string());
    let certificate = if args.tls {
        format!("[[tls.certificate]]\ncert = {}\nkey = {}\n\n", path("tls.crt"), path("tls.key"))
    } else {
        String::new()
    };
    format!(
        "# Written by `vestibule protect` at each start; `vestibule init` writes a file to keep.\n\
         [server]\nportal_url = {portal}\nenvironment = \"development\"\ndata_dir = {data_dir}\n\n\
         [[listener]]\naddress = \"{listen}\"\ntls = {tls}\n\n{certificate}\
         [secrets]\nauth_secret = {secret}\n\n\
         [telemetry]\nlisten = \"\"\nlog = {{ format = \"text\", level = \"warn\" }}\naccess_log = {{ format = \"off\" }}\n\n\
         [[route]]\nname = \"app\"\nhost = \"{APP}\"\nupstream = [{upstream}]\naccess = \"signed-in\"\n\n\
         [[route]]\nname = \"doorstep\"\nhost = [\"localhost\", \"{ip}\"]\nupstream = [\"http://{doorstep}\"]\naccess = \"public\"\n",
        portal = quoted(portal),
        data_dir = quoted(&dir.display().to_string()),
        tls = args.tls,
        secret = quoted(&format!("file:{}", dir.join("auth_secret").display())),
        upstream = quoted(upstream),
        ip = match listen {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        },
    )
}

/// Scheme, host and port of the app's URL; a path would be lost silently, so it is refused.
fn upstream(url: &Uri) -> anyhow::Result<String> {
    let what = || format!("`{url}` is no app's address; give one such as http://127.0.0.1:3000");
    let scheme = url
        .scheme_str()
        .filter(|scheme| ["http", "https", "h2c"].contains(scheme))
        .with_context(what)?;
    let authority = url.authority().with_context(what)?;
    anyhow::ensure!(
        url.path() == "/" && url.query().is_none(),
        "`{url}` has a path; give the app's address alone: {scheme}://{authority}"
    );
    Ok(format!("{scheme}://{authority}"))
}

/// A free port, where port 0 asks for one.
fn reserve(listen: SocketAddr) -> std::io::Result<Option<std::net::TcpListener>> {
    if listen.port() == 0 { std::net::TcpListener::bind(listen).map(Some) } else { Ok(None) }
}

fn make_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| {
        format!("cannot make {}; name another folder with --data-dir", dir.display())
    })
}

/// 32 random bytes in hex, kept over restarts so that sessions live on.
fn make_secret(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut bytes = [0u8; 32];
    rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(path, &hex)
}

fn make_certificate(dir: &Path) -> anyhow::Result<()> {
    let (cert, key) = (dir.join("tls.crt"), dir.join("tls.key"));
    if cert.exists() && key.exists() {
        return Ok(());
    }
    let names = [APP, PORTAL, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names)?;
    write_private(&key, &made.signing_key.serialize_pem())?;
    write_private(&cert, &made.cert.pem())
}

/// Writes a file that only its owner can read, replacing an earlier one at once.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let draft = path.with_extension("new");
    let what = || format!("cannot write {}", path.display());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .with_context(what)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(what)?;
    std::fs::rename(&draft, path).with_context(what)
}
