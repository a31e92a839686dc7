//! `vestibule snippet`: the proxy-side configuration for this file's routes.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{ConfigArgs, output, store};
use crate::snippet::{self, Kind};

#[derive(Debug, Args)]
pub(crate) struct SnippetArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Which proxy
    proxy: ProxyName,
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
    output::text(&snippet::render(kind, &settings));
    Ok(ExitCode::SUCCESS)
}
