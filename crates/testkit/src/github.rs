//! A server that speaks OAuth 2 as GitHub does, not OpenID Connect: numeric ids, errors with
//! status 200, an API in pages, a form instead of JSON for whoever does not ask for JSON, and
//! no answer for whoever names no `User-Agent`. Who signs in is the cookie `person`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use serde_json::{Value, json};

use crate::http1::encode;
use crate::jose::random_text;
use crate::provider::{Asked, Exchanged};
use crate::provider::{ClientAuth, OpFault};
use crate::service::{Heard, Reply, Service, parameters};

/// Items of a page of the API.
const PAGE: usize = 2;

/// Somebody with an account there.
#[derive(Clone, Debug)]
pub struct GithubUser {
    /// `id`
    pub id: u64,
    /// `login`
    pub login: String,
    /// `name`
    pub name: Option<String>,
    /// The public address in the profile.
    pub public_email: Option<String>,
    /// Address, primary, verified.
    pub emails: Vec<(String, bool, bool)>,
    /// Organisations.
    pub orgs: Vec<String>,
    /// Organisation and team.
    pub teams: Vec<(String, String)>,
}

/// The server. It stops when dropped.
pub struct Github {
    service: Service,
    shared: Arc<Shared>,
}

struct Shared {
    base: String,
    client_secret: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    /// Code to login, redirect URI, scope and challenge.
    codes: BTreeMap<String, (String, String, String, Option<String>)>,
    denies: bool,
    exchanged: Vec<Exchanged>,
    faults: BTreeMap<String, OpFault>,
    heard: Vec<Heard>,
    /// Token to login and scope.
    tokens: BTreeMap<String, (String, String)>,
    users: BTreeMap<String, GithubUser>,
}

impl GithubUser {
    /// `login`, a primary verified `LOGIN@example.test`, nothing else.
    pub fn new(id: u64, login: &str) -> Self {
        Self {
            id,
            login: login.to_owned(),
            name: Some(format!("{login} of GitHub")),
            public_email: None,
            emails: vec![(format!("{login}@example.test"), true, true)],
            orgs: Vec::new(),
            teams: Vec::new(),
        }
    }
}

impl Github {
    /// The client that it knows.
    pub const CLIENT_ID: &'static str = "Iv1.0123456789abcdef";

    /// Starts it without users.
    pub fn start() -> Self {
        let cell = Arc::new(OnceLock::<Arc<Shared>>::new());
        let seen = Arc::clone(&cell);
        let any = "127.0.0.1:0".parse().unwrap();
        let service = Service::at(any, move |heard| seen.wait().answer(heard));
        let shared = Arc::new(Shared {
            base: format!("http://{}", service.address()),
            client_secret: random_text(),
            state: Mutex::default(),
        });
        let _ = cell.set(Arc::clone(&shared));
        Self { service, shared }
    }

    /// As the provider's `base_url`.
    pub fn base_url(&self) -> &str {
        &self.shared.base
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// The secret of the client.
    pub fn client_secret(&self) -> &str {
        &self.shared.client_secret
    }

    /// `[[provider]]` for it, of kind github. Further keys may follow the text.
    pub fn toml(&self, id: &str) -> String {
        format!(
            "[[provider]]\nid = \"{id}\"\nkind = \"github\"\nbase_url = \"{}\"\n\
             client_id = \"{}\"\nclient_secret = \"{}\"\n",
            self.base_url(),
            Self::CLIENT_ID,
            self.client_secret()
        )
    }

    /// Adds a user, or says something else of one.
    pub fn user(&self, user: GithubUser) {
        self.state().users.insert(user.login.clone(), user);
    }

    /// The person says no from now on.
    pub fn denies(&self, denies: bool) {
        self.state().denies = denies;
    }

    /// A path falls ill, or is healed.
    pub fn fault(&self, path: &str, fault: Option<OpFault>) {
        let mut state = self.state();
        match fault {
            Some(fault) => state.faults.insert(path.to_owned(), fault),
            None => state.faults.remove(path),
        };
    }

    /// Who came with what to the authorization endpoint.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// What came to the token endpoint.
    pub fn exchanged(&self) -> Vec<Exchanged> {
        self.state().exchanged.clone()
    }

    /// Every request.
    pub fn heard(&self) -> Vec<Heard> {
        self.state().heard.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Shared {
    fn answer(&self, heard: &Heard) -> Reply {
        let mut state = self.state.lock().unwrap();
        state.heard.push(heard.clone());
        let reply = match heard.path.as_str() {
            "/login/oauth/authorize" => Self::authorize(&mut state, heard),
            "/login/oauth/access_token" => self.access_token(&mut state, heard),
            path if path.starts_with("/api/v3/") => self.api(&state, heard),
            _ => Reply::json_text(404, r#"{"message":"Not Found"}"#),
        };
        match state.faults.get(&heard.path).cloned() {
            Some(fault) => fault.of(reply),
            None => reply,
        }
    }

    fn authorize(state: &mut State, heard: &Heard) -> Reply {
        let person = heard.cookie("person").unwrap_or("octocat").to_owned();
        let asked = Asked { parameters: parameters(&heard.query), person: person.clone() };
        state.asked.push(asked.clone());
        let text = |name: &str| asked.get(name).unwrap_or_default().to_owned();
        if text("client_id") != Github::CLIENT_ID {
            return Reply::page(404, "Not Found");
        }
        let (back, mark) = (text("redirect_uri"), encode(&text("state")));
        if state.denies {
            return Reply::redirect(&format!(
                "{back}?error=access_denied&error_description=The+user+has+denied+your+application+access.\
                 &error_uri=https%3A%2F%2Fdocs.github.com%2F&state={mark}"
            ));
        }
        let code = random_text();
        let challenge = asked.get("code_challenge").map(str::to_owned);
        state.codes.insert(code.clone(), (person, back.clone(), text("scope"), challenge));
        Reply::redirect(&format!("{back}?code={code}&state={mark}"))
    }

    fn access_token(&self, state: &mut State, heard: &Heard) -> Reply {
        let form = |name: &str| heard.form(name).unwrap_or_default();
        let (auth, id, secret) = match heard.basic() {
            Some((id, secret)) => (ClientAuth::Basic, id, secret),
            None => (ClientAuth::Post, form("client_id"), form("client_secret")),
        };
        let known = id == Github::CLIENT_ID && secret == self.client_secret;
        let code = state.codes.remove(&form("code"));
        let fits = |challenge: &Option<String>| match challenge {
            Some(challenge) => {
                let verifier = form("code_verifier");
                *challenge == crate::jose::b64(&crate::jose::sha256(verifier.as_bytes()))
            }
            None => true,
        };
        let answer = match code {
            _ if !known => Err("incorrect_client_credentials"),
            Some((login, back, scope, challenge)) => {
                let given = heard.form("redirect_uri");
                if given.is_some_and(|given| given != back) {
                    Err("redirect_uri_mismatch")
                } else if fits(&challenge) {
                    Ok((login, scope))
                } else {
                    Err("bad_verification_code")
                }
            }
            None => Err("bad_verification_code"),
        };
        state.exchanged.push(Exchanged {
            auth,
            client_id: id,
            parameters: parameters(&heard.body),
            error: answer.as_ref().err().copied(),
        });
        let pairs = match answer {
            Ok((login, scope)) => {
                let token = format!("gho_{}", random_text());
                // It says the scopes with commas, whatever separated them before.
                let scope = scope.replace(' ', ",");
                state.tokens.insert(token.clone(), (login, scope.clone()));
                vec![("access_token", token), ("scope", scope), ("token_type", "bearer".to_owned())]
            }
            Err(error) => vec![
                ("error", error.to_owned()),
                ("error_description", "The code passed is incorrect or expired.".to_owned()),
                ("error_uri", "https://docs.github.com/apps/".to_owned()),
            ],
        };
        if heard.header("accept").is_some_and(|accept| accept.contains("json")) {
            let members = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
            return Reply::json(&Value::Object(members.collect()));
        }
        let form: Vec<String> =
            pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let kind = "application/x-www-form-urlencoded; charset=utf-8";
        Reply::with(200, &[("Content-Type", kind)], form.join("&"))
    }

    fn api(&self, state: &State, heard: &Heard) -> Reply {
        if heard.header("user-agent").is_none_or(str::is_empty) {
            let text = "Request forbidden by administrative rules. Please make sure your request \
                        has a User-Agent header.";
            return Reply::with(403, &[("Content-Type", "text/plain")], text);
        }
        let token =
            heard.bearer().or_else(|| heard.header("authorization")?.strip_prefix("token "));
        let Some((login, scope)) = token.and_then(|token| state.tokens.get(token)) else {
            return Reply::json_text(401, r#"{"message":"Bad credentials"}"#);
        };
        let Some(user) = state.users.get(login) else {
            return Reply::json_text(401, r#"{"message":"Bad credentials"}"#);
        };
        let has = |wanted: &[&str]| scope.split(',').any(|one| wanted.contains(&one));
        let absent = || Reply::json_text(404, r#"{"message":"Not Found"}"#);
        match heard.path.strip_prefix("/api/v3").unwrap_or_default() {
            "/user" => Reply::json(&json!({
                "id": user.id,
                "login": user.login,
                "name": user.name,
                "email": user.public_email,
                "type": "User",
            })),
            "/user/emails" if has(&["user:email", "user"]) => {
                let item = |(address, primary, verified): &(String, bool, bool)| {
                    json!({
                        "email": address,
                        "primary": primary,
                        "verified": verified,
                        "visibility": null,
                    })
                };
                self.paged(heard, user.emails.iter().map(item).collect())
            }
            "/user/orgs" => {
                let item = |login: &String| json!({ "login": login, "id": login.len() });
                self.paged(heard, user.orgs.iter().map(item).collect())
            }
            "/user/teams" if has(&["read:org", "user", "repo"]) => {
                let item = |(org, team): &(String, String)| {
                    json!({
                        "name": team.to_uppercase(),
                        "slug": team,
                        "organization": { "login": org },
                    })
                };
                self.paged(heard, user.teams.iter().map(item).collect())
            }
            _ => absent(),
        }
    }

    /// A page of two, whatever `per_page` asks for: the rest is behind `Link`.
    fn paged(&self, heard: &Heard, items: Vec<Value>) -> Reply {
        let page: usize = heard.query("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        let last = items.len().div_ceil(PAGE);
        let shown: Vec<Value> = items.into_iter().skip((page - 1) * PAGE).take(PAGE).collect();
        let reply = Reply::json(&Value::Array(shown));
        if page >= last {
            return reply;
        }
        let url = format!("{}{}", self.base, heard.path);
        reply.and(
            "Link",
            &format!("<{url}?page={}>; rel=\"next\", <{url}?page={last}>; rel=\"last\"", page + 1),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Request, parameter};

    #[test]
    fn errors_are_200_and_the_api_comes_in_pages() {
        let hub = Github::start();
        let mut user = GithubUser::new(583_231, "octocat");
        user.orgs = ["a", "b", "c"].map(str::to_owned).to_vec();
        hub.user(user);
        let client = Client::plain(hub.address());
        let base = hub.base_url().to_owned();
        let start = format!(
            "{base}/login/oauth/authorize?client_id={}&redirect_uri=https%3A%2F%2Fa.test%2Fb&state=s&scope=user%3Aemail",
            Github::CLIENT_ID
        );
        let back = client.send(&Request::get(&start)).expect(302).location().to_owned();
        let code = parameter(&back, "code").unwrap();
        let redeem = || {
            let form = [
                ("client_id", Github::CLIENT_ID),
                ("client_secret", hub.client_secret()),
                ("code", code.as_str()),
            ];
            let request = Request::new("POST", &format!("{base}/login/oauth/access_token"))
                .header("Accept", "application/json");
            client.send(&request.form(&form)).expect(200).json()
        };
        let token = redeem()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(redeem()["error"], "bad_verification_code");
        let get = |path: &str| {
            client.send(
                &Request::get(&format!("{base}/api/v3{path}"))
                    .header("User-Agent", "test")
                    .header("Authorization", format!("Bearer {token}")),
            )
        };
        let first = get("/user/orgs").expect(200);
        assert_eq!(first.json().as_array().unwrap().len(), 2);
        assert!(first.header("link").unwrap().contains("rel=\"next\""));
        assert_eq!(get("/user/orgs?page=2").expect(200).json()[0]["login"], "c");
        let _ = get("/user/emails").expect(200);
        let _ = get("/user/teams").expect(404);
        let bare = Request::get(&format!("{base}/api/v3/user"));
        let _ = client.send(&bare.header("Authorization", format!("Bearer {token}"))).expect(403);
    }
}
