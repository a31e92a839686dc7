//! Chromium through chromedriver. The protocol is plain JSON over HTTP (W3C WebDriver), so our
//! own client speaks it, and every call of it can be made, the virtual authenticator's too.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use serde_json::{Value, json};

use crate::wait::until;
use crate::{Ca, Client, Peer, Request, part};

/// A browser with a profile and a home of its own, which trusts the shared test authority.
pub struct Browser {
    driver: Peer,
    session: String,
}

impl Browser {
    /// Starts one whose names under `example.test` lead to `https` (port 443) and `http` (port 80).
    /// `None`: chromedriver, Chromium or certutil is not installed.
    pub fn start(https: SocketAddr, http: SocketAddr) -> Option<Self> {
        Self::start_with(https, http, &[])
    }

    /// As [`Browser::start`], with further arguments of Chromium.
    pub fn start_with(https: SocketAddr, http: SocketAddr, more: &[&str]) -> Option<Self> {
        let driver = part("chromedriver", "Debian's `chromium-driver`")?;
        let chromium = part("chromium", "Debian's `chromium`")?;
        let certutil = part("certutil", "Debian's `libnss3-tools`")?;
        let driver = Peer::start(|folder, address| {
            trust(&certutil, folder);
            let mut command = Command::new(&driver);
            command.arg(format!("--port={}", address.port())).env("HOME", folder);
            command
        });
        let map = format!(
            "MAP *.example.test:443 {https}, MAP *.example.test:80 {http}, MAP *.localhost:80 {http}"
        );
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--window-size=1280,900".to_owned(),
            format!("--host-resolver-rules={map}"),
        ];
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "webauthn:virtualAuthenticators": true,
            "goog:chromeOptions": {
                "binary": chromium,
                "args": arguments,
            },
        }}});
        let mut browser = Self { driver, session: String::new() };
        let opened = browser.call("POST", "/session", Some(&capabilities));
        browser.session = opened["sessionId"].as_str().expect("a session id").to_owned();
        Some(browser)
    }

    /// A command of the session: `post("/url", …)`.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}{path}", self.session), Some(body))
    }

    /// A question of the session.
    #[track_caller]
    pub fn ask(&self, path: &str) -> Value {
        self.call("GET", &format!("/session/{}{path}", self.session), None)
    }

    /// Opens a URL and waits until it is loaded.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The URL in the address bar.
    #[track_caller]
    pub fn url(&self) -> String {
        self.ask("/url").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the address bar shows a URL that starts so.
    #[track_caller]
    pub fn wait_url(&self, start: &str) -> String {
        until(&format!("the browser is at {start}"), || {
            let url = self.url();
            url.starts_with(start).then_some(url)
        })
    }

    /// The page's text.
    #[track_caller]
    pub fn text(&self) -> String {
        self.run("return document.body ? document.body.innerText : ''", &[])
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Runs a script in the page; arguments are `arguments[0]`….
    #[track_caller]
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// Runs a script that ends by calling its last argument; what it was called with.
    #[track_caller]
    pub fn run_async(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("/execute/async", &json!({ "script": script, "args": arguments }))
    }

    /// The text of the first element that the selector finds; works without scripts.
    #[track_caller]
    pub fn text_of(&self, selector: &str) -> String {
        let element = self.element(selector);
        self.ask(&format!("/element/{element}/text")).as_str().unwrap_or_default().to_owned()
    }

    /// Presses Tab, and the name of the element that then has the focus.
    #[track_caller]
    pub fn tab(&self) -> String {
        let key = |kind: &str| json!({ "type": kind, "value": "\u{e004}" });
        let keys =
            json!({ "type": "key", "id": "keyboard", "actions": [key("keyDown"), key("keyUp")] });
        self.post("/actions", &json!({ "actions": [keys] }));
        self.run("const e = document.activeElement; return e ? (e.id || e.name || e.textContent.trim()) : ''", &[])
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Types into the first element that the selector finds, replacing what is there.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Clicks the first element that the selector finds.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// All cookies that the current page's URL would get, as WebDriver shows them.
    #[track_caller]
    pub fn cookies(&self) -> Vec<Value> {
        self.ask("/cookie").as_array().cloned().unwrap_or_default()
    }

    /// Writes a picture of the page.
    pub fn screenshot(&self, path: &Path) {
        let picture = self.ask("/screenshot");
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(picture.as_str().unwrap_or_default())
            .expect("base64");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::File::create(path).unwrap().write_all(&bytes).unwrap();
    }

    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": selector });
        let path = format!("/session/{}/element", self.session);
        until(&format!("the page has {selector}"), || {
            let found = self.try_call("POST", &path, Some(&wanted)).ok()?;
            found.as_object()?.values().next()?.as_str().map(str::to_owned)
        })
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Value> {
        let url = format!("http://{}{path}", self.driver.address);
        let request = Request::new(method, &url);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = Client::plain(self.driver.address).send(&request);
        let mut value = answer.json()["value"].take();
        if answer.status == 200 {
            return Ok(value);
        }
        if let Some(trace) = value.as_object_mut() {
            trace.remove("stacktrace");
        }
        Err(value)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // chromedriver ends Chromium with the session; killed alone it would leave it behind.
        let _ = self.try_call("DELETE", &format!("/session/{}", self.session), None);
    }
}

fn trust(certutil: &Path, home: &Path) {
    let database = home.join(".pki/nssdb");
    std::fs::create_dir_all(&database).unwrap();
    let ca: PathBuf = home.join("ca.pem");
    std::fs::write(&ca, Ca::shared().pem()).unwrap();
    let database = format!("sql:{}", database.display());
    for arguments in [
        vec!["-N", "--empty-password"],
        vec!["-A", "-t", "C,,", "-n", "test-ca", "-i", ca.to_str().expect("a path in UTF-8")],
    ] {
        let done = Command::new(certutil).args(["-d", &database]).args(&arguments).status();
        assert!(done.is_ok_and(|status| status.success()), "certutil {arguments:?}");
    }
}
