//! Reading and writing our own JWTs. Everything is pinned: type, algorithm, issuer, audience,
//! and the JSON type of each claim (RFC 8725).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use vestibule_core::id::{AccountId, SessionId};
use vestibule_core::time::UnixMillis;

use crate::keyring::Keyring;
use crate::signing::{Purpose, SigningKeys};

/// Type of access tokens (RFC 9068).
pub(crate) const ACCESS_TOKEN: &str = "at+jwt";
/// Type of assertions.
pub(crate) const ASSERTION: &str = "vestibule-assertion+jwt";
/// Longer tokens are refused before any of it is parsed.
pub(crate) const LONGEST: usize = 16 * 1024;

/// The claims of an access token. Every one is required and of exactly this JSON type.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AccessClaims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) sid: String,
    pub(crate) jti: String,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    /// Never written; where it stands it must be a number that is reached.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
}

/// A member that may be absent and is never `null`.
fn stated<'de, D: serde::Deserializer<'de>>(member: D) -> Result<Option<i64>, D::Error> {
    i64::deserialize(member).map(Some)
}

/// How far clocks of two nodes may be apart, in seconds.
const LEEWAY: i64 = 60;

/// What a good access token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccessToken {
    pub(crate) account: AccountId,
    pub(crate) session: SessionId,
    pub(crate) expires_at: UnixMillis,
}

/// Signs claims; `kid` tells EdDSA from HS256.
pub(crate) fn sign(
    typ: &str,
    kid: Option<&str>,
    key: &EncodingKey,
    claims: &impl Serialize,
) -> Option<String> {
    let algorithm = if kid.is_some() { Algorithm::EdDSA } else { Algorithm::HS256 };
    let mut header = Header::new(algorithm);
    header.typ = Some(typ.to_owned());
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, key).ok()
}

/// Every `iss` that something of the form of a JWT names, without believing it: where it
/// stands twice, readers may differ about which one counts. `None`: nothing can be read.
pub(crate) fn claimed_issuers(token: &str) -> Option<Vec<String>> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || token.len() > LONGEST {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Issuers>(&payload).ok().map(|found| found.0)
}

/// The texts under `iss` in an object.
struct Issuers(Vec<String>);

impl<'de> Deserialize<'de> for Issuers {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "lowercase")]
        enum Name {
            Iss,
            #[serde(other)]
            Other,
        }
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Issuers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Issuers, A::Error> {
                let mut found = Vec::new();
                while let Some(name) = map.next_key::<Name>()? {
                    match name {
                        Name::Iss => {
                            if let serde_json::Value::String(issuer) = map.next_value()? {
                                found.push(issuer);
                            }
                        }
                        Name::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Issuers(found))
            }
        }
        reader.deserialize_map(Members)
    }
}

/// Checks an access token of ours. Costs at most one signature check a key of that name.
pub(crate) fn verify_access_token(
    token: &str,
    portal: &str,
    keyring: &Keyring,
    signing: &SigningKeys,
    life: Duration,
    now: UnixMillis,
) -> Option<AccessToken> {
    if token.len() > LONGEST {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    let plain = header.crit.is_none()
        && header.enc.is_none()
        && header.zip.is_none()
        && header.jku.is_none()
        && header.jwk.is_none();
    if !plain || header.typ.as_deref() != Some(ACCESS_TOKEN) {
        return None;
    }
    let claims = if keyring.jwt.is_empty() {
        let kid = header.kid?;
        let key = signing
            .verifiers(Purpose::AccessToken, life, now)
            .find(|key| key.kid == kid)
            .map(|key| &key.decoding)?;
        signed(token, key, Algorithm::EdDSA)?
    } else {
        keyring.jwt.iter().find_map(|(_, key)| signed(token, key, Algorithm::HS256))?
    };
    let whole = claims.iss == portal
        && claims.aud == portal
        && !claims.jti.is_empty()
        && now.secs() < claims.exp
        && [Some(claims.iat), claims.nbf]
            .into_iter()
            .flatten()
            .all(|from| from <= now.secs() + LEEWAY)
        && claims.exp <= i64::MAX / 1000;
    if !whole {
        return None;
    }
    Some(AccessToken {
        account: claims.sub.parse().ok()?,
        session: claims.sid.parse().ok()?,
        expires_at: UnixMillis::from_secs(claims.exp),
    })
}

/// The claims, where the signature holds under exactly this algorithm. Times are judged by
/// the caller's clock, not by the library's.
fn signed(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<AccessClaims> {
    let mut rules = Validation::new(algorithm);
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    jsonwebtoken::decode::<AccessClaims>(token, key, &rules).ok().map(|data| data.claims)
}
