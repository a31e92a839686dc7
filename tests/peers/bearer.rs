//! Tokens of others behind a front proxy: who they are, and how a program finds out whose to bring.

use vestibule_testkit::Request;

use crate::stage::{IMG, Stage, WIKI};

super::with_every_proxy! {
    d7_a_foreign_token_is_told_as_its_subject_and_is_taken_out,
    m12_the_document_about_tokens_comes_from_vestibule_and_a_401_names_it,
}

fn d7_a_foreign_token_is_told_as_its_subject_and_is_taken_out(stage: &mut Stage) {
    let token = stage.issuer.token("robot");
    let ask = |token: &str| {
        let request = Request::get(&format!("{IMG}/robots/x"));
        stage.client().send(&request.header("Authorization", format!("Bearer {token}")))
    };
    let _ = ask(&token).expect(200);
    let seen = stage.img.last();
    assert_eq!(seen.header("x-forwarded-user"), Some("ci:robot"));
    assert!(!seen.holds(&token));
    for name in ["x-forwarded-access-token", "x-forwarded-id-token"] {
        assert_eq!(seen.header(name).unwrap_or_default(), "", "{name}");
    }
    let count = stage.reached();
    let bad = ask(&format!("{token}x")).expect(401);
    assert!(bad.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    assert_eq!(stage.reached(), count);
}

fn m12_the_document_about_tokens_comes_from_vestibule_and_a_401_names_it(stage: &mut Stage) {
    let link = format!("{IMG}/.well-known/oauth-protected-resource");
    let asked = stage.client().send(&Request::get(&format!("{IMG}/robots/x"))).expect(401);
    let told = asked.header("www-authenticate").unwrap();
    assert!(told.contains(&format!("resource_metadata=\"{link}\"")), "{told}");
    let document = stage.client().send(&Request::get(&link)).expect(200).json();
    assert_eq!(document["resource"], IMG);
    assert_eq!(document["authorization_servers"][0], stage.issuer.issuer());
    // Where no rule takes such tokens the path is the app's, and guarded as all of it is.
    let other = format!("{WIKI}/.well-known/oauth-protected-resource");
    assert_eq!(stage.client().send(&Request::get(&other)).status, 401);
    assert_eq!(stage.reached(), 0);
}
