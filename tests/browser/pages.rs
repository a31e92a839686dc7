//! The portal's pages as a person meets them: set-up, keyboard, policy, phone.

use vestibule_testkit::PASSWORD;

use crate::stage::{AUTH, Stage, WIKI};

#[test]
fn the_first_administrator_is_made_on_the_setup_page_once() {
    let Some(stage) = Stage::with(|builder| builder, &[]) else { return };
    let browser = &stage.browser;
    let link = std::fs::read_to_string(stage.gateway.prepared().data().join("setup-url")).unwrap();
    browser.open(link.trim());
    stage.picture("setup");
    browser.fill("input[name=email]", "root@example.test");
    browser.fill("input[name=password]", PASSWORD);
    browser.click("main button[type=submit]");
    vestibule_testkit::until("the page is gone", || {
        browser.open(&format!("{AUTH}/setup"));
        browser.text().contains("404").then_some(())
    });
    let shown = stage.gateway.cli(&["user", "list", "--format", "json"]).expect(0).stdout;
    assert!(shown.contains("root@example.test") && shown.contains("admin"), "{shown}");
}

#[test]
fn the_sign_in_page_is_walked_by_keyboard_in_order_of_sight() {
    let Some(stage) = Stage::new() else { return };
    stage.browser.open(&format!("{AUTH}/login"));
    let focused = "return document.activeElement.id";
    assert_eq!(stage.browser.run(focused, &[]), "email", "typing can begin at once");
    let walked: Vec<String> = (0..3).map(|_| stage.browser.tab()).collect();
    assert_eq!(walked, ["password", "remember", "Sign in"]);
}

#[test]
fn pages_break_no_rule_of_their_own_policy() {
    let Some(stage) = Stage::new() else { return };
    let browser = &stage.browser;
    browser.open(&format!("{WIKI}/"));
    browser.wait_url(&format!("{AUTH}/login"));
    let styled = "return getComputedStyle(document.querySelector('main button')).borderRadius";
    let first = browser.run(styled, &[]);
    assert_ne!(first, "0px", "the style sheet was not applied");
    stage.sign_in("ann@example.test", PASSWORD);
    browser.wait_url(WIKI);
    for page in ["/", "/api-keys", "/logout", "/login", "/no-such-page"] {
        browser.open(&format!("{AUTH}{page}"));
        let inline = "return document.querySelectorAll('[style], style, script:not([src])').length";
        assert_eq!(browser.run(inline, &[]), 0, "{page} holds inline style or script");
        let lang = browser.run("return document.documentElement.lang", &[]);
        assert_eq!(lang, "en", "{page}");
        let headings = browser.run("return document.querySelectorAll('h1').length", &[]);
        assert_eq!(headings, 1, "{page}");
        let unnamed = "return [...document.querySelectorAll('input:not([type=hidden]), button, a')]\
            .filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label'))).length";
        assert_eq!(browser.run(unnamed, &[]), 0, "{page} has a control without a name");
    }
}

#[test]
fn pages_fit_a_phone() {
    let Some(stage) = Stage::with(|builder| builder.user("ann", &[]), &["--window-size=380,780"])
    else {
        return;
    };
    stage.browser.open(&format!("{AUTH}/login"));
    let wider =
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(stage.browser.run(wider, &[]), false, "the page scrolls sideways");
    stage.picture("sign-in-phone");
}
