//! The OpenAPI 3.1 document, written by hand and held against the router by a test.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};

const DOCUMENT: &str = include_str!("openapi.json");

pub(crate) async fn get() -> Response {
    let mut response = Response::new(Body::from(DOCUMENT));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ENDPOINTS;

    #[test]
    fn j1_the_document_lists_exactly_the_operations_of_the_router() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut listed = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let open = operation["security"].as_array().is_some_and(Vec::is_empty);
                listed.push((method.as_str(), path.as_str(), !open));
            }
        }
        listed.sort_unstable();
        assert_eq!(listed, ENDPOINTS);
    }
}
