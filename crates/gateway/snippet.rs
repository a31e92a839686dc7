//! What nginx, Caddy or Traefik must be told to ask Vestibule: the templates of `deploy/`, filled for
//! the routes of a configuration. Pure text from settings; the peer suite runs what this prints.
//!
//! A front proxy decides by its own reading of host and path which app it forwards to, the hook
//! decides by ours whether it may. So the text chooses by exact host (one label for a wildcard) and
//! by prefix at a segment border, case kept; and on hosts with several prefixes a path with `%2F`,
//! which the two readings part differently, is refused.

use std::fmt::Write as _;

use vestibule_core::assertion::MANAGED;
use vestibule_core::credential::CredentialKind;
use vestibule_core::facts::Scheme;
use vestibule_core::host::HostPattern;
use vestibule_core::policy::Access;
use vestibule_core::route::{Route, Upstream, UpstreamScheme};
use vestibule_core::settings::Settings;
use vestibule_core::settings::listener::{Listener, ListenerDoor};

const NGINX: &str = include_str!("../../deploy/nginx.conf.tmpl");
const CADDY: &str = include_str!("../../deploy/caddy.tmpl");
const TRAEFIK: &str = include_str!("../../deploy/traefik.yml.tmpl");

/// What the client's own copy is replaced by, besides the identity headers.
const CLEANED: &[&str] = &["Cookie", "Authorization", "X-Api-Key"];
/// Where an app listens that the file does not tell.
const SOME_APP: &str = "http://127.0.0.1:3000";

/// Whose configuration is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A Caddyfile.
    Caddy,
    /// What stands within `http { … }`.
    Nginx,
    /// A dynamic file.
    Traefik,
}

/// Where the front proxy reaches Vestibule, as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// The listener that answers the hooks.
    pub(crate) hook: String,
    /// The listener that answers for the portal and `/.vestibule/`.
    pub(crate) door: String,
}

/// An app's host as the outside names it, and its routes, longest prefix first.
struct Site<'a> {
    pattern: &'a HostPattern,
    routes: Vec<&'a Route>,
}

impl Site<'_> {
    /// Whether some rule names `jwt:`, so that Vestibule tells whose tokens are taken.
    fn takes_foreign_tokens(&self) -> bool {
        let accesses = self
            .routes
            .iter()
            .flat_map(|route| route.rules.iter().map(|rule| &rule.access).chain([&route.access]));
        let tables = accesses.flat_map(|access| match access {
            Access::AnyOf(tables) => tables.as_slice(),
            Access::Deny => &[],
        });
        let mut kinds = tables.flat_map(|table| table.credentials.iter().flatten());
        kinds.any(|kind| matches!(kind, CredentialKind::Jwt(_)))
    }
}

impl Places {
    /// The first forward-auth listener (else the proxy's: the hooks answer there on the portal's
    /// host), and the first plain proxy listener. An unspecified address becomes loopback.
    pub(crate) fn of(settings: &Settings) -> Self {
        let find = |wanted: &dyn Fn(&Listener) -> bool| {
            settings
                .listeners
                .iter()
                .find(|listener| wanted(listener))
                .map(|l| reachable(l.address))
        };
        let door = find(&|l| l.door == ListenerDoor::Proxy && !l.tls)
            .or_else(|| find(&|l| l.door == ListenerDoor::ForwardAuth))
            .or_else(|| find(&|l| l.door == ListenerDoor::Proxy));
        let hook = find(&|l| l.door == ListenerDoor::ForwardAuth).or_else(|| door.clone());
        let unknown = || "127.0.0.1:9091".to_owned();
        Self { hook: hook.unwrap_or_else(unknown), door: door.unwrap_or_else(unknown) }
    }
}

/// The configuration of a front proxy for every route.
pub(crate) fn render(kind: Kind, settings: &Settings, places: &Places) -> String {
    match kind {
        Kind::Caddy => caddy(settings, places),
        Kind::Nginx => nginx(settings, places),
        Kind::Traefik => traefik(settings, places),
    }
}

fn nginx(settings: &Settings, places: &Places) -> String {
    let listen = match (settings.server.portal.scheme, settings.tls.certificates.first()) {
        (Scheme::Http, _) => "listen 80;".to_owned(),
        (Scheme::Https, Some(pair)) => format!(
            "listen 443 ssl;\n    ssl_certificate {};\n    ssl_certificate_key {};",
            pair.cert.display(),
            pair.key.display()
        ),
        (Scheme::Https, None) => {
            "listen 443 ssl;\n    ssl_certificate /etc/ssl/fullchain.pem;\n    \
                                  ssl_certificate_key /etc/ssl/privkey.pem;"
                .to_owned()
        }
    };
    let forwarded = |indent: &str| {
        let mut lines = String::new();
        for (name, value) in [
            ("Forwarded", "\"\""),
            ("X-Forwarded-For", "$remote_addr"),
            ("X-Forwarded-Host", "$host$vestibule_port"),
            ("X-Forwarded-Port", "$server_port"),
            ("X-Forwarded-Proto", "$scheme"),
            ("X-Real-IP", "$remote_addr"),
            ("CF-Connecting-IP", "\"\""),
            ("True-Client-IP", "\"\""),
            ("X-Client-IP", "\"\""),
            ("X-Forwarded-Method", "\"\""),
            ("X-Forwarded-Prefix", "\"\""),
            ("X-Forwarded-Server", "\"\""),
            ("X-Forwarded-Ssl", "\"\""),
            ("X-Forwarded-Uri", "\"\""),
            ("X-Original-Host", "\"\""),
            ("X-Original-Method", "\"\""),
            ("X-Original-URI", "\"\""),
            ("X-Original-URL", "\"\""),
            ("X-Rewrite-URL", "\"\""),
        ] {
            let _ = writeln!(lines, "{indent}proxy_set_header {name} {value};");
        }
        lines.trim_end().to_owned()
    };
    let to_vestibule = format!(
        "        proxy_pass http://vestibule_door;\n        proxy_http_version 1.1;\n        \
         proxy_set_header Connection \"\";\n        proxy_set_header Host $host$vestibule_port;\n{}",
        forwarded("        ")
    );
    let copied = copied();
    let variable =
        |name: &str| format!("$vestibule_{}", name.to_ascii_lowercase().replace('-', "_"));
    let lines = |line: &dyn Fn(&str) -> String| {
        copied.iter().map(|name| format!("        {}", line(name))).collect::<Vec<_>>().join("\n")
    };
    let auth_request_set = lines(&|name| {
        let header = name.to_ascii_lowercase().replace('-', "_");
        format!("auth_request_set {} $upstream_http_{header};", variable(name))
    });
    let proxy_set_header = lines(&|name| format!("proxy_set_header {name} {};", variable(name)));

    let mut out = fill(
        section(NGINX, "head"),
        &[
            ("portal", &settings.server.portal.to_string()),
            ("hook", &places.hook),
            ("door", &places.door),
            ("apps", &nginx_apps(settings)),
        ],
    );
    for site in sites(settings) {
        let mut locations = String::new();
        for route in &site.routes {
            let (upstream, upstream_tls) = nginx_upstream(route);
            let guard = if site.routes.len() > 1 {
                "\n        if ($request_uri ~* \"^[^?]*%2f\") { return 400; }"
            } else {
                ""
            };
            let places = match &*route.path {
                "/" => vec!["/".to_owned()],
                prefix => vec![format!("= {prefix}"), format!("^~ {prefix}/")],
            };
            for location in places {
                locations.push_str(&fill(
                    section(NGINX, "location"),
                    &[
                        ("route", &route.name),
                        ("upstream_tls", &upstream_tls),
                        ("location", &location),
                        ("guard", guard),
                        ("auth_request_set", &auth_request_set),
                        ("upstream", &upstream),
                        ("idle", &route.idle_timeout.as_secs().max(1).to_string()),
                        ("proxy_set_header", &proxy_set_header),
                        ("forwarded", &forwarded("        ")),
                    ],
                ));
            }
        }
        // A host without a route for `/`: the hook has nothing to say there either.
        if site.routes.iter().all(|route| &*route.path != "/") {
            locations.push_str("\n    location / { return 404; }\n");
        }
        out.push('\n');
        out.push_str(&fill(
            section(NGINX, "server"),
            &[
                ("comment", &format!("# {}", outside(site.pattern))),
                ("listen", &listen),
                ("server_name", &nginx_server_name(site.pattern)),
                ("host_differs", &nginx_differs(site.pattern)),
                ("locations", &locations),
                ("to_vestibule", &to_vestibule),
                ("metadata", &metadata(NGINX, &site, &[("to_vestibule", &to_vestibule)])),
            ],
        ));
    }
    let portal = portal_pattern(settings);
    out.push('\n');
    out.push_str(&fill(
        section(NGINX, "portal"),
        &[
            ("listen", &listen),
            ("server_name", &nginx_server_name(&portal)),
            ("host_differs", &nginx_differs(&portal)),
            ("to_vestibule", &to_vestibule),
        ],
    ));
    out
}

/// What leads to the document about foreign tokens, on hosts that have one.
fn metadata(template: &str, site: &Site<'_>, values: &[(&str, &str)]) -> String {
    if site.takes_foreign_tokens() {
        fill(section(template, "metadata"), values)
    } else {
        String::new()
    }
}

/// One pool of kept connections for each route's app.
fn nginx_apps(settings: &Settings) -> String {
    let mut out = String::new();
    let sites = sites(settings);
    let asked = |route: &Route| {
        sites.iter().any(|site| site.routes.iter().any(|one| one.name == route.name))
    };
    for route in settings.routes.iter().filter(|route| asked(route)) {
        let (server, comment) = match route.upstreams.first() {
            None => ("127.0.0.1:3000".to_owned(), " # put the app's address"),
            Some(upstream) => match upstream.scheme {
                UpstreamScheme::Unix => (format!("unix:{}", upstream.host), ""),
                UpstreamScheme::H2c => (
                    format!("{}:{}", upstream.host, upstream.port),
                    " # nginx speaks HTTP/1.1 to it",
                ),
                UpstreamScheme::Http | UpstreamScheme::Https => {
                    (format!("{}:{}", upstream.host, upstream.port), "")
                }
            },
        };
        let _ = writeln!(
            out,
            "upstream {} {{ server {server}; keepalive 64; keepalive_requests 100000; }}{comment}",
            nginx_app(route)
        );
    }
    out
}

fn nginx_app(route: &Route) -> String {
    format!("vestibule-app-{}", slug(&route.name))
}

/// What stands behind `proxy_pass`, and what TLS to the app needs besides.
fn nginx_upstream(route: &Route) -> (String, String) {
    let app = nginx_app(route);
    match route.upstreams.first() {
        Some(upstream) if upstream.scheme == UpstreamScheme::Https => {
            let name = route.upstream_tls.server_name.as_ref().unwrap_or(&upstream.host);
            let tls = format!(
                "\n        proxy_ssl_server_name on;\n        proxy_ssl_name {name};\n        \
                 proxy_ssl_verify {};\n        proxy_ssl_trusted_certificate {};",
                if route.upstream_tls.danger_skip_verify { "off" } else { "on" },
                route.upstream_tls.ca_file.as_deref().map_or_else(
                    || "/etc/ssl/certs/ca-certificates.crt".to_owned(),
                    |file| file.display().to_string()
                )
            );
            (format!("https://{app}"), tls)
        }
        _ => (format!("http://{app}"), String::new()),
    }
}

fn nginx_server_name(pattern: &HostPattern) -> String {
    if pattern.wildcard {
        // `*.example.com` would take `a.b.example.com` too.
        format!("\"~^[^.]+\\.{}$\"", escaped(pattern.host.as_str()))
    } else {
        pattern.host.to_string()
    }
}

fn nginx_differs(pattern: &HostPattern) -> String {
    if pattern.wildcard {
        format!("!~ \"^[^.]+\\.{}$\"", escaped(pattern.host.as_str()))
    } else {
        format!("!= \"{}\"", pattern.host)
    }
}

fn caddy(settings: &Settings, places: &Places) -> String {
    let mut delete = Vec::new();
    for name in MANAGED {
        delete.push(format!("\trequest_header -{}", title(name)));
    }
    // The first hyphen that is written otherwise ends one of these prefixes.
    for prefix in prefixes() {
        for separator in ['_', '.'] {
            delete.push(format!("\trequest_header -{}{separator}*", title(&prefix)));
        }
    }
    let copy: Vec<String> = copied().iter().map(|name| format!("\t\t\t{name}")).collect();
    let tls = match (settings.server.portal.scheme, settings.tls.certificates.first()) {
        (Scheme::Https, Some(pair)) => {
            format!("\ttls {} {}\n", pair.cert.display(), pair.key.display())
        }
        _ => String::new(),
    };
    let mut out = fill(
        section(CADDY, "head"),
        &[
            ("portal", &settings.server.portal.to_string()),
            ("hook", &places.hook),
            ("door", &places.door),
            ("delete", &delete.join("\n")),
            ("copy", &copy.join("\n")),
        ],
    );
    let scheme = settings.server.portal.scheme.as_str();
    for site in sites(settings) {
        let mut handles = String::new();
        for (number, route) in site.routes.iter().enumerate() {
            let (upstream, comment) = caddy_upstream(route);
            let (matcher, matched) = match &*route.path {
                "/" => (String::new(), String::new()),
                // `path` would fold case and not end at a segment.
                prefix => (
                    format!("\t@vestibule_{number} path_regexp ^{}(/|$)\n", escaped(prefix)),
                    format!(" @vestibule_{number}"),
                ),
            };
            let guard = if site.routes.len() > 1 {
                "\n\t\t\t@vestibule_slash vars_regexp {http.request.orig_uri} (?i)^[^?]*%2f\n\t\t\trespond @vestibule_slash 400"
            } else {
                ""
            };
            handles.push_str(&fill(
                section(CADDY, "handle"),
                &[
                    ("route", &route.name),
                    ("handle_comment", &comment),
                    ("matcher", &matcher),
                    ("matched", &matched),
                    ("guard", guard),
                    ("upstream", &upstream),
                ],
            ));
        }
        if site.routes.iter().all(|route| &*route.path != "/") {
            handles.push_str("\thandle {\n\t\trespond 404\n\t}\n");
        }
        out.push('\n');
        out.push_str(&fill(
            section(CADDY, "site"),
            &[
                ("comment", &format!("# {}", outside(site.pattern))),
                ("site", &format!("{scheme}://{}", outside(site.pattern))),
                ("tls", &tls),
                ("metadata", &metadata(CADDY, &site, &[("door", &places.door)])),
                ("handles", &handles),
            ],
        ));
    }
    out.push('\n');
    out.push_str(&fill(
        section(CADDY, "portal"),
        &[("site", &settings.server.portal.to_string()), ("tls", &tls), ("door", &places.door)],
    ));
    out
}

fn caddy_upstream(route: &Route) -> (String, String) {
    match route.upstreams.first() {
        None => (SOME_APP.to_owned(), ": put the app's address".to_owned()),
        Some(upstream) if upstream.scheme == UpstreamScheme::Unix => {
            (format!("unix/{}", upstream.host), String::new())
        }
        Some(upstream) => (url(upstream), String::new()),
    }
}

fn traefik(settings: &Settings, places: &Places) -> String {
    let https = settings.server.portal.scheme == Scheme::Https;
    let entry_point = if https { "websecure" } else { "web" };
    let router_tls = if https { "      tls: {}\n" } else { "" };
    let router = |name: &str, rule: &str, priority: usize, service: &str, ask: bool| {
        fill(
            section(TRAEFIK, "router"),
            &[
                ("name", name),
                ("entry_point", entry_point),
                ("rule", rule),
                ("priority", &priority.to_string()),
                ("service", service),
                ("middlewares", if ask { "      middlewares: [\"vestibule\"]\n" } else { "" }),
                ("router_tls", router_tls),
            ],
        )
        .trim_end()
        .to_owned()
            + "\n"
    };
    let (mut routers, mut services) = (String::new(), String::new());
    for (number, site) in sites(settings).iter().enumerate() {
        let host = traefik_host(site.pattern);
        // An exact host beats a wildcard, then the longer prefix wins.
        let rank = if site.pattern.wildcard { 10_000 } else { 20_000 };
        routers.push_str(&router(
            &format!("vestibule-own-{number}"),
            &format!("{host} && PathPrefix(`/.vestibule/`)"),
            100_000,
            "vestibule-door",
            false,
        ));
        if site.takes_foreign_tokens() {
            routers.push_str(&router(
                &format!("vestibule-metadata-{number}"),
                &format!("{host} && Path(`/.well-known/oauth-protected-resource`)"),
                100_000,
                "vestibule-door",
                false,
            ));
        }
        // Unmatched is 404.
        for route in &site.routes {
            let hidden = "!PathRegexp(`(?i)^/(api/authz(/|$)|api/verify$|oauth2/auth$)`)";
            let path = match &*route.path {
                "/" => String::new(),
                prefix => format!(" && (Path(`{prefix}`) || PathPrefix(`{prefix}/`))"),
            };
            let name = format!("vestibule-{}-{number}", slug(&route.name));
            routers.push_str(&router(
                &name,
                &format!("{host} && {hidden}{path}"),
                rank + route.path.len(),
                &name,
                true,
            ));
            services.push_str(&fill(
                section(TRAEFIK, "service"),
                &[("name", &name), ("url", &traefik_upstream(route))],
            ));
        }
    }
    let portal = traefik_host(&portal_pattern(settings));
    routers.push_str(&router(
        "vestibule-portal",
        &format!("{portal} && !PathRegexp(`(?i)^/(api/authz(/|$)|api/verify$|oauth2/auth$)`)"),
        200_000,
        "vestibule-door",
        false,
    ));
    let certificates: Vec<String> = settings
        .tls
        .certificates
        .iter()
        .map(|pair| {
            format!(
                "    - certFile: \"{}\"\n      keyFile: \"{}\"",
                pair.cert.display(),
                pair.key.display()
            )
        })
        .collect();
    let tls = if https && !certificates.is_empty() {
        "\n".to_owned()
            + &fill(section(TRAEFIK, "tls"), &[("certificates", &certificates.join("\n"))])
    } else {
        String::new()
    };
    let copy: Vec<String> = copied().iter().map(|name| format!("          - \"{name}\"")).collect();
    fill(
        section(TRAEFIK, "head"),
        &[
            ("portal", &settings.server.portal.to_string()),
            ("entry_point", entry_point),
            ("hook", &format!("http://{}", places.hook)),
            ("door", &format!("http://{}", places.door)),
            ("copy", &copy.join("\n")),
            ("strip", &strip_regex()),
            ("routers", routers.trim_end_matches('\n')),
            ("services", &services),
            ("tls", &tls),
        ],
    )
}

fn traefik_host(pattern: &HostPattern) -> String {
    if pattern.wildcard {
        format!("HostRegexp(`^[^.]+\\.{}$`)", escaped(pattern.host.as_str()))
    } else {
        format!("Host(`{}`)", pattern.host)
    }
}

fn traefik_upstream(route: &Route) -> String {
    match route.upstreams.first() {
        Some(upstream) if upstream.scheme != UpstreamScheme::Unix => url(upstream),
        _ => SOME_APP.to_owned(),
    }
}

/// Every spelling of a managed name but the one with hyphens only would need its own line;
/// one expression takes them all. It also takes what clients claim about addresses and URLs.
fn strip_regex() -> String {
    let names: Vec<String> = MANAGED
        .iter()
        .copied()
        .chain(["true-client-ip", "cf-connecting-ip", "x-client-ip", "x-rewrite-url", "forwarded"])
        .map(|name| name.replace('-', "[-_.]"))
        .collect();
    format!("(?i)^({}|x[-_.]original[-_.].*)$", names.join("|"))
}

/// Names as the templates print them: cleaned credentials, then identity.
fn copied() -> Vec<String> {
    CLEANED
        .iter()
        .map(|name| (*name).to_owned())
        .chain(MANAGED.iter().map(|name| title(name)))
        .collect()
}

/// What stands before each hyphen of a managed name.
fn prefixes() -> Vec<String> {
    let mut found = Vec::new();
    for name in MANAGED {
        for (at, _) in name.match_indices('-') {
            let prefix = name.get(..at).unwrap_or_default().to_owned();
            if !found.contains(&prefix) {
                found.push(prefix);
            }
        }
    }
    found
}

/// App hosts with their routes; the portal's own host is not among them, because a hook is
/// never asked about it.
fn sites(settings: &Settings) -> Vec<Site<'_>> {
    let mut sites: Vec<Site<'_>> = Vec::new();
    for route in &settings.routes {
        for pattern in &route.hosts {
            if !pattern.wildcard && pattern.host == settings.server.portal.host {
                continue;
            }
            let same = |site: &&mut Site<'_>| {
                site.pattern.host == pattern.host && site.pattern.wildcard == pattern.wildcard
            };
            match sites.iter_mut().find(same) {
                Some(site) => site.routes.push(route),
                None => sites.push(Site { pattern, routes: vec![route] }),
            }
        }
    }
    for site in &mut sites {
        site.routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
    }
    sites
}

fn portal_pattern(settings: &Settings) -> HostPattern {
    HostPattern { host: settings.server.portal.host.clone(), wildcard: false, port: None }
}

/// `*.example.com:8443`
fn outside(pattern: &HostPattern) -> String {
    let star = if pattern.wildcard { "*." } else { "" };
    let port = pattern.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{star}{}{port}", pattern.host)
}

fn url(upstream: &Upstream) -> String {
    let scheme = match upstream.scheme {
        UpstreamScheme::H2c => "h2c",
        UpstreamScheme::Http => "http",
        UpstreamScheme::Https => "https",
        UpstreamScheme::Unix => return format!("unix:{}", upstream.host),
    };
    format!("{scheme}://{}:{}", upstream.host, upstream.port)
}

fn reachable(address: std::net::SocketAddr) -> String {
    match (address.ip().is_unspecified(), address.is_ipv6()) {
        (true, false) => format!("127.0.0.1:{}", address.port()),
        (true, true) => format!("[::1]:{}", address.port()),
        (false, _) => address.to_string(),
    }
}

/// `remote-user` → `Remote-User`
fn title(name: &str) -> String {
    let part = |part: &str| {
        let mut chars = part.chars();
        chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str())
    };
    name.split('-').filter_map(part).collect::<Vec<_>>().join("-")
}

/// A route's name where only letters, digits and hyphens may stand; different names stay different.
fn slug(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '-' {
            out.push(c);
        } else {
            let _ = write!(out, "-{:x}-", u32::from(c));
        }
    }
    out
}

/// A literal text within a regular expression. Hosts and normal paths hold no other specials.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() && !matches!(c, '/' | '-' | '_' | '~' | '%') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The part of a template between `#@ name` and the next `#@`.
fn section<'a>(template: &'a str, name: &str) -> &'a str {
    template
        .split("#@ ")
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('\n'))
        .unwrap_or_default()
}

/// Replaces `{{key}}`; values are not looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        match after.split_once("}}").and_then(|(key, behind)| {
            values.iter().find(|(name, _)| *name == key).map(|(_, value)| (value, behind))
        }) {
            Some((value, behind)) => {
                out.push_str(value);
                rest = behind;
            }
            None => {
                out.push('{');
                rest = after;
                // `{{{key}}`: a brace of the target language before a key.
                if !after.starts_with('{') {
                    out.push('{');
                } else {
                    rest = template.get(template.len() - after.len() - 1..).unwrap_or(after);
                }
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_put_in_once_and_braces_of_the_target_stay() {
        assert_eq!(fill("a {{x}} {y} {{{x}}", &[("x", "{{x}}")]), "a {{x}} {y} {{{x}}");
        assert_eq!(fill("route {{{guard}}\n", &[("guard", "")]), "route {\n");
    }

    #[test]
    fn b2_every_spelling_of_a_managed_name_begins_with_a_prefix_that_is_deleted() {
        let prefixes = prefixes();
        for name in MANAGED {
            for (at, _) in name.match_indices('-') {
                assert!(prefixes.iter().any(|prefix| name.get(..at) == Some(prefix)), "{name}");
            }
        }
    }

    #[test]
    fn every_section_of_every_template_is_found() {
        for (template, names) in [
            (NGINX, &["head", "server", "location", "metadata", "portal"][..]),
            (CADDY, &["head", "site", "metadata", "handle", "portal"]),
            (TRAEFIK, &["head", "router", "service", "tls"]),
        ] {
            for name in names {
                assert!(!section(template, name).is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn names_are_written_as_people_write_them() {
        assert_eq!(title("x-auth-request-user"), "X-Auth-Request-User");
        assert_eq!(escaped("a.example"), "a\\.example");
    }
}
