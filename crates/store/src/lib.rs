//! Keeps records. The only crate with SQL.
//!
//! One backend so far: [`sqlite`]. Whatever must be read back is sealed by `seal` under the
//! `store_key`; [`backup`] writes and restores copies; [`key_file`] keeps the key that the
//! settings do not give. It decides nothing about people: that is `authn`'s.

pub mod backup;
pub mod key_file;
pub mod lock;
pub mod sqlite;

mod files;
mod seal;

pub use sqlite::open_error::OpenError;
