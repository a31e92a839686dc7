//! Use cases that pages and API share; no HTTP in here.

pub(crate) mod launcher;
pub(crate) mod provider;
pub(crate) mod sign_in;
