//! `vestibule init`: writes a commented starter file, never over an existing one.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::output;

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where to write
    #[arg(default_value = "vestibule.toml")]
    file: PathBuf,
}

pub(crate) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let path = args.file.display();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.file)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                anyhow::anyhow!("{path} exists already and was left as it is; name another file: vestibule init FILE")
            }
            _ => anyhow::anyhow!("cannot write {path}: {error}"),
        })?;
    file.write_all(vestibule_config::starter_file().as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {path}"))?;
    output::line(&format!(
        "Wrote {path}. Edit it, then: vestibule check -c {path} && vestibule serve -c {path}"
    ));
    Ok(ExitCode::SUCCESS)
}
