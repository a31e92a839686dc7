//! What `vestibule check` says about a configuration that holds, but perhaps not what its author means.

use vestibule_core::policy::Access;
use vestibule_core::route::overlap::{self, Finding, RouteRef};
use vestibule_core::settings::Settings;
use vestibule_core::settings::listener::ListenerDoor;
use vestibule_core::settings::server::TrustedProxies;

use super::route::Resolved;
use super::{Context, provider};
use crate::diagnostic::Diagnostic;
use crate::tree::{Origin, Table};

pub(crate) fn report(
    settings: &Settings,
    routes: &[Resolved],
    certified: &[String],
    root: &Table,
    cx: &mut Context<'_>,
) {
    // Beside errors, what a route seems to lack may only have been refused.
    let is_whole = !cx.problems.has_errors();
    let routes_are_whole = !cx
        .broken
        .iter()
        .any(|p| ["route[", "defaults", "template"].iter().any(|s| p.starts_with(s)));
    for finding in overlap::analyse(&settings.routes) {
        if is_whole || (finding.is_error() && routes_are_whole) {
            cx.problems.add(sentence(&finding, routes));
        }
    }
    if !is_whole {
        return;
    }
    let has_hook = settings.listeners.iter().any(|l| l.door == ListenerDoor::ForwardAuth)
        || matches!(settings.server.trusted_proxies, TrustedProxies::List(_));
    for resolved in routes {
        let route = &resolved.route;
        if route.upstreams.is_empty() && !has_hook {
            cx.warning(
                "route-without-upstream",
                format!(
                    "route `{}` has no `upstream`, and no listener has `door = \"forward-auth\"`",
                    route.name
                ),
                &resolved.origin,
                "add `upstream = \"http://host:port\"`, or a forward-auth listener",
            );
        }
        if !settings.auth.is_off()
            && route.hosts.iter().any(|h| !h.wildcard && h.host == settings.server.portal.host)
        {
            cx.warning(
                "shared-origin",
                format!("route `{}` has the portal's host: scripts of that app act as the signed-in person on the portal", route.name),
                &resolved.origin,
                "give the portal a host of its own where the app shows what strangers wrote",
            );
        }
        networks(settings, resolved, cx);
    }
    certificates(settings, routes, certified, root, cx);
    provider::warn(settings, root, cx);
}

fn sentence(finding: &Finding, routes: &[Resolved]) -> Diagnostic {
    let place = |at: &RouteRef| routes.iter().find(|r| r.route.origin == at.origin);
    let route_at = |at: &RouteRef| place(at).map_or(Origin::Default, |r| r.origin.clone());
    let rule_at = |at: &RouteRef, rule: usize| {
        place(at)
            .and_then(|r| r.rules.get(rule.saturating_sub(1)))
            .cloned()
            .unwrap_or(Origin::Default)
    };
    match finding {
        Finding::EqualRoutes { first, second, host, path } => {
            let host =
                if host.wildcard { format!("*.{}", host.host) } else { host.host.to_string() };
            Diagnostic::error(
                "equal-routes",
                format!("routes `{}` and `{}` both claim `{host}{path}`", first.name, second.name),
            )
            .at(&route_at(second))
            .help(format!(
                "the first one stands at {}: give one of them another `host` or `path`",
                first.origin
            ))
        }
        Finding::PublicRuleWiderThanRoute { route, rule, pattern } => {
            let what = pattern
                .as_ref()
                .map_or_else(|| "has no `path`".to_owned(), |p| format!("is for `{p}`"));
            Diagnostic::warning(
                "wide-public-rule",
                format!(
                    "public rule {rule} of route `{}` {what}: it opens more than it says",
                    route.name
                ),
            )
            .at(&rule_at(route, *rule))
            .help("name the paths that are public, or write `access = \"public\"` on the route")
        }
        Finding::ReservedPrefix { route } => Diagnostic::warning(
            "reserved-prefix",
            format!("route `{}` lies below `/.vestibule`, which no app ever sees", route.name),
        )
        .at(&route_at(route))
        .help("give it another `path`"),
        Finding::ShadowedRoute { route, by, host } => Diagnostic::warning(
            "shadowed-route",
            format!("route `{}` never answers for `{host}`: `{}` does", route.name, by.name),
        )
        .at(&route_at(route))
        .help(format!("an exact host goes before `*.`: `{}` stands at {}", by.name, by.origin)),
        Finding::StarInName { route, rule, pattern, meant } => Diagnostic::warning(
            "star-in-name",
            format!(
                "`{pattern}` covers neither `{}` nor anything below",
                meant.trim_end_matches('*')
            ),
        )
        .at(&rule_at(route, *rule))
        .help(format!("did you mean `{meant}`?")),
        Finding::UnreachableRule { route, rule, by } => {
            let by: Vec<String> = by.iter().map(ToString::to_string).collect();
            Diagnostic::warning(
                "unreachable-rule",
                format!("rule {rule} of route `{}` can never match", route.name),
            )
            .at(&rule_at(route, *rule))
            .help(format!(
                "the first match wins, and everything it could match is matched before by rule {}",
                by.join(" and ")
            ))
        }
        Finding::RuleOutsideRoute { route, rule, path } => Diagnostic::warning(
            "rule-outside-route",
            format!(
                "rule {rule} of route `{}` is for paths that do not begin with `{path}`",
                route.name
            ),
        )
        .at(&rule_at(route, *rule))
        .help(format!("rules see the whole path: write `{}/…`", path.trim_end_matches('/'))),
    }
}

/// `networks` where the client's address is anybody's word.
fn networks(settings: &Settings, resolved: &Resolved, cx: &mut Context<'_>) {
    let names_networks = |access: &Access| match access {
        Access::AnyOf(tables) => tables.iter().any(|t| t.networks.is_some()),
        Access::Deny => false,
    };
    let route = &resolved.route;
    if !names_networks(&route.access) && !route.rules.iter().any(|r| names_networks(&r.access)) {
        return;
    }
    let why = match settings.server.trusted_proxies {
        TrustedProxies::All => "`trusted_proxies = true`",
        TrustedProxies::Hops(_) => "a hop count in `trusted_proxies`",
        TrustedProxies::List(_) | TrustedProxies::Nobody => return,
    };
    cx.warning(
        "unbelievable-networks",
        format!("route `{}` asks for `networks`, but with {why} the address is that of the nearest proxy", route.name),
        &resolved.origin,
        "write `trusted_proxies` as a list of addresses",
    );
}

fn certificates(
    settings: &Settings,
    routes: &[Resolved],
    certified: &[String],
    root: &Table,
    cx: &mut Context<'_>,
) {
    if certified.is_empty()
        || !settings.listeners.iter().any(|l| l.tls && l.door == ListenerDoor::Proxy)
    {
        return;
    }
    let covers = |host: &str, wildcard: bool| {
        certified.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) if wildcard => parent == host,
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => !wildcard && name == host,
        })
    };
    let missing = |host: &str| {
        format!("no certificate covers `{host}`: browsers would refuse the connection")
    };
    let help = "add a `[[tls.certificate]]` for it";
    let portal = &settings.server.portal.host;
    if !covers(portal.as_str(), false) {
        cx.warning(
            "host-without-certificate",
            missing(portal.as_str()),
            &root.origin("server.portal_url"),
            help,
        );
    }
    for resolved in routes {
        for host in resolved.route.hosts.iter().filter(|h| !covers(h.host.as_str(), h.wildcard)) {
            if host.host == *portal && !host.wildcard {
                continue;
            }
            let name =
                if host.wildcard { format!("*.{}", host.host) } else { host.host.to_string() };
            cx.warning("host-without-certificate", missing(&name), &resolved.origin, help);
        }
    }
}
