//! What providers become: the documents' variables, the callbacks that are sent, the defaults of kinds and
//! profiles, and whose bearer tokens are taken.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use vestibule_config::{Diagnostic, Environment, Loaded};
use vestibule_core::account::Role;
use vestibule_core::credential::CredentialKind;
use vestibule_core::policy::Access;
use vestibule_core::route::ProviderToken;
use vestibule_core::settings::auth::{FirstUser, LinkVerifiedEmail};
use vestibule_core::settings::provider::{
    MfaFrom, Provider, ProviderKind, ProviderOrigin, ProviderPlace,
};

const SECRET: &str = "6f1c0a9be27d4853b8f1e09c7ad25634f08e91ab37dc5260";

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A file of one test, gone with it.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vestibule-providers-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

fn load(file: Option<&Path>, pairs: Pairs<'_>) -> Result<Loaded, String> {
    let all = [("AUTH_SECRET", SECRET)].into_iter().chain(pairs.iter().copied());
    let environment: Environment = all.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    vestibule_config::load(file, &environment)
        .map_err(|report| vestibule_config::render(&report.diagnostics))
}

#[track_caller]
fn by_variables(pairs: Pairs<'_>) -> Loaded {
    load(None, pairs).unwrap_or_else(|report| panic!("{report}"))
}

#[track_caller]
fn refusal(pairs: Pairs<'_>) -> String {
    load(None, pairs).map(|_| ()).unwrap_err()
}

#[track_caller]
fn by_file(text: &str, pairs: Pairs<'_>) -> Loaded {
    let file = File::new(text);
    load(Some(&file.0), pairs).unwrap_or_else(|report| panic!("{report}"))
}

#[track_caller]
fn refused_file(text: &str, pairs: Pairs<'_>) -> String {
    let file = File::new(text);
    load(Some(&file.0), pairs).map(|_| ()).unwrap_err()
}

#[track_caller]
fn only(loaded: &Loaded) -> &Provider {
    let [provider] = loaded.settings.providers.as_slice() else {
        panic!("{:?}", loaded.settings.providers);
    };
    provider
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.warnings.iter().map(|d| d.code).collect()
}

fn fails_check(loaded: &Loaded) -> bool {
    loaded.warnings.iter().any(Diagnostic::fails_check)
}

fn with<'a>(base: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    base.iter().chain(more).copied().collect()
}

fn without<'a>(base: &[(&'a str, &'a str)], name: &str) -> Vec<(&'a str, &'a str)> {
    base.iter().filter(|(n, _)| *n != name).copied().collect()
}

/// The example of the first document.
const POCKET_ID: Pairs<'_> = &[
    ("ORIGIN", "https://cloud.example.com"),
    ("ENABLE_OAUTH_SIGNIN", "true"),
    ("OAUTH_POCKET_ID_CLIENT_ID", "05a0dd79-..."),
    ("OAUTH_POCKET_ID_CLIENT_SECRET", "U8QJvEK8..."),
    ("OAUTH_POCKET_ID_DISCOVERY_URL", "https://auth.example.com/.well-known/openid-configuration"),
    ("OAUTH_POCKET_ID_PRETTY_NAME", "Pocket ID"),
];

/// The example of the second.
const PLEX: Pairs<'_> = &[
    ("ORIGIN", "https://requests.example.com"),
    ("OIDC_PROVIDERS", "plex,authelia"),
    ("OIDC_PLEX_ISSUER", "https://plex-auth.example.com"),
    ("OIDC_PLEX_CLIENT_ID", "narratorr-requests"),
    ("OIDC_PLEX_CLIENT_SECRET", ""),
    ("OIDC_PLEX_REDIRECT_URI", "https://requests.example.com/api/auth/oidc/plex/callback"),
    ("OIDC_PLEX_LABEL", "Plex"),
    ("OIDC_AUTHELIA_ISSUER", "https://auth.example.com"),
    ("OIDC_AUTHELIA_CLIENT_ID", "narratorr-requests"),
    ("OIDC_AUTHELIA_CLIENT_SECRET", "s3cret-of-authelia"),
    ("OIDC_AUTHELIA_REDIRECT_URI", "https://requests.example.com/api/auth/oidc/authelia/callback"),
    ("OIDC_AUTHELIA_LABEL", "Authelia"),
];

/// The fourth's four.
const AUTHENTIK: Pairs<'_> = &[
    ("ORIGIN", "https://pantrie.example.com"),
    ("OAUTH_AUTHENTIK_BASE_URL", "https://auth.example.com"),
    ("OAUTH_AUTHENTIK_SLUG", "pantrie"),
    ("OAUTH_AUTHENTIK_CLIENT_ID", "your_client_id_here"),
    ("OAUTH_AUTHENTIK_CLIENT_SECRET", "your_client_secret_here"),
];

const GOOGLE: Pairs<'_> = &[
    ("AUTH_BASE_URL", "https://your-domain.com"),
    ("AUTH_GOOGLE_CLIENT_ID", "google-client"),
    ("AUTH_GOOGLE_CLIENT_SECRET", "s3cret-of-google"),
];

const GITHUB: Pairs<'_> = &[
    ("AUTH_BASE_URL", "https://your-domain.com"),
    ("AUTH_GITHUB_CLIENT_ID", "github-client"),
    ("AUTH_GITHUB_CLIENT_SECRET", "s3cret-of-github"),
];

const SERVER: &str = "[server]\nportal_url = \"https://auth.example.com\"\n";

const IN_FILE: &str = "[server]\nportal_url = \"https://auth.example.com\"\n[[provider]]\nid = \"pocket-id\"\nissuer = \"https://id.example.com\"\nclient_id = \"vestibule\"\n";

// 000

#[test]
fn seed_000_32_seed_000_45_seed_000_48_seed_000_49_the_printed_example_is_a_provider() {
    let loaded = by_variables(POCKET_ID);
    let provider = only(&loaded);
    assert_eq!((&*provider.id, provider.label.as_str()), ("pocket-id", "Pocket ID"));
    assert_eq!(provider.kind, ProviderKind::Oidc);
    assert_eq!(
        provider.place,
        ProviderPlace::Discovery(
            "https://auth.example.com/.well-known/openid-configuration".to_owned()
        )
    );
    assert_eq!(provider.client_id, "05a0dd79-...");
    assert!(provider.client_secret.as_ref().unwrap().matches("U8QJvEK8..."));
    assert_eq!(provider.redirect_uri, "https://cloud.example.com/api/v1/auth/callback/pocket-id");
    assert!(provider.enabled && provider.pkce && provider.origin == ProviderOrigin::Environment);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn seed_000_33_without_the_switch_the_set_is_off_with_a_notice() {
    let loaded = by_variables(&without(POCKET_ID, "ENABLE_OAUTH_SIGNIN"));
    assert!(
        loaded.settings.providers.is_empty() && loaded.settings.incomplete_providers.is_empty()
    );
    assert!(
        loaded.warnings[0].is_notice && loaded.warnings[0].message.contains("ENABLE_OAUTH_SIGNIN")
    );
    assert!(!fails_check(&loaded));
    let off = by_variables(&with(
        &without(POCKET_ID, "ENABLE_OAUTH_SIGNIN"),
        &[("ENABLE_OAUTH_SIGNIN", "false")],
    ));
    assert!(!only(&off).enabled, "an explicit word switches it off");
}

#[test]
fn seed_000_35_the_identifier_is_of_ones_own_choice() {
    let loaded = by_variables(&[
        ("ORIGIN", "https://cloud.example.com"),
        ("ENABLE_OAUTH_SIGNIN", "yes"),
        ("OAUTH_MY_OWN_IDP_CLIENT_ID", "a"),
        ("OAUTH_MY_OWN_IDP_CLIENT_SECRET", "b"),
        ("OAUTH_MY_OWN_IDP_DISCOVERY_URL", "https://a.example/.well-known/openid-configuration"),
    ]);
    let provider = only(&loaded);
    assert_eq!((&*provider.id, provider.label.as_str()), ("my-own-idp", "my-own-idp"));
    assert!(provider.redirect_uri.ends_with("/callback/my-own-idp"));
}

#[test]
fn seed_000_36_seed_000_37_seed_000_38_what_is_left_out_leaves_the_provider_off_and_is_named() {
    for missing in ["CLIENT_ID", "CLIENT_SECRET", "DISCOVERY_URL"] {
        let missing = format!("OAUTH_POCKET_ID_{missing}");
        let loaded = by_variables(&without(POCKET_ID, &missing));
        assert!(loaded.settings.providers.is_empty(), "{missing}");
        let incomplete = &loaded.settings.incomplete_providers[0];
        assert_eq!((&*incomplete.id, &*incomplete.missing), ("pocket-id", &[missing.clone()][..]));
        assert!(fails_check(&loaded), "{missing}");
        let line = format!("provider.not_configured id=pocket-id missing={missing}");
        assert!(loaded.warnings.iter().any(|d| d.message == line));
    }
}

#[test]
fn seed_000_39_enabled_false_hides_it() {
    let loaded = by_variables(&with(POCKET_ID, &[("OAUTH_POCKET_ID_ENABLED", "False")]));
    assert!(!only(&loaded).enabled && !fails_check(&loaded));
}

#[test]
fn seed_000_40_the_name_on_the_button_is_the_providers_unless_said() {
    let loaded = by_variables(&without(POCKET_ID, "OAUTH_POCKET_ID_PRETTY_NAME"));
    assert_eq!(only(&loaded).label, "pocket-id");
}

#[test]
fn seed_000_41_pkce_can_be_switched_off_where_there_is_a_secret() {
    assert!(!only(&by_variables(&with(POCKET_ID, &[("OAUTH_POCKET_ID_PKCE", "0")]))).pkce);
    let text = refusal(&with(POCKET_ID, &[("OAUTH_POCKET_ID_PKCE", "perhaps")]));
    assert!(text.contains("OAUTH_POCKET_ID_PKCE"), "{text}");
}

#[test]
fn seed_000_42_scopes_are_split_at_commas_and_white_space() {
    assert_eq!(only(&by_variables(POCKET_ID)).scopes, ["openid", "profile", "email"]);
    for text in ["openid,groups", "openid groups", "openid; groups,openid"] {
        let loaded = by_variables(&with(POCKET_ID, &[("OAUTH_POCKET_ID_SCOPES", text)]));
        assert_eq!(only(&loaded).scopes, ["openid", "groups"], "{text}");
    }
    let odd = by_variables(&with(POCKET_ID, &[("OAUTH_POCKET_ID_SCOPES", "a,b")]));
    assert_eq!(only(&odd).scopes, ["a", "b"], "asked for as written");
    assert_eq!(codes(&odd), ["scope-without-openid"]);
}

#[test]
fn seed_000_46_google_by_its_discovery_url_works_as_printed() {
    let loaded = by_variables(&[
        ("ORIGIN", "https://cloud.example.com"),
        ("ENABLE_OAUTH_SIGNIN", "true"),
        ("OAUTH_GOOGLE_CLIENT_ID", "123456789.apps.googleusercontent.com"),
        ("OAUTH_GOOGLE_CLIENT_SECRET", "GOCSPX-..."),
        (
            "OAUTH_GOOGLE_DISCOVERY_URL",
            "https://accounts.google.com/.well-known/openid-configuration",
        ),
        ("OAUTH_GOOGLE_PRETTY_NAME", "Google"),
    ]);
    let provider = only(&loaded);
    assert_eq!((provider.kind, provider.label.as_str()), (ProviderKind::Oidc, "Google"));
    assert_eq!(provider.redirect_uri, "https://cloud.example.com/api/v1/auth/callback/google");
}

// 001

#[test]
fn seed_001_15_seed_001_16_seed_001_22_seed_001_23_seed_001_24_seed_001_27_the_printed_block_is_two_providers()
 {
    let loaded = by_variables(PLEX);
    let [plex, authelia] = loaded.settings.providers.as_slice() else {
        panic!("{:?}", loaded.settings.providers)
    };
    assert_eq!((&*plex.id, plex.label.as_str()), ("plex", "Plex"));
    assert_eq!((&*authelia.id, authelia.label.as_str()), ("authelia", "Authelia"));
    assert_eq!(plex.place, ProviderPlace::Issuer("https://plex-auth.example.com".to_owned()));
    assert_eq!(plex.client_id, "narratorr-requests");
    assert_eq!(plex.redirect_uri, "https://requests.example.com/api/auth/oidc/plex/callback");
    assert!(plex.client_secret.is_none() && plex.pkce, "001-25, 001-32, 001-38");
    assert!(authelia.client_secret.is_some() && authelia.pkce, "001-28");
    assert_eq!(codes(&loaded), ["shared-group-names"]);
}

#[test]
fn seed_001_17_seed_001_29_seed_001_30_seed_001_31_each_required_one_is_named_and_the_redirect_uri_printed()
 {
    for missing in ["ISSUER", "CLIENT_ID", "REDIRECT_URI"] {
        let missing = format!("OIDC_PLEX_{missing}");
        let loaded = by_variables(&without(PLEX, &missing));
        assert_eq!(&*only(&loaded).id, "authelia", "the others go on");
        assert_eq!(loaded.settings.incomplete_providers[0].missing, [missing.as_str()]);
        assert!(fails_check(&loaded));
        let text = vestibule_config::render(&loaded.warnings);
        assert_eq!(
            text.contains(
                "OIDC_PLEX_REDIRECT_URI=https://requests.example.com/api/auth/oidc/plex/callback"
            ),
            missing.ends_with("_REDIRECT_URI"),
            "{text}"
        );
    }
    let bare = by_variables(&[("OIDC_PROVIDERS", "x")]);
    assert_eq!(
        bare.settings.incomplete_providers[0].missing,
        ["OIDC_X_ISSUER", "OIDC_X_CLIENT_ID", "OIDC_X_REDIRECT_URI"]
    );
}

#[test]
fn seed_001_18_an_id_that_is_not_listed_is_off_with_one_notice() {
    let loaded = by_variables(&[("OIDC_Y_ISSUER", "https://y"), ("OIDC_Y_CLIENT_ID", "y")]);
    assert!(loaded.settings.providers.is_empty());
    assert_eq!(codes(&loaded), ["provider-off"]);
    assert!(!fails_check(&loaded));
}

#[test]
fn seed_001_33_seed_001_34_label_and_scope_have_their_defaults() {
    let bare = without(&without(PLEX, "OIDC_PLEX_LABEL"), "OIDC_AUTHELIA_LABEL");
    let loaded = by_variables(&with(&bare, &[("OIDC_AUTHELIA_SCOPE", "openid groups")]));
    let [plex, authelia] = loaded.settings.providers.as_slice() else { panic!() };
    assert_eq!(
        (plex.label.as_str(), plex.scopes.join(" ")),
        ("plex", "openid profile email".to_owned())
    );
    assert_eq!(authelia.scopes, ["openid", "groups"]);
}

#[test]
fn seed_001_35_seed_001_36_seed_001_37_claims_are_named_and_a_renamed_email_is_not_verified() {
    let loaded = by_variables(&with(
        PLEX,
        &[
            ("OIDC_PLEX_SUBJECT_CLAIM", "uid"),
            ("OIDC_PLEX_USERNAME_CLAIM", "nick"),
            ("OIDC_PLEX_EMAIL_CLAIM", "mail"),
        ],
    ));
    let [plex, authelia] = loaded.settings.providers.as_slice() else { panic!() };
    let claims = &plex.claims;
    assert_eq!(
        (
            claims.subject.as_str(),
            claims.username.as_str(),
            claims.email.as_str(),
            claims.email_verified.as_str()
        ),
        ("uid", "nick", "mail", "")
    );
    assert_eq!(
        (authelia.claims.subject.as_str(), authelia.claims.email_verified.as_str()),
        ("sub", "email_verified")
    );
    assert_eq!(loaded.effective["provider[0].claims.email_verified"]["value"], "");
}

#[test]
fn seed_001_59_seed_001_62_seed_001_63_a_named_administrator_switches_the_first_comer_off() {
    let pairs = [("VESTIBULE_PROFILE", "narratorr-requests"), ("BOOTSTRAP_ADMIN", "authelia:todd")];
    let loaded = by_variables(&with(PLEX, &pairs));
    let auth = &loaded.settings.auth;
    let (provider, who) = auth.bootstrap_admin.as_ref().unwrap();
    assert_eq!((&**provider, &**who), ("authelia", "todd"));
    assert_eq!((auth.first_user, auth.approval), (FirstUser::None, true));
    assert_eq!(codes(&loaded), ["shared-group-names", "bootstrap-by-username"]);
    for profile in ["penombre", "everruns", "openinary", "pantrie"] {
        let pairs = [
            ("VESTIBULE_PROFILE", profile),
            ("AUTH_MODE", "full"),
            ("AUTH_JWT_SECRET", "0f9e8d7c6b5a49382716051423324150-jwt"),
            ("BOOTSTRAP_ADMIN", "plex:myplexuser"),
        ];
        assert!(by_variables(&pairs).settings.auth.approval, "{profile}");
    }
    assert!(refusal(&[("BOOTSTRAP_ADMIN", "todd")]).contains("BOOTSTRAP_ADMIN"));
    let subject = by_variables(&with(PLEX, &[("BOOTSTRAP_ADMIN", "plex:0190a6a0-0000-7000")]));
    assert_eq!(codes(&subject), ["shared-group-names"]);
}

#[test]
fn seed_001_03_seed_001_14_passwords_may_be_off_where_a_provider_is_on() {
    let off = ("LOCAL_AUTH", "false");
    assert!(!by_variables(&with(PLEX, &[off])).settings.auth.password.enabled);
    let disabled = [off, ("OAUTH_POCKET_ID_ENABLED", "false")];
    for pairs in [vec![off], with(POCKET_ID, &disabled)] {
        // Refused at the start, which knows the store; `check` exits 1.
        let loaded = by_variables(&pairs);
        let told = loaded.warnings.iter().find(|w| w.code == "no-way-to-sign-in").unwrap();
        let text = &told.message;
        assert!(told.fails_check(), "{text}");
        assert!(text.contains("LOCAL_AUTH") && text.contains("OIDC_PROVIDERS"), "{text}");
    }
    let admin = [
        off,
        ("AUTH_MODE", "admin"),
        ("AUTH_ADMIN_EMAIL", "a@example.com"),
        ("AUTH_ADMIN_PASSWORD", "a-fine-Password-1"),
    ];
    assert!(refusal(&with(PLEX, &admin)).contains("mode admin"));
}

// 002

#[test]
fn seed_002_11_seed_002_12_everruns_has_a_base_url_of_its_own_and_warns() {
    let pairs = [
        ("VESTIBULE_PROFILE", "everruns"),
        ("AUTH_MODE", "full"),
        ("AUTH_JWT_SECRET", "0f9e8d7c6b5a49382716051423324150-jwt"),
        ("AUTH_GOOGLE_CLIENT_ID", "a"),
        ("AUTH_GOOGLE_CLIENT_SECRET", "b"),
        ("AUTH_GOOGLE_ALLOWED_DOMAINS", "example.com"),
    ];
    let loaded = by_variables(&pairs);
    assert_eq!(only(&loaded).redirect_uri, "http://localhost:9300/api/v1/auth/callback/google");
    assert!(codes(&loaded).contains(&"default-base-url"));
    let elsewhere = by_variables(&with(&pairs, &[("ORIGIN", "https://a.example.com")]));
    assert_eq!(only(&elsewhere).redirect_uri, "https://a.example.com/api/v1/auth/callback/google");
    assert!(!codes(&elsewhere).contains(&"default-base-url"));
}

#[test]
fn seed_002_25_seed_002_26_seed_002_30_seed_002_31_a_complete_pair_switches_its_provider_on() {
    let loaded = by_variables(&with(GOOGLE, GITHUB));
    let [google, github] = loaded.settings.providers.as_slice() else { panic!() };
    assert_eq!(
        (&*google.id, google.kind, google.label.as_str()),
        ("google", ProviderKind::Google, "Google")
    );
    assert_eq!(google.place, ProviderPlace::Issuer("https://accounts.google.com".to_owned()));
    assert_eq!(google.client_id, "google-client");
    assert!(google.client_secret.as_ref().unwrap().matches("s3cret-of-google"));
    assert_eq!(
        (&*github.id, github.kind, github.label.as_str()),
        ("github", ProviderKind::Github, "GitHub")
    );
    assert_eq!(github.place, ProviderPlace::Github("https://github.com".to_owned()));
    assert!(github.client_secret.as_ref().unwrap().matches("s3cret-of-github"));
    assert_eq!(github.scopes, ["read:user", "user:email", "read:org"]);
}

#[test]
fn seed_002_27_half_a_pair_is_off_and_names_the_other_half() {
    for (pairs, missing) in [
        (GOOGLE, "AUTH_GOOGLE_CLIENT_ID"),
        (GOOGLE, "AUTH_GOOGLE_CLIENT_SECRET"),
        (GITHUB, "AUTH_GITHUB_CLIENT_ID"),
        (GITHUB, "AUTH_GITHUB_CLIENT_SECRET"),
    ] {
        let loaded = by_variables(&without(pairs, missing));
        assert!(loaded.settings.providers.is_empty());
        assert_eq!(loaded.settings.incomplete_providers[0].missing, [missing.to_owned()]);
        assert!(fails_check(&loaded));
    }
}

#[test]
fn seed_002_28_seed_002_32_a_custom_redirect_uri_is_sent_byte_for_byte() {
    let pairs = with(
        &with(GOOGLE, GITHUB),
        &[
            ("AUTH_GOOGLE_REDIRECT_URI", "https://your-domain.com/x/google/"),
            ("AUTH_GITHUB_REDIRECT_URI", "https://your-domain.com/x/github"),
        ],
    );
    let loaded = by_variables(&pairs);
    let [google, github] = loaded.settings.providers.as_slice() else { panic!() };
    assert_eq!(google.redirect_uri, "https://your-domain.com/x/google/");
    assert_eq!(github.redirect_uri, "https://your-domain.com/x/github");
}

#[test]
fn seed_002_29_allowed_domains_are_a_list() {
    let loaded =
        by_variables(&with(GOOGLE, &[("AUTH_GOOGLE_ALLOWED_DOMAINS", "Example.com, b.example")]));
    let domains: Vec<&str> = only(&loaded).allowed_domains.iter().map(|d| &**d).collect();
    assert_eq!(domains, ["example.com", "b.example"]);
    for text in [",", "@example.com"] {
        let text = refusal(&with(GOOGLE, &[("AUTH_GOOGLE_ALLOWED_DOMAINS", text)]));
        assert!(text.contains("AUTH_GOOGLE_ALLOWED_DOMAINS"), "{text}");
    }
}

#[test]
fn seed_002_56_seed_002_57_the_callback_is_base_url_prefix_and_id() {
    let of = |base: &str, prefix: &str| {
        let pairs = with(
            &without(GOOGLE, "AUTH_BASE_URL"),
            &[("AUTH_BASE_URL", base), ("API_PREFIX", prefix)],
        );
        only(&by_variables(&pairs)).redirect_uri.clone()
    };
    assert_eq!(
        of("https://your-domain.com", ""),
        "https://your-domain.com/v1/auth/callback/google"
    );
    assert_eq!(
        of("https://your-domain.com", "/api"),
        "https://your-domain.com/api/v1/auth/callback/google"
    );
    assert_eq!(
        of("https://your-domain.com/", "/api/"),
        "https://your-domain.com/api/v1/auth/callback/google"
    );
    assert_eq!(
        of("https://your-domain.com/base/", ""),
        "https://your-domain.com/base/v1/auth/callback/google"
    );
    assert_eq!(
        of("https://your-domain.com/base/", "/api"),
        "https://your-domain.com/base/api/v1/auth/callback/google"
    );
    let no_base = by_file(SERVER, &without(GOOGLE, "AUTH_BASE_URL"));
    assert_eq!(only(&no_base).redirect_uri, "https://auth.example.com/api/v1/auth/callback/google");
    // The portal stays where the file puts it; of the variable counts the path.
    let both = by_file(
        SERVER,
        &with(
            &without(GOOGLE, "AUTH_BASE_URL"),
            &[("AUTH_BASE_URL", "https://other.example.com/api")],
        ),
    );
    assert_eq!(only(&both).redirect_uri, "https://auth.example.com/api/v1/auth/callback/google");
}

// 004

#[test]
fn seed_004_30_seed_004_31_seed_004_32_seed_004_33_seed_004_34_seed_004_35_the_four_variables_suffice()
 {
    let loaded = by_variables(AUTHENTIK);
    let provider = only(&loaded);
    assert_eq!(
        (&*provider.id, provider.kind, provider.label.as_str()),
        ("authentik", ProviderKind::Authentik, "Authentik")
    );
    assert_eq!(provider.client_id, "your_client_id_here");
    assert!(provider.client_secret.as_ref().unwrap().matches("your_client_secret_here"));
    assert_eq!(provider.scopes, ["openid", "profile", "email"]);
    for (base, discovery) in [
        (
            "https://auth.example.com",
            "https://auth.example.com/application/o/pantrie/.well-known/openid-configuration",
        ),
        (
            "https://auth.example.com/",
            "https://auth.example.com/application/o/pantrie/.well-known/openid-configuration",
        ),
        (
            "https://example.com/ak/",
            "https://example.com/ak/application/o/pantrie/.well-known/openid-configuration",
        ),
    ] {
        let loaded = by_variables(&with(
            &without(AUTHENTIK, "OAUTH_AUTHENTIK_BASE_URL"),
            &[("OAUTH_AUTHENTIK_BASE_URL", base)],
        ));
        assert_eq!(only(&loaded).place, ProviderPlace::Discovery(discovery.to_owned()), "{base}");
    }
}

#[test]
fn seed_004_46_each_one_left_out_leaves_the_server_up_and_is_named() {
    for (missing, _) in AUTHENTIK.iter().skip(1) {
        let loaded = by_variables(&without(AUTHENTIK, missing));
        assert!(loaded.settings.providers.is_empty(), "{missing}");
        assert_eq!(loaded.settings.incomplete_providers[0].missing, [(*missing).to_owned()]);
    }
}

#[test]
fn seed_004_60_a_secret_may_stand_in_a_file_of_its_own() {
    let secret = File::new("s3cret-in-a-file\n");
    let path = secret.0.to_str().unwrap();
    let loaded = by_variables(&with(
        &without(AUTHENTIK, "OAUTH_AUTHENTIK_CLIENT_SECRET"),
        &[("OAUTH_AUTHENTIK_CLIENT_SECRET_FILE", path)],
    ));
    assert!(only(&loaded).client_secret.as_ref().unwrap().matches("s3cret-in-a-file"));
    assert!(loaded.files.contains(&secret.0), "watched");
    let both = with(AUTHENTIK, &[("OAUTH_AUTHENTIK_CLIENT_SECRET_FILE", path)]);
    assert!(refusal(&both).contains("OAUTH_AUTHENTIK_CLIENT_SECRET_FILE"));
}

#[test]
fn seed_004_63_a_provider_over_http_is_refused_in_production_wherever_it_is_written() {
    let pairs = with(
        &without(AUTHENTIK, "OAUTH_AUTHENTIK_BASE_URL"),
        &[("OAUTH_AUTHENTIK_BASE_URL", "http://auth.example.com")],
    );
    let text = refusal(&pairs);
    assert!(text.contains("OAUTH_AUTHENTIK_BASE_URL") && text.contains("https"), "{text}");
    let development = with(&pairs, &[("VESTIBULE_SERVER__ENVIRONMENT", "development")]);
    assert!(only(&by_variables(&development)).enabled);
    let loopback = with(
        &without(AUTHENTIK, "OAUTH_AUTHENTIK_BASE_URL"),
        &[("OAUTH_AUTHENTIK_BASE_URL", "http://127.0.0.1:9000")],
    );
    assert!(only(&by_variables(&loopback)).enabled);
    let text = refused_file(&IN_FILE.replace("https://id", "http://id"), &[]);
    assert!(
        text.contains("insecure-provider-url") && text.contains("vestibule-providers"),
        "{text}"
    );
}

#[test]
fn base_url_and_slug_and_a_discovery_url_give_one_issuer_or_nothing_starts() {
    let of = |url: &str| {
        load(None, &with(AUTHENTIK, &[("OAUTH_AUTHENTIK_DISCOVERY_URL", url)])).map(|_| ())
    };
    assert!(
        of("https://auth.example.com/application/o/pantrie/.well-known/openid-configuration")
            .is_ok()
    );
    let text = of("https://auth.example.com/application/o/other/.well-known/openid-configuration")
        .unwrap_err();
    assert!(
        text.contains("OAUTH_AUTHENTIK_DISCOVERY_URL") && text.contains("OAUTH_AUTHENTIK_BASE_URL"),
        "{text}"
    );
}

// Callbacks

#[test]
fn what_is_sent_follows_family_and_profile() {
    let of = |pairs: Pairs<'_>| by_variables(pairs).settings;
    let pantrie = of(&with(AUTHENTIK, &[("VESTIBULE_PROFILE", "pantrie")]));
    assert_eq!(
        pantrie.providers[0].redirect_uri,
        "https://pantrie.example.com/api/v1/auth/oauth/authentik/callback",
        "004-08"
    );
    assert_eq!(
        pantrie.server.provider_redirect_uri,
        "https://pantrie.example.com/api/v1/auth/oauth/<id>/callback"
    );
    assert_eq!(pantrie.auth.link_verified_email, LinkVerifiedEmail::Always, "004-40");
    let local = with(
        &without(AUTHENTIK, "ORIGIN"),
        &[("VESTIBULE_PROFILE", "pantrie"), ("ORIGIN", "http://localhost:8000/")],
    );
    assert_eq!(
        of(&local).providers[0].redirect_uri,
        "http://localhost:8000/api/v1/auth/oauth/authentik/callback",
        "004-09, 004-51"
    );
    for profile in ["", "penombre", "openinary"] {
        let settings = of(&with(POCKET_ID, &[("VESTIBULE_PROFILE", profile)]));
        assert_eq!(
            settings.server.provider_redirect_uri,
            "https://cloud.example.com/api/v1/auth/callback/<id>"
        );
        assert_eq!(
            settings.providers[0].redirect_uri,
            "https://cloud.example.com/api/v1/auth/callback/pocket-id",
            "000-47"
        );
        assert_eq!(settings.auth.link_verified_email, LinkVerifiedEmail::Safe);
    }
    // Beside a table of the file that is whole, an OIDC_* set sends its own form.
    let joined =
        by_file(IN_FILE, &[("OIDC_PROVIDERS", "pocket-id"), ("OIDC_POCKET_ID_LABEL", "Pocket")]);
    assert_eq!(
        only(&joined).redirect_uri,
        "https://auth.example.com/api/auth/oidc/pocket-id/callback"
    );
}

// The file

#[test]
fn a_provider_of_the_file_is_complete_and_knows_where_it_comes_from() {
    let text = format!(
        "{IN_FILE}client_secret = \"env:POCKET_ID_SECRET\"\nlabel = \"Pocket ID\"\nscopes = [\"openid\", \"groups\"]\nallowed_domains = [\"Example.com\"]\nauto_approve = true\ntrust_email = false\nmfa_from = \"acr:2\"\nclaims = {{ groups = \"realm_access.roles\" }}\ngroups = {{ \"vestibule-admins\" = \"admins\" }}\nroles = {{ \"vestibule-admins\" = \"admin\" }}\n"
    );
    let loaded = by_file(&text, &[("POCKET_ID_SECRET", "s3cret-of-pocket-id")]);
    let provider = only(&loaded);
    assert_eq!(provider.origin, ProviderOrigin::File);
    assert_eq!(provider.mfa_from, MfaFrom::Acr("2".to_owned()));
    assert!(provider.auto_approve && !provider.trust_email);
    assert_eq!(provider.claims.groups, "realm_access.roles");
    assert_eq!(provider.groups[0].1.as_str(), "admins");
    assert_eq!(provider.roles[0].1, Role::Admin);
    assert_eq!(&*provider.allowed_domains[0], "example.com");
}

#[test]
fn seed_004_29_variables_win_over_the_file_key_by_key() {
    let loaded = by_file(
        &format!("{IN_FILE}label = \"File\"\n"),
        &[
            ("OAUTH_POCKET_ID_CLIENT_SECRET", "s3cret-of-the-environment"),
            ("OAUTH_POCKET_ID_PRETTY_NAME", "Environment"),
        ],
    );
    let provider = only(&loaded);
    assert_eq!(
        (provider.label.as_str(), provider.client_id.as_str()),
        ("Environment", "vestibule")
    );
    assert!(provider.client_secret.as_ref().unwrap().matches("s3cret-of-the-environment"));
    assert_eq!(loaded.effective["provider[0].label"]["origin"], "env:OAUTH_POCKET_ID_PRETTY_NAME");
    let above = by_file(
        IN_FILE,
        &[
            ("OAUTH_POCKET_ID_PRETTY_NAME", "Environment"),
            ("VESTIBULE_PROVIDER__0__LABEL", "Above"),
        ],
    );
    assert_eq!(only(&above).label, "Above", "VESTIBULE_* stands above the documented names");
}

#[test]
fn a_pair_finds_its_provider_elsewhere_where_the_file_says_so() {
    let text = format!(
        "{SERVER}[[provider]]\nid = \"google\"\nissuer = \"http://127.0.0.1:9\"\n[[provider]]\nid = \"github\"\nkind = \"github\"\nbase_url = \"http://127.0.0.1:8\"\n"
    );
    let pairs = without(&with(GOOGLE, GITHUB), "AUTH_BASE_URL");
    let settings = by_file(&text, &pairs).settings;
    assert_eq!(settings.providers[0].kind, ProviderKind::Google);
    assert_eq!(settings.providers[0].place, ProviderPlace::Issuer("http://127.0.0.1:9".to_owned()));
    assert_eq!(settings.providers[1].place, ProviderPlace::Github("http://127.0.0.1:8".to_owned()));
    let half = by_file(&text, &without(&pairs, "AUTH_GOOGLE_CLIENT_SECRET")).settings;
    assert_eq!((half.providers.len(), &*half.incomplete_providers[0].id), (1, "google"));
}

#[test]
fn j6_effective_values_tell_every_provider_and_no_secret() {
    let github = without(GITHUB, "AUTH_BASE_URL");
    let pairs = with(PLEX, &with(&github, &without(AUTHENTIK, "ORIGIN")));
    let provider = "[[provider]]\nid = \"in-file\"\nissuer = \"https://id.example.com\"\nclient_id = \"x\"\nclient_secret = \"canary-0815-in-the-file\"\n";
    let issuer = "[[jwt_issuer]]\nname = \"ci\"\nissuer = \"https://ci.example.com\"\naudience = [\"a\"]\nintrospection_url = \"https://ci.example.com/i\"\nclient_id = \"v\"\nclient_secret = \"canary-0816-in-the-file\"\n";
    let loaded = by_file(&format!("{provider}{issuer}"), &pairs);
    let text = loaded.effective.to_string();
    for secret in ["canary", "s3cret-of-authelia", "s3cret-of-github", "your_client_secret_here"] {
        assert!(!text.contains(secret), "{secret}: {text}");
        assert!(!format!("{:?}", loaded.settings).contains(secret), "{secret}");
    }
    assert_eq!(loaded.effective["provider[0].client_secret"]["value"], "[secret]");
    assert_eq!(
        loaded.effective["provider[0].redirect_uri"]["value"],
        "https://requests.example.com/api/v1/auth/callback/in-file"
    );
    assert_eq!(loaded.effective["provider[0].redirect_uri"]["origin"], "default");
    let entries = loaded.effective.as_object().unwrap();
    let id_of = |id: &str| entries.iter().find(|(_, v)| v["value"] == id).map(|(k, _)| k.as_str());
    for id in ["plex", "authelia", "github", "authentik"] {
        assert!(
            id_of(id).is_some_and(|key| key.starts_with("provider[") && key.ends_with("].id")),
            "{id}"
        );
    }
}

#[test]
fn a_provider_is_written_by_vestibule_variables_alone() {
    let loaded = by_variables(&[
        ("ORIGIN", "https://auth.example.com"),
        ("VESTIBULE_PROVIDER__0__ID", "pocket-id"),
        ("VESTIBULE_PROVIDER__0__ISSUER", "https://id.example.com"),
        ("VESTIBULE_PROVIDER__0__CLIENT_ID", "vestibule"),
        ("VESTIBULE_PROVIDER__0__CLAIMS__USERNAME", "nick"),
    ]);
    let provider = only(&loaded);
    assert_eq!(
        (provider.origin, provider.claims.username.as_str()),
        (ProviderOrigin::Environment, "nick")
    );
}

#[test]
fn names_that_are_shut_out_make_no_provider() {
    let loaded = by_variables(&with(AUTHENTIK, &[("VESTIBULE_IGNORE_ENV", "OAUTH_*")]));
    assert!(
        loaded.settings.providers.is_empty() && loaded.settings.incomplete_providers.is_empty()
    );
}

// Tokens

const ISSUER: &str = "[[jwt_issuer]]\nname = \"ci\"\nissuer = \"https://ci.example.com\"\njwks_url = \"https://ci.example.com/jwks\"\naudience = [\"vestibule\"]\nalgorithms = [\"RS256\", \"ES256\"]\n";

#[test]
fn a_jwt_issuer_is_resolved_and_a_rule_may_name_it() {
    let text = format!(
        "{SERVER}{ISSUER}claims = {{ username = \"name\", groups = \"realm.roles\" }}\n[[jwt_issuer]]\nname = \"opaque\"\nissuer = \"https://op.example.com\"\naudience = [\"a\"]\nintrospection_url = \"https://op.example.com/introspect\"\nclient_id = \"v\"\n[[route]]\nname = \"api\"\nhost = \"api.example.com\"\nupstream = \"http://127.0.0.1:3000\"\npass_bearer = true\nprovider_token = \"access\"\naccess = {{ credentials = [\"jwt:ci\", \"jwt:opaque\"], claims = {{ repository = [\"a\", \"b\"] }} }}\n"
    );
    let settings = by_file(&text, &[]).settings;
    let [ci, opaque] = settings.jwt_issuers.as_slice() else { panic!() };
    assert_eq!((&*ci.name, ci.issuer.as_str()), ("ci", "https://ci.example.com"));
    assert_eq!(ci.jwks_url.as_deref(), Some("https://ci.example.com/jwks"));
    assert_eq!(
        (ci.audience.len(), ci.algorithms.as_slice()),
        (1, &["RS256".to_owned(), "ES256".to_owned()][..])
    );
    assert_eq!(ci.claims.username.as_deref(), Some("name"));
    assert_eq!(
        (ci.claims.groups.as_deref(), ci.claims.email.as_deref()),
        (Some("realm.roles"), None)
    );
    assert!(ci.introspection.is_none());
    let introspection = opaque.introspection.as_ref().unwrap();
    assert_eq!((introspection.client_id.as_str(), &introspection.client_secret), ("v", &None));
    assert!(opaque.jwks_url.is_none() && opaque.algorithms.is_empty());
    let route = &settings.routes[0];
    assert!(route.pass_bearer && route.provider_token == ProviderToken::Access);
    let Access::AnyOf(tables) = &route.access else { panic!() };
    assert_eq!(
        tables[0].credentials.as_deref(),
        Some(&[CredentialKind::Jwt("ci".into()), CredentialKind::Jwt("opaque".into())][..])
    );
    assert_eq!(tables[0].claims.as_ref().unwrap().len(), 1);
}

#[test]
fn g2_a_rule_that_names_no_issuer_is_refused_with_the_nearest_one() {
    let route = "[[route]]\nhost = \"api.example.com\"\nupstream = \"http://127.0.0.1:3000\"\naccess = { credentials = [\"jwt:cl\"] }\n";
    let text = refused_file(&format!("{SERVER}{ISSUER}{route}"), &[]);
    assert!(text.contains("unknown-issuer") && text.contains("jwt:ci"), "{text}");
    assert!(refused_file(&format!("{SERVER}{route}"), &[]).contains("[[jwt_issuer]]"));
}
