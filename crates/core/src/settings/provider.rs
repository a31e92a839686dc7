//! `[[provider]]` (the provider room is built later; the settings keep its place).

use std::sync::Arc;

/// Resolved `[[provider]]`.
#[derive(Clone, Debug)]
pub struct Provider {
    /// `[a-z0-9_-]{1,32}`
    pub id: Arc<str>,
    /// Button text.
    pub label: String,
    /// Shown and usable.
    pub enabled: bool,
}
