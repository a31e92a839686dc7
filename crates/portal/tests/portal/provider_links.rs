//! Identities of an account: joining on a verified address, the link that waits for its owner,
//! linking and unlinking in the settings.

use std::time::Duration;

use http::{Method, StatusCode};

use vestibule_core::account::{Account, Role, Status};
use vestibule_core::settings::auth::LinkVerifiedEmail;
use vestibule_testkit::provider::{Op, Person};

use crate::op::{at_provider, set_clock, stage};
use crate::stage::{Answer, Ask, Browser, PASSWORD, PORTAL, Stage, encode};

/// An account with a password whose address the provider knows too, as NAME.
async fn person(stage: &Stage, name: &str, role: Role) -> Account {
    stage.account(&format!("{name}@example.test"), role, Status::Active).await
}

/// Where a page's primary button leads.
fn button(page: &Answer) -> String {
    let at = page.body.find("<a class=\"button primary\" href=\"").expect("a primary button") + 32;
    let href = page.body[at..].split('"').next().unwrap();
    href.replace("&#38;", "&").replace("&amp;", "&")
}

async fn link(browser: &mut Browser<'_>, provider: &str) -> Answer {
    browser.submit("/settings/providers", &[("action", "link"), ("provider", provider)]).await
}

/// Submits the first form of the settings that unlinks.
async fn unlink(browser: &mut Browser<'_>) -> Answer {
    let page = browser.open("/settings").await;
    let value = |name: &str| {
        let mark = format!("name=\"{name}\" value=\"");
        let at = page.body.find(&mark).expect("a link is shown") + mark.len();
        page.body[at..].split('"').next().unwrap().to_owned()
    };
    let (issuer, subject) = (value("issuer"), value("subject"));
    let fields = [("action", "unlink"), ("issuer", &*issuer), ("subject", &*subject)];
    browser.submit("/settings/providers", &fields).await
}

#[tokio::test]
async fn seed_004_40_seed_004_43_an_account_is_joined_by_its_verified_address_and_keeps_its_password()
 {
    let op = Op::start();
    let stage = stage(&op, |s, _| s.auth.link_verified_email = LinkVerifiedEmail::Always).await;
    let ann = person(&stage, "ann", Role::User).await;
    let mut browser = stage.browser();
    assert_eq!(browser.sign_in_with("corp", "ann", "").await.status, StatusCode::FOUND);
    let me = browser.send(Ask::new(Method::GET, "/api/v1/auth/me")).await.json();
    assert_eq!(me["id"], ann.id.to_string());
    stage.token_of("ann@example.test").await;
}

#[tokio::test]
async fn seed_004_44_seed_004_41_an_unverified_address_joins_nothing_and_says_how_to() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    person(&stage, "ann", Role::User).await;
    for verified in [serde_json::json!(false), serde_json::json!("true"), serde_json::Value::Null] {
        op.person(Person::new("ann").claim("email_verified", verified));
        let mut browser = stage.browser();
        let page = browser.sign_in_with("corp", "ann", "").await;
        assert_eq!(
            (page.status, page.header("x-vestibule")),
            (StatusCode::FORBIDDEN, "LINK_REFUSED")
        );
        assert!(page.body.contains("sign in with your password, then link"), "{}", page.body);
        assert!(page.body.contains("Corp") && page.body.contains(page.header("x-request-id")));
        let to = button(&page);
        assert_eq!(to, format!("{PORTAL}/login?rd={}", encode(&format!("{PORTAL}/settings"))));
        assert!(!browser.is_signed_in().await);
    }
    let accounts = stage.authn.store().accounts(None, 10).await.unwrap();
    assert_eq!(accounts.len(), 1, "nothing was made");

    let mut program = stage.browser();
    let start = program.start_with("corp", "").await;
    let callback = at_provider(start.location(), "ann");
    let json = program.send(Ask::new(Method::GET, &callback)).await;
    assert_eq!(json.code(), "LINK_REFUSED");
    assert!(json.json()["reason"].as_str().unwrap().starts_with("email"));
}

#[tokio::test]
async fn an_administrator_is_joined_after_a_full_sign_in_and_one_confirmation() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let root = person(&stage, "root", Role::Admin).await;
    let mut browser = stage.browser();
    let page = browser.sign_in_with("corp", "root", "").await;
    assert_eq!((page.status, page.header("x-vestibule")), (StatusCode::FORBIDDEN, "LINK_REFUSED"));
    assert!(page.body.contains("sign in with your password, then link"), "{}", page.body);
    let login = button(&page);
    assert!(login.contains("%2Fsettings%2Flink%3Ftoken%3D"), "{login}");

    let form = browser.open(&login).await;
    let rd = crate::op::query(&login)["rd"].clone();
    assert!(form.body.contains("name=\"rd\"") && form.body.contains("/settings/link?token="));
    let signed_in = browser.sign_in("root@example.test", PASSWORD, &rd).await;
    assert_eq!(signed_in.location(), rd);
    let ask = browser.open(&rd).await;
    assert_eq!(ask.status, StatusCode::OK, "{}", ask.body);
    assert!(ask.body.contains("<h1>Link Corp?</h1>") && ask.body.contains("<strong>root</strong>"));
    assert!(ask.body.contains("root@example.test"));
    let token = crate::op::query(&rd)["token"].clone();
    let joined = browser.submit("/settings/link", &[("token", &*token)]).await;
    assert_eq!(joined.location(), format!("{PORTAL}/settings?saved=linked"), "{}", joined.body);
    let again = browser.submit("/settings/link", &[("token", &*token)]).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND, "single use");

    let mut elsewhere = stage.browser();
    assert_eq!(elsewhere.sign_in_with("corp", "root", "").await.status, StatusCode::FOUND);
    let me = elsewhere.send(Ask::new(Method::GET, "/api/v1/auth/me")).await.json();
    assert_eq!(me["id"], root.id.to_string());
}

#[tokio::test]
async fn g8_a_waiting_link_is_for_its_browser_its_account_and_a_recent_sign_in() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    person(&stage, "root", Role::Admin).await;
    person(&stage, "bob", Role::User).await;
    let mut browser = stage.browser();
    let page = browser.sign_in_with("corp", "root", "").await;
    let rd = crate::op::query(&button(&page))["rd"].clone();

    let nobody = browser.open(&rd).await;
    assert_eq!(nobody.location(), format!("{PORTAL}/login?rd={}", encode(&rd)));
    // The owner's own browser, lured there by somebody who has the link: it is not theirs.
    let mut owner = stage.browser_of("root@example.test").await;
    let lured = owner.open(&rd).await;
    assert_eq!(lured.status, StatusCode::NOT_FOUND);
    assert!(lured.body.contains("does not hold any more"), "{}", lured.body);

    browser.sign_in("bob@example.test", PASSWORD, "").await;
    let wrong = browser.open(&rd).await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    assert!(wrong.body.contains("This is for another account"), "{}", wrong.body);
    assert_eq!(button(&wrong), format!("{PORTAL}/logout?rd={}", encode(&rd)));
    let token = crate::op::query(&rd)["token"].clone();
    let refused = browser.submit("/settings/link", &[("token", &*token)]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);

    browser.sign_in("root@example.test", PASSWORD, "").await;
    stage.pass_time(Duration::from_secs(301));
    let stale = browser.open(&rd).await;
    assert_eq!(stale.location(), format!("{PORTAL}/login?rd={}&step=reauth", encode(&rd)));
    let form = [("step", "reauth"), ("password", PASSWORD), ("rd", &*rd)];
    assert_eq!(browser.submit("/login", &form).await.location(), rd);
    assert_eq!(browser.open(&rd).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_provider_is_linked_and_unlinked_in_the_settings() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let ann = stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let page = browser.open("/settings").await;
    assert!(page.body.contains("Linked providers") && page.body.contains("Link Corp"));
    let target = format!("form-action 'self' {};", op.base_url());
    let policy = page.header("content-security-policy");
    assert!(policy.contains(&target), "also before the endpoints are known: {policy}");
    let start = link(&mut browser, "corp").await;
    assert_eq!(start.status, StatusCode::SEE_OTHER, "{}", start.body);
    assert!(start.location().starts_with(op.base_url()), "{}", start.location());
    let back = browser.open_from_outside(&at_provider(start.location(), "somebody")).await;
    assert_eq!(back.location(), format!("{PORTAL}/settings?saved=linked"), "{}", back.body);
    let page = browser.open("/settings?saved=linked").await;
    assert!(page.header("content-security-policy").contains(&target), "{target}");
    assert!(page.body.contains("The provider is linked.") && page.body.contains("somebody"));
    assert!(page.body.contains("last used") && !page.body.contains("sub-of-somebody</"));
    let mut other = stage.browser();
    other.sign_in_with("corp", "somebody", "").await;
    let me = other.send(Ask::new(Method::GET, "/api/v1/auth/me")).await.json();
    assert_eq!(me["id"], ann.id.to_string());

    let done = unlink(&mut browser).await;
    assert_eq!(done.location(), format!("{PORTAL}/settings?saved=unlinked"), "{}", done.body);
    assert!(browser.open("/settings").await.body.contains("not linked"));
    assert!(!other.is_signed_in().await, "what began with it has ended");
}

#[tokio::test]
async fn asvs_7_5_1_linking_and_unlinking_ask_for_a_recent_sign_in() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    stage.pass_time(Duration::from_secs(301));
    set_clock(&op, &stage);
    let fields = [("action", "unlink"), ("issuer", "x"), ("subject", "y")];
    for fields in [&[("action", "link"), ("provider", "corp")][..], &fields] {
        let refused = browser.submit("/settings/providers", fields).await;
        let back = encode(&format!("{PORTAL}/settings"));
        assert_eq!(refused.location(), format!("{PORTAL}/login?rd={back}&step=reauth"));
    }
    let cross = Ask::new(Method::POST, "/settings/providers")
        .header("sec-fetch-site", "cross-site")
        .form(&[("action", "link"), ("provider", "corp")]);
    assert_eq!(browser.send(cross).await.status, StatusCode::FORBIDDEN);
    let nobody = stage.browser().submit("/settings/providers", &[("action", "link")]).await;
    assert!(nobody.location().starts_with(&format!("{PORTAL}/login")));
}

#[tokio::test]
async fn the_last_way_in_is_not_taken_away() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let mut browser = stage.browser();
    browser.sign_in_with("corp", "ann", "").await;
    let page = browser.open("/settings").await;
    assert!(!page.body.contains("Change password"), "there is none");
    let kept = unlink(&mut browser).await;
    assert_eq!((kept.status, kept.header("x-vestibule")), (StatusCode::CONFLICT, "LAST_WAY_IN"));
    assert!(kept.body.contains("Set a password first"), "{}", kept.body);
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn an_identity_of_somebody_else_is_not_linked() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    stage.browser().sign_in_with("corp", "somebody", "").await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let start = link(&mut browser, "corp").await;
    let back = browser.open_from_outside(&at_provider(start.location(), "somebody")).await;
    assert_eq!((back.status, back.header("x-vestibule")), (StatusCode::FORBIDDEN, "LINK_REFUSED"));
    assert!(back.body.contains("belongs to another account"), "{}", back.body);
    assert_eq!(button(&back), format!("{PORTAL}/settings"));
    let unknown = link(&mut browser, "nope").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.body.contains("OAuth provider not configured"));
}

#[tokio::test]
async fn a_link_begun_by_one_person_is_not_finished_by_another() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    stage.person("ann@example.com", Role::User).await;
    stage.person("bob@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let start = link(&mut browser, "corp").await;
    let callback = at_provider(start.location(), "somebody");
    browser.sign_in("bob@example.com", PASSWORD, "").await;
    let refused = browser.open_from_outside(&callback).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{}", refused.body);
    let settings = browser.open("/settings").await;
    assert!(settings.body.contains("You sign in with none yet."));
}
