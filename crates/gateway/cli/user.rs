//! `vestibule user`: accounts.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_authn::account::AddAccount;
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::group::Group;

use super::store::{Desk, read_password, with_store};
use super::{ConfigArgs, Format, output};

#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    action: Action,
}

/// Whom a command is about.
#[derive(Debug, Args)]
struct Whom {
    #[command(flatten)]
    config: ConfigArgs,
    /// E-mail address, user name or id
    #[arg(value_name = "EMAIL|ID")]
    who: String,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List all accounts
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Make an account
    Add(AddArgs),
    /// Show one account
    Show {
        #[command(flatten)]
        whom: Whom,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Let a pending account in
    Approve(Whom),
    /// Refuse a pending account
    Reject(Whom),
    /// Shut an account out
    Disable(Whom),
    /// Let a disabled account in again
    Enable(Whom),
    /// Change the role
    Role {
        #[command(flatten)]
        whom: Whom,
        /// `user` or `admin`
        role: Role,
    },
    /// Replace the groups (none given: no groups)
    Groups {
        #[command(flatten)]
        whom: Whom,
        /// Names
        groups: Vec<String>,
    },
    /// Set a new password and end the account's sessions
    Password {
        #[command(flatten)]
        whom: Whom,
        /// Read it from a file, `-` for standard input [default: ask]
        #[arg(long, value_name = "FILE|-")]
        password_file: Option<PathBuf>,
    },
    /// End all sessions and tokens of an account
    SignOut(Whom),
    /// Delete an account with its sessions and keys
    Delete(Whom),
}

#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// E-mail address; counts as verified
    #[arg(value_name = "EMAIL")]
    email: String,
    /// Display name
    #[arg(long, default_value = "")]
    name: String,
    /// User name [default: from the e-mail address]
    #[arg(long)]
    username: Option<String>,
    /// `user` or `admin`
    #[arg(long, default_value = "user")]
    role: Role,
    /// A group; may be repeated
    #[arg(long = "group", value_name = "G")]
    groups: Vec<String>,
    /// `active`, `pending`, `rejected` or `disabled`
    #[arg(long, default_value = "active")]
    status: Status,
    /// Read the password from a file, `-` for standard input [default: ask]
    #[arg(long, value_name = "FILE|-")]
    password_file: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: UserArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { config, format } => list(&config, format)?,
        Action::Add(args) => add(args)?,
        Action::Show { whom, format } => with_account(&whom, async |_, account| {
            match format {
                Format::Human => print_account(&account),
                Format::Json => {
                    output::line(&serde_json::to_string_pretty(&account_json(&account))?)
                }
            }
            Ok(())
        })?,
        Action::Approve(whom) => set_status(&whom, Status::Active)?,
        Action::Reject(whom) => set_status(&whom, Status::Rejected)?,
        Action::Disable(whom) => set_status(&whom, Status::Disabled)?,
        Action::Enable(whom) => set_status(&whom, Status::Active)?,
        Action::Role { whom, role } => with_account(&whom, async |desk: &Desk, account| {
            let account = desk.authn.set_role(account.id, role, &desk.actor, desk.now).await?;
            output::line(&format!("{} has role {}.", label(&account), account.role));
            Ok(())
        })?,
        Action::Groups { whom, groups } => {
            let groups = parse_groups(&groups)?;
            with_account(&whom, async |desk: &Desk, account| {
                let account =
                    desk.authn.set_groups(account.id, groups, &desk.actor, desk.now).await?;
                output::line(&format!("{} is in: {}.", label(&account), joined(&account)));
                Ok(())
            })?;
        }
        Action::Password { whom, password_file } => {
            let password = read_password(password_file.as_deref())?;
            with_account(&whom, async |desk: &Desk, account| {
                desk.authn.set_password(account.id, password, &desk.actor, desk.now).await?;
                output::line(&format!(
                    "{} has a new password; all sessions ended.",
                    label(&account)
                ));
                Ok(())
            })?;
        }
        Action::SignOut(whom) => with_account(&whom, async |desk: &Desk, account| {
            let ended = desk.authn.end_sessions_of(account.id, None, &desk.actor, desk.now).await?;
            output::line(&format!("{}: {ended} sessions ended.", label(&account)));
            Ok(())
        })?,
        Action::Delete(whom) => with_account(&whom, async |desk: &Desk, account| {
            desk.authn.delete_account(account.id, &desk.actor, desk.now).await?;
            output::line(&format!("{} is deleted.", label(&account)));
            Ok(())
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(config: &ConfigArgs, format: Format) -> anyhow::Result<()> {
    let accounts = with_store(config, async |desk| all_accounts(&desk).await)?;
    match format {
        Format::Json => {
            let list: Vec<Value> = accounts.iter().map(account_json).collect();
            output::line(&serde_json::to_string_pretty(&list)?);
        }
        Format::Human => {
            let rows: Vec<Vec<String>> = accounts
                .iter()
                .map(|account| {
                    vec![
                        account.email.as_deref().unwrap_or("-").to_owned(),
                        account.username.to_string(),
                        account.role.to_string(),
                        account.status.to_string(),
                        joined(account),
                        account.id.to_string(),
                    ]
                })
                .collect();
            output::table(&["EMAIL", "USERNAME", "ROLE", "STATUS", "GROUPS", "ID"], &rows);
        }
    }
    Ok(())
}

async fn all_accounts(desk: &Desk) -> anyhow::Result<Vec<Account>> {
    const PAGE: u32 = 500;
    let mut all: Vec<Account> = Vec::new();
    loop {
        let page = desk.authn.store().accounts(all.last().map(|account| account.id), PAGE).await?;
        let last = page.len() < PAGE as usize;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}

fn add(args: AddArgs) -> anyhow::Result<()> {
    let groups = parse_groups(&args.groups)?;
    let password = read_password(args.password_file.as_deref())?;
    let add = AddAccount {
        email: args.email,
        name: args.name,
        username: args.username,
        role: args.role,
        status: args.status,
        groups,
        password: Some(password),
    };
    let account = with_store(&args.config, async move |desk| {
        Ok(desk.authn.add_account(add, &desk.actor, desk.now).await?)
    })?;
    match args.format {
        Format::Human => output::line(&format!(
            "{} is made ({}, {}).",
            label(&account),
            account.role,
            account.status
        )),
        Format::Json => output::line(&serde_json::to_string_pretty(&account_json(&account))?),
    }
    Ok(())
}

fn set_status(whom: &Whom, status: Status) -> anyhow::Result<()> {
    with_account(whom, async |desk: &Desk, account| {
        let account = desk.authn.set_status(account.id, status, &desk.actor, desk.now).await?;
        output::line(&format!("{} is {}.", label(&account), account.status));
        Ok(())
    })
}

fn with_account(
    whom: &Whom,
    work: impl AsyncFnOnce(&Desk, Account) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    with_store(&whom.config, async |desk| {
        let account = find(&desk, &whom.who).await?;
        work(&desk, account).await
    })
}

/// An account by e-mail, user name or id, or a message that says how to look.
pub(crate) async fn find(desk: &Desk, who: &str) -> anyhow::Result<Account> {
    desk.authn
        .find_account(who)
        .await?
        .ok_or_else(|| anyhow::anyhow!("there is no account `{who}`; see `vestibule user list`"))
}

fn parse_groups(names: &[String]) -> anyhow::Result<Vec<Group>> {
    Ok(names.iter().map(|name| Group::new(name)).collect::<Result<_, _>>()?)
}

fn label(account: &Account) -> &str {
    account.email.as_deref().unwrap_or(&account.username)
}

fn joined(account: &Account) -> String {
    let names: Vec<&str> = account.groups.iter().map(Group::as_str).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}

fn print_account(account: &Account) {
    let verified = if account.email_verified { "verified" } else { "not verified" };
    output::line(&format!("id        {}", account.id));
    output::line(&format!("username  {}", account.username));
    output::line(&format!("email     {} ({verified})", account.email.as_deref().unwrap_or("-")));
    output::line(&format!("name      {}", account.name));
    output::line(&format!("role      {}", account.role));
    output::line(&format!("status    {}", account.status));
    output::line(&format!("groups    {}", joined(account)));
    output::line(&format!("created   {}", output::time(Some(account.created_at))));
}

fn account_json(account: &Account) -> Value {
    json!({
        "id": account.id.to_string(),
        "username": account.username,
        "email": account.email,
        "email_verified": account.email_verified,
        "name": account.name,
        "role": account.role.as_str(),
        "status": account.status.as_str(),
        "groups": account.groups.iter().map(Group::as_str).collect::<Vec<_>>(),
        "created_at": output::time(Some(account.created_at)),
    })
}
