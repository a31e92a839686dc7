//! Access tokens and refresh tokens.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use vestibule_authn::authenticate::Presented;
use vestibule_core::account::Status;
use vestibule_core::credential::CredentialKind;
use vestibule_core::return_to::Origin;
use vestibule_core::secret::Secret;

use crate::house::*;
use crate::reading::forge;

const JWT_SECRET: &str = "a-secret-for-tokens-0123456789abcdef";

async fn hs256() -> House {
    House::with(|s| s.secrets.jwt_secret = vec![Secret::new(JWT_SECRET)]).await
}

fn claims(token: &str) -> Value {
    part(token, 1)
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn resign(header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(JWT_SECRET.as_bytes())).unwrap()
}

fn at_jwt() -> Header {
    Header { typ: Some("at+jwt".to_owned()), ..Header::new(Algorithm::HS256) }
}

#[tokio::test]
async fn seed_002_16_an_access_token_verifies_as_hs256_with_the_configured_secret() {
    let house = hs256().await;
    let ann = house.account("ann@example.com").await;
    let tokens = house.tokens(&ann).await;
    let mut rules = Validation::new(Algorithm::HS256);
    rules.validate_exp = false;
    rules.set_audience(&[PORTAL]);
    rules.set_issuer(&[PORTAL]);
    let key = DecodingKey::from_secret(JWT_SECRET.as_bytes());
    let data = jsonwebtoken::decode::<Value>(&tokens.access_token, &key, &rules).unwrap();
    assert_eq!(data.header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(data.claims["sub"], json!(ann.id.to_string()));
    for name in ["sid", "jti", "iat", "exp"] {
        assert!(!data.claims[name].is_null(), "{name}");
    }
}

#[tokio::test]
async fn without_a_jwt_secret_tokens_are_eddsa_by_a_key_in_the_jwk_set() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let tokens = house.tokens(&ann).await;
    let header = part(&tokens.access_token, 0);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
    let set: Value = serde_json::from_str(&house.authn.jwks(NOW)).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert!(keys.iter().any(|key| key["kid"] == header["kid"]));
    assert!(keys.iter().all(|key| key.get("d").is_none() && key["crv"] == "Ed25519"));
    let identity = who(&house.ask(&bearer(&tokens.access_token), NOW).await);
    assert_eq!((identity.account, &identity.credential), (Some(ann.id), &CredentialKind::Token));
}

#[tokio::test]
async fn seed_002_20_seed_002_53_an_access_token_lives_900_seconds_and_not_one_more() {
    let house = hs256().await;
    let ann = house.account("ann@example.com").await;
    let tokens = house.tokens(&ann).await;
    assert_eq!(tokens.expires_in, Duration::from_secs(900));
    assert!(is_identified(&house.ask(&bearer(&tokens.access_token), after(899)).await));
    assert!(is_rejected(&house.ask(&bearer(&tokens.access_token), after(900)).await), "warm");
    let cold = House::over(house.store.clone(), |s| {
        s.secrets.jwt_secret = vec![Secret::new(JWT_SECRET)];
    })
    .await;
    assert!(is_rejected(&cold.ask(&bearer(&tokens.access_token), after(900)).await), "cold");
    let short = House::with(|s| s.auth.access_lifetime = Duration::from_secs(60)).await;
    let ann = short.account("ann@example.com").await;
    assert_eq!(short.tokens(&ann).await.expires_in, Duration::from_secs(60));
}

#[tokio::test]
async fn seed_002_21_a_refresh_token_ends_after_its_life_and_each_new_one_has_its_own() {
    let house = House::with(|s| s.auth.refresh_lifetime = Duration::from_secs(5)).await;
    let ann = house.account("ann@example.com").await;
    let first = house.tokens(&ann).await;
    let refresh = |token: String, secs| {
        let authn = house.authn.clone();
        async move { authn.refresh(&token, &somebody(), after(secs)).await.unwrap() }
    };
    let second = refresh(first.refresh_token, 4).await.unwrap();
    let third = refresh(second.refresh_token, 8).await.unwrap();
    assert!(is_identified(&house.ask(&bearer(&third.access_token), after(8)).await));
    assert!(refresh(third.refresh_token, 14).await.is_none());
}

#[tokio::test]
async fn a_second_use_of_a_refresh_token_ends_the_family() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let first = house.tokens(&ann).await;
    let second =
        house.authn.refresh(&first.refresh_token, &somebody(), NOW).await.unwrap().unwrap();
    assert!(is_identified(&house.ask(&bearer(&second.access_token), NOW).await));
    assert!(house.authn.refresh(&first.refresh_token, &somebody(), NOW).await.unwrap().is_none());
    assert!(house.authn.refresh(&second.refresh_token, &somebody(), NOW).await.unwrap().is_none());
    for token in [&first.access_token, &second.access_token] {
        assert!(is_rejected(&house.ask(&bearer(token), NOW).await));
    }
    assert!(house.audited().await.contains(&"session.revoked"));
}

#[tokio::test]
async fn j4_every_bent_refresh_token_is_refused_and_uses_nothing_up() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.tokens(&ann).await.refresh_token;
    for at in 0..token.len() {
        let mut bent = token.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        for text in [String::from_utf8(bent).unwrap(), token[..at].to_owned()] {
            assert!(house.authn.refresh(&text, &somebody(), NOW).await.unwrap().is_none());
        }
    }
    assert!(house.authn.refresh(&token, &somebody(), NOW).await.unwrap().is_some());
}

#[tokio::test]
async fn seed_002_71_seed_002_52_another_jwt_secret_ends_access_and_refresh_tokens() {
    let house = hs256().await;
    let ann = house.account("ann@example.com").await;
    let tokens = house.tokens(&ann).await;
    let rotated = House::over(house.store.clone(), |s| {
        s.secrets.jwt_secret = vec![Secret::new("another-secret-0123456789-0123456789")];
    })
    .await;
    assert!(is_rejected(&rotated.ask(&bearer(&tokens.access_token), NOW).await));
    let refreshed = rotated.authn.refresh(&tokens.refresh_token, &somebody(), NOW).await.unwrap();
    assert!(refreshed.is_none());
}

#[tokio::test]
async fn x37_a_jwt_secret_that_moves_to_second_place_still_verifies() {
    let house = hs256().await;
    let ann = house.account("ann@example.com").await;
    let tokens = house.tokens(&ann).await;
    let both = House::over(house.store.clone(), |s| {
        let new = Secret::new("another-secret-0123456789-0123456789");
        s.secrets.jwt_secret = vec![new, Secret::new(JWT_SECRET)];
    })
    .await;
    assert!(is_identified(&both.ask(&bearer(&tokens.access_token), NOW).await));
    assert!(both.authn.refresh(&tokens.refresh_token, &somebody(), NOW).await.unwrap().is_some());
}

#[tokio::test]
async fn seed_002_54_a_token_of_another_environment_is_refused() {
    let house = hs256().await;
    let ann = house.account("ann@example.com").await;
    let tokens = house.tokens(&ann).await;
    let moved = House::over(house.store.clone(), |s| {
        s.secrets.jwt_secret = vec![Secret::new(JWT_SECRET)];
        s.server.portal = Origin::parse("https://auth.staging.example.com").unwrap();
    })
    .await;
    // Its issuer is another portal: not ours by form, so it is nobody there.
    assert!(!is_identified(&moved.ask(&bearer(&tokens.access_token), NOW).await));
    let mut theirs = claims(&tokens.access_token);
    theirs["iss"] = json!("https://auth.staging.example.com");
    let relabelled = resign(&at_jwt(), &theirs);
    assert!(is_rejected(&moved.ask(&bearer(&relabelled), NOW).await), "its audience is not us");
}

#[tokio::test]
async fn seed_002_46_forced_sign_out_ends_access_and_refresh_tokens_and_cookies_at_once() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (tokens, started) = (house.tokens(&ann).await, house.session(&ann).await);
    assert!(is_identified(&house.ask(&bearer(&tokens.access_token), NOW).await));
    assert!(is_identified(&house.ask(&cookie(&started.token), NOW).await));
    assert_eq!(house.authn.end_sessions_of(ann.id, None, &cli(), NOW).await.unwrap(), 2);
    assert!(is_rejected(&house.ask(&bearer(&tokens.access_token), NOW).await));
    assert!(is_nobody(&house.ask(&cookie(&started.token), NOW).await));
    assert!(house.authn.refresh(&tokens.refresh_token, &somebody(), NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn seed_002_47_deleting_the_stored_row_ends_a_refresh_token_at_its_next_use() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let tokens = house.tokens(&ann).await;
    house.store.delete_refresh_tokens();
    assert!(house.authn.refresh(&tokens.refresh_token, &somebody(), NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn f4_a_disabled_account_gets_no_new_tokens_and_a_pending_one_does() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    for (status, given) in [(Status::Pending, true), (Status::Disabled, false)] {
        let tokens = house.tokens(&ann).await;
        house.authn.set_status(ann.id, status, &cli(), NOW).await.unwrap();
        let next = house.authn.refresh(&tokens.refresh_token, &somebody(), NOW).await.unwrap();
        assert_eq!(next.is_some(), given, "{status}");
    }
}

#[tokio::test]
async fn g1_a_claim_of_the_wrong_json_type_is_refused_though_the_signature_holds() {
    let house = hs256().await;
    let ann = house.account("ann@example.com").await;
    let good = claims(&house.tokens(&ann).await.access_token);
    assert!(is_identified(&house.ask(&bearer(&resign(&at_jwt(), &good)), NOW).await));
    let wrong = [
        json!("9999999999"),
        json!(null),
        json!([]),
        json!({}),
        json!(true),
        json!(1e300),
        json!(-1),
    ];
    for name in ["exp", "iat", "sub", "sid", "jti", "aud", "iss"] {
        for value in &wrong {
            if (name, value) == ("iat", &json!(-1))
                || (name, value) == ("jti", &json!("9999999999"))
            {
                continue;
            }
            let mut bent = good.clone();
            bent[name] = value.clone();
            let outcome = house.ask(&bearer(&resign(&at_jwt(), &bent)), NOW).await;
            assert!(!is_identified(&outcome), "{name} = {value}");
            // Where the issuer still is ours, it is a bad credential and never "nobody".
            assert!(name == "iss" || is_rejected(&outcome), "{name} = {value}");
        }
        let mut bent = good.clone();
        bent.as_object_mut().unwrap().remove(name);
        assert!(
            !is_identified(&house.ask(&bearer(&resign(&at_jwt(), &bent)), NOW).await),
            "{name}"
        );
    }
    for exp in [json!(9_999_999_999.5), json!(u64::MAX), json!(i64::MAX)] {
        let mut bent = good.clone();
        bent["exp"] = exp.clone();
        assert!(is_rejected(&house.ask(&bearer(&resign(&at_jwt(), &bent)), NOW).await), "{exp}");
    }
}

#[tokio::test]
async fn g2_a_signed_token_for_another_audience_or_session_is_refused() {
    let house = hs256().await;
    let (ann, bob) =
        (house.account("ann@example.com").await, house.account("bob@example.com").await);
    let good = claims(&house.tokens(&ann).await.access_token);
    let browser = house.session(&ann).await.session.id;
    for (name, value) in [
        ("aud", json!("https://wiki.example.com")),
        ("aud", json!("https://auth.example.com/")),
        ("aud", json!(["https://auth.example.com"])),
        ("sub", json!(bob.id.to_string())),
        ("sid", json!(uuid::Uuid::new_v4().to_string())),
        ("sid", json!(browser.to_string())),
        ("exp", json!(NOW.secs())),
    ] {
        let mut bent = good.clone();
        bent[name] = value.clone();
        let outcome = house.ask(&bearer(&resign(&at_jwt(), &bent)), NOW).await;
        assert!(is_rejected(&outcome), "{name} = {value}");
    }
}

#[tokio::test]
async fn the_type_and_algorithm_of_a_token_are_pinned() {
    let house = hs256().await;
    let ann = house.account("ann@example.com").await;
    let token = house.tokens(&ann).await.access_token;
    let good = claims(&token);
    for typ in
        [None, Some("JWT"), Some("vestibule-assertion+jwt"), Some("AT+JWT"), Some("logout+jwt")]
    {
        let header = Header { typ: typ.map(str::to_owned), ..at_jwt() };
        assert!(is_rejected(&house.ask(&bearer(&resign(&header, &good)), NOW).await), "{typ:?}");
    }
    let crit = Header { crit: Some(vec!["exp".to_owned()]), ..at_jwt() };
    assert!(is_rejected(&house.ask(&bearer(&resign(&crit, &good)), NOW).await));
    let hs512 = Header { alg: Algorithm::HS512, ..at_jwt() };
    assert!(is_rejected(&house.ask(&bearer(&resign(&hs512, &good)), NOW).await));
    // `none`, in every case, and HS256 with an EdDSA key's public part.
    let payload = token.split('.').nth(1).unwrap();
    for alg in ["none", "None", "nOnE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "at+jwt"}).to_string());
        for signature in ["", "AA"] {
            let bare = format!("{header}.{payload}.{signature}");
            assert!(!is_identified(&house.ask(&bearer(&bare), NOW).await), "{alg}");
        }
    }
    let eddsa = House::new().await;
    let ann = eddsa.account("ann@example.com").await;
    let token = eddsa.tokens(&ann).await.access_token;
    let kid = part(&token, 0)["kid"].as_str().unwrap().to_owned();
    let set: Value = serde_json::from_str(&eddsa.authn.jwks(NOW)).unwrap();
    let x = set["keys"].as_array().unwrap().iter().find(|k| k["kid"] == kid.as_str()).unwrap()["x"]
        .as_str()
        .unwrap()
        .to_owned();
    let header = Header { kid: Some(kid), ..at_jwt() };
    for secret in [x.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(&x).unwrap()] {
        let confused =
            jsonwebtoken::encode(&header, &claims(&token), &EncodingKey::from_secret(&secret))
                .unwrap();
        assert!(is_rejected(&eddsa.ask(&bearer(&confused), NOW).await));
    }
}

#[tokio::test]
async fn g13_a_jwt_over_16_kib_and_compressed_or_encrypted_ones_are_refused() {
    let house = hs256().await;
    let ann = house.account("ann@example.com").await;
    let good = claims(&house.tokens(&ann).await.access_token);
    let mut long = good.clone();
    long["padding"] = json!("x".repeat(16 * 1024));
    let request = bearer(&resign(&at_jwt(), &long));
    assert_eq!(house.read(&request).presented, Presented::Bad);
    assert!(is_rejected(&house.ask(&request, NOW).await));
    for name in ["zip", "enc", "p2c", "jku", "jwk"] {
        let mut header = json!({"alg": "HS256", "typ": "at+jwt"});
        header[name] = match name {
            "zip" => json!("DEF"),
            "enc" => json!("A128GCM"),
            "p2c" => json!(1_000_000_000),
            "jku" => json!("https://evil.example/jwks"),
            _ => json!({"kty": "oct", "k": "AAAA"}),
        };
        let body = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(good.to_string())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, JWT_SECRET.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, body.as_bytes());
        let token = format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
        let outcome = house.ask(&bearer(&token), NOW).await;
        // `p2c` means nothing outside PBES2: an unknown member changes nothing.
        assert_eq!(is_identified(&outcome), name == "p2c", "{name}");
    }
}

#[tokio::test]
async fn j4_every_bent_access_token_is_refused() {
    let house = hs256().await;
    let ann = house.account("ann@example.com").await;
    let token = house.tokens(&ann).await.access_token;
    for at in 0..token.len() {
        let mut bent = token.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        assert!(!is_identified(&house.ask(&bearer(&bent), NOW).await), "byte {at}");
        assert!(!is_identified(&house.ask(&bearer(&token[..at]), NOW).await), "cut at {at}");
    }
    for more in ["A", "=", ".", ".x"] {
        assert!(
            !is_identified(&house.ask(&bearer(&format!("{token}{more}")), NOW).await),
            "{more}"
        );
    }
}

#[tokio::test]
async fn g3_a_bad_token_beside_a_good_cookie_is_refused_and_never_anonymous() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let mut request = cookie(&house.session(&ann).await.token);
    request.authorization = Some(format!("Bearer {}", forge(&json!({"iss": PORTAL, "exp": 1}))));
    assert!(is_rejected(&house.ask(&request, NOW).await));
}

#[tokio::test]
async fn an_assertion_shown_as_a_bearer_token_is_refused() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let identity = who(&house.ask(&cookie(&house.session(&ann).await.token), NOW).await);
    let assertion = house.authn.sign_assertion(&identity, PORTAL, &[], NOW).unwrap();
    let request = bearer(&assertion.token);
    assert!(house.read(&request).authorization_is_ours);
    assert!(is_rejected(&house.ask(&request, NOW).await));
}
