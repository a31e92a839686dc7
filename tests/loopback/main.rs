//! The real binary between a client and an upstream that both live in the test: no program besides
//! is needed, so this suite always runs. One module a subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails loudly, at the line that is wrong"
)]

mod bearer;
mod credentials;
mod doors;
mod lifecycle;
mod oracle;
mod portal_api;
mod providers;
mod revocation;
mod rows;
mod rows_000;
mod rows_001;
mod rows_002;
mod rows_003;
mod sessions;
mod trust_answers;
mod trust_forwarded;
mod trust_guessing;
mod trust_hooks;
mod trust_identity;
mod trust_modes;
mod trust_oracle;
mod trust_portal;
mod trust_rules;
mod trust_sessions;
mod trust_tokens;
mod wire;

use vestibule_testkit::{Gateway, GatewayBuilder};

/// A gateway of the binary that was just built.
pub(crate) fn gateway() -> GatewayBuilder {
    Gateway::builder(env!("CARGO_BIN_EXE_vestibule"))
}
