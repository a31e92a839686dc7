//! From settings to a running system: opens the store, starts authn, portal and proxy, and
//! hands each what it needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use vestibule_authn::Authn;
use vestibule_authn::ports::Store;
use vestibule_config::{Environment, Loaded};
use vestibule_core::route::RouteTable;
use vestibule_core::settings::Settings;
use vestibule_core::time::UnixMillis;
use vestibule_proxy::{Proxy, ProxyConfig};
use vestibule_store::key_file::load_or_create_store_key;
use vestibule_store::sqlite::SqliteStore;

use crate::access_log;
use crate::local::PortalDoor;

/// Chooses the one cryptographic provider of the process, for TLS and for JWTs.
pub(crate) fn install_crypto() {
    // Both fail only where a provider was chosen before, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// The clock. Everybody else is told the time.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the clock")]
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The route file to use: the one named, else `VESTIBULE_CONFIG`, else `vestibule.toml`
/// here; `None` where documented variables alone describe the gateway.
pub(crate) fn config_file(
    named: Option<&Path>,
    environment: &Environment,
) -> anyhow::Result<Option<PathBuf>> {
    if let Some(path) = named {
        return Ok(Some(path.to_owned()));
    }
    if let Some(path) = environment.get("VESTIBULE_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(Some(PathBuf::from(path)));
    }
    let here = PathBuf::from("vestibule.toml");
    if here.exists() {
        return Ok(Some(here));
    }
    anyhow::ensure!(
        vestibule_config::has_documented_variables(environment),
        "there is no vestibule.toml here; write one with `vestibule init`, name one with -c FILE, \
         or try `vestibule protect --demo`"
    );
    Ok(None)
}

/// Loads a configuration or prints what is wrong with it.
pub(crate) fn load(file: Option<&Path>, environment: &Environment) -> anyhow::Result<Loaded> {
    vestibule_config::load(file, environment).map_err(|report| {
        anyhow::anyhow!(
            "the configuration is refused\n{}",
            vestibule_config::render(&report.diagnostics).trim_end()
        )
    })
}

/// Puts the key of the data directory into settings that name none; it is made at the first
/// start. From here on everybody finds the store keys in one place.
pub(crate) async fn complete(mut settings: Settings) -> anyhow::Result<Settings> {
    if settings.secrets.store_key.is_empty() {
        let key =
            load_or_create_store_key(&settings.server.data_dir, &settings.store.sqlite).await?;
        settings.secrets.store_key.push(key);
    }
    Ok(settings)
}

/// Opens the store of completed settings.
pub(crate) async fn open_store(
    settings: &Settings,
) -> anyhow::Result<(Arc<dyn Store>, Arc<SqliteStore>)> {
    let store =
        Arc::new(SqliteStore::open(&settings.store.sqlite, &settings.secrets.store_key).await?);
    Ok((store.clone(), store))
}

/// The running parts.
pub(crate) struct System {
    pub(crate) authn: Arc<Authn>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) portal_host: Arc<PortalHost>,
}

/// What the portal asks of the process: clock, routes, version.
pub(crate) struct PortalHost {
    routes: arc_swap::ArcSwap<RouteTable>,
}

impl PortalHost {
    fn new(settings: &Settings) -> Self {
        Self { routes: arc_swap::ArcSwap::from_pointee(RouteTable::new(settings.routes.clone())) }
    }

    /// Takes the routes of new settings.
    pub(crate) fn reload(&self, settings: &Settings) {
        self.routes.store(Arc::new(RouteTable::new(settings.routes.clone())));
    }
}

impl vestibule_portal::Host for PortalHost {
    fn now(&self) -> UnixMillis {
        now()
    }

    fn routes(&self) -> Arc<RouteTable> {
        self.routes.load_full()
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

/// Starts authn, portal and proxy on an open store.
pub(crate) async fn start(
    settings: Arc<Settings>,
    store: Arc<dyn Store>,
) -> anyhow::Result<System> {
    let service = tokio::runtime::Handle::current();
    let authn = Authn::start(settings.clone(), store, service.clone(), now()).await?;
    let portal_host = Arc::new(PortalHost::new(&settings));
    let router = vestibule_portal::router(authn.clone(), portal_host.clone());
    let access_log = access_log::open(&settings.telemetry)?;
    let proxy = Proxy::start(ProxyConfig {
        settings,
        authn: authn.clone(),
        local: Arc::new(PortalDoor::new(router)),
        service,
        clock: now,
        access_log,
    })?;
    Ok(System { authn, proxy: Arc::new(proxy), portal_host })
}

/// Where a portal page lives: `/.vestibule` before it on a host that also has routes, unless
/// some route lists the page by its short path.
pub(crate) fn page_prefix(settings: &Settings, page: &str) -> &'static str {
    let host = &settings.server.portal.host;
    let mut routes = settings
        .routes
        .iter()
        .filter(|route| route.hosts.iter().any(|pattern| pattern.matches(host)));
    let Ok((path, _)) = vestibule_core::path::NormalPath::parse(page) else { return "" };
    match routes.next() {
        None => "",
        Some(first) => {
            let listed = std::iter::once(first)
                .chain(routes)
                .any(|route| route.portal.iter().any(|pattern| pattern.matches(&path, false)));
            if listed { "" } else { "/.vestibule" }
        }
    }
}
