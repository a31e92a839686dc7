//! `vestibule key`: API keys.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_authn::api_key::NewKey;
use vestibule_authn::ports::ApiKeyRecord;
use vestibule_core::api_key::Scopes;
use vestibule_core::id::KeyId;

use super::store::with_store;
use super::{ConfigArgs, Format, output, user};

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List keys
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Only this account's
        #[arg(long, value_name = "EMAIL")]
        owner: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Make a key; it is shown this once
    Create(CreateArgs),
    /// Revoke a key
    Revoke {
        #[command(flatten)]
        config: ConfigArgs,
        /// The key's id
        id: KeyId,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Whose key
    #[arg(long, value_name = "EMAIL")]
    owner: String,
    /// What it is for
    #[arg(long, value_name = "N")]
    name: String,
    /// How long it holds, e.g. 90d [default: no end]
    #[arg(long, value_name = "90d", value_parser = duration)]
    expires: Option<Duration>,
    /// What it may do; may be repeated [default: all its owner may]
    #[arg(long = "scope", value_name = "S")]
    scopes: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: KeyArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { config, owner, format } => list(&config, owner.as_deref(), format)?,
        Action::Create(args) => create(args)?,
        Action::Revoke { config, id } => {
            with_store(&config, async |desk| {
                Ok(desk.authn.revoke_key(id, None, &desk.actor, desk.now).await?)
            })?;
            output::line(&format!("Key {id} is revoked."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(config: &ConfigArgs, owner: Option<&str>, format: Format) -> anyhow::Result<()> {
    let keys = with_store(config, async |desk| {
        let owner = match owner {
            Some(owner) => Some(user::find(&desk, owner).await?.id),
            None => None,
        };
        Ok(desk.authn.list_keys(owner).await?)
    })?;
    match format {
        Format::Json => {
            let list: Vec<Value> = keys.iter().map(key_json).collect();
            output::line(&serde_json::to_string_pretty(&list)?);
        }
        Format::Human => {
            let rows: Vec<Vec<String>> = keys
                .iter()
                .map(|key| {
                    vec![
                        key.id.to_string(),
                        key.name.clone(),
                        format!("{}…", key.start),
                        if key.enabled { "on" } else { "off" }.to_owned(),
                        output::time(key.expires_at),
                        output::time(key.last_used_at),
                        key.scopes.to_texts().join(" "),
                    ]
                })
                .collect();
            output::table(&["ID", "NAME", "KEY", "STATE", "EXPIRES", "LAST USED", "SCOPES"], &rows);
        }
    }
    Ok(())
}

fn create(args: CreateArgs) -> anyhow::Result<()> {
    let scopes = Scopes::parse(args.scopes.iter().map(String::as_str))?;
    let new = NewKey {
        name: args.name,
        expires_in: args.expires,
        scopes: Some(scopes),
        rate_limit: None,
    };
    let owner = args.owner;
    let (record, key) = with_store(&args.config, async move |desk| {
        let owner = user::find(&desk, &owner).await?;
        Ok(desk.authn.create_key(owner.id, new, None, &desk.actor, desk.now).await?)
    })?;
    match args.format {
        Format::Human => {
            output::error("The key is shown this once:");
            output::line(&key);
        }
        Format::Json => {
            let mut shown = key_json(&record);
            if let Some(map) = shown.as_object_mut() {
                map.insert("key".to_owned(), Value::String(key));
            }
            output::line(&serde_json::to_string_pretty(&shown)?);
        }
    }
    Ok(())
}

fn key_json(key: &ApiKeyRecord) -> Value {
    let time = |time| match time {
        Some(_) => Value::String(output::time(time)),
        None => Value::Null,
    };
    json!({
        "id": key.id.to_string(),
        "owner": key.owner.to_string(),
        "name": key.name,
        "start": key.start,
        "enabled": key.enabled,
        "scopes": key.scopes.to_texts(),
        "created_at": time(Some(key.created_at)),
        "expires_at": time(key.expires_at),
        "last_used_at": time(key.last_used_at),
    })
}

/// `90d`, `12h`, `15m`, `30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err("give a number with a unit: 30s, 15m, 12h or 90d".to_owned()),
    };
    text.get(..text.len() - 1)
        .and_then(|number| number.parse::<u64>().ok())
        .filter(|&number| number > 0)
        .and_then(|number| number.checked_mul(unit))
        .map(Duration::from_secs)
        .ok_or_else(|| "give a whole number with a unit: 30s, 15m, 12h or 90d".to_owned())
}
