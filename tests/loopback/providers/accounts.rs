//! Whom a sign-in makes, whom it joins, whom it turns away.

use serde_json::json;
use vestibule_testkit::provider::{Op, Person};
use vestibule_testkit::{Actor, Gateway, PASSWORD, Recorder, Request, parameter};

use super::{WIKI, addresses, has_session, let_in, me, open_to, turned_away, visitor, wiki_answer};
use crate::gateway;
use crate::rows::{Portal, account, admin_api, audit_lines, form_request, wiki};

#[test]
fn g7_g8_no_odd_address_and_no_half_verified_one_passes_a_list_of_domains() {
    let app = Recorder::start();
    let op = Op::start();
    let piece = op.toml("op") + "allowed_domains = [\"corp.example\"]\n";
    let gateway = gateway().toml(&piece).route(wiki(&app)).start();
    let odd = [
        "a@evil@corp.example",
        "a@evil.example@corp.example",
        "\"a@corp.example\"@evil.example",
        "\"a b\"@corp.example",
        "a\u{ff20}corp.example",
        "a@evil.example\u{ff20}corp.example",
        "a@corp.example.",
        "a@corp.example.evil.example",
        "a@evilcorp.example",
        "a@sub.corp.example",
        "a@corp-example",
        "a@corp.ex\u{0430}mple",
        "a@c\u{043e}rp.example",
        "a@corp\u{3002}example",
        "a@corp.example\u{0}",
        "a@corp.example\n",
        "a@corp.example,b@evil.example",
        "a@evil.example,b@corp.example",
        "<a@corp.example>",
        "A <a@corp.example>",
        "a@[corp.example]",
        "@corp.example",
        "corp.example",
        "a@",
        " a@corp.example",
        "a @corp.example",
        "a@ corp.example",
        "a@xn--crp-5qa.example",
        "a@evil.example#@corp.example",
        "a%40evil.example@corp.example@",
    ];
    for address in odd {
        op.person(Person::new("eve").email(address, true));
        let mut eve = visitor(&gateway, "eve");
        let landing = eve.sign_in_with("op", &format!("{WIKI}/"));
        let status = landing.response.status;
        assert!(matches!(status, 401 | 403), "{address:?}: {status} {:?}", landing.visited);
        assert!(!has_session(&eve), "{address:?}");
    }
    for verified in
        [json!(false), json!("true"), json!("false"), json!(1), json!(null), json!([true])]
    {
        op.person(Person::new("eve").email("a@corp.example", verified.clone()));
        let mut eve = visitor(&gateway, "eve");
        let landing = eve.sign_in_with("op", "");
        let what = format!("email_verified {verified}");
        turned_away(&gateway, &eve, &landing, 403, "EMAIL_DOMAIN_NOT_ALLOWED", &what);
        let page = landing.response.text();
        assert!(page.contains("This email domain is not allowed"), "{page}");
    }
    op.person(Person::new("eve").email("a@corp.example", true).without("email_verified"));
    let mut eve = visitor(&gateway, "eve");
    let landing = eve.sign_in_with("op", "");
    turned_away(&gateway, &eve, &landing, 403, "EMAIL_DOMAIN_NOT_ALLOWED", "no email_verified");
    assert_eq!(addresses(&gateway), [] as [&str; 0], "nothing was made");
    // The plain one passes, and is active although accounts wait for approval here.
    op.person(Person::new("ann").email("ann@corp.example", true));
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    assert_eq!(me(&mut ann)["status"], "active");
    assert_eq!(addresses(&gateway), ["ann@corp.example"]);
}

#[test]
fn seed_001_01_g8_an_account_that_made_itself_waits_for_approval() {
    let app = Recorder::start();
    let (op, quick) = (Op::start(), Op::start());
    let pieces = [op.toml("op"), quick.toml("quick") + "auto_approve = true\n"];
    let builder = pieces.iter().fold(gateway(), |builder, piece| builder.toml(piece));
    let gateway = builder.route(wiki(&app)).admin("root").start();
    let mut ann = visitor(&gateway, "ann");
    let landing = ann.sign_in_with("op", &format!("{WIKI}/"));
    assert!(landing.url.contains("/pending"), "{:?}", landing.visited);
    assert!(landing.response.text().contains("Awaiting approval"));
    assert_eq!(me(&mut ann)["status"], "pending");
    assert_eq!(app.count(), 0);
    let id = me(&mut ann)["id"].as_str().unwrap().to_owned();
    let mut root = gateway.as_user("root");
    let approve = json!({ "status": "active" });
    let _ =
        admin_api(&mut root, gateway.portal(), "PATCH", &format!("/users/{id}"), Some(&approve));
    vestibule_testkit::until("approved", || (wiki_answer(&mut ann).status == 200).then_some(()));
    let mut bob = visitor(&gateway, "bob");
    let _ = let_in(&mut bob, "quick", &format!("{WIKI}/"));
    assert_eq!(me(&mut bob)["status"], "active", "auto_approve");
}

#[test]
fn g8_a_provider_may_be_kept_from_making_accounts() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = gateway()
        .toml("[auth]\napproval = false\nprovider_signup = false")
        .toml(&op.toml("op"))
        .route(wiki(&app))
        .user("ann", &[])
        .start();
    let mut eve = visitor(&gateway, "eve");
    let landing = eve.sign_in_with("op", "");
    turned_away(&gateway, &eve, &landing, 403, "SIGNUP_DISABLED", "provider_signup = false");
    assert_eq!(addresses(&gateway), ["ann@example.test"]);
    // Whom it only has to join comes in.
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    assert_eq!(addresses(&gateway), ["ann@example.test"]);
}

#[test]
fn g8_safe_joins_a_plain_account_and_asks_an_administrator_first() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).user("ann", &[]).admin("root").start();
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    assert_eq!(me(&mut ann)["id"], account(&gateway, "ann@example.test")["id"], "joined");
    let _ = Portal::of(&gateway).login("ann@example.test", PASSWORD).expect(200);

    let mut root = visitor(&gateway, "root");
    let landing = root.sign_in_with("op", "");
    turned_away(&gateway, &root, &landing, 403, "LINK_REFUSED", "an administrator's address");
    assert!(landing.response.text().contains("/login"), "{}", landing.response.text());
    assert_eq!(addresses(&gateway).len(), 2, "nothing is created");
    assert_eq!(audit_lines(&gateway, "provider.link_refused").len(), 1);
    assert_eq!(account(&gateway, "root@example.test")["role"], "admin");
}

#[test]
fn g8_never_joins_nobody_by_an_address() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")])
        .toml("[auth]\nlink_verified_email = \"never\"")
        .user("ann", &[])
        .start();
    let mut ann = visitor(&gateway, "ann");
    let landing = ann.sign_in_with("op", "");
    turned_away(&gateway, &ann, &landing, 403, "LINK_REFUSED", "never");
    assert_eq!(addresses(&gateway), ["ann@example.test"], "nothing is created");
}

#[test]
fn g8_nobody_can_sit_on_an_address_in_advance() {
    for mode in ["safe", "always"] {
        let app = Recorder::start();
        let op = Op::start();
        let gateway = open_to(&app, &[op.toml("op")])
            .toml(&format!(
                "[auth]\nlink_verified_email = \"{mode}\"\n[auth.password]\nsignup = true"
            ))
            .start();
        let portal = Portal::of(&gateway);
        let squatted = "their-Own-Passphrase-9";
        let _ = portal.sign_up("ann@example.test", squatted).expect(201);
        let mut squatter = gateway.anonymous();
        let _ = squatter.sign_in("ann@example.test", squatted).expect(200);
        squatter.enter(&format!("{WIKI}/"));
        assert_eq!(account(&gateway, "ann@example.test")["email_verified"], false, "{mode}");
        let (_, key) = squatter.create_key(&json!({ "name": "back door" }));

        let mut ann = visitor(&gateway, "ann");
        let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
        assert_eq!(me(&mut ann)["email_verified"], true, "{mode}");
        let _ = portal.login("ann@example.test", squatted).expect(401);
        assert_eq!(wiki_answer(&mut squatter).status, 401, "{mode}: the squatter's session");
        let _ = gateway.with_key(&key).send(Request::get(&format!("{WIKI}/"))).expect(401);
        assert_eq!(addresses(&gateway).len(), 1, "{mode}");
    }
}

#[test]
fn g8_a_changed_address_at_the_provider_takes_nobody_over() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).user("joe", &[]).admin("root").start();
    let mut eve = visitor(&gateway, "eve");
    let _ = let_in(&mut eve, "op", "");
    let id = me(&mut eve)["id"].clone();
    for victim in ["root", "joe"] {
        op.person(Person::new("eve").email(&format!("{victim}@example.test"), true));
        let mut again = visitor(&gateway, "eve");
        let landing = again.sign_in_with("op", "");
        assert_eq!(landing.response.status, 200, "{:?}", landing.response);
        let shown = me(&mut again);
        assert_eq!(shown["id"], id, "the identity is (issuer, sub)");
        assert_eq!(shown["role"], "user");
        assert_ne!(shown["email"], format!("{victim}@example.test"), "two accounts, one address");
    }
    // Nor by a user name.
    op.person(Person::new("mallory").claim("preferred_username", "root"));
    let mut mallory = visitor(&gateway, "mallory");
    let _ = let_in(&mut mallory, "op", &format!("{WIKI}/"));
    assert_ne!(me(&mut mallory)["username"], "root");
    assert_ne!(app.last().header("remote-user"), Some("root"));
}

#[test]
fn g8_roles_come_by_an_explicit_map_only() {
    let app = Recorder::start();
    let op = Op::start();
    let piece = op.toml("op")
        + "roles = { \"vestibule-admins\" = \"admin\" }\ngroups = { \"vestibule-admins\" = \"admins\" }\n";
    let gateway = open_to(&app, &[piece]).admin("root").start();
    op.person(
        Person::new("eve").groups(&["admin", "admins", "administrators"]).claim("role", "admin"),
    );
    op.person(Person::new("ann").groups(&["vestibule-admins", "staff"]));
    let (mut eve, mut ann) = (visitor(&gateway, "eve"), visitor(&gateway, "ann"));
    let _ = let_in(&mut eve, "op", "");
    let _ = let_in(&mut ann, "op", "");
    assert_eq!(me(&mut eve)["role"], "user");
    assert_eq!(me(&mut ann)["role"], "admin");
    assert_eq!(me(&mut ann)["groups"], json!(["admins", "staff"]));
}

#[test]
fn seed_004_68_a_second_factor_there_counts_where_the_provider_is_trusted_with_it() {
    let app = Recorder::start();
    let (by_amr, by_acr, plain) = (Op::start(), Op::start(), Op::start());
    let pieces = [
        by_amr.toml("amr") + "mfa_from = \"amr\"\n",
        by_acr.toml("acr") + "mfa_from = \"acr:gold\"\n",
        plain.toml("plain"),
    ];
    let builder = gateway().toml("[auth]\napproval = false");
    let builder = pieces.iter().fold(builder, |builder, piece| builder.toml(piece));
    let gateway = builder
        .route(
            vestibule_testkit::Route::new("wiki", "wiki.example.test")
                .upstream(app.url())
                .access("mfa"),
        )
        .start();
    let tries = [
        ("amr", &by_amr, json!(["pwd", "mfa"]), json!(null), true),
        ("amr", &by_amr, json!(["pwd", "otp"]), json!(null), true),
        ("amr", &by_amr, json!(["pwd"]), json!(null), false),
        ("amr", &by_amr, json!("mfa"), json!(null), false),
        ("amr", &by_amr, json!(null), json!("gold"), false),
        ("acr", &by_acr, json!(null), json!("gold"), true),
        ("acr", &by_acr, json!(["mfa"]), json!("silver"), false),
        ("acr", &by_acr, json!(["mfa"]), json!(["gold"]), false),
        ("plain", &plain, json!(["mfa"]), json!("gold"), false),
    ];
    for (nth, (provider, op, amr, acr, holds)) in tries.into_iter().enumerate() {
        let name = format!("p{nth}");
        op.person(Person::new(&name).claim("amr", amr.clone()).claim("acr", acr.clone()));
        let mut actor = visitor(&gateway, &name);
        let callback = actor.callback_of(provider, "");
        let landing = actor.travel(&callback);
        assert_eq!(landing.response.status, 200, "{:?}", landing.response);
        let answer = wiki_answer(&mut actor);
        let due = if holds { 200 } else { 401 };
        assert_eq!(answer.status, due, "{provider} amr={amr} acr={acr}: {answer:?}");
        if !holds {
            assert_eq!(answer.code().as_deref(), Some("STEP_UP_REQUIRED"));
        }
    }
}

/// The way to join that a page of refusal offers: what its link to the sign-in leads back to.
fn joining_place(page: &str, portal: &str) -> String {
    let unescaped = page.replace("&amp;", "&").replace("&#38;", "&");
    let hrefs = unescaped.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let rd = hrefs
        .filter(|href| href.contains("/login"))
        .find_map(|href| parameter(href, "rd").filter(|rd| rd.contains("/settings/link")))
        .unwrap_or_else(|| panic!("no way to join: {page}"));
    if rd.starts_with('/') { format!("{portal}{rd}") } else { rd }
}

#[test]
fn g8_a_waiting_link_is_joined_by_its_owner_in_the_same_browser_and_once() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway: Gateway = open_to(&app, &[op.toml("op")]).user("joe", &[]).admin("root").start();
    let portal = gateway.portal().to_owned();
    let mut browser = visitor(&gateway, "root");
    let landing = browser.sign_in_with("op", "");
    let what = "an administrator's address";
    turned_away(&gateway, &browser, &landing, 403, "LINK_REFUSED", what);
    let place = joining_place(&landing.response.text(), &portal);
    let join = |actor: &mut Actor| {
        let token = parameter(&place, "token").unwrap();
        let form = form_request(&portal, "/settings/link").form(&[("token", &token)]);
        actor.send(form)
    };
    // Nobody at all, the owner in another browser, somebody else in this one.
    let _ = join(&mut browser);
    let mut elsewhere = gateway.as_user("root");
    assert_eq!(elsewhere.navigate(&place).response.status, 404, "another browser");
    let _ = join(&mut elsewhere);
    let mut other = browser.clone();
    let _ = other.sign_in("joe@example.test", PASSWORD).expect(200);
    assert_eq!(other.navigate(&place).response.status, 403, "another account");
    let _ = join(&mut other);
    let mut again = visitor(&gateway, "root");
    let landing = again.sign_in_with("op", "");
    assert_eq!(landing.response.code().as_deref(), Some("LINK_REFUSED"), "nothing was joined");

    let _ = browser.sign_in("root@example.test", PASSWORD).expect(200);
    let asked = browser.navigate(&place).response.expect(200).text();
    assert!(asked.contains("Link op?") && asked.contains("root@example.test"), "{asked}");
    let answer = join(&mut browser);
    assert!(matches!(answer.status, 302 | 303), "{answer:?}");
    let second = join(&mut browser);
    assert!((400..500).contains(&second.status), "it serves once: {second:?}");
    let mut root = visitor(&gateway, "root");
    let _ = let_in(&mut root, "op", "");
    assert_eq!(me(&mut root)["role"], "admin");
    assert_eq!(addresses(&gateway).len(), 2);
}

#[test]
fn g8_f3_people_link_and_unlink_in_their_settings() {
    let app = Recorder::start();
    let op = Op::start();
    op.person(Person::new("joe").email("another@elsewhere.example", true));
    let gateway = open_to(&app, &[op.toml("op")]).user("joe", &[]).user("kim", &[]).start();
    let portal = gateway.portal().to_owned();
    let send = |actor: &mut Actor, fields: &[(&str, &str)]| {
        actor.send(form_request(&portal, "/settings/providers").form(fields))
    };
    let link = |actor: &mut Actor| {
        let answer = send(actor, &[("action", "link"), ("provider", "op")]);
        assert!(matches!(answer.status, 302 | 303), "{answer:?}");
        let location = answer.location().to_owned();
        actor.travel(&location)
    };
    let mut joe = gateway.as_user("joe").known_as("joe");
    let id = me(&mut joe)["id"].clone();
    let landing = link(&mut joe);
    assert_eq!(landing.response.status, 200, "{:?}", landing.visited);
    assert!(landing.response.text().contains("Unlink"), "{}", landing.response.text());
    let mut by_provider = visitor(&gateway, "joe");
    let _ = let_in(&mut by_provider, "op", &format!("{WIKI}/"));
    let shown = me(&mut by_provider);
    assert_eq!((&shown["id"], &shown["email"]), (&id, &json!("joe@example.test")));

    // One identity, one account.
    let mut kim = gateway.as_user("kim").known_as("joe");
    let landing = link(&mut kim);
    assert_eq!(
        (landing.response.status, landing.response.code().as_deref()),
        (403, Some("LINK_REFUSED"))
    );
    assert_eq!(me(&mut kim)["email"], "kim@example.test", "the session stays whose it was");

    // Unlinked, the identity is nobody's and its sessions have ended.
    let fields = [("action", "unlink"), ("issuer", op.issuer()), ("subject", "sub-of-joe")];
    let _ = send(&mut kim, &fields);
    assert_eq!(wiki_answer(&mut by_provider).status, 200, "kim cannot unlink joe's");
    let answer = send(&mut joe, &fields);
    assert!(matches!(answer.status, 302 | 303), "{answer:?}");
    assert_eq!(wiki_answer(&mut by_provider).status, 401, "F3: its sessions have ended");
    assert_eq!(me(&mut joe)["id"], id, "a session by password goes on");
    let mut again = visitor(&gateway, "joe");
    let _ = let_in(&mut again, "op", "");
    assert_ne!(me(&mut again)["id"], id, "another account");
    // The only way in is not thrown away.
    let answer = send(&mut again, &fields);
    assert!((400..500).contains(&answer.status), "{answer:?}");
    let _ = let_in(&mut visitor(&gateway, "joe"), "op", "");
}
