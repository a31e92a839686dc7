//! `vestibule session`: live sessions.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_authn::ports::{SessionKind, SessionRecord};
use vestibule_core::id::SessionId;

use super::store::with_store;
use super::{ConfigArgs, Format, output};

#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List live sessions
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// End a session
    Revoke {
        #[command(flatten)]
        config: ConfigArgs,
        /// The session's id
        id: SessionId,
    },
}

pub(crate) fn run(args: SessionArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { config, format } => {
            let sessions = with_store(&config, async |desk| {
                Ok(desk.authn.list_sessions(None, desk.now).await?)
            })?;
            print(&sessions, format)?;
        }
        Action::Revoke { config, id } => {
            let was_there = with_store(&config, async |desk| {
                Ok(desk.authn.end_session(id, None, false, &desk.actor, desk.now).await?)
            })?;
            anyhow::ensure!(was_there, "there is no session {id}; see `vestibule session list`");
            output::line(&format!("Session {id} ended."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(sessions: &[SessionRecord], format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            let list: Vec<Value> = sessions.iter().map(session_json).collect();
            output::line(&serde_json::to_string_pretty(&list)?);
        }
        Format::Human => {
            let rows: Vec<Vec<String>> = sessions
                .iter()
                .map(|session| {
                    vec![
                        session.id.to_string(),
                        session.account.to_string(),
                        kind(session.kind).to_owned(),
                        output::time(Some(session.last_seen)),
                        output::time(Some(session.expires_at)),
                        session.client_ip.clone(),
                    ]
                })
                .collect();
            output::table(&["ID", "ACCOUNT", "KIND", "LAST SEEN", "EXPIRES", "FROM"], &rows);
        }
    }
    Ok(())
}

fn kind(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Browser => "browser",
        SessionKind::Token => "token",
    }
}

fn session_json(session: &SessionRecord) -> Value {
    json!({
        "id": session.id.to_string(),
        "account": session.account.to_string(),
        "kind": kind(session.kind),
        "created_at": output::time(Some(session.created_at)),
        "last_seen": output::time(Some(session.last_seen)),
        "expires_at": output::time(Some(session.expires_at)),
        "client_ip": session.client_ip,
        "user_agent": session.user_agent,
    })
}
