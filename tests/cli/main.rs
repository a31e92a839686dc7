//! Every command as an operator types it: exit codes, what is printed, and that a change is in force in
//! the running server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails loudly, at the line that is wrong"
)]

mod check;
mod commands;
mod refused;
mod rows;
mod snippet;

use vestibule_testkit::{Gateway, GatewayBuilder};

/// A gateway of the binary that was just built.
pub(crate) fn gateway() -> GatewayBuilder {
    Gateway::builder(env!("CARGO_BIN_EXE_vestibule"))
}
