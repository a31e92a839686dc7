//! Real Chromium against the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails loudly, at the line that is wrong"
)]

use vestibule_testkit::{Gateway, GatewayBuilder};

/// A gateway of the binary that was just built.
#[expect(dead_code, reason = "the modules come with the portal's pages")]
pub(crate) fn gateway() -> GatewayBuilder {
    Gateway::builder(env!("CARGO_BIN_EXE_vestibule"))
}
