//! The settings and routes of the portal under test.

use std::sync::Arc;
use std::time::Duration;

use vestibule_core::account::Role;
use vestibule_core::api_key::RateLimit;
use vestibule_core::host::HostPattern;
use vestibule_core::path::PathAllowances;
use vestibule_core::policy::{Access, AccessTable};
use vestibule_core::return_to::Origin;
use vestibule_core::route::{HeaderEdits, Route, UpstreamTls};
use vestibule_core::secret::Secret;
use vestibule_core::settings::auth::{
    Auth, EmailVerification, FirstUser, LinkVerifiedEmail, Mode, Password, Session,
};
use vestibule_core::settings::secrets::{Secrets, StoreKey};
use vestibule_core::settings::server::{Server, TrustedProxies};
use vestibule_core::settings::telemetry::{AccessLog, Telemetry};
use vestibule_core::settings::{Settings, api_keys::ApiKeys, store::Store, tls::Tls};

use crate::stage::PORTAL;

pub(crate) fn route(name: &str, host: &str, access: Access) -> Arc<Route> {
    Arc::new(Route {
        name: Arc::from(name),
        origin: Arc::from("test.toml:1"),
        hosts: vec![HostPattern::parse(host).unwrap()],
        path: Arc::from("/"),
        upstreams: Vec::new(),
        access,
        rules: Vec::new(),
        ignore_case: false,
        allow_in_path: PathAllowances::default(),
        cors_preflight: false,
        cors_origins: Vec::new(),
        allowed_origins: Vec::new(),
        block_unsafe_cross_site: false,
        portal: Vec::new(),
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        max_body: None,
        preserve_host: true,
        strip_prefix: Arc::from(""),
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        upstream_tls: UpstreamTls::default(),
        preset: vestibule_core::assertion::Preset::Remote,
        assertion: true,
        told_groups: vec![Arc::from("*")],
        access_log: true,
        pass_bearer: false,
        provider_token: Default::default(),
    })
}

pub(crate) fn signed_in() -> Access {
    Access::AnyOf(vec![AccessTable::default()])
}

pub(crate) fn admins() -> Access {
    Access::AnyOf(vec![AccessTable { roles: Some(vec![Role::Admin]), ..AccessTable::default() }])
}

pub(crate) fn settings() -> Settings {
    let secret = |text: &str| vec![Secret::new(text)];
    Settings {
        server: Server {
            portal: Origin::parse(PORTAL).unwrap(),
            development: false,
            profile: String::new(),
            data_dir: "/nonexistent".into(),
            trusted_proxies: TrustedProxies::Nobody,
            workers: 1,
            header_timeout: Duration::from_secs(10),
            api_prefix: String::new(),
            provider_redirect_uri: "https://auth.example.com/api/v1/auth/callback/<id>".to_owned(),
        },
        listeners: Vec::new(),
        tls: Tls::default(),
        secrets: Secrets {
            auth_secret: secret("0123456789abcdef0123456789abcdef-test"),
            auth_secret_derived: false,
            jwt_secret: Vec::new(),
            store_key: vec![StoreKey::from_hex(&"5a".repeat(32)).unwrap()],
        },
        store: Store { sqlite: "/nonexistent".into(), backup: None },
        auth: Auth {
            mode: Mode::Full,
            approval: false,
            provider_signup: true,
            first_user: FirstUser::Setup,
            admin: None,
            bootstrap_admin: None,
            link_verified_email: LinkVerifiedEmail::Safe,
            bypass: false,
            allow_insecure_bypass: false,
            password: Password {
                enabled: true,
                signup: true,
                min_length: 8,
                max_length: 200,
                require: Vec::new(),
                blocklist: true,
            },
            email_verification: EmailVerification::Auto,
            passkeys: true,
            totp: true,
            session: Session {
                lifetime: Duration::from_secs(7 * 86_400),
                idle_timeout: Duration::from_secs(86_400),
                remember_me: Duration::from_secs(30 * 86_400),
                cookie_domain: String::new(),
            },
            access_lifetime: Duration::from_secs(900),
            refresh_lifetime: Duration::from_secs(30 * 86_400),
            rate_limit: Some(RateLimit { requests: 100, window: Duration::from_secs(900) }),
        },
        api_keys: ApiKeys {
            prefix: Arc::from("vst"),
            accept: Vec::new(),
            rate_limit: Some(RateLimit { requests: 100, window: Duration::from_secs(60) }),
        },
        smtp: None,
        providers: Vec::new(),
        incomplete_providers: Vec::new(),
        jwt_issuers: Vec::new(),
        telemetry: Telemetry {
            listen: None,
            log_json: true,
            log_level: "info".to_owned(),
            access_log: AccessLog::Off,
            access_log_file: None,
        },
        routes: vec![
            route("files", "app.example.com", signed_in()),
            route("wiki", "wiki.example.com", signed_in()),
            route("console", "console.example.com", admins()),
        ],
    }
}
