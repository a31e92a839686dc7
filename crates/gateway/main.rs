//! The `vestibule` binary: reads the command line, wires the rooms together and runs them.
//! No logic worth a unit test lives here; each command has its file under `cli`.

mod access_log;
mod cli;
mod control;
mod demo;
mod local;
mod logging;
mod providers;
mod reload;
mod shutdown;
mod snippet;
mod telemetry;
mod watch;
mod wire;

use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wire::install_crypto();
    cli::run()
}
