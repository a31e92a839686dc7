//! Hands requests for the portal from the proxy to axum.

use axum::Router;
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::ServiceExt;
use vestibule_proxy::local::{LocalBody, LocalFuture, LocalService};

/// The portal behind the proxy's [`LocalService`].
pub(crate) struct PortalDoor {
    router: Router,
}

impl PortalDoor {
    pub(crate) fn new(router: Router) -> Self {
        Self { router }
    }
}

impl LocalService for PortalDoor {
    fn call(&self, request: Request<LocalBody>) -> LocalFuture {
        let router = self.router.clone();
        Box::pin(async move {
            let request = request.map(axum::body::Body::new);
            let response: Response<axum::body::Body> = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        })
    }
}
