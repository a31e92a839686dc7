//! Moves bytes and obeys verdicts: listeners, TLS, the one pipeline behind both doors,
//! upstream connections, the access line and the hot-path metrics.

pub mod local;
