//! Real proxies in front of the real binary, with the snippets that `vestibule snippet` prints. A peer
//! that is not installed is a printed skip; under VESTIBULE_TEST_REQUIRE=all it is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails loudly, at the line that is wrong"
)]

mod bearer;
mod identity;
mod requests;
mod stage;
mod verdicts;

/// Runs each function of the calling module once per front proxy, as `caddy::name`, `nginx::name`,
/// `traefik::name`.
macro_rules! with_every_proxy {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {
        mod caddy {
            $(#[test] $(#[$meta])* fn $name() { crate::stage::run(crate::stage::Kind::Caddy, super::$name); })+
        }
        mod nginx {
            $(#[test] $(#[$meta])* fn $name() { crate::stage::run(crate::stage::Kind::Nginx, super::$name); })+
        }
        mod traefik {
            $(#[test] $(#[$meta])* fn $name() { crate::stage::run(crate::stage::Kind::Traefik, super::$name); })+
        }
    };
}
pub(crate) use with_every_proxy;
