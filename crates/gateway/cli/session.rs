//! `vestibule session`: live sessions, and the denylist of tokens that have none.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_authn::ports::{DeniedBy, DeniedJwt, SessionKind, SessionRecord};
use vestibule_core::id::SessionId;

use super::store::{settings, with_store};
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
    /// End a session, or take a token of a `[[jwt_issuer]]` no longer
    Revoke {
        #[command(flatten)]
        config: ConfigArgs,
        /// The session's id
        #[arg(required_unless_present = "jwt_issuer", conflicts_with = "jwt_issuer")]
        id: Option<SessionId>,
        #[command(flatten)]
        token: TokenArgs,
    },
}

/// Which foreign tokens are meant.
#[derive(Debug, Args)]
struct TokenArgs {
    /// Whose tokens: the name of a `[[jwt_issuer]]`, or its `issuer`
    #[arg(long, value_name = "NAME", requires = "which")]
    jwt_issuer: Option<String>,
    /// All tokens of this subject
    #[arg(long, value_name = "SUB", group = "which", requires = "jwt_issuer")]
    sub: Option<String>,
    /// The one token of this id
    #[arg(long, value_name = "JTI", group = "which", requires = "jwt_issuer")]
    jti: Option<String>,
    /// Take them again
    #[arg(long, requires = "jwt_issuer")]
    allow: bool,
}

pub(crate) fn run(args: SessionArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { config, format } => {
            let sessions = with_store(&config, async |desk| {
                Ok(desk.authn.list_sessions(None, desk.now).await?)
            })?;
            print(&sessions, format)?;
        }
        Action::Revoke { config, id: Some(id), .. } => {
            let was_there = with_store(&config, async |desk| {
                Ok(desk.authn.end_session(id, None, false, &desk.actor, desk.now).await?)
            })?;
            anyhow::ensure!(was_there, "there is no session {id}; see `vestibule session list`");
            output::line(&format!("Session {id} ended."));
        }
        Action::Revoke { config, id: None, token } => revoke_token(&config, token)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts tokens on the denylist, or takes them off it.
fn revoke_token(config: &ConfigArgs, token: TokenArgs) -> anyhow::Result<()> {
    let issuer = issuer(config, &token.jwt_issuer.unwrap_or_default())?;
    let (by, named) = match (token.sub, token.jti) {
        (Some(sub), _) => (DeniedBy::Sub(sub.clone()), format!("Tokens of {sub} by {issuer}")),
        (None, Some(jti)) => (DeniedBy::Jti(jti.clone()), format!("Token {jti} of {issuer}")),
        (None, None) => anyhow::bail!("name whose tokens: add --sub SUB or --jti JTI"),
    };
    let denied = DeniedJwt { issuer, by };
    if token.allow {
        let was_denied = with_store(config, async |desk| Ok(desk.authn.allow_jwt(denied).await?))?;
        anyhow::ensure!(was_denied, "{named}: not denied, so there is nothing to take back");
        output::line(&format!("{named}: taken again from the next request on."));
    } else {
        with_store(config, async |desk| {
            Ok(desk.authn.deny_jwt(denied, &desk.actor, desk.now).await?)
        })?;
        output::line(&format!(
            "{named}: taken no longer, from the next request on; open streams are closed."
        ));
    }
    Ok(())
}

/// The `iss` of a configured issuer, by its name or itself. One that was taken out of the
/// file is named by its `iss`.
fn issuer(config: &ConfigArgs, named: &str) -> anyhow::Result<String> {
    let issuers = settings(config)?.jwt_issuers;
    let known = issuers.iter().find(|issuer| *issuer.name == *named || issuer.issuer == named);
    match known {
        Some(issuer) => Ok(issuer.issuer.clone()),
        None if named.contains("://") => Ok(named.to_owned()),
        None => {
            let names: Vec<&str> = issuers.iter().map(|issuer| &*issuer.name).collect();
            anyhow::bail!(
                "there is no [[jwt_issuer]] named `{named}`; {}",
                match names.as_slice() {
                    [] => "the file has none, so name it by its URL".to_owned(),
                    names => format!("the file has: {}", names.join(", ")),
                }
            )
        }
    }
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
