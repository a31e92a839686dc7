//! `[api_keys]`

use std::sync::Arc;

use crate::api_key::RateLimit;

/// Resolved `[api_keys]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeys {
    /// Of new keys, without the underscore.
    pub prefix: Arc<str>,
    /// Further prefixes that are ours by form (imported keys).
    pub accept: Vec<Arc<str>>,
    /// Per key, unless the key has its own; `None`: no limit.
    pub rate_limit: Option<RateLimit>,
}
