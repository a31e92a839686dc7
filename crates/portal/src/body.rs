//! Request bodies: JSON for the API, forms for the pages; small, and of the type they claim.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::csrf;
use crate::problem::Problem;
use crate::visit::V;

/// The largest body, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// A body that is not looked at before the handler knows who asks: whoever may not come in
/// learns nothing of what a good body would be.
pub(crate) struct Unread(Request);

/// A submitted form. Checked for its token where no header tells where it came from.
pub(crate) struct FormBody(BTreeMap<String, String>);

impl FormBody {
    /// A field; empty where it was not sent.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether a box is ticked.
    pub(crate) fn ticked(&self, name: &str) -> bool {
        matches!(self.field(name), "on" | "1" | "true" | "yes")
    }
}

impl<S: Sync> FromRequest<S> for Unread {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self(request))
    }
}

impl Unread {
    /// Reads it as JSON; it must say `application/json`.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, Problem> {
        let Self(request) = self;
        if !has_type(request.headers(), "application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "The body must be application/json",
            ));
        }
        let body = read(request).await?;
        serde_json::from_slice(&body).map_err(|error| {
            // The message names members and types of ours; values stay out of it.
            let place = format!("line {} column {}", error.line(), error.column());
            let what = match error.classify() {
                serde_json::error::Category::Data => data_error(&error.to_string()),
                _ => "it is not well-formed JSON".to_owned(),
            };
            unreadable(format!("At {place}: {what}."))
        })
    }

    /// Reads it as a form, without looking for the form's token: for requests that carry
    /// their own proof and no cookie.
    pub(crate) async fn form(self) -> Result<FormBody, Problem> {
        let Self(request) = self;
        if !has_type(request.headers(), "application/x-www-form-urlencoded") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "The body must be a form",
            ));
        }
        let body = read(request).await?;
        let mut fields = BTreeMap::new();
        for (name, value) in form_pairs(&body)? {
            if fields.insert(name, value).is_some() {
                return Err(Problem::bad_request("A field of the form is repeated."));
            }
        }
        Ok(FormBody(fields))
    }
}

/// Reads a value that was put together from a body.
pub(crate) fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Problem> {
    serde_json::from_value(value).map_err(|error| {
        let mut what = data_error(&error.to_string());
        what.push('.');
        unreadable(what)
    })
}

fn unreadable(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "INVALID_BODY", "The body cannot be read").detail(detail)
}

/// Keeps serde's words about members, without a value that stood in the body.
fn data_error(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or_default();
    if text.starts_with("unknown field") || text.starts_with("missing field") {
        text.chars().take(300).collect()
    } else {
        "a member has the wrong type".to_owned()
    }
}

impl<S: Sync> FromRequest<S> for FormBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let visit = request.extensions().get::<V>().cloned().ok_or_else(Problem::internal)?;
        let form = Unread(request).form().await?;
        if csrf::form_needs_token(&visit) && !visit.is_csrf_token(form.field("csrf")) {
            return Err(Problem::csrf());
        }
        Ok(form)
    }
}

fn form_pairs(body: &Bytes) -> Result<Vec<(String, String)>, Problem> {
    let text =
        std::str::from_utf8(body).map_err(|_| Problem::bad_request("The form is not UTF-8."))?;
    let unreadable = || Problem::bad_request("The form cannot be read.");
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((
                crate::navigation::form_decode(name).ok_or_else(unreadable)?,
                crate::navigation::form_decode(value).ok_or_else(unreadable)?,
            ))
        })
        .collect()
}

async fn read(request: Request) -> Result<Bytes, Problem> {
    match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BODY_TOO_LARGE",
            "The body is too large",
        )),
        Err(_) => Err(Problem::bad_request("The body did not arrive whole.")),
    }
}

fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}
