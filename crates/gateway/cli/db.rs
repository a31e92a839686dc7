//! `vestibule db`: looks after the database file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use vestibule_authn::ports::AuditEvent;
use vestibule_core::settings::Settings;
use vestibule_store::backup::{self, Restored};
use vestibule_store::sqlite::{self, MigrationState};

use super::store::{self, settings};
use super::{ConfigArgs, Format, output};
use crate::{control, wire};

#[derive(Debug, Args)]
pub(crate) struct DbArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show which migrations are applied
    Status {
        #[command(flatten)]
        config: ConfigArgs,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Apply what is missing (a starting server does it too)
    Migrate(ConfigArgs),
    /// Run the integrity check
    Check(ConfigArgs),
    /// Write a copy, also while the server runs (.db or .db.gz); the store key is not part of it
    Backup {
        #[command(flatten)]
        config: ConfigArgs,
        /// Where to
        file: PathBuf,
    },
    /// Put a copy back; the server must be stopped
    Restore {
        #[command(flatten)]
        config: ConfigArgs,
        /// Where from
        file: PathBuf,
    },
    /// Seal everything under the first store key, so that the others can be taken out
    Reseal(ConfigArgs),
}

pub(crate) fn run(args: DbArgs) -> anyhow::Result<ExitCode> {
    crate::logging::init_for_command();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        match args.action {
            Action::Status { config, format } => status(&settings(&config)?, format).await,
            Action::Migrate(config) => migrate(settings(&config)?).await,
            Action::Check(config) => check(&settings(&config)?).await,
            Action::Backup { config, file } => back_up(settings(&config)?, file).await,
            Action::Restore { config, file } => restore(settings(&config)?, file).await,
            Action::Reseal(config) => reseal(settings(&config)?).await,
        }
    })
}

async fn status(settings: &Settings, format: Format) -> anyhow::Result<ExitCode> {
    print_migrations(settings, &sqlite::status(&settings.store.sqlite).await?, format)?;
    Ok(ExitCode::SUCCESS)
}

async fn migrate(settings: Settings) -> anyhow::Result<ExitCode> {
    let settings = wire::complete(settings).await?;
    let migrations = sqlite::migrate(&settings.store.sqlite, &settings.secrets.store_key).await?;
    print_migrations(&settings, &migrations, Format::Human)?;
    Ok(ExitCode::SUCCESS)
}

fn print_migrations(
    settings: &Settings,
    migrations: &[MigrationState],
    format: Format,
) -> anyhow::Result<()> {
    let state = |migration: &MigrationState| if migration.applied { "applied" } else { "pending" };
    if format == Format::Json {
        let list: Vec<_> = migrations
            .iter()
            .map(|m| json!({ "version": m.version, "description": m.description, "state": state(m) }))
            .collect();
        output::line(&serde_json::to_string_pretty(&json!({
            "file": settings.store.sqlite.display().to_string(),
            "migrations": list,
        }))?);
        return Ok(());
    }
    output::line(&format!("{}", settings.store.sqlite.display()));
    let rows: Vec<Vec<String>> = migrations
        .iter()
        .map(|m| vec![m.version.to_string(), state(m).to_owned(), m.description.clone()])
        .collect();
    output::table(&["VERSION", "STATE", "DESCRIPTION"], &rows);
    Ok(())
}

async fn check(settings: &Settings) -> anyhow::Result<ExitCode> {
    let soundness = sqlite::check(&settings.store.sqlite).await?;
    if soundness.complaints.is_empty() {
        output::line("ok");
        return Ok(ExitCode::SUCCESS);
    }
    for complaint in &soundness.complaints {
        output::error(complaint);
    }
    anyhow::bail!(
        "{} is not sound; stop the server and put a backup back: vestibule db restore FILE",
        settings.store.sqlite.display()
    )
}

async fn back_up(settings: Settings, file: PathBuf) -> anyhow::Result<ExitCode> {
    let settings = wire::complete(settings).await?;
    let made = backup::backup(&settings.store.sqlite, &file, wire::now()).await?;
    output::line(&format!("Wrote {}.", made.display()));
    output::error("The store key is not part of it: keep a copy of it elsewhere.");
    note(&settings, "db.backup", made.display().to_string()).await?;
    control::tell_server(&settings.server.data_dir).await;
    Ok(ExitCode::SUCCESS)
}

async fn restore(settings: Settings, file: PathBuf) -> anyhow::Result<ExitCode> {
    let settings = wire::complete(settings).await?;
    let (database, data_dir) = (&settings.store.sqlite, &settings.server.data_dir);
    let restored = backup::restore(&file, database, data_dir, &settings.secrets.store_key).await?;
    let Restored { carried, accounts, keys, previous } = restored;
    output::line(&format!(
        "Restored {accounts} accounts and {keys} keys. Everybody has to sign in again."
    ));
    match carried {
        Some(carried) => {
            output::line(&format!(
                "Stayed revoked since the backup: {} keys removed, {} keys and {} accounts narrowed.",
                carried.keys_removed, carried.keys_narrowed, carried.accounts_narrowed
            ));
            let providers = [carried.links_removed, carried.providers_off, carried.jwts_denied];
            if providers.iter().any(|count| *count > 0) {
                output::line(&format!(
                    "Of providers: {} identities taken off again, {} providers off, {} tokens denied.",
                    carried.links_removed, carried.providers_off, carried.jwts_denied
                ));
            }
        }
        None => output::error(
            "warning: the store that was replaced could not be asked what was revoked since; look through `vestibule key list`",
        ),
    }
    if let Some(previous) = previous {
        output::line(&format!("The store that was replaced is kept in {}.", previous.display()));
    }
    note(&settings, "db.restore", file.display().to_string()).await?;
    Ok(ExitCode::SUCCESS)
}

async fn reseal(settings: Settings) -> anyhow::Result<ExitCode> {
    let settings = wire::complete(settings).await?;
    let (_, store) = wire::open_store(&settings).await?;
    let changed = store.reseal().await?;
    store.close().await;
    output::line(&format!("{changed} rows sealed anew; the first store key now opens everything."));
    Ok(ExitCode::SUCCESS)
}

/// Writes the audit event of an upkeep command.
async fn note(settings: &Settings, event: &'static str, detail: String) -> anyhow::Result<()> {
    let (store, file) = wire::open_store(settings).await?;
    let event = AuditEvent {
        time: wire::now(),
        event,
        actor: store::CLI.to_owned(),
        subject: String::new(),
        client_ip: String::new(),
        request_id: String::new(),
        outcome: "success",
        detail,
    };
    store.append_audit(&[event]).await?;
    file.close().await;
    Ok(())
}
