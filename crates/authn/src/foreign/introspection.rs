//! Asking an issuer about a token (RFC 7662).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, StatusCode, header};
use tokio::sync::Semaphore;
use url::form_urlencoded;

use vestibule_core::settings::jwt_issuer::Introspection;

use crate::fetch::{Fetch, is_json};
use crate::jose::{self, Object};
use crate::jwt;

use super::Refused;

/// Questions to one endpoint at once; more wait.
const AT_ONCE: usize = 16;
/// And of these at most so many; beyond, nobody is asked.
const WAITING: usize = 256;
/// A longer answer about one token is none.
const LONGEST_ANSWER: usize = 4 * jwt::LONGEST;

/// The questions to one endpoint that are under way.
pub(super) struct Desk {
    seats: Semaphore,
    asking: Semaphore,
}

impl Default for Desk {
    fn default() -> Self {
        Self { seats: Semaphore::new(AT_ONCE + WAITING), asking: Semaphore::new(AT_ONCE) }
    }
}

impl Desk {
    /// What the endpoint says about a token that it calls active.
    pub(super) async fn ask(
        &self,
        fetch: &Fetch,
        asked: &Introspection,
        token: &str,
    ) -> Result<Object, Refused> {
        let Ok(_seat) = self.seats.try_acquire() else {
            return Err(unasked(asked, "too many questions wait"));
        };
        let _turn = self.asking.acquire().await;
        let request = question(asked, token)?;
        let answer = match fetch.send(request).await {
            Ok(answer) => answer,
            Err(error) => return Err(unasked(asked, &error)),
        };
        if answer.status() != StatusCode::OK {
            return Err(unasked(asked, &answer.status()));
        }
        let body = answer.body();
        if !is_json(answer.headers()) || body.len() > LONGEST_ANSWER {
            return Err(unasked(asked, "the answer is no JSON of a sensible length"));
        }
        let claims = jose::object(body)
            .ok_or_else(|| unasked(asked, "the answer is no JSON object with one meaning"))?;
        match claims.get("active").and_then(serde_json::Value::as_bool) {
            Some(true) => Ok(claims),
            Some(false) => Err(Refused::Bad("token_inactive")),
            None => Err(unasked(asked, "the answer does not say `active`")),
        }
    }
}

fn unasked(asked: &Introspection, error: &(impl std::fmt::Display + ?Sized)) -> Refused {
    tracing::debug!(url = asked.url, %error, "an introspection endpoint did not answer");
    Refused::Unasked("introspection_unavailable")
}

/// The POST of RFC 7662, 2.1, with what we are known by: Basic, each half form-encoded first
/// (RFC 6749, 2.3.1), or the bare name of a public client.
fn question(asked: &Introspection, token: &str) -> Result<Request<Vec<u8>>, Refused> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("token", token).append_pair("token_type_hint", "access_token");
    if asked.client_secret.is_none() && !asked.client_id.is_empty() {
        form.append_pair("client_id", &asked.client_id);
    }
    let mut request = Request::post(&asked.url)
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.finish().into_bytes())
        .map_err(|error| unasked(asked, &error))?;
    if let Some(secret) = &asked.client_secret {
        let half =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", half(&asked.client_id), half(secret.expose_secret()));
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
            .map_err(|error| unasked(asked, &error))?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use vestibule_core::secret::Secret;

    use super::*;

    fn asked(client_secret: Option<&str>) -> Introspection {
        Introspection {
            url: "https://id.example.com/introspect".to_owned(),
            client_id: "vestibule:1".to_owned(),
            client_secret: client_secret.map(Secret::new),
        }
    }

    fn body(request: &Request<Vec<u8>>) -> &str {
        std::str::from_utf8(request.body()).unwrap()
    }

    #[test]
    fn a_confidential_client_is_known_by_basic_and_a_public_one_by_its_name() {
        let request = question(&asked(Some("p&ss:wörd")), "a+b/c==").unwrap();
        assert_eq!(body(&request), "token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token");
        let basic = request.headers()["authorization"].to_str().unwrap();
        let pair = STANDARD.decode(basic.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(pair).unwrap(), "vestibule%3A1:p%26ss%3Aw%C3%B6rd");
        let request = question(&asked(None), "t").unwrap();
        assert!(!request.headers().contains_key("authorization"));
        assert!(body(&request).ends_with("&client_id=vestibule%3A1"));
    }
}
