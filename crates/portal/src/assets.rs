//! Style sheet, icon and the one script, embedded in the binary and named by the hash of what they hold, so
//! that browsers may keep them for ever.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

const FOREVER: &str = "public, max-age=31536000, immutable";

/// The path of an asset under `/.vestibule/`, e.g. `/.vestibule/assets/1f2e3d4c5b6a7988/portal.css`.
/// Served on every host that Vestibule answers for.
pub(crate) fn path(name: &str) -> String {
    let hash = Assets::get(name).map(|file| short_hash(&file)).unwrap_or_default();
    format!("/.vestibule/assets/{hash}/{name}")
}

/// Answers `/assets/<hash>/<name>`; 404 where the hash is not the one of the embedded file.
pub(crate) fn serve(method: &Method, path: &str, headers: &HeaderMap) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let found = path
        .strip_prefix("/assets/")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(hash, name)| Some((hash, name, Assets::get(name)?)))
        .filter(|(hash, _, file)| *hash == short_hash(file));
    let Some((hash, name, file)) = found else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{hash}\"");
    let fresh = headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == tag.as_bytes());
    let mut response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(file.data.into_owned()))
    };
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(FOREVER));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn short_hash(file: &EmbeddedFile) -> String {
    file.metadata.sha256_hash().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_served_under_the_hash_of_its_content_only() {
        let path = path("portal.css");
        let path = path.trim_start_matches("/.vestibule");
        let good = serve(&Method::GET, path, &HeaderMap::new());
        assert_eq!(good.status(), StatusCode::OK);
        assert_eq!(good.headers().get(header::CACHE_CONTROL).unwrap(), FOREVER);
        let stale = serve(&Method::GET, "/assets/0000000000000000/portal.css", &HeaderMap::new());
        assert_eq!(stale.status(), StatusCode::NOT_FOUND);
    }
}
