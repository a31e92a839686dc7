//! The command line: names and options as the contract has them, one file a command.
//!
//! Exit codes: 0 done, 1 refused or failed with a message on standard error, 2 wrong usage.

mod check;
mod db;
mod explain;
mod health;
mod init;
mod key;
mod output;
mod protect;
mod provider;
mod serve;
mod session;
mod snippet;
mod store;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Signs people in before your apps do not have to.
#[derive(Debug, Parser)]
#[command(
    name = "vestibule",
    version,
    about = "A reverse proxy and forward-auth hook that signs people in, for self-hosted apps.",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which configuration a command works on.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The route file [default: $VESTIBULE_CONFIG, else vestibule.toml]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put one app behind a sign-in, with nothing to configure
    Protect(protect::ProtectArgs),
    /// Run the gateway
    Serve(ConfigArgs),
    /// Check the route file and the environment
    Check(check::CheckArgs),
    /// Say what would happen to a request, and why
    Explain(explain::ExplainArgs),
    /// Run the file's [[test]] expectations (not available yet)
    Test(ConfigArgs),
    /// List who can reach a URL (not available yet)
    Who(LaterArgs),
    /// Write a commented starter file
    Init(init::InitArgs),
    /// Print the proxy-side configuration for this file's routes
    Snippet(snippet::SnippetArgs),
    /// Look for what is wrong with this installation (not available yet)
    Doctor(LaterArgs),
    /// Show live requests (not available yet)
    Tail(LaterArgs),
    /// Manage accounts
    User(user::UserArgs),
    /// Manage API keys
    Key(key::KeyArgs),
    /// Manage sessions
    Session(session::SessionArgs),
    /// List and try identity providers
    Provider(provider::ProviderArgs),
    /// Look after the database
    Db(db::DbArgs),
    /// Bring accounts over from another program (not available yet)
    Import(LaterArgs),
    /// Export or verify the audit trail (not available yet)
    Audit(LaterArgs),
    /// Ask a running gateway whether it is healthy
    Health(health::HealthArgs),
    /// Print the JSON Schema of the route file
    Schema,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Arguments of a command that has its name but not yet its body.
#[derive(Debug, Args)]
struct LaterArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with 0, wrong usage to standard error with 2.
            let code = error.exit_code();
            output::ignore_broken_pipe(error.print());
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
    };
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            output::error(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Protect(args) => protect::run(args),
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Snippet(args) => snippet::run(&args),
        Command::User(args) => user::run(args),
        Command::Key(args) => key::run(args),
        Command::Session(args) => session::run(args),
        Command::Provider(args) => provider::run(args),
        Command::Db(args) => db::run(args),
        Command::Health(args) => health::run(&args),
        Command::Schema => {
            output::line(&serde_json::to_string_pretty(&vestibule_config::json_schema())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "vestibule", &mut script);
            output::text(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
        Command::Test(_) => later("`vestibule test`", "use `vestibule explain` to try one request"),
        Command::Doctor(args) => later_with("`vestibule doctor`", &args),
        Command::Who(args) => later_with("`vestibule who`", &args),
        Command::Tail(args) => later_with("`vestibule tail`", &args),
        Command::Import(args) => later_with("`vestibule import`", &args),
        Command::Audit(args) => later_with("`vestibule audit`", &args),
    }
}

fn later_with(command: &str, args: &LaterArgs) -> anyhow::Result<ExitCode> {
    let asked = args.rest.join(" ");
    later(
        command,
        if asked.is_empty() {
            "see `vestibule --help` for what there is"
        } else {
            "nothing was changed"
        },
    )
}

fn later(command: &str, hint: &str) -> anyhow::Result<ExitCode> {
    anyhow::bail!("{command} is not available yet; {hint}")
}

/// A warning of a command, on standard error.
pub(crate) fn warn(text: &str) {
    output::error(&format!("warning: {text}"));
}
