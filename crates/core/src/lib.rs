//! The words of Vestibule and the decisions made with them.
//!
//! Everything here is pure: no I/O, no async, no clock, no randomness, no HTTP types, no
//! TOML. A request arrives as [`facts::Facts`], finds its [`route::Route`] in a
//! [`route::RouteTable`], brings an [`identity::Identity`] or none, and [`policy::decide`]
//! answers with a [`verdict::Verdict`]. Time is always an argument.

#![warn(missing_docs)]

pub mod account;
pub mod api_key;
pub mod assertion;
pub mod credential;
pub mod facts;
pub mod group;
pub mod host;
pub mod id;
pub mod identity;
pub mod local;
pub mod path;
pub mod pattern;
pub mod policy;
pub mod return_to;
pub mod route;
pub mod secret;
pub mod settings;
pub mod time;
pub mod verdict;
