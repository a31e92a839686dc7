//! Providers that deviate in one way each: every claim and every step of the protocol. All of
//! them stand side by side in one gateway, so that nothing one of them says can hide another.

use std::collections::BTreeSet;

use vestibule_testkit::provider::{Endpoint, Mutant, Op, OpFault, Outcome, Stage};
use vestibule_testkit::{Gateway, Recorder, Request, parameter};

use super::{
    AUTH, WIKI, addresses, failures, has_session, let_in, me, open_to, refused, token_requests,
    visitor, wiki_answer, with_query,
};

/// A mutant's provider; its id is the mutant's name.
struct Stand {
    mutant: Mutant,
    op: Op,
}

fn stands(mutants: impl Iterator<Item = Mutant>) -> Vec<Stand> {
    mutants.map(|mutant| Stand { mutant, op: Op::mutated(mutant) }).collect()
}

fn gateway_of(app: &Recorder, stands: &[Stand]) -> Gateway {
    let pieces: Vec<String> =
        stands.iter().map(|stand| stand.op.toml(stand.mutant.name())).collect();
    open_to(app, &pieces).start()
}

fn with_outcome(outcome: Outcome) -> Vec<Stand> {
    stands(Mutant::at_sign_in().filter(move |mutant| mutant.outcome() == outcome))
}

#[test]
fn g2_g8_x20_x22_every_deviation_of_a_provider_is_refused_for_its_own_reason() {
    let app = Recorder::start();
    let stands = with_outcome(Outcome::Refused);
    assert!(stands.len() > 110, "{}", stands.len());
    let gateway = gateway_of(&app, &stands);
    let mut reasons = BTreeSet::new();
    let mut failed = Vec::new();
    for Stand { mutant, op } in &stands {
        let name = mutant.name();
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut actor = visitor(&gateway, "ann");
            let landing = actor.sign_in_with(name, &format!("{WIKI}/"));
            let reason = refused(&gateway, &actor, &landing, name);
            assert_eq!(op.hits(Endpoint::Trap), 0, "{name}: a token's header was followed");
            if matches!(mutant.stage(), Stage::Callback | Stage::Discovery) {
                assert_eq!(token_requests(op), 0, "{name}: a code was redeemed");
            }
            reason
        }));
        match tried {
            Ok(reason) => {
                let words = named_in_the_reason(*mutant);
                if !words.iter().any(|word| reason.contains(word)) {
                    failed.push(format!("{name}: the reason `{reason}` names none of {words:?}"));
                }
                reasons.insert(reason);
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                let line = text.lines().take(4).collect::<Vec<_>>().join(" | ");
                failed.push(format!("{name}: {line}"));
            }
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), stands.len(), failed.join("\n"));
    assert_eq!(addresses(&gateway), [] as [&str; 0], "an account was made");
    assert_eq!(app.count(), 0, "the app was reached");
    assert!(reasons.len() >= 40, "reasons tell too little apart: {reasons:#?}");
    assert_eq!(failures(&gateway).len(), stands.len(), "one line a failure");
}

/// What the log's reason must name, one of these: whoever reads it knows where to look.
fn named_in_the_reason(mutant: Mutant) -> &'static [&'static str] {
    let name = mutant.name();
    let has = |part: &str| name.split('-').any(|word| word == part);
    match mutant.stage() {
        Stage::Callback if has("state") => &["state"],
        Stage::Callback if has("iss") => &["issuer"],
        Stage::Callback if has("error") => &["authorization"],
        Stage::Callback => &["code"],
        Stage::Claims => &["email"],
        Stage::Code => &["grant", "nonce"],
        Stage::Discovery => &["discovery"],
        Stage::Keys => &["jwks", "key", "kid", "alg"],
        Stage::Token if has("client") => &["invalid_client"],
        Stage::Token if has("grant") => &["invalid_grant"],
        Stage::Token => &["token_endpoint", "id_token"],
        Stage::UserInfo => &["userinfo"],
        Stage::Refresh => &[],
        Stage::IdToken if has("athash") => &["at_hash"],
        Stage::IdToken if has("chash") => &["c_hash"],
        Stage::IdToken if has("azp") => &["azp"],
        Stage::IdToken if has("aud") => &["aud"],
        Stage::IdToken if has("clock") || has("past") || has("future") => {
            &["expired", "future", "not_yet"]
        }
        Stage::IdToken if has("exp") || has("iat") || has("nbf") => &["time", "exp", "iat", "nbf"],
        Stage::IdToken if has("iss") => &["iss"],
        Stage::IdToken if has("nonce") => &["nonce"],
        Stage::IdToken if has("payload") => &["payload"],
        Stage::IdToken if has("sub") => &["sub"],
        Stage::IdToken if has("alg") || has("none") || has("hs256") => &["alg", "header"],
        Stage::IdToken if has("typ") => &["typ"],
        Stage::IdToken if has("sig") => &["signature"],
        Stage::IdToken => &["token"],
    }
}

#[test]
fn g9_repeated_parameters_of_a_callback_are_a_bad_request() {
    let app = Recorder::start();
    let stands = with_outcome(Outcome::BadRequest);
    let gateway = gateway_of(&app, &stands);
    for Stand { mutant, op } in &stands {
        let name = mutant.name();
        let mut actor = visitor(&gateway, "ann");
        let landing = actor.sign_in_with(name, "");
        assert_eq!(landing.response.status, 400, "{name}: {:?}", landing.response);
        assert!(!has_session(&actor), "{name}");
        assert_eq!(token_requests(op), 0, "{name}");
    }
    // By POST nothing comes back (`form_post`), whatever it holds.
    let mut actor = visitor(&gateway, "ann");
    let callback = actor.callback_of("state-repeated", "");
    let (url, query) = callback.split_once('?').unwrap();
    let posted = Request::new("POST", url)
        .navigation()
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(query);
    let answer = actor.send(posted);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(!has_session(&actor));
    assert_eq!(addresses(&gateway), [] as [&str; 0]);
}

#[test]
fn x21_x22_what_an_honest_provider_may_do_is_taken() {
    let app = Recorder::start();
    let stands = with_outcome(Outcome::Accepted);
    let gateway = gateway_of(&app, &stands);
    let mut failed = Vec::new();
    for Stand { mutant, op } in &stands {
        let name = mutant.name();
        let person = format!("{name}-ann");
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Twice: what is remembered of the first must not spoil the second.
            for round in 1..=2 {
                let mut actor = visitor(&gateway, &person);
                let _ = let_in(&mut actor, name, &format!("{WIKI}/"));
                let shown = me(&mut actor);
                assert_eq!(shown["email"], format!("{person}@example.test"), "round {round}");
                assert_eq!(shown["email_verified"], true, "round {round}");
            }
            assert_eq!(token_requests(op), 2);
        }));
        if let Err(panic) = tried {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            failed
                .push(format!("{name}: {}", text.lines().take(4).collect::<Vec<_>>().join(" | ")));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), stands.len(), failed.join("\n"));
}

#[test]
fn g6_a_state_is_good_for_one_browser_one_provider_and_once() {
    let app = Recorder::start();
    let (one, other) = (Op::start(), Op::start());
    let gateway = open_to(&app, &[one.toml("one"), other.toml("other")]).start();
    let travel = |actor: &mut vestibule_testkit::Actor, url: &str| actor.travel(url);

    let mut owner = visitor(&gateway, "ann");
    let callback = owner.callback_of("one", "");

    let mut bare = visitor(&gateway, "eve");
    let landing = travel(&mut bare, &callback);
    let without_cookie = refused(&gateway, &bare, &landing, "a browser without a flow");
    let mut busy = visitor(&gateway, "eve");
    let own = busy.callback_of("one", "");
    let landing = travel(&mut busy, &callback);
    refused(&gateway, &busy, &landing, "a browser with a flow of its own");
    // A foreign code with an own state gives a session of nobody: PKCE and nonce see it, but
    // the provider is asked.
    assert_eq!(token_requests(&one), 0, "another browser's state");

    let mut mixed = visitor(&gateway, "ann");
    let for_one = mixed.callback_of("one", "");
    let at_other = for_one.replace("/callback/one", "/callback/other");
    assert_ne!(for_one, at_other);
    let landing = travel(&mut mixed, &at_other);
    refused(&gateway, &mixed, &landing, "one provider's state at another's callback");
    assert_eq!((token_requests(&one), token_requests(&other)), (0, 0), "mix-up");

    for (query, what) in [
        (format!("code={}", parameter(&own, "code").unwrap()), "no state"),
        ("code=a&state=".to_owned(), "an empty state"),
        ("code=a&state=b".to_owned(), "a state of nobody"),
        (format!("code=a&state={}", "b".repeat(5000)), "a state of 5,000 letters"),
        (format!("state={}", parameter(&own, "state").unwrap()), "no code"),
        (String::new(), "nothing"),
    ] {
        let mut actor = busy.clone();
        let landing = travel(&mut actor, &with_query(&own, &query));
        refused(&gateway, &actor, &landing, what);
    }
    assert_eq!(token_requests(&one), 0, "bad callbacks");

    // The owner's own flow still stands: nobody can spoil it from outside.
    let before = owner.clone();
    let landing = travel(&mut owner, &callback);
    assert_eq!(landing.response.status, 200, "{:?}", landing.visited);
    assert!(has_session(&owner));
    for (mut again, what) in
        [(before, "seed_001_39: the jar from before"), (visitor(&gateway, "x"), "an empty jar")]
    {
        let landing = travel(&mut again, &callback);
        refused(&gateway, &again, &landing, what);
    }
    let cookie = owner.session_cookie(AUTH);
    let again = owner.travel(&callback);
    assert_eq!(again.response.status, 401, "a replay with the new session");
    assert!(!again.response.all("set-cookie").any(super::sets_session), "no other session");
    assert_eq!(owner.session_cookie(AUTH), cookie, "nor is the session there lost");
    assert_eq!(me(&mut owner)["email"], "ann@example.test");
    assert_eq!(token_requests(&one), 1, "a replay");
    assert!(!without_cookie.is_empty());
}

#[test]
fn g6_tabs_side_by_side_each_finish() {
    let app = Recorder::start();
    let (one, other) = (Op::start(), Op::start());
    let gateway = open_to(&app, &[one.toml("one"), other.toml("other")]).start();
    let mut browser = visitor(&gateway, "ann");
    let tabs: Vec<(String, String)> =
        [("one", "/a"), ("other", "/b"), ("one", "/c"), ("one", "/d")]
            .into_iter()
            .map(|(provider, path)| {
                let rd = format!("{WIKI}{path}");
                (browser.callback_of(provider, &rd), rd)
            })
            .collect();
    for (callback, rd) in tabs.into_iter().rev() {
        let landing = browser.travel(&callback);
        assert_eq!((landing.response.status, &landing.url), (200, &rd), "{:?}", landing.visited);
    }
    assert_eq!(wiki_answer(&mut browser).status, 200);
}

#[test]
fn g8_the_same_sub_of_two_providers_is_two_people() {
    let app = Recorder::start();
    let (one, other) = (Op::start(), Op::start());
    let person = |name: &str| {
        vestibule_testkit::provider::Person::new(name).subject("1000").without("preferred_username")
    };
    one.person(person("ann"));
    other.person(person("bob"));
    let gateway = open_to(&app, &[one.toml("one"), other.toml("other")]).start();
    let (mut ann, mut bob) = (visitor(&gateway, "ann"), visitor(&gateway, "bob"));
    let _ = let_in(&mut ann, "one", "");
    let _ = let_in(&mut bob, "other", "");
    let (ann, bob) = (me(&mut ann), me(&mut bob));
    assert_ne!(ann["id"], bob["id"]);
    assert_eq!(
        (&ann["email"], &bob["email"]),
        (&"ann@example.test".into(), &"bob@example.test".into())
    );
    for shown in [ann, bob] {
        assert_ne!(shown["username"], "1000", "seed_004_12: a sub is no user name");
    }
}

#[test]
fn g9_unknown_keys_drive_one_request_in_thirty_seconds() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", "");
    let before = op.hits(Endpoint::Jwks);
    let url = format!("{}/api/v1/auth/backchannel-logout/op", gateway.portal());
    let good = op.logout_token(Some("sub-of-ann"), None);
    let (_, payload) = good.split_once('.').unwrap();
    for nth in 0..2_000 {
        let header = format!(r#"{{"alg":"RS256","kid":"nobody-{nth}","typ":"logout+jwt"}}"#);
        let token = format!("{}.{payload}", vestibule_testkit::jose::b64(header.as_bytes()));
        let request = Request::new("POST", &url).form(&[("logout_token", &token)]);
        let answer = gateway.client().send(&request);
        assert_eq!(answer.status, 400, "{nth}: {answer:?}");
    }
    let asked = op.hits(Endpoint::Jwks) - before;
    assert!(asked <= 2, "{asked} requests for keys");
    assert_eq!(me(&mut ann)["email"], "ann@example.test", "nobody was signed out");
}

#[test]
fn j6_a_program_is_told_the_same_as_a_problem_document() {
    let app = Recorder::start();
    let (bad, down) = (Op::mutated(Mutant::AudWrong), Op::start());
    down.fault(Endpoint::Discovery, Some(OpFault::Down));
    let gateway = open_to(&app, &[bad.toml("bad"), down.toml("down")]).start();
    let mut actor = visitor(&gateway, "ann");
    let callback = actor.callback_of("bad", "");
    let start = format!("{}/api/v1/auth/login/down", gateway.portal());
    for url in [callback, start] {
        let answer = actor.send(Request::get(&url).header("Accept", "application/json"));
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let told = answer.json();
        assert_eq!(told["code"], "PROVIDER_SIGNIN_FAILED");
        assert_eq!(told["title"], "Failed to authenticate");
        assert_eq!(told["request_id"].as_str(), answer.header("x-request-id"));
        assert!(told["login_url"].as_str().is_some_and(|url| url.contains("/login")), "{told}");
        // What was wrong is for the log: neither addresses nor words of the provider.
        for secret in ["127.0.0.1", "audience", "another-client", "discovery"] {
            assert!(!told.to_string().contains(secret), "{secret}: {told}");
        }
    }
}

#[test]
fn g11_nonsense_at_a_callback_is_never_our_fault() {
    let app = Recorder::start();
    let op = Op::start();
    let mut gateway = open_to(&app, &[op.toml("op")]).start();
    let mut actor = visitor(&gateway, "ann");
    let good = actor.callback_of("op", "");
    // Of a flow that nonsense may use up.
    let state = parameter(&actor.callback_of("op", ""), "state").unwrap();
    let pieces = [
        "code",
        "state",
        "iss",
        "error",
        "error_description",
        "=",
        "==",
        "&",
        "&&",
        "%",
        "%00",
        "%0d%0a",
        "%ff",
        "%F0%9F",
        "+",
        "a",
        &state,
        "null",
        "[]",
        "{}",
        "<b>",
        ";",
        "code=",
        "state=",
        "iss=",
        "error=",
        "access_denied",
        "id_token=",
        "session_state=",
        "scope=",
        "authuser=0",
    ];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % bound as u64) as usize
    };
    let url = good.split('?').next().unwrap().to_owned();
    let mut conn = gateway.client().connect(AUTH);
    for case in 0..5_000 {
        let query: String = (0..1 + next(8)).map(|_| pieces[next(pieces.len())]).collect();
        if query.contains('<') || query.contains('{') || query.contains('[') {
            continue;
        }
        let request = actor.dressed(Request::get(&format!("{url}?{query}")).navigation());
        conn.send(&request.bytes());
        let answer = conn.read_response("GET").unwrap_or_else(|error| panic!("{query}: {error}"));
        assert!((400..500).contains(&answer.status), "case {case}: {query}: {answer:?}");
        if answer.header("connection") == Some("close") {
            conn = gateway.client().connect(AUTH);
        }
    }
    assert_eq!(token_requests(&op), 0);
    assert!(gateway.process().exited().is_none());
    // The other flow is none the worse.
    assert_eq!(actor.travel(&good).response.status, 200);
}

#[test]
fn i3_seed_000_71_starts_and_callbacks_count_like_every_other_sign_in() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway =
        open_to(&app, &[op.toml("op")]).toml("[server]\nenvironment = \"production\"").start();
    let start = format!("{}/api/v1/auth/login/op", gateway.portal());
    let callback = format!("{}/api/v1/auth/callback/op?code=a&state=b", gateway.portal());
    for nth in 0..100 {
        let url = if nth % 2 == 0 { &start } else { &callback };
        let answer = gateway.client().send(&Request::get(url).navigation());
        assert!(matches!(answer.status, 302 | 401), "{nth}: {answer:?}");
    }
    for url in [&start, &callback] {
        let answer = gateway.client().send(&Request::get(url).navigation());
        assert_eq!(answer.status, 429, "{answer:?}");
        assert!(answer.header("retry-after").is_some());
        let other = gateway.client().from("127.0.0.77").send(&Request::get(url).navigation());
        assert_ne!(other.status, 429, "another client");
    }
}
