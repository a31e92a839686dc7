//! From the portal's session to an app host's own token, `whoami`, and sign-out from an app.

use http::{Method, StatusCode};

use vestibule_core::account::{Role, Status};

use crate::stage::{APP, Ask, PASSWORD, PORTAL, Stage, encode};

#[tokio::test]
async fn seed_003_07_a_sign_in_leads_to_the_url_first_asked_for_and_a_second_app_needs_none() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser();
    let rd = "https://app.example.com/a/b?c=d%20e&f=1";
    let page = browser.open(&format!("/login?rd={}", encode(rd))).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.header("content-security-policy")
            .contains("form-action 'self' https://app.example.com;")
    );

    let answer = browser.sign_in("ann@example.com", PASSWORD, rd).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "RFC 9700 4.12: never 307");
    let (visited, _) = browser.follow(answer.location()).await;
    assert_eq!(visited.last().unwrap(), rd, "{visited:?}");
    assert!(visited[1].starts_with("https://auth.example.com/handoff?host=app.example.com&state="));
    assert!(visited[2].starts_with("https://app.example.com/.vestibule/callback?code="));
    let token = browser.cookie("app.example.com", "__Host-vestibule").unwrap();
    assert_ne!(Some(token.clone()), browser.cookie("auth.example.com", "__Host-vestibule"));
    assert!(browser.cookie("app.example.com", "__Host-vestibule-flow-0").is_none(), "spent");
    for url in &visited {
        assert!(!url.contains(&token), "e4: {url}");
    }

    let whoami = browser.open(&format!("{APP}/.vestibule/whoami")).await;
    assert_eq!(whoami.status, StatusCode::OK, "{}", whoami.body);
    let who = whoami.json();
    assert_eq!(
        (who["user"].as_str(), who["email"].as_str()),
        (Some("ann"), Some("ann@example.com"))
    );
    for name in ["name", "groups", "role", "expires_at", "auth_time"] {
        assert!(who.get(name).is_some(), "{name}");
    }

    let wiki = "https://wiki.example.com/x";
    let (visited, _) = browser.follow(&format!("{PORTAL}/login?rd={}", encode(wiki))).await;
    assert_eq!(visited.last().unwrap(), wiki, "no second sign-in: {visited:?}");
}

#[tokio::test]
async fn a_code_is_good_once_for_one_host_and_one_browser() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let start =
        browser.open(&format!("{APP}/.vestibule/start?rd={}", encode(&format!("{APP}/x")))).await;
    let handoff = browser.open(start.location()).await;
    let callback = handoff.location().to_owned();
    assert_eq!(handoff.header("referrer-policy"), "no-referrer");

    let mut thief = stage.browser();
    let stolen = thief.open(&callback).await;
    assert!(stolen.set_cookies().iter().all(|c| !c.starts_with("__Host-vestibule=")), "redteam 47");
    let elsewhere = callback.replace("app.example.com", "wiki.example.com");
    let other = browser.open(&elsewhere).await;
    assert!(other.set_cookies().iter().all(|c| !c.starts_with("__Host-vestibule=")));

    let jar = browser.jar.clone();
    let good = browser.open(&callback).await;
    assert_eq!((good.status, good.location()), (StatusCode::FOUND, "https://app.example.com/x"));
    assert_eq!(good.header("referrer-policy"), "no-referrer");
    browser.jar = jar;
    let used = browser.open(&callback).await;
    assert!(used.set_cookies().iter().all(|c| !c.starts_with("__Host-vestibule=")), "g14");
}

#[tokio::test]
async fn a_hand_off_that_fails_begins_anew_once_and_then_says_so() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let failed = browser.open(&format!("{APP}/.vestibule/callback?code=wrong&state=wrong")).await;
    assert_eq!(failed.status, StatusCode::FOUND);
    assert!(failed.location().ends_with("&again=1"), "{}", failed.location());
    let start = browser.open(failed.location()).await;
    let handoff = browser.open(start.location()).await;
    assert!(handoff.location().ends_with("&again=1"));
    // The browser keeps no cookies of this host.
    browser.jar.remove("app.example.com");
    let page = browser.open(handoff.location()).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "a page, not a loop");
    assert!(page.body.contains("could not be completed") && page.body.contains("Try again"));
}

#[tokio::test]
async fn a_sixth_flow_drops_the_oldest() {
    let stage = Stage::new().await;
    let mut browser = stage.browser();
    for n in 0..6 {
        stage.pass_time(std::time::Duration::from_secs(1));
        browser.open(&format!("{APP}/.vestibule/start?rd={}", encode(&format!("{APP}/{n}")))).await;
    }
    let flows: Vec<_> = browser.jar["app.example.com"].values().cloned().collect();
    assert_eq!(flows.len(), 5);
    assert!(flows.iter().all(|value| !value.ends_with("/0")), "{flows:?}");
    assert!(flows.iter().any(|value| value.ends_with("/5")));
}

#[tokio::test]
async fn e1_a_return_that_is_not_ours_leads_to_the_start() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    for rd in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "http:///evil.example",
        "https://app.example.com@evil.example/",
        "https://app.example.com.evil.example/",
        "https://evilapp.example.com/",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://app.example.com\t/",
        "https://app.example.com/\r\nSet-Cookie:a=b",
        "http://app.example.com/",
        "https://app.example.com:444/",
        "/logout",
        "https://auth.example.com/logout",
        "https://auth.example.com/login?x=1",
        "%2F%2Fevil.example",
        "https://user:pw@app.example.com/",
        "///evil.example",
        "/%09/evil.example",
        "https://app。example.com/",
    ] {
        let answer = browser.open(&format!("/login?rd={}", encode(rd))).await;
        assert_eq!(answer.location(), "https://auth.example.com/", "{rd:?}");
        let fresh = stage.browser().sign_in("ann@example.com", PASSWORD, rd).await;
        assert_eq!(fresh.location(), "https://auth.example.com/", "{rd:?}");
        let start = browser.open(&format!("{APP}/.vestibule/start?rd={}", encode(rd))).await;
        assert!(start.location().starts_with("https://auth.example.com/handoff?"), "{rd:?}");
    }
    for host in [
        "evil.example",
        "app.example.com@evil.example",
        "app.example.com/x",
        "",
        "app.example.com:444",
    ] {
        let state = "a".repeat(43);
        let answer = browser.open(&format!("/handoff?host={}&state={state}", encode(host))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{host}");
    }
    let out = browser.open(&format!("/logout?rd={}", encode("https://evil.example/"))).await;
    assert_eq!(out.location(), "https://auth.example.com/login?signed_out");
}

#[tokio::test]
async fn seed_001_44_seed_001_47_seed_001_53_accounts_without_approval_get_their_page_and_no_code()
{
    let stage = Stage::new().await;
    for (email, status, page, text) in [
        ("wait@example.com", Status::Pending, "/pending", "Awaiting approval"),
        ("no@example.com", Status::Rejected, "/rejected", "Access not approved"),
    ] {
        stage.account(email, Role::User, status).await;
        let mut browser = stage.browser();
        let answer = browser.sign_in(email, PASSWORD, &format!("{APP}/x")).await;
        assert_eq!(answer.location(), format!("{PORTAL}{page}"));
        let shown = browser.open(page).await;
        assert_eq!(shown.status, StatusCode::OK);
        assert!(shown.body.contains(text), "{}", shown.body);
        for other in ["/", "/settings", "/api-keys", "/login"] {
            assert_eq!(browser.open(other).await.location(), format!("{PORTAL}{page}"), "{other}");
        }
        let state = "a".repeat(43);
        let handoff = browser.open(&format!("/handoff?host=app.example.com&state={state}")).await;
        assert_eq!(handoff.location(), format!("{PORTAL}{page}"));
        assert_eq!(browser.open("/logout").await.location(), format!("{PORTAL}/login?signed_out"));
    }
}

#[tokio::test]
async fn f2_signing_out_at_an_app_ends_the_session_on_every_host() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser();
    let rd = format!("{APP}/x");
    let answer = browser.sign_in("ann@example.com", PASSWORD, &rd).await;
    browser.follow(answer.location()).await;
    let kept = browser.jar.clone();
    let (visited, _) = browser.follow(&format!("{APP}/.vestibule/sign-out")).await;
    assert_eq!(visited[1], "https://auth.example.com/logout");
    assert!(browser.cookie("app.example.com", "__Host-vestibule").is_none());
    assert!(browser.cookie("auth.example.com", "__Host-vestibule").is_none());
    browser.jar = kept;
    assert_eq!(
        browser.open(&format!("{APP}/.vestibule/whoami")).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(browser.open("/").await.location(), "https://auth.example.com/login");
}

#[tokio::test]
async fn redteam_28_signing_out_asks_first_where_another_site_leads_there() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let ask = |site: &str| {
        Ask::new(Method::GET, "/logout")
            .header("accept", "text/html")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-site", site)
    };
    let asked = browser.send(ask("cross-site")).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(asked.body.contains("Sign out?"));
    assert_eq!(browser.open("/").await.status, StatusCode::OK, "still signed in");
    let out = browser.send(ask("same-origin")).await;
    assert_eq!(out.status, StatusCode::FOUND);
    let cleared = out.set_cookies().join("\n");
    assert!(
        cleared.contains("__Host-vestibule=; Path=/; HttpOnly; SameSite=Lax; Secure"),
        "{cleared}"
    );
}

#[tokio::test]
async fn whoami_of_nobody_is_401_and_has_no_cors() {
    let stage = Stage::new().await;
    let ask = Ask::new(Method::GET, &format!("{APP}/.vestibule/whoami"))
        .header("origin", "https://evil.example");
    let answer = stage.send(ask).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED")
    );
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    let page = stage.browser().open(&format!("{APP}/.vestibule/whoami")).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED, "never a redirect");
}

#[tokio::test]
async fn the_key_set_is_public_and_cached_for_five_minutes() {
    let stage = Stage::new().await;
    for url in [format!("{PORTAL}/.well-known/jwks.json"), format!("{APP}/.vestibule/jwks.json")] {
        let answer = stage.get(&url).await;
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
        assert!(!answer.json()["keys"].as_array().unwrap().is_empty());
        assert!(answer.json()["keys"][0].get("d").is_none(), "public keys only");
    }
}

#[tokio::test]
async fn an_app_on_the_portals_own_host_needs_no_hand_off_and_pages_are_prefixed() {
    let stage = Stage::with(|s| {
        let access = crate::configuration::signed_in();
        s.routes.push(crate::configuration::route("home", "auth.example.com", access));
    })
    .await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser();
    let page = browser.open("/.vestibule/login").await;
    assert!(page.body.contains("action=\"/.vestibule/login\""), "{}", page.body);
    assert!(page.body.contains("href=\"/.vestibule/signup\""));
    let rd = format!("{PORTAL}/photos?x=1");
    let fields = [("email", "ann@example.com"), ("password", PASSWORD), ("rd", rd.as_str())];
    let answer = browser.submit("/.vestibule/login", &fields).await;
    assert_eq!(answer.location(), rd);
    let who = browser.open("/.vestibule/whoami").await;
    assert_eq!(who.json()["user"], "ann");
    let home = browser.open("/.vestibule/").await;
    assert!(home.body.contains("href=\"/.vestibule/settings\""));
}

#[tokio::test]
async fn with_a_cookie_domain_there_is_no_hand_off() {
    let stage = Stage::with(|s| s.auth.session.cookie_domain = "example.com".to_owned()).await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser();
    let rd = format!("{APP}/x");
    let answer = browser.sign_in("ann@example.com", PASSWORD, &rd).await;
    assert_eq!(answer.location(), rd);
    assert!(
        answer
            .set_cookies()
            .iter()
            .any(|c| c.starts_with("__Secure-vestibule=") && c.contains("Domain=example.com"))
    );
}

#[tokio::test]
async fn over_http_on_loopback_the_hand_off_keeps_the_port_and_the_plain_cookie() {
    let stage = Stage::with(|s| {
        s.server.portal =
            vestibule_core::return_to::Origin::parse("http://auth.localhost:8080").unwrap();
        s.server.development = true;
        s.routes = vec![crate::configuration::route(
            "app",
            "app.localhost",
            crate::configuration::signed_in(),
        )];
    })
    .await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser();
    let rd = "http://app.localhost:8080/deep?x=1";
    let fields = [("email", "ann@example.com"), ("password", PASSWORD), ("rd", rd)];
    let answer = browser.submit("http://auth.localhost:8080/login", &fields).await;
    assert_eq!(answer.header("strict-transport-security"), "");
    let (visited, _) = browser.follow(answer.location()).await;
    assert!(
        visited[1].starts_with("http://auth.localhost:8080/handoff?host=app.localhost%3A8080&")
    );
    assert_eq!(visited.last().unwrap(), rd, "{visited:?}");
    assert!(browser.cookie("app.localhost:8080", "vestibule").is_some());
    let who = browser.open("http://app.localhost:8080/.vestibule/whoami").await;
    assert_eq!(who.json()["user"], "ann");
}

#[tokio::test]
async fn a_hand_off_of_somebody_signed_out_goes_on_after_the_sign_in() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser();
    let start = format!("{APP}/.vestibule/start?rd={}", encode(&format!("{APP}/deep")));
    let (visited, page) = browser.follow(&start).await;
    assert!(visited.last().unwrap().starts_with("https://auth.example.com/login?rd="));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("form-action 'self' https://app.example.com;"), "{policy}");
    let rd = visited[1].clone();
    let answer = browser.sign_in("ann@example.com", PASSWORD, &rd).await;
    let (visited, _) = browser.follow(answer.location()).await;
    assert_eq!(visited.last().unwrap(), "https://app.example.com/deep", "{visited:?}");
}

#[tokio::test]
async fn redteam_43_of_a_return_that_is_too_long_the_origin_is_kept() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let rd = format!("{APP}/{}", "x".repeat(5_000));
    let (visited, _) = browser.follow(&format!("{PORTAL}/login?rd={rd}")).await;
    assert_eq!(visited.last().unwrap(), "https://app.example.com/", "{visited:?}");
    let rd = format!("https://evil.example/{}", "x".repeat(5_000));
    let (visited, _) = browser.follow(&format!("{PORTAL}/login?rd={rd}")).await;
    assert_eq!(visited.last().unwrap(), "https://auth.example.com/");
}
