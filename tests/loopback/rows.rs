//! What the tests of the documents' rows share: programs at the portal, variables instead of a
//! file's keys, a clock that can be moved, and what the log and the store hold.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use vestibule_testkit::{
    Actor, Client, Gateway, GatewayBuilder, Recorded, Recorder, Request, Response, Route, part,
};

use crate::gateway;

/// A secret as `openssl rand -hex 32` prints one.
pub(crate) const HEX_SECRET: &str =
    "9f2b7c41d0e85a6634bb17c9e0f3d2a85c6e7f901b2a3d4c5e6f708192a3b4c5";
/// Another one.
pub(crate) const OTHER_SECRET: &str =
    "27d1e08c5f3b4a96b7c8d9eaf0123456c1b2a39485768594a3b2c1d0e9f8a7b6";

/// A gateway whose secrets come from the environment only.
pub(crate) fn by_variables(variables: &[(&str, &str)]) -> GatewayBuilder {
    variables
        .iter()
        .fold(gateway().without("secrets"), |builder, (name, value)| builder.env(name, value))
}

/// As [`by_variables`], with a portal that the environment names.
pub(crate) fn by_variables_alone(variables: &[(&str, &str)]) -> GatewayBuilder {
    by_variables(variables).without("server.portal_url").listeners(&[("proxy", false)])
}

/// `wiki.example.test`, open to whoever is signed in.
pub(crate) fn wiki(app: &Recorder) -> Route {
    Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in")
}

/// The portal as a program sees it: no cookie, no `Origin`, no `Sec-Fetch-Site`.
pub(crate) struct Portal {
    client: Client,
    origin: String,
}

impl Portal {
    /// The portal of a gateway whose file names it.
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self::at(gateway, gateway.portal())
    }

    /// The portal at an origin that the environment names.
    pub(crate) fn at(gateway: &Gateway, origin: &str) -> Self {
        Self { client: gateway.client(), origin: origin.to_owned() }
    }

    /// The same, asked from another loopback address.
    pub(crate) fn from(mut self, source: &str) -> Self {
        self.client = self.client.from(source);
        self
    }

    /// A person with an empty jar, whose paths are on `host`.
    pub(crate) fn person(&self, host: &str) -> Actor {
        Actor::new(self.client.clone(), &self.origin, host)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.client.send(&Request::get(&self.url(path)))
    }

    /// As a browser opens it.
    pub(crate) fn page(&self, path: &str) -> Response {
        self.client.send(&Request::get(&self.url(path)).navigation())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        self.client.send(&Request::new("POST", &self.url(path)).json(body))
    }

    /// A request with a bearer token or key.
    pub(crate) fn with_bearer(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Response {
        let request = Request::new(method, &self.url(path))
            .header("Authorization", format!("Bearer {token}"));
        self.client.send(&match body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    /// `GET /api/v1/auth/config`
    #[track_caller]
    pub(crate) fn config(&self) -> Value {
        self.get("/api/v1/auth/config").expect(200).json()
    }

    /// `POST /api/v1/auth/login`
    pub(crate) fn login(&self, email: &str, password: &str) -> Response {
        self.post("/api/v1/auth/login", &json!({ "email": email, "password": password }))
    }

    /// `POST /api/v1/auth/refresh`
    pub(crate) fn refresh(&self, token: &str) -> Response {
        self.post("/api/v1/auth/refresh", &json!({ "refresh_token": token }))
    }

    /// `POST /api/v1/auth/signup`
    pub(crate) fn sign_up(&self, email: &str, password: &str) -> Response {
        self.post("/api/v1/auth/signup", &json!({ "email": email, "password": password }))
    }

    /// Access and refresh token of an account.
    #[track_caller]
    pub(crate) fn tokens(&self, email: &str, password: &str) -> (String, String) {
        let tokens = self.login(email, password).expect(200).json();
        let text = |name: &str| tokens[name].as_str().expect("a text").to_owned();
        (text("access_token"), text("refresh_token"))
    }
}

/// A form that a page of that origin sends.
pub(crate) fn form_request(origin: &str, path: &str) -> Request {
    Request::new("POST", &format!("{origin}{path}"))
        .header("Accept", "text/html")
        .header("Origin", origin)
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Site", "same-origin")
}

/// A request to `/api/v1/admin…` as the portal's own pages would make it.
pub(crate) fn admin_api(
    actor: &mut Actor,
    portal: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Response {
    let request = Request::new(method, &format!("{portal}/api/v1/admin{path}"))
        .header("Origin", portal)
        .header("Sec-Fetch-Site", "same-origin")
        .header("Accept", "application/json");
    actor.send(match body {
        Some(body) => request.json(body),
        None => request,
    })
}

/// The id of an account, as the command line tells it.
#[track_caller]
pub(crate) fn account_id(gateway: &Gateway, who: &str) -> String {
    account(gateway, who)["id"].as_str().expect("an id").to_owned()
}

/// An account, as the command line tells it.
#[track_caller]
pub(crate) fn account(gateway: &Gateway, who: &str) -> Value {
    gateway.cli(&["user", "show", who, "--format", "json"]).expect(0).json()
}

/// Every account, as the command line tells them.
#[track_caller]
pub(crate) fn accounts(gateway: &Gateway) -> Vec<Value> {
    let list = gateway.cli(&["user", "list", "--format", "json"]).expect(0).json();
    list.as_array().expect("a list").clone()
}

/// `title` of a problem document.
#[track_caller]
pub(crate) fn title(response: &Response) -> String {
    response.json()["title"].as_str().unwrap_or_default().to_owned()
}

/// The stable code of an answer.
pub(crate) fn code(response: &Response) -> String {
    response.code().unwrap_or_default()
}

/// What a client can tell one refusal from another by: status, fields without what differs at
/// every request, and the document without its request id.
pub(crate) fn face(response: &Response) -> (u16, Vec<(String, String)>, Value) {
    let moving = ["date", "x-request-id", "content-length"];
    let mut fields: Vec<_> = response
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !moving.contains(&name.as_str()))
        .collect();
    fields.sort();
    let mut document = response.json();
    if let Some(members) = document.as_object_mut() {
        members.remove("request_id");
    }
    (response.status, fields, document)
}

/// The claims of a JWT, unchecked.
#[track_caller]
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

/// The claims of the assertion that an app was given.
#[track_caller]
pub(crate) fn assertion(seen: &Recorded) -> Value {
    claims(seen.header("x-vestibule-assertion").expect("an assertion"))
}

/// All log lines of the audit trail with that event.
pub(crate) fn audit_lines(gateway: &Gateway, event: &str) -> Vec<Value> {
    gateway
        .logs()
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["target"] == "audit" && line.to_string().contains(event))
        .collect()
}

/// Every file of the data directory whose bytes hold the text.
pub(crate) fn files_that_hold(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_that_hold(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

/// The permission bits of a file.
#[track_caller]
pub(crate) fn mode_of(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    meta.permissions().mode() & 0o777
}

/// Changes the permission bits of a file.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Runs SQL by the `sqlite3` program on a file, as an operator would. `None`: not installed.
#[track_caller]
pub(crate) fn sqlite3(file: &Path, sql: &str) -> Option<String> {
    let program = part("sqlite3", "the Debian package sqlite3")?;
    let output = std::process::Command::new(program)
        .args(["-cmd", ".timeout 10000"])
        .arg(file)
        .arg(sql)
        .output()
        .expect("sqlite3 runs");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The wall clock of a server, which a test can move forward. Timers are not touched.
pub(crate) struct Clock {
    file: tempfile::NamedTempFile,
    library: PathBuf,
}

impl Clock {
    /// `None`: faketime is not installed.
    pub(crate) fn start() -> Option<Self> {
        part("faketime", "the Debian package faketime")?;
        let library = std::fs::read_dir("/usr/lib")
            .ok()?
            .flatten()
            .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
            .find(|path| path.exists())?;
        let clock = Self { file: tempfile::NamedTempFile::new().ok()?, library };
        clock.set(0);
        Some(clock)
    }

    /// A server (and commands) that go by this clock.
    pub(crate) fn on(&self, builder: GatewayBuilder) -> GatewayBuilder {
        builder
            .env("LD_PRELOAD", self.library.to_str().expect("a path"))
            .env("FAKETIME_TIMESTAMP_FILE", self.file.path().to_str().expect("a path"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
    }

    /// So many seconds ahead of the machine's.
    pub(crate) fn set(&self, seconds: u64) {
        std::fs::write(self.file.path(), format!("+{seconds}\n")).expect("the clock's file");
    }
}
