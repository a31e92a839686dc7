//! What counts as a credential of ours, by form alone.

use base64::Engine as _;
use vestibule_authn::authenticate::{Presented, Takes};

use crate::house::*;

#[tokio::test]
async fn b5_j4_ten_thousand_mangled_cookies_are_nothing_and_cost_no_look_up() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let bob = house.account("bob@example.com").await;
    let token = house.session(&ann).await.token;
    let other = house.session(&bob).await.token;
    let before = house.store.lookups();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for round in 0..10_000 {
        let mut bytes = token.clone().into_bytes();
        match round % 7 {
            0 => bytes.truncate(next(token.len())),
            1 => {
                let at = next(bytes.len());
                bytes[at] ^= 1 << next(8);
            }
            2 => bytes.extend(std::iter::repeat_n(b'A' + next(26) as u8, 1 + next(4000))),
            3 => {
                // Another person's tag behind this person's id.
                bytes.splice(43.., other.bytes().skip(43));
                bytes[43] = other.as_bytes()[43];
            }
            4 => {
                let at = next(bytes.len());
                bytes[at] = b"+/=\"%,. \t"[next(9)];
            }
            5 => bytes = (0..token.len()).map(|_| next(256) as u8).collect(),
            _ => {
                let (a, b) = (next(bytes.len()), next(bytes.len()));
                bytes.swap(a, b);
            }
        }
        // A mutation that changes nothing, or that `;` cuts back to the token, is no mutation.
        let value = bytes.split(|b| *b == b';').next().unwrap();
        if value.trim_ascii() == token.as_bytes() {
            continue;
        }
        let field = [b"__Host-vestibule=", bytes.as_slice()].concat();
        let headers = vestibule_authn::authenticate::CredentialHeaders {
            cookies: &[&field],
            ..Default::default()
        };
        let reading = house.authn.read(&headers, Takes::default());
        assert_eq!(reading.presented, Presented::Nothing, "{:?}", String::from_utf8_lossy(&field));
        assert!(reading.has_own_cookies);
        let asked = house.authn.authenticate_cached(
            &reading,
            vestibule_authn::authenticate::Audience::Portal,
            CLIENT,
            NOW,
        );
        assert!(asked.is_some_and(|outcome| is_nobody(&outcome)));
    }
    assert_eq!(house.store.lookups(), before);
}

#[tokio::test]
async fn seed_000_04_one_flipped_bit_of_the_cookie_is_no_session_and_no_look_up() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    assert!(is_identified(&house.ask(&cookie(&token), NOW).await));
    let before = house.store.lookups();
    for at in 0..token.len() {
        let mut bent = token.clone().into_bytes();
        bent[at] ^= 1;
        let bent = String::from_utf8(bent).unwrap();
        assert!(is_nobody(&house.ask(&cookie(&bent), NOW).await), "byte {at}");
    }
    assert_eq!(house.store.lookups(), before);
}

#[tokio::test]
async fn f7_only_the_configured_cookie_name_counts() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let bob = house.account("bob@example.com").await;
    let (mine, tossed) = (house.session(&ann).await.token, house.session(&bob).await.token);
    for name in ["vestibule", "__Secure-vestibule", "__host-vestibule", "\u{2000}__Host-vestibule"]
    {
        let reading = house.read(&cookies(&format!("{name}={tossed}")));
        assert!(is_nothing(&reading), "{name}");
        let both = cookies(&format!("{name}={tossed}; __Host-vestibule={mine}"));
        assert_eq!(who(&house.ask(&both, NOW).await).account, Some(ann.id), "{name}");
    }
    let quoted = cookies(&format!("a=\"x; __Host-vestibule={mine}; b=\""));
    assert_eq!(who(&house.ask(&quoted, NOW).await).account, Some(ann.id));
}

#[tokio::test]
async fn two_different_values_of_one_session_name_are_none_and_the_same_twice_is_one() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (one, two) = (house.session(&ann).await.token, house.session(&ann).await.token);
    let torn = cookies(&format!("__Host-vestibule={one}; __Host-vestibule={two}"));
    let reading = house.read(&torn);
    assert!(is_nothing(&reading) && reading.has_own_cookies);
    let mangled = cookies(&format!("__Host-vestibule={one}; __Host-vestibule=x"));
    assert!(is_nothing(&house.read(&mangled)));
    let apart = Request {
        cookies: vec![format!("__Host-vestibule={one}"), format!("a=1; __Host-vestibule={two}")],
        ..Request::default()
    };
    assert!(is_nothing(&house.read(&apart)));
    let same = cookies(&format!("__Host-vestibule={one}; __Host-vestibule={one}"));
    assert!(is_identified(&house.ask(&same, NOW).await));
}

#[tokio::test]
async fn g12_bearer_is_one_space_and_a_token68_and_its_scheme_has_any_case() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (_, key) = house.key(&ann).await;
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let outcome = house.ask(&authorization(&format!("{scheme} {key}")), NOW).await;
        assert!(is_identified(&outcome), "{scheme}");
    }
    let access = house.tokens(&ann).await.access_token;
    for ours in [&key, &access] {
        for odd in [
            format!("Bearer\t{ours}"),
            format!("Bearer  {ours}"),
            format!("Bearer \t{ours}"),
            format!("Bearer,{ours}"),
            format!("Bearer {ours},"),
            format!("Bearer {ours}, x"),
            format!("Bearer {ours} x"),
            format!("Bearer \"{ours}\""),
        ] {
            let request = authorization(&odd);
            let reading = house.read(&request);
            assert_eq!(reading.presented, Presented::Bad, "{odd}");
            assert!(reading.authorization_is_ours, "{odd}");
            assert!(is_rejected(&house.ask(&request, NOW).await), "{odd}");
        }
    }
}

#[tokio::test]
async fn what_is_not_ours_by_form_belongs_to_the_app() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    let foreign = forge(&serde_json::json!({"iss": "https://ci.example.com", "sub": "x"}));
    for value in [
        "Bearer abc",
        "Bearer",
        "Bearer ",
        "Bearer\tabc",
        "Digest username=\"ann\"",
        "Basic YW5uOnB3",
        "sk_live_1",
        "vst_",
        &format!("Bearer {foreign}"),
        "Bearer a.b.c",
        "Bearer eyJ.eyJ.x",
        "",
    ] {
        let mut request = cookie(&token);
        request.authorization = Some(value.to_owned());
        let reading = house.read(&request);
        assert!(!reading.authorization_is_ours, "{value}");
        assert!(matches!(reading.presented, Presented::Session(_)), "{value}");
    }
    for value in ["", "abc", "sk_live_1", "vs_1", "vst", "avst_1"] {
        let reading = house.read(&api_key(value));
        assert!(!reading.api_key_is_ours && is_nothing(&reading), "{value}");
    }
}

#[tokio::test]
async fn a_prefix_followed_by_anything_is_ours_and_bad_whatever_else_is_shown() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    let before = house.store.lookups();
    for text in [
        "vst_",
        "vst_short",
        &format!("vst_{}", "a".repeat(43)),
        &format!("vst_{}", "x".repeat(5000)),
    ] {
        for mut request in [api_key(text), bearer(text)] {
            request.cookies = vec![format!("__Host-vestibule={token}")];
            assert_eq!(house.read(&request).presented, Presented::Bad, "{text}");
            assert!(is_rejected(&house.ask(&request, NOW).await), "{text}");
        }
    }
    assert_eq!(house.store.lookups(), before, "a forged key costs no look-up");
}

#[tokio::test]
async fn x_api_key_decides_before_authorization_and_both_are_told_as_ours() {
    let house = House::new().await;
    let (ann, bob) =
        (house.account("ann@example.com").await, house.account("bob@example.com").await);
    let ((_, hers), (_, his)) = (house.key(&ann).await, house.key(&bob).await);
    let both = Request { x_api_key: Some(hers), ..bearer(&his) };
    let reading = house.read(&both);
    assert!(reading.authorization_is_ours && reading.api_key_is_ours);
    assert_eq!(who(&house.ask(&both, NOW).await).account, Some(ann.id));
    let apps = Request { x_api_key: Some("apps-own".to_owned()), ..bearer(&his) };
    assert_eq!(who(&house.ask(&apps, NOW).await).account, Some(bob.id));
}

#[tokio::test]
async fn basic_is_ours_only_where_a_rule_names_it_and_its_password_is_a_key() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (record, key) = house.key(&ann).await;
    let basic = |user: &str, password: &str| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        authorization(&format!("Basic {pair}"))
    };
    let mut request = basic("whoever", &key);
    assert!(!house.read(&request).authorization_is_ours);
    request.takes_basic = true;
    let identity = who(&house.ask(&request, NOW).await);
    assert_eq!(identity.key, Some(record.id));
    assert_eq!(identity.credential, vestibule_core::credential::CredentialKind::Basic);
    // The same key as a bearer is another kind of credential, also from a warm cache.
    let as_bearer = who(&house.ask(&bearer(&key), NOW).await);
    assert_eq!(as_bearer.credential, vestibule_core::credential::CredentialKind::ApiKey);
    for bad in
        [basic("ann", PASSWORD), basic("", ""), authorization("Basic !!!"), authorization("Basic")]
    {
        let bad = Request { takes_basic: true, ..bad };
        assert!(is_rejected(&house.ask(&bad, NOW).await), "{bad:?}");
    }
}

#[tokio::test]
async fn keys_of_an_old_prefix_stay_ours_after_the_prefix_changes() {
    let house = House::with(|s| s.api_keys.prefix = "old".into()).await;
    let ann = house.account("ann@example.com").await;
    let (record, key) = house.key(&ann).await;
    let mut settings = settings();
    settings.api_keys.prefix = "new".into();
    house.authn.reload(settings.clone().into());
    assert_eq!(who(&house.ask(&bearer(&key), NOW).await).key, Some(record.id));
    let restarted = House::over(house.store.clone(), |s| s.api_keys.prefix = "new".into()).await;
    assert_eq!(who(&restarted.ask(&bearer(&key), NOW).await).key, Some(record.id));
    assert!(house.read(&bearer("old_anything")).authorization_is_ours);
}

#[tokio::test]
async fn a_reading_shows_no_secret_when_it_is_printed() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (_, key) = house.key(&ann).await;
    let shown = format!("{:?}", house.read(&bearer(&key)));
    assert!(!shown.contains(&key[4..]), "{shown}");
}

/// A JWT with these claims, signed with a key that nobody has.
pub(crate) fn forge(claims: &serde_json::Value) -> String {
    let header = jsonwebtoken::Header {
        typ: Some("at+jwt".to_owned()),
        ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
    };
    let key = jsonwebtoken::EncodingKey::from_secret(b"nobody has this key, really nobody");
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}
