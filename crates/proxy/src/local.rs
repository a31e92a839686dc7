//! The door to the portal: the proxy hands a request over and relays the answer.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;

/// Body of what goes to and comes from the portal.
pub type LocalBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Future of an answer.
pub type LocalFuture = Pin<Box<dyn Future<Output = Response<LocalBody>> + Send>>;

/// What answers the portal's own paths. The request carries a
/// [`vestibule_core::local::LocalContext`] as an extension. Its body is limited and buffered
/// by the callee. The future is spawned on the service runtime, so it may block on nothing
/// but may take its time.
pub trait LocalService: Send + Sync + 'static {
    /// Answers one request.
    fn call(&self, request: Request<LocalBody>) -> LocalFuture;
}
