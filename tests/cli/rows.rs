//! Rows of the documents that are about variables and commands.

use vestibule_testkit::{GatewayBuilder, PASSWORD, Route};

use crate::gateway;

const SECRET: &str = "9f2b7c41d0e85a6634bb17c9e0f3d2a85c6e7f901b2a3d4c5e6f708192a3b4c5";

fn by_variables(variables: &[(&str, &str)]) -> GatewayBuilder {
    let wiki =
        Route::new("wiki", "wiki.example.test").upstream("http://127.0.0.1:1").access("signed-in");
    let builder = gateway().without("secrets").route(wiki);
    variables.iter().fold(builder, |builder, (name, value)| builder.env(name, value))
}

#[test]
fn seed_000_01_the_schema_lists_how_people_sign_in() {
    let prepared = gateway().prepare();
    let output = prepared.command(&["schema"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let properties = schema["properties"].as_object().expect("properties");
    for name in ["auth", "provider", "smtp"] {
        assert!(properties.contains_key(name), "000-01: {name}");
    }
    let text = schema.to_string();
    for name in ["mode", "signup", "passkeys", "totp", "issuer", "starttls"] {
        assert!(text.contains(&format!("\"{name}\"")), "000-01: {name}");
    }
}

#[test]
fn seed_000_19_mail_is_off_unless_it_is_switched_on() {
    let gateway = by_variables(&[
        ("AUTH_SECRET", SECRET),
        ("VESTIBULE_PROFILE", "penombre"),
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", "9"),
    ])
    .start();
    let url = "https://auth.example.test/api/v1/auth";
    let client = gateway.client();
    let body = serde_json::json!({ "email": "ann@example.test", "password": PASSWORD });
    let post = |path: &str| {
        client.send(&vestibule_testkit::Request::new("POST", &format!("{url}{path}")).json(&body))
    };
    let _ = post("/signup").expect(201);
    let _ = post("/login").expect(200);
}

#[test]
fn seed_002_01_seed_002_33_seed_002_34_seed_002_51_every_value_tells_where_it_comes_from() {
    let prepared = by_variables(&[
        ("AUTH_JWT_SECRET", SECRET),
        ("AUTH_JWT_ACCESS_TOKEN_LIFETIME", "60"),
        ("VESTIBULE_AUTH__SESSION__LIFETIME", "3d"),
    ])
    .prepare();
    let said = prepared.cli(&["check", "--format", "json"]).expect(0);
    let all = &said.stdout;
    for origin in [
        "env:AUTH_JWT_ACCESS_TOKEN_LIFETIME",
        "env:AUTH_JWT_SECRET",
        "env:VESTIBULE_AUTH__SESSION__LIFETIME",
        "default",
    ] {
        assert!(all.contains(origin), "002-51: {origin}: {all}");
    }
    assert!(all.contains("vestibule.toml:"), "002-51: file and line: {all}");
    assert!(!all.contains(SECRET), "002-51: never a secret");
    let explained =
        prepared.cli(&["explain", "GET", "https://wiki.example.test/", "--format", "json"]);
    let explained = explained.expect(0).json();
    assert_eq!(explained["verdict"], "challenge", "002-01: {explained}");
    assert_eq!(explained["route"], "wiki", "002-01");
    let _ = prepared.cli(&["user", "list"]).expect(0);
}

#[test]
fn seed_002_15_a_short_jwt_secret_draws_a_warning_only() {
    let builder = by_variables(&[("AUTH_JWT_SECRET", &SECRET[..31])]);
    let said = builder.prepare().cli(&["check"]).expect(0);
    let all = said.stdout + &said.stderr;
    assert!(all.contains("AUTH_JWT_SECRET") && all.contains("32"), "002-15: {all}");
    let mut gateway = builder.start();
    let _ = gateway.wait_log(&["WARN", "AUTH_JWT_SECRET"]);
}

#[test]
fn seed_002_70_seed_002_64_seed_002_65_a_secret_may_stand_in_a_file_and_no_step_is_by_hand() {
    let builder = by_variables(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwt");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, mode).unwrap();
    let gateway =
        builder.env("AUTH_JWT_SECRET_FILE", file.to_str().unwrap()).user("ann", &[]).start();
    let login = serde_json::json!({ "email": "ann@example.test", "password": PASSWORD });
    let url = "https://auth.example.test/api/v1/auth/login";
    let tokens = gateway.client().send(&vestibule_testkit::Request::new("POST", url).json(&login));
    let tokens = tokens.expect(200).json();
    let head = tokens["access_token"].as_str().unwrap().split('.').next().unwrap().to_owned();
    let bytes =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, head).unwrap();
    assert!(
        String::from_utf8_lossy(&bytes).contains("HS256"),
        "002-70: the secret of the file signs"
    );

    let status = gateway.cli(&["db", "status"]).expect(0).stdout;
    assert!(status.to_lowercase().contains("applied"), "002-64, 002-65: {status}");
    let again = gateway.cli(&["db", "migrate"]);
    assert!(again.code == 0 || again.stderr.contains("stop"), "002-64: {again:?}");
}

#[test]
fn seed_000_12_seed_001_04_seed_002_12_variables_are_read_as_their_documents_say() {
    let effective = |variables: &[(&str, &str)]| {
        let builder =
            by_variables(variables).without("server.portal_url").env("AUTH_SECRET", SECRET);
        builder.prepare().cli(&["check", "--format", "json"])
    };
    for (text, due) in [("TRUE", true), ("1", true), ("yes", true), ("On", true), ("", true)] {
        let said =
            effective(&[("LOCAL_AUTH", text), ("ORIGIN", "https://auth.example.test")]).expect(0);
        let value = find(&said.json()["effective"], "auth.password.enabled");
        assert_eq!(value, Some(serde_json::Value::Bool(due)), "001-04: {text:?}");
    }
    let said = effective(&[
        ("VESTIBULE_PROFILE", "everruns"),
        ("AUTH_MODE", "full"),
        ("AUTH_JWT_SECRET", SECRET),
    ]);
    let portal = find(&said.expect(0).json()["effective"], "server.portal_url");
    assert_eq!(portal, Some("http://localhost:9300".into()), "002-12");
    // A name that is shut out is as good as not set.
    let said = effective(&[
        ("ORIGIN", "https://auth.example.test"),
        ("LOCAL_AUTH", "nonsense"),
        ("VESTIBULE_IGNORE_ENV", "LOCAL_*"),
    ]);
    let _ = said.expect(0);
}

/// The value of a dotted key, in either form: one flat map or nested tables.
fn find(effective: &serde_json::Value, key: &str) -> Option<serde_json::Value> {
    let entry = effective
        .get(key)
        .or_else(|| key.split('.').try_fold(effective, |table, part| table.get(part)))?;
    Some(entry.get("value").unwrap_or(entry).clone())
}
