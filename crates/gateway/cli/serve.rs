//! `vestibule serve`: runs the gateway until it is told to stop.

use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use vestibule_authn::Authn;
use vestibule_authn::ports::AuditEvent;
use vestibule_config::{Environment, Loaded};
use vestibule_core::settings::Settings;
use vestibule_core::settings::store::Backup;
use vestibule_store::lock::ServerLock;
use vestibule_store::sqlite::SqliteStore;

use super::{ConfigArgs, output};
use crate::reload::{Reloader, log_warnings};
use crate::shutdown::{Asked, Signals};
use crate::telemetry::{self, Telemetry};
use crate::wire::{self, System};
use crate::{control, logging, providers, watch};

/// How long requests in flight may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);
/// How long a start waits for the server before it to let go of the data directory.
const HANDOVER: Duration = Duration::from_secs(1);
/// How often the wall clock is looked at while no backup is due.
const BACKUP_NAP: Duration = Duration::from_secs(5);
/// After a second signal.
const SHORT_GRACE: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let environment = vestibule_config::environment();
    let file = wire::config_file(args.config.as_deref(), &environment)?;
    let loaded = wire::load(file.as_deref(), &environment)?;
    logging::init(&loaded.settings.telemetry)?;
    service_runtime()?.block_on(serve(file, environment, loaded, |_, _| Ok(())))
}

/// The runtime for everything slow: store, hashing, portal. The proxy's workers have their own.
pub(crate) fn service_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(32)
        .thread_name("service")
        .enable_all()
        .build()
        .context("cannot start the service runtime")
}

/// Runs a loaded configuration. `ready` is called once everything listens, with the
/// settings and the setup URL if there is one.
pub(crate) async fn serve(
    file: Option<PathBuf>,
    environment: Environment,
    loaded: Loaded,
    ready: impl FnOnce(&Settings, Option<&str>) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let Loaded { settings, warnings, files, include_dirs, effective } = loaded;
    // For `check`; a server with many routes has no use for it.
    drop(effective);
    log_warnings(&warnings);
    let mut signals = Signals::listen()?;
    let _lock = ServerLock::acquire_within(&settings.server.data_dir, HANDOVER).await?;
    let settings = Arc::new(wire::complete(settings).await?);
    // Before anything is read that it watches: a file changed meanwhile is then seen as changed.
    let mut reloader = Reloader::new(file, environment, settings.clone(), files, include_dirs);
    let (store, sqlite) = wire::open_store(&settings).await?;
    let system = wire::start(settings.clone(), store).await?;
    let telemetry = start_telemetry(&settings, &system).await?;
    let background = Background::start(&settings, &system, sqlite.clone())?;
    let setup_url = announce_setup(&settings, &system.authn).await?;
    announce(&settings, &system, &sqlite).await;
    providers::announce(&system.authn);
    system.authn.end_sessions_of_missing_providers(wire::now()).await?;
    ready(&settings, setup_url.as_deref())?;

    let mut round = tokio::time::interval(watch::ROUND);
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Reload => reloader.reload(&system, &telemetry),
                Asked::Stop => break,
            },
            _ = round.tick() => reloader.look(&system, &telemetry),
        }
    }
    stop(system, &telemetry, background, &mut signals).await;
    Ok(ExitCode::SUCCESS)
}

async fn start_telemetry(settings: &Settings, system: &System) -> anyhow::Result<Arc<Telemetry>> {
    let telemetry = Arc::new(Telemetry {
        authn: system.authn.clone(),
        proxy: system.proxy.clone(),
        last_reload_ok: AtomicBool::new(true),
        stopping: AtomicBool::new(false),
    });
    if let Some(address) = settings.telemetry.listen {
        let listener = telemetry::bind(address).await?;
        tracing::info!(door = "telemetry", address = %listener.local_addr()?, "listening");
        tokio::spawn(telemetry::serve(listener, telemetry.clone()));
    }
    Ok(telemetry)
}

/// The long-lived tasks that must end with a last flush.
struct Background {
    stop: tokio::sync::watch::Sender<bool>,
    authn: tokio::task::JoinHandle<()>,
    others: Vec<tokio::task::JoinHandle<()>>,
}

impl Background {
    fn start(
        settings: &Arc<Settings>,
        system: &System,
        sqlite: Arc<SqliteStore>,
    ) -> anyhow::Result<Self> {
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let authn = tokio::spawn(system.authn.clone().run(async move {
            // An error means that the sender is gone, which is a stop too.
            drop(stopped.wait_for(|stop| *stop).await);
        }));
        let control = control::bind(&settings.server.data_dir)?;
        let mut others = vec![tokio::spawn(control::serve(control, system.authn.clone()))];
        others.push(tokio::spawn(notice_outside_changes(sqlite.clone(), system.authn.clone())));
        if let Some(backup) = settings.store.backup.clone() {
            others.push(tokio::spawn(back_up_regularly(sqlite, backup, system.authn.clone())));
        }
        Ok(Self { stop, authn, others })
    }

    async fn end(self) {
        for task in self.others {
            task.abort();
        }
        self.stop.send_replace(true);
        if let Err(error) = self.authn.await {
            tracing::error!(%error, "the last flush did not end");
        }
    }
}

async fn notice_outside_changes(store: Arc<SqliteStore>, authn: Arc<Authn>) {
    loop {
        store.changed_outside().await;
        authn.store_changed_outside().await;
    }
}

/// Makes the regular backups: one at once where there is none yet, else one interval after the last.
/// So a server that is restarted every day has them too.
async fn back_up_regularly(store: Arc<SqliteStore>, settings: Backup, authn: Arc<Authn>) {
    loop {
        let health = vestibule_authn::ports::Store::health(&*store).await.ok();
        let due = match health.and_then(|health| health.last_backup) {
            Some(last) => last.plus(settings.every),
            None => wire::now(),
        };
        while wire::now() < due {
            // Short naps: the wall clock may jump, and a laptop may sleep.
            let rest = due.since(wire::now()).min(BACKUP_NAP);
            tokio::time::sleep(rest.max(Duration::from_millis(50))).await;
        }
        let outcome = store.backup_regularly(&settings.dir, settings.keep, wire::now()).await;
        let (result, detail) = match &outcome {
            Ok(file) => ("success", file.display().to_string()),
            Err(error) => ("failure", error.to_string()),
        };
        authn.audit(AuditEvent {
            time: wire::now(),
            event: "db.backup",
            actor: "system".to_owned(),
            subject: String::new(),
            client_ip: String::new(),
            request_id: String::new(),
            outcome: result,
            detail,
        });
        if let Err(error) = outcome {
            tracing::error!(%error, "the regular backup failed; trying again in a minute");
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }
}

async fn stop(
    system: System,
    telemetry: &Telemetry,
    background: Background,
    signals: &mut Signals,
) {
    tracing::info!("stopping: no new connections, requests in flight may end");
    telemetry.stopping.store(true, Ordering::Relaxed);
    let quick = async {
        while signals.next().await != Asked::Stop {}
        tokio::time::sleep(SHORT_GRACE).await;
    };
    tokio::select! {
        () = system.proxy.shutdown(GRACE) => {}
        () = quick => tracing::warn!("told to stop again: ending requests in flight"),
    }
    background.end().await;
    tracing::info!("stopped");
}

/// One line a listener and one for the whole, so that a log tells what runs.
async fn announce(settings: &Settings, system: &System, sqlite: &SqliteStore) {
    for (index, address) in system.proxy.local_addresses() {
        if let Some(listener) = settings.listeners.get(index) {
            tracing::info!(door = listener.door.as_str(), tls = listener.tls, address = %address, "listening");
        }
    }
    let health = vestibule_authn::ports::Store::health(sqlite).await.ok();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        auth_mode = settings.auth.mode.as_str(),
        environment = if settings.server.development { "development" } else { "production" },
        profile = settings.server.profile,
        portal = %settings.server.portal,
        routes = settings.routes.len(),
        store = %settings.store.sqlite.display(),
        schema = health.as_ref().map_or(0, |health| health.schema_version),
        mode = health.as_ref().map_or("unknown", |health| health.mode.as_str()),
        "ready"
    );
    if settings.auth.is_off() {
        tracing::warn!(
            "nothing is checked: every request is the administrator `anonymous`; never reach this gateway from elsewhere"
        );
    }
}

/// Writes `data_dir/setup-url` while nobody has an account, and shows it on a terminal.
async fn announce_setup(settings: &Settings, authn: &Arc<Authn>) -> anyhow::Result<Option<String>> {
    let path = settings.server.data_dir.join("setup-url");
    let Some(token) = authn.new_setup_token(wire::now()).await else {
        remove_if_there(&path)?;
        return Ok(None);
    };
    let url = format!(
        "{}{}/setup?token={token}",
        settings.server.portal,
        wire::page_prefix(settings, "/setup")
    );
    remove_if_there(&path)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    std::io::Write::write_all(&mut file, format!("{url}\n").as_bytes())?;
    tokio::spawn(remove_when_set_up(path.clone(), authn.clone()));
    if std::io::stderr().is_terminal() {
        output::error(&format!(
            "Nobody has an account yet. Make the first administrator here: {url}"
        ));
    }
    tracing::info!(file = %path.display(), "nobody has an account yet; the setup URL is in this file");
    Ok(Some(url))
}

/// The URL is worth nothing once somebody has an account; it does not lie around then.
async fn remove_when_set_up(path: PathBuf, authn: Arc<Authn>) {
    while authn.is_setup_open().await {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    if let Err(error) = remove_if_there(&path) {
        tracing::warn!(%error, "the setup URL's file is left over");
    }
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
