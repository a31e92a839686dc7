//! What `vestibule check` finds in routes as a whole: what can never match, and what is
//! wider than it looks.
//!
//! Plain data, no sentences about files: `config` knows how to point at a line. A finding is
//! only made where it is certain; the analysis may overlook one, it never invents one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Route, prefix_of};
use crate::host::{Host, HostPattern};
use crate::pattern::PathPattern;
use crate::policy::{Access, Rule};

/// Which route is meant, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRef {
    /// The route's name.
    pub name: Arc<str>,
    /// `file:line`.
    pub origin: Arc<str>,
}

/// Something about the routes that their author should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Two routes claim the same host and prefix. An error: neither has the better right.
    EqualRoutes {
        /// The one that stands first.
        first: RouteRef,
        /// The other.
        second: RouteRef,
        /// The host both name.
        host: HostPattern,
        /// The prefix both have.
        path: Arc<str>,
    },
    /// A rule opens the whole route, or reaches beyond its prefix, although the route's own
    /// access is not public.
    PublicRuleWiderThanRoute {
        /// The route.
        route: RouteRef,
        /// The rule's number.
        rule: usize,
        /// The pattern; `None` where the rule has none and so covers every path.
        pattern: Option<String>,
    },
    /// A route lies below `/.vestibule`, which is never an app's.
    ReservedPrefix {
        /// The route.
        route: RouteRef,
    },
    /// On one host a wildcard's route never answers, because that host has routes of its own.
    ShadowedRoute {
        /// The wildcard's route.
        route: RouteRef,
        /// A route of the exact host.
        by: RouteRef,
        /// The exact host.
        host: Host,
    },
    /// `/x*`, which covers neither `/x/` nor anything below.
    StarInName {
        /// The route.
        route: RouteRef,
        /// The rule's number.
        rule: usize,
        /// As written.
        pattern: String,
        /// What was probably meant.
        meant: String,
    },
    /// Earlier rules match everything that this rule could.
    UnreachableRule {
        /// The route.
        route: RouteRef,
        /// The rule's number.
        rule: usize,
        /// The numbers of the rules that cover it.
        by: Vec<usize>,
    },
    /// None of the rule's patterns lies within the route's prefix. Rules see the whole path.
    RuleOutsideRoute {
        /// The route.
        route: RouteRef,
        /// The rule's number.
        rule: usize,
        /// The route's prefix.
        path: Arc<str>,
    },
}

impl Finding {
    /// Whether the configuration must be refused.
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::EqualRoutes { .. })
    }
}

/// Everything there is to say about the routes, in the order of the file within each kind.
pub fn analyse(routes: &[Arc<Route>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let owners = equal_routes(routes, &mut findings);
    shadowed_routes(routes, &owners, &mut findings);
    for route in routes {
        reserved_prefix(route, &mut findings);
        for (index, rule) in route.rules.iter().enumerate() {
            let (before, _) = route.rules.split_at(index);
            rule_findings(route, rule, before, &mut findings);
        }
    }
    findings
}

impl RouteRef {
    fn of(route: &Route) -> Self {
        Self { name: route.name.clone(), origin: route.origin.clone() }
    }
}

/// The routes of each host by prefix.
#[derive(Default)]
struct Owners<'a> {
    exact: HashMap<&'a str, HashMap<&'a str, &'a Route>>,
    wildcard: HashMap<&'a str, HashMap<&'a str, &'a Route>>,
}

fn equal_routes<'a>(routes: &'a [Arc<Route>], findings: &mut Vec<Finding>) -> Owners<'a> {
    let mut owners = Owners::default();
    for route in routes {
        for pattern in &route.hosts {
            let map = if pattern.wildcard { &mut owners.wildcard } else { &mut owners.exact };
            let first = *map
                .entry(pattern.host.as_str())
                .or_default()
                .entry(prefix_of(route))
                .or_insert(route.as_ref());
            if !std::ptr::eq(first, route.as_ref()) {
                findings.push(Finding::EqualRoutes {
                    first: RouteRef::of(first),
                    second: RouteRef::of(route),
                    host: pattern.clone(),
                    path: route.path.clone(),
                });
            }
        }
    }
    owners
}

/// A catch-all (`*.example.com` with `/`) is meant to be overruled by single hosts. A
/// wildcard's route for a certain prefix is not: its author expects it everywhere.
fn shadowed_routes(routes: &[Arc<Route>], owners: &Owners<'_>, findings: &mut Vec<Finding>) {
    let mut reported: HashSet<(*const Route, &Host)> = HashSet::new();
    for exact in routes {
        for host in
            exact.hosts.iter().filter(|pattern| !pattern.wildcard).map(|pattern| &pattern.host)
        {
            let (Some(own), Some(wild)) = (
                owners.exact.get(host.as_str()),
                host.parent().and_then(|parent| owners.wildcard.get(parent)),
            ) else {
                continue;
            };
            let mut hidden: Vec<_> = wild
                .iter()
                .filter(|(prefix, _)| !prefix.is_empty() && !own.contains_key(*prefix))
                .map(|(_, route)| *route)
                .collect();
            hidden.sort_by_key(|route| &route.path);
            for route in hidden {
                if !reported.insert((std::ptr::from_ref(route), host)) {
                    continue;
                }
                findings.push(Finding::ShadowedRoute {
                    route: RouteRef::of(route),
                    by: RouteRef::of(exact),
                    host: host.clone(),
                });
            }
        }
    }
}

fn reserved_prefix(route: &Route, findings: &mut Vec<Finding>) {
    let reserved = route.path.strip_prefix("/.vestibule");
    if reserved.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        findings.push(Finding::ReservedPrefix { route: RouteRef::of(route) });
    }
}

fn rule_findings(route: &Route, rule: &Rule, before: &[Rule], findings: &mut Vec<Finding>) {
    let fold = route.ignore_case;
    for pattern in &rule.paths {
        if let Some(meant) = pattern.did_you_mean() {
            findings.push(Finding::StarInName {
                route: RouteRef::of(route),
                rule: rule.number,
                pattern: pattern.as_str().to_owned(),
                meant,
            });
        }
    }
    let inside = |pattern: &PathPattern| pattern.reaches_prefix(&route.path, fold);
    if !rule.paths.is_empty() && !rule.paths.iter().any(inside) {
        findings.push(Finding::RuleOutsideRoute {
            route: RouteRef::of(route),
            rule: rule.number,
            path: route.path.clone(),
        });
        return;
    }
    if let Some(by) = covering_rules(route, rule, before) {
        findings.push(Finding::UnreachableRule {
            route: RouteRef::of(route),
            rule: rule.number,
            by,
        });
        return;
    }
    if let Some(pattern) = wide_public_pattern(route, rule) {
        findings.push(Finding::PublicRuleWiderThanRoute {
            route: RouteRef::of(route),
            rule: rule.number,
            pattern: pattern.map(|pattern| pattern.as_str().to_owned()),
        });
    }
}

/// The earlier rules that together take everything this rule could; `None` if some path
/// and method may be left for it.
fn covering_rules(route: &Route, rule: &Rule, before: &[Rule]) -> Option<Vec<usize>> {
    let mut by = Vec::new();
    let patterns: Vec<Option<&PathPattern>> = if rule.paths.is_empty() {
        vec![None]
    } else {
        rule.paths
            .iter()
            .filter(|p| p.reaches_prefix(&route.path, route.ignore_case))
            .map(Some)
            .collect()
    };
    let methods: Vec<Option<&str>> = if rule.methods.is_empty() {
        vec![None]
    } else {
        rule.methods.iter().map(|method| Some(&**method)).collect()
    };
    for pattern in patterns {
        for method in &methods {
            let covering = before.iter().find(|earlier| {
                takes_all(route, earlier, pattern) && takes_methods(earlier, *method)
            })?;
            by.push(covering.number);
        }
    }
    by.sort_unstable();
    by.dedup();
    Some(by)
}

/// Whether the rule matches every path of the pattern (of the whole route for `None`).
fn takes_all(route: &Route, rule: &Rule, pattern: Option<&PathPattern>) -> bool {
    let fold = route.ignore_case;
    rule.paths.is_empty()
        || rule.paths.iter().any(|own| {
            own.covers_prefix(&route.path, fold)
                || pattern.is_some_and(|other| own.covers(other, fold))
        })
}

fn takes_methods(rule: &Rule, method: Option<&str>) -> bool {
    rule.methods.is_empty() || method.is_some_and(|method| rule.takes_method(method))
}

/// The pattern by which a public rule opens more than its route's author may think; inside,
/// `None` for a rule without patterns.
fn wide_public_pattern<'a>(route: &Route, rule: &'a Rule) -> Option<Option<&'a PathPattern>> {
    if !rule.access.is_public() || route.access.is_public() {
        return None;
    }
    let fold = route.ignore_case;
    if rule.paths.is_empty() {
        return rule.methods.is_empty().then_some(None);
    }
    let whole = |pattern: &&PathPattern| {
        let beyond = !prefix_of(route).is_empty() && pattern.covers_prefix("/", fold);
        pattern.covers_prefix(&route.path, fold) && (rule.methods.is_empty() || beyond)
    };
    rule.paths.iter().find(whole).map(Some)
}

/// Whether the route is public throughout: its own access and every rule.
pub fn is_public_throughout(route: &Route) -> bool {
    let public = |access: &Access| access.is_public();
    public(&route.access) && route.rules.iter().all(|rule| public(&rule.access))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::AccessTable;
    use crate::route::tests::route;

    fn signed_in() -> Access {
        Access::AnyOf(vec![AccessTable::default()])
    }

    fn public() -> Access {
        Access::AnyOf(vec![AccessTable { public: true, ..AccessTable::default() }])
    }

    fn rule(number: usize, paths: &[&str], methods: &[&str], access: Access) -> Rule {
        Rule {
            number,
            paths: paths.iter().map(|path| PathPattern::parse(path).unwrap()).collect(),
            methods: methods.iter().map(|method| Arc::from(*method)).collect(),
            access,
        }
    }

    fn findings_of(path: &str, rules: Vec<Rule>) -> Vec<Finding> {
        let mut route = route("app", &["a.example"], path);
        route.rules = rules;
        analyse(&[Arc::new(route)])
    }

    fn app() -> RouteRef {
        RouteRef { name: "app".into(), origin: "test.toml:1".into() }
    }

    #[test]
    fn equal_host_and_prefix_is_an_error() {
        let routes = [
            Arc::new(route("a", &["x.example", "y.example"], "/p")),
            Arc::new(route("b", &["Y.example:8443"], "/p")),
            Arc::new(route("c", &["*.example"], "/p")),
            Arc::new(route("d", &["y.example"], "/")),
        ];
        let findings = analyse(&routes);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings.iter().all(Finding::is_error));
        let Finding::EqualRoutes { first, second, host, path } = &findings[0] else { panic!() };
        assert_eq!((&*first.name, &*second.name, &**path), ("a", "b", "/p"));
        assert_eq!(host.host.as_str(), "y.example");
    }

    #[test]
    fn a_route_that_names_a_host_twice_is_no_rival_of_its_own() {
        assert_eq!(analyse(&[Arc::new(route("a", &["x.example", "x.example:8443"], "/"))]), vec![]);
    }

    #[test]
    fn a_wildcards_prefix_is_shadowed_on_a_host_of_its_own() {
        let catch_all = Arc::new(route("all", &["*.example.com"], "/"));
        let admin = Arc::new(route("admin", &["*.example.com"], "/admin"));
        let img = Arc::new(route("img", &["img.example.com"], "/"));
        let findings = analyse(&[catch_all.clone(), admin.clone(), img.clone()]);
        assert_eq!(
            findings,
            vec![Finding::ShadowedRoute {
                route: RouteRef::of(&admin),
                by: RouteRef::of(&img),
                host: Host::parse("img.example.com").unwrap(),
            }]
        );
        assert!(!findings[0].is_error());
        let own_admin = Arc::new(route("img-admin", &["img.example.com"], "/admin"));
        assert_eq!(analyse(&[catch_all, admin, img, own_admin]), vec![]);
    }

    #[test]
    fn a_rule_behind_wider_rules_can_never_match() {
        let unreachable = |rules| {
            findings_of("/", rules)
                .into_iter()
                .filter_map(|finding| match finding {
                    Finding::UnreachableRule { rule, by, .. } => Some((rule, by)),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        let deny = || Access::Deny;
        assert_eq!(
            unreachable(vec![
                rule(1, &["/a/*"], &[], signed_in()),
                rule(2, &["/a/b", "/a/c/*"], &["GET"], deny())
            ]),
            [(2, vec![1])]
        );
        assert_eq!(
            unreachable(vec![
                rule(1, &["/a"], &["GET"], signed_in()),
                rule(2, &["/a/*"], &["POST"], signed_in()),
                rule(3, &["/a"], &["HEAD", "POST"], deny()),
            ]),
            [(3, vec![1, 2])]
        );
        assert_eq!(
            unreachable(vec![rule(1, &[], &[], signed_in()), rule(2, &[], &[], deny())]),
            [(2, vec![1])]
        );
        assert_eq!(
            unreachable(vec![rule(1, &["/*"], &[], signed_in()), rule(2, &[], &["PUT"], deny())]),
            [(2, vec![1])]
        );
        for reachable in [
            vec![rule(1, &["/a/*"], &["GET"], signed_in()), rule(2, &["/a/*"], &[], deny())],
            vec![rule(1, &["/a/b"], &[], signed_in()), rule(2, &["/a/*"], &[], deny())],
            vec![rule(1, &["/a/*"], &["HEAD"], signed_in()), rule(2, &["/a/*"], &["GET"], deny())],
            vec![rule(1, &["/a"], &[], signed_in()), rule(2, &["/a", "/b"], &[], deny())],
        ] {
            assert_eq!(unreachable(reachable), []);
        }
    }

    #[test]
    fn a_rule_outside_the_prefix_is_told_that_rules_see_the_whole_path() {
        let findings = findings_of("/app", vec![rule(1, &["/admin/*"], &[], Access::Deny)]);
        assert_eq!(
            findings,
            vec![Finding::RuleOutsideRoute { route: app(), rule: 1, path: "/app".into() }]
        );
        assert_eq!(
            findings_of("/app", vec![rule(1, &["/app/admin/*", "/x"], &[], Access::Deny)]),
            vec![]
        );
    }

    #[test]
    fn a_public_rule_that_opens_the_whole_route_is_pointed_out() {
        let wide = |path, paths: &[&str], methods: &[&str]| {
            findings_of(path, vec![rule(1, paths, methods, public())])
        };
        let finding = |pattern: Option<&str>| Finding::PublicRuleWiderThanRoute {
            route: app(),
            rule: 1,
            pattern: pattern.map(str::to_owned),
        };
        assert_eq!(wide("/", &["/*"], &[]), vec![finding(Some("/*"))]);
        assert_eq!(wide("/app", &["/x", "/*"], &["GET"]), vec![finding(Some("/*"))]);
        assert_eq!(wide("/app", &["/app/*"], &[]), vec![finding(Some("/app/*"))]);
        assert_eq!(wide("/", &[], &[]), vec![finding(None)]);
        assert_eq!(wide("/", &["/*"], &["GET"]), vec![]);
        assert_eq!(wide("/", &["/t/*"], &[]), vec![]);
        assert_eq!(wide("/app", &["/app/t/*"], &[]), vec![]);
    }

    #[test]
    fn stars_in_names_and_reserved_prefixes_are_pointed_out() {
        assert_eq!(
            findings_of("/", vec![rule(1, &["/storage*"], &[], Access::Deny)]),
            vec![Finding::StarInName {
                route: app(),
                rule: 1,
                pattern: "/storage*".to_owned(),
                meant: "/storage/*".to_owned(),
            }]
        );
        assert_eq!(
            findings_of("/.vestibule/x", vec![]),
            vec![Finding::ReservedPrefix { route: app() }]
        );
        assert_eq!(findings_of("/.vestibulex", vec![]), vec![]);
    }

    #[test]
    fn a_route_is_public_throughout_when_no_rule_asks_for_anything() {
        let mut open = route("app", &["a.example"], "/");
        open.access = public();
        open.rules = vec![rule(1, &["/a"], &[], public())];
        assert!(is_public_throughout(&open));
        open.rules.push(rule(2, &["/b"], &[], signed_in()));
        assert!(!is_public_throughout(&open));
    }
}
