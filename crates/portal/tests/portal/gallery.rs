//! Writes every page to a folder, to be looked at: `cargo test -p vestibule-portal gallery -- --ignored`.

use http::Method;

use vestibule_core::account::{Role, Status};

use crate::stage::{Ask, Stage};

#[tokio::test]
#[ignore = "writes files for human eyes"]
async fn gallery_of_all_pages() {
    let dir = std::env::temp_dir().join("vestibule-gallery");
    std::fs::create_dir_all(&dir).unwrap();
    let write =
        |name: &str, body: &str| std::fs::write(dir.join(format!("{name}.html")), body).unwrap();
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
