//! The public keys that apps check assertions with.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};

use crate::visit::V;

pub(crate) async fn get(visit: V) -> Response {
    let mut response = Response::new(Body::from(visit.authn().jwks(visit.now)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
