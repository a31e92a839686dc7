//! `vestibule snippet`: the proxy-side configuration for this file's routes.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{ConfigArgs, output, store};
use crate::snippet::{self, Kind, Places};

#[derive(Debug, Args)]
pub(crate) struct SnippetArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Which proxy
    proxy: ProxyName,
    /// Where the proxy reaches the hooks, if not at the first forward-auth listener (`vestibule:9091`)
    #[arg(long, value_name = "HOST:PORT")]
    hook: Option<String>,
    /// Where the proxy reaches the portal, if not at the first plain proxy listener (`vestibule:8080`)
    #[arg(long, value_name = "HOST:PORT")]
    door: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProxyName {
    Traefik,
    Nginx,
    Caddy,
    Haproxy,
    Envoy,
}

pub(crate) fn run(args: &SnippetArgs) -> anyhow::Result<ExitCode> {
    let kind = match args.proxy {
        ProxyName::Traefik => Kind::Traefik,
        ProxyName::Nginx => Kind::Nginx,
        ProxyName::Caddy => Kind::Caddy,
        ProxyName::Haproxy | ProxyName::Envoy => {
            anyhow::bail!(
                "a snippet for this proxy is not available yet; there are traefik, nginx and caddy"
            )
        }
    };
    let settings = store::settings(&args.config)?;
    let known = Places::of(&settings);
    let places = Places {
        hook: args.hook.clone().unwrap_or(known.hook),
        door: args.door.clone().unwrap_or(known.door),
    };
    output::text(&snippet::render(kind, &settings, &places));
    Ok(ExitCode::SUCCESS)
}
