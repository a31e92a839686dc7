//! A gateway with two apps behind TLS, and a browser that knows their names.

use std::path::PathBuf;

use vestibule_testkit::{Browser, Gateway, GatewayBuilder, Recorder, Route};

pub(crate) const WIKI: &str = "https://wiki.example.test";
pub(crate) const IMG: &str = "https://img.example.test";
pub(crate) const AUTH: &str = "https://auth.example.test";

/// Two apps, the gateway, the browser.
pub(crate) struct Stage {
    pub(crate) wiki: Recorder,
    pub(crate) img: Recorder,
    pub(crate) gateway: Gateway,
    pub(crate) browser: Browser,
}

impl Stage {
    /// With the account `ann` in group `staff`. `None`: no browser here.
    pub(crate) fn new() -> Option<Self> {
        Self::with(|builder| builder.user("ann", &["staff"]), &[])
    }

    /// With a hand on the gateway and further arguments of Chromium.
    pub(crate) fn with(
        edit: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
        arguments: &[&str],
    ) -> Option<Self> {
        let (wiki, img) = (Recorder::start(), Recorder::start());
        let builder = Gateway::builder(env!("CARGO_BIN_EXE_vestibule"))
            .route(Route::new("wiki", "wiki.example.test").upstream(wiki.url()).access("signed-in"))
            .route(
                Route::new("img", "img.example.test")
                    .upstream(img.url())
                    .access("{ groups = [\"staff\"] }")
                    .set("identity_headers", "{ preset = \"x-forwarded\" }"),
            );
        let gateway = edit(builder).start();
        let browser = Browser::start_with(gateway.tls(), gateway.plain(), arguments)?;
        Some(Self { wiki, img, gateway, browser })
    }

    /// Fills in the sign-in page that the browser shows.
    #[track_caller]
    pub(crate) fn sign_in(&self, email: &str, password: &str) {
        self.browser.fill("input[name=email]", email);
        self.browser.fill("input[name=password]", password);
        self.browser.click("main button[type=submit]");
    }

    /// Keeps a picture for whoever wants to see it: `target/tmp/screenshots/NAME.png`.
    pub(crate) fn picture(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        self.browser.screenshot(&folder.join(format!("{name}.png")));
    }
}
