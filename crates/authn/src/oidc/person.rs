//! From claims to a person: which claim says what is the operator's word, dots lead into
//! objects, and nothing counts that has the wrong type.

use serde_json::Value;

use vestibule_core::account::{Role, canonical_email};
use vestibule_core::group::Group;
use vestibule_core::settings::provider::{MfaFrom, Provider, ProviderKind};
use vestibule_core::time::UnixMillis;

use super::{Fault, TELL_ADMIN};
use crate::jose::{self, Object};

/// Who signed in at a provider, as far as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) issuer: String,
    /// The claim `sub`.
    pub(crate) sub: String,
    /// The configured subject claim: with the issuer, the key of the identity.
    pub(crate) subject: String,
    pub(crate) username: Option<String>,
    /// Canonical.
    pub(crate) email: String,
    /// The provider says, as the boolean `true`, that it is proved, and is believed.
    pub(crate) email_verified: bool,
    pub(crate) name: String,
    /// Local groups, sorted. `None`: the provider was not asked about groups.
    pub(crate) groups: Option<Vec<Group>>,
    /// By the map of roles; `None`: the map says nothing.
    pub(crate) role: Option<Role>,
    pub(crate) mfa: bool,
    pub(crate) amr: Vec<String>,
    pub(crate) auth_time: Option<UnixMillis>,
    pub(crate) sid: Option<String>,
    /// Google's `hd`, lower case.
    pub(crate) hosted_domain: Option<String>,
}

/// Reads a person off the ID token's claims and UserInfo's. What the ID token says goes
/// first; an address and the word that it is proved are taken from one and the same source.
pub(crate) fn read(
    provider: &Provider,
    issuer: &str,
    id_token: &Object,
    userinfo: Option<&Object>,
) -> Result<Person, Fault> {
    let claims = &provider.claims;
    let sub = jose::subject(id_token)?;
    let find = |path: &str| {
        jose::at(id_token, path).or_else(|| userinfo.and_then(|said| jose::at(said, path)))
    };
    let find_text = |path: &str| find(path).and_then(Value::as_str).map(str::trim);
    let subject = if claims.subject == "sub" {
        sub
    } else {
        find_text(&claims.subject)
            .filter(|text| {
                !text.is_empty() && text.len() <= 255 && !text.contains(char::is_control)
            })
            .ok_or_else(|| missing(&claims.subject, "claim_missing_subject"))?
    };
    let (email, email_verified) = email(provider, id_token, userinfo)
        .ok_or_else(|| missing(&claims.email, "claim_missing_email"))?;
    let told = find(&claims.groups).map(jose::texts);
    Ok(Person {
        issuer: issuer.to_owned(),
        sub: sub.to_owned(),
        subject: subject.to_owned(),
        username: find_text(&claims.username).filter(|t| !t.is_empty()).map(str::to_owned),
        email,
        email_verified,
        name: find_text("name").unwrap_or_default().to_owned(),
        role: role(provider, told.as_deref().unwrap_or_default()),
        groups: Some(groups(provider, told.as_deref().unwrap_or_default())),
        mfa: is_mfa(provider, id_token),
        amr: amr(id_token),
        auth_time: jose::time(id_token, "auth_time")?.map(UnixMillis::from_secs),
        sid: jose::text(id_token, "sid").map(str::to_owned),
        hosted_domain: jose::text(id_token, "hd").map(str::to_lowercase),
    })
}

fn missing(claim: &str, reason: &'static str) -> Fault {
    // The log says `claim_missing email`: word and claim.
    Fault::new(reason, format!("claim_missing {claim}"), TELL_ADMIN)
}

fn email(
    provider: &Provider,
    id_token: &Object,
    userinfo: Option<&Object>,
) -> Option<(String, bool)> {
    let claims = &provider.claims;
    let from = |said: &Object| {
        let text = jose::at(said, &claims.email)?.as_str()?;
        // White space around an address is nobody's honest spelling of it.
        let email = canonical_email(text).filter(|_| text.trim() == text)?;
        let proved = jose::at(said, &claims.email_verified) == Some(&Value::Bool(true));
        Some((email, proved && provider.trust_email))
    };
    let (here, there) = (from(id_token), userinfo.and_then(from));
    match (here, there) {
        // An ID token may leave out that the address is proved; UserInfo may say so of the same.
        (Some((here, false)), Some((there, proved)))
            if here == there && jose::at(id_token, &claims.email_verified).is_none() =>
        {
            Some((here, proved))
        }
        (Some(here), _) => Some(here),
        (None, there) => there,
    }
}

/// Claim values as local groups: mapped, else as they are, else under the provider's name.
pub(crate) fn groups(provider: &Provider, told: &[&str]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for value in told {
        let mapped: Vec<Group> = provider
            .groups
            .iter()
            .filter(|(from, _)| **from == **value)
            .map(|(_, to)| to.clone())
            .collect();
        if !mapped.is_empty() {
            groups.extend(mapped);
            continue;
        }
        let name = match provider.kind {
            ProviderKind::Github | ProviderKind::Google => format!("{}:{value}", provider.id),
            ProviderKind::Authentik | ProviderKind::Oidc => (*value).to_owned(),
        };
        match Group::new(&name) {
            Ok(group) => groups.push(group),
            Err(error) => {
                tracing::warn!(provider = &*provider.id, %error, "a group of a provider is dropped");
            }
        }
    }
    groups.sort();
    groups.dedup();
    groups
}

/// The role that the map gives; administrator where any value gives it.
pub(crate) fn role(provider: &Provider, told: &[&str]) -> Option<Role> {
    let mapped =
        || provider.roles.iter().filter(|(from, _)| told.contains(&&**from)).map(|(_, role)| *role);
    if mapped().any(|role| role == Role::Admin) {
        return Some(Role::Admin);
    }
    mapped().next()
}

/// `amr`: a list of texts (OpenID Connect Core, 2), and nothing else.
fn methods(claims: &Object) -> Vec<&str> {
    claims.get("amr").filter(|amr| amr.is_array()).map(jose::texts).unwrap_or_default()
}

/// Words of RFC 8176, cut to what a list of sessions can show.
fn amr(claims: &Object) -> Vec<String> {
    let words = methods(claims);
    let plain = |word: &&str| {
        (1..=32).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic() && b != b'+')
    };
    words.into_iter().filter(plain).take(8).map(str::to_owned).collect()
}

/// Whether the sign-in there counts as multi-factor.
fn is_mfa(provider: &Provider, claims: &Object) -> bool {
    match &provider.mfa_from {
        MfaFrom::Acr(value) => claims.get("acr").and_then(Value::as_str) == Some(value),
        MfaFrom::Amr => {
            let words = methods(claims);
            let any = |kind: &[&str]| words.iter().any(|word| kind.contains(word));
            let kinds = [
                any(&["pwd", "pin", "kba"]),
                any(&["otp", "sms", "tel", "hwk", "swk", "sc", "pop"]),
                any(&["face", "fpt", "iris", "retina", "vbm"]),
            ];
            any(&["mfa"]) || kinds.iter().filter(|there| **there).count() > 1
        }
        MfaFrom::None => false,
    }
}
