//! The certified OpenID provider of npm, `oidc-provider`: what a real provider does with what we
//! send, and sends to us. Its server stands in `tests/parts/oidc-provider`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::{Child, Client, Request, part, skip};

/// The running provider. Killed when dropped.
pub struct CertifiedOp {
    child: Child,
    issuer: String,
}

impl CertifiedOp {
    /// Its one client.
    pub const CLIENT_ID: &'static str = "vestibule";
    /// That client's secret.
    pub const CLIENT_SECRET: &'static str = "a-secret-of-the-certified-provider";

    /// Starts it for a portal that knows it by this id. `None`: node, or the installed package,
    /// is not here.
    pub fn start(portal: &str, id: &str) -> Option<Self> {
        Self::start_with(portal, id, &json!({}))
    }

    /// As [`CertifiedOp::start`], with more in its configuration, e.g. `accessTokenTtl`.
    pub fn start_with(portal: &str, id: &str, more: &Value) -> Option<Self> {
        let node = part("node", "Debian's `nodejs`")?;
        let folder = folder();
        if !folder.join("node_modules/oidc-provider").is_dir() {
            skip(
                "`oidc-provider` is not installed; run `npm ci --prefix tests/parts/oidc-provider`",
            );
            return None;
        }
        let mut config = json!({ "client": {
            "client_id": Self::CLIENT_ID,
            "client_secret": Self::CLIENT_SECRET,
            "redirect_uris": [format!("{portal}/api/v1/auth/callback/{id}")],
            "post_logout_redirect_uris": [format!("{portal}/login")],
            "grant_types": ["authorization_code", "refresh_token"],
            "backchannel_logout_uri": format!("{portal}/api/v1/auth/backchannel-logout/{id}"),
            "backchannel_logout_session_required": true,
        }});
        for (name, value) in more.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        let mut command = Command::new(node);
        command.arg(folder.join("server.mjs")).env("OP_CONFIG", config.to_string());
        let mut child = Child::start(&mut command);
        let issuer = child.wait_line("the certified provider listens", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["issuer"].as_str().map(str::to_owned)
        });
        Some(Self { child, issuer })
    }

    /// `iss`
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `[[provider]]` for it. Further keys may follow the text.
    pub fn toml(&self, id: &str) -> String {
        format!(
            "[[provider]]\nid = \"{id}\"\nissuer = \"{}\"\nclient_id = \"{}\"\n\
             client_secret = \"{}\"\nscopes = [\"openid\", \"profile\", \"email\", \"groups\"]\n",
            self.issuer,
            Self::CLIENT_ID,
            Self::CLIENT_SECRET
        )
    }

    /// Where a host of ours is, for what it sends through the back channel.
    pub fn leads(&self, host: &str, address: SocketAddr) {
        self.tell("hosts", &json!({ host: address.to_string() }));
    }

    /// What it says of a person; whom nobody told it of has an address and no groups.
    pub fn account(&self, name: &str, claims: &Value) {
        self.tell("accounts", &json!({ "name": name, "claims": claims }));
    }

    /// What it noted: `backchannel.success` and errors.
    pub fn events(&self) -> Vec<String> {
        let answer = self.client().send(&Request::get(&format!("{}/-/events", self.issuer)));
        serde_json::from_value(answer.expect(200).json()).expect("a list of texts")
    }

    /// What it wrote.
    pub fn lines(&self) -> Vec<String> {
        self.child.lines()
    }

    fn tell(&self, what: &str, body: &Value) {
        let request = Request::new("POST", &format!("{}/-/{what}", self.issuer)).json(body);
        let _ = self.client().send(&request).expect(200);
    }

    fn client(&self) -> Client {
        let address = Request::get(&self.issuer).authority;
        Client::plain(address.parse().expect("an address"))
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parts/oidc-provider")
}
