//! What can go wrong between us and an app or a client: who is to blame, and whether the
//! request may be sent once more.

use std::io;

use vestibule_core::verdict::{Code, Reason};

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The client.
    Downstream,
    /// The app.
    Upstream,
}

/// A request that could not be answered by its app.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The answer cannot be passed on.
    #[error("the app's answer is not HTTP as it should be: {0}")]
    BadAnswer(&'static str),
    /// The body is over the route's `max_body`.
    #[error("the request body is over the route's max_body")]
    BodyTooLarge,
    /// The connection died within the head of an answer.
    #[error("the answer broke off or is malformed: {0}")]
    BrokeOff(hyper::Error),
    /// The client went away or its body is malformed.
    #[error("the request body broke off or is malformed")]
    ClientBroke,
    /// Refused, reset, unreachable.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// Not within `timeouts.connect`.
    #[error("no connection within timeouts.connect")]
    ConnectTimeout,
    /// The connection died before an answer.
    #[error("no answer: {0}")]
    Exchange(hyper::Error),
    /// The HTTP connection could not be started.
    #[error("no HTTP connection: {0}")]
    Handshake(hyper::Error),
    /// The route's upstream is one of our own listeners.
    #[error(
        "`upstream` is the address of this server's own proxy listener, so the request would go round for ever. Give the route its app's address"
    )]
    Itself,
    /// No head of an answer within `timeouts.response`.
    #[error("no answer within timeouts.response")]
    ResponseTimeout,
    /// The TLS handshake failed.
    #[error("TLS to the app failed: {0}")]
    Tls(io::Error),
    /// The name has no address.
    #[error("the name does not resolve: {0}")]
    Unresolved(io::Error),
}

impl Fault {
    /// Who is to blame.
    pub(crate) fn blame(&self) -> Blame {
        match self {
            Self::BodyTooLarge | Self::ClientBroke => Blame::Downstream,
            _ => Blame::Upstream,
        }
    }

    /// What the client is told, and why.
    pub(crate) fn told(&self) -> (Code, Reason) {
        match self {
            Self::BodyTooLarge => (Code::BodyTooLarge, Reason::BodyTooLarge),
            Self::ClientBroke => (Code::BadRequestTarget, Reason::BadTarget),
            Self::ConnectTimeout | Self::ResponseTimeout => {
                (Code::UpstreamTimeout, Reason::UpstreamTimeout)
            }
            _ => (Code::UpstreamUnreachable, Reason::UpstreamUnreachable),
        }
    }
}
