//! `[server]` and `[[listener]]`, which decide one another: the portal's origin may come from a
//! listener, a listener's port from the portal's origin.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use vestibule_core::facts::Scheme;
use vestibule_core::host::Host;
use vestibule_core::return_to::Origin as PortalOrigin;
use vestibule_core::settings::listener::{Listener, ListenerDoor};
use vestibule_core::settings::server::{Server, TrustedProxies};

use super::{Context, all_loopback};
use crate::diagnostic::Diagnostic;
use crate::form;
use crate::tree::{Node, Origin, Table, Value};

pub(crate) fn resolve(root: &mut Table, cx: &mut Context<'_>) -> (Server, Vec<Listener>) {
    let said = said_portal(root, cx);
    let listeners = listeners(root, said.as_ref().map(|(origin, _)| origin), cx);
    let development = root.str("server.environment") == "development";
    let known = said.or_else(|| from_listener(&listeners, development));
    let is_known = known.is_some();
    let (portal, origin) = known.unwrap_or_else(|| {
        if !cx.broken.contains("server.portal_url") {
            cx.error(
                "no-portal-url",
                "`server.portal_url` is not set, and no listener on loopback stands in for it",
                &Origin::Default,
                "write `portal_url = \"https://auth.example.com\"` under `[server]`, or set ORIGIN",
            );
        }
        (nowhere(), Origin::Default)
    });
    root.set_at("server.portal_url", Node::text(portal.to_string(), origin.clone()));
    if is_known {
        check_portal(root, &portal, &origin, development, &listeners, cx);
    }
    let trusted_proxies = trusted_proxies(root, &listeners, cx);
    let workers = usize::try_from(root.int("server.workers")).unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let callback = crate::profile::callback(cx.profile);
    let server = Server {
        provider_redirect_uri: format!("{portal}{callback}"),
        portal,
        development,
        profile: cx.profile.to_owned(),
        data_dir: PathBuf::from(root.str("server.data_dir")),
        trusted_proxies,
        workers: if workers == 0 { cores.min(4) } else { workers },
        header_timeout: root.duration("server.header_timeout"),
        api_prefix: root.str("server.api_prefix").trim_end_matches('/').to_owned(),
    };
    (server, listeners)
}

/// What file or environment say about the portal. The file wins over ORIGIN and AUTH_BASE_URL.
fn said_portal(root: &Table, cx: &mut Context<'_>) -> Option<(PortalOrigin, Origin)> {
    let environment = cx.base.origin.clone();
    let parse = |node: &Node| Some((PortalOrigin::parse(node.as_str()?)?, node.origin.clone()));
    let written = root.at("server.portal_url").filter(|n| n.as_str() != Some(""));
    let Some(written) = written else { return environment.as_ref().and_then(parse) };
    if let Some((other, Origin::Env(name))) = environment.as_ref().and_then(parse)
        && let Some((mine, _)) = parse(written)
        && mine != other
    {
        cx.problems.add(Diagnostic::notice(
            "variable-ignored",
            format!("`{name}` says {other}, but `server.portal_url` says {mine} and holds"),
        ));
    }
    parse(written)
}

/// What stands where the portal should be until the error about it is read.
#[expect(clippy::expect_used, reason = "a constant, read by every test of this module")]
fn nowhere() -> PortalOrigin {
    PortalOrigin::parse("http://localhost").expect("an origin")
}

/// The first loopback listener that answers the portal; in development any, under the name that
/// this machine has for itself.
fn from_listener(listeners: &[Listener], development: bool) -> Option<(PortalOrigin, Origin)> {
    let mut doors = listeners.iter().filter(|l| l.door == ListenerDoor::Proxy);
    let on_loopback = doors.clone().find(|l| l.address.ip().is_loopback());
    let listener = on_loopback.or_else(|| doors.next().filter(|_| development))?;
    let host = match listener.address {
        _ if on_loopback.is_none() => "localhost".to_owned(),
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    let scheme = if listener.tls { Scheme::Https } else { Scheme::Http };
    let host = Host::parse(&host).ok()?;
    Some((PortalOrigin { scheme, host, port: listener.address.port() }, Origin::Default))
}

fn listeners(
    root: &mut Table,
    portal: Option<&PortalOrigin>,
    cx: &mut Context<'_>,
) -> Vec<Listener> {
    if root.tables("listener").is_empty() && !cx.broken.iter().any(|p| p.starts_with("listener")) {
        // Where the portal is plain http on loopback, nothing else could answer at its port.
        let port = portal
            .filter(|p| p.scheme == Scheme::Http && p.host.is_loopback())
            .map_or(8080, |p| p.port);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut table = Table::default();
        table.set("address", Node::text(address.to_string(), Origin::Default));
        super::fill(&mut table, crate::keys::edge::LISTENER);
        let item = Node::new(Value::Table(table), Origin::Default);
        root.set("listener", Node::new(Value::List(vec![item]), Origin::Default));
    }
    let mut seen: Vec<Listener> = Vec::new();
    for (_, table) in root.tables("listener") {
        let Ok(address) = table.str("address").parse::<SocketAddr>() else { continue };
        let door = match table.str("door") {
            "forward-auth" => ListenerDoor::ForwardAuth,
            "redirect" => ListenerDoor::Redirect,
            _ => ListenerDoor::Proxy,
        };
        let listener = Listener { address, tls: table.bool("tls"), door };
        if address.port() != 0 && seen.iter().any(|l| l.address == address) {
            let origin = table.origin("address");
            cx.error(
                "duplicate-listener",
                format!("two listeners have the address `{address}`"),
                &origin,
                "give each its own port",
            );
        }
        if listener.door == ListenerDoor::Redirect && listener.tls {
            let origin = table.origin("tls");
            cx.error(
                "redirect-with-tls",
                "a listener with `door = \"redirect\"` leads from http to https and has no TLS itself",
                &origin,
                "take `tls = true` out, or write `door = \"proxy\"`",
            );
        }
        seen.push(listener);
    }
    seen
}

fn check_portal(
    root: &Table,
    portal: &PortalOrigin,
    origin: &Origin,
    development: bool,
    listeners: &[Listener],
    cx: &mut Context<'_>,
) {
    if portal.scheme == Scheme::Https {
        return;
    }
    let is_off = root.str("auth.mode") == "none" || root.bool("auth.bypass");
    if !development && !portal.host.is_loopback() {
        cx.error(
            "insecure-portal-url",
            format!("`server.portal_url` is {portal}: in production it must be https"),
            origin,
            "write it with `https://`; plain http is for loopback, or for `environment = \"development\"`",
        );
    } else if !all_loopback(listeners) && !is_off {
        cx.error(
            "insecure-portal-url",
            format!("`server.portal_url` is {portal}: over plain http every listener must be on loopback"),
            origin,
            "write `https://`, or let the listeners have addresses of 127.0.0.0/8",
        );
    }
    for (node, table) in root.tables("listener") {
        if table.str("door") == "redirect" {
            cx.warning(
                "redirect-without-https",
                "a listener with `door = \"redirect\"` leads to https, but `server.portal_url` is http",
                &node.origin,
                "take the listener out, or give the portal an https origin",
            );
        }
    }
}

fn trusted_proxies(root: &Table, listeners: &[Listener], cx: &mut Context<'_>) -> TrustedProxies {
    let origin = root.origin("server.trusted_proxies");
    let resolved = match root.at("server.trusted_proxies").map(|n| &n.value) {
        Some(Value::Bool(true)) => TrustedProxies::All,
        Some(Value::Int(count)) => TrustedProxies::Hops(usize::try_from(*count).unwrap_or(1)),
        Some(Value::List(items)) => {
            let mut networks = Vec::new();
            for item in items {
                let Some(Ok(network)) = item.as_str().map(form::network) else { continue };
                if network.prefix_len() == 0 {
                    cx.error(
                        "trusts-everybody",
                        format!("`trusted_proxies` holds {network}, which is everybody"),
                        &item.origin,
                        "name the addresses of your front proxies, such as `10.0.0.0/8`",
                    );
                }
                networks.push(network);
            }
            if items.is_empty() {
                cx.error(
                    "empty-trust-list",
                    "`trusted_proxies` is an empty list: forwarding headers would be on with nobody to believe",
                    &origin,
                    "name the front proxies, or write `trusted_proxies = false`",
                );
            }
            TrustedProxies::List(networks)
        }
        _ => TrustedProxies::Nobody,
    };
    let hook_off_loopback = listeners
        .iter()
        .find(|l| l.door == ListenerDoor::ForwardAuth && !l.address.ip().is_loopback());
    if let Some(listener) = hook_off_loopback
        && !cx.broken.contains("server.trusted_proxies")
    {
        let message = format!(
            "the forward-auth listener {} is off loopback, but `trusted_proxies` names nobody who may ask it",
            listener.address
        );
        let help = "write `trusted_proxies = [\"<address of the front proxy>\"]` under `[server]`";
        match resolved {
            TrustedProxies::Nobody => cx.error("hook-without-trust", message, &origin, help),
            TrustedProxies::All | TrustedProxies::Hops(_) => {
                cx.warning("hook-without-trust", message, &origin, help)
            }
            TrustedProxies::List(_) => {}
        }
    }
    resolved
}
