//! Reading an ID token (OpenID Connect Core 1.0, 3.1.3.7 and 3.1.3.8, 12.2) and a logout token
//! (Back-Channel Logout 1.0, 2.6). Each check that fails has its own word.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use vestibule_core::time::UnixMillis;

use super::Fault;
use super::metadata::Metadata;
use super::remote::RemoteProvider;
use crate::fetch::Fetch;
use crate::jose::{self, Bad, LEEWAY_SECS, Object, Unverified};

/// ID tokens with many groups are longer than bearer tokens may be.
pub(crate) const LONGEST: usize = 64 << 10;
/// A logout token is for now (Back-Channel Logout, 2.4: "short expiration").
const LOGOUT_MAX_AGE_SECS: i64 = 600;

/// What an ID token is held against.
pub(crate) struct Expected<'a> {
    /// The request's nonce; `None` at a refresh, where it need not come again.
    pub(crate) nonce: Option<&'a str>,
    /// The access token that came with it, for `at_hash`.
    pub(crate) access_token: &'a str,
    /// The code, for `c_hash`.
    pub(crate) code: Option<&'a str>,
    /// The person must have signed in no earlier than this.
    pub(crate) signed_in_since: Option<UnixMillis>,
}

/// The claims of an ID token that holds in every respect.
pub(crate) async fn verify(
    fetch: &Fetch,
    provider: &RemoteProvider,
    metadata: &Metadata,
    token: &str,
    expected: &Expected<'_>,
    now: UnixMillis,
) -> Result<Object, Fault> {
    let read = Unverified::read(token, LONGEST)?;
    if read.typ().is_some_and(|typ| typ != "jwt") {
        return Err(Bad("token_typ").into());
    }
    let algorithm = read.algorithm();
    let claims = signed(fetch, provider, metadata, read, now).await?;
    check_issuer_and_audience(&claims, metadata, &provider.config.client_id)?;
    jose::check_times(&claims, true, now).map_err(|bad| skewed(bad, &claims, now))?;
    jose::subject(&claims)?;
    if let Some(nonce) = expected.nonce {
        let said = claims.get("nonce").ok_or(Bad("claim_missing_nonce"))?;
        let said = said.as_str().unwrap_or_default();
        if !bool::from(said.as_bytes().ct_eq(nonce.as_bytes())) {
            return Err(Bad("nonce_mismatch").into());
        }
    }
    check_hash(&claims, "at_hash", Some(expected.access_token), algorithm)?;
    check_hash(&claims, "c_hash", expected.code, algorithm)?;
    if let Some(since) = expected.signed_in_since {
        let at = jose::time(&claims, "auth_time")?.ok_or(Bad("claim_missing_auth_time"))?;
        if at.saturating_add(LEEWAY_SECS) < since.secs() {
            return Err(Bad("auth_time_too_old").into());
        }
    }
    Ok(claims)
}

/// What a logout token names.
#[derive(Debug)]
pub(crate) struct Logout {
    pub(crate) issuer: String,
    pub(crate) sub: Option<String>,
    pub(crate) sid: Option<String>,
    pub(crate) jti: String,
    pub(crate) expires_at: UnixMillis,
}

/// Reads a logout token. That its `jti` comes once is for the caller to see to.
pub(crate) async fn verify_logout(
    fetch: &Fetch,
    provider: &RemoteProvider,
    metadata: &Metadata,
    token: &str,
    now: UnixMillis,
) -> Result<Logout, Fault> {
    let read = Unverified::read(token, LONGEST)?;
    if read.typ() != Some("logout+jwt") {
        return Err(Bad("token_typ").into());
    }
    let claims = signed(fetch, provider, metadata, read, now).await?;
    check_issuer_and_audience(&claims, metadata, &provider.config.client_id)?;
    let iat = jose::time(&claims, "iat")?.ok_or(Bad("claim_missing_iat"))?;
    if iat > now.secs() + LEEWAY_SECS {
        return Err(Bad("token_from_the_future").into());
    }
    if iat < now.secs() - LOGOUT_MAX_AGE_SECS {
        return Err(Bad("token_expired").into());
    }
    // `exp` is required since the final text; older providers leave it out, and `iat` bounds it.
    let expires_at = match claims.get("exp") {
        None => UnixMillis::from_secs(iat + LOGOUT_MAX_AGE_SECS + LEEWAY_SECS),
        Some(_) => jose::check_times(&claims, true, now)?.plus(std::time::Duration::from_secs(
            LEEWAY_SECS.unsigned_abs() + LOGOUT_MAX_AGE_SECS.unsigned_abs(),
        )),
    };
    let event = claims
        .get("events")
        .and_then(Value::as_object)
        .and_then(|events| events.get("http://schemas.openid.net/event/backchannel-logout"));
    if !event.is_some_and(Value::is_object) {
        return Err(Bad("claim_events").into());
    }
    if claims.contains_key("nonce") {
        return Err(Bad("claim_nonce").into());
    }
    let text = |name: &str, bad: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(Bad(bad)),
    };
    let (sub, sid) = (text("sub", "claim_sub")?, text("sid", "claim_sid")?);
    if sub.is_none() && sid.is_none() {
        return Err(Bad("claim_missing_sub_and_sid").into());
    }
    let jti = text("jti", "claim_jti")?.ok_or(Bad("claim_missing_jti"))?;
    Ok(Logout { issuer: metadata.issuer.clone(), sub, sid, jti, expires_at })
}

/// The claims of a token that one of the provider's keys signed, by an algorithm that the
/// provider says it uses.
async fn signed(
    fetch: &Fetch,
    provider: &RemoteProvider,
    metadata: &Metadata,
    token: Unverified<'_>,
    now: UnixMillis,
) -> Result<Object, Fault> {
    let url = metadata.jwks_uri.as_deref().ok_or(Bad("jwks_unavailable"))?;
    let told: Vec<Algorithm> =
        metadata.id_token_algorithms.iter().filter_map(|name| jose::algorithm(name)).collect();
    // Where nothing is told, the one that every provider must have (Core, 15.1).
    let allowed = if told.is_empty() { vec![Algorithm::RS256] } else { told };
    Ok(provider.keys.verify(fetch, url, token, &allowed, now).await?)
}

fn check_issuer_and_audience(
    claims: &Object,
    metadata: &Metadata,
    client_id: &str,
) -> Result<(), Bad> {
    let issuer = claims.get("iss").ok_or(Bad("claim_missing_iss"))?;
    if issuer.as_str() != Some(metadata.issuer.as_str()) {
        return Err(Bad("issuer_mismatch"));
    }
    let audiences = jose::audiences(claims)?;
    if !audiences.contains(&client_id) {
        return Err(Bad("audience_mismatch"));
    }
    match claims.get("azp") {
        None if audiences.len() > 1 => Err(Bad("claim_missing_azp")),
        Some(azp) if azp.as_str() != Some(client_id) => Err(Bad("azp_mismatch")),
        _ => Ok(()),
    }
}

/// `at_hash`, `c_hash`: the left half of the hash, in the strength of the signature's.
fn check_hash(
    claims: &Object,
    name: &str,
    of: Option<&str>,
    algorithm: Algorithm,
) -> Result<(), Bad> {
    let bad = if name == "at_hash" { Bad("at_hash_mismatch") } else { Bad("c_hash_mismatch") };
    let (Some(said), Some(of)) = (claims.get(name), of) else { return Ok(()) };
    let hash = match algorithm {
        Algorithm::ES384 | Algorithm::PS384 | Algorithm::RS384 => &digest::SHA384,
        Algorithm::EdDSA | Algorithm::PS512 | Algorithm::RS512 => &digest::SHA512,
        _ => &digest::SHA256,
    };
    let whole = digest::digest(hash, of.as_bytes());
    let half = whole.as_ref().get(..whole.as_ref().len() / 2).unwrap_or_default();
    let expected = URL_SAFE_NO_PAD.encode(half);
    let said = said.as_str().map(|text| text.trim_end_matches('=')).unwrap_or_default();
    if bool::from(said.as_bytes().ct_eq(expected.as_bytes())) { Ok(()) } else { Err(bad) }
}

/// By how much the clocks differ, for the log.
fn skewed(bad: Bad, claims: &Object, now: UnixMillis) -> Fault {
    let mut fault = Fault::from(bad);
    if let Some(iat) = claims.get("iat").and_then(Value::as_i64) {
        let ahead = iat - now.secs();
        fault.detail = format!("the token was made {ahead} s from now by this server's clock");
    }
    fault
}
