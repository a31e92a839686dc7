//! Signed tokens of others (RFC 7515, 7517, 7519): one strict reading for ID tokens, logout
//! tokens, and bearer tokens of `[[jwt_issuer]]`.
//!
//! Everything is pinned (RFC 8725): the algorithm by the verifier and by the key's own kind,
//! never by the token; keys by the issuer's key set, never by what a token points to or holds
//! (`jku`, `jwk`, `x5u`, `x5c` mean nothing here). A name that stands twice in an object has
//! no meaning, so it is refused.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use vestibule_core::time::UnixMillis;

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// How far clocks may be apart, in seconds.
pub(crate) const LEEWAY_SECS: i64 = 60;
/// A later time than any token honestly names: the end of the year 9999.
const LATEST: i64 = 253_402_300_799;
/// RSA keys below this are ignored.
const LEAST_RSA_BITS: usize = 2048;
/// And above this, for their price.
const MOST_RSA_BITS: usize = 8192;
/// Key sets longer than this are cut.
const MOST_KEYS: usize = 1000;

/// Why a token does not hold: a stable word for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Bad(pub(crate) &'static str);

/// A token read, of which nothing is believed yet.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    /// `typ`, lower case, without `application/`.
    typ: Option<String>,
    claims: Object,
    signed: &'a str,
    signature: &'a str,
}

/// What became of a look for the right key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyOutcome {
    /// It fits.
    Good,
    /// It does not, and never will.
    Never(Bad),
    /// Not with these keys; newer ones may know better.
    Perhaps(Bad),
}

impl<'a> Unverified<'a> {
    /// Reads a compact JWS of at most `longest` bytes.
    pub(crate) fn read(token: &'a str, longest: usize) -> Result<Self, Bad> {
        if token.len() > longest {
            return Err(Bad("token_too_long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Bad("token_malformed"))?;
        let (header, payload) = signed.split_once('.').ok_or(Bad("token_malformed"))?;
        if payload.contains('.') {
            // Five parts are a JWE.
            return Err(Bad("token_malformed"));
        }
        let header = decode_object(header).ok_or(Bad("token_header"))?;
        if ["crit", "zip", "enc", "b64"].iter().any(|name| header.contains_key(*name)) {
            return Err(Bad("token_header_extension"));
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Bad("token_header")),
        };
        let algorithm = text("alg")?.as_deref().and_then(algorithm).ok_or(Bad("token_alg"))?;
        let typ = text("typ")?.map(|typ| {
            let typ = typ.to_ascii_lowercase();
            typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
        });
        let claims = decode_object(payload).ok_or(Bad("token_payload"))?;
        Ok(Self { algorithm, kid: text("kid")?, typ, claims, signed, signature })
    }

    /// `typ`, lower case, without `application/`.
    pub(crate) fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The claims, which nobody vouches for until a key did.
    pub(crate) fn unverified_claims(&self) -> &Object {
        &self.claims
    }

    /// The hash that `at_hash` is made with: of the signature's own strength.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether one of the keys made the signature.
    pub(crate) fn check(&self, keys: &KeySet, allowed: &[Algorithm]) -> KeyOutcome {
        if !allowed.contains(&self.algorithm) {
            return KeyOutcome::Never(Bad("token_alg"));
        }
        let fitting = keys.keys.iter().filter(|key| key.fits(self.algorithm));
        let candidates: Vec<&Key> = match &self.kid {
            Some(kid) => fitting.filter(|key| key.kid.as_ref() == Some(kid)).collect(),
            None => fitting.collect(),
        };
        if self.kid.is_none() && candidates.len() > 1 {
            return KeyOutcome::Never(Bad("token_kid_missing"));
        }
        if candidates.is_empty() {
            return KeyOutcome::Perhaps(Bad("token_key_unknown"));
        }
        let signed = |key: &&Key| {
            let signed = self.signed.as_bytes();
            jsonwebtoken::crypto::verify(self.signature, signed, &key.decoding, self.algorithm)
                .unwrap_or(false)
        };
        if candidates.iter().any(signed) {
            KeyOutcome::Good
        } else {
            KeyOutcome::Perhaps(Bad("token_signature"))
        }
    }

    /// The claims. Only for whoever has seen [`KeyOutcome::Good`].
    pub(crate) fn into_claims(self) -> Object {
        self.claims
    }
}

/// The signature algorithms that are known here. Never `none`, never HMAC: their key would be
/// the issuer's public one.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        _ => return None,
    })
}

/// An issuer's public keys (RFC 7517). Keys that cannot be used safely are left out: symmetric
/// and private ones, RSA below 2,048 bits, those for encryption.
#[derive(Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| (&key.kid, key.kind))).finish()
    }
}

struct Key {
    kid: Option<String>,
    kind: KeyKind,
    /// The one algorithm it is for, where it says so.
    algorithm: Option<Algorithm>,
    decoding: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    Ed25519,
    P256,
    P384,
    Rsa,
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::EdDSA => KeyKind::Ed25519,
            Algorithm::ES256 => KeyKind::P256,
            Algorithm::ES384 => KeyKind::P384,
            _ => KeyKind::Rsa,
        };
        self.kind == kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// `None`: not a key to verify with.
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let for_signatures = match (jwk.get("use"), jwk.get("key_ops")) {
            (Some(used), _) => used.as_str() == Some("sig"),
            (None, Some(ops)) => ops.as_array()?.iter().any(|op| op.as_str() == Some("verify")),
            (None, None) => true,
        };
        let private = ["d", "p", "q", "k"].iter().any(|name| jwk.get(*name).is_some());
        if private || !for_signatures {
            return None;
        }
        let own = match jwk.get("alg") {
            None => None,
            Some(name) => Some(algorithm(name.as_str()?)?),
        };
        let (kind, decoding) = match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => {
                (KeyKind::P256, DecodingKey::from_ec_components(text("x")?, text("y")?))
            }
            ("EC", Some("P-384")) => {
                (KeyKind::P384, DecodingKey::from_ec_components(text("x")?, text("y")?))
            }
            ("OKP", Some("Ed25519")) => {
                (KeyKind::Ed25519, DecodingKey::from_ed_components(text("x")?))
            }
            ("RSA", _) => {
                let bits = bits(&URL_SAFE_NO_PAD.decode(text("n")?.trim_end_matches('=')).ok()?);
                if !(LEAST_RSA_BITS..=MOST_RSA_BITS).contains(&bits) {
                    return None;
                }
                (KeyKind::Rsa, DecodingKey::from_rsa_components(text("n")?, text("e")?))
            }
            _ => return None,
        };
        let kid = match jwk.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        Some(Self { kid, kind, algorithm: own, decoding: decoding.ok()? })
    }
}

/// Bits of a big-endian number.
fn bits(bytes: &[u8]) -> usize {
    let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
    let rest = bytes.get(start..).unwrap_or_default();
    rest.first().map_or(0, |first| rest.len() * 8 - first.leading_zeros() as usize)
}

impl KeySet {
    /// Reads a JWK set. Fails where it is none, or holds no key that can be used.
    pub(crate) fn read(text: &[u8]) -> Result<Self, Bad> {
        let whole = object(text).ok_or(Bad("jwks_malformed"))?;
        let listed = whole.get("keys").and_then(Value::as_array).ok_or(Bad("jwks_malformed"))?;
        let keys: Vec<Key> = listed.iter().take(MOST_KEYS).filter_map(Key::read).collect();
        if keys.is_empty() { Err(Bad("jwks_empty")) } else { Ok(Self { keys }) }
    }

    /// How many keys can be used.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

// Claims.

/// A claim that must be a non-empty text.
pub(crate) fn text<'a>(claims: &'a Object, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// `sub`: a text of 1 to 255 characters.
pub(crate) fn subject(claims: &Object) -> Result<&str, Bad> {
    let sub = claims.get("sub").ok_or(Bad("claim_missing_sub"))?;
    let good = |sub: &&str| {
        !sub.is_empty() && sub.chars().count() <= 255 && !sub.chars().any(char::is_control)
    };
    sub.as_str().filter(good).ok_or(Bad("claim_sub"))
}

/// A point in time (RFC 7519, NumericDate): a whole number, where there is one. What is none,
/// or no honest one, is an error, never an absent claim. The RFC allows fractions; no issuer
/// writes them, and SECURITY.md F8 refuses them.
pub(crate) fn time(claims: &Object, name: &str) -> Result<Option<i64>, Bad> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    match value.as_i64().filter(|at| (0..=LATEST).contains(at)) {
        Some(at) => Ok(Some(at)),
        None => Err(Bad("claim_time_malformed")),
    }
}

/// Checks `exp` (which must be there), `iat` and `nbf`; the end.
pub(crate) fn check_times(
    claims: &Object,
    iat_required: bool,
    now: UnixMillis,
) -> Result<UnixMillis, Bad> {
    let now = now.secs();
    let exp = time(claims, "exp")?.ok_or(Bad("claim_missing_exp"))?;
    if exp.saturating_add(LEEWAY_SECS) <= now {
        return Err(Bad("token_expired"));
    }
    match time(claims, "iat")? {
        None if iat_required => return Err(Bad("claim_missing_iat")),
        Some(iat) if iat > now.saturating_add(LEEWAY_SECS) => {
            return Err(Bad("token_from_the_future"));
        }
        _ => {}
    }
    if time(claims, "nbf")?.is_some_and(|nbf| nbf > now.saturating_add(LEEWAY_SECS)) {
        return Err(Bad("token_not_yet_valid"));
    }
    Ok(UnixMillis::from_secs(exp))
}

/// The values of `aud`: one text or a list of texts. Anything else is an error.
pub(crate) fn audiences(claims: &Object) -> Result<Vec<&str>, Bad> {
    match claims.get("aud") {
        None => Err(Bad("claim_missing_aud")),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(list)) => {
            list.iter().map(|one| one.as_str().ok_or(Bad("claim_aud_malformed"))).collect()
        }
        Some(_) => Err(Bad("claim_aud_malformed")),
    }
}

/// A claim by a path whose dots lead into objects. A claim whose own name holds the dots goes
/// first.
pub(crate) fn at<'a>(claims: &'a Object, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    at(claims.get(first)?.as_object()?, rest)
}

/// The texts of a claim: a list of texts, or one. Other members of a list are left out.
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        Value::String(one) => vec![one],
        _ => Vec::new(),
    }
}

// JSON without double meanings.

/// Reads an object in which no name stands twice, at any depth.
pub(crate) fn object(text: &[u8]) -> Option<Object> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn decode_object(part: &str) -> Option<Object> {
    object(&URL_SAFE_NO_PAD.decode(part).ok()?)
}

#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated names")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Strict)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Strict)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests;
