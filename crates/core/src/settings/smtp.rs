//! `[smtp]` (the mail room is built later; the settings keep its place).

use crate::secret::Secret;

/// Resolved `[smtp]`.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Server.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User; empty: no authentication.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// Sender.
    pub from: String,
    /// Implicit TLS.
    pub implicit_tls: bool,
    /// Send without TLS where the server offers none.
    pub danger_starttls_optional: bool,
}
