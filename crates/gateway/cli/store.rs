//! What the store commands share: open the store of a configuration, act as `cli`, and put
//! the change in force in a running server.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use vestibule_authn::{Actor, Authn};
use vestibule_core::secret::Secret;
use vestibule_core::settings::Settings;
use vestibule_core::time::UnixMillis;

use super::ConfigArgs;
use crate::{control, wire};

/// Who acts when a command does.
pub(crate) const CLI: &str = "cli";

/// An opened store with everything a command needs.
pub(crate) struct Desk {
    pub(crate) authn: Arc<Authn>,
    pub(crate) actor: Actor,
    pub(crate) now: UnixMillis,
}

/// Loads the configuration for a command; its warnings are for `serve` and `check`.
pub(crate) fn settings(config: &ConfigArgs) -> anyhow::Result<Settings> {
    let environment = vestibule_config::environment();
    let file = wire::config_file(config.config.as_deref(), &environment)?;
    let loaded = vestibule_config::load(file.as_deref(), &environment).map_err(|report| {
        anyhow::anyhow!("{}", vestibule_config::render(&report.diagnostics).trim_end().to_owned())
    })?;
    Ok(loaded.settings)
}

/// Runs a command on the store. Afterwards a running server is told to look again, so that
/// the change holds at its next request.
pub(crate) fn with_store<T, F, R>(config: &ConfigArgs, work: F) -> anyhow::Result<T>
where
    F: FnOnce(Desk) -> R,
    R: Future<Output = anyhow::Result<T>>,
{
    let settings = settings(config)?;
    crate::logging::init_for_command();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(async {
        let settings = Arc::new(wire::complete(settings).await?);
        let now = wire::now();
        let (store, _) = wire::open_store(&settings).await?;
        let handle = tokio::runtime::Handle::current();
        let authn = Authn::start(settings.clone(), store, handle, now).await?;
        let actor = Actor { id: CLI.to_owned(), client_ip: None, request_id: Arc::from("") };
        let done = work(Desk { authn: authn.clone(), actor, now }).await;
        authn.run(async {}).await;
        if done.is_ok() {
            control::tell_server(&settings.server.data_dir).await;
        }
        done
    })
}

/// Reads a password from a file, from standard input (`-`), or from a prompt without echo.
pub(crate) fn read_password(file: Option<&Path>) -> anyhow::Result<Secret> {
    let text = match file {
        Some(path) if path == Path::new("-") => std::io::read_to_string(std::io::stdin())
            .context("cannot read the password from standard input")?,
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the password from {}", path.display()))?,
        None => rpassword::prompt_password("Password: ").context(
            "cannot ask for the password here; use --password-file FILE, or - for standard input",
        )?,
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}
