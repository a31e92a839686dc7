//! Bearer tokens of `[[jwt_issuer]]`: JWTs of others, held against the keys of their issuer,
//! and opaque ones, about which the issuer is asked.
//!
//! Whoever they prove has no account here: `<issuer name>:<sub>`, and beyond that exactly
//! what the issuer's `claims` map names. What an issuer takes back is not known here; what an
//! operator takes back stands in the denylist, which is asked at every look-up.

mod introspection;
mod proof;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use vestibule_core::credential::CredentialKind;
use vestibule_core::identity::Identity;
use vestibule_core::settings::jwt_issuer::JwtIssuer;
use vestibule_core::time::UnixMillis;

use crate::authenticate::Presented;
use crate::identity_cache::{CacheKey, Entry, Form};
use crate::jose::{self, Bad, Unverified};
use crate::jwks::RemoteKeys;
use crate::keyring::sha256;
use crate::ports::{DeniedBy, DeniedJwt, Digest, StoreError, StoreResult};
use crate::start::Active;
use crate::{Actor, Authn, jwt};

use self::introspection::Desk;
use self::proof::Proof;

/// A bearer token that is some issuer's by form. Nothing about it is believed yet.
#[derive(Clone, PartialEq, Eq)]
pub struct ForeignToken {
    text: Arc<str>,
    /// Names of the issuers it may be of, in the order in which they are tried.
    issuers: Vec<Arc<str>>,
    /// It says nothing itself.
    is_opaque: bool,
    /// To judge it costs a request.
    is_asked_about: bool,
}

impl ForeignToken {
    fn new(
        text: &str,
        issuers: impl Iterator<Item = Arc<str>>,
        is_opaque: bool,
        is_asked_about: bool,
    ) -> Self {
        Self { text: Arc::from(text), issuers: issuers.collect(), is_opaque, is_asked_about }
    }

    /// Under what it is kept: the issuers belong to the key, because one token may mean
    /// something to one of them and nothing to another (SECURITY.md, G4).
    pub(crate) fn cache_key(&self) -> CacheKey {
        let form = if self.is_opaque { Form::Opaque } else { Form::Jwt };
        (form, self.digest())
    }

    fn digest(&self) -> Digest {
        let mut bytes = Vec::with_capacity(self.text.len() + 64);
        for name in &self.issuers {
            bytes.extend_from_slice(&(name.len() as u64).to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes.extend_from_slice(&u64::MAX.to_be_bytes());
        bytes.extend_from_slice(self.text.as_bytes());
        sha256(&bytes)
    }

    /// Whether wrong ones cost somebody a request, so that a client may not show many.
    pub(crate) const fn is_guessable(&self) -> bool {
        self.is_asked_about
    }
}

/// What becomes of issuers between requests: their keys, and the questions under way.
#[derive(Default)]
pub(crate) struct Issuers {
    /// By URL, so that a reload neither forgets good keys nor lets throttled requests through.
    keys: Mutex<HashMap<String, Arc<RemoteKeys>>>,
    desks: Mutex<HashMap<String, Arc<Desk>>>,
}

impl Issuers {
    fn keys(&self, url: &str) -> Arc<RemoteKeys> {
        one_of(&self.keys, url)
    }

    fn desk(&self, url: &str) -> Arc<Desk> {
        one_of(&self.desks, url)
    }

    /// Drops what no issuer of the settings uses.
    pub(crate) fn keep_only(&self, issuers: &[JwtIssuer]) {
        let uses = |url: &String| {
            issuers.iter().any(|issuer| {
                issuer.jwks_url.as_ref() == Some(url)
                    || issuer.introspection.as_ref().is_some_and(|asked| asked.url == *url)
            })
        };
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).retain(|url, _| uses(url));
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).retain(|url, _| uses(url));
    }
}

fn one_of<T: Default>(all: &Mutex<HashMap<String, Arc<T>>>, url: &str) -> Arc<T> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = all.get(url) {
        return found.clone();
    }
    all.entry(url.to_owned()).or_default().clone()
}

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It does not hold.
    Bad(&'static str),
    /// Nobody could tell: refused now, and asked about again at once.
    Unasked(&'static str),
}

impl From<Bad> for Refused {
    fn from(bad: Bad) -> Self {
        // Without any keys it is not the token that is wrong.
        if bad.0.starts_with("jwks_") { Self::Unasked(bad.0) } else { Self::Bad(bad.0) }
    }
}

/// Classifies a bearer token that is no key of ours: an access token of ours, a token of an
/// issuer, or (`None`) the app's. `named`: the issuers that the route's rules name; what says
/// nothing about its issuer is theirs, where they can be asked.
pub(crate) fn read(active: &Active, token: &[u8], named: &[Arc<str>]) -> Option<Presented> {
    let issuers = &active.settings.jwt_issuers;
    let asked = named.iter().filter(|name| {
        issuers.iter().any(|issuer| issuer.name == **name && issuer.introspection.is_some())
    });
    let opaque = || {
        let mut asked = asked.cloned().peekable();
        asked.peek()?;
        let short = std::str::from_utf8(token).ok().filter(|token| token.len() <= jwt::LONGEST);
        Some(short.map_or(Presented::Bad, |text| {
            Presented::Foreign(ForeignToken::new(text, asked, true, true))
        }))
    };
    let Some(text) = std::str::from_utf8(token).ok().filter(|_| is_jwt_shaped(token)) else {
        return opaque();
    };
    let Some(claimed) = jwt::claimed_issuers(text).filter(|claimed| !claimed.is_empty()) else {
        return opaque();
    };
    let is_portal = |claim: &String| **claim == active.portal;
    let is_known = |claim: &String| issuers.iter().any(|issuer| issuer.issuer == **claim);
    let mut known = claimed.iter().filter(|claim| is_portal(claim) || is_known(claim));
    let issuer = known.next()?;
    if claimed.len() > 1 {
        // Two issuers in one token: whoever reads it may believe the other one.
        return Some(Presented::Bad);
    }
    if is_portal(issuer) {
        return Some(Presented::Token(text.to_owned()));
    }
    // Where several entries share an issuer, those that the route names go first.
    let of_it = || issuers.iter().filter(|known| known.issuer == *issuer);
    let first = of_it().filter(|issuer| named.contains(&issuer.name));
    let rest = of_it().filter(|issuer| !named.contains(&issuer.name));
    let names = first.chain(rest).map(|issuer| issuer.name.clone());
    let is_asked_about = of_it().any(|issuer| issuer.jwks_url.is_none());
    Some(Presented::Foreign(ForeignToken::new(text, names, false, is_asked_about)))
}

/// Whether it looks like a signed JWT.
pub(crate) fn is_jwt_shaped(token: &[u8]) -> bool {
    token.starts_with(b"ey") && token.iter().filter(|&&b| b == b'.').count() == 2
}

/// Which token let somebody in, for the denylist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ForeignId {
    issuer: Arc<str>,
    sub: Arc<str>,
    jti: Option<Arc<str>>,
}

impl ForeignId {
    /// `None` for identities with an account.
    pub(crate) fn of(identity: &Identity) -> Option<Self> {
        if !matches!(identity.credential, CredentialKind::Jwt(_)) {
            return None;
        }
        let claim = |name: &str| {
            identity.claims.iter().find(|(own, _)| **own == *name).map(|(_, value)| value.clone())
        };
        Some(Self { issuer: claim("iss")?, sub: claim("sub")?, jti: claim("jti") })
    }

    pub(crate) async fn is_denied(&self, authn: &Authn) -> StoreResult<bool> {
        authn.store.is_jwt_denied(&self.issuer, &self.sub, self.jti.as_deref()).await
    }
}

impl Authn {
    /// Takes a foreign token, or all of a subject's, no longer: at the next request, and its
    /// open streams end.
    pub async fn deny_jwt(
        self: &Arc<Self>,
        denied: DeniedJwt,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<()> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            let (subject, detail) =
                (told(&denied), format!("reason=denied issuer={}", denied.issuer));
            this.store.deny_jwt(denied, now).await?;
            this.audit_by(&actor, "session.revoked", subject, "success", detail, now);
            Ok::<_, StoreError>(())
        })
        .await?;
        self.store_changed_outside().await;
        Ok(())
    }

    /// Takes it again; whether it was denied.
    pub async fn allow_jwt(self: &Arc<Self>, denied: DeniedJwt) -> StoreResult<bool> {
        let this = self.clone();
        let was = self.on_service(async move { this.store.allow_jwt(&denied).await }).await?;
        self.cache.forget_all();
        Ok(was)
    }

    /// Looks a foreign token up: proves it, then asks the denylist. What nobody could tell is
    /// neither kept as good nor as bad.
    pub(crate) async fn fill_foreign(
        &self,
        key: CacheKey,
        token: &ForeignToken,
        client: IpAddr,
        now: UnixMillis,
    ) -> StoreResult<Option<Arc<Entry>>> {
        let before = self.cache.epoch();
        let proof = match self.prove(token, now).await {
            Ok(proof) => proof,
            Err(refused) => {
                self.refused_bearer(token, refused, client);
                if matches!(refused, Refused::Bad(_)) {
                    self.cache.insert_missing(key, before);
                }
                return Ok(None);
            }
        };
        // The proof holds whatever changes here meanwhile; the denylist must be read anew.
        for _ in 0..8 {
            let (epoch, world) = (self.cache.epoch(), self.cache.world());
            let generation = self.next_generation();
            let entry = proof.entry(generation, world);
            let denied = match ForeignId::of(&entry.identity) {
                Some(id) => id.is_denied(self).await?,
                None => true,
            };
            if self.cache.epoch() != epoch {
                continue;
            }
            if denied {
                self.refused_bearer(token, Refused::Bad("token_denied"), client);
                self.cache.insert_missing(key, epoch);
                return Ok(None);
            }
            let entry = Arc::new(entry);
            self.cache.insert(key, entry.clone());
            return Ok(Some(entry));
        }
        Err(StoreError::Unavailable("the denylist changed while it was read".into()))
    }

    /// The first issuer that vouches for the token counts.
    async fn prove(&self, token: &ForeignToken, now: UnixMillis) -> Result<Proof, Refused> {
        let active = self.active.load_full();
        self.issuers.keep_only(&active.settings.jwt_issuers);
        let mut refused = Refused::Bad("issuer_unknown");
        for name in &token.issuers {
            let known = active.settings.jwt_issuers.iter().find(|issuer| issuer.name == *name);
            let Some(issuer) = known else { continue };
            match self.prove_by(issuer, token, now).await {
                Ok(proof) => return Ok(proof),
                Err(Refused::Bad(_)) if matches!(refused, Refused::Unasked(_)) => {}
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    async fn prove_by(
        &self,
        issuer: &JwtIssuer,
        token: &ForeignToken,
        now: UnixMillis,
    ) -> Result<Proof, Refused> {
        match (&issuer.jwks_url, &issuer.introspection) {
            (Some(url), _) if !token.is_opaque => self.verify(issuer, url, &token.text, now).await,
            (_, Some(asked)) => {
                let desk = self.issuers.desk(&asked.url);
                let claims = desk.ask(&self.fetch, asked, &token.text).await?;
                Ok(Proof::of_introspection(issuer, &claims, now)?)
            }
            _ => Err(Refused::Bad("issuer_unknown")),
        }
    }

    async fn verify(
        &self,
        issuer: &JwtIssuer,
        jwks_url: &str,
        token: &str,
        now: UnixMillis,
    ) -> Result<Proof, Refused> {
        let read = Unverified::read(token, jwt::LONGEST)?;
        if !matches!(read.typ(), None | Some("jwt" | "at+jwt")) {
            return Err(Refused::Bad("token_typ"));
        }
        // What cannot hold whoever signed it costs neither a signature nor a request.
        Proof::of_jwt(issuer, read.unverified_claims(), now)?;
        let allowed: Vec<_> =
            issuer.algorithms.iter().filter_map(|name| jose::algorithm(name)).collect();
        let keys = self.issuers.keys(jwks_url);
        let claims = keys.verify(&self.fetch, jwks_url, read, &allowed, now).await?;
        Ok(Proof::of_jwt(issuer, &claims, now)?)
    }

    /// One line, a few a minute for one client.
    fn refused_bearer(&self, token: &ForeignToken, refused: Refused, client: IpAddr) {
        if !self.failure_lines.may_write(client) {
            return;
        }
        let issuers = token.issuers.join(",");
        match refused {
            Refused::Bad(reason) => {
                tracing::info!(client_ip = %client, issuers, reason, "a bearer token was refused");
            }
            Refused::Unasked(reason) => {
                tracing::warn!(client_ip = %client, issuers, reason, "a bearer token was refused because its issuer cannot be asked");
            }
        }
    }
}

fn told(denied: &DeniedJwt) -> String {
    match &denied.by {
        DeniedBy::Jti(jti) => format!("jti={jti}"),
        DeniedBy::Sub(sub) => format!("sub={sub}"),
    }
}
