//! Sign-ins at providers as a person makes them: buttons, pages of others, and what a provider's
//! own sign-out does to an app that is open in the next tab.

use serde_json::{Value, json};
use vestibule_testkit::github::{Github, GithubUser};
use vestibule_testkit::{CertifiedOp, GatewayBuilder, PASSWORD, until};

use crate::stage::{AUTH, IMG, Stage, WIKI};

const BUTTON: &str = "a[href*='/api/v1/auth/login/']";

fn with_provider(builder: GatewayBuilder, piece: &str) -> GatewayBuilder {
    builder.toml("[auth]\napproval = false").toml(piece)
}

/// A stage whose gateway knows the certified provider as `op`. `None`: a part is not here.
fn certified(more: &Value) -> Option<(CertifiedOp, Stage)> {
    let op = CertifiedOp::start_with(AUTH, "op", more)?;
    let piece = op.toml("op") + "label = \"Certified\"\n";
    let stage = Stage::with(|builder| with_provider(builder, &piece).user("joe", &[]), &[])?;
    op.leads("auth.example.test", stage.gateway.plain());
    Some((op, stage))
}

/// From an app to the provider and, with a name typed there, back to the app.
#[track_caller]
fn sign_in(stage: &Stage, op: &CertifiedOp, app: &str, name: &str) {
    stage.browser.open(app);
    stage.browser.wait_url(&format!("{AUTH}/login?rd="));
    stage.browser.click(BUTTON);
    stage.browser.wait_url(op.issuer());
    stage.browser.fill("input[name=name]", name);
    stage.browser.click("button[type=submit]");
    assert_eq!(stage.browser.wait_url(app), app, "not where the person wanted to go");
}

#[test]
fn seed_000_31_seed_004_36_seed_004_39_d7_a_button_leads_to_the_certified_provider_and_back_to_the_app()
 {
    let Some((op, stage)) = certified(&json!({})) else { return };
    op.account("ann", &json!({ "groups": ["staff", "cooks"] }));
    stage.browser.open(&format!("{WIKI}/notes?page=2"));
    stage.browser.wait_url(&format!("{AUTH}/login?rd="));
    assert_eq!(stage.browser.text_of(BUTTON), "Sign in with Certified");
    stage.picture("sign-in-with-provider");
    sign_in(&stage, &op, &format!("{WIKI}/notes?page=2"), "ann");
    let seen = stage.wiki.wait_for(1)[0].clone();
    assert_eq!(seen.header("remote-user"), Some("ann"));
    assert_eq!(seen.header("remote-email"), Some("ann@example.test"));
    assert_eq!(seen.header("remote-groups"), Some("cooks,staff"));
    // One sign-in opens the other app, by the provider's group.
    stage.browser.open(&format!("{IMG}/gallery"));
    assert_eq!(stage.browser.wait_url(IMG), format!("{IMG}/gallery"));
    assert_eq!(stage.img.wait_for(1)[0].header("x-forwarded-user"), Some("ann"));
    // Neither app saw a cookie of ours or anything of the provider's.
    for seen in stage.wiki.requests().iter().chain(&stage.img.requests()) {
        assert!(!seen.holds("vestibule="), "{}", seen.target);
        assert!(!seen.holds("127.0.0.1:") || !seen.holds("code="), "{}", seen.target);
    }
}

#[test]
fn d7_signing_in_at_a_provider_works_without_scripts() {
    let Some(op) = CertifiedOp::start(AUTH, "op") else { return };
    let no_scripts = ["--blink-settings=scriptEnabled=false"];
    let piece = op.toml("op");
    let Some(stage) = Stage::with(|builder| with_provider(builder, &piece), &no_scripts) else {
        return;
    };
    sign_in(&stage, &op, &format!("{WIKI}/a"), "ann");
    assert_eq!(stage.wiki.wait_for(1)[0].header("remote-user"), Some("ann"));
}

#[test]
fn f2_f3_signing_out_leads_through_the_provider_and_ends_its_session_too() {
    let Some((op, stage)) = certified(&json!({})) else { return };
    sign_in(&stage, &op, &format!("{WIKI}/a"), "ann");
    let browser = &stage.browser;
    browser.open(&format!("{AUTH}/"));
    // A form whose answer leads to another origin: the page's policy must know of it.
    browser.click("form[action$='/logout'] button");
    browser.wait_url(op.issuer());
    stage.picture("sign-out-at-provider");
    browser.click("#yes");
    browser.wait_url(&format!("{AUTH}/login"));
    let session = browser.cookies();
    let session = session.iter().find(|cookie| cookie["name"] == "__Host-vestibule");
    assert_eq!(session, None, "the browser still holds the portal's session");
    browser.open(&format!("{WIKI}/again"));
    browser.wait_url(&format!("{AUTH}/login?rd="));
    // The provider asks for a name again: nobody is signed in there either.
    browser.click(BUTTON);
    browser.wait_url(op.issuer());
    browser.fill("input[name=name]", "bob");
    browser.click("button[type=submit]");
    browser.wait_url(WIKI);
    until("bob at the app", || {
        let last = stage.wiki.requests().pop()?;
        (last.header("remote-user") == Some("bob")).then_some(())
    });
}

#[test]
fn g10_f3_signing_out_at_the_provider_closes_the_websocket_of_an_app() {
    let Some((op, stage)) = certified(&json!({})) else { return };
    let browser = &stage.browser;
    sign_in(&stage, &op, &format!("{WIKI}/a"), "ann");
    let talk = r#"
        const [url, done] = arguments;
        const socket = new WebSocket(url);
        window.ended = null;
        socket.onopen = () => socket.send("hello");
        socket.onmessage = event => done(event.data);
        socket.onclose = event => { window.ended = event.code; };
        socket.onerror = () => done("refused");
    "#;
    assert_eq!(browser.run_async(talk, &[json!("wss://wiki.example.test/ws")]), "hello");
    assert_eq!(browser.run("return window.ended", &[]), Value::Null);

    let app = browser.ask("/window");
    let tab = browser.post("/window/new", &json!({ "type": "tab" }));
    browser.post("/window", &json!({ "handle": tab["handle"] }));
    browser.open(&format!("{}/session/end", op.issuer()));
    browser.click("#yes");
    until("the provider told the gateway", || {
        let events = op.events();
        assert!(!events.iter().any(|event| event.starts_with("backchannel.error")), "{events:?}");
        events.iter().any(|event| event == "backchannel.success").then_some(())
    });
    browser.post("/window", &json!({ "handle": app }));
    until("the socket of the open page is closed", || {
        browser.run("return window.ended", &[]).as_u64()
    });
    browser.open(&format!("{WIKI}/again"));
    browser.wait_url(&format!("{AUTH}/login?rd="));
}

#[test]
fn f4_what_the_certified_provider_says_at_a_refresh_is_in_force() {
    let Some((op, stage)) = certified(&json!({ "accessTokenTtl": 2 })) else { return };
    op.account("ann", &json!({ "groups": ["staff"] }));
    sign_in(&stage, &op, &format!("{IMG}/gallery"), "ann");
    op.account("ann", &json!({ "groups": [] }));
    until("the group is gone", || {
        stage.browser.open(&format!("{IMG}/gallery"));
        stage.browser.text().contains("FORBIDDEN").then_some(())
    });
    op.account("ann", &json!({ "groups": ["staff"] }));
    until("the group is back", || {
        stage.browser.open(&format!("{IMG}/gallery"));
        (!stage.browser.text().contains("FORBIDDEN")).then_some(())
    });
}

#[test]
fn seed_004_65_a_refused_sign_in_ends_on_a_page_with_a_way_back() {
    let Some((op, stage)) = certified(&json!({})) else { return };
    // A name that the provider will not give an address for.
    op.account("mute", &json!({ "email": null, "email_verified": null }));
    let browser = &stage.browser;
    browser.open(&format!("{WIKI}/a"));
    browser.wait_url(&format!("{AUTH}/login?rd="));
    browser.click(BUTTON);
    browser.wait_url(op.issuer());
    browser.fill("input[name=name]", "mute");
    browser.click("button[type=submit]");
    browser.wait_url(&format!("{AUTH}/api/v1/auth/callback/op"));
    let text = browser.text();
    assert!(text.contains("Failed to authenticate") && text.contains("request"), "{text}");
    stage.picture("provider-refused");
    let inline = "return document.querySelectorAll('[style], style, script:not([src])').length";
    assert_eq!(browser.run(inline, &[]), 0, "the page breaks its own policy");
    browser.click("main a[href*='/login']");
    browser.wait_url(&format!("{AUTH}/login"));
    // By password somebody still gets in.
    stage.sign_in("joe@example.test", PASSWORD);
    until("the sign-in is done", || (!browser.url().contains("/login")).then_some(()));
    browser.open(&format!("{WIKI}/b"));
    browser.wait_url(WIKI);
    assert_eq!(stage.wiki.wait_for(1)[0].header("remote-user"), Some("joe"));
}

#[test]
fn seed_000_31_a_button_leads_to_github_and_back() {
    let hub = Github::start();
    let mut user = GithubUser::new(583_231, "octocat");
    user.teams = vec![("acme".to_owned(), "core".to_owned())];
    hub.user(user);
    let piece = hub.toml("github");
    let Some(stage) = Stage::with(|builder| with_provider(builder, &piece), &[]) else { return };
    let browser = &stage.browser;
    browser.open(&format!("{WIKI}/a"));
    browser.wait_url(&format!("{AUTH}/login?rd="));
    assert_eq!(browser.text_of(BUTTON), "Sign in with GitHub");
    browser.click(BUTTON);
    assert_eq!(browser.wait_url(WIKI), format!("{WIKI}/a"));
    let seen = stage.wiki.wait_for(1)[0].clone();
    assert_eq!(seen.header("remote-user"), Some("octocat"));
    assert_eq!(seen.header("remote-email"), Some("octocat@example.test"));
    assert!(seen.header("remote-groups").unwrap_or_default().contains("github:acme/core"));
    // Signing out stays here: GitHub has no place for it.
    browser.open(&format!("{AUTH}/"));
    browser.click("form[action$='/logout'] button");
    browser.wait_url(&format!("{AUTH}/login"));
    // The person says no.
    hub.denies(true);
    browser.click(BUTTON);
    browser.wait_url(&format!("{AUTH}/api/v1/auth/callback/github"));
    assert!(browser.text().contains("Sign-in was declined"), "{}", browser.text());
}

#[test]
fn seed_004_18_seed_004_22_seed_004_26_seed_004_27_seed_004_61_an_administrator_sets_a_provider_up_in_the_browser()
 {
    let Some(op) = CertifiedOp::start(AUTH, "kitchen") else { return };
    let Some(stage) =
        Stage::with(|builder| builder.toml("[auth]\napproval = false").admin("root"), &[])
    else {
        return;
    };
    let browser = &stage.browser;
    browser.open(&format!("{AUTH}/login"));
    stage.sign_in("root@example.test", PASSWORD);
    browser.wait_url(&format!("{AUTH}/"));
    browser.open(&format!("{AUTH}/settings"));
    assert!(browser.text().contains("Administration"), "004-25: {}", browser.text());
    browser.open(&format!("{AUTH}/admin/providers"));
    assert!(browser.text().contains("OAuth Settings"), "004-26: {}", browser.text());
    stage.picture("admin-providers");
    browser.click("#kind option[value=oidc]");
    let fill = || {
        browser.fill("#issuer", op.issuer());
        browser.fill("#client_id", CertifiedOp::CLIENT_ID);
        browser.fill("#client_secret", CertifiedOp::CLIENT_SECRET);
    };
    fill();
    let secret = "return document.querySelector('#client_secret').type";
    assert_eq!(browser.run(secret, &[]), "password", "004-22");
    browser.click("button[value=test]");
    until("the test's report", || {
        browser.text().contains("The provider answers as it should").then_some(())
    });
    stage.picture("admin-provider-tested");
    let kept = "return document.querySelector('#client_secret').value";
    assert_eq!(browser.run(kept, &[]), "", "004-22: not shown again");
    fill();
    browser.click("details summary");
    browser.fill("#label", "Kitchen");
    browser.fill("#id", "kitchen");
    browser.click("button[value=create]");
    until("it is listed", || browser.text().contains("Kitchen").then_some(()));
    browser.open(&format!("{AUTH}/admin/providers"));
    let text = browser.text();
    assert!(text.contains("Kitchen") && !text.contains(CertifiedOp::CLIENT_SECRET), "{text}");
    browser.open(&format!("{AUTH}/"));
    browser.click("form[action$='/logout'] button");
    browser.wait_url(&format!("{AUTH}/login"));
    assert_eq!(browser.text_of(BUTTON), "Sign in with Kitchen", "004-27: at once");
    sign_in(&stage, &op, &format!("{WIKI}/a"), "ann");
    assert_eq!(stage.wiki.wait_for(1)[0].header("remote-user"), Some("ann"));
}
