//! A sign-in at a provider from its start to a session: what is kept between, and every way
//! in which it can end.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use vestibule_core::account::{Account, Status};
use vestibule_core::id::{AccountId, SessionId};
use vestibule_core::secret::Secret;
use vestibule_core::settings::provider::ProviderPlace;
use vestibule_core::time::UnixMillis;

use super::{
    ProviderCallback, ProviderFinished, ProviderPurpose, ProviderRefused, ProviderStart,
    ProviderStarted, ProviderStopped,
};
use crate::jose;
use crate::keyring::{self, sha256};
use crate::oidc::client::{self, Strength, Tokens};
use crate::oidc::id_token::{self, Expected};
use crate::oidc::metadata::Metadata;
use crate::oidc::person::{self, Person};
use crate::oidc::remote::RemoteProvider;
use crate::oidc::{FLOW_LIFETIME, Fault, PROVIDER_DOWN, TELL_ADMIN, TRY_AGAIN, github, userinfo};
use crate::ports::{Digest, OneTimeKind, ProviderSession, SessionProof, StoreError};
use crate::session::SignIn;
use crate::{Actor, Authn};

const ANOTHER_BROWSER: &str = "This sign-in was not started in this browser, took longer than ten \
    minutes, or was finished before. Go back to the sign-in page and try again.";
const ANOTHER_PERSON: &str = "The person at the provider is not the one who is signed in here.";

/// What is kept of a sign-in on its way, sealed, for [`FLOW_LIFETIME`].
#[derive(Serialize, Deserialize)]
struct Flow {
    provider: String,
    redirect_uri: String,
    nonce: String,
    pkce_verifier: Option<String>,
    rd: String,
    purpose: Kept,
    started: i64,
}

/// [`ProviderPurpose`] as it is kept.
#[derive(Serialize, Deserialize)]
enum Kept {
    Link { account: String },
    Reauth { account: String, session: String, mfa: bool },
    SignIn,
}

impl From<ProviderPurpose> for Kept {
    fn from(purpose: ProviderPurpose) -> Self {
        match purpose {
            ProviderPurpose::Link { account } => Self::Link { account: account.to_string() },
            ProviderPurpose::Reauth { account, session, mfa } => {
                Self::Reauth { account: account.to_string(), session: session.to_string(), mfa }
            }
            ProviderPurpose::SignIn => Self::SignIn,
        }
    }
}

impl Kept {
    fn read(&self) -> Option<ProviderPurpose> {
        Some(match self {
            Self::Link { account } => ProviderPurpose::Link { account: account.parse().ok()? },
            Self::Reauth { account, session, mfa } => ProviderPurpose::Reauth {
                account: account.parse().ok()?,
                session: session.parse().ok()?,
                mfa: *mfa,
            },
            Self::SignIn => ProviderPurpose::SignIn,
        })
    }
}

/// Why a sign-in stops, before it is logged.
pub(super) enum Stop {
    /// With this answer.
    Answer(ProviderRefused, &'static str),
    /// A step at the provider failed.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<jose::Bad> for Stop {
    fn from(bad: jose::Bad) -> Self {
        Self::Fault(bad.into())
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Answer(error.into(), "store")
    }
}

impl Authn {
    /// Begins a sign-in at a provider. Fails where it is off or does not answer.
    pub async fn start_provider_sign_in(
        self: &Arc<Self>,
        start: ProviderStart,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<ProviderStarted, ProviderRefused> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            let remote =
                this.usable_provider(&start.provider).ok_or(ProviderRefused::NotConfigured)?;
            match this.start_at(&remote, start, now).await {
                Ok(started) => Ok(started),
                Err(stop) => Err(this.stopped(&remote, stop, &actor, now)),
            }
        })
        .await
    }

    async fn start_at(
        &self,
        remote: &RemoteProvider,
        start: ProviderStart,
        now: UnixMillis,
    ) -> Result<ProviderStarted, Stop> {
        let _turn = remote.turn().await?;
        let metadata = remote.metadata(&self.fetch, now).await?;
        let active = self.active.load_full();
        let ring = &active.keyring;
        // One value for all flows of a browser, so that parallel tabs each finish.
        let bound = start.browser.as_deref().and_then(|value| {
            keyring::open(&ring.provider_browser, value.as_bytes()).map(|d| (value.to_owned(), d))
        });
        let (browser, browser_digest) = match bound {
            Some(bound) => bound,
            None => keyring::mint(&ring.provider_browser)?,
        };
        let (state, state_digest) = keyring::mint(&ring.provider_state)?;
        let (nonce, _) = keyring::mint(&ring.provider_state)?;
        let strength = match start.purpose {
            ProviderPurpose::Reauth { mfa: true, .. } => Strength::Mfa,
            ProviderPurpose::Reauth { .. } => Strength::Anew,
            ProviderPurpose::Link { .. } | ProviderPurpose::SignIn => Strength::Plain,
        };
        let request = client::request(&remote.config, &metadata, &state, &nonce, strength)?;
        let flow = Flow {
            provider: remote.config.id.to_string(),
            redirect_uri: remote.config.redirect_uri.clone(),
            nonce,
            pkce_verifier: request.pkce_verifier.map(|v| v.expose_secret().to_owned()),
            rd: start.rd,
            purpose: start.purpose.into(),
            started: now.0,
        };
        let value = serde_json::to_vec(&flow)
            .map_err(|_| StoreError::Unavailable("a sign-in cannot be written".into()))?;
        let key = together(&state_digest, &browser_digest);
        let end = now.plus(FLOW_LIFETIME);
        self.store.put_one_time(OneTimeKind::ProviderState, key, value, end).await?;
        Ok(ProviderStarted { location: request.location, browser })
    }

    /// Ends it: checks what came back, finds or makes the account, begins the session.
    pub async fn finish_provider_sign_in(
        self: &Arc<Self>,
        callback: ProviderCallback,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<ProviderFinished, ProviderStopped> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            let remote = this.usable_provider(&callback.provider).ok_or(ProviderStopped {
                why: ProviderRefused::NotConfigured,
                rd: String::new(),
            })?;
            let stopped = |stop: Stop, rd: &str| ProviderStopped {
                why: this.stopped(&remote, stop, &actor, now),
                rd: rd.to_owned(),
            };
            let flow = this.take_flow(&callback, now).await.map_err(|stop| stopped(stop, ""))?;
            let rd = flow.rd.clone();
            let finished = this.finish_at(&remote, &callback, flow, &actor, now).await;
            let finished = finished.map_err(|stop| stopped(stop, &rd))?;
            remote.note_success();
            Ok(finished)
        })
        .await
    }

    async fn finish_at(
        &self,
        remote: &RemoteProvider,
        callback: &ProviderCallback,
        flow: Flow,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<ProviderFinished, Stop> {
        if flow.provider != callback.provider {
            return Err(fault("state_of_another_provider", TRY_AGAIN).into());
        }
        if !same_url(&flow.redirect_uri, &callback.redirect_uri) {
            let detail = format!("sent {}, called {}", flow.redirect_uri, callback.redirect_uri);
            return Err(Fault::new("redirect_uri_mismatch", detail, TELL_ADMIN).into());
        }
        let purpose = flow.purpose.read().ok_or_else(|| fault("state_unknown", TRY_AGAIN))?;
        let _turn = remote.turn().await?;
        let metadata = remote.metadata(&self.fetch, now).await?;
        check_response_issuer(&metadata, callback)?;
        if let Some(error) = callback.error.as_deref() {
            return Err(refused_there(error, callback.error_description.as_deref()));
        }
        let code = callback.code.as_deref().filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| fault("code_missing", TRY_AGAIN))?;
        let verifier = flow.pkce_verifier.clone().map(Secret::new);
        let tokens =
            client::exchange(&self.fetch, &remote.config, &metadata, code, verifier.as_ref())
                .await?;
        let since = match purpose {
            ProviderPurpose::Reauth { .. } => Some(UnixMillis(flow.started)),
            ProviderPurpose::Link { .. } | ProviderPurpose::SignIn => None,
        };
        let expected = Expected {
            nonce: Some(&flow.nonce),
            access_token: tokens.access_token.expose_secret(),
            code: Some(code),
            signed_in_since: since,
        };
        let person = self.person(remote, &metadata, &tokens, &expected, now).await?;
        let case = Case { remote, callback, actor, now, person, tokens, rd: flow.rd };
        match purpose {
            ProviderPurpose::Link { account } => self.finish_link(case, account).await,
            ProviderPurpose::Reauth { account, session, mfa } => {
                self.finish_reauth(case, account, session, mfa).await
            }
            ProviderPurpose::SignIn => self.finish_sign_in(case).await,
        }
    }

    /// The flow of a state that this browser was given. Another browser's state is not used up
    /// by trying.
    async fn take_flow(&self, callback: &ProviderCallback, now: UnixMillis) -> Result<Flow, Stop> {
        let active = self.active.load_full();
        let ring = &active.keyring;
        let state = callback.state.as_deref().unwrap_or_default();
        if state.is_empty() {
            return Err(fault("state_missing", ANOTHER_BROWSER).into());
        }
        let state = keyring::open(&ring.provider_state, state.as_bytes())
            .ok_or_else(|| fault("state_forged", ANOTHER_BROWSER))?;
        let browser = callback
            .browser
            .as_deref()
            .and_then(|value| keyring::open(&ring.provider_browser, value.as_bytes()))
            .ok_or_else(|| fault("state_without_browser", ANOTHER_BROWSER))?;
        let key = together(&state, &browser);
        let taken = self.store.take_one_time(OneTimeKind::ProviderState, &key, now).await?;
        taken
            .and_then(|value| serde_json::from_slice(&value).ok())
            .ok_or_else(|| fault("state_unknown", ANOTHER_BROWSER).into())
    }

    /// Who signed in, by everything that the provider says.
    pub(super) async fn person(
        &self,
        remote: &RemoteProvider,
        metadata: &Metadata,
        tokens: &Tokens,
        expected: &Expected<'_>,
        now: UnixMillis,
    ) -> Result<Person, Fault> {
        if let ProviderPlace::Github(base) = &remote.config.place {
            let access_token = &tokens.access_token;
            return github::person(&self.fetch, &remote.config, base, access_token).await;
        }
        let token = tokens.id_token.as_ref();
        let token = token.ok_or_else(|| fault("id_token_missing", TELL_ADMIN))?;
        let token = token.expose_secret();
        let claims = id_token::verify(&self.fetch, remote, metadata, token, expected, now).await?;
        let said = match &metadata.userinfo_endpoint {
            Some(url) => {
                let sub = jose::subject(&claims)?;
                Some(userinfo::ask(&self.fetch, url, &tokens.access_token, sub).await?)
            }
            None => None,
        };
        person::read(&remote.config, &metadata.issuer, &claims, said.as_ref())
    }

    async fn finish_sign_in(&self, case: Case<'_>) -> Result<ProviderFinished, Stop> {
        let account = self.account_of(&case).await?;
        let actor = Actor { id: account.id.to_string(), ..case.actor.clone() };
        let mut wish = case.sign_in(account.clone());
        if wish.auth_time.is_none() && self.is_origin_shared() {
            // A provider that does not say when may have asked nobody anything.
            wish.auth_time = Some(UnixMillis(0));
        }
        let kept = case.provider_session();
        let replaces = case.callback.session;
        let session = self.begin(wish, Some(kept), replaces, &actor, case.now).await?;
        Ok(ProviderFinished::SignedIn { account, session, rd: case.rd })
    }

    async fn finish_reauth(
        &self,
        case: Case<'_>,
        account: AccountId,
        session: SessionId,
        mfa: bool,
    ) -> Result<ProviderFinished, Stop> {
        let person = &case.person;
        let link = self.store.provider_link(&person.issuer, &person.subject).await?;
        let same = link.filter(|(_, found)| found.id == account);
        let Some((_, account)) = same.filter(|_| case.callback.session == Some(session)) else {
            return Err(fault("reauth_another_person", ANOTHER_PERSON).into());
        };
        if account.effective_status() == Status::Disabled {
            return Err(disabled());
        }
        if mfa && !person.mfa {
            let advice = "The provider did not confirm a second factor. Set one up there, or tell \
                an administrator that this provider's word on it is not believed.";
            return Err(fault("mfa_not_confirmed", advice).into());
        }
        let had = self.store.session(session).await?.ok_or(StoreError::NotFound)?.session;
        let proof =
            SessionProof { auth_time: case.now, amr: case.amr(), mfa: person.mfa || had.mfa };
        let (token, digest) = keyring::mint(&self.active.load().keyring.session)?;
        self.store.rotate_session(session, digest, Some(proof)).await?;
        self.store.set_provider_session(session, case.provider_session()).await?;
        // The session itself goes on: what it has open may stay open.
        self.cache.forget(&[crate::identity_cache::Subject::Session(session)]);
        let found = self.store.session(session).await?.ok_or(StoreError::NotFound)?;
        let session = crate::session::StartedSession { session: found.session, token };
        Ok(ProviderFinished::Reauthenticated { account, session, rd: case.rd })
    }

    /// Whether scripts of an app run with the portal's cookie: the portal shares its host with
    /// an app, or one cookie serves a domain. Then a fresh sign-in must be proved.
    pub(super) fn is_origin_shared(&self) -> bool {
        let active = self.active.load();
        let portal = &active.settings.server.portal.host;
        let mut hosts = active.settings.routes.iter().flat_map(|route| &route.hosts);
        active.cookies.domain.is_some() || hosts.any(|host| host.matches(portal))
    }

    /// Logs and audits why a sign-in stopped; the answer for the person.
    fn stopped(
        &self,
        remote: &RemoteProvider,
        stop: Stop,
        actor: &Actor,
        now: UnixMillis,
    ) -> ProviderRefused {
        let (answer, reason, detail) = match stop {
            Stop::Answer(answer, reason) => (answer, reason, String::new()),
            Stop::Fault(fault) => {
                remote.note_failure(&fault, now);
                let Fault { reason, detail, advice } = fault;
                (ProviderRefused::Failed { reason, advice }, reason, detail)
            }
        };
        self.counters.sign_in("provider", "failure");
        let client = actor.client_ip.map(|ip| ip.to_string()).unwrap_or_default();
        let id = &*remote.config.id;
        // One stable line for fail2ban and CrowdSec; its message holds nothing that a client or
        // a provider wrote.
        tracing::warn!(
            target: "auth",
            client_ip = client,
            method = "provider",
            provider = id,
            reason,
            detail,
            request_id = %actor.request_id,
            "sign-in failed client_ip={client} method=provider reason={reason}"
        );
        let said = format!("method=provider provider={id} reason={reason}");
        self.audit_by(actor, "signin.failure", id, "failure", said, now);
        answer
    }
}

/// A sign-in of which everything has been checked but the account.
pub(super) struct Case<'a> {
    pub(super) remote: &'a RemoteProvider,
    pub(super) callback: &'a ProviderCallback,
    pub(super) actor: &'a Actor,
    pub(super) now: UnixMillis,
    pub(super) person: Person,
    pub(super) tokens: Tokens,
    pub(super) rd: String,
}

impl Case<'_> {
    fn amr(&self) -> Vec<String> {
        let mut amr = vec!["fed".to_owned()];
        amr.extend(self.person.amr.iter().filter(|word| *word != "fed").cloned());
        amr
    }

    fn sign_in(&self, account: Account) -> SignIn {
        SignIn {
            account,
            remember: false,
            amr: self.amr(),
            mfa: self.person.mfa,
            auth_time: self.person.auth_time,
            client_ip: self.callback.client_ip.unwrap_or([0, 0, 0, 0].into()),
            user_agent: self.callback.user_agent.clone(),
        }
    }

    fn provider_session(&self) -> ProviderSession {
        provider_session(self.remote, &self.person, &self.tokens, self.now)
    }
}

/// What a session keeps of its provider.
pub(super) fn provider_session(
    remote: &RemoteProvider,
    person: &Person,
    tokens: &Tokens,
    now: UnixMillis,
) -> ProviderSession {
    let ends = Some(tokens.life()).filter(|_| tokens.refresh_token.is_some());
    ProviderSession {
        provider: remote.config.id.to_string(),
        issuer: person.issuer.clone(),
        sub: person.sub.clone(),
        link_subject: person.subject.clone(),
        sid: person.sid.clone(),
        id_token: tokens.id_token.clone(),
        access_token: tokens.access_token.clone(),
        refresh_token: tokens.refresh_token.clone(),
        refresh_at: ends.map(|life| now.plus(life)),
    }
}

pub(super) fn disabled() -> Stop {
    Stop::Answer(ProviderRefused::AccountDisabled, "disabled")
}

fn fault(reason: &'static str, advice: &'static str) -> Fault {
    Fault::new(reason, "", advice)
}

/// One digest of two, so that what is kept under it is found only with both.
pub(super) fn together(one: &Digest, other: &Digest) -> Digest {
    let mut both = one.to_vec();
    both.extend_from_slice(other);
    sha256(&both)
}

/// Whether two absolute URLs are the same but for what is the same by definition (a default
/// port that is written out, the case of the host).
fn same_url(sent: &str, called: &str) -> bool {
    match (url::Url::parse(sent), url::Url::parse(called)) {
        (Ok(sent), Ok(called)) => sent.origin() == called.origin() && sent.path() == called.path(),
        _ => false,
    }
}

/// RFC 9207: the answer names its issuer, where the provider says that it will.
fn check_response_issuer(metadata: &Metadata, callback: &ProviderCallback) -> Result<(), Fault> {
    match callback.iss.as_deref() {
        Some(iss) if iss != metadata.issuer => {
            Err(Fault::new("response_issuer_mismatch", client::plain(iss), TRY_AGAIN))
        }
        None if metadata.tells_iss && callback.error.is_none() => {
            Err(fault("response_issuer_missing", TRY_AGAIN))
        }
        _ => Ok(()),
    }
}

/// An authorization error (RFC 6749, 4.1.2.1; OpenID Connect Core, 3.1.2.6).
fn refused_there(error: &str, description: Option<&str>) -> Stop {
    if matches!(error, "access_denied" | "consent_required" | "user_cancelled_login") {
        return Stop::Answer(ProviderRefused::Declined, "declined");
    }
    let (reason, advice) = match error {
        "account_selection_required" | "interaction_required" | "login_required" => {
            ("authorization_interaction_required", TRY_AGAIN)
        }
        "invalid_request" => ("authorization_invalid_request", TELL_ADMIN),
        "invalid_scope" => ("authorization_invalid_scope", TELL_ADMIN),
        "redirect_uri_mismatch" => ("authorization_redirect_uri_mismatch", TELL_ADMIN),
        "server_error" | "temporarily_unavailable" => ("authorization_unavailable", PROVIDER_DOWN),
        "unauthorized_client" => ("authorization_unauthorized_client", TELL_ADMIN),
        "unsupported_response_type" => ("authorization_unsupported_response_type", TELL_ADMIN),
        _ => ("authorization_refused", TRY_AGAIN),
    };
    let detail = client::plain(&format!("{error} {}", description.unwrap_or_default()));
    Stop::Fault(Fault::new(reason, detail, advice))
}
