//! The log: one tracing subscriber on standard output, JSON or text.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use vestibule_core::settings::telemetry::Telemetry;

/// Starts the log of a server. Lines of our own crates follow the configured level; the
/// audit trail (`target = "audit"`) is always written.
pub(crate) fn init(telemetry: &Telemetry) -> anyhow::Result<()> {
    let level = &telemetry.log_level;
    let directives = format!("{level},audit=info,hyper=warn,h2=warn,sqlx=warn,rustls=warn");
    let filter = EnvFilter::try_new(&directives).map_err(|_| {
        anyhow::anyhow!(
            "`telemetry.log.level = \"{level}\"` is no level: use error, warn, info, debug or trace"
        )
    })?;
    let builder = fmt().with_env_filter(filter).with_target(true);
    if telemetry.log_json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    } else {
        builder.init();
    }
    Ok(())
}

/// Commands log warnings to standard error, so that their output stays clean.
pub(crate) fn init_for_command() {
    let built = fmt()
        .with_env_filter(EnvFilter::new("warn,audit=off"))
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .try_init();
    // A second command in one process keeps the first one's log.
    drop(built);
}
