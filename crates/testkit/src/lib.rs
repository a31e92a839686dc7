//! The test harness: it starts the real binary and looks at it from outside.
//!
//! Not shipped, and not a mock of anything: a test that passes here drove the program that
//! users run. Everything is blocking and runs on plain threads, so that a test reads from top
//! to bottom; only the HTTP/2 client keeps a runtime of its own.
//!
//! # A test
//!
//! ```no_run
//! use vestibule_testkit::{Gateway, Recorder, Route};
//!
//! let app = Recorder::start();                       // logs every raw byte it receives
//! let gateway = Gateway::builder("target/debug/vestibule") // env!("CARGO_BIN_EXE_vestibule")
//!     .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
//!     .user("ann", &["staff"])                       // ann@example.test, password PASSWORD
//!     .start();
//!
//! let answer = gateway.as_user("ann").get("https://wiki.example.test/a?b=1");
//! assert_eq!(answer.status, 200);
//! assert_eq!(app.last().header("remote-user"), Some("ann"));
//! ```
//!
//! # What there is
//!
//! | part | for |
//! |---|---|
//! | [`Gateway`], [`GatewayBuilder`] | a data directory, a file made of TOML pieces (tables are merged, arrays of tables are appended), an environment, the process; logs, SIGHUP, SIGTERM, SIGKILL, restart on the same data |
//! | [`Cli`] output of [`Gateway::cli`] | `vestibule user add …` and every other command, with `-c` set |
//! | [`Actor`] | a person or program: cookie jar, sign-in, hand-off, keys, tokens; asks either door |
//! | [`Client`], [`Conn`], [`Request`], [`Response`] | HTTP/1.1 with control over every byte, plain or TLS, from any loopback address |
//! | [`h2`] | an HTTP/2 client, and an upstream that speaks it |
//! | [`frames`] | HTTP/2 frame by frame, for floods and nonsense |
//! | [`Recorder`], [`Answer`] | an upstream that logs what it receives and answers as told, also with nonsense |
//! | [`Script`] | an upstream that is a function of its socket |
//! | [`FaultProxy`] | a TCP hop that refuses, resets, stalls, cuts or delays |
//! | [`Ca`] | a test authority and its leaves |
//! | [`Peer`] | a real nginx, Caddy, Traefik or anything else that is started with a file |
//! | [`Browser`] | Chromium through chromedriver |
//! | [`provider::Op`], [`provider::Mutant`] | an OpenID provider, honest or wrong in one way, ill at one endpoint, with other keys or another clock; logout tokens |
//! | [`CertifiedOp`] | the certified `oidc-provider` of npm |
//! | [`github::Github`] | a server that speaks OAuth 2 as GitHub does |
//! | [`ForeignIssuer`], [`jose`] | an issuer of bearer tokens with keys and introspection; tokens of any bytes |
//! | [`part`], [`skip`] | an absent peer is a counted, printed skip, a failure under `VESTIBULE_TEST_REQUIRE=all` |
//! | [`until`] | polling with a deadline; there are no sleeps |
//!
//! # Hosts, ports, addresses
//!
//! Every listener binds port 0. URLs in tests name no port (`https://wiki.example.test/`): the
//! outside port of the default portal `https://auth.example.test` is 443, clients are told the
//! socket beside the URL. A default gateway has a plain proxy listener ([`Gateway::plain`]), a
//! TLS one ([`Gateway::tls`]), a forward-auth one ([`Gateway::hook`]) and telemetry
//! ([`Gateway::telemetry`]); the process announces each by a JSON log line with message
//! `listening`, `door` and `address`, and `ready` at the end. Ordinary clients come from
//! 127.0.0.1, which is *not* in `trusted_proxies`; the hooks are asked from [`TRUSTED`], which is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a harness fails loudly, at the line that is wrong"
)]

mod actor;
mod browser;
mod ca;
mod certified;
mod child;
mod fault;
pub mod frames;
mod gateway;
pub mod github;
pub mod h2;
mod http1;
mod issuer;
pub mod jose;
mod parts;
mod peer;
pub mod provider;
mod recorder;
mod script;
mod service;
mod wait;
pub mod ws;

pub use actor::{Actor, Cookie, Door, Landing};
pub use browser::Browser;
pub use ca::{Ca, Leaf};
pub use certified::CertifiedOp;
pub use child::{Child, Cli};
pub use fault::{BlackHole, Fault, FaultProxy};
pub use gateway::{Gateway, GatewayBuilder, Listening, PASSWORD, PORTAL, Prepared, Route, TRUSTED};
pub use http1::{Client, Conn, Request, Response};
pub use issuer::ForeignIssuer;
pub use parts::{part, skip};
pub use peer::{Peer, free_port};
pub use recorder::{Answer, Recorded, Recorder};
pub use rustix::process::Signal;
pub use script::{Scene, Script};
pub use service::{Heard, parameter, parameters};
/// Every header name that may assert an identity, of all presets.
pub use vestibule_core::assertion::MANAGED;
pub use wait::{DEADLINE, until, until_within};
