//! `snippet`: what it prints for a file's routes. That it works is shown by the peer suite.

use vestibule_testkit::{MANAGED, Prepared, Route};

use crate::gateway;

fn prepared() -> Prepared {
    gateway()
        .toml("[server]\nportal_url = \"https://auth.example.test\"")
        .route(Route::new("wiki", "wiki.example.test").upstream("http://10.0.0.5:3000"))
        .route(
            Route::new("wiki.api", "wiki.example.test")
                .set("path", "/api")
                .upstream("https://api.internal:8443"),
        )
        .route(Route::new("elsewhere", "*.apps.example.test").access("signed-in"))
        .route(Route::new("portal-app", "auth.example.test").upstream("http://10.0.0.9:1"))
        .prepare()
}

const ADDRESSES: [&str; 4] = ["--hook", "vestibule:9091", "--door", "vestibule:8080"];

fn printed(proxy: &str) -> String {
    let arguments: Vec<&str> = ["snippet", proxy].into_iter().chain(ADDRESSES).collect();
    prepared().cli(&arguments).expect(0).stdout
}

#[test]
fn m4_m7_m9_every_managed_header_and_every_cleaned_credential_is_copied() {
    for proxy in ["nginx", "caddy", "traefik"] {
        let text = printed(proxy).to_lowercase();
        for name in MANAGED.iter().chain(&["cookie", "authorization", "x-api-key"]) {
            assert!(text.contains(name), "{proxy} forgets {name}");
        }
        assert!(text.contains("vestibule:9091") && text.contains("vestibule:8080"), "{proxy}");
        assert!(text.contains("10.0.0.5:3000") && text.contains("api.internal:8443"), "{proxy}");
    }
}

#[test]
fn a_wildcard_is_one_label_and_the_portals_host_is_not_asked_about() {
    assert!(printed("nginx").contains(r#"server_name "~^[^.]+\.apps\.example\.test$";"#));
    assert!(printed("traefik").contains(r"HostRegexp(`^[^.]+\.apps\.example\.test$`)"));
    assert!(printed("caddy").contains("https://*.apps.example.test {"));
    for proxy in ["nginx", "caddy", "traefik"] {
        assert!(!printed(proxy).contains("10.0.0.9"), "{proxy} sends the portal's host to an app");
    }
}

#[test]
fn only_hosts_that_take_foreign_tokens_send_their_document_to_vestibule() {
    let issuer = "[[jwt_issuer]]\nname = \"ci\"\nissuer = \"https://ci.example.test\"\n\
                  jwks_url = \"https://ci.example.test/jwks\"\naudience = [\"vestibule\"]\n\
                  algorithms = [\"EdDSA\"]";
    let prepared = gateway()
        .toml("[server]\nportal_url = \"https://auth.example.test\"")
        .toml(issuer)
        .route(Route::new("api", "api.example.test").rule(
            &["/v1/*"],
            &[],
            "{ credentials = [\"jwt:ci\"] }",
        ))
        .route(Route::new("wiki", "wiki.example.test").access("signed-in"))
        .prepare();
    for proxy in ["nginx", "caddy", "traefik"] {
        let arguments: Vec<&str> = ["snippet", proxy].into_iter().chain(ADDRESSES).collect();
        let text = prepared.cli(&arguments).expect(0).stdout;
        assert_eq!(text.matches("oauth-protected-resource").count(), 1, "{proxy}: {text}");
        assert!(!printed(proxy).contains("oauth-protected-resource"), "{proxy}");
    }
}

#[test]
fn m7_traefik_is_told_not_to_trust_and_how_much_to_read() {
    let text = printed("traefik");
    assert!(text.contains("trustForwardHeader: false"));
    assert!(text.contains("maxResponseBodySize:"));
}

#[test]
fn m1_m5_nginx_asks_within_only_and_caches_nothing() {
    let text = printed("nginx");
    let hook = text.split("location = /.vestibule-hook {").nth(1).unwrap();
    let hook = hook.split('}').next().unwrap();
    assert!(hook.contains("internal;") && hook.contains("proxy_cache off;"));
    assert!(hook.contains("$request_uri") && !hook.contains("$uri"));
    assert!(!text.contains("satisfy any"));
}

#[test]
fn what_is_not_built_yet_is_refused_by_name() {
    for proxy in ["haproxy", "envoy"] {
        let said = prepared().cli(&["snippet", proxy]).expect(1);
        assert!(said.stderr.contains("not available yet"), "{}", said.stderr);
        assert_eq!(said.stdout, "");
    }
}
