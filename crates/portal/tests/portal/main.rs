//! The portal from outside, on a memory store: pages, JSON API, hand-off.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking"
)]

mod accounts_api;
mod admin_api;
mod configuration;
mod cross_site;
mod gallery;
mod handoff;
mod keys_api;
mod limits;
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of authn")]
#[path = "../../../authn/tests/flows/memory.rs"]
mod memory;
mod modes;
mod op;
mod pages;
mod provider_admin;
mod provider_links;
mod provider_logout;
mod providers;
mod sessions;
mod stage;
