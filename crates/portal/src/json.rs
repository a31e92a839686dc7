//! How records look in JSON: member names and times of CONTRACT section 8.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use vestibule_authn::ports::{ApiKeyRecord, AuditRecord, SessionKind, SessionRecord};
use vestibule_core::account::Account;
use vestibule_core::api_key::RateLimit;
use vestibule_core::id::SessionId;
use vestibule_core::time::UnixMillis;

use crate::problem::Problem;

/// A time as RFC 3339 in UTC.
pub(crate) fn time(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map(|t| t.to_string()).unwrap_or_default()
}

/// A day and minute for people, UTC.
pub(crate) fn time_for_people(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map(|t| t.strftime("%-d %b %Y, %H:%M UTC").to_string())
        .unwrap_or_default()
}

/// An account.
#[derive(Serialize)]
pub(crate) struct User {
    id: String,
    username: String,
    email: Option<String>,
    email_verified: bool,
    name: String,
    role: &'static str,
    status: &'static str,
    groups: Vec<String>,
    created_at: String,
}

impl From<&Account> for User {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id.to_string(),
            username: account.username.to_string(),
            email: account.email.as_deref().map(str::to_owned),
            email_verified: account.email_verified,
            name: account.name.to_string(),
            role: account.role.as_str(),
            status: account.effective_status().as_str(),
            groups: account.groups.iter().map(ToString::to_string).collect(),
            created_at: time(account.created_at),
        }
    }
}

impl User {
    /// The built-in administrator of mode none, who has no account.
    pub(crate) fn anonymous(identity: &vestibule_core::identity::Identity) -> Self {
        Self {
            id: identity.account.map(|id| id.0).unwrap_or_default().to_string(),
            username: identity.username.to_string(),
            email: identity.email.as_deref().map(str::to_owned),
            email_verified: identity.email.is_some(),
            name: identity.name.to_string(),
            role: identity.role.as_str(),
            status: identity.status.as_str(),
            groups: identity.groups.iter().map(ToString::to_string).collect(),
            created_at: time(UnixMillis(0)),
        }
    }
}

/// A session.
#[derive(Serialize)]
pub(crate) struct Session {
    id: String,
    user_id: String,
    kind: &'static str,
    created_at: String,
    auth_time: String,
    last_seen_at: String,
    expires_at: String,
    remember: bool,
    amr: Vec<String>,
    mfa: bool,
    client_ip: String,
    user_agent: String,
    current: bool,
}

impl Session {
    pub(crate) fn new(record: SessionRecord, current: Option<SessionId>) -> Self {
        Self {
            id: record.id.to_string(),
            user_id: record.account.to_string(),
            kind: match record.kind {
                SessionKind::Browser => "browser",
                SessionKind::Token => "token",
            },
            created_at: time(record.created_at),
            auth_time: time(record.auth_time),
            last_seen_at: time(record.last_seen),
            expires_at: time(record.expires_at),
            remember: record.remember,
            amr: record.amr,
            mfa: record.mfa,
            client_ip: record.client_ip,
            user_agent: record.user_agent,
            current: current == Some(record.id),
        }
    }
}

/// A key's own limit: `window` as `"60s"`; read as such, or as a number of seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    requests: u32,
    window: Window,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Window {
    Seconds(u64),
    Text(String),
}

impl From<RateLimit> for Limit {
    fn from(limit: RateLimit) -> Self {
        let window = Window::Text(format!("{}s", limit.window.as_secs()));
        Self { requests: limit.requests, window }
    }
}

impl TryFrom<Limit> for RateLimit {
    type Error = Problem;

    fn try_from(limit: Limit) -> Result<Self, Problem> {
        let window = match &limit.window {
            Window::Seconds(seconds) => Some(Duration::from_secs(*seconds)),
            Window::Text(text) => duration(text),
        };
        let window = window
            .filter(|w| (Duration::from_secs(1)..=Duration::from_secs(366 * 86_400)).contains(w))
            .filter(|_| limit.requests > 0);
        window.map(|window| Self { requests: limit.requests, window }).ok_or_else(|| {
            Problem::bad_request(
                "`rate_limit` needs `requests` of at least 1 and a `window` such as \"60s\".",
            )
        })
    }
}

/// `60s`, `5m`, `1h`, `1d`, or a bare number of seconds.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let unit = match text.get(digits.len()..)? {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_secs)
}

/// An API key; `key` is its text and stands there once, when it is made.
#[derive(Serialize)]
pub(crate) struct ApiKey {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    user_id: String,
    prefix: String,
    start: String,
    enabled: bool,
    scopes: Vec<String>,
    rate_limit: Option<Limit>,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

impl ApiKey {
    pub(crate) fn new(record: ApiKeyRecord, key: Option<String>) -> Self {
        Self {
            id: record.id.to_string(),
            name: record.name,
            key,
            user_id: record.owner.to_string(),
            prefix: record.prefix,
            start: record.start,
            enabled: record.enabled,
            scopes: record.scopes.to_texts(),
            rate_limit: record.rate_limit.map(Limit::from),
            created_at: time(record.created_at),
            expires_at: record.expires_at.map(time),
            last_used_at: record.last_used_at.map(time),
        }
    }
}

/// An audit event.
#[derive(Serialize)]
pub(crate) struct Audit {
    seq: i64,
    time: String,
    event: String,
    actor: String,
    subject: String,
    client_ip: String,
    request_id: String,
    outcome: String,
    detail: String,
}

impl From<AuditRecord> for Audit {
    fn from(record: AuditRecord) -> Self {
        Self {
            seq: record.seq,
            time: time(record.time),
            event: record.event,
            actor: record.actor,
            subject: record.subject,
            client_ip: record.client_ip,
            request_id: record.request_id,
            outcome: record.outcome,
            detail: record.detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_003_80_a_window_is_read_as_text_or_seconds_and_written_as_text() {
        for text in [r#"{"requests":5,"window":"1m"}"#, r#"{"requests":5,"window":60}"#] {
            let limit: Limit = serde_json::from_str(text).unwrap();
            let limit = RateLimit::try_from(limit).unwrap();
            assert_eq!(limit, RateLimit { requests: 5, window: Duration::from_secs(60) });
            let shown = serde_json::to_string(&Limit::from(limit)).unwrap();
            assert_eq!(shown, r#"{"requests":5,"window":"60s"}"#);
        }
        for bad in [r#"{"requests":0,"window":60}"#, r#"{"requests":5,"window":"-1s"}"#] {
            let limit: Limit = serde_json::from_str(bad).unwrap();
            assert!(RateLimit::try_from(limit).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(time(UnixMillis::from_secs(0)), "1970-01-01T00:00:00Z");
    }
}
