//! Both doors, driven from outside over loopback: a real store, real credentials, a portal
//! that only says what it was told. What the whole program does is tested in `tests/`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails loudly, at the line that is wrong"
)]

mod doors;
mod house;
mod records;
mod streams;
