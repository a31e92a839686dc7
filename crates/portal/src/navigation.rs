//! Where a browser goes next: `rd`, redirects, and the escapes of URLs.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};

use vestibule_core::return_to::{MAX_RETURN_TO, Origin, ReturnTo};

use crate::visit::Visit;

impl Visit {
    /// A checked `rd`. Places that would only lead back here or out again are not kept; of one
    /// that is too long only the origin is.
    pub(crate) fn return_to(&self, rd: &str) -> Option<ReturnTo> {
        let portal = &self.settings.server.portal;
        let rd = if rd.len() > MAX_RETURN_TO { origin_of(rd) } else { rd };
        let to = ReturnTo::parse(rd, portal, &self.portal.host.routes())?;
        let (is_portal, path_and_query) = match &to {
            ReturnTo::App { origin, path_and_query } => (origin == portal, path_and_query),
            ReturnTo::Portal(path) => (true, path),
        };
        let path = path_and_query.split('?').next().unwrap_or_default();
        let page = path.strip_prefix("/.vestibule").unwrap_or(path);
        let is_door = matches!(page, "/login" | "/logout" | "/signup" | "/setup" | "/sign-out");
        let own = is_portal && (!self.is_shared_host() || page != path);
        (!(own && is_door)).then_some(to)
    }

    /// The same as a text to keep until it is used, put together anew from what was checked;
    /// empty where it leads nowhere.
    pub(crate) fn kept_return_to(&self, rd: &str) -> String {
        match self.return_to(rd) {
            Some(ReturnTo::App { origin, path_and_query }) => format!("{origin}{path_and_query}"),
            Some(ReturnTo::Portal(path)) => path,
            None => String::new(),
        }
    }

    /// The URL that leads a signed-in browser there: through the hand-off where the app's
    /// host needs a token of its own.
    pub(crate) fn url_of(&self, to: &ReturnTo) -> String {
        match to {
            ReturnTo::Portal(path) => format!("{}{path}", self.settings.server.portal),
            ReturnTo::App { origin, path_and_query } => {
                let url = format!("{origin}{path_and_query}");
                if self.needs_handoff(origin) {
                    format!("{origin}/.vestibule/start?rd={}", encode(&url))
                } else {
                    url
                }
            }
        }
    }

    /// Whether a host does not get the portal's own cookie.
    pub(crate) fn needs_handoff(&self, origin: &Origin) -> bool {
        if self.auth_is_off() || origin.host == self.settings.server.portal.host {
            return false;
        }
        match &self.names.domain {
            None => true,
            Some(domain) => {
                let domain = domain.trim_start_matches('.');
                let host = origin.host.as_str();
                host != domain && !host.strip_suffix(domain).is_some_and(|h| h.ends_with('.'))
            }
        }
    }

    /// Redirects: 302 after GET and HEAD, 303 after everything else.
    pub(crate) fn redirect(&self, to: &str) -> Response {
        let status = match self.method {
            Method::GET | Method::HEAD => StatusCode::FOUND,
            _ => StatusCode::SEE_OTHER,
        };
        let mut response = Response::new(Body::empty());
        match HeaderValue::from_str(to) {
            Ok(location) => {
                *response.status_mut() = status;
                response.headers_mut().insert(header::LOCATION, location);
            }
            Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        response
    }
}

fn origin_of(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(authority..).and_then(|rest| rest.find(['/', '?', '#']));
    end.and_then(|end| url.get(..authority + end)).unwrap_or_default()
}

/// Escapes everything but unreserved characters, for a query value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Reads a field of a form; `None` for a broken escape or bytes that are no UTF-8.
pub(crate) fn form_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        for text in ["", "a b+c%", "https://x.y/z?q=1&r=ü", "\n\0"] {
            assert_eq!(form_decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(form_decode("%zz"), None);
        assert_eq!(form_decode("%ff"), None);
    }
}
