//! `vestibule check`: every problem of the file and the environment in one run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use vestibule_config::Diagnostic;

use super::{ConfigArgs, Format, output};
use crate::wire;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Also print what differs from the file that is running
    #[arg(long, value_name = "RUNNING_FILE")]
    diff: Option<PathBuf>,
}

pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let environment = vestibule_config::environment();
    let file = wire::config_file(args.config.config.as_deref(), &environment)?;
    let (diagnostics, effective) = match vestibule_config::load(file.as_deref(), &environment) {
        Ok(loaded) => (loaded.warnings, Some(loaded.effective)),
        Err(report) => (report.diagnostics, None),
    };
    let differences = match (&args.diff, &effective) {
        (Some(running), Some(new)) => Some(differences(running, new, &environment)?),
        _ => None,
    };
    let good = !diagnostics.iter().any(Diagnostic::fails_check);
    match args.format {
        Format::Human => print_human(&diagnostics, good, differences.as_deref()),
        Format::Json => output::line(&serde_json::to_string_pretty(&json!({
            "ok": good,
            "diagnostics": diagnostics.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
            "effective": effective,
            "diff": differences,
        }))?),
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_human(diagnostics: &[Diagnostic], good: bool, differences: Option<&[Value]>) {
    if !diagnostics.is_empty() {
        output::error(vestibule_config::render(diagnostics).trim_end());
    }
    // How many problems there are stands at the end of the report.
    if good {
        output::line("The configuration is good.");
    }
    for difference in differences.unwrap_or_default() {
        let text = |name: &str| {
            difference.get(name).map_or_else(|| "(unset)".to_owned(), Value::to_string)
        };
        let key = difference.get("key").and_then(Value::as_str).unwrap_or_default();
        output::line(&format!("{key}: {} -> {}", text("running"), text("new")));
    }
}

/// The effective values that differ, by key.
fn differences(
    running: &std::path::Path,
    new: &Value,
    environment: &vestibule_config::Environment,
) -> anyhow::Result<Vec<Value>> {
    let running = vestibule_config::load(Some(running), environment)
        .map_err(|report| anyhow::anyhow!("{}", vestibule_config::render(&report.diagnostics)))?
        .effective;
    let empty = serde_json::Map::new();
    let (old, new) = (running.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let value = |map: &serde_json::Map<String, Value>, key: &str| {
        map.get(key).map(|entry| entry.get("value").unwrap_or(entry).clone())
    };
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    Ok(keys
        .into_iter()
        .filter(|key| value(old, key) != value(new, key))
        .map(|key| json!({ "key": key, "running": value(old, key), "new": value(new, key) }))
        .collect())
}
