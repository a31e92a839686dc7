//! The access language and the decision (CONTRACT section 3, "Access"). Pure and total;
//! the default is deny.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::account::Role;
use crate::credential::CredentialKind;
use crate::facts::Facts;
use crate::group::Group;
use crate::identity::Identity;
use crate::pattern::PathPattern;
use crate::route::Route;
use crate::time::UnixMillis;
use crate::verdict::{Trace, Verdict};

/// Who may pass: the resolved form of every spelling of `access`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Any one of these tables must hold.
    AnyOf(Vec<AccessTable>),
    /// Nobody.
    Deny,
}

/// Every criterion that is present must hold; a list means "any of".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessTable {
    /// Asks for no signed-in account.
    pub public: bool,
    /// User names; `<issuer name>:<sub>` for foreign JWTs.
    pub users: Option<Vec<Arc<str>>>,
    /// Verified e-mail addresses, lower case.
    pub emails: Option<Vec<Arc<str>>>,
    /// Domains of the verified e-mail address, lower case.
    pub email_domains: Option<Vec<Arc<str>>>,
    /// Groups.
    pub groups: Option<Vec<Group>>,
    /// Roles.
    pub roles: Option<Vec<Role>>,
    /// Kinds of credential; absent: session, API key and own token.
    pub credentials: Option<Vec<CredentialKind>>,
    /// Only multi-factor sign-ins. Met by sessions only.
    pub mfa: bool,
    /// The longest time since the sign-in. Met by sessions only.
    pub max_auth_age: Option<Duration>,
    /// Networks of the client.
    pub networks: Option<Vec<IpNet>>,
    /// Scopes of a key.
    pub scopes: Option<Vec<Arc<str>>>,
    /// Claims of a foreign JWT: each name must have one of its values.
    pub claims: Option<Vec<(Arc<str>, Vec<Arc<str>>)>>,
}

/// One `[[route.rule]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Shown in logs, metrics and `explain`: the rule's number on its route, from 1.
    pub number: usize,
    /// Any of these; empty means every path of the route.
    pub paths: Vec<PathPattern>,
    /// Any of these, GET includes HEAD; empty means every method.
    pub methods: Vec<Arc<str>>,
    /// Who may pass.
    pub access: Access,
}

/// What was decided and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// The answer.
    pub verdict: Verdict,
    /// The number of the rule that matched; `None`: the route's own `access`.
    pub rule: Option<usize>,
}

/// Decides about a request to a route.
///
/// `identity` is what the request's credential proved. A credential of ours that does not
/// hold never comes here: the pipeline answers 401 before. A step of reasoning is written
/// to `trace` where one is given.
pub fn decide(
    route: &Route,
    facts: &Facts<'_>,
    identity: Option<&Identity>,
    now: UnixMillis,
    trace: Option<&mut Trace>,
) -> Decision {
    let _ = (route, facts, identity, now, trace);
    todo!("core helper")
}
