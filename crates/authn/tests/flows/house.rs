//! A running sign-in service over the memory store, and what tests ask of it in one line.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use vestibule_authn::account::AddAccount;
use vestibule_authn::api_key::NewKey;
use vestibule_authn::authenticate::{
    Audience, CredentialHeaders, Outcome, Presented, Reading, Takes,
};
use vestibule_authn::login::{LoginError, PasswordAttempt};
use vestibule_authn::ports::{ApiKeyRecord, Store};
use vestibule_authn::session::{SignIn, StartedSession};
use vestibule_authn::token::Tokens;
use vestibule_authn::{Actor, Authn};
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::api_key::{RateLimit, Scopes};
use vestibule_core::identity::Identity;
use vestibule_core::return_to::Origin;
use vestibule_core::secret::Secret;
use vestibule_core::settings::Settings;
use vestibule_core::settings::api_keys::ApiKeys;
use vestibule_core::settings::auth::*;
use vestibule_core::settings::secrets::{Secrets, StoreKey};
use vestibule_core::settings::server::{Server, TrustedProxies};
use vestibule_core::settings::store::Store as StoreSettings;
use vestibule_core::settings::telemetry::{AccessLog, Telemetry};
use vestibule_core::time::UnixMillis;

use crate::memory::Memory;

pub(crate) const PORTAL: &str = "https://auth.example.com";
pub(crate) const APP: &str = "wiki.example.com";
pub(crate) const PASSWORD: &str = "wet sky kettle 9";
/// 2026-01-01T00:00:00Z
pub(crate) const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
pub(crate) const OTHER_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));

pub(crate) fn after(secs: u64) -> UnixMillis {
    NOW.plus(Duration::from_secs(secs))
}

pub(crate) fn settings() -> Settings {
    Settings {
        server: Server {
            portal: Origin::parse(PORTAL).unwrap(),
            development: false,
            profile: String::new(),
            data_dir: "/nowhere".into(),
            trusted_proxies: TrustedProxies::Nobody,
            workers: 1,
            header_timeout: Duration::from_secs(10),
            api_prefix: String::new(),
            provider_redirect_uri: "https://auth.example.com/api/v1/auth/callback/<id>".to_owned(),
        },
        listeners: Vec::new(),
        tls: Default::default(),
        secrets: Secrets {
            auth_secret: vec![Secret::new("0123456789abcdef0123456789abcdef")],
            auth_secret_derived: false,
            jwt_secret: Vec::new(),
            store_key: vec![StoreKey::from_hex(&"5a".repeat(32)).unwrap()],
        },
        store: StoreSettings { sqlite: "/nowhere/db".into(), backup: None },
        auth: Auth {
            mode: Mode::Full,
            approval: true,
            provider_signup: true,
            first_user: FirstUser::Setup,
            admin: None,
            bootstrap_admin: None,
            link_verified_email: LinkVerifiedEmail::Safe,
            bypass: false,
            allow_insecure_bypass: false,
            password: Password {
                enabled: true,
                signup: false,
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
            refresh_lifetime: Duration::from_secs(2_592_000),
            rate_limit: Some(RateLimit { requests: 100, window: Duration::from_secs(900) }),
        },
        api_keys: ApiKeys {
            prefix: "vst".into(),
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
        routes: Vec::new(),
    }
}

pub(crate) fn admin(email: &str, password: &str) -> Option<Admin> {
    Some(Admin {
        email: email.into(),
        password: Secret::new(password),
        is_documented_default: false,
    })
}

pub(crate) struct House {
    pub(crate) authn: Arc<Authn>,
    pub(crate) store: Arc<Memory>,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(edit: impl FnOnce(&mut Settings)) -> Self {
        Self::over(Memory::new(), edit).await
    }

    /// A start over a store that was used before.
    pub(crate) async fn over(store: Arc<Memory>, edit: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        edit(&mut settings);
        let authn = start(settings, store.clone()).await.unwrap();
        Self { authn, store }
    }

    pub(crate) async fn account(&self, email: &str) -> Account {
        self.account_as(email, Role::User, Status::Active).await
    }

    pub(crate) async fn account_as(&self, email: &str, role: Role, status: Status) -> Account {
        let add = AddAccount {
            email: email.to_owned(),
            name: "Ann".to_owned(),
            username: None,
            role,
            status,
            groups: Vec::new(),
            password: Some(Secret::new(PASSWORD)),
        };
        self.authn.add_account(add, &cli(), NOW).await.unwrap()
    }

    pub(crate) async fn session(&self, account: &Account) -> StartedSession {
        self.session_at(account, NOW).await
    }

    pub(crate) async fn session_at(&self, account: &Account, now: UnixMillis) -> StartedSession {
        self.authn.start_session(sign_in(account), None, &somebody(), now).await.unwrap()
    }

    pub(crate) async fn tokens(&self, account: &Account) -> Tokens {
        self.authn.issue_tokens(sign_in(account), &somebody(), NOW).await.unwrap()
    }

    pub(crate) async fn key(&self, account: &Account) -> (ApiKeyRecord, String) {
        self.key_with(account, |_| {}).await
    }

    pub(crate) async fn key_with(
        &self,
        account: &Account,
        edit: impl FnOnce(&mut NewKey),
    ) -> (ApiKeyRecord, String) {
        let mut new = new_key();
        edit(&mut new);
        self.authn.create_key(account.id, new, None, &somebody(), NOW).await.unwrap()
    }

    pub(crate) fn read(&self, reading: &Request) -> Reading {
        let cookies: Vec<&[u8]> = reading.cookies.iter().map(|c| c.as_bytes()).collect();
        let headers = CredentialHeaders {
            authorization: reading.authorization.as_deref().map(str::as_bytes),
            x_api_key: reading.x_api_key.as_deref().map(str::as_bytes),
            cookies: &cookies,
        };
        let takes = Takes { basic: reading.takes_basic, issuers: &reading.takes_issuers };
        self.authn.read(&headers, takes)
    }

    /// The whole chain, as a door runs it.
    pub(crate) async fn ask_as(
        &self,
        request: &Request,
        audience: Audience<'_>,
        client: IpAddr,
        now: UnixMillis,
    ) -> Outcome {
        let reading = self.read(request);
        match self.authn.authenticate_cached(&reading, audience, client, now) {
            Some(outcome) => outcome,
            None => self.authn.authenticate(&reading, audience, client, now).await,
        }
    }

    pub(crate) async fn ask(&self, request: &Request, now: UnixMillis) -> Outcome {
        self.ask_as(request, Audience::Portal, CLIENT, now).await
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Result<Account, LoginError> {
        self.log_in_from(email, password, CLIENT, NOW).await
    }

    pub(crate) async fn log_in_from(
        &self,
        email: &str,
        password: &str,
        client: IpAddr,
        now: UnixMillis,
    ) -> Result<Account, LoginError> {
        self.authn.check_password(attempt(email, password, client), &somebody(), now).await
    }

    pub(crate) async fn audited(&self) -> Vec<&'static str> {
        self.authn.flush().await;
        self.store.audit_events().iter().map(|e| e.event).collect()
    }
}

pub(crate) async fn start(
    settings: Settings,
    store: Arc<Memory>,
) -> Result<Arc<Authn>, vestibule_authn::StartError> {
    let store: Arc<dyn Store> = store;
    Authn::start(Arc::new(settings), store, tokio::runtime::Handle::current(), NOW).await
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) authorization: Option<String>,
    pub(crate) x_api_key: Option<String>,
    pub(crate) cookies: Vec<String>,
    pub(crate) takes_basic: bool,
    /// Names behind `jwt:` in the route's rules.
    pub(crate) takes_issuers: Vec<Arc<str>>,
}

pub(crate) fn cookie(token: &str) -> Request {
    Request { cookies: vec![format!("__Host-vestibule={token}")], ..Request::default() }
}

pub(crate) fn cookies(field: &str) -> Request {
    Request { cookies: vec![field.to_owned()], ..Request::default() }
}

pub(crate) fn bearer(token: &str) -> Request {
    authorization(&format!("Bearer {token}"))
}

pub(crate) fn authorization(value: &str) -> Request {
    Request { authorization: Some(value.to_owned()), ..Request::default() }
}

pub(crate) fn api_key(key: &str) -> Request {
    Request { x_api_key: Some(key.to_owned()), ..Request::default() }
}

pub(crate) fn attempt(email: &str, password: &str, client: IpAddr) -> PasswordAttempt {
    PasswordAttempt {
        email: email.to_owned(),
        password: Secret::new(password),
        client,
        device: None,
    }
}

pub(crate) fn new_key() -> NewKey {
    NewKey { name: "backup".to_owned(), expires_in: None, scopes: None, rate_limit: None }
}

pub(crate) fn scopes(texts: &[&str]) -> Scopes {
    Scopes::parse(texts.iter().copied()).unwrap()
}

pub(crate) fn sign_in(account: &Account) -> SignIn {
    SignIn {
        account: account.clone(),
        remember: false,
        amr: vec!["pwd".to_owned()],
        mfa: false,
        auth_time: None,
        client_ip: CLIENT,
        user_agent: "Mozilla/5.0".to_owned(),
    }
}

pub(crate) fn somebody() -> Actor {
    Actor { id: String::new(), client_ip: Some(CLIENT), request_id: "req-1".into() }
}

pub(crate) fn cli() -> Actor {
    Actor { id: "cli".to_owned(), client_ip: None, request_id: "".into() }
}

#[track_caller]
pub(crate) fn who(outcome: &Outcome) -> Arc<Identity> {
    match outcome {
        Outcome::Identified(identity) => identity.clone(),
        other => panic!("nobody was identified: {other:?}"),
    }
}

pub(crate) fn is_nobody(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::NotPresented)
}

pub(crate) fn is_rejected(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected(vestibule_core::verdict::Reason::InvalidCredential))
}

pub(crate) fn is_identified(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Identified(_))
}

pub(crate) fn is_nothing(reading: &Reading) -> bool {
    reading.presented == Presented::Nothing
}
