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

mod pages;
mod providers;
mod sign_in;
mod stage;
