//! Administration. Every handler asks for [`crate::guard::Need::Admin`] itself.

pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod providers;
pub(crate) mod routes;
pub(crate) mod sessions;
pub(crate) mod users;
