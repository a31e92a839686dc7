//! The UserInfo endpoint (OpenID Connect Core 1.0, 5.3): what it says counts only for the
//! subject of the ID token (5.3.2).

use vestibule_core::secret::Secret;

use super::{Fault, PROVIDER_DOWN, TELL_ADMIN};
use crate::fetch::{Fetch, is_json};
use crate::jose::{self, Object};

/// What it says about the person of `sub`.
pub(crate) async fn ask(
    fetch: &Fetch,
    url: &str,
    access_token: &Secret,
    sub: &str,
) -> Result<Object, Fault> {
    let answer = fetch.get(url, "application/json", Some(access_token)).await.map_err(|error| {
        let reason = match error.word() {
            "timeout" => "userinfo_timeout",
            "answer_too_long" => "userinfo_too_long",
            "redirect" => "userinfo_redirect",
            _ => "userinfo_unreachable",
        };
        Fault::new(reason, error.to_string(), PROVIDER_DOWN)
    })?;
    if !answer.status().is_success() {
        let detail = format!("it answers {}", answer.status().as_u16());
        return Err(Fault::new("userinfo_status", detail, PROVIDER_DOWN));
    }
    let said = is_json(answer.headers()).then(|| jose::object(answer.body())).flatten();
    let said = said.ok_or_else(|| {
        Fault::new("userinfo_malformed", "it does not answer a JSON object", TELL_ADMIN)
    })?;
    if said.get("sub").and_then(serde_json::Value::as_str) != Some(sub) {
        return Err(Fault::new("userinfo_sub_mismatch", "", TELL_ADMIN));
    }
    Ok(said)
}
