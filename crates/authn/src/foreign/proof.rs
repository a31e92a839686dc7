//! What a foreign token's claims must say, and the identity that they make.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use vestibule_core::account::{Role, Status, canonical_email};
use vestibule_core::api_key::Scopes;
use vestibule_core::credential::CredentialKind;
use vestibule_core::group::Group;
use vestibule_core::identity::Identity;
use vestibule_core::settings::jwt_issuer::JwtIssuer;
use vestibule_core::time::UnixMillis;

use crate::identity_cache::{Entry, Life};
use crate::jose::{self, Bad, LEEWAY_SECS, Object};

const LEEWAY: Duration = Duration::from_secs(LEEWAY_SECS.unsigned_abs());
/// String claims of one token that are kept.
const MOST_CLAIMS: usize = 512;

type Claim = (Arc<str>, Arc<str>);

/// A token that holds, as its issuer's map reads it.
#[derive(Debug)]
pub(super) struct Proof {
    credential: CredentialKind,
    username: Arc<str>,
    name: Arc<str>,
    email: Option<Arc<str>>,
    role: Role,
    groups: Arc<[Group]>,
    claims: Arc<[Claim]>,
    expires_at: UnixMillis,
    /// From here on the issuer must be asked anew.
    believed_until: UnixMillis,
}

impl Proof {
    /// What a JWT says that its issuer signed.
    pub(super) fn of_jwt(
        issuer: &JwtIssuer,
        claims: &Object,
        now: UnixMillis,
    ) -> Result<Self, Bad> {
        whole_seconds(claims)?;
        let exp = jose::check_times(claims, false, now)?;
        if claims.get("iss").and_then(Value::as_str) != Some(&*issuer.issuer) {
            return Err(Bad("claim_iss"));
        }
        is_for_us(issuer, claims)?;
        Ok(Self { expires_at: exp.plus(LEEWAY), ..Self::of(issuer, claims)? })
    }

    /// What an issuer says about a token that it calls active. Whatever it does not say is its
    /// own affair (RFC 7662, 2.2); whatever it says is held to the same rules as a JWT's.
    pub(super) fn of_introspection(
        issuer: &JwtIssuer,
        claims: &Object,
        now: UnixMillis,
    ) -> Result<Self, Bad> {
        whole_seconds(claims)?;
        let exp = match jose::time(claims, "exp")? {
            Some(_) => Some(jose::check_times(claims, false, now)?),
            None => has_begun(claims, now).map(|()| None)?,
        };
        if claims.get("iss").is_some_and(|iss| iss.as_str() != Some(&*issuer.issuer)) {
            return Err(Bad("claim_iss"));
        }
        if claims.contains_key("aud") {
            is_for_us(issuer, claims)?;
        }
        let kind = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        if [kind("token_type"), kind("token_use")].iter().any(|kind| kind.starts_with("refresh")) {
            return Err(Bad("token_is_for_refreshing"));
        }
        let proof = Self::of(issuer, claims)?;
        Ok(match exp {
            Some(exp) => Self { expires_at: exp.plus(LEEWAY), believed_until: exp, ..proof },
            None => proof,
        })
    }

    fn of(issuer: &JwtIssuer, claims: &Object) -> Result<Self, Bad> {
        let sub = jose::text(claims, "sub").ok_or(Bad("claim_missing_sub"))?;
        // White space at the ends is lost in a header, where two subjects would become one.
        if sub.chars().any(char::is_control) || sub.trim() != sub {
            return Err(Bad("claim_sub_malformed"));
        }
        if claims.get("jti").is_some_and(|jti| !jti.is_string()) {
            return Err(Bad("claim_jti_malformed"));
        }
        if claims.contains_key("events") {
            return Err(Bad("token_is_for_logout"));
        }
        if is_bound(claims) {
            return Err(Bad("token_is_bound_to_a_key"));
        }
        let map = &issuer.claims;
        let mapped = |path: &Option<String>| jose::at(claims, path.as_deref()?);
        let name = mapped(&map.username).and_then(Value::as_str).unwrap_or_default();
        let role = mapped(&map.role).and_then(Value::as_str).and_then(|word| word.parse().ok());
        Ok(Self {
            credential: CredentialKind::Jwt(issuer.name.clone()),
            username: format!("{}:{sub}", issuer.name).into(),
            name: name.into(),
            email: map.email.as_deref().and_then(|path| verified_email(claims, path)),
            role: role.unwrap_or(Role::User),
            groups: groups(issuer, mapped(&map.groups)),
            claims: text_claims(issuer, sub, claims),
            expires_at: UnixMillis(i64::MAX),
            believed_until: UnixMillis(i64::MAX),
        })
    }

    pub(super) fn entry(&self, generation: u64, world: u64) -> Entry {
        let identity = Identity {
            generation,
            account: None,
            username: self.username.clone(),
            email: self.email.clone(),
            name: self.name.clone(),
            role: self.role,
            status: Status::Active,
            groups: self.groups.clone(),
            credential: self.credential.clone(),
            session: None,
            key: None,
            scopes: Scopes::all(),
            rate_limit: None,
            auth_time: None,
            amr: Arc::new([]),
            mfa: false,
            claims: self.claims.clone(),
            provider_tokens: None,
            must_change_password: false,
            expires_at: self.expires_at,
        };
        Entry {
            identity: Arc::new(identity),
            host: None,
            idle_millis: i64::MAX,
            account: Arc::new(Life::default()),
            own: Arc::new(Life::default()),
            world,
            believed_until: self.believed_until,
        }
    }
}

/// Times in a token of others are whole seconds here: a fraction is nobody's honest `exp`
/// (SECURITY.md, G1).
fn whole_seconds(claims: &Object) -> Result<(), Bad> {
    let whole = |name: &str| claims.get(name).is_none_or(Value::is_i64);
    let all = ["exp", "iat", "nbf"].into_iter().all(whole);
    if all { Ok(()) } else { Err(Bad("claim_time_malformed")) }
}

/// `iat` and `nbf` of a token that has no end.
fn has_begun(claims: &Object, now: UnixMillis) -> Result<(), Bad> {
    for name in ["iat", "nbf"] {
        if jose::time(claims, name)?.is_some_and(|at| at > now.plus(LEEWAY).secs()) {
            return Err(Bad("token_not_yet_valid"));
        }
    }
    Ok(())
}

fn is_for_us(issuer: &JwtIssuer, claims: &Object) -> Result<(), Bad> {
    let named = jose::audiences(claims)?;
    let ours = |audience: &&str| issuer.audience.iter().any(|own| own == audience);
    if named.iter().any(ours) { Ok(()) } else { Err(Bad("claim_aud")) }
}

/// Whether it is good only together with a proof of a key (RFC 7800: DPoP, mutual TLS), which
/// a bearer does not give.
fn is_bound(claims: &Object) -> bool {
    let is_dpop =
        |kind: &Value| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("dpop"));
    claims.contains_key("cnf") || claims.get("token_type").is_some_and(is_dpop)
}

/// The address where the same object says that it is verified: the boolean, nothing like it.
fn verified_email(claims: &Object, path: &str) -> Option<Arc<str>> {
    let (within, flag) = match path.rsplit_once('.') {
        Some((outer, _)) if !claims.contains_key(path) => {
            (jose::at(claims, outer)?, "email_verified")
        }
        _ => (claims.get("email_verified")?, ""),
    };
    let verified = if flag.is_empty() { within } else { within.get(flag)? };
    if *verified != Value::Bool(true) {
        return None;
    }
    canonical_email(jose::at(claims, path)?.as_str()?).map(Arc::from)
}

fn groups(issuer: &JwtIssuer, claim: Option<&Value>) -> Arc<[Group]> {
    let named = claim.map(jose::texts).unwrap_or_default();
    let mut groups: Vec<Group> = Vec::with_capacity(named.len());
    for name in named {
        match Group::new(name) {
            Ok(group) => groups.push(group),
            Err(error) => {
                tracing::debug!(issuer = %issuer.name, %error, "a group of a token is left out");
            }
        }
    }
    groups.sort_unstable();
    groups.dedup();
    groups.into()
}

/// The claims that are texts, those within objects by their dotted paths; a list is several
/// entries. `iss`, `sub` and `jti` name the token in the denylist, whatever else there is.
fn text_claims(issuer: &JwtIssuer, sub: &str, claims: &Object) -> Arc<[Claim]> {
    let mut found: Vec<Claim> =
        vec![("iss".into(), issuer.issuer.as_str().into()), ("sub".into(), sub.into())];
    if let Some(jti) = jose::text(claims, "jti") {
        found.push(("jti".into(), jti.into()));
    }
    for (name, value) in claims {
        if !matches!(name.as_str(), "iss" | "sub" | "jti") {
            collect(name, value, &mut found);
        }
    }
    // What some call `scp` is the claim `scope` of RFC 8693, 4.2.
    if !claims.contains_key("scope") {
        for scope in claims.get("scp").map(jose::texts).unwrap_or_default() {
            found.push(("scope".into(), scope.into()));
        }
    }
    found.into()
}

fn collect(path: &str, value: &Value, found: &mut Vec<Claim>) {
    if let Value::Object(inner) = value {
        for (name, value) in inner {
            collect(&format!("{path}.{name}"), value, found);
        }
        return;
    }
    let name: Arc<str> = path.into();
    for text in jose::texts(value) {
        if found.len() < MOST_CLAIMS {
            found.push((name.clone(), text.into()));
        }
    }
}
