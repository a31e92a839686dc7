//! An OpenID provider that does as it is told: honest by default, otherwise wrong in exactly one
//! way ([`Mutant`]), ill at one endpoint ([`OpFault`]), with other keys, another clock, other
//! claims. It asks nobody for a password: who signs in is the browser's cookie `person` on its
//! host, else the one named by [`Op::default_person`]. It counts and keeps what it is asked.

mod forge;
mod logout;
mod mutant;
mod person;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

pub use logout::LogoutMutant;
pub use mutant::{Mutant, Outcome, Stage};
pub use person::Person;

use crate::http1::encode;
use crate::jose::{Key, b64, random_below, random_text, sha256};
use crate::service::{Heard, Reply, Service, http_date, now, parameters};

/// What an ID token lives.
const ID_TOKEN_LIFETIME: i64 = 300;

/// A place of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// Where people are sent.
    Authorize,
    /// The discovery document.
    Discovery,
    /// Anything else.
    Elsewhere,
    /// Sign-out.
    EndSession,
    /// RFC 7662.
    Introspection,
    /// The key set.
    Jwks,
    /// Codes and refresh tokens become tokens.
    Token,
    /// Where a token's header may point to. Nobody has any business there.
    Trap,
    /// Claims for an access token.
    UserInfo,
}

impl Endpoint {
    const ALL: [Self; 9] = [
        Self::Authorize,
        Self::Discovery,
        Self::Elsewhere,
        Self::EndSession,
        Self::Introspection,
        Self::Jwks,
        Self::Token,
        Self::Trap,
        Self::UserInfo,
    ];
}

/// An illness of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpFault {
    /// Closes without a byte.
    Down,
    /// 10 GiB, as fast as they are taken.
    Endless,
    /// The right answer, so much later.
    Held(Duration),
    /// A page, 200.
    Html,
    /// 302 to somewhere.
    Redirect(String),
    /// Any status, with an error in JSON.
    Status(u16),
    /// The right answer, padded beyond 1 MiB.
    TooLarge,
    /// The right answer, cut off in its middle.
    Truncated,
    /// The right answer as `text/plain`.
    WrongType,
}

/// What becomes of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The key set is empty; the key goes on signing.
    Empty,
    /// Another key under another `kid`; the old one is gone.
    NewKid,
    /// The key set holds another key only; the old one goes on signing.
    Removed,
    /// Another key under the same `kid`.
    SameKid,
}

/// Where the person's claims stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimsIn {
    /// In the ID token and in UserInfo.
    Both,
    /// In the ID token; UserInfo says `sub` alone.
    IdToken,
    /// In UserInfo; the ID token holds what the protocol asks for.
    UserInfo,
}

/// How a client showed who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `Authorization: Basic`.
    Basic,
    /// Its name alone.
    None,
    /// Name and secret in the form.
    Post,
}

/// A request at the authorization endpoint.
#[derive(Clone, Debug)]
pub struct Asked {
    /// All parameters in order.
    pub parameters: Vec<(String, String)>,
    /// Who sat there.
    pub person: String,
}

/// A request at the token endpoint.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// How the client showed who it is.
    pub auth: ClientAuth,
    /// Its name.
    pub client_id: String,
    /// All parameters in order.
    pub parameters: Vec<(String, String)>,
    /// The error it got, if any.
    pub error: Option<&'static str>,
}

/// A provider before it starts.
pub struct OpBuilder {
    address: SocketAddr,
    issuer_path: String,
    client: (String, Option<String>),
    odd_paths: bool,
}

/// The provider. It stops when dropped.
pub struct Op {
    service: Service,
    shared: Arc<Shared>,
}

struct Shared {
    /// `http://127.0.0.1:PORT`
    base: String,
    issuer: String,
    client_id: String,
    client_secret: Option<String>,
    places: BTreeMap<String, Endpoint>,
    state: Mutex<State>,
}

struct State {
    access: BTreeMap<String, Grant>,
    access_lifetime: i64,
    answers_error: Option<String>,
    asked: Vec<Asked>,
    claims_in: ClaimsIn,
    clock: i64,
    codes: BTreeMap<String, Grant>,
    default_person: String,
    delay: Duration,
    described: Value,
    exchanged: Vec<Exchanged>,
    faults: BTreeMap<Endpoint, OpFault>,
    hits: BTreeMap<Endpoint, usize>,
    key: Key,
    mutant: Mutant,
    others: Keys,
    people: BTreeMap<String, Person>,
    published: Vec<Value>,
    refresh: BTreeMap<String, Grant>,
    refresh_refused: BTreeSet<String>,
    rotate_next: Option<Rotation>,
    rotations: usize,
    said: Vec<String>,
    sids: Vec<(String, String)>,
    signed_out: Vec<Asked>,
}

/// Keys that are not, or not yet, the signing one.
struct Keys {
    ec: Key,
    second: Key,
    stranger: Key,
}

/// What a code or token stands for.
#[derive(Clone, Debug)]
struct Grant {
    person: String,
    /// Who it was when the sign-in was made; a refresh asks the person anew.
    nonce: Option<String>,
    challenge: Option<String>,
    redirect_uri: String,
    sid: String,
    auth_time: i64,
    scope: String,
}

impl OpBuilder {
    /// On a given address, for a provider that comes late or comes back.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// The issuer's path, such as `/application/o/pantrie/`; empty by default.
    #[must_use]
    pub fn issuer_path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.issuer_path);
        self
    }

    /// The client that it knows. Without a secret it is public.
    #[must_use]
    pub fn client(mut self, id: &str, secret: Option<&str>) -> Self {
        self.client = (id.to_owned(), secret.map(str::to_owned));
        self
    }

    /// Endpoints at paths that nobody would guess.
    #[must_use]
    pub fn odd_paths(mut self) -> Self {
        self.odd_paths = true;
        self
    }

    /// Starts it.
    pub fn start(self) -> Op {
        // The address is known only once it listens; the first request waits for the rest.
        let cell = Arc::new(std::sync::OnceLock::<Arc<Shared>>::new());
        let seen = Arc::clone(&cell);
        let service = Service::at(self.address, move |heard| seen.wait().answer(heard));
        let base = format!("http://{}", service.address());
        let shared = Arc::new(Shared {
            issuer: format!("{base}{}", self.issuer_path),
            places: self.places(),
            base,
            client_id: self.client.0,
            client_secret: self.client.1,
            state: Mutex::new(State::new()),
        });
        let _ = cell.set(Arc::clone(&shared));
        Op { service, shared }
    }

    fn places(&self) -> BTreeMap<String, Endpoint> {
        let root = self.issuer_path.trim_end_matches('/');
        Endpoint::ALL
            .into_iter()
            .map(|endpoint| {
                let plain = match endpoint {
                    Endpoint::Authorize => "/authorize",
                    Endpoint::Discovery => "/.well-known/openid-configuration",
                    Endpoint::Elsewhere => "/elsewhere",
                    Endpoint::EndSession => "/end-session",
                    Endpoint::Introspection => "/introspect",
                    Endpoint::Jwks => "/jwks",
                    Endpoint::Token => "/token",
                    Endpoint::Trap => "/trap",
                    Endpoint::UserInfo => "/userinfo",
                };
                let odd = self.odd_paths && endpoint != Endpoint::Discovery;
                let path = if odd {
                    format!("/x/{}/y.php", plain.trim_start_matches('/').to_uppercase())
                } else {
                    format!("{root}{plain}")
                };
                (path, endpoint)
            })
            .collect()
    }
}

impl Op {
    /// An honest provider with the client `vestibule` and a secret.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// One that is described first.
    pub fn builder() -> OpBuilder {
        OpBuilder {
            address: "127.0.0.1:0".parse().unwrap(),
            issuer_path: String::new(),
            client: ("vestibule".to_owned(), Some(format!("s3cret/{}+=", random_text()))),
            odd_paths: false,
        }
    }

    /// An honest provider that deviates in one way.
    pub fn mutated(mutant: Mutant) -> Self {
        let op = Self::start();
        op.mutate(mutant);
        op
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> &str {
        &self.shared.base
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// `iss`
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// The discovery document's URL.
    pub fn discovery_url(&self) -> String {
        self.url(Endpoint::Discovery)
    }

    /// The URL of an endpoint.
    pub fn url(&self, endpoint: Endpoint) -> String {
        self.shared.url(endpoint)
    }

    /// The client that it knows.
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    /// That client's secret; empty: it is public.
    pub fn client_secret(&self) -> &str {
        self.shared.client_secret.as_deref().unwrap_or_default()
    }

    /// `[[provider]]` for this one, of kind oidc by issuer. Further keys may follow the text.
    pub fn toml(&self, id: &str) -> String {
        let secret = match &self.shared.client_secret {
            Some(secret) => format!("client_secret = \"{secret}\"\n"),
            None => String::new(),
        };
        format!(
            "[[provider]]\nid = \"{id}\"\nissuer = \"{}\"\nclient_id = \"{}\"\n{secret}",
            self.issuer(),
            self.client_id()
        )
    }

    /// Members of the discovery document that are said otherwise; null: not at all.
    pub fn describe(&self, members: Value) {
        self.state().described = members;
    }

    /// Adds a person, or says something else of one.
    pub fn person(&self, person: Person) {
        self.state().people.insert(person.name.clone(), person);
    }

    /// Who signs in where the browser has no cookie `person`.
    pub fn default_person(&self, name: &str) {
        name.clone_into(&mut self.state().default_person);
    }

    /// Deviates in this way from now on.
    pub fn mutate(&self, mutant: Mutant) {
        self.state().mutate(mutant);
    }

    /// An endpoint falls ill, or is healed.
    pub fn fault(&self, endpoint: Endpoint, fault: Option<OpFault>) {
        let mut state = self.state();
        match fault {
            Some(fault) => state.faults.insert(endpoint, fault),
            None => state.faults.remove(&endpoint),
        };
    }

    /// Everybody who comes is sent back with this error.
    pub fn answers_error(&self, error: Option<&str>) {
        self.state().answers_error = error.map(str::to_owned);
    }

    /// Its clock goes so many seconds ahead (negative: behind).
    pub fn clock(&self, seconds: i64) {
        self.state().clock = seconds;
    }

    /// What access tokens live from now on.
    pub fn access_lifetime(&self, seconds: i64) {
        self.state().access_lifetime = seconds;
    }

    /// Where the person's claims stand.
    pub fn claims_in(&self, place: ClaimsIn) {
        self.state().claims_in = place;
    }

    /// Each answer for a person waits a random time up to this one.
    pub fn delays(&self, most: Duration) {
        self.state().delay = most;
    }

    /// Refreshes of this person are refused from now on.
    pub fn refuse_refresh(&self, name: &str) {
        self.state().refresh_refused.insert(name.to_owned());
    }

    /// The keys change now.
    pub fn rotate(&self, rotation: Rotation) {
        self.state().rotate(rotation);
    }

    /// The keys change once the next person has come, before a token is signed.
    pub fn rotate_between(&self, rotation: Rotation) {
        self.state().rotate_next = Some(rotation);
    }

    /// The key that signs.
    pub fn key(&self) -> Key {
        self.state().key.clone()
    }

    /// What the key set holds.
    pub fn publish(&self, keys: Vec<Value>) {
        self.state().published = keys;
    }

    /// How often an endpoint was asked.
    pub fn hits(&self, endpoint: Endpoint) -> usize {
        self.state().hits.get(&endpoint).copied().unwrap_or(0)
    }

    /// Who came with what to the authorization endpoint.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// Who came with what to the sign-out.
    pub fn signed_out(&self) -> Vec<Asked> {
        self.state().signed_out.clone()
    }

    /// What came to the token endpoint.
    pub fn exchanged(&self) -> Vec<Exchanged> {
        self.state().exchanged.clone()
    }

    /// How many refreshes came to the token endpoint.
    pub fn refreshes(&self) -> usize {
        let exchanged = self.exchanged();
        exchanged.iter().filter(|one| one.get("grant_type") == Some("refresh_token")).count()
    }

    /// The `sid` of every sign-in of a person, the latest last.
    pub fn sids(&self, name: &str) -> Vec<String> {
        let state = self.state();
        let of = state.sids.iter().filter(|(person, _)| person == name);
        of.map(|(_, sid)| sid.clone()).collect()
    }

    /// Every secret thing that it gave out or was shown: codes, tokens, verifiers.
    pub fn secrets(&self) -> Vec<String> {
        let state = self.state();
        let mut all = state.said.clone();
        let verifiers = state.exchanged.iter().filter_map(|one| one.get("code_verifier"));
        all.extend(verifiers.map(str::to_owned));
        all.extend(self.shared.client_secret.clone());
        all
    }

    /// How often a text came over the wire, in whatever request.
    pub fn heard(&self, text: &str) -> usize {
        self.service.heard(text)
    }

    /// Tokens for a person without any browser: what the token endpoint would answer.
    pub fn tokens_for(&self, name: &str) -> Value {
        let mut state = self.state();
        let grant = state.grant(name, None, None, "", "openid");
        self.shared.token_answer(&mut state, &grant, false)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Asked {
    /// The first parameter of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        value_of(&self.parameters, name)
    }
}

impl Exchanged {
    /// The first parameter of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        value_of(&self.parameters, name)
    }
}

fn value_of<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

impl Shared {
    fn url(&self, wanted: Endpoint) -> String {
        let found = self.places.iter().find(|&(_, &endpoint)| endpoint == wanted);
        format!("{}{}", self.base, found.map_or("/", |(path, _)| path))
    }

    fn answer(&self, heard: &Heard) -> Reply {
        let endpoint = self.places.get(&heard.path).copied().unwrap_or(Endpoint::Elsewhere);
        let mut state = self.state.lock().unwrap();
        *state.hits.entry(endpoint).or_default() += 1;
        let date = http_date(now() + state.clock);
        let (fault, delay) = (state.faults.get(&endpoint).cloned(), state.delay);
        let reply = match endpoint {
            Endpoint::Authorize => self.authorize(&mut state, heard),
            Endpoint::Discovery => self.discovery(&state),
            Endpoint::Elsewhere => Reply::page(404, "Not found"),
            Endpoint::EndSession => Self::end_session(&mut state, heard),
            Endpoint::Introspection => self.introspect(&state, heard),
            Endpoint::Jwks => forge::key_set(&state),
            Endpoint::Token => self.token(&mut state, heard),
            Endpoint::Trap => forge::trap(&state),
            Endpoint::UserInfo => Self::user_info(&state, heard),
        };
        drop(state);
        let reply = reply.and("Date", &date);
        let reply = match fault {
            Some(fault) => fault.of(reply),
            None => reply,
        };
        let personal = [Endpoint::Authorize, Endpoint::Token, Endpoint::UserInfo];
        if delay.is_zero() || !personal.contains(&endpoint) {
            return reply;
        }
        let time = Duration::from_millis(random_below(delay.as_millis() as u64));
        Reply::Held(time, Box::new(reply))
    }

    fn discovery(&self, state: &State) -> Reply {
        let mut document = json!({
            "issuer": self.issuer,
            "authorization_endpoint": self.url(Endpoint::Authorize),
            "token_endpoint": self.url(Endpoint::Token),
            "userinfo_endpoint": self.url(Endpoint::UserInfo),
            "jwks_uri": self.url(Endpoint::Jwks),
            "end_session_endpoint": self.url(Endpoint::EndSession),
            "introspection_endpoint": self.url(Endpoint::Introspection),
            "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
            "backchannel_logout_supported": true,
            "backchannel_logout_session_supported": true,
        });
        for (name, value) in state.described.as_object().into_iter().flatten() {
            document[name] = value.clone();
        }
        document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        forge::discovery(state.mutant, &mut document);
        Reply::json(&document)
    }

    fn authorize(&self, state: &mut State, heard: &Heard) -> Reply {
        let person = heard.cookie("person").unwrap_or(&state.default_person).to_owned();
        let asked = Asked { parameters: parameters(&heard.query), person };
        state.asked.push(asked.clone());
        let text = |name: &str| asked.get(name).unwrap_or_default();
        let redirect_uri = text("redirect_uri").to_owned();
        if text("client_id") != self.client_id || text("response_type") != "code" {
            return Reply::page(400, "This client is not known here");
        }
        let mut pairs = match &state.answers_error {
            Some(error) => vec![("error", error.clone())],
            None => {
                let nonce = asked.get("nonce").map(str::to_owned);
                let challenge = asked.get("code_challenge").map(str::to_owned);
                let grant =
                    state.grant(&asked.person, nonce, challenge, &redirect_uri, text("scope"));
                let code = state.keep(random_text());
                state.codes.insert(code.clone(), grant);
                vec![("code", code)]
            }
        };
        pairs.push(("state", text("state").to_owned()));
        pairs.push(("iss", self.issuer.clone()));
        forge::callback(state, &redirect_uri, &mut pairs);
        if let Some(rotation) = state.rotate_next.take() {
            state.rotate(rotation);
        }
        if state.mutant == Mutant::SigningKeyRotation {
            state.rotate(Rotation::NewKid);
        }
        Reply::redirect(&with_query(&redirect_uri, &pairs))
    }

    fn end_session(state: &mut State, heard: &Heard) -> Reply {
        let text = if heard.method == "POST" { &heard.body } else { &heard.query };
        let asked = Asked { parameters: parameters(text), person: String::new() };
        let back = asked.get("post_logout_redirect_uri").map(str::to_owned);
        let pairs: Vec<_> =
            asked.get("state").map(|state| ("state", state.to_owned())).into_iter().collect();
        state.signed_out.push(asked);
        match back {
            Some(back) => Reply::redirect(&with_query(&back, &pairs)),
            None => Reply::page(200, "Signed out"),
        }
    }

    fn introspect(&self, state: &State, heard: &Heard) -> Reply {
        let known = heard.basic().is_some_and(|(id, secret)| {
            id == self.client_id && Some(&secret) == self.client_secret.as_ref()
        });
        if !known {
            return Reply::json_text(401, r#"{"error":"invalid_client"}"#);
        }
        let grant = heard.form("token").and_then(|token| state.access.get(&token).cloned());
        Reply::json(&match grant {
            None => json!({ "active": false }),
            Some(grant) => json!({
                "active": true,
                "iss": self.issuer,
                "sub": state.person(&grant.person).sub,
                "aud": self.client_id,
                "client_id": self.client_id,
                "scope": grant.scope,
                "exp": now() + state.access_lifetime,
            }),
        })
    }

    fn token(&self, state: &mut State, heard: &Heard) -> Reply {
        let (auth, id, secret) = match heard.basic() {
            Some((id, secret)) => (ClientAuth::Basic, id, Some(secret)),
            None => {
                let secret = heard.form("client_secret");
                let auth = if secret.is_some() { ClientAuth::Post } else { ClientAuth::None };
                (auth, heard.form("client_id").unwrap_or_default(), secret)
            }
        };
        let mut exchanged =
            Exchanged { auth, client_id: id, parameters: parameters(&heard.body), error: None };
        let known = exchanged.client_id == self.client_id && secret == self.client_secret;
        let answer = if known { self.exchange(state, &exchanged) } else { Err("invalid_client") };
        exchanged.error = answer.as_ref().err().copied();
        state.exchanged.push(exchanged);
        match answer {
            Ok(answer) => {
                let is_refresh = heard.form("grant_type").as_deref() == Some("refresh_token");
                forge::token_endpoint(state.mutant, is_refresh, answer)
            }
            Err("invalid_client") => Reply::json_text(401, r#"{"error":"invalid_client"}"#)
                .and("WWW-Authenticate", "Basic realm=\"op\""),
            Err(error) => Reply::json_text(400, json!({ "error": error }).to_string()),
        }
    }

    fn exchange(&self, state: &mut State, asked: &Exchanged) -> Result<Value, &'static str> {
        let text = |name: &str| asked.get(name).unwrap_or_default();
        match text("grant_type") {
            "authorization_code" => {
                let code = text("code");
                let grant = state.codes.remove(code).ok_or("invalid_grant")?;
                let lenient = state.mutant == Mutant::CodeSwapped;
                if grant.redirect_uri != text("redirect_uri") && !lenient {
                    return Err("invalid_grant");
                }
                let fits = match &grant.challenge {
                    Some(challenge) => *challenge == b64(&sha256(text("code_verifier").as_bytes())),
                    None => asked.get("code_verifier").is_none(),
                };
                if !fits && !lenient {
                    return Err("invalid_grant");
                }
                Ok(self.token_answer(state, &grant, false))
            }
            "refresh_token" => {
                let grant = state.refresh.get(text("refresh_token")).cloned();
                let grant = grant.ok_or("invalid_grant")?;
                if state.refresh_refused.contains(&grant.person) {
                    return Err("invalid_grant");
                }
                self.refresh_answer(state, text("refresh_token"), &grant)
            }
            _ => Err("unsupported_grant_type"),
        }
    }

    /// What a good code or refresh token gets.
    fn token_answer(&self, state: &mut State, grant: &Grant, is_refresh: bool) -> Value {
        let access = state.keep(random_text());
        let refresh = state.keep(random_text());
        let id_token = forge::id_token(self, state, grant, &access, is_refresh);
        state.said.push(id_token.clone());
        state.access.insert(access.clone(), grant.clone());
        state.refresh.insert(refresh.clone(), Grant { nonce: None, ..grant.clone() });
        json!({
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": state.access_lifetime,
            "refresh_token": refresh,
            "id_token": id_token,
            "scope": grant.scope,
        })
    }

    fn refresh_answer(
        &self,
        state: &mut State,
        old: &str,
        grant: &Grant,
    ) -> Result<Value, &'static str> {
        if state.mutant == Mutant::RefreshRefused {
            return Err("invalid_grant");
        }
        let mut answer = self.token_answer(state, grant, true);
        match state.mutant {
            Mutant::RefreshNoIdToken => {
                answer.as_object_mut().unwrap().remove("id_token");
            }
            Mutant::RefreshNoNewToken => {
                answer.as_object_mut().unwrap().remove("refresh_token");
                return Ok(answer);
            }
            // A refusal that comes by way of status and connection leaves the old token good.
            Mutant::RefreshDown | Mutant::RefreshError => return Ok(answer),
            _ => {}
        }
        state.refresh.remove(old);
        Ok(answer)
    }

    fn user_info(state: &State, heard: &Heard) -> Reply {
        let grant = heard.bearer().and_then(|token| state.access.get(token));
        let Some(grant) = grant else {
            return Reply::json_text(401, r#"{"error":"invalid_token"}"#)
                .and("WWW-Authenticate", "Bearer error=\"invalid_token\"");
        };
        let person = state.person(&grant.person);
        let mut claims = json!({ "sub": person.sub });
        if state.claims_in() != ClaimsIn::IdToken {
            person.add_to(&mut claims);
        }
        forge::user_info(state, claims)
    }
}

impl State {
    fn new() -> Self {
        let key = Key::rsa(0, "key-0");
        Self {
            access: BTreeMap::new(),
            access_lifetime: 3600,
            answers_error: None,
            asked: Vec::new(),
            claims_in: ClaimsIn::Both,
            clock: 0,
            codes: BTreeMap::new(),
            default_person: "ann".to_owned(),
            delay: Duration::ZERO,
            described: Value::Null,
            exchanged: Vec::new(),
            faults: BTreeMap::new(),
            hits: BTreeMap::new(),
            mutant: Mutant::Untouched,
            others: Keys {
                ec: Key::ec("key-ec"),
                second: Key::rsa(3, "key-second"),
                stranger: Key::rsa(4, "key-of-a-stranger"),
            },
            people: BTreeMap::new(),
            published: vec![key.jwk()],
            key,
            refresh: BTreeMap::new(),
            refresh_refused: BTreeSet::new(),
            rotate_next: None,
            rotations: 0,
            said: Vec::new(),
            sids: Vec::new(),
            signed_out: Vec::new(),
        }
    }

    fn mutate(&mut self, mutant: Mutant) {
        self.mutant = mutant;
        self.clock = match mutant {
            Mutant::ClockAhead => 600,
            Mutant::ClockAheadLittle => 30,
            Mutant::ClockBehind => -600,
            Mutant::ClockBehindLittle => -30,
            _ => 0,
        };
        if let Some((key, published)) = forge::keys(mutant, &self.key, &self.others) {
            (self.key, self.published) = (key, published);
        }
    }

    fn rotate(&mut self, rotation: Rotation) {
        self.rotations += 1;
        // Of the shared pool 1 and 2 take turns with 0; 3 and 4 have other uses.
        let pair = Key::rsa(self.rotations % 3, &format!("key-{}", self.rotations));
        match rotation {
            Rotation::Empty => self.published.clear(),
            Rotation::NewKid => {
                self.published = vec![pair.jwk()];
                self.key = pair;
            }
            Rotation::Removed => self.published = vec![pair.jwk()],
            Rotation::SameKid => {
                self.key = pair.named(&self.key.kid);
                self.published = vec![self.key.jwk()];
            }
        }
    }

    fn claims_in(&self) -> ClaimsIn {
        match self.mutant {
            Mutant::DiscoveryNoUserInfo => ClaimsIn::IdToken,
            mutant if mutant.stage() == Stage::UserInfo => ClaimsIn::UserInfo,
            Mutant::RefreshUserInfoInvalidSub => ClaimsIn::UserInfo,
            _ => self.claims_in,
        }
    }

    fn person(&self, name: &str) -> Person {
        let person = self.people.get(name).cloned().unwrap_or_else(|| Person::new(name));
        forge::person(self.mutant, person)
    }

    fn grant(
        &mut self,
        person: &str,
        nonce: Option<String>,
        challenge: Option<String>,
        redirect_uri: &str,
        scope: &str,
    ) -> Grant {
        let sid = format!("sid-{}", random_text());
        self.sids.push((person.to_owned(), sid.clone()));
        Grant {
            person: person.to_owned(),
            nonce,
            challenge,
            redirect_uri: redirect_uri.to_owned(),
            sid,
            auth_time: now() + self.clock,
            scope: scope.to_owned(),
        }
    }

    fn keep(&mut self, secret: String) -> String {
        self.said.push(secret.clone());
        secret
    }
}

impl OpFault {
    pub(crate) fn of(self, reply: Reply) -> Reply {
        let body = match &reply {
            Reply::Full(_, _, body) => body.clone(),
            _ => Vec::new(),
        };
        match self {
            Self::Down => Reply::Close,
            Self::Endless => Reply::Endless,
            Self::Held(time) => Reply::Held(time, Box::new(reply)),
            Self::Html => Reply::page(200, "Sign in to the guest network"),
            Self::Redirect(to) => Reply::redirect(&to),
            Self::Status(status) => {
                let error = r#"{"error":"temporarily_unavailable"}"#;
                Reply::json_text(status, error).and("Retry-After", "1")
            }
            Self::TooLarge => {
                // Still JSON: whoever reads without a bound would take it.
                let mut padded = body;
                padded.resize(padded.len() + (1 << 20) + 1, b' ');
                Reply::json_text(200, padded)
            }
            Self::Truncated => Reply::Truncated(body[..body.len() / 2].to_vec()),
            Self::WrongType => Reply::with(200, &[("Content-Type", "text/plain")], body),
        }
    }
}

fn with_query(url: &str, pairs: &[(&str, String)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let mark = match (pairs.is_empty(), url.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    format!("{url}{mark}{}", pairs.join("&"))
}

#[cfg(test)]
mod tests;
