//! The chain of credentials ("Which credential decides", CONTRACT section 4).
//!
//! [`crate::Authn::read`] classifies what a request shows, without a look-up.
//! [`crate::Authn::authenticate_cached`] answers from the cache or from cryptography alone, and is
//! synchronous; only where it answers `None` is [`crate::Authn::authenticate`] awaited.

mod fill;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use vestibule_core::api_key::RateLimit;
use vestibule_core::identity::Identity;
use vestibule_core::time::UnixMillis;
use vestibule_core::verdict::Reason;

use crate::foreign::{self, ForeignToken};
use crate::identity_cache::{CacheKey, Entry, Form, Life};
use crate::keyring::{self, sha256};
use crate::ports::{AuditEvent, Digest};
use crate::rate_limit::{self, network};
use crate::start::Active;
use crate::{Authn, api_key, cookie, jwt};

use self::fill::Shown;

/// The header fields that may hold a credential, as received.
#[derive(Clone, Copy, Debug, Default)]
pub struct CredentialHeaders<'a> {
    /// `Authorization`
    pub authorization: Option<&'a [u8]>,
    /// `X-Api-Key`
    pub x_api_key: Option<&'a [u8]>,
    /// Every `Cookie` field, joined in order.
    pub cookies: &'a [&'a [u8]],
}

/// Which host asks, for tokens that are bound to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience<'a> {
    /// An app's host, canonical, without port.
    App(&'a str),
    /// The portal (and apps that share its host).
    Portal,
}

/// What a request shows, classified by form alone.
#[derive(Clone, PartialEq, Eq)]
pub enum Presented {
    /// A string of ours by form: an API key.
    ApiKey(String),
    /// Ours by form and already known to be malformed.
    Bad,
    /// A bearer token of a `[[jwt_issuer]]` by form.
    Foreign(ForeignToken),
    /// Nothing.
    Nothing,
    /// An access token of ours by form (`iss` is the portal).
    Token(String),
    /// A session cookie whose tag holds: the token's digest.
    Session(crate::ports::Digest),
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey",
            Self::Bad => "Bad",
            Self::Foreign(_) => "Foreign",
            Self::Nothing => "Nothing",
            Self::Session(_) => "Session",
            Self::Token(_) => "Token",
        })
    }
}

/// Credentials that are ours only because the route's rules name them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Takes<'a> {
    /// `basic`
    pub basic: bool,
    /// The names behind `jwt:`, whose opaque tokens are ours here.
    pub issuers: &'a [Arc<str>],
}

/// What [`crate::Authn::read`] found.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The credential that decides.
    pub presented: Presented,
    /// `Authorization` is ours by form: it never reaches an app.
    pub authorization_is_ours: bool,
    /// `X-Api-Key` is ours by form: it never reaches an app.
    pub api_key_is_ours: bool,
    /// Some cookie of ours is present: `Cookie` must be cleaned.
    pub has_own_cookies: bool,
    /// The credential came from `Authorization: Basic`.
    pub basic: bool,
}

impl Reading {
    /// Whether the credential that decides is a bearer token of a `[[jwt_issuer]]`: the one
    /// kind that a route may pass on.
    pub const fn is_foreign(&self) -> bool {
        matches!(self.presented, Presented::Foreign(_))
    }
}

/// What a credential proved.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Somebody.
    Identified(Arc<Identity>),
    /// Nothing was shown, or a cookie that means nothing any more.
    NotPresented,
    /// A credential of ours that does not hold: 401 `INVALID_CREDENTIAL`, also on public rules.
    Rejected(Reason),
    /// Over a key's limit, or too many bad credentials from one client.
    RateLimited(crate::rate_limit::Limited),
    /// The store could not be asked.
    Unavailable,
}

/// Failing look-ups of one client, which cost the store something: more are not made.
const BAD_CREDENTIALS: RateLimit = RateLimit { requests: 100, window: Duration::from_secs(5) };
/// Uses of a session or key are noted for the store at most this often.
const NOTE_EVERY_MILLIS: i64 = 5000;

impl Authn {
    /// Classifies what a request shows, for a route that takes this besides. No look-up is
    /// made; a cookie whose tag does not hold is nothing.
    pub fn read(&self, headers: &CredentialHeaders<'_>, takes: Takes<'_>) -> Reading {
        let active = self.active.load();
        let api_key = headers.x_api_key.and_then(|value| self.read_key(&active, trim(value)));
        let authorization =
            headers.authorization.and_then(|v| self.read_authorization(&active, v, takes));
        let (session, has_own_cookies) = read_cookies(&active, headers.cookies);
        let mut reading = Reading {
            presented: Presented::Nothing,
            authorization_is_ours: authorization.is_some(),
            api_key_is_ours: api_key.is_some(),
            has_own_cookies,
            basic: false,
        };
        if let Some(presented) = api_key {
            reading.presented = presented;
        } else if let Some((presented, basic)) = authorization {
            reading.presented = presented;
            reading.basic = basic;
        } else if let Some(digest) = session {
            reading.presented = Presented::Session(digest);
        }
        reading
    }

    /// Answers from the cache, or where no store is needed; `None`: ask [`Authn::authenticate`].
    /// Counts against a key's limit.
    pub fn authenticate_cached(
        &self,
        reading: &Reading,
        audience: Audience<'_>,
        client: IpAddr,
        now: UnixMillis,
    ) -> Option<Outcome> {
        self.tick(now);
        let active = self.active.load();
        if active.settings.auth.is_off() {
            return Some(Outcome::Identified(active.anonymous.clone()));
        }
        let key = match cache_key(reading) {
            Ok(key) => key,
            Err(outcome) => {
                if matches!(outcome, Outcome::Rejected(_)) {
                    self.refused_line(client, "malformed", now);
                }
                return Some(outcome);
            }
        };
        if let Some(entry) = self.cache.get(&key, now) {
            self.counters.hit(key.0);
            return Some(self.judge(&active, &entry, key.0, audience, client, now));
        }
        if self.cache.is_known_missing(&key) {
            self.counters.hit(key.0);
            return Some(self.missing(key.0, client, now));
        }
        self.counters.miss(key.0);
        None
    }

    /// Answers with the store's help, loading each credential once however many ask.
    pub async fn authenticate(
        self: &Arc<Self>,
        reading: &Reading,
        audience: Audience<'_>,
        client: IpAddr,
        now: UnixMillis,
    ) -> Outcome {
        self.tick(now);
        let active = self.active.load_full();
        if active.settings.auth.is_off() {
            return Outcome::Identified(active.anonymous.clone());
        }
        let key = match cache_key(reading) {
            Ok(key) => key,
            Err(outcome) => {
                if matches!(outcome, Outcome::Rejected(_)) {
                    self.refused_line(client, "malformed", now);
                }
                return outcome;
            }
        };
        // Only keys without check digits can be guessed at the store's cost, and only tokens
        // that an issuer is asked about at the issuer's.
        let guessable = match &reading.presented {
            Presented::ApiKey(text) => !api_key::has_check_digits(&active.keyring.check, text),
            Presented::Foreign(token) => token.is_guessable(),
            _ => false,
        };
        let guesses = rate_limit::Subject::BadCredentials(network(client));
        if guessable {
            let over = self.limits.is_over("bad-credentials", &guesses, BAD_CREDENTIALS, now);
            if let Some(limited) = over {
                self.counters.rate_limited(limited.scope);
                return Outcome::RateLimited(limited);
            }
        }
        let shown = match &reading.presented {
            Presented::Token(token) => Shown::Token(token.clone()),
            Presented::Foreign(token) => Shown::Foreign(token.clone(), client),
            _ => Shown::Digest,
        };
        match self.load(key, &shown, now).await {
            Ok(Some(entry)) => self.judge(&active, &entry, key.0, audience, client, now),
            Ok(None) => {
                if guessable {
                    let _ = self.limits.hit("bad-credentials", guesses, BAD_CREDENTIALS, now);
                }
                self.missing(key.0, client, now)
            }
            Err(error) => {
                tracing::warn!(%error, "a credential could not be looked up");
                Outcome::Unavailable
            }
        }
    }

    /// The built-in administrator of mode none and bypass: user name `anonymous`.
    pub fn anonymous(&self, now: UnixMillis) -> Arc<Identity> {
        self.tick(now);
        self.active.load().anonymous.clone()
    }

    // What is ours by form.

    /// `None`: not ours.
    fn read_key(&self, active: &Active, value: &[u8]) -> Option<Presented> {
        let named = |prefix: &str| {
            value.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.starts_with(b"_"))
        };
        let keys = &active.settings.api_keys;
        let imported = keys.accept.iter().any(|prefix| named(prefix));
        let ours = imported
            || named(&keys.prefix)
            || self.prefixes.load().iter().any(|prefix| named(prefix));
        if !ours {
            return None;
        }
        let text = std::str::from_utf8(value).ok().filter(|t| t.len() <= api_key::LONGEST);
        Some(match text {
            Some(text) if imported || api_key::has_check_digits(&active.keyring.check, text) => {
                Presented::ApiKey(text.to_owned())
            }
            _ => Presented::Bad,
        })
    }

    /// `None`: not ours. The flag says that it was Basic.
    fn read_authorization(
        &self,
        active: &Active,
        value: &[u8],
        takes: Takes<'_>,
    ) -> Option<(Presented, bool)> {
        let value = trim(value);
        let end =
            value.iter().position(|b| matches!(b, b' ' | b'\t' | b',')).unwrap_or(value.len());
        let (scheme, rest) = value.split_at_checked(end)?;
        if scheme.eq_ignore_ascii_case(b"basic") {
            return takes.basic.then(|| (self.read_basic(active, rest), true));
        }
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            return None;
        }
        // RFC 6750, 2.1: one space and a token68. What deviates is judged by its first word:
        // not ours stays the app's, ours is bad.
        let strict = rest.strip_prefix(b" ").filter(|token| is_token68(token));
        let lenient = strict.unwrap_or_else(|| first_word(rest));
        if lenient.len() > jwt::LONGEST && foreign::is_jwt_shaped(lenient) {
            return Some((Presented::Bad, false));
        }
        let presented = match self.read_key(active, lenient) {
            Some(presented) => presented,
            None => foreign::read(active, lenient, takes.issuers)?,
        };
        Some((if strict.is_some() { presented } else { Presented::Bad }, false))
    }

    /// The password of Basic is an API key; whatever else it holds is bad.
    fn read_basic(&self, active: &Active, rest: &[u8]) -> Presented {
        let decoded = rest
            .strip_prefix(b" ")
            .filter(|text| text.len() <= jwt::LONGEST)
            .and_then(|text| STANDARD.decode(text).ok());
        let password = decoded.as_deref().and_then(|pair| {
            let colon = pair.iter().position(|&b| b == b':')?;
            pair.get(colon + 1..)
        });
        password.and_then(|key| self.read_key(active, key)).unwrap_or(Presented::Bad)
    }

    // From a credential to an identity.

    /// What a proved credential means for this request.
    fn judge(
        &self,
        active: &Active,
        entry: &Entry,
        form: Form,
        audience: Audience<'_>,
        client: IpAddr,
        now: UnixMillis,
    ) -> Outcome {
        let over = entry.identity.expires_at <= now;
        match form {
            Form::Session => {
                let idle_end =
                    entry.own.last_seen.load(Ordering::Relaxed).saturating_add(entry.idle_millis);
                if over || idle_end <= now.0 || !is_for(active, entry, audience) {
                    return Outcome::NotPresented;
                }
                self.note_session(entry, now);
                self.renew_where_due(entry, now);
            }
            Form::Token => {
                if over {
                    return Outcome::Rejected(Reason::InvalidCredential);
                }
                self.note_session(entry, now);
            }
            Form::Jwt | Form::Opaque => {
                if over {
                    return Outcome::Rejected(Reason::InvalidCredential);
                }
            }
            Form::Key | Form::Basic => {
                if over {
                    return self.missing(form, client, now);
                }
                if let Some(limited) = self.over_key_limit(active, &entry.identity, now) {
                    return Outcome::RateLimited(limited);
                }
                self.note_key(entry, client, now);
            }
        }
        Outcome::Identified(entry.identity.clone())
    }

    fn missing(&self, form: Form, client: IpAddr, now: UnixMillis) -> Outcome {
        match form {
            Form::Session => Outcome::NotPresented,
            Form::Jwt | Form::Opaque | Form::Token => Outcome::Rejected(Reason::InvalidCredential),
            Form::Basic | Form::Key => {
                self.refused_line(client, "unknown", now);
                Outcome::Rejected(Reason::InvalidCredential)
            }
        }
    }

    fn over_key_limit(
        &self,
        active: &Active,
        identity: &Identity,
        now: UnixMillis,
    ) -> Option<rate_limit::Limited> {
        let limit = identity.rate_limit.or(active.settings.api_keys.rate_limit)?;
        let subject = rate_limit::Subject::Key(identity.key?);
        let limited = self.limits.hit("api-key", subject, limit, now).err()?;
        self.counters.rate_limited(limited.scope);
        Some(limited)
    }

    /// Moves a session's last use on: in memory at once, in the store with the next flush.
    fn note_session(&self, entry: &Entry, now: UnixMillis) {
        entry.own.last_seen.fetch_max(now.0, Ordering::Relaxed);
        let every = NOTE_EVERY_MILLIS.min(entry.idle_millis / 4);
        if is_due(&entry.own, now, every)
            && let Some(session) = entry.identity.session
        {
            self.pending.sessions.note(session, now);
        }
    }

    /// Has the tokens of the session's provider renewed where they have ended: once, by the
    /// task that looks after such things, while this request goes on.
    fn renew_where_due(&self, entry: &Entry, now: UnixMillis) {
        let due = entry.own.renew_at.load(Ordering::Relaxed);
        if due == 0 || now.0 < due {
            return;
        }
        let only = &entry.own.renew_at;
        if only.compare_exchange(due, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && let Some(session) = entry.identity.session
        {
            self.renewals.push(session);
        }
    }

    fn note_key(&self, entry: &Entry, client: IpAddr, now: UnixMillis) {
        let Some(key) = entry.identity.key else { return };
        if is_due(&entry.own, now, NOTE_EVERY_MILLIS) {
            self.pending.keys.note(key, now);
        }
        let minute = 60_000;
        let last = entry.own.audited.load(Ordering::Relaxed);
        if now.0.saturating_sub(last) < minute {
            return;
        }
        let won =
            entry.own.audited.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed);
        // The count outlives the cache's entry, so that eviction writes no second line.
        let first = RateLimit { requests: 1, window: Duration::from_millis(minute.unsigned_abs()) };
        let line = rate_limit::Subject::SuccessLine(key);
        if won.is_ok() && self.limits.hit("audit", line, first, now).is_ok() {
            self.audit(AuditEvent {
                time: now,
                event: "api_key.success",
                actor: entry.identity.account.map(|id| id.to_string()).unwrap_or_default(),
                subject: key.to_string(),
                client_ip: client.to_string(),
                request_id: String::new(),
                outcome: "success",
                detail: String::new(),
            });
        }
    }

    /// `api_key.failure`, a few lines a minute for one client.
    fn refused_line(&self, client: IpAddr, reason: &str, now: UnixMillis) {
        if self.failure_lines.may_write(client) {
            self.audit(AuditEvent {
                time: now,
                event: "api_key.failure",
                actor: String::new(),
                subject: String::new(),
                client_ip: client.to_string(),
                request_id: String::new(),
                outcome: "failure",
                detail: format!("reason={reason}"),
            });
        }
    }
}

/// The cache key of what was shown, or the answer where nothing has to be looked up.
fn cache_key(reading: &Reading) -> Result<CacheKey, Outcome> {
    match &reading.presented {
        Presented::ApiKey(text) => {
            let form = if reading.basic { Form::Basic } else { Form::Key };
            Ok((form, sha256(text.as_bytes())))
        }
        Presented::Bad => Err(Outcome::Rejected(Reason::InvalidCredential)),
        Presented::Foreign(token) => Ok(token.cache_key()),
        Presented::Nothing => Err(Outcome::NotPresented),
        Presented::Session(digest) => Ok((Form::Session, *digest)),
        Presented::Token(token) => Ok((Form::Token, sha256(token.as_bytes()))),
    }
}

/// Whether a use must be noted; true for one caller only.
fn is_due(life: &Life, now: UnixMillis, every_millis: i64) -> bool {
    let noted = life.noted.load(Ordering::Relaxed);
    now.0.saturating_sub(noted) >= every_millis
        && life.noted.compare_exchange(noted, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Whether a session token counts at the host that asks.
fn is_for(active: &Active, entry: &Entry, audience: Audience<'_>) -> bool {
    match (&entry.host, audience) {
        (None, Audience::Portal) => true,
        // One cookie for the parent domain: the browser sends it to every host below.
        (None, Audience::App(_)) => active.cookies.domain.is_some(),
        (Some(host), Audience::App(asking)) => **host == *asking,
        (Some(_), Audience::Portal) => false,
    }
}

/// The one session token that counts, and whether any cookie is ours.
fn read_cookies(active: &Active, fields: &[&[u8]]) -> (Option<Digest>, bool) {
    let name = active.cookies.session.as_bytes();
    let mut ours = false;
    let mut value: Option<&[u8]> = None;
    let mut torn = false;
    for (cookie, given) in fields.iter().flat_map(|field| cookie::pairs(field)) {
        ours = ours || cookie::is_ours(cookie);
        if cookie == name {
            torn = torn || value.is_some_and(|earlier| earlier != given);
            value = Some(given);
        }
    }
    if torn {
        tracing::debug!("two different values of the session cookie; none counts");
        return (None, ours);
    }
    (value.and_then(|token| keyring::open(&active.keyring.session, token)), ours)
}

/// token68 of RFC 9110, 11.2.
fn is_token68(text: &[u8]) -> bool {
    let end = text.iter().rposition(|&b| b != b'=').map_or(0, |at| at + 1);
    let (body, _) = text.split_at_checked(end).unwrap_or_default();
    !body.is_empty() && body.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(b))
}

/// The first run of characters behind odd separators.
fn first_word(text: &[u8]) -> &[u8] {
    let odd = |b: &u8| matches!(b, b' ' | b'\t' | b',' | b';' | b'"' | b'=');
    let start = text.iter().position(|b| !odd(b)).unwrap_or(text.len());
    let text = text.split_at_checked(start).map(|(_, rest)| rest).unwrap_or_default();
    let end = text.iter().position(odd).unwrap_or(text.len());
    text.split_at_checked(end).map(|(word, _)| word).unwrap_or_default()
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}
