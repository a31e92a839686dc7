//! The access language and the decision (CONTRACT section 3, "Access"). Pure and total;
//! the default is deny.
//!
//! It knows nothing of status codes and redirects: doors render a [`Verdict`]. Nothing on
//! the way to an allow allocates; sentences are made only where a [`Trace`] asks for them.

mod browser;
mod table;

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::account::{Role, Status};
use crate::credential::CredentialKind;
use crate::facts::Facts;
use crate::group::Group;
use crate::identity::Identity;
use crate::pattern::PathPattern;
use crate::route::Route;
use crate::time::UnixMillis;
use crate::verdict::{Code, Reason, Trace, Verdict};

use self::table::Outcome;

/// Who may pass: the resolved form of every spelling of `access`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Any one of these tables must hold.
    AnyOf(Vec<AccessTable>),
    /// Nobody.
    Deny,
}

/// A claim's name, and the values of which it must have one.
pub type ClaimCriterion = (Arc<str>, Vec<Arc<str>>);

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
    pub claims: Option<Vec<ClaimCriterion>>,
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
///
/// In order: the first rule that matches path and method (else the route's own access);
/// `deny`; a preflight that may pass; mode none; then the tables. See `tests/verdicts/`
/// for the language by examples.
pub fn decide(
    route: &Route,
    facts: &Facts<'_>,
    identity: Option<&Identity>,
    now: UnixMillis,
    trace: Option<&mut Trace>,
) -> Decision {
    let mut case = Case { route, facts, identity, now, trace };
    case.say(|| format!("The route is `{}` ({}).", route.name, route.origin));
    if let Some(decision) = case.preflight() {
        return decision;
    }
    let (rule, access) = match case.matching_rule(facts.method) {
        Matching::Rule(rule) => (Some(rule.number), &rule.access),
        Matching::None => (None, &route.access),
        Matching::OnlyByCase(rule) => (Some(rule.number), &Access::Deny),
    };
    let verdict = case.judge(access);
    case.say(|| format!("The verdict is {} ({}).", verdict.as_str(), verdict.reason()));
    Decision { verdict, rule }
}

impl Access {
    /// Whether somebody may pass without an account, from some network at least.
    pub fn is_public(&self) -> bool {
        match self {
            Self::AnyOf(tables) => tables.iter().any(AccessTable::is_public),
            Self::Deny => false,
        }
    }
}

impl Rule {
    /// Whether the rule has a say about this path.
    pub fn takes_path(&self, path: &crate::path::NormalPath, ignore_case: bool) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(path, ignore_case))
    }

    /// Whether the rule has a say about this method. GET includes HEAD; case counts
    /// (RFC 9110, 9.1).
    pub fn takes_method(&self, method: &str) -> bool {
        let asked = |own: &Arc<str>| **own == *method || (&**own == "GET" && method == "HEAD");
        self.methods.is_empty() || self.methods.iter().any(asked)
    }

    /// `get` where the rule says GET: an app may well take it for GET, so it must not slip
    /// past this rule to a laxer one.
    fn takes_method_but_for_case(&self, method: &str) -> bool {
        let folded = |own: &Arc<str>| {
            own.eq_ignore_ascii_case(method)
                || (&**own == "GET" && method.eq_ignore_ascii_case("HEAD"))
        };
        self.methods.iter().any(folded)
    }
}

/// A request on the way to its decision.
struct Case<'a> {
    route: &'a Route,
    facts: &'a Facts<'a>,
    identity: Option<&'a Identity>,
    now: UnixMillis,
    trace: Option<&'a mut Trace>,
}

/// Which rule has a say.
enum Matching<'a> {
    /// None: the route's own access holds.
    None,
    /// One whose method differs from the request's in case only: nobody passes.
    OnlyByCase(&'a Rule),
    /// This one.
    Rule(&'a Rule),
}

impl<'a> Case<'a> {
    fn say(&mut self, sentence: impl FnOnce() -> String) {
        if let Some(trace) = self.trace.as_deref_mut() {
            trace.push(sentence());
        }
    }

    fn matching_rule(&mut self, method: &str) -> Matching<'a> {
        let (route, facts) = (self.route, self.facts);
        for rule in &route.rules {
            let number = rule.number;
            if !rule.takes_path(facts.path, route.ignore_case) {
                self.say(|| format!("Rule {number} does not match the path {}.", facts.path));
                continue;
            }
            if rule.takes_method(method) {
                self.say(|| format!("Rule {number} matches {method} {}.", facts.path));
                return Matching::Rule(rule);
            }
            if rule.takes_method_but_for_case(method) {
                self.say(|| {
                    format!("Rule {number} matches but for the case of {method}: methods are case-sensitive, and nobody passes by another spelling.")
                });
                return Matching::OnlyByCase(rule);
            }
            self.say(|| {
                format!("Rule {number} matches the path {}, but not {method}.", facts.path)
            });
        }
        self.say(|| "No rule matches: the route's own access holds.".to_owned());
        Matching::None
    }

    /// A preflight carries no credential by design (Fetch, "CORS-preflight fetch"): it passes
    /// where the route says so, or where anybody may send the request it asks about. Never
    /// where that request is denied to everybody.
    fn preflight(&mut self) -> Option<Decision> {
        if !self.facts.preflight || self.facts.method != "OPTIONS" {
            return None;
        }
        let method = self.facts.preflight_method?;
        self.say(|| format!("It is a preflight that asks about {method}."));
        let (rule, access) = match self.matching_rule(method) {
            Matching::Rule(rule) => (Some(rule.number), &rule.access),
            Matching::None => (None, &self.route.access),
            Matching::OnlyByCase(_) => return None,
        };
        let Access::AnyOf(tables) = access else { return None };
        let public = tables.iter().any(|t| t.is_public() && t.takes_network(self.facts.network_ip));
        if public {
            self.say(|| "Anybody may send that, so the preflight passes.".to_owned());
        } else if self.route.cors_preflight {
            self.say(|| "The route lets preflights pass (`cors_preflight`).".to_owned());
        } else {
            self.say(|| "That asks for somebody signed in, and the route does not let preflights pass (`cors_preflight`).".to_owned());
            return None;
        }
        Some(Decision { verdict: Verdict::Allow(Reason::Preflight), rule })
    }

    fn judge(&mut self, access: &Access) -> Verdict {
        let tables = match access {
            Access::AnyOf(tables) if !tables.is_empty() => tables.as_slice(),
            Access::AnyOf(_) | Access::Deny => {
                self.say(|| "Access is `deny`: for everybody, signed in or not.".to_owned());
                return deny(Reason::DenyRule);
            }
        };
        match self.identity {
            Some(identity) if identity.credential == CredentialKind::None => {
                self.say(|| "Nothing is checked (`auth.mode = \"none\"` or a bypass).".to_owned());
                Verdict::Allow(Reason::AuthOff)
            }
            Some(identity) => self.judge_identity(tables, identity),
            None => self.judge_nobody(tables),
        }
    }

    /// The public table whose networks hold, if there is one.
    fn is_open(&mut self, tables: &[AccessTable]) -> bool {
        let ip = self.facts.network_ip;
        let open = tables.iter().any(|table| table.is_public() && table.takes_network(ip));
        if open {
            self.say(|| format!("Access is public (for the client's network {ip})."));
        }
        open
    }

    fn judge_nobody(&mut self, tables: &[AccessTable]) -> Verdict {
        self.say(|| "Nobody is signed in.".to_owned());
        if self.is_open(tables) {
            return Verdict::Allow(Reason::Public);
        }
        let ip = self.facts.network_ip;
        let mut could = false;
        let mut session_could = false;
        for table in tables.iter().filter(|table| !table.is_public() && table.takes_network(ip)) {
            could = true;
            session_could |= table.takes_credential(&CredentialKind::Session);
        }
        if !could {
            self.say(|| format!("No access table takes the client's network {ip}, whoever asks."));
            return deny(Reason::Network);
        }
        if session_could {
            self.say(|| "Signing in could help.".to_owned());
        } else {
            self.say(|| "No session would do: the rule takes other credentials only.".to_owned());
        }
        Verdict::Challenge { reason: Reason::NotSignedIn, can_sign_in: session_could }
    }

    fn judge_identity(&mut self, tables: &[AccessTable], identity: &Identity) -> Verdict {
        self.say(|| {
            format!(
                "`{}` asks, proved by the credential {}.",
                identity.username, identity.credential
            )
        });
        let verdict = if self.is_open(tables) {
            Verdict::Allow(Reason::Public)
        } else {
            self.judge_account(tables, identity)
        };
        let fits = matches!(verdict, Verdict::Allow(_) | Verdict::StepUp { .. });
        match browser::refusal(self.route, self.facts, identity) {
            Some((reason, code)) if fits => {
                self.say(|| {
                    format!("The cookie may have been sent by another site's doing ({reason}), so it does not count as the person's will.")
                });
                Verdict::Deny { reason, code }
            }
            _ => verdict,
        }
    }

    fn judge_account(&mut self, tables: &[AccessTable], identity: &Identity) -> Verdict {
        let best = match self.best_outcome(tables, identity) {
            Some(Outcome::OtherCredential) => return deny(Reason::CredentialKind),
            Some(outcome) => outcome,
            None => return deny(Reason::Network),
        };
        let account = match identity.status {
            Status::Active => None,
            Status::Disabled => Some((Reason::AccountDisabled, Code::AccountDisabled)),
            Status::Pending => Some((Reason::AccountPending, Code::AccountPending)),
            Status::Rejected => Some((Reason::AccountRejected, Code::AccountRejected)),
        };
        if let Some((reason, code)) = account {
            self.say(|| format!("The account is {}.", identity.status));
            return Verdict::Deny { reason, code };
        }
        if identity.must_change_password {
            self.say(|| "The password must be changed first.".to_owned());
            let (reason, code) = (Reason::PasswordChange, Code::PasswordChangeRequired);
            return Verdict::Deny { reason, code };
        }
        match best {
            Outcome::Holds => Verdict::Allow(Reason::Granted),
            Outcome::Weak(weakness) => {
                Verdict::StepUp { reason: weakness.reason(), step: weakness.step() }
            }
            Outcome::OtherPerson => deny(Reason::NotAllowed),
            Outcome::OutOfScope => deny(Reason::Scope),
            Outcome::OtherNetwork => deny(Reason::Network),
            Outcome::OtherCredential => deny(Reason::CredentialKind),
        }
    }

    /// The outcome of the table that the identity comes furthest in; `None` where all tables
    /// are public ones of other networks, which no credential opens.
    fn best_outcome(&mut self, tables: &[AccessTable], identity: &Identity) -> Option<Outcome> {
        let mut best = None;
        for (index, table) in tables.iter().enumerate() {
            if table.is_public() {
                continue;
            }
            let outcome = table.hold(self.route, self.facts, identity, self.now);
            self.say(|| format!("Access table {}: {}.", index + 1, sentence(outcome)));
            best = best.max(Some(outcome));
            if outcome == Outcome::Holds {
                break;
            }
        }
        best
    }
}

const fn deny(reason: Reason) -> Verdict {
    Verdict::Deny { reason, code: Code::Forbidden }
}

const fn sentence(outcome: Outcome) -> &'static str {
    use self::table::Weakness;
    match outcome {
        Outcome::OtherCredential => "it does not take this kind of credential",
        Outcome::OtherNetwork => "it does not take the client's network",
        Outcome::OutOfScope => "the key's scopes do not cover it",
        Outcome::OtherPerson => "a criterion about the person does not hold",
        Outcome::Weak(Weakness::NoSecondFactor) => "all holds but the second factor",
        Outcome::Weak(Weakness::TooOld) => "all holds but the sign-in is too old",
        Outcome::Holds => "every criterion holds",
    }
}
