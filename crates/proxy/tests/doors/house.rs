//! The fixture: one worker, four listeners, a store in a temporary folder.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::runtime::Runtime;
use vestibule_authn::account::AddAccount;
use vestibule_authn::api_key::NewKey;
use vestibule_authn::session::SignIn;
use vestibule_authn::{Actor, Authn};
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::api_key::RateLimit;
use vestibule_core::group::Group;
use vestibule_core::local::LocalContext;
use vestibule_core::settings::Settings;
use vestibule_core::time::UnixMillis;
use vestibule_proxy::local::{LocalBody, LocalFuture, LocalService};
use vestibule_proxy::{Proxy, ProxyConfig};
use vestibule_testkit::{Ca, Client, Recorder};

use crate::records::Lines;

pub(crate) fn now() -> UnixMillis {
    UnixMillis(
        i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap(),
    )
}

/// Says what it was told.
struct Portal;

impl LocalService for Portal {
    fn call(&self, request: http::Request<LocalBody>) -> LocalFuture {
        Box::pin(async move {
            let context = request.extensions().get::<LocalContext>().unwrap().clone();
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let who = context.identity.as_ref().map_or("nobody", |identity| &identity.username);
            let text = format!("portal {path} {who} {} {} bytes", context.client_ip, body.len());
            let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
            http::Response::new(body)
        })
    }
}

pub(crate) struct House {
    pub(crate) service: Runtime,
    pub(crate) proxy: Proxy,
    pub(crate) authn: Arc<Authn>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) file: String,
    pub(crate) lines: Lines,
}

pub(crate) fn actor() -> Actor {
    Actor { id: "test".into(), client_ip: None, request_id: Arc::from("test") }
}

pub(crate) fn load(folder: &std::path::Path, file: &str) -> Arc<Settings> {
    let path = folder.join("vestibule.toml");
    std::fs::write(&path, file).unwrap();
    for secret in ["vestibule.toml", "leaf.key"].map(|name| folder.join(name)) {
        if secret.exists() {
            std::fs::set_permissions(secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    match vestibule_config::load(Some(&path), &Default::default()) {
        Ok(loaded) => Arc::new(loaded.settings),
        Err(report) => panic!("{}", vestibule_config::render(&report.diagnostics)),
    }
}

impl House {
    pub(crate) fn new(routes: &str) -> Self {
        Self::with("https://auth.test", "", routes)
    }

    pub(crate) fn with(portal: &str, more: &str, routes: &str) -> Self {
        Self::build(portal, 1, more, routes)
    }

    pub(crate) fn build(portal: &str, workers: usize, more: &str, routes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = Ca::shared()
            .leaf(&["app.test", "auth.test", "*.wild.test"])
            .write(folder.path(), "leaf");
        let file = format!(
            r#"
[server]
portal_url = "{portal}"
environment = "development"
data_dir = "{}"
trusted_proxies = ["127.0.0.9/32"]
workers = {workers}
header_timeout = "1s"
[secrets]
auth_secret = "gX7vq2Lk9Zt4Rb1Nw8Yc5Jd3Hf6Ms0PaUeQo"
store_key = "5f0c9d1e2b3a48576a7b8c9d0e1f2031425364758697a8b9cadbecfd0e1f2a3b"
[[listener]]
address = "127.0.0.1:0"
[[listener]]
address = "127.0.0.1:0"
tls = true
[[listener]]
address = "127.0.0.1:0"
door = "forward-auth"
[[listener]]
address = "127.0.0.1:0"
door = "redirect"
[[tls.certificate]]
cert = "{}"
key = "{}"
{more}
{routes}
"#,
            folder.path().display(),
            cert.display(),
            key.display()
        );
        let settings = load(folder.path(), &file);
        let service = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let handle = service.handle().clone();
        let store = service
            .block_on(vestibule_store::sqlite::SqliteStore::open(
                &folder.path().join("vestibule.db"),
                &settings.secrets.store_key,
            ))
            .unwrap();
        let authn = service
            .block_on(Authn::start(settings.clone(), Arc::new(store), handle.clone(), now()))
            .unwrap();
        let lines = Lines::default();
        let proxy = Proxy::start(ProxyConfig {
            settings,
            authn: authn.clone(),
            local: Arc::new(Portal),
            service: handle,
            clock: now,
            access_log: Box::new(lines.clone()),
        })
        .unwrap();
        Self { service, proxy, authn, folder, file, lines }
    }

    pub(crate) fn address(&self, listener: usize) -> SocketAddr {
        self.proxy.local_addresses()[listener].1
    }

    pub(crate) fn plain(&self) -> Client {
        Client::plain(self.address(0))
    }

    pub(crate) fn tls(&self) -> Client {
        Client::tls(self.address(1))
    }

    pub(crate) fn hook(&self) -> Client {
        Client::plain(self.address(2)).from("127.0.0.9")
    }

    pub(crate) fn account(&self, name: &str) -> Account {
        let add = AddAccount {
            email: format!("{name}@example.test"),
            name: name.to_owned(),
            username: Some(name.to_owned()),
            role: Role::User,
            status: Status::Active,
            groups: vec![Group::new("staff").unwrap()],
            password: None,
        };
        self.service.block_on(self.authn.add_account(add, &actor(), now())).unwrap()
    }

    pub(crate) fn key(&self, owner: &Account) -> String {
        self.key_with(owner, None)
    }

    pub(crate) fn key_with(&self, owner: &Account, rate_limit: Option<RateLimit>) -> String {
        let new = NewKey { name: "k".into(), expires_in: None, scopes: None, rate_limit };
        let actor = actor();
        let made = self.authn.create_key(owner.id, new, None, &actor, now());
        self.service.block_on(made).unwrap().1
    }

    /// The cookie of an app host.
    pub(crate) fn session(&self, account: &Account, host: &str) -> String {
        self.service.block_on(async {
            let sign_in = SignIn {
                account: account.clone(),
                remember: false,
                amr: vec!["pwd".into()],
                mfa: false,
                auth_time: None,
                client_ip: "127.0.0.1".parse().unwrap(),
                user_agent: String::new(),
            };
            let started = self.authn.start_session(sign_in, None, &actor(), now()).await.unwrap();
            let flow = self.authn.new_flow();
            let state = Authn::flow_state(&flow);
            let code =
                self.authn.mint_handoff(started.session.id, host, &state, now()).await.unwrap();
            let redeemed = self
                .authn
                .redeem_handoff(&code, host, &state, &flow, &actor(), now())
                .await
                .unwrap();
            format!("__Host-vestibule={}", redeemed.unwrap().token)
        })
    }
}

pub(crate) fn route(name: &str, app: &Recorder, more: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\nhost = \"{name}.test\"\nupstream = \"{}\"\n{more}\n",
        app.url()
    )
}

pub(crate) fn status_of(raw: &[u8]) -> &str {
    std::str::from_utf8(raw.get(..12).unwrap_or(raw)).unwrap_or("")
}
