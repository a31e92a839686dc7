//! `[[route]]`: defaults, templates, rules.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use vestibule_core::assertion::Preset;
use vestibule_core::host::HostPattern;
use vestibule_core::path::{NormalPath, PathAllowances};
use vestibule_core::pattern::PathPattern;
use vestibule_core::policy::{Access, Rule};
use vestibule_core::route::{HeaderEdits, ProviderToken, Route, UpstreamTls};
use vestibule_core::settings::listener::Listener;
use vestibule_core::settings::server::Server;
use vestibule_core::settings::telemetry::Telemetry;

use super::access::{self, Policies};
use super::{Context, later, upstream};
use crate::diagnostic::Diagnostic;
use crate::form;
use crate::keys::route::{IDENTITY_HEADERS, ROUTE};
use crate::keys::suggest::closest;
use crate::tree::{Node, Origin, Table, Value};

/// A route, and where its parts stand.
pub(crate) struct Resolved {
    pub(crate) route: Arc<Route>,
    pub(crate) origin: Origin,
    /// Of each rule.
    pub(crate) rules: Vec<Origin>,
}

/// Lays every route over its template and the defaults, and the defaults of the registry below.
pub(crate) fn lay_out(root: &mut Table, cx: &mut Context<'_>) {
    let defaults = root.at("defaults.route").and_then(Node::as_table).cloned().unwrap_or_default();
    let templates = root.table("template").cloned().unwrap_or_default();
    let mut identity = root.table("identity_headers").cloned().unwrap_or_default();
    super::fill(&mut identity, IDENTITY_HEADERS);
    // The bottom of every route, made once: there may be thousands.
    let mut bottom = Table::default();
    super::fill(&mut bottom, ROUTE);
    bottom.set("identity_headers", Node::new(Value::Table(identity), Origin::Default));
    bottom.lay_over(defaults.clone());
    let Some(Value::List(items)) = root.get_mut("route").map(|n| &mut n.value) else { return };
    for item in items {
        let Value::Table(route) = &mut item.value else { continue };
        let name = match route.str("template") {
            "" => defaults.str("template"),
            name => name,
        };
        let mut base = bottom.clone();
        if !name.is_empty() {
            match templates.get(name).and_then(Node::as_table) {
                Some(template) => base.lay_over(template.clone()),
                None => {
                    let near = closest(name, templates.entries.iter().map(|e| e.key.as_str()));
                    let help = near.map_or_else(
                        || format!("add `[template.{name}]`"),
                        |near| format!("did you mean `{near}`?"),
                    );
                    let problem = Diagnostic::error(
                        "unknown-template",
                        format!("there is no template `{name}`"),
                    );
                    cx.problems.add(problem.at(&route.origin("template")).help(help));
                }
            }
        }
        base.lay_over(std::mem::take(route));
        *route = base;
    }
}

pub(crate) fn resolve(
    root: &mut Table,
    server: &Server,
    listeners: &[Listener],
    telemetry: &Telemetry,
    cx: &mut Context<'_>,
) -> Vec<Resolved> {
    let policies = access::policies(root, cx);
    check_templates(root, &policies, cx);
    let mut resolved: Vec<Resolved> = Vec::new();
    let mut named: HashMap<Arc<str>, Origin> = HashMap::new();
    for (node, table) in root.tables("route") {
        let Some(one) = one(node, table, server, &policies, cx) else { continue };
        let name = Arc::clone(&one.route.name);
        if let Some(first) = named.insert(Arc::clone(&name), node.origin.clone()) {
            let help = format!("the first one stands at {}: give each its own name", first.label());
            let message = format!("two routes have the name `{name}`");
            cx.error("duplicate-name", message, &table.origin("name"), &help);
        }
        own_ports(&one, listeners, telemetry, table, cx);
        if table.bool("enabled") {
            resolved.push(one);
        }
    }
    resolved
}

/// Access rules of templates that no route uses are read too.
fn check_templates(root: &Table, policies: &Policies, cx: &mut Context<'_>) {
    let used: Vec<&str> = root.tables("route").iter().map(|(_, t)| t.str("template")).collect();
    let templates = root.table("template").map(|t| t.entries.as_slice()).unwrap_or_default();
    for template in templates.iter().filter(|t| !used.contains(&t.key.as_str())) {
        if let Some(access) = template.node.as_table().and_then(|t| t.get("access")) {
            access::resolve(access, policies, cx);
        }
    }
}

fn one(
    node: &Node,
    table: &Table,
    server: &Server,
    policies: &Policies,
    cx: &mut Context<'_>,
) -> Option<Resolved> {
    let hosts: Vec<HostPattern> =
        table.texts("host").into_iter().filter_map(|h| HostPattern::parse(h).ok()).collect();
    if hosts.is_empty() {
        if !cx.broken.iter().any(|p| p.starts_with("route[") && p.ends_with(".host")) {
            let what = match table.str("name") {
                "" => "a route".to_owned(),
                name => format!("route `{name}`"),
            };
            cx.error(
                "missing-key",
                format!("{what} has no `host`"),
                &node.origin,
                "add `host = \"app.example.com\"`",
            );
        }
        return None;
    }
    let path = prefix(table.str("path"));
    let path = if path.is_empty() { "/".to_owned() } else { path };
    let name = match table.str("name") {
        "" => {
            let host = table
                .texts("host")
                .first()
                .copied()
                .unwrap_or_default()
                .replace('*', "any")
                .replace(':', "_");
            if path == "/" { host } else { format!("{host}{path}") }
        }
        name => name.to_owned(),
    };
    let upstreams: Vec<_> =
        table.texts("upstream").into_iter().filter_map(|u| upstream::parse(u).ok()).collect();
    if upstreams.len() > 1 {
        later::refuse(cx, "several upstreams in one route", &table.origin("upstream"));
    }
    let access =
        table.get("access").map_or(Access::Deny, |node| access::resolve(node, policies, cx));
    let (rules, rule_origins) = rules(table, policies, cx);
    let is_portal_host = hosts.iter().any(|h| h.matches(&server.portal.host));
    let portal = portal(table, is_portal_host, cx);
    let shared = |key: &str| table.texts(key).into_iter().map(Arc::from).collect::<Vec<Arc<str>>>();
    let allow = table.texts("allow_in_path");
    let allows = |word: &str| allow.contains(&word);
    let text = |path: &str| Some(table.str(path)).filter(|t| !t.is_empty());
    let ca_file = text("upstream_tls.ca_file").map(PathBuf::from);
    if let Some(file) = &ca_file {
        cx.files.insert(file.clone());
        if let Err(error) = std::fs::metadata(file) {
            let why = crate::source::plain(&error);
            let message = format!("`ca_file` names `{}`: {why}", file.display());
            cx.error(
                "unreadable-file",
                message,
                &table.origin("upstream_tls.ca_file"),
                "name a PEM file",
            );
        }
    }
    let route = Route {
        name: name.into(),
        origin: node.origin.label().into(),
        hosts,
        path: path.into(),
        upstreams,
        access,
        rules,
        ignore_case: table.bool("ignore_case"),
        allow_in_path: PathAllowances {
            double_slash: allows("double-slash"),
            encoded_slash: allows("encoded-slash"),
            semicolon: allows("semicolon"),
        },
        cors_preflight: table.str("cors_preflight") == "pass",
        cors_origins: origins(table, "cors_origins"),
        allowed_origins: origins(table, "allowed_origins"),
        block_unsafe_cross_site: table.str("cross_site") == "block-unsafe",
        portal,
        connect_timeout: table.duration("timeouts.connect"),
        response_timeout: table.duration("timeouts.response"),
        idle_timeout: table.duration("timeouts.idle"),
        max_body: form::size(table.str("max_body")).ok().filter(|&bytes| bytes != 0),
        preserve_host: table.bool("preserve_host"),
        strip_prefix: prefix(table.str("strip_prefix")).into(),
        request_headers: headers(table, "request_headers", cx),
        response_headers: headers(table, "response_headers", cx),
        upstream_tls: UpstreamTls {
            ca_file,
            danger_skip_verify: table.bool("upstream_tls.insecure_skip_verify"),
            server_name: text("upstream_tls.server_name").map(Arc::from),
        },
        preset: match table.str("identity_headers.preset") {
            "none" => Preset::None,
            "x-auth-request" => Preset::XAuthRequest,
            "x-forwarded" => Preset::XForwarded,
            _ => Preset::Remote,
        },
        assertion: table.bool("identity_headers.assertion"),
        told_groups: shared("identity_headers.groups"),
        access_log: table.bool("access_log"),
        pass_bearer: table.bool("pass_bearer"),
        provider_token: match table.str("provider_token") {
            "access" => ProviderToken::Access,
            "id" => ProviderToken::Id,
            _ => ProviderToken::None,
        },
    };
    check_prefix(&route, table, cx);
    Some(Resolved { route: Arc::new(route), origin: node.origin.clone(), rules: rule_origins })
}

fn check_prefix(route: &Route, table: &Table, cx: &mut Context<'_>) {
    let strip = &*route.strip_prefix;
    let within = route
        .path
        .strip_prefix(strip)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || strip.is_empty());
    if !strip.is_empty() && !within {
        let message = format!(
            "`strip_prefix` is `{strip}`, but the route's paths begin with `{}`",
            route.path
        );
        cx.error(
            "bad-strip-prefix",
            message,
            &table.origin("strip_prefix"),
            "strip the route's `path` or a beginning of it",
        );
    }
}

/// A prefix in normal form, without a final `/`.
fn prefix(text: &str) -> String {
    NormalPath::parse(text)
        .map(|(path, _)| path.as_str().trim_end_matches('/').to_owned())
        .unwrap_or_default()
}

/// Origins as browsers send them.
fn origins(table: &Table, key: &str) -> Vec<Arc<str>> {
    let parse = |text: &str| {
        vestibule_core::return_to::Origin::parse(text).map(|o| Arc::from(o.to_string()))
    };
    table.texts(key).into_iter().filter_map(parse).collect()
}

fn rules(table: &Table, policies: &Policies, cx: &mut Context<'_>) -> (Vec<Rule>, Vec<Origin>) {
    let mut rules: Vec<Rule> = Vec::new();
    let mut origins = Vec::new();
    for (index, (node, table)) in table.tables("rule").into_iter().enumerate() {
        for key in ["path", "method"] {
            if table.get(key).is_some_and(|n| n.items().is_empty()) {
                let message = format!("`{key}` is an empty list, which matches nothing");
                cx.error(
                    "empty-list",
                    message,
                    &table.origin(key),
                    &format!("leave `{key}` out to match everything"),
                );
            }
        }
        let rule = Rule {
            number: index + 1,
            paths: table
                .texts("path")
                .into_iter()
                .filter_map(|p| PathPattern::parse(p).ok())
                .collect(),
            methods: table.texts("method").into_iter().map(Arc::from).collect(),
            access: table
                .get("access")
                .map_or(Access::Deny, |node| access::resolve(node, policies, cx)),
        };
        if let Some(first) = rules.iter().find(|r| same(r, &rule)) {
            let message = format!(
                "rule {} asks the same as rule {} of this route",
                rule.number, first.number
            );
            cx.error(
                "duplicate-rule",
                message,
                &node.origin,
                "the first match wins: take one of them out",
            );
        }
        rules.push(rule);
        origins.push(node.origin.clone());
    }
    (rules, origins)
}

/// Whether two rules have the same paths and methods, in any order.
fn same(one: &Rule, other: &Rule) -> bool {
    let paths =
        one.paths.len() == other.paths.len() && one.paths.iter().all(|p| other.paths.contains(p));
    paths
        && one.methods.len() == other.methods.len()
        && one.methods.iter().all(|m| other.methods.contains(m))
}

fn portal(table: &Table, is_portal_host: bool, cx: &mut Context<'_>) -> Vec<PathPattern> {
    let written = table.texts("portal");
    if !is_portal_host {
        if !written.is_empty() {
            let message = "`portal` counts only on the portal's host, which this route is not for";
            cx.warning(
                "portal-elsewhere",
                message,
                &table.origin("portal"),
                "take it out, or let `server.portal_url` name this host",
            );
        }
        return Vec::new();
    }
    let added = crate::profile::portal_paths(cx.profile).iter().copied();
    let mut texts: Vec<&str> = written;
    texts.extend(added.filter(|p| !table.texts("portal").contains(p)));
    texts.into_iter().filter_map(|p| PathPattern::parse(p).ok()).collect()
}

fn headers(table: &Table, key: &str, cx: &mut Context<'_>) -> HeaderEdits {
    let set = table
        .at(&format!("{key}.set"))
        .and_then(Node::as_table)
        .map(|t| t.entries.as_slice())
        .unwrap_or_default();
    let mut edits = HeaderEdits::default();
    for entry in set {
        refuse_header(&entry.key, key, &entry.key_origin, cx);
        edits.set.push((
            entry.key.to_ascii_lowercase(),
            entry.node.as_str().unwrap_or_default().to_owned(),
        ));
    }
    let remove = table.at(&format!("{key}.remove")).map(Node::items).unwrap_or_default();
    for node in remove {
        let name = node.as_str().unwrap_or_default().to_ascii_lowercase();
        refuse_header(&name, key, &node.origin, cx);
        edits.remove.push(name);
    }
    edits
}

/// Headers that carry framing, or that say who somebody is, are ours alone.
fn refuse_header(name: &str, key: &str, origin: &Origin, cx: &mut Context<'_>) {
    if let Err(why) = form::check_header_name(name) {
        return cx.error("bad-value", why, origin, "write a name such as `X-Frame-Options`");
    }
    let lower = name.to_ascii_lowercase();
    let framing = [
        "connection",
        "content-length",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "keep-alive",
    ];
    if framing.contains(&lower.as_str()) || vestibule_core::assertion::is_managed(lower.as_bytes())
    {
        let message =
            format!("`{name}` cannot stand in `{key}`: Vestibule itself decides about it");
        cx.error(
            "reserved-header",
            message,
            origin,
            "use `preserve_host`, `identity_headers`, or another name",
        );
    }
}

/// A route to a port of our own would be a circle, or a way past the door.
fn own_ports(
    one: &Resolved,
    listeners: &[Listener],
    telemetry: &Telemetry,
    table: &Table,
    cx: &mut Context<'_>,
) {
    let ours = listeners.iter().map(|l| l.address).chain(telemetry.listen);
    let ours: Vec<_> = ours.filter(|a| a.port() != 0).collect();
    for upstream in &one.route.upstreams {
        let local =
            vestibule_core::host::Host::parse(&upstream.host).is_ok_and(|h| h.is_loopback());
        let hit = ours.iter().find(|a| {
            let same_address =
                upstream.host.trim_start_matches('[').trim_end_matches(']') == a.ip().to_string();
            a.port() == upstream.port
                && (same_address || (local && (a.ip().is_loopback() || a.ip().is_unspecified())))
        });
        if let Some(address) = hit {
            let message = format!("`upstream` is {address}, where Vestibule itself listens");
            cx.error(
                "route-to-own-port",
                message,
                &table.origin("upstream"),
                "name the port of the app",
            );
        }
    }
}
