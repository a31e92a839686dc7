//! From the portal's session to an app host's own token.

use std::time::Duration;

use vestibule_authn::Authn;
use vestibule_authn::authenticate::Audience;
use vestibule_core::id::SessionId;

use crate::house::*;

/// Runs the whole hand-off; the host's cookie value.
pub(crate) async fn enter(house: &House, session: SessionId, host: &str) -> String {
    let flow = house.authn.new_flow();
    let state = Authn::flow_state(&flow);
    let code = house.authn.mint_handoff(session, host, &state, NOW).await.unwrap();
    let redeemed =
        house.authn.redeem_handoff(&code, host, &state, &flow, &somebody(), NOW).await.unwrap();
    redeemed.unwrap().token
}

#[tokio::test]
async fn g14_a_code_is_good_once_under_a_hundred_at_once() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let session = house.session(&ann).await.session.id;
    let flow = house.authn.new_flow();
    let state = Authn::flow_state(&flow);
    let code = house.authn.mint_handoff(session, APP, &state, NOW).await.unwrap();
    let mut redeeming = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (authn, code, state, flow) =
            (house.authn.clone(), code.clone(), state.clone(), flow.clone());
        redeeming.spawn(async move {
            authn.redeem_handoff(&code, APP, &state, &flow, &somebody(), NOW).await.unwrap()
        });
    }
    let got = redeeming.join_all().await.into_iter().flatten().count();
    assert_eq!(got, 1);
}

#[tokio::test]
async fn d6_a_code_is_bound_to_host_state_browser_and_a_minute() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let session = house.session(&ann).await.session.id;
    let (flow, other_flow) = (house.authn.new_flow(), house.authn.new_flow());
    let (state, other_state) = (Authn::flow_state(&flow), Authn::flow_state(&other_flow));
    let late = NOW.plus(Duration::from_secs(60));
    for (host, state_shown, flow_shown, at, good) in [
        (APP, &state, &flow, NOW, true),
        (APP, &state, &flow, late, false),
        ("blog.example.com", &state, &flow, NOW, false),
        (APP, &other_state, &flow, NOW, false),
        (APP, &state, &other_flow, NOW, false),
        (APP, &other_state, &other_flow, NOW, false),
        (APP, &state, &String::new(), NOW, false),
    ] {
        let code = house.authn.mint_handoff(session, APP, &state, NOW).await.unwrap();
        let redeemed = house
            .authn
            .redeem_handoff(&code, host, state_shown, flow_shown, &somebody(), at)
            .await
            .unwrap();
        assert_eq!(redeemed.is_some(), good, "{host} {state_shown} {flow_shown}");
    }
}

#[tokio::test]
async fn j4_every_bent_code_is_refused() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let session = house.session(&ann).await.session.id;
    let flow = house.authn.new_flow();
    let state = Authn::flow_state(&flow);
    let code = house.authn.mint_handoff(session, APP, &state, NOW).await.unwrap();
    for at in 0..code.len() {
        let mut bent = code.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        let cut = &code[..at];
        for text in [bent.as_str(), cut] {
            let redeemed =
                house.authn.redeem_handoff(text, APP, &state, &flow, &somebody(), NOW).await;
            assert!(redeemed.unwrap().is_none());
        }
    }
    let whole = house.authn.redeem_handoff(&code, APP, &state, &flow, &somebody(), NOW).await;
    assert!(whole.unwrap().is_some(), "trying wrong ones uses nothing up");
}

#[tokio::test]
async fn j3_a_code_a_cookie_and_a_key_are_not_each_other() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session(&ann).await;
    let (_, key) = house.key(&ann).await;
    let tokens = house.tokens(&ann).await;
    let flow = house.authn.new_flow();
    let state = Authn::flow_state(&flow);
    let code = house.authn.mint_handoff(started.session.id, APP, &state, NOW).await.unwrap();
    for other in [&code, &key, &tokens.access_token, &tokens.refresh_token] {
        assert!(!is_identified(&house.ask(&cookie(other), NOW).await));
    }
    for other in [&code, &started.token, &tokens.refresh_token] {
        assert!(!is_identified(&house.ask(&bearer(other), NOW).await));
        assert!(!is_identified(&house.ask(&api_key(other), NOW).await));
    }
    for other in [&started.token, &code, &key, &tokens.access_token] {
        assert!(house.authn.refresh(other, &somebody(), NOW).await.unwrap().is_none());
    }
    let redeemed =
        house.authn.redeem_handoff(&started.token, APP, &state, &flow, &somebody(), NOW).await;
    assert!(redeemed.unwrap().is_none());
}

#[tokio::test]
async fn ending_the_portals_session_ends_the_children_and_their_codes() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let session = house.session(&ann).await.session.id;
    let host = enter(&house, session, APP).await;
    let flow = house.authn.new_flow();
    let state = Authn::flow_state(&flow);
    let code = house.authn.mint_handoff(session, APP, &state, NOW).await.unwrap();
    assert!(is_identified(&house.ask_as(&cookie(&host), Audience::App(APP), CLIENT, NOW).await));
    house.authn.end_session(session, Some(ann.id), true, &somebody(), NOW).await.unwrap();
    assert!(is_nobody(&house.ask_as(&cookie(&host), Audience::App(APP), CLIENT, NOW).await));
    let late = house.authn.redeem_handoff(&code, APP, &state, &flow, &somebody(), NOW).await;
    assert!(late.unwrap().is_none());
}

#[tokio::test]
async fn a_host_named_with_its_port_gives_a_token_for_the_host() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let session = house.session(&ann).await.session.id;
    for (named, host) in
        [("wiki.example.com:8443", APP), ("[::1]:8443", "[::1]"), ("[::1]", "[::1]")]
    {
        let token = enter(&house, session, named).await;
        assert!(is_identified(
            &house.ask_as(&cookie(&token), Audience::App(host), CLIENT, NOW).await
        ));
    }
}

#[tokio::test]
async fn only_a_remembered_session_gives_the_host_cookie_an_age() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    for remember in [false, true] {
        let wish = vestibule_authn::session::SignIn { remember, ..sign_in(&ann) };
        let started = house.authn.start_session(wish, None, &somebody(), NOW).await.unwrap();
        let flow = house.authn.new_flow();
        let state = Authn::flow_state(&flow);
        let code = house.authn.mint_handoff(started.session.id, APP, &state, NOW).await.unwrap();
        let redeemed = house
            .authn
            .redeem_handoff(&code, APP, &state, &flow, &somebody(), after(30))
            .await
            .unwrap()
            .unwrap();
        let left = Duration::from_secs(30 * 86_400 - 30);
        assert_eq!(redeemed.max_age, remember.then_some(left));
    }
}
