//! Writes every page to a folder, to be looked at: `cargo test -p vestibule-portal gallery -- --ignored`.

use http::Method;

use vestibule_core::account::{Role, Status};
use vestibule_core::settings::provider::spec::ProviderSpec;
use vestibule_core::settings::provider::{IncompleteProvider, ProviderOrigin};
use vestibule_testkit::provider::{Endpoint, Op, OpFault, Person};

use crate::op::{at_provider, query, resolved, set_clock, spec};
use crate::stage::{Ask, PASSWORD, Stage};

fn write(name: &str, body: &str) {
    let dir = std::env::temp_dir().join("vestibule-gallery");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(format!("{name}.html")), body).unwrap();
}

#[tokio::test]
#[ignore = "writes files for human eyes"]
async fn gallery_of_all_pages() {
    let stage = Stage::with(|s| s.auth.approval = true).await;
    let first = Ask::new(Method::GET, "/setup").header("accept", "text/html");
    write("setup-token", &stage.send(first.clone()).await.body);
    write("setup", &stage.send(first.on_loopback()).await.body);
    write("login-first", &stage.browser().open("/login").await.body);
    stage.person("root@example.com", Role::Admin).await;
    stage.account("wait@example.com", Role::User, Status::Pending).await;
    stage.account("no@example.com", Role::User, Status::Rejected).await;
    write("login", &stage.browser().open("/login").await.body);
    write("login-out", &stage.browser().open("/login?signed_out").await.body);
    write("login-error", &stage.browser().sign_in("ann@example.com", "x", "").await.body);
    write("signup", &stage.browser().open("/signup").await.body);
    write("not-found", &stage.browser().open("/nowhere").await.body);
    write("pending", &stage.browser_of("wait@example.com").await.open("/pending").await.body);
    write("rejected", &stage.browser_of("no@example.com").await.open("/rejected").await.body);
    let mut root = stage.browser_of("root@example.com").await;
    write("setup-done", &root.open("/setup/done").await.body);
    write("launcher", &root.open("/").await.body);
    write("keys-empty", &root.open("/api-keys").await.body);
    let fields = [
        ("action", "create"),
        ("name", "Backup on the NAS"),
        ("expires", "90"),
        ("scopes", "route:files:GET keys"),
    ];
    root.submit("/api-keys", &fields).await;
    let fields = [
        ("action", "create"),
        ("name", "Continuous integration"),
        ("expires", "never"),
        ("scopes", ""),
    ];
    write("keys", &root.submit("/api-keys", &fields).await.body);
    stage.browser_of("root@example.com").await;
    write("settings", &root.open("/settings?saved=profile").await.body);
    write("users", &root.open("/admin/users").await.body);
    write("password", &root.open("/settings?change=password").await.body);
    write("reauth", &root.open("/login?step=reauth").await.body);
    write("mfa", &root.open("/login?step=mfa").await.body);
    let ask = Ask::new(Method::GET, "/logout")
        .header("accept", "text/html")
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-site", "cross-site");
    write("logout", &root.send(ask).await.body);
    let none = Stage::with(|s| s.auth.mode = vestibule_core::settings::auth::Mode::None).await;
    write("none", &none.browser().open("/").await.body);
}

#[tokio::test]
#[ignore = "writes files for human eyes"]
async fn gallery_of_providers() {
    let (corp, down) = (Op::start(), Op::start());
    let labelled = |op: &Op, id: &str, label: &str| ProviderSpec {
        label: Some(label.to_owned()),
        mfa_from: Some("amr".to_owned()),
        ..spec(op, id)
    };
    let stage = Stage::with(|s| {
        let spec = labelled(&corp, "pocket-id", "Pocket ID");
        s.providers.push(resolved(s, &spec, ProviderOrigin::File));
        let spec = labelled(&down, "authentik", "Authentik");
        s.providers.push(resolved(s, &spec, ProviderOrigin::Environment));
        s.incomplete_providers.push(IncompleteProvider {
            id: "google".into(),
            missing: vec!["AUTH_GOOGLE_CLIENT_SECRET".to_owned()],
        });
    })
    .await;
    set_clock(&corp, &stage);
    set_clock(&down, &stage);
    down.fault(Endpoint::Discovery, Some(OpFault::Status(503)));
    stage.account("root@example.test", Role::Admin, Status::Active).await;
    write("provider-failed", &stage.browser().start_with("authentik", "").await.body);
    write("provider-login", &stage.browser().open("/login").await.body);
    let mut browser = stage.browser();
    browser.sign_in_with("pocket-id", "ann", "").await;
    write("provider-reauth", &browser.open("/login?step=reauth").await.body);
    write("provider-mfa", &browser.open("/login?step=mfa").await.body);
    write("provider-settings", &browser.open("/settings?saved=linked").await.body);
    corp.person(Person::new("root").claim("email_verified", false));
    let page = stage.browser().sign_in_with("pocket-id", "root", "").await;
    write("provider-unverified", &page.body);
    corp.person(Person::new("root"));
    let mut waiting = stage.browser();
    let page = waiting.sign_in_with("pocket-id", "root", "").await;
    write("provider-waiting", &page.body);
    let at = page.body.find("/login?rd=").unwrap();
    let rd = query(page.body[at..].split('"').next().unwrap())["rd"].clone();
    waiting.sign_in("root@example.test", PASSWORD, "").await;
    write("provider-join", &waiting.open(&rd).await.body);
    write("provider-expired", &waiting.open("/settings/link?token=x").await.body);
    let start = stage.browser().start_with("pocket-id", "").await;
    let callback = at_provider(start.location(), "ann");
    write("provider-other-browser", &stage.browser().open_from_outside(&callback).await.body);
    write("provider-unknown", &stage.browser().open("/api/v1/auth/login/nope").await.body);

    let mut root = stage.browser_of("root@example.test").await;
    let secret = corp.client_secret().to_owned();
    let create = |action: &'static str, id: &'static str| {
        let place = [("kind", "oidc"), ("id", id), ("issuer", corp.issuer()), ("label", "Zitadel")];
        let client =
            [("action", action), ("client_id", corp.client_id()), ("client_secret", &*secret)];
        place.into_iter().chain(client).collect::<Vec<_>>()
    };
    write("admin-tested", &root.submit("/admin/providers", &create("test", "zitadel")).await.body);
    write(
        "admin-refused",
        &root.submit("/admin/providers", &create("create", "Not An Id")).await.body,
    );
    root.submit("/admin/providers", &create("create", "zitadel")).await;
    write("admin-providers", &root.open("/admin/providers").await.body);
    write("admin-created", &root.open("/admin/providers/zitadel?done=created").await.body);
    let test = [("action", "test")];
    write("admin-down", &root.submit("/admin/providers/authentik", &test).await.body);
    write("admin-good", &root.submit("/admin/providers/zitadel", &test).await.body);
    write("setup-oauth", &root.open("/setup/oauth").await.body);
    let fields = [
        ("action", "test"),
        ("kind", "authentik"),
        ("base_url", down.base_url()),
        ("slug", "x"),
        ("client_id", "c"),
        ("client_secret", "s"),
    ];
    write("setup-oauth-tested", &root.submit("/setup/oauth", &fields).await.body);
    write("setup-oauth-done", &root.open("/setup/done?provider=zitadel").await.body);
}
