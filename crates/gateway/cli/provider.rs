//! `vestibule provider`: identity providers, and whether they can be signed in at.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_authn::provider::{ProviderReport, ProviderShown};
use vestibule_core::settings::provider::IncompleteProvider;

use super::store::with_store;
use super::{ConfigArgs, Format, output};
use crate::providers;

#[derive(Debug, Args)]
pub(crate) struct ProviderArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the providers of file, environment and store
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Ask a provider, and print what to register there
    Test {
        #[command(flatten)]
        config: ConfigArgs,
        /// The provider's id
        id: String,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

pub(crate) fn run(args: ProviderArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { config, format } => {
            let (providers, incomplete) = with_store(&config, async |desk| {
                let incomplete = desk.authn.settings().incomplete_providers.clone();
                Ok((desk.authn.providers(), incomplete))
            })?;
            list(&providers, &incomplete, format)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Test { config, id, format } => {
            let report = with_store(&config, async |desk| {
                if let Some(report) = desk.authn.test_provider(&id, desk.now).await {
                    return Ok(report);
                }
                let settings = desk.authn.settings();
                if let Some(half) = settings.incomplete_providers.iter().find(|p| *p.id == *id) {
                    anyhow::bail!("the provider `{id}` is off: set {}", half.missing.join(", "));
                }
                let known: Vec<_> =
                    desk.authn.providers().iter().map(|p| p.provider.id.to_string()).collect();
                match known.as_slice() {
                    [] => anyhow::bail!(
                        "there is no provider; add a [[provider]] to the route file, or set the variables of one"
                    ),
                    known => {
                        anyhow::bail!("there is no provider `{id}`, only {}", known.join(", "))
                    }
                }
            })?;
            print_report(&id, &report, format)?;
            Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn list(
    providers: &[ProviderShown],
    incomplete: &[IncompleteProvider],
    format: Format,
) -> anyhow::Result<()> {
    if format == Format::Json {
        let mut all: Vec<Value> = providers.iter().map(provider_json).collect();
        all.extend(incomplete.iter().map(|provider| {
            json!({ "id": &*provider.id, "enabled": false, "missing": provider.missing })
        }));
        output::line(&serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    let mut rows: Vec<Vec<String>> = providers
        .iter()
        .map(|shown| {
            let provider = &shown.provider;
            vec![
                provider.id.to_string(),
                provider.kind.as_str().to_owned(),
                if provider.enabled { "on" } else { "off" }.to_owned(),
                provider.origin.as_str().to_owned(),
                providers::issuer(provider).to_owned(),
                provider.redirect_uri.clone(),
            ]
        })
        .collect();
    rows.extend(incomplete.iter().map(|provider| {
        vec![
            provider.id.to_string(),
            "-".to_owned(),
            "off".to_owned(),
            "environment".to_owned(),
            format!("missing {}", provider.missing.join(", ")),
            "-".to_owned(),
        ]
    }));
    output::table(&["ID", "KIND", "STATE", "FROM", "ISSUER", "REDIRECT URI"], &rows);
    Ok(())
}

fn provider_json(shown: &ProviderShown) -> Value {
    let provider = &shown.provider;
    json!({
        "id": &*provider.id,
        "kind": provider.kind.as_str(),
        "label": provider.label,
        "enabled": provider.enabled,
        "origin": provider.origin.as_str(),
        "issuer": providers::issuer(provider),
        "client_id": provider.client_id,
        "redirect_uri": provider.redirect_uri,
    })
}

fn print_report(id: &str, report: &ProviderReport, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        let checks: Vec<Value> = report
            .checks
            .iter()
            .map(|check| {
                json!({
                    "name": check.name,
                    "good": check.is_good,
                    "found": check.found,
                    "help": check.help,
                })
            })
            .collect();
        let whole = json!({
            "id": id,
            "good": report.is_good(),
            "redirect_uri": report.redirect_uri,
            "backchannel_logout_uri": report.backchannel_logout_uri,
            "checks": checks,
        });
        output::line(&serde_json::to_string_pretty(&whole)?);
        return Ok(());
    }
    output::line(&format!("Register at the provider `{id}`, character for character:"));
    output::line(&format!("  redirect URI            {}", report.redirect_uri));
    if !report.backchannel_logout_uri.is_empty() {
        output::line(&format!("  back-channel logout URI {}", report.backchannel_logout_uri));
    }
    output::line("");
    for check in &report.checks {
        let mark = if check.is_good { "ok  " } else { "FAIL" };
        output::line(&format!("{mark} {:10} {}", check.name, check.found));
        if let Some(help) = &check.help {
            output::line(&format!("     {:10} {help}", ""));
        }
    }
    Ok(())
}
