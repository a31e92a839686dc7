//! `[telemetry]`

use std::net::SocketAddr;
use std::path::PathBuf;

/// Resolved `[telemetry]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// `/metrics`, `/healthz`, `/readyz`; `None`: off.
    pub listen: Option<SocketAddr>,
    /// JSON lines, else text.
    pub log_json: bool,
    /// A filter such as `info` or `vestibule=debug`.
    pub log_level: String,
    /// Form of the access line.
    pub access_log: AccessLog,
    /// `None`: standard output.
    pub access_log_file: Option<PathBuf>,
}

/// `telemetry.access_log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessLog {
    /// Apache's combined format.
    Combined,
    /// JSON.
    Json,
    /// None.
    Off,
}
