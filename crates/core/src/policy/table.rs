//! One access table held against one identity.
//!
//! Says how far an identity came, not whether to let it in: only the whole list of tables
//! knows which obstacle is the lightest. Criteria about the credential come first, then
//! the network, then the key's scopes, then the person, then the strength of the sign-in.

use std::net::IpAddr;

use super::AccessTable;
use crate::credential::CredentialKind;
use crate::facts::Facts;
use crate::identity::Identity;
use crate::route::Route;
use crate::time::UnixMillis;
use crate::verdict::{Reason, Step};

/// How far an identity came in a table. Ordered: what comes later is nearer to the goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// The table does not take this kind of credential.
    OtherCredential,
    /// The client is in none of the table's networks.
    OtherNetwork,
    /// The key's scopes do not cover this route and method, or lack a scope the table names.
    OutOfScope,
    /// A criterion about the person does not hold.
    OtherPerson,
    /// Only the strength or the age of the sign-in is missing.
    Weak(Weakness),
    /// Everything holds.
    Holds,
}

/// What is missing of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weakness {
    /// A second factor.
    NoSecondFactor,
    /// It is longer ago than `max_auth_age`.
    TooOld,
}

impl Weakness {
    pub(super) const fn step(self) -> Step {
        match self {
            Self::NoSecondFactor => Step::Mfa,
            Self::TooOld => Step::Reauth,
        }
    }

    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::NoSecondFactor => Reason::MfaMissing,
            Self::TooOld => Reason::SignInTooOld,
        }
    }
}

impl AccessTable {
    /// Whether the table asks for nobody: `public`, and nothing about a person beside it.
    /// `public` next to such a criterion opens nothing: the criterion is what counts.
    pub fn is_public(&self) -> bool {
        self.public && !self.asks_about_person()
    }

    fn asks_about_person(&self) -> bool {
        self.users.is_some()
            || self.emails.is_some()
            || self.email_domains.is_some()
            || self.groups.is_some()
            || self.roles.is_some()
            || self.credentials.is_some()
            || self.mfa
            || self.max_auth_age.is_some()
            || self.scopes.is_some()
            || self.claims.is_some()
    }

    /// Whether the client's network is one the table takes.
    pub(super) fn takes_network(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.as_ref().is_none_or(|networks| networks.iter().any(|net| net.contains(&ip)))
    }

    /// Whether a credential of this kind could ever meet the table: it is one of those
    /// named, and of a kind that can have what `mfa`, `max_auth_age` (sessions), `scopes`
    /// (keys, foreign JWTs) and `claims` (foreign JWTs) ask for.
    pub fn takes_credential(&self, kind: &CredentialKind) -> bool {
        let named = match &self.credentials {
            None => kind.is_taken_by_default(),
            Some(kinds) => kinds.contains(kind),
        };
        let is_jwt = matches!(kind, CredentialKind::Jwt(_));
        let has_scopes = is_jwt || matches!(kind, CredentialKind::ApiKey | CredentialKind::Basic);
        named
            && (*kind == CredentialKind::Session || !(self.mfa || self.max_auth_age.is_some()))
            && (has_scopes || self.scopes.is_none())
            && (is_jwt || self.claims.is_none())
    }

    /// Holds the table against an identity. Looks neither at `public` nor at the account's status.
    pub(super) fn hold(
        &self,
        route: &Route,
        facts: &Facts<'_>,
        identity: &Identity,
        now: UnixMillis,
    ) -> Outcome {
        if !self.takes_credential(&identity.credential) {
            return Outcome::OtherCredential;
        }
        if !self.takes_network(facts.network_ip) {
            return Outcome::OtherNetwork;
        }
        if !self.takes_scopes(route, facts.method, identity) {
            return Outcome::OutOfScope;
        }
        if !self.takes_person(identity) {
            return Outcome::OtherPerson;
        }
        match self.weakness(identity, now) {
            Some(weakness) => Outcome::Weak(weakness),
            None => Outcome::Holds,
        }
    }

    /// The criterion `scopes`, and what a key's own scopes leave of its owner's rights. A
    /// key that names no route at all is good exactly where a table names one of its `x:` scopes.
    fn takes_scopes(&self, route: &Route, method: &str, identity: &Identity) -> bool {
        let asked = self.scopes.as_ref();
        if asked.is_some_and(|asked| !asked.iter().any(|scope| has_scope(identity, scope))) {
            return false;
        }
        let scopes = &identity.scopes;
        scopes.allow_route(&route.name, method) || (asked.is_some() && !scopes.name_routes())
    }

    fn takes_person(&self, identity: &Identity) -> bool {
        let user = |name: &str| match identity.account {
            Some(_) => identity.username.eq_ignore_ascii_case(name),
            // `<issuer name>:<sub>`: a `sub` is compared by its bytes (RFC 7519, 4.1.2).
            None => *identity.username == *name,
        };
        let email = |address: &str| {
            identity.email.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(address))
        };
        let domain = |domain: &str| {
            let own = identity.email.as_ref().and_then(|own| own.rsplit_once('@'));
            own.is_some_and(|(_, own)| own.eq_ignore_ascii_case(domain))
        };
        let claim = |name: &str, values: &[std::sync::Arc<str>]| {
            identity.claims.iter().any(|(own, value)| **own == *name && values.contains(value))
        };
        any(self.users.as_deref(), |name| user(name))
            && any(self.emails.as_deref(), |address| email(address))
            && any(self.email_domains.as_deref(), |name| domain(name))
            && any(self.groups.as_deref(), |group| identity.groups.contains(group))
            && any(self.roles.as_deref(), |role| identity.role == *role)
            && self
                .claims
                .as_ref()
                .is_none_or(|all| all.iter().all(|(name, values)| claim(name, values)))
    }

    fn weakness(&self, identity: &Identity, now: UnixMillis) -> Option<Weakness> {
        if self.mfa && !identity.mfa {
            return Some(Weakness::NoSecondFactor);
        }
        let oldest = self.max_auth_age?;
        let fresh = identity.auth_time.is_some_and(|at| now.since(at) <= oldest);
        (!fresh).then_some(Weakness::TooOld)
    }
}

/// An absent criterion holds; a present one holds for any of its values.
fn any<T>(criterion: Option<&[T]>, holds: impl FnMut(&T) -> bool) -> bool {
    criterion.is_none_or(|values| values.iter().any(holds))
}

/// A key has the scopes that it names; a foreign JWT those of its claim `scope` (RFC 8693, 4.2).
fn has_scope(identity: &Identity, scope: &str) -> bool {
    match identity.credential {
        CredentialKind::Jwt(_) => identity
            .claims
            .iter()
            .any(|(name, value)| &**name == "scope" && value.split(' ').any(|own| own == scope)),
        _ => identity.scopes.names(scope),
    }
}
