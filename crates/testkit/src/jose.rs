//! Keys and signed tokens for a test's own issuers: any header, any claims, any bytes, also what
//! no honest signer would make. Nothing here verifies.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaKeyPair,
};
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key pair and its `kid`. Clones share the key.
#[derive(Clone)]
pub struct Key {
    /// Its name in the key set.
    pub kid: String,
    pair: Arc<Pair>,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    /// The fixed key of 1,024 bits.
    ShortRsa,
}

/// RSA keys that a test process makes; they take their time.
const POOL: usize = 5;

impl Key {
    /// An RSA key of 2,048 bits out of a few that the process shares. Another `nth` is another
    /// key, up to five.
    pub fn rsa(nth: usize, kid: &str) -> Self {
        static KEYS: OnceLock<Vec<OnceLock<Arc<Pair>>>> = OnceLock::new();
        let keys = KEYS.get_or_init(|| (0..POOL).map(|_| OnceLock::new()).collect());
        let made = || Arc::new(Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
        let pair = Arc::clone(keys[nth % POOL].get_or_init(made));
        Self { kid: kid.to_owned(), pair }
    }

    /// A new P-256 key.
    pub fn ec(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid: kid.to_owned(), pair: Arc::new(Pair::Ec(pair)) }
    }

    /// A new Ed25519 key.
    pub fn ed(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        Self { kid: kid.to_owned(), pair: Arc::new(Pair::Ed(pair)) }
    }

    /// An RSA key of 1,024 bits, which signs well and must not be believed.
    pub fn short_rsa(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Arc::new(Pair::ShortRsa) }
    }

    /// The same key under another name.
    #[must_use]
    pub fn named(&self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Arc::clone(&self.pair) }
    }

    /// The algorithm that it signs with unless told otherwise.
    pub fn alg(&self) -> &'static str {
        match *self.pair {
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
            Pair::Rsa(_) | Pair::ShortRsa => "RS256",
        }
    }

    /// The public half as a JWK, with `kid`, `alg` and `use`.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &*self.pair {
            Pair::Ec(pair) => {
                // Uncompressed: 4, x, y.
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]) })
            }
            Pair::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref()) })
            }
            Pair::Rsa(pair) => {
                let (n, e) = modulus_and_exponent(pair.public_key().as_ref());
                json!({ "kty": "RSA", "n": b64(&n), "e": b64(&e) })
            }
            Pair::ShortRsa => json!({ "kty": "RSA", "n": b64(&hex(SHORT_N)), "e": "AQAB" }),
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["alg"] = self.alg().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The public half of an RSA key as PEM (PKCS #1): what a confused verifier takes as the
    /// secret of HS256.
    pub fn public_pem(&self) -> String {
        let der = match &*self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            _ => Vec::new(),
        };
        let body: Vec<String> = STANDARD
            .encode(der)
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        format!(
            "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
            body.join("\n")
        )
    }

    /// A signature by a JOSE algorithm; with one that does not fit the key: by the key's own.
    pub fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        match &*self.pair {
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let encoding: &'static dyn aws_lc_rs::signature::RsaEncoding = match alg {
                    "PS256" => &RSA_PSS_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Pair::ShortRsa => short_rsa_signature(message),
        }
    }

    /// A token with these claims, signed by the key's own algorithm, `kid` in the header.
    pub fn jwt(&self, claims: &Value) -> String {
        self.jwt_with(&json!({ "alg": self.alg(), "kid": self.kid }), claims)
    }

    /// A token with any header; signed by its `alg`, where the key can.
    pub fn jwt_with(&self, header: &Value, claims: &Value) -> String {
        self.jwt_of(&header.to_string(), claims.to_string().as_bytes())
    }

    /// A token of any bytes: duplicate members, no JSON at all.
    pub fn jwt_of(&self, header: &str, payload: &[u8]) -> String {
        let alg: Value = serde_json::from_str(header).unwrap_or_default();
        let message = unsigned(header, payload);
        let signature = self.sign(alg["alg"].as_str().unwrap_or_default(), message.as_bytes());
        format!("{message}.{}", b64(&signature))
    }
}

/// Header and payload, without the last point.
pub fn unsigned(header: &str, payload: &[u8]) -> String {
    format!("{}.{}", b64(header.as_bytes()), b64(payload))
}

/// HMAC-SHA-256, as HS256 signs.
pub fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

/// base64url without padding.
pub fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// The claims of a token, unchecked.
///
/// # Panics
/// Where it is none.
#[track_caller]
pub fn claims_of(token: &str) -> Value {
    part_of(token, 1)
}

/// The header of a token, unchecked.
///
/// # Panics
/// Where it is none.
#[track_caller]
pub fn header_of(token: &str) -> Value {
    part_of(token, 0)
}

#[track_caller]
fn part_of(token: &str, nth: usize) -> Value {
    let part = token.split('.').nth(nth).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// A random text of letters and digits that are safe in a URL.
pub fn random_text() -> String {
    let mut bytes = [0; 24];
    rand::fill(&mut bytes).unwrap();
    b64(&bytes)
}

/// A random number below a bound.
pub(crate) fn random_below(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % bound.max(1)
}

/// n and e of a DER `RSAPublicKey`: a sequence of two integers.
fn modulus_and_exponent(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let sequence = der_value(der).0;
    let (n, rest) = der_value(sequence);
    let (e, _) = der_value(rest);
    let bare = |integer: &[u8]| match integer {
        [0, rest @ ..] => rest.to_vec(),
        whole => whole.to_vec(),
    };
    (bare(n), bare(e))
}

/// The contents of the first element, and what follows it.
fn der_value(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, at) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        long => {
            let count = usize::from(long & 0x7f);
            let length =
                der[2..2 + count].iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            (length, 2 + count)
        }
    };
    (&der[at..at + length], &der[at + length..])
}

/// A key of 1,024 bits, made for these tests with OpenSSL: its modulus. The library that signs
/// everything else refuses to touch it.
const SHORT_N: &str = "d500dd0575e80c7c624d8f8d4a1c719b3850dddc655e6edcd1d42734d50dd0f5\
                       792724e7e18d102a6032a1303fb28c2cfb25ab77426773dd57d55a12f5abc4d3\
                       c9b97da2e1c22094de98fd7ef8abf21883b90baee6be1fb16e8e119fa768c1ab\
                       fc10b8b7d0e229e4d2692e1070af9de42e270fe8d79de5caf2e69be240988c3f";
/// Its private exponent.
const SHORT_D: &str = "1e430c23bd77a5667a94e8633b774510b7748dc0c54a2058111ba222586ea914\
                       670d0faa3e1a4b84a9bc27b872244cd40b2e73e8f2af3dffe17db759603bf22f\
                       9e31368aff50aad19e690ab61b25a20e3841846a68f15c417556546f1c9c6f69\
                       d24d0429a9193fb76969bbc0a50deb90595a28aa4a9be6636c112b718d9e5939";
/// What stands before a SHA-256 digest in PKCS #1 v1.5.
const SHA256_PREFIX: &str = "3031300d060960864801650304020105000420";

/// PKCS #1 v1.5 with SHA-256 by the short key.
fn short_rsa_signature(message: &[u8]) -> Vec<u8> {
    let (n, d) = (hex(SHORT_N), hex(SHORT_D));
    let mut tail = vec![0];
    tail.extend(hex(SHA256_PREFIX));
    tail.extend(sha256(message));
    let mut padded = vec![0, 1];
    padded.resize(n.len() - tail.len(), 0xff);
    padded.extend(tail);
    power(&padded, &d, &n)
}

/// `base^exponent mod modulus`, numbers as big-endian bytes. Slow and open to timing: for a
/// key that everybody knows.
fn power(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Vec<u8> {
    let mut result = vec![0; modulus.len()];
    *result.last_mut().unwrap() = 1;
    for bit in exponent.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        result = product(&result, &result, modulus);
        if bit == 1 {
            result = product(&result, base, modulus);
        }
    }
    result
}

/// `a * b mod modulus`, by doubling and adding byte arrays of one length.
fn product(a: &[u8], b: &[u8], modulus: &[u8]) -> Vec<u8> {
    let (modulus, a) = (limbs(modulus), limbs(a));
    let mut sum = vec![0u32; modulus.len()];
    for bit in b.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        let copy = sum.clone();
        add(&mut sum, &copy, &modulus);
        if bit == 1 {
            add(&mut sum, &a, &modulus);
        }
    }
    sum.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

fn limbs(bytes: &[u8]) -> Vec<u32> {
    bytes.rchunks(4).map(|chunk| chunk.iter().fold(0, |sum, &b| sum << 8 | u32::from(b))).collect()
}

/// Adds below the modulus.
fn add(sum: &mut [u32], other: &[u32], modulus: &[u32]) {
    let mut carry = 0u64;
    for (limb, &more) in sum.iter_mut().zip(other) {
        carry += u64::from(*limb) + u64::from(more);
        *limb = carry as u32;
        carry >>= 32;
    }
    if carry == 1 || sum.iter().rev().ge(modulus.iter().rev()) {
        let mut borrow = 0i64;
        for (limb, &less) in sum.iter_mut().zip(modulus) {
            let value = i64::from(*limb) - i64::from(less) + borrow;
            *limb = value as u32;
            borrow = value >> 32;
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;

    fn der_of(key: &Key) -> Vec<u8> {
        let pem = key.public_pem();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(body).unwrap()
    }

    #[test]
    fn every_kind_of_key_signs_what_its_public_half_verifies() {
        let (rsa, ec, ed) = (Key::rsa(0, "a"), Key::ec("b"), Key::ed("c"));
        let point = |key: &Key| {
            let part = |name: &str| URL_SAFE_NO_PAD.decode(key.jwk()[name].as_str().unwrap());
            let mut point = vec![4];
            point.extend(part("x").unwrap());
            point.extend(part("y").unwrap());
            point
        };
        let x = URL_SAFE_NO_PAD.decode(ed.jwk()["x"].as_str().unwrap()).unwrap();
        let cases: [(&Key, &'static dyn VerificationAlgorithm, Vec<u8>); 3] = [
            (&rsa, &RSA_PKCS1_2048_8192_SHA256, der_of(&rsa)),
            (&ec, &ECDSA_P256_SHA256_FIXED, point(&ec)),
            (&ed, &ED25519, x),
        ];
        for (key, algorithm, public) in cases {
            let token = key.jwt(&json!({ "sub": "s" }));
            assert_eq!(claims_of(&token)["sub"], "s");
            assert_eq!(header_of(&token)["kid"], key.kid.as_str());
            let (message, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let public = UnparsedPublicKey::new(algorithm, public);
            public.verify(message.as_bytes(), &signature).unwrap();
        }
    }

    #[test]
    fn the_short_key_signs_well_so_that_only_its_length_is_wrong() {
        let signature = Key::short_rsa("s").sign("RS256", b"message");
        // RSAPublicKey: a sequence of n (with a leading zero) and e.
        let mut der = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
        der.extend(hex(SHORT_N));
        der.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        let public = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, der);
        public.verify(b"message", &signature).unwrap();
    }
}
