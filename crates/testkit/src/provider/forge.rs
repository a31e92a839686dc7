//! What each [`Mutant`] changes, step by step. Everything that no arm names is left as an honest
//! provider would say it, so that a refusal can have one cause only.

use serde_json::{Map, Value, json};

use super::{ClaimsIn, Endpoint, Grant, ID_TOKEN_LIFETIME, Keys, Mutant, Person, Shared, State};
use crate::jose::{Key, b64, hs256, random_text, sha256, unsigned};
use crate::service::{Reply, now};

/// What no issuer of a test is called.
const STRANGER: &str = "https://stranger.example.net";

pub(super) fn discovery(mutant: Mutant, document: &mut Value) {
    let issuer = document["issuer"].as_str().unwrap_or_default().to_owned();
    let mut without = |name: &str| {
        document.as_object_mut().unwrap().remove(name);
    };
    match mutant {
        Mutant::DiscoveryArray => *document = json!([document.clone()]),
        Mutant::DiscoveryIssuerMismatch => document["issuer"] = STRANGER.into(),
        Mutant::DiscoveryIssuerMissing => without("issuer"),
        Mutant::DiscoveryIssuerOtherCase => {
            document["issuer"] = issuer.replace("http:", "HTTP:").into();
        }
        Mutant::DiscoveryIssuerSlash => document["issuer"] = format!("{issuer}/").into(),
        Mutant::DiscoveryNoAuthorize => without("authorization_endpoint"),
        Mutant::DiscoveryNoJwks => without("jwks_uri"),
        Mutant::DiscoveryNoToken => without("token_endpoint"),
        Mutant::DiscoveryNoUserInfo => without("userinfo_endpoint"),
        Mutant::DiscoveryScript => {
            document["authorization_endpoint"] = "javascript:alert(document.domain)//".into();
        }
        Mutant::IssParameterUnadvertised | Mutant::IssParameterWrongUnadvertised => {
            without("authorization_response_iss_parameter_supported");
        }
        _ => {}
    }
}

/// What goes back through the browser.
pub(super) fn callback(
    state: &mut State,
    redirect_uri: &str,
    pairs: &mut Vec<(&'static str, String)>,
) {
    let mut set = |name: &'static str, value: Option<String>| {
        pairs.retain(|(found, _)| *found != name);
        pairs.extend(value.map(|value| (name, value)));
    };
    match state.mutant {
        Mutant::CodeInjected | Mutant::CodeSwapped => {
            let victim = state.grant(
                "victim",
                Some("nonce-of-the-victim".to_owned()),
                Some(b64(&sha256(b"verifier-of-the-victim"))),
                redirect_uri,
                "openid",
            );
            let code = random_text();
            state.codes.insert(code.clone(), victim);
            set("code", Some(code));
        }
        Mutant::CodeMissing => set("code", None),
        Mutant::CodeUnknown => set("code", Some(random_text())),
        Mutant::ErrorServer => {
            set("code", None);
            set("error", Some("server_error".to_owned()));
        }
        Mutant::ErrorUnauthorizedClient => {
            set("code", None);
            set("error", Some("unauthorized_client".to_owned()));
        }
        Mutant::ErrorUnheardOf => {
            set("code", None);
            set("error", Some("<b>no\r\nsuch error</b>".to_owned()));
        }
        Mutant::ImplicitInQuery => {
            set("code", None);
            set("access_token", Some(random_text()));
            let claims = json!({ "sub": "sub-of-ann", "exp": now() + 300, "iat": now() });
            set("id_token", Some(state.key.jwt(&claims)));
        }
        Mutant::IssParameterMissing | Mutant::IssParameterUnadvertised => set("iss", None),
        Mutant::IssParameterWrong | Mutant::IssParameterWrongUnadvertised => {
            set("iss", Some(STRANGER.to_owned()));
        }
        Mutant::StateMissing => set("state", None),
        Mutant::StateWrong => set("state", Some(random_text())),
        Mutant::CodeRepeated => again(pairs, "code"),
        Mutant::IssParameterRepeated => again(pairs, "iss"),
        Mutant::StateRepeated => again(pairs, "state"),
        Mutant::StateLonger => {
            for (_, value) in pairs.iter_mut().filter(|(name, _)| *name == "state") {
                value.push('A');
            }
        }
        _ => {}
    }
}

fn again(pairs: &mut Vec<(&'static str, String)>, name: &str) {
    let same: Vec<_> = pairs.iter().filter(|(found, _)| *found == name).cloned().collect();
    pairs.extend(same);
}

/// The token endpoint's answer to a good code or refresh token.
pub(super) fn token_endpoint(mutant: Mutant, is_refresh: bool, mut answer: Value) -> Reply {
    let mut without = |name: &str| {
        answer.as_object_mut().unwrap().remove(name);
    };
    match mutant {
        Mutant::IdTokenEmpty => answer["id_token"] = "".into(),
        Mutant::IdTokenNumber => answer["id_token"] = 7.into(),
        Mutant::RefreshDown if is_refresh => return Reply::Close,
        Mutant::RefreshError if is_refresh => {
            return Reply::json_text(500, r#"{"error":"server_error"}"#);
        }
        Mutant::TokenArray => answer = json!([answer]),
        Mutant::TokenEmpty => return Reply::json_text(200, ""),
        Mutant::TokenErrorIn200 => answer = json!({ "error": "invalid_grant" }),
        Mutant::TokenHtml => return Reply::page(200, "Welcome"),
        Mutant::TokenInvalidClient => {
            return Reply::json_text(401, r#"{"error":"invalid_client"}"#)
                .and("WWW-Authenticate", "Basic realm=\"op\"");
        }
        Mutant::TokenInvalidGrant => {
            return Reply::json_text(400, r#"{"error":"invalid_grant"}"#);
        }
        Mutant::TokenNoAccessToken => without("access_token"),
        Mutant::TokenNoIdToken => without("id_token"),
        Mutant::TokenTypeLowerCase => answer["token_type"] = "bearer".into(),
        Mutant::TokenTypeMac => answer["token_type"] = "mac".into(),
        Mutant::TokenTypeMissing => without("token_type"),
        Mutant::TokenWithoutExpiresIn => without("expires_in"),
        _ => {}
    }
    Reply::json(&answer)
}

/// The ID token for a grant.
pub(super) fn id_token(
    shared: &Shared,
    state: &State,
    grant: &Grant,
    access: &str,
    is_refresh: bool,
) -> String {
    let person = state.person(&grant.person);
    let time = now() + state.clock;
    let mut claims = json!({
        "iss": shared.issuer,
        "sub": person.sub,
        "aud": shared.client_id,
        "exp": time + ID_TOKEN_LIFETIME,
        "iat": time,
        "auth_time": grant.auth_time,
        "sid": grant.sid,
        "at_hash": half_hash(access),
    });
    if let Some(nonce) = &grant.nonce {
        claims["nonce"] = nonce.as_str().into();
    }
    if state.claims_in() != ClaimsIn::UserInfo {
        person.add_to(&mut claims);
    }
    change_claims(state.mutant, is_refresh, shared, &mut claims);
    sign(shared, state, is_refresh, &claims)
}

fn half_hash(text: &str) -> String {
    b64(&sha256(text.as_bytes())[..16])
}

fn change_claims(mutant: Mutant, is_refresh: bool, shared: &Shared, claims: &mut Value) {
    let time = now();
    let us = shared.client_id.as_str();
    let mut set = |name: &str, value: Value| claims[name] = value;
    match mutant {
        Mutant::AtHashWrong => set("at_hash", half_hash("another token").into()),
        Mutant::AudArrayOfUs => set("aud", json!([us])),
        Mutant::AudArrayWithoutUs => set("aud", json!(["another-client", "a-third"])),
        Mutant::AudEmptyArray => set("aud", json!([])),
        Mutant::AudNumber => set("aud", 7.into()),
        Mutant::AudSeveralWithoutAzp => set("aud", json!([us, "another-client"])),
        Mutant::AudWrong => set("aud", "another-client".into()),
        Mutant::AzpWrong => {
            set("aud", json!([us, "another-client"]));
            set("azp", "another-client".into());
        }
        Mutant::AzpWrongSingle => set("azp", "another-client".into()),
        Mutant::CHashWrong => set("c_hash", half_hash("another code").into()),
        Mutant::ExpArray => set("exp", json!([time + 300])),
        Mutant::ExpFloat => set("exp", json!(time as f64 + 300.5)),
        Mutant::ExpHuge => set("exp", json!(1e300)),
        Mutant::ExpNegative => set("exp", json!(-1)),
        Mutant::ExpNull => set("exp", Value::Null),
        Mutant::ExpPast => set("exp", json!(time - 300)),
        Mutant::ExpString => set("exp", (time + 300).to_string().into()),
        Mutant::ExpTrue => set("exp", true.into()),
        Mutant::IatFuture => set("iat", json!(time + 600)),
        Mutant::IatString => set("iat", time.to_string().into()),
        Mutant::IdTokenOfAnother | Mutant::IssWrong => set("iss", STRANGER.into()),
        Mutant::IssArray => set("iss", json!([shared.issuer])),
        Mutant::IssNumber => set("iss", 7.into()),
        Mutant::IssSlash => set("iss", format!("{}/", shared.issuer).into()),
        Mutant::NbfFuture => set("nbf", json!(time + 600)),
        Mutant::NbfString => set("nbf", time.to_string().into()),
        Mutant::NonceEmpty => set("nonce", "".into()),
        Mutant::NonceNumber => set("nonce", 7.into()),
        Mutant::NonceWrong => set("nonce", random_text().into()),
        Mutant::RefreshInvalidAud if is_refresh => set("aud", "another-client".into()),
        Mutant::RefreshInvalidIssuer if is_refresh => set("iss", STRANGER.into()),
        Mutant::RefreshInvalidSub if is_refresh => set("sub", "sub-of-somebody-else".into()),
        Mutant::SubArray => set("sub", json!(["sub-of-ann"])),
        Mutant::SubControl => set("sub", "sub\n\u{1b}[31mof-ann".into()),
        Mutant::SubEmpty => set("sub", "".into()),
        Mutant::SubNull => set("sub", Value::Null),
        Mutant::SubNumber => set("sub", 7.into()),
        _ => {}
    }
    let gone = match mutant {
        Mutant::AtHashMissing => "at_hash",
        Mutant::AudMissing => "aud",
        Mutant::ExpMissing => "exp",
        Mutant::IatMissing => "iat",
        Mutant::IssMissing => "iss",
        Mutant::NonceMissing => "nonce",
        Mutant::SubMissing => "sub",
        _ => return,
    };
    claims.as_object_mut().unwrap().remove(gone);
}

/// Header and signature, or what stands in their place.
fn sign(shared: &Shared, state: &State, is_refresh: bool, claims: &Value) -> String {
    let (mut key, stranger) = (state.key.clone(), &state.others.stranger);
    let mut header = Map::new();
    header.insert("alg".to_owned(), key.alg().into());
    header.insert("kid".to_owned(), key.kid.clone().into());
    let mut put = |name: &str, value: Value| {
        header.insert(name.to_owned(), value);
    };
    let trap = || Value::from(shared.url(Endpoint::Trap));
    match state.mutant {
        Mutant::AlgUnknown => put("alg", "XX999".into()),
        Mutant::CritHeader => {
            put("crit", json!(["x-unheard-of"]));
            put("x-unheard-of", true.into());
        }
        Mutant::IdTokenOfAnother | Mutant::SigOfStranger => key = stranger.clone(),
        Mutant::JkuHeader => {
            key = stranger.clone();
            put("jku", trap());
            put("kid", key.kid.clone().into());
        }
        Mutant::JwkHeader => {
            key = stranger.clone();
            put("jwk", key.jwk());
            put("kid", key.kid.clone().into());
        }
        Mutant::KidNumber => put("kid", 7.into()),
        Mutant::KidPath => {
            key = stranger.clone();
            put("kid", "../../../../dev/null' OR '1'='1".into());
        }
        Mutant::KidUnknown => {
            key = stranger.clone();
            put("kid", key.kid.clone().into());
        }
        Mutant::Rs256WithEcKey => {
            key = stranger.clone();
            put("kid", state.others.ec.kid.clone().into());
        }
        Mutant::TypAccessToken => put("typ", "at+jwt".into()),
        Mutant::TypJwt => put("typ", "JWT".into()),
        Mutant::TypLogoutToken => put("typ", "logout+jwt".into()),
        Mutant::X5uHeader => {
            key = stranger.clone();
            put("x5u", trap());
            put("kid", key.kid.clone().into());
        }
        Mutant::ZipHeader => put("zip", "DEF".into()),
        _ => {}
    }
    let gone = match state.mutant {
        Mutant::AlgMissing => "alg",
        Mutant::KidAbsentMultipleJwks | Mutant::KidAbsentOneFits | Mutant::KidAbsentSingleJwks => {
            "kid"
        }
        _ => "",
    };
    header.remove(gone);
    let payload = claims.to_string();
    odd_form(shared, state, is_refresh, header.clone(), &payload)
        .unwrap_or_else(|| key.jwt_of(&Value::Object(header).to_string(), payload.as_bytes()))
}

/// Tokens that are no plain signature of header and payload by a key.
fn odd_form(
    shared: &Shared,
    state: &State,
    is_refresh: bool,
    mut header: Map<String, Value>,
    payload: &str,
) -> Option<String> {
    let key = &state.key;
    let honest = key.jwt_of(&Value::Object(header.clone()).to_string(), payload.as_bytes());
    let (message, signature) = honest.rsplit_once('.')?;
    let mut with_alg = |alg: &str| {
        header.insert("alg".to_owned(), alg.into());
        unsigned(&Value::Object(header.clone()).to_string(), payload.as_bytes())
    };
    let hmac = |message: String, secret: &[u8]| {
        let tag = b64(&hs256(secret, message.as_bytes()));
        format!("{message}.{tag}")
    };
    Some(match state.mutant {
        Mutant::Es256Zero => format!("{message}.{}", b64(&[0; 64])),
        Mutant::HeaderArray => key.jwt_of(r#"[{"alg":"RS256"}]"#, payload.as_bytes()),
        Mutant::HeaderRepeatedAlg => {
            let header = format!(r#"{{"alg":"RS256","kid":"{}","alg":"none"}}"#, key.kid);
            format!("{}.", unsigned(&header, payload.as_bytes()))
        }
        Mutant::Hs256ClientSecret => {
            hmac(with_alg("HS256"), shared.client_secret.as_deref().unwrap_or_default().as_bytes())
        }
        Mutant::Hs256PublicKey => hmac(with_alg("HS256"), key.public_pem().as_bytes()),
        Mutant::IdTokenSigNone => format!("{}.", with_alg("none")),
        Mutant::IdTokenSigNoneCased => format!("{}.", with_alg("nOnE")),
        Mutant::Jwe => format!("{honest}.{}.{}", random_text(), random_text()),
        Mutant::JwksOct => hmac(with_alg("HS256"), OCT_SECRET),
        Mutant::PayloadArray => with_payload(key, format!("[{payload}]").as_bytes()),
        Mutant::PayloadNoJson => with_payload(key, b"sub=ann&iss=op"),
        Mutant::PayloadRepeatedSub => {
            let open = payload.strip_suffix('}')?;
            with_payload(key, format!(r#"{open},"sub":"sub-of-somebody-else"}}"#).as_bytes())
        }
        Mutant::RefreshSigNone if is_refresh => format!("{}.", with_alg("none")),
        Mutant::SigEmpty => format!("{message}."),
        Mutant::SigEs256Wrong | Mutant::SigRs256Wrong => {
            format!("{message}.{}", flipped(signature))
        }
        Mutant::SigShort => format!("{message}.{}", &signature[..signature.len() - 4]),
        Mutant::TwoParts => message.to_owned(),
        _ => return None,
    })
}

fn with_payload(key: &Key, payload: &[u8]) -> String {
    key.jwt_of(&json!({ "alg": key.alg(), "kid": key.kid }).to_string(), payload)
}

/// Another letter in the middle, where every bit counts.
fn flipped(signature: &str) -> String {
    let (head, tail) = signature.split_at(signature.len() / 2);
    let other = if tail.starts_with('A') { 'B' } else { 'A' };
    format!("{head}{other}{}", &tail[1..])
}

/// The secret of the symmetric key that a key set must not hold.
const OCT_SECRET: &[u8] = b"a symmetric key in a public place";

/// Another signing key, and the set that is published with it.
pub(super) fn keys(mutant: Mutant, key: &Key, others: &Keys) -> Option<(Key, Vec<Value>)> {
    let ours = key.jwk();
    let with = |name: &str, value: Value| {
        let mut jwk = ours.clone();
        jwk[name] = value;
        vec![jwk]
    };
    let published = match mutant {
        Mutant::Es256Zero | Mutant::IdTokenSigEs256 | Mutant::SigEs256Wrong => {
            return Some((others.ec.clone(), vec![ours, others.ec.jwk()]));
        }
        Mutant::JwksBadNeighbour => vec![
            json!({ "kty": "FROM-THE-FUTURE", "kid": "f", "use": "sig", "q": [1, 2] }),
            json!({ "kty": "RSA", "kid": "broken", "use": "sig", "n": "!!", "e": "AQAB" }),
            ours,
        ],
        Mutant::JwksEmpty => Vec::new(),
        Mutant::JwksForEncryption => with("use", "enc".into()),
        Mutant::JwksOct => vec![
            json!({ "kty": "oct", "kid": key.kid, "alg": "HS256", "use": "sig", "k": b64(OCT_SECRET) }),
        ],
        Mutant::JwksOtherAlg => with("alg", "RS512".into()),
        Mutant::JwksPrivate => with("d", b64(&[7; 256]).into()),
        Mutant::JwksShortRsa => {
            let short = Key::short_rsa("key-short");
            let jwk = short.jwk();
            return Some((short, vec![jwk]));
        }
        Mutant::JwksThousandKeys => {
            let mut all: Vec<Value> = (0..999)
                .map(|nth| {
                    let mut jwk = others.second.jwk();
                    jwk["kid"] = format!("old-{nth}").into();
                    jwk
                })
                .collect();
            all.push(ours);
            all
        }
        Mutant::KidAbsentMultipleJwks => vec![others.second.jwk(), ours],
        Mutant::KidAbsentOneFits | Mutant::Rs256WithEcKey => vec![others.ec.jwk(), ours],
        _ => return None,
    };
    Some((key.clone(), published))
}

pub(super) fn key_set(state: &State) -> Reply {
    match state.mutant {
        Mutant::JwksArray => Reply::json(&json!(state.published)),
        Mutant::JwksHtml => Reply::page(200, "Keys"),
        _ => Reply::json(&json!({ "keys": state.published })),
    }
}

/// The stranger's keys: whoever follows a token's header finds what would verify it.
pub(super) fn trap(state: &State) -> Reply {
    Reply::json(&json!({ "keys": [state.others.stranger.jwk()] }))
}

pub(super) fn person(mutant: Mutant, person: Person) -> Person {
    match mutant {
        Mutant::EmailEmpty => person.claim("email", ""),
        Mutant::EmailMissing => person.without("email").without("email_verified"),
        Mutant::EmailNumber => person.claim("email", 7),
        _ => person,
    }
}

pub(super) fn user_info(state: &State, mut claims: Value) -> Reply {
    // At a sign-in the refresh's mutants are honest; they show once a refresh was asked for.
    let refreshed = state.exchanged.iter().any(|e| e.get("grant_type") == Some("refresh_token"));
    match state.mutant {
        Mutant::UserInfoArray => claims = json!([claims]),
        Mutant::UserInfoHtml => return Reply::page(200, "Profile"),
        Mutant::UserInfoInvalidSub => claims["sub"] = "sub-of-somebody-else".into(),
        Mutant::RefreshUserInfoInvalidSub if refreshed => {
            claims["sub"] = "sub-of-somebody-else".into();
        }
        Mutant::UserInfoJwtNone => {
            let token =
                format!("{}.", unsigned(r#"{"alg":"none"}"#, claims.to_string().as_bytes()));
            return Reply::with(200, &[("Content-Type", "application/jwt")], token);
        }
        Mutant::UserInfoMissingSub => {
            claims.as_object_mut().unwrap().remove("sub");
        }
        Mutant::UserInfoRepeatedSub => {
            let text = claims.to_string();
            let open = text.strip_suffix('}').unwrap();
            return Reply::json_text(200, format!(r#"{open},"sub":"sub-of-somebody-else"}}"#));
        }
        Mutant::UserInfoUnauthorized => {
            return Reply::json_text(401, r#"{"error":"invalid_token"}"#)
                .and("WWW-Authenticate", "Bearer error=\"invalid_token\"");
        }
        _ => {}
    }
    Reply::json(&claims)
}
