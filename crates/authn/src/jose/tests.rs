use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;

const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

struct Signer {
    encoding: EncodingKey,
    algorithm: Algorithm,
    jwk: Value,
}

fn ed25519(kid: Option<&str>) -> Signer {
    let pair = Ed25519KeyPair::generate().unwrap();
    let pkcs8 = pair.to_pkcs8().unwrap();
    let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())});
    named(&mut jwk, kid);
    let encoding = EncodingKey::from_ed_der(pkcs8.as_ref());
    Signer { encoding, algorithm: Algorithm::EdDSA, jwk }
}

fn p256(kid: Option<&str>) -> Signer {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref().to_vec();
    let mut jwk =
        json!({"kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..])});
    named(&mut jwk, kid);
    let encoding = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
    Signer { encoding, algorithm: Algorithm::ES256, jwk }
}

fn named(jwk: &mut Value, kid: Option<&str>) {
    if let Some(kid) = kid {
        jwk["kid"] = kid.into();
    }
}

impl Signer {
    fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.encoding).unwrap()
    }

    /// A header and payload of one's own, well signed.
    fn sign_raw(&self, header: &str, payload: &str) -> String {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let signed = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.encoding, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

fn set(keys: &[&Value]) -> KeySet {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn judged(token: &str, keys: &KeySet) -> Result<(), &'static str> {
    let read = Unverified::read(token, 16 << 10).map_err(|bad| bad.0)?;
    match read.check(keys, ALGORITHMS) {
        KeyOutcome::Good => Ok(()),
        KeyOutcome::Never(bad) | KeyOutcome::Perhaps(bad) => Err(bad.0),
    }
}

fn claims() -> Value {
    json!({"iss": "https://id.example.com", "sub": "1", "exp": NOW.secs() + 60})
}

#[test]
fn a_token_that_a_key_of_the_set_signed_holds() {
    for signer in [ed25519(Some("a")), p256(Some("a"))] {
        let keys = set(&[&signer.jwk]);
        assert_eq!(judged(&signer.sign(Some("a"), &claims()), &keys), Ok(()));
        assert_eq!(judged(&signer.sign(Some("b"), &claims()), &keys), Err("token_key_unknown"));
    }
}

#[test]
fn a_bent_byte_anywhere_breaks_it() {
    let signer = p256(Some("a"));
    let keys = set(&[&signer.jwk]);
    let token = signer.sign(Some("a"), &claims());
    for at in 0..token.len() {
        let mut bent = token.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        // The last character of a part may hold bits that mean nothing; strict base64 refuses
        // them, and whatever it lets through decodes to other bytes.
        assert!(judged(&bent, &keys).is_err(), "byte {at}: {bent}");
    }
}

#[test]
fn kid_absent_holds_with_one_fitting_key_and_is_refused_with_several() {
    let (first, second) = (ed25519(None), ed25519(Some("other")));
    let curve = p256(Some("curve"));
    let token = first.sign(None, &claims());
    assert_eq!(judged(&token, &set(&[&first.jwk])), Ok(()));
    // A key of another kind is none of several.
    assert_eq!(judged(&token, &set(&[&first.jwk, &curve.jwk])), Ok(()));
    assert_eq!(judged(&token, &set(&[&first.jwk, &second.jwk])), Err("token_kid_missing"));
}

#[test]
fn g_rfc8725_none_hmac_and_unknown_algorithms_are_no_algorithms() {
    let signer = ed25519(Some("a"));
    let keys = set(&[&signer.jwk]);
    let payload = claims().to_string();
    for name in ["none", "nOnE", "NONE", "", "HS256", "HS512", "ES512", "RS1", "ed25519"] {
        let header = format!(r#"{{"alg":"{name}","kid":"a"}}"#);
        let signed = signer.sign_raw(&header, &payload);
        assert_eq!(judged(&signed, &keys), Err("token_alg"), "{name}");
        let unsigned = signed.rsplit_once('.').unwrap().0;
        assert_eq!(judged(&format!("{unsigned}."), &keys), Err("token_alg"), "{name}");
    }
    // Another kind of key under an honest name.
    let header = r#"{"alg":"RS256","kid":"a"}"#;
    assert_eq!(judged(&signer.sign_raw(header, &payload), &keys), Err("token_key_unknown"));
}

#[test]
fn g13_compression_encryption_and_critical_extensions_are_refused() {
    let signer = ed25519(Some("a"));
    let keys = set(&[&signer.jwk]);
    for more in [r#""zip":"DEF""#, r#""crit":["x"]"#, r#""enc":"A128GCM""#, r#""b64":false"#] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"a",{more}}}"#);
        let token = signer.sign_raw(&header, &claims().to_string());
        assert_eq!(judged(&token, &keys), Err("token_header_extension"), "{more}");
    }
    assert_eq!(judged("a.b.c.d.e", &keys), Err("token_malformed"));
    let long = format!("{}.x", "a".repeat(17 << 10));
    assert_eq!(judged(&long, &keys), Err("token_too_long"));
}

#[test]
fn a_key_in_the_token_itself_vouches_for_nothing() {
    let (mine, theirs) = (ed25519(Some("a")), ed25519(Some("a")));
    let keys = set(&[&mine.jwk]);
    let jwk = &theirs.jwk;
    let header = format!(r#"{{"alg":"EdDSA","kid":"a","jwk":{jwk},"jku":"http://x/"}}"#);
    let token = theirs.sign_raw(&header, &claims().to_string());
    assert_eq!(judged(&token, &keys), Err("token_signature"));
}

#[test]
fn an_all_zero_ecdsa_signature_is_none() {
    let signer = p256(Some("a"));
    let token = signer.sign(Some("a"), &claims());
    let signed = token.rsplit_once('.').unwrap().0;
    let zeros = format!("{signed}.{}", b64(&[0; 64]));
    assert_eq!(judged(&zeros, &set(&[&signer.jwk])), Err("token_signature"));
}

#[test]
fn names_that_stand_twice_and_what_is_no_object_are_refused() {
    let signer = ed25519(Some("a"));
    let keys = set(&[&signer.jwk]);
    let header = r#"{"alg":"EdDSA","kid":"a"}"#;
    for payload in
        [r#"{"sub":"a","sub":"b"}"#, r#"{"a":{"b":1,"b":2}}"#, "[1]", "\"x\"", "null", "{} {}", "{"]
    {
        assert_eq!(judged(&signer.sign_raw(header, payload), &keys), Err("token_payload"));
    }
    let twice = r#"{"alg":"EdDSA","alg":"none","kid":"a"}"#;
    assert_eq!(judged(&signer.sign_raw(twice, "{}"), &keys), Err("token_header"));
}

#[test]
fn deep_nesting_is_refused_without_a_crash() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(object(format!(r#"{{"a":{deep}}}"#).as_bytes()).is_none());
}

#[test]
fn symmetric_private_short_and_foreign_keys_are_left_out() {
    let good = ed25519(Some("a"));
    let short = b64(&[0xff; 128]);
    let long = b64(&[0xff; 256]);
    for bad in [
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "b"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": good.jwk["x"], "d": "AA", "kid": "b"}),
        json!({"kty": "RSA", "n": short, "e": "AQAB", "kid": "b"}),
        json!({"kty": "RSA", "n": long, "e": "AQAB", "kid": "b", "use": "enc"}),
        json!({"kty": "RSA", "n": long, "e": "AQAB", "kid": "b", "alg": "RSA-OAEP"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "b"}),
        json!("text"),
        json!({}),
    ] {
        assert_eq!(set(&[&good.jwk, &bad]).len(), 1, "{bad}");
        let alone = json!({ "keys": [bad] }).to_string();
        assert_eq!(KeySet::read(alone.as_bytes()).unwrap_err().0, "jwks_empty");
    }
    assert_eq!(set(&[&good.jwk, &json!({"kty": "RSA", "n": long, "e": "AQAB"})]).len(), 2);
    assert_eq!(KeySet::read(b"<html>").unwrap_err().0, "jwks_malformed");
}

#[test]
fn g1_a_time_of_the_wrong_type_is_an_error_and_never_absent() {
    for bad in [
        json!("9999999999"),
        json!(null),
        json!([]),
        json!(true),
        json!({}),
        json!(1.5),
        json!(-1),
        json!(1e300),
    ] {
        let claims = json!({"exp": bad}).as_object().unwrap().clone();
        assert!(check_times(&claims, false, NOW).is_err(), "{bad}");
        for name in ["iat", "nbf"] {
            let mut claims = json!({"exp": NOW.secs() + 60}).as_object().unwrap().clone();
            claims.insert(name.to_owned(), bad.clone());
            assert!(check_times(&claims, false, NOW).is_err(), "{name} {bad}");
        }
    }
}

#[test]
fn x22_sixty_seconds_of_leeway_and_no_more() {
    let times = |exp: i64, iat: i64| {
        let claims = json!({"exp": NOW.secs() + exp, "iat": NOW.secs() + iat});
        check_times(claims.as_object().unwrap(), true, NOW).map(|_| ()).map_err(|bad| bad.0)
    };
    assert_eq!(times(-59, -100), Ok(()));
    assert_eq!(times(-60, -100), Err("token_expired"));
    assert_eq!(times(600, 60), Ok(()));
    assert_eq!(times(600, 61), Err("token_from_the_future"));
}

#[test]
fn claims_are_found_by_dotted_paths() {
    let claims = json!({"a": {"b": {"c": ["x"]}}, "https://x.y/groups": "z", "n": 1});
    let claims = claims.as_object().unwrap();
    assert_eq!(at(claims, "a.b.c").map(texts), Some(vec!["x"]));
    assert_eq!(at(claims, "https://x.y/groups").map(texts), Some(vec!["z"]));
    assert_eq!(at(claims, "a.x"), None);
    assert_eq!(at(claims, "n.x"), None);
}
