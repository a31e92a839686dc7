//! Two apps, a gateway that only answers hooks and the portal, and a real proxy in front of all that
//! runs what `vestibule snippet` printed. Only ports are put into that text.

use vestibule_testkit::{Actor, Client, ForeignIssuer, Gateway, Peer, Recorder, Request, Route};

/// Which proxy stands in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Caddy,
    Nginx,
    Traefik,
}

/// Everything a test needs. `wiki` and `api` share the host `wiki.example.test`.
pub(crate) struct Stage {
    /// Behind `https://wiki.example.test/`, preset `remote`.
    pub(crate) wiki: Recorder,
    /// Behind `https://wiki.example.test/api`: group `staff` only.
    pub(crate) api: Recorder,
    /// Behind `https://img.example.test/`, preset `x-forwarded`; `/open/*` is public, `/robots/*`
    /// takes tokens of `issuer`.
    pub(crate) img: Recorder,
    pub(crate) issuer: ForeignIssuer,
    pub(crate) gateway: Gateway,
    pub(crate) front: Peer,
    pub(crate) kind: Kind,
}

pub(crate) const WIKI: &str = "https://wiki.example.test";
pub(crate) const IMG: &str = "https://img.example.test";
pub(crate) const AUTH: &str = "https://auth.example.test";

/// Runs a test on a stage; nothing where the proxy is not installed.
pub(crate) fn run(kind: Kind, test: fn(&mut Stage)) {
    if let Some(mut stage) = Stage::new(kind) {
        test(&mut stage);
    }
}

impl Stage {
    fn new(kind: Kind) -> Option<Self> {
        let (wiki, api, img) = (Recorder::start(), Recorder::start(), Recorder::start());
        let issuer = ForeignIssuer::start();
        let gateway = Gateway::builder(env!("CARGO_BIN_EXE_vestibule"))
            .trusted(&["127.0.0.1"])
            .listeners(&[("proxy", false), ("forward-auth", false)])
            .toml(&issuer.toml("ci"))
            .route(
                Route::new("wiki", "wiki.example.test")
                    .upstream(wiki.url())
                    .access("signed-in")
                    .rule(&["/open", "/open/*"], &[], "public"),
            )
            .route(
                Route::new("api", "wiki.example.test")
                    .set("path", "/api")
                    .upstream(api.url())
                    .access("{ groups = [\"staff\"] }"),
            )
            .route(
                Route::new("img", "img.example.test")
                    .upstream(img.url())
                    .access("signed-in")
                    .set("identity_headers", "{ preset = \"x-forwarded\" }")
                    .rule(&["/open", "/open/*"], &[], "public")
                    .rule(&["/robots/*"], &[], "{ credentials = [\"jwt:ci\"] }"),
            )
            .user("ann", &["staff"])
            .user("bob", &[])
            .start();
        let front = match kind {
            Kind::Caddy => {
                let snippet = snippet(&gateway, "caddy");
                Peer::caddy(|address| {
                    format!(
                        "{{\n\tadmin off\n\tauto_https off\n\thttps_port {}\n\tdefault_bind 127.0.0.1\n}}\n{snippet}",
                        address.port()
                    )
                })
            }
            Kind::Nginx => {
                let snippet = snippet(&gateway, "nginx");
                Peer::nginx(|address| {
                    snippet.replace("listen 443 ssl;", &format!("listen {address} ssl;"))
                })
            }
            Kind::Traefik => {
                let snippet = snippet(&gateway, "traefik");
                Peer::traefik(|_| snippet.clone())
            }
        }?;
        let mut stage = Self { wiki, api, img, issuer, gateway, front, kind };
        stage.wait_until_routed();
        Some(stage)
    }

    /// A client of the front proxy.
    pub(crate) fn client(&self) -> Client {
        self.front.client()
    }

    /// Somebody without an account at the front proxy.
    pub(crate) fn anonymous(&self) -> Actor {
        Actor::new(self.client(), AUTH, "wiki.example.test")
    }

    /// Somebody signed in at the portal, through the front proxy.
    #[track_caller]
    pub(crate) fn signed_in(&self, name: &str) -> Actor {
        let mut actor = self.anonymous();
        let email = format!("{name}@example.test");
        let _ = actor.sign_in(&email, vestibule_testkit::PASSWORD).expect(200);
        actor
    }

    /// How many requests any of the apps has received.
    pub(crate) fn reached(&self) -> usize {
        self.wiki.count() + self.api.count() + self.img.count()
    }

    /// Traefik listens before it has read its dynamic file.
    fn wait_until_routed(&mut self) {
        let client = self.client();
        let ask = Request::get(&format!("{IMG}/open/started"));
        vestibule_testkit::until("the proxy routes to the app", || {
            client.try_send(&ask).ok().filter(|answer| answer.status == 200)
        });
        self.img.clear();
    }
}

/// What the command prints for this gateway, told where the gateway's free ports are.
fn snippet(gateway: &Gateway, proxy: &str) -> String {
    let (hook, door) = (gateway.hook().to_string(), gateway.plain().to_string());
    gateway.cli(&["snippet", proxy, "--hook", &hook, "--door", &door]).expect(0).stdout
}
