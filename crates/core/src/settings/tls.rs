//! `[tls]`

use std::path::PathBuf;

/// TLS towards clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Refuse TLS 1.2.
    pub tls13_only: bool,
    /// Chosen by SNI.
    pub certificates: Vec<Certificate>,
}

/// A certificate chain and its key, both PEM files, read anew when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}
