//! What only SQLite promises: modes, refusals, migrations, other processes, copies.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

#[path = "sqlite/copies.rs"]
mod copies;
#[path = "sqlite/fixture.rs"]
mod fixture;
#[path = "sqlite/keys.rs"]
mod keys;
#[path = "sqlite/modes.rs"]
mod modes;
#[path = "sqlite/processes.rs"]
mod processes;
#[path = "sqlite/refusals.rs"]
mod refusals;
