//! The schema's history, embedded: what this program knows, and bringing a file up to it.
//!
//! Applied in order, each in one transaction with its own line in `vestibule_migrations`.
//! Migrations within a minor version only add, so that the version before runs on.

use futures_util::future::BoxFuture;
use sqlx::SqlSafeStr as _;
use sqlx::error::BoxDynError;
use sqlx::migrate::{Migration, MigrationSource, MigrationType, Migrator};

/// The table that records what is applied. Not sqlx's own name, so that the tables of
/// another program that uses sqlx are never taken for ours.
pub(super) const TABLE: &str = "vestibule_migrations";

const FILES: [(i64, &str, &str); 2] = [
    (1, "first schema", include_str!("../../migrations/sqlite/0001_first_schema.sql")),
    (2, "providers", include_str!("../../migrations/sqlite/0002_providers.sql")),
];

/// The newest version this program knows.
pub(super) const NEWEST: i64 = {
    let [.., (version, _, _)] = FILES;
    version
};

#[derive(Debug)]
struct Embedded;

impl MigrationSource<'static> for Embedded {
    fn resolve(self) -> BoxFuture<'static, Result<Vec<Migration>, BoxDynError>> {
        Box::pin(async { Ok(known()) })
    }
}

/// What this program knows, oldest first.
pub(super) fn known() -> Vec<Migration> {
    FILES
        .iter()
        .map(|&(version, description, sql)| {
            let kind = MigrationType::Simple;
            Migration::new(version, description.into(), kind, sql.into_sql_str(), false)
        })
        .collect()
}

/// Ready to run.
pub(super) async fn migrator() -> Result<Migrator, sqlx::migrate::MigrateError> {
    let mut migrator = Migrator::new(Embedded).await?;
    migrator.dangerous_set_table_name(TABLE);
    Ok(migrator)
}
