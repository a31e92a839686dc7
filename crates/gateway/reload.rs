//! Takes a new configuration while the old one goes on serving: parse, validate, swap. On any
//! error the old snapshot stays.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use vestibule_authn::ports::AuditEvent;
use vestibule_config::{Environment, Loaded};
use vestibule_core::settings::Settings;

use crate::telemetry::Telemetry;
use crate::watch::Watcher;
use crate::wire::{self, System};

/// What a reload needs to know.
pub(crate) struct Reloader {
    file: Option<PathBuf>,
    environment: Environment,
    running: Arc<Settings>,
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    watcher: Watcher,
    certificates: Watcher,
}

impl Reloader {
    /// Starts from what was loaded.
    pub(crate) fn new(
        file: Option<PathBuf>,
        environment: Environment,
        running: Arc<Settings>,
        files: Vec<PathBuf>,
        directories: Vec<PathBuf>,
    ) -> Self {
        let watcher = Watcher::new(&files, &directories);
        let certificates = Watcher::new(&certificate_files(&running), &[]);
        Self { file, environment, running, files, directories, watcher, certificates }
    }

    /// Reloads what has changed on disk; called every [`crate::watch::ROUND`].
    pub(crate) fn look(&mut self, system: &System, telemetry: &Telemetry) {
        if self.watcher.has_changed(&self.files, &self.directories) {
            tracing::info!("the configuration files have changed");
            self.reload(system, telemetry);
        }
        if self.certificates.has_changed(&certificate_files(&self.running), &[]) {
            tracing::info!("certificate files have changed");
            system.proxy.reload_certificates();
        }
    }

    /// Reads everything anew and swaps it in, or keeps the old and says why.
    pub(crate) fn reload(&mut self, system: &System, telemetry: &Telemetry) {
        let outcome = match vestibule_config::load(self.file.as_deref(), &self.environment) {
            Ok(loaded) => self.swap(loaded, system),
            Err(report) => {
                for diagnostic in report.diagnostics.iter().filter(|diagnostic| diagnostic.is_error)
                {
                    log_error(diagnostic);
                }
                Err(format!(
                    "{} problems",
                    report.diagnostics.iter().filter(|d| d.is_error).count()
                ))
            }
        };
        telemetry.last_reload_ok.store(outcome.is_ok(), Ordering::Relaxed);
        let (event, result, detail) = match outcome {
            Ok(()) => ("config.reloaded", "success", String::new()),
            Err(reason) => {
                tracing::error!(%reason, "the new configuration is refused; the old one goes on serving");
                ("config.rejected", "failure", reason)
            }
        };
        system.authn.audit(AuditEvent {
            time: wire::now(),
            event,
            actor: "system".to_owned(),
            subject: String::new(),
            client_ip: String::new(),
            request_id: String::new(),
            outcome: result,
            detail,
        });
    }

    fn swap(&mut self, loaded: Loaded, system: &System) -> Result<(), String> {
        log_warnings(&loaded.warnings);
        let mut settings = loaded.settings;
        if settings.secrets.store_key.is_empty() {
            settings.secrets.store_key.clone_from(&self.running.secrets.store_key);
        }
        if !system.authn.has_way_in(&settings) {
            return Err(vestibule_authn::NO_WAY_IN.to_owned());
        }
        let settings = Arc::new(settings);
        system.proxy.reload(settings.clone())?;
        system.authn.reload(settings.clone());
        system.portal_host.reload(&settings);
        crate::providers::announce(&system.authn);
        self.files = loaded.files;
        self.directories = loaded.include_dirs;
        self.running = settings;
        tracing::info!(routes = self.running.routes.len(), "configuration reloaded");
        Ok(())
    }
}

/// What leaves the server running. A provider that somebody wants and cannot have is an error
/// to whoever reads the log.
pub(crate) fn log_warnings(warnings: &[vestibule_config::Diagnostic]) {
    for warning in warnings {
        if warning.code == "provider-not-configured" {
            log_error(warning);
        } else {
            tracing::warn!(code = warning.code, "{}", one_line(warning));
        }
    }
}

fn log_error(diagnostic: &vestibule_config::Diagnostic) {
    tracing::error!(code = diagnostic.code, "{}", one_line(diagnostic));
}

/// `file:line:column: message; help`.
pub(crate) fn one_line(diagnostic: &vestibule_config::Diagnostic) -> String {
    let place = diagnostic
        .span
        .as_ref()
        .map(|span| format!("{}:{}:{}: ", span.file.display(), span.line, span.column))
        .unwrap_or_default();
    let help = diagnostic.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    format!("{place}{}{help}", diagnostic.message)
}

fn certificate_files(settings: &Settings) -> Vec<PathBuf> {
    settings
        .tls
        .certificates
        .iter()
        .flat_map(|pair| [pair.cert.clone(), pair.key.clone()])
        .collect()
}
