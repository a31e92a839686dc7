//! An issuer of bearer tokens that is no provider: a key set, tokens of any header and claims,
//! and an introspection endpoint (RFC 7662) for opaque ones.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use serde_json::{Value, json};

use crate::jose::{Key, random_text};
use crate::provider::OpFault;
use crate::service::{Heard, Reply, Service, now};

/// The issuer. It stops when dropped.
pub struct ForeignIssuer {
    service: Service,
    shared: Arc<Shared>,
}

struct Shared {
    base: String,
    client_secret: String,
    state: Mutex<State>,
}

struct State {
    fault: Option<OpFault>,
    introspected: Vec<Heard>,
    jwks_hits: usize,
    key: Key,
    opaque: BTreeMap<String, Value>,
    published: Vec<Value>,
    trap_hits: usize,
}

impl ForeignIssuer {
    /// Its client for introspection.
    pub const CLIENT_ID: &'static str = "vestibule-as-resource";

    /// An issuer with an RSA key.
    pub fn start() -> Self {
        Self::with(Key::rsa(0, "ci-0"))
    }

    /// An issuer with a key of one's choice.
    pub fn with(key: Key) -> Self {
        let cell = Arc::new(OnceLock::<Arc<Shared>>::new());
        let seen = Arc::clone(&cell);
        let any = "127.0.0.1:0".parse().unwrap();
        let service = Service::at(any, move |heard| seen.wait().answer(heard));
        let shared = Arc::new(Shared {
            base: format!("http://{}", service.address()),
            client_secret: random_text(),
            state: Mutex::new(State {
                fault: None,
                introspected: Vec::new(),
                jwks_hits: 0,
                published: vec![key.jwk()],
                key,
                opaque: BTreeMap::new(),
                trap_hits: 0,
            }),
        });
        let _ = cell.set(Arc::clone(&shared));
        Self { service, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// `iss`
    pub fn issuer(&self) -> &str {
        &self.shared.base
    }

    /// Where its keys are.
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.shared.base)
    }

    /// Where opaque tokens are asked about.
    pub fn introspection_url(&self) -> String {
        format!("{}/introspect", self.shared.base)
    }

    /// Where a token's header may point to. Nobody has any business there.
    pub fn trap_url(&self) -> String {
        format!("{}/trap", self.shared.base)
    }

    /// The secret of the client for introspection.
    pub fn client_secret(&self) -> &str {
        &self.shared.client_secret
    }

    /// `[[jwt_issuer]]` for it: audience `vestibule`, RS256, ES256, EdDSA. Further keys may
    /// follow the text.
    pub fn toml(&self, name: &str) -> String {
        format!(
            "[[jwt_issuer]]\nname = \"{name}\"\nissuer = \"{}\"\njwks_url = \"{}\"\n\
             audience = [\"vestibule\"]\nalgorithms = [\"RS256\", \"ES256\", \"EdDSA\"]\n",
            self.issuer(),
            self.jwks_url()
        )
    }

    /// Its key.
    pub fn key(&self) -> Key {
        self.state().key.clone()
    }

    /// Another key, published or not.
    pub fn rotate(&self, key: Key, published: bool) {
        let mut state = self.state();
        if published {
            state.published = vec![key.jwk()];
        }
        state.key = key;
    }

    /// What the key set holds.
    pub fn publish(&self, keys: Vec<Value>) {
        self.state().published = keys;
    }

    /// Every endpoint falls ill, or is healed.
    pub fn fault(&self, fault: Option<OpFault>) {
        self.state().fault = fault;
    }

    /// Good claims for somebody: five minutes, audience `vestibule`.
    pub fn claims(&self, sub: &str) -> Value {
        json!({
            "iss": self.issuer(),
            "sub": sub,
            "aud": "vestibule",
            "iat": now(),
            "exp": now() + 300,
            "jti": random_text(),
        })
    }

    /// A good token for somebody.
    pub fn token(&self, sub: &str) -> String {
        self.sign(&self.claims(sub))
    }

    /// A token of these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.key().jwt(claims)
    }

    /// An opaque token; this is what introspection answers about it.
    pub fn opaque(&self, answer: Value) -> String {
        let token = random_text();
        self.state().opaque.insert(token.clone(), answer);
        token
    }

    /// Introspection calls an opaque token no longer active.
    pub fn end(&self, token: &str) {
        self.state().opaque.remove(token);
    }

    /// How often the keys were fetched.
    pub fn jwks_hits(&self) -> usize {
        self.state().jwks_hits
    }

    /// How often the trap was asked.
    pub fn trap_hits(&self) -> usize {
        self.state().trap_hits
    }

    /// What came to the introspection endpoint.
    pub fn introspected(&self) -> Vec<Heard> {
        self.state().introspected.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Shared {
    fn answer(&self, heard: &Heard) -> Reply {
        let mut state = self.state.lock().unwrap();
        let reply = match heard.path.as_str() {
            "/jwks" => {
                state.jwks_hits += 1;
                Reply::json(&json!({ "keys": state.published }))
            }
            "/introspect" => self.introspect(&mut state, heard),
            "/trap" => {
                state.trap_hits += 1;
                Reply::json(&json!({ "keys": [Key::rsa(4, "trap").jwk()] }))
            }
            _ => Reply::page(404, "Not found"),
        };
        match state.fault.clone() {
            Some(fault) => fault.of(reply),
            None => reply,
        }
    }

    fn introspect(&self, state: &mut State, heard: &Heard) -> Reply {
        state.introspected.push(heard.clone());
        let known = heard.basic().is_some_and(|(id, secret)| {
            id == ForeignIssuer::CLIENT_ID && secret == self.client_secret
        });
        if !known || heard.method != "POST" {
            return Reply::json_text(401, r#"{"error":"invalid_client"}"#)
                .and("WWW-Authenticate", "Basic realm=\"issuer\"");
        }
        let answer = heard.form("token").and_then(|token| state.opaque.get(&token).cloned());
        Reply::json(&answer.unwrap_or_else(|| json!({ "active": false })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Request};

    #[test]
    fn opaque_tokens_are_told_to_its_client_only() {
        let issuer = ForeignIssuer::start();
        let token = issuer.opaque(json!({ "active": true, "sub": "robot" }));
        let ask = |user: &str| {
            use base64::Engine;
            let pair = format!("{user}:{}", issuer.client_secret());
            let basic = base64::engine::general_purpose::STANDARD.encode(pair);
            let request = Request::new("POST", &issuer.introspection_url())
                .header("Authorization", format!("Basic {basic}"))
                .form(&[("token", &token)]);
            Client::plain(issuer.address()).send(&request)
        };
        assert_eq!(ask(ForeignIssuer::CLIENT_ID).expect(200).json()["sub"], "robot");
        let _ = ask("somebody").expect(401);
        issuer.end(&token);
        assert_eq!(ask(ForeignIssuer::CLIENT_ID).expect(200).json()["active"], false);
        assert_eq!(issuer.introspected().len(), 3);
    }
}
