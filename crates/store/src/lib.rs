//! Keeps records. The only crate with SQL.

pub mod sqlite;
