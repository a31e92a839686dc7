//! Moves bytes and obeys verdicts: listeners, TLS, the one pipeline behind both doors,
//! upstream connections, the access line and the hot-path metrics.

mod body;
mod challenge;
mod error;
mod facts;
mod forward;
mod forward_auth;
mod headers;
mod limits;
mod listener;
pub mod local;
mod pipeline;
mod proxy;
mod record;
mod resource;
mod server;
mod snapshot;
mod tls;
mod upgrade;
mod upstream;
mod worker;

pub use self::challenge::status_for_program;
pub use self::proxy::{Proxy, ProxyConfig, StartError};
pub use self::record::access_log::AccessSink;
pub use self::record::metrics::Metrics;
