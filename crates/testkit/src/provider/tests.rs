use super::*;
use crate::jose::{claims_of, header_of};
use crate::{Client, Request, Response, parameter};

const BACK: &str = "https://auth.example.test/api/v1/auth/callback/op";
const VERIFIER: &str = "a-verifier-of-more-than-forty-three-characters-of-text";

fn authorize(op: &Op, person: &str) -> String {
    let url = format!(
        "{}?response_type=code&client_id={}&redirect_uri={}&scope=openid%20email&state=st&nonce=no\
         &code_challenge={}&code_challenge_method=S256",
        op.url(Endpoint::Authorize),
        op.client_id(),
        encode(BACK),
        b64(&sha256(VERIFIER.as_bytes())),
    );
    let request = Request::get(&url).header("Cookie", format!("a=b; person={person}"));
    Client::plain(op.address()).send(&request).expect(302).location().to_owned()
}

fn redeem(op: &Op, code: &str, verifier: &str) -> Response {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", verifier),
        ("client_id", op.client_id()),
        ("client_secret", op.client_secret()),
    ];
    Client::plain(op.address()).send(&Request::new("POST", &op.url(Endpoint::Token)).form(&form))
}

#[test]
fn an_honest_provider_signs_a_person_in_once_for_each_code() {
    let op = Op::start();
    op.person(Person::new("bob").subject("7").groups(&["staff"]));
    let back = authorize(&op, "bob");
    assert!(back.starts_with(&format!("{BACK}?")), "{back}");
    assert_eq!(parameter(&back, "state").as_deref(), Some("st"));
    assert_eq!(parameter(&back, "iss").as_deref(), Some(op.issuer()));
    let code = parameter(&back, "code").unwrap();
    let answer = redeem(&op, &code, VERIFIER).expect(200).json();
    let claims = claims_of(answer["id_token"].as_str().unwrap());
    assert_eq!(claims["sub"], "7");
    assert_eq!(claims["nonce"], "no");
    assert_eq!(claims["groups"], json!(["staff"]));
    assert_eq!(claims["sid"], op.sids("bob")[0].as_str());
    assert_eq!(redeem(&op, &code, VERIFIER).expect(400).json()["error"], "invalid_grant");
    let exchanged = op.exchanged();
    assert_eq!(exchanged[0].auth, ClientAuth::Post);
    assert_eq!((exchanged[0].error, exchanged[1].error), (None, Some("invalid_grant")));

    let token = answer["access_token"].as_str().unwrap();
    let ask = Request::get(&op.url(Endpoint::UserInfo));
    let client = Client::plain(op.address());
    let shown = client.send(&ask.clone().header("Authorization", format!("Bearer {token}")));
    assert_eq!(shown.expect(200).json()["email"], "bob@example.test");
    let _ = client.send(&ask).expect(401);

    let code = parameter(&authorize(&op, "bob"), "code").unwrap();
    assert_eq!(redeem(&op, &code, "another").expect(400).json()["error"], "invalid_grant");
}

#[test]
fn a_refresh_asks_the_person_anew() {
    let op = Op::start();
    let first = op.tokens_for("bob");
    op.person(Person::new("bob").groups(&["editors"]));
    let refresh = |token: &str| {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", op.client_id()),
            ("client_secret", op.client_secret()),
        ];
        let request = Request::new("POST", &op.url(Endpoint::Token)).form(&form);
        Client::plain(op.address()).send(&request)
    };
    let token = first["refresh_token"].as_str().unwrap();
    let second = refresh(token).expect(200).json();
    let claims = claims_of(second["id_token"].as_str().unwrap());
    assert_eq!(claims["groups"], json!(["editors"]));
    let _ = refresh(token).expect(400);
    op.refuse_refresh("bob");
    let _ = refresh(second["refresh_token"].as_str().unwrap()).expect(400);
    assert_eq!(op.refreshes(), 3);
}

#[test]
fn every_mutant_differs_from_the_honest_answers() {
    // What a browser and a client get to see of a sign-in, without what differs every time.
    let seen = |mutant: Mutant| {
        let op = Op::mutated(mutant);
        let client = Client::plain(op.address());
        let get = |endpoint| client.send(&Request::get(&op.url(endpoint)));
        let back = authorize(&op, "ann");
        let names: Vec<String> =
            parameters(back.split_once('?').unwrap().1).into_iter().map(|(name, _)| name).collect();
        let code = parameter(&back, "code").unwrap_or_default();
        let answer = redeem(&op, &code, VERIFIER);
        let strip = |text: String| text.replace(op.base_url(), "http://op");
        let tokens: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let id_token = tokens["id_token"].as_str().unwrap_or_default().to_owned();
        let access = tokens["access_token"].as_str().unwrap_or_default();
        let info = Request::get(&op.url(Endpoint::UserInfo))
            .header("Authorization", format!("Bearer {access}"));
        let shape = match id_token.split('.').count() {
            3 if serde_json::from_str::<Value>(&tokens.to_string()).is_ok() => {
                let safe =
                    std::panic::catch_unwind(|| (header_of(&id_token), claims_of(&id_token)));
                let Ok((header, mut claims)) = safe else { return vec!["odd".to_owned()] };
                if claims.is_object() {
                    for moving in ["iat", "auth_time", "sid", "at_hash"] {
                        let kind = match &claims[moving] {
                            Value::Null => "none".to_owned(),
                            Value::Number(n) => {
                                let off = n.as_i64().unwrap_or(0) - now();
                                format!("{}", (off as f64 / 20.0).round())
                            }
                            Value::String(text) if moving == "at_hash" => {
                                format!("{}", *text == b64(&sha256(access.as_bytes())[..16]))
                            }
                            Value::String(_) => "text".to_owned(),
                            other => other.to_string(),
                        };
                        claims[moving] = kind.into();
                    }
                    if let Some(exp) = claims["exp"].as_i64() {
                        claims["exp"] = ((exp - now()) / 20).into();
                    }
                }
                format!("{header} {claims} {}", id_token.rsplit('.').next().unwrap().len())
            }
            parts => format!("{parts} parts"),
        };
        vec![
            strip(get(Endpoint::Discovery).text()),
            strip(get(Endpoint::Jwks).text()),
            names.join(","),
            (parameter(&back, "state").as_deref() == Some("st")).to_string(),
            (parameter(&back, "iss").as_deref() == Some(op.issuer())).to_string(),
            answer.status.to_string(),
            tokens
                .as_object()
                .map(|all| all.keys().cloned().collect::<Vec<_>>().join(","))
                .unwrap_or_default(),
            tokens["token_type"].to_string(),
            strip(shape),
            strip(client.send(&info).text()),
        ]
    };
    let honest = seen(Mutant::Untouched);
    assert_eq!(seen(Mutant::Untouched), honest, "the comparison sees only what matters");
    // A wrong signature of the right length, a swapped pair, a rotation without a cache: what
    // this comparison cannot see.
    let unseen =
        [Mutant::Untouched, Mutant::SigRs256Wrong, Mutant::SigOfStranger, Mutant::CodeUnknown];
    for mutant in Mutant::at_sign_in().filter(|mutant| !unseen.contains(mutant)) {
        assert_ne!(seen(mutant), honest, "{}", mutant.name());
    }
}

#[test]
fn faults_hold_for_their_endpoint_until_it_is_healed() {
    let op = Op::start();
    let client = Client::plain(op.address());
    let ask = || client.try_send(&Request::get(&op.url(Endpoint::Jwks)));
    op.fault(Endpoint::Jwks, Some(OpFault::Down));
    assert!(ask().is_err());
    op.fault(Endpoint::Jwks, Some(OpFault::TooLarge));
    let padded = ask().unwrap();
    assert!(padded.body.len() > 1 << 20 && padded.json()["keys"].is_array());
    op.fault(Endpoint::Jwks, Some(OpFault::Status(429)));
    assert_eq!(ask().unwrap().status, 429);
    op.fault(Endpoint::Jwks, None);
    assert_eq!(ask().unwrap().json()["keys"][0]["kid"], "key-0");
    assert_eq!(op.hits(Endpoint::Jwks), 4);
}
