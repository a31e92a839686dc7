use std::sync::Arc;

use super::*;
use crate::account::Role;
use crate::settings::provider::{MfaFrom, ProviderPlace};

const PORTAL: &str = "https://requests.example.com";
const CALLBACK: &str = "https://requests.example.com/api/v1/auth/callback/<id>";

fn oidc() -> ProviderSpec {
    ProviderSpec {
        id: "pocket-id".to_owned(),
        issuer: Some("https://id.example.com".to_owned()),
        client_id: "vestibule".to_owned(),
        ..ProviderSpec::default()
    }
}

fn of_kind(kind: &str) -> ProviderSpec {
    ProviderSpec {
        id: kind.to_owned(),
        kind: Some(kind.to_owned()),
        client_id: "vestibule".to_owned(),
        ..ProviderSpec::default()
    }
}

fn authentik(base: &str) -> ProviderSpec {
    ProviderSpec {
        base_url: Some(base.to_owned()),
        slug: Some("pantrie".to_owned()),
        ..of_kind("authentik")
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn resolve_in(spec: &ProviderSpec, development: bool) -> Result<Provider, Vec<SpecProblem>> {
    let portal = Origin::parse(PORTAL).unwrap();
    spec.resolve(&ProviderContext {
        portal: &portal,
        development,
        default_redirect_uri: CALLBACK,
        origin: ProviderOrigin::File,
    })
}

#[track_caller]
fn good(spec: &ProviderSpec) -> Provider {
    resolve_in(spec, false).unwrap()
}

/// Key and code of every problem.
#[track_caller]
fn bad(spec: &ProviderSpec) -> Vec<(String, &'static str)> {
    let problems = resolve_in(spec, false).unwrap_err();
    for problem in &problems {
        assert!(!problem.message.is_empty() && !problem.help.is_empty(), "{problem:?}");
    }
    problems.into_iter().map(|problem| (problem.key, problem.code)).collect()
}

#[track_caller]
fn only(spec: &ProviderSpec) -> (String, &'static str) {
    let mut problems = bad(spec);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn what_is_left_out_is_filled_in() {
    let provider = good(&oidc());
    assert_eq!(provider.kind, ProviderKind::Oidc);
    assert_eq!(provider.place, ProviderPlace::Issuer("https://id.example.com".to_owned()));
    assert_eq!(provider.scopes, ["openid", "profile", "email"]);
    assert_eq!(provider.mfa_from, MfaFrom::None);
    assert!(provider.pkce && provider.enabled && provider.trust_email && !provider.auto_approve);
    assert_eq!(
        provider.redirect_uri,
        "https://requests.example.com/api/v1/auth/callback/pocket-id"
    );
    assert!(provider.allowed_domains.is_empty() && provider.roles.is_empty());
}

#[test]
fn every_problem_is_told_at_once() {
    let spec = ProviderSpec {
        id: "Pocket ID".to_owned(),
        issuer: text("id.example.com"),
        mfa_from: text("otp"),
        allowed_domains: Some(vec!["@example.com".to_owned()]),
        ..ProviderSpec::default()
    };
    let keys: Vec<String> = bad(&spec).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["id", "issuer", "client_id", "allowed_domains", "mfa_from"]);
}

#[test]
fn an_id_has_1_to_32_small_letters_digits_and_two_signs() {
    for id in ["a", "my_idp-2", &"x".repeat(32)] {
        assert_eq!(&*good(&ProviderSpec { id: id.to_owned(), ..oidc() }).id, id);
    }
    for id in ["Plex", "a.b", "a/b", "ä", &"x".repeat(33)] {
        assert_eq!(
            only(&ProviderSpec { id: id.to_owned(), ..oidc() }),
            ("id".to_owned(), "bad-value")
        );
    }
    assert_eq!(
        only(&ProviderSpec { id: String::new(), ..oidc() }),
        ("id".to_owned(), "missing-key")
    );
}

#[test]
fn an_unknown_kind_is_all_that_is_told() {
    let spec = ProviderSpec { kind: text("saml"), client_id: String::new(), ..oidc() };
    assert_eq!(only(&spec), ("kind".to_owned(), "unknown-value"));
}

#[test]
fn seed_000_43_a_discovery_url_is_kept_and_ends_as_it_must() {
    let url = "https://id.example.com/realms/a/.well-known/openid-configuration";
    let spec = ProviderSpec { issuer: None, discovery_url: text(url), ..oidc() };
    assert_eq!(good(&spec).place, ProviderPlace::Discovery(url.to_owned()));
    for url in [
        "https://id.example.com/discovery",
        "https://id.example.com/.well-known/openid-configuration/",
    ] {
        let spec = ProviderSpec { discovery_url: text(url), ..spec.clone() };
        assert_eq!(only(&spec), ("discovery_url".to_owned(), "bad-value"), "{url}");
    }
    let mistaken = ProviderSpec { issuer: text(url), ..oidc() };
    assert_eq!(only(&mistaken), ("issuer".to_owned(), "bad-value"));
    assert!(
        resolve_in(&mistaken, false).unwrap_err()[0]
            .help
            .contains("\"https://id.example.com/realms/a\"")
    );
}

#[test]
fn issuer_and_discovery_url_denote_the_same_issuer_or_are_refused() {
    let both = |issuer: &str| ProviderSpec {
        issuer: text(issuer),
        discovery_url: text("https://id.example.com/a/.well-known/openid-configuration"),
        ..oidc()
    };
    for issuer in ["https://id.example.com/a", "https://id.example.com/a/"] {
        assert_eq!(good(&both(issuer)).place, ProviderPlace::Issuer(issuer.to_owned()));
    }
    assert_eq!(
        only(&both("https://id.example.com/b")),
        ("issuer".to_owned(), "conflicting-issuers")
    );
}

#[test]
fn an_issuer_is_a_url_without_query_fragment_and_credentials() {
    for url in [
        "id.example.com",
        "//id.example.com",
        "ftp://id.example.com",
        "https://",
        "https://id.example.com?x=1",
        "https://id.example.com/#a",
        "https://user:pass@id.example.com",
        "https://id.example.com/a b",
        "https://login.example.com/{tenantid}/v2.0",
        "https://id.example.com\\@evil.example",
        " https://id.example.com",
        "https://id.example.com/\n",
    ] {
        let spec = ProviderSpec { issuer: text(url), ..oidc() };
        assert_eq!(only(&spec), ("issuer".to_owned(), "bad-value"), "{url:?}");
    }
}

#[test]
fn seed_004_63_plain_http_is_for_loopback_and_development() {
    let over_http = |url: &str| ProviderSpec { issuer: text(url), ..oidc() };
    assert_eq!(
        only(&over_http("http://id.example.com")),
        ("issuer".to_owned(), "insecure-provider-url")
    );
    assert_eq!(
        only(&authentik("http://authentik.example.com")),
        ("base_url".to_owned(), "insecure-provider-url")
    );
    for url in [
        "http://127.0.0.1:9000",
        "http://localhost:9000/a",
        "http://[::1]:9000",
        "http://id.localhost",
    ] {
        assert!(resolve_in(&over_http(url), false).is_ok(), "{url}");
    }
    assert!(resolve_in(&over_http("http://id.example.com"), true).is_ok());
}

#[test]
fn seed_004_30_seed_004_31_seed_004_32_authentik_is_found_by_base_url_and_slug() {
    for (base, discovery) in [
        (
            "https://ak.example.com",
            "https://ak.example.com/application/o/pantrie/.well-known/openid-configuration",
        ),
        (
            "https://ak.example.com/",
            "https://ak.example.com/application/o/pantrie/.well-known/openid-configuration",
        ),
        (
            "https://example.com/ak",
            "https://example.com/ak/application/o/pantrie/.well-known/openid-configuration",
        ),
        (
            "https://example.com/ak//",
            "https://example.com/ak/application/o/pantrie/.well-known/openid-configuration",
        ),
    ] {
        let provider = good(&authentik(base));
        assert_eq!(provider.place, ProviderPlace::Discovery(discovery.to_owned()), "{base}");
        assert_eq!(provider.label, "Authentik");
    }
}

#[test]
fn authentik_lacks_what_it_lacks_and_takes_one_issuer_only() {
    assert_eq!(
        bad(&of_kind("authentik")),
        [("base_url".to_owned(), "missing-key"), ("slug".to_owned(), "missing-key")]
    );
    let no_slug = ProviderSpec { slug: None, ..authentik("https://ak.example.com") };
    assert_eq!(only(&no_slug), ("slug".to_owned(), "missing-key"));
    let with = |url: &str| ProviderSpec {
        discovery_url: text(url),
        ..authentik("https://ak.example.com")
    };
    let same = "https://ak.example.com/application/o/pantrie/.well-known/openid-configuration";
    assert!(resolve_in(&with(same), false).is_ok());
    let other = "https://ak.example.com/application/o/other/.well-known/openid-configuration";
    assert_eq!(only(&with(other)), ("discovery_url".to_owned(), "conflicting-issuers"));
    let alone = ProviderSpec { discovery_url: text(other), ..of_kind("authentik") };
    assert_eq!(good(&alone).place, ProviderPlace::Discovery(other.to_owned()));
    for slug in ["a/b", "..", "a?b", "a b", "%2e"] {
        let spec = ProviderSpec { slug: text(slug), ..authentik("https://ak.example.com") };
        assert_eq!(only(&spec), ("slug".to_owned(), "bad-value"), "{slug}");
    }
}

#[test]
fn google_and_github_know_where_they_are() {
    let google = good(&of_kind("google"));
    assert_eq!(google.place, ProviderPlace::Issuer("https://accounts.google.com".to_owned()));
    assert_eq!(google.label, "Google");
    let elsewhere = ProviderSpec { issuer: text("http://127.0.0.1:9000"), ..of_kind("google") };
    assert_eq!(good(&elsewhere).place, ProviderPlace::Issuer("http://127.0.0.1:9000".to_owned()));
    let github = good(&of_kind("github"));
    assert_eq!(github.place, ProviderPlace::Github("https://github.com".to_owned()));
    assert_eq!(
        (github.label.as_str(), github.scopes),
        ("GitHub", ["read:user", "user:email", "read:org"].map(str::to_owned).to_vec())
    );
    let enterprise =
        ProviderSpec { base_url: text("https://git.example.com/"), ..of_kind("github") };
    assert_eq!(
        good(&enterprise).place,
        ProviderPlace::Github("https://git.example.com".to_owned())
    );
}

#[test]
fn a_key_of_another_kind_is_not_ignored() {
    for (kind, key) in [
        ("oidc", "base_url"),
        ("oidc", "slug"),
        ("google", "base_url"),
        ("github", "issuer"),
        ("github", "discovery_url"),
    ] {
        let mut spec = of_kind(kind);
        if kind == "oidc" {
            spec.issuer = text("https://id.example.com");
        }
        match key {
            "base_url" => spec.base_url = text("https://x.example.com"),
            "slug" => spec.slug = text("x"),
            "issuer" => spec.issuer = text("https://x.example.com"),
            _ => {
                spec.discovery_url = text("https://x.example.com/.well-known/openid-configuration")
            }
        }
        assert_eq!(only(&spec), (key.to_owned(), "key-of-another-kind"), "{kind}");
    }
}

#[test]
fn seed_001_25_a_client_without_secret_proves_itself_by_pkce() {
    let public = ProviderSpec { client_secret: Some(Secret::new("")), ..oidc() };
    let provider = good(&public);
    assert!(provider.pkce && provider.client_secret.is_none());
    let off = ProviderSpec { pkce: Some(false), ..public };
    assert_eq!(only(&off), ("pkce".to_owned(), "public-client-without-pkce"));
    let confidential = ProviderSpec { client_secret: Some(Secret::new("s3cret")), ..off };
    assert!(!good(&confidential).pkce, "000-41: a client with a secret may do without");
}

#[test]
fn seed_000_40_seed_001_33_the_label_is_the_id_unless_said() {
    assert_eq!(good(&oidc()).label, "pocket-id");
    assert_eq!(good(&ProviderSpec { label: text(" "), ..oidc() }).label, "pocket-id");
    assert_eq!(good(&ProviderSpec { label: text("Pocket ID"), ..oidc() }).label, "Pocket ID");
    let google_by_discovery = ProviderSpec { id: "google".to_owned(), ..oidc() };
    assert_eq!(good(&google_by_discovery).label, "google");
    for label in ["a\nb", &"x".repeat(65)] {
        assert_eq!(only(&ProviderSpec { label: text(label), ..oidc() }).0, "label");
    }
}

#[test]
fn seed_000_42_seed_001_34_scopes_are_asked_for_as_written_and_once() {
    let scopes = |list: &[&str]| ProviderSpec {
        scopes: Some(list.iter().map(|s| (*s).to_owned()).collect()),
        ..oidc()
    };
    assert_eq!(good(&scopes(&["openid", "groups", "openid"])).scopes, ["openid", "groups"]);
    assert_eq!(good(&scopes(&["a", "b"])).scopes, ["a", "b"]);
    for list in [&["openid profile"][..], &["a\"b"], &[""], &[]] {
        assert_eq!(only(&scopes(list)).0, "scopes", "{list:?}");
    }
}

#[test]
fn g7_allowed_domains_are_folded_and_well_formed() {
    let domains = |list: &[&str]| ProviderSpec {
        allowed_domains: Some(list.iter().map(|s| (*s).to_owned()).collect()),
        ..oidc()
    };
    let provider = good(&domains(&["Example.COM", "example.com.", "sub.example.com"]));
    assert_eq!(provider.allowed_domains, ["example.com", "sub.example.com"].map(Arc::from));
    for bad in [
        "@example.com",
        "a@example.com",
        "*.example.com",
        "exa mple.com",
        "",
        "10.0.0.1",
        "exämple.com",
        "\u{ff20}example.com",
        "https://example.com",
    ] {
        assert_eq!(only(&domains(&[bad])), ("allowed_domains".to_owned(), "bad-value"), "{bad}");
    }
}

#[test]
fn mfa_from_has_three_forms() {
    let of = |word: &str| ProviderSpec { mfa_from: text(word), ..oidc() };
    assert_eq!(good(&of("amr")).mfa_from, MfaFrom::Amr);
    assert_eq!(good(&of("acr:urn:x:mfa")).mfa_from, MfaFrom::Acr("urn:x:mfa".to_owned()));
    assert_eq!(good(&of("none")).mfa_from, MfaFrom::None);
    for word in ["acr", "acr:", "otp", "AMR"] {
        assert_eq!(only(&of(word)), ("mfa_from".to_owned(), "bad-value"), "{word}");
    }
}

#[test]
fn seed_002_28_seed_002_32_a_redirect_uri_is_kept_byte_for_byte() {
    for uri in [
        "https://requests.example.com/x/google",
        "https://requests.example.com/x/google/",
        "https://requests.example.com/a%20b",
    ] {
        let spec = ProviderSpec { redirect_uri: text(uri), ..oidc() };
        assert_eq!(good(&spec).redirect_uri, uri);
    }
}

#[test]
fn seed_001_26_a_redirect_uri_elsewhere_than_at_the_portal_is_refused() {
    for uri in [
        "https://other.example.com/cb",
        "https://requests.example.com:8443/cb",
        "http://requests.example.com/cb",
        "https://requests.example.com.evil.example/cb",
        "https://evil.example/https://requests.example.com/cb",
    ] {
        let spec = ProviderSpec { redirect_uri: text(uri), ..oidc() };
        assert_eq!(only(&spec), ("redirect_uri".to_owned(), "foreign-redirect-uri"), "{uri}");
    }
}

#[test]
fn a_redirect_uri_has_one_spelling_and_is_no_page() {
    for uri in [
        "/api/v1/auth/callback/x",
        "https://requests.example.com",
        "https://requests.example.com/",
        "https://requests.example.com/cb?x=1",
        "https://requests.example.com/cb#x",
        "https://user@requests.example.com/cb",
        "https://requests.example.com/a/../cb",
        "https://requests.example.com//cb",
        "https://requests.example.com/%63b",
        "https://Requests.example.com/cb",
        "https://requests.example.com:443/cb",
    ] {
        let spec = ProviderSpec { redirect_uri: text(uri), ..oidc() };
        assert_eq!(only(&spec), ("redirect_uri".to_owned(), "bad-value"), "{uri}");
    }
}

#[test]
fn seed_001_35_seed_001_36_seed_001_37_claims_can_be_named_and_a_renamed_email_is_not_verified() {
    let claims = |pairs: &[(&str, &str)]| ProviderSpec {
        claims: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..oidc()
    };
    let plain = good(&oidc()).claims;
    assert_eq!(
        (
            plain.subject.as_str(),
            plain.username.as_str(),
            plain.email.as_str(),
            plain.email_verified.as_str(),
            plain.groups.as_str()
        ),
        ("sub", "preferred_username", "email", "email_verified", "groups")
    );
    let renamed = good(&claims(&[
        ("subject", "uid"),
        ("username", "nick"),
        ("email", "mail"),
        ("groups", "realm_access.roles"),
    ]))
    .claims;
    assert_eq!(
        (
            renamed.subject.as_str(),
            renamed.username.as_str(),
            renamed.email.as_str(),
            renamed.email_verified.as_str(),
            renamed.groups.as_str()
        ),
        ("uid", "nick", "mail", "", "realm_access.roles")
    );
    let own = good(&claims(&[("email", "mail"), ("email_verified", "mail_verified")])).claims;
    assert_eq!(own.email_verified, "mail_verified");
    let same = good(&claims(&[("email", "email")])).claims;
    assert_eq!(same.email_verified, "email_verified", "the documented line renames nothing");
    assert_eq!(only(&claims(&[("mail", "mail")])), ("claims.mail".to_owned(), "unknown-key"));
    assert_eq!(only(&claims(&[("email", "")])), ("claims.email".to_owned(), "bad-value"));
}

#[test]
fn groups_and_roles_are_maps_to_what_exists_here() {
    let spec = ProviderSpec {
        groups: [("vestibule-admins".to_owned(), "admins".to_owned())].into(),
        roles: [("vestibule-admins".to_owned(), "admin".to_owned())].into(),
        ..oidc()
    };
    let provider = good(&spec);
    assert_eq!(provider.groups[0].1.as_str(), "admins");
    assert_eq!(provider.roles, [(Arc::from("vestibule-admins"), Role::Admin)]);
    let bad_group = ProviderSpec { groups: [("a".to_owned(), "x,y".to_owned())].into(), ..oidc() };
    assert_eq!(only(&bad_group), ("groups.a".to_owned(), "bad-value"));
    let bad_role = ProviderSpec { roles: [("a".to_owned(), "root".to_owned())].into(), ..oidc() };
    assert_eq!(only(&bad_role), ("roles.a".to_owned(), "unknown-value"));
}

#[test]
fn j6_a_spec_is_written_out_without_its_secret() {
    let spec = ProviderSpec { client_secret: Some(Secret::new("canary-0815")), ..oidc() };
    assert!(!format!("{spec:?}").contains("canary"));
    assert!(!format!("{:?}", good(&spec)).contains("canary"));
    let problems = resolve_in(&ProviderSpec { issuer: None, ..spec }, false).unwrap_err();
    assert!(!format!("{problems:?}").contains("canary"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_what_resolves_is_sent_to_the_portal(
        id in "\\PC{0,12}",
        issuer in "(https://[a-z./@#?%\\\\-]{0,20}|\\PC{0,20})",
        redirect in "(https://requests.example.com[a-z:/.@#?%\\\\-]{0,20}|\\PC{0,20})",
        label in "\\PC{0,12}",
        domain in "\\PC{0,12}",
    ) {
        let spec = ProviderSpec {
            id,
            issuer: Some(issuer),
            redirect_uri: Some(redirect),
            label: Some(label),
            allowed_domains: Some(vec![domain]),
            ..oidc()
        };
        if let Ok(provider) = resolve_in(&spec, false) {
            proptest::prop_assert!(provider.redirect_uri.starts_with("https://requests.example.com/"));
            let ProviderPlace::Issuer(issuer) = provider.place else { panic!("an issuer") };
            proptest::prop_assert!(issuer.starts_with("https://") && !issuer.contains(['?', '#', '@']));
        }
    }
}
