//! `[[provider]]`, of the file and of the environment, which stand in one list by now. What each key may
//! be is decided in core ([`ProviderSpec::resolve`]), where administrators' providers come through too;
//! here is where problems stand, and what several providers mean together.

use std::collections::BTreeSet;

use vestibule_core::secret::Secret;
use vestibule_core::settings::Settings;
use vestibule_core::settings::auth::Mode;
use vestibule_core::settings::provider::spec::{ProviderContext, ProviderSpec, SpecProblem};
use vestibule_core::settings::provider::{
    IncompleteProvider, Provider, ProviderKind, ProviderOrigin, ProviderPlace,
};
use vestibule_core::settings::server::Server;

use super::Context;
use crate::diagnostic::Diagnostic;
use crate::env::providers::Callback;
use crate::tree::{Node, Origin, Table, Value};

/// The complete ones, in order. Fills in what is effective, for `check --format json`.
pub(crate) fn resolve(root: &mut Table, server: &Server, cx: &mut Context<'_>) -> Vec<Provider> {
    report_incomplete(server, cx);
    let portal = root.origin("server.portal_url");
    let mut resolved: Vec<Provider> = Vec::new();
    let Some(Value::List(items)) = root.get_mut("provider").map(|n| &mut n.value) else {
        return resolved;
    };
    let mut ids: Vec<(String, Origin)> = Vec::new();
    for (index, node) in items.iter_mut().enumerate() {
        let Value::Table(table) = &mut node.value else { continue };
        if table.get("id").is_none() || is_broken(index, "kind", cx) {
            continue;
        }
        let (id, origin) = (table.str("id").to_owned(), table.origin("id"));
        if let Some((_, first)) = ids.iter().find(|(known, _)| *known == id) {
            let message = format!("two providers have the id `{id}`");
            let help = format!("the first one stands at {}: give each its own id", first.label());
            cx.error("duplicate-name", message, &origin, &help);
            continue;
        }
        ids.push((id, origin));
        let Some(provider) = one(table, &node.origin, index, server, &portal, cx) else { continue };
        settle(table, &provider);
        look(&provider, table, &portal, cx);
        let place = place("redirect_uri", "", table, &node.origin);
        one_callback_each(&provider, &resolved, &place, server, cx);
        resolved.push(provider);
    }
    resolved
}

/// The callback tells whose answer it is, so that one provider's never goes to another (RFC 9700, 4.4).
fn one_callback_each(
    provider: &Provider,
    earlier: &[Provider],
    place: &Origin,
    server: &Server,
    cx: &mut Context<'_>,
) {
    let takes = |one: &Provider, uri: &str| {
        let path = uri.strip_prefix(&server.portal.to_string()).unwrap_or(uri);
        uri == one.redirect_uri || callback_paths(&one.id, &server.api_prefix).contains(path)
    };
    let twin = earlier
        .iter()
        .find(|other| takes(other, &provider.redirect_uri) || takes(provider, &other.redirect_uri));
    if let Some(other) = twin {
        cx.error(
            "shared-redirect-uri",
            format!(
                "`{}` and `{}` have one callback: an answer there would not tell whose it is",
                other.id, provider.id
            ),
            place,
            "give each a `redirect_uri` of its own, or leave it out",
        );
    }
}

/// Every form in which callbacks of an id are answered.
fn callback_paths(id: &str, api_prefix: &str) -> BTreeSet<String> {
    BTreeSet::from([
        format!("/api/v1/auth/callback/{id}"),
        format!("/v1/auth/callback/{id}"),
        format!("{api_prefix}/v1/auth/callback/{id}"),
        format!("/api/auth/oidc/{id}/callback"),
        format!("/api/v1/auth/oauth/{id}/callback"),
    ])
}

/// `header`: where the table stands. `portal`: who says where the portal is.
fn one(
    table: &Table,
    header: &Origin,
    index: usize,
    server: &Server,
    portal: &Origin,
    cx: &mut Context<'_>,
) -> Option<Provider> {
    let context = ProviderContext {
        portal: &server.portal,
        development: server.development,
        default_redirect_uri: &default_redirect_uri(table.str("id"), server, portal, cx),
        origin: match header {
            Origin::File(_) => ProviderOrigin::File,
            _ => ProviderOrigin::Environment,
        },
    };
    let problems = match spec(table).resolve(&context) {
        Ok(provider) => return Some(provider),
        Err(problems) => problems,
    };
    for problem in problems {
        if !is_told(&problem, index, cx) {
            let place = place(&problem.key, problem.code, table, header);
            let message = with_variables(problem.message, problem.code, table);
            cx.error(problem.code, message, &place, &problem.help);
        }
    }
    None
}

/// Two families of variables that disagree are both named.
fn with_variables(message: String, code: &str, table: &Table) -> String {
    if code != "conflicting-issuers" {
        return message;
    }
    let variable = |key: &str| match table.origin(key) {
        Origin::Env(name) => Some(format!("`{name}`")),
        _ => None,
    };
    let names: Vec<String> =
        ["issuer", "discovery_url", "base_url"].into_iter().filter_map(variable).collect();
    match names.as_slice() {
        [_, _, ..] => format!("{message} (from {})", names.join(" and ")),
        _ => message,
    }
}

/// Sets of variables that lack something.
pub(crate) fn incomplete(cx: &Context<'_>) -> Vec<IncompleteProvider> {
    let lacking = cx.providers.iter().filter(|p| !p.missing.is_empty());
    lacking
        .map(|p| IncompleteProvider { id: p.id.as_str().into(), missing: p.missing.clone() })
        .collect()
}

/// What a configuration that holds may not mean.
pub(crate) fn warn(settings: &Settings, root: &Table, cx: &mut Context<'_>) {
    if settings.auth.is_off() || settings.auth.mode != Mode::Full {
        return;
    }
    let at = |id: &str, key: &str| {
        let tables = root.tables("provider");
        let found = tables.iter().find(|(_, table)| table.str("id") == id);
        found.map_or(Origin::Default, |(node, table)| match table.origin(key) {
            Origin::Default => node.origin.clone(),
            origin => origin,
        })
    };
    let enabled = || settings.providers.iter().filter(|p| p.enabled);
    for provider in enabled() {
        let is_public = matches!(provider.kind, ProviderKind::Github | ProviderKind::Google);
        let is_active = !settings.auth.approval || provider.auto_approve;
        if is_public
            && is_active
            && provider.allowed_domains.is_empty()
            && settings.auth.provider_signup
        {
            let message = format!(
                "whoever has an account at {} has an active account here: `{}` names no `allowed_domains`, and nobody approves",
                provider.label, provider.id
            );
            let origin = at(&provider.id, "id");
            cx.warning("open-signup", message, &origin, "write `approval = true` under `[auth]`, `provider_signup = false`, or `allowed_domains`");
        }
    }
    let mut unmapped = enabled().filter(|p| {
        p.groups.is_empty() && matches!(p.kind, ProviderKind::Authentik | ProviderKind::Oidc)
    });
    if let (Some(one), Some(other)) = (unmapped.next(), unmapped.next()) {
        let message = format!(
            "groups of `{}` and `{}` stand in one name space: whoever can name a group at one has the rights meant for the other's",
            one.id, other.id
        );
        let origin = at(&other.id, "id");
        cx.warning(
            "shared-group-names",
            message,
            &origin,
            "give one of them `groups = { \"<value there>\" = \"<group here>\" }`",
        );
    }
    if let Some((id, who)) = &settings.auth.bootstrap_admin {
        bootstrap(id, who, settings, root, cx);
    }
}

fn bootstrap(id: &str, who: &str, settings: &Settings, root: &Table, cx: &mut Context<'_>) {
    let origin = root.origin("auth.bootstrap_admin");
    if settings.providers.iter().all(|p| *p.id != *id) {
        let message = format!(
            "`bootstrap_admin` waits for somebody of the provider `{id}`, which is not configured"
        );
        let near = crate::keys::suggest::closest(id, settings.providers.iter().map(|p| &*p.id));
        let help = near.map_or_else(
            || "add it, here or under `/admin/providers`".to_owned(),
            |near| format!("did you mean `{near}:{who}`?"),
        );
        cx.warning("unknown-provider", message, &origin, &help);
    }
    // What people choose themselves is short and has letters only where ids have both.
    let is_opaque = who.len() >= 16 || who.bytes().all(|b| b.is_ascii_digit());
    if !is_opaque {
        cx.warning(
            "bootstrap-by-username",
            format!("`bootstrap_admin` names `{who}`, which looks like a username: at many providers people choose it themselves"),
            &origin,
            "write the subject (`sub`) that the provider has for that person",
        );
    }
}

fn report_incomplete(server: &Server, cx: &mut Context<'_>) {
    let problems: Vec<Diagnostic> = cx
        .providers
        .iter()
        .filter(|provider| !provider.missing.is_empty())
        .map(|provider| {
            let missing = provider.missing.join(",");
            let message = format!("provider.not_configured id={} missing={missing}", provider.id);
            let help = match provider.missing.iter().find(|name| name.ends_with("_REDIRECT_URI")) {
                Some(name) => format!(
                    "set {name}={}/api/auth/oidc/{}/callback and register the same at the provider",
                    server.portal, provider.id
                ),
                None => "set what is missing; until then the provider is off".to_owned(),
            };
            Diagnostic::warning("provider-not-configured", message).help(help)
        })
        .collect();
    problems.into_iter().for_each(|problem| cx.problems.add(problem));
}

/// Where `redirect_uri` says nothing, in the order of the documents.
fn default_redirect_uri(id: &str, server: &Server, portal: &Origin, cx: &Context<'_>) -> String {
    let callback = cx.providers.iter().find(|p| p.id == id).map(|p| p.callback);
    match callback {
        Some(Callback::Oidc) => format!("{}/api/auth/oidc/<id>/callback", server.portal),
        // The portal's origin holds, whatever the variable says; of it counts the path.
        Some(Callback::Base) if cx.base.is_said || is_of_profile(portal) => {
            format!("{}{}{}/v1/auth/callback/<id>", server.portal, cx.base.path, server.api_prefix)
        }
        _ => server.provider_redirect_uri.clone(),
    }
}

/// Whether the portal is where the profile's own base URL puts it.
fn is_of_profile(portal: &Origin) -> bool {
    matches!(portal, Origin::Profile(_))
}

/// What is odd about one provider by itself.
fn look(provider: &Provider, table: &Table, portal: &Origin, cx: &mut Context<'_>) {
    let is_base =
        cx.providers.iter().any(|p| *p.id == *provider.id && p.callback == Callback::Base);
    if is_base
        && provider.enabled
        && !cx.base.is_said
        && is_of_profile(portal)
        && !table.origin("redirect_uri").is_asked()
    {
        let problem = Diagnostic::warning(
            "default-base-url",
            format!(
                "`AUTH_BASE_URL` is not set: the callback of `{}` is {}",
                provider.id, provider.redirect_uri
            ),
        );
        cx.problems.add(problem.help("set AUTH_BASE_URL to where browsers reach this server"));
    }
    if provider.kind != ProviderKind::Github && provider.scopes.iter().all(|s| s != "openid") {
        let origin = table.origin("scopes");
        cx.warning(
            "scope-without-openid",
            format!("the provider `{}` is not asked for `openid`: without that scope most send no ID token, and every sign-in fails", provider.id),
            &origin,
            "add \"openid\" to `scopes`",
        );
    }
}

/// The keys that somebody wrote; defaults are core's.
fn spec(table: &Table) -> ProviderSpec {
    let said = |key: &str| table.get(key).filter(|node| node.origin.is_asked());
    let text = |key: &str| said(key).and_then(Node::as_str).map(str::to_owned);
    let flag = |key: &str| said(key).map(|_| table.bool(key));
    let texts = |key: &str| {
        said(key).map(|_| table.texts(key).into_iter().map(str::to_owned).collect::<Vec<String>>())
    };
    let map = |key: &str| {
        let entries = table.table(key).map(|t| t.entries.as_slice()).unwrap_or_default();
        let said = entries.iter().filter(|entry| entry.node.origin.is_asked());
        said.filter_map(|e| Some((e.key.clone(), e.node.as_str()?.to_owned()))).collect()
    };
    ProviderSpec {
        id: text("id").unwrap_or_default(),
        kind: text("kind"),
        issuer: text("issuer"),
        discovery_url: text("discovery_url"),
        base_url: text("base_url"),
        slug: text("slug"),
        client_id: text("client_id").unwrap_or_default(),
        client_secret: text("client_secret").map(Secret::new),
        label: text("label"),
        scopes: texts("scopes"),
        pkce: flag("pkce"),
        enabled: flag("enabled"),
        allowed_domains: texts("allowed_domains"),
        auto_approve: flag("auto_approve"),
        trust_email: flag("trust_email"),
        mfa_from: text("mfa_from"),
        redirect_uri: text("redirect_uri"),
        claims: map("claims"),
        groups: map("groups"),
        roles: map("roles"),
    }
}

/// Writes into the tree what core filled in.
fn settle(table: &mut Table, provider: &Provider) {
    let list = |texts: &[String]| {
        Value::List(texts.iter().map(|t| Node::text(t.as_str(), Origin::Default)).collect())
    };
    let text = |text: &str| Value::Str(text.to_owned());
    let (place, url) = match &provider.place {
        ProviderPlace::Discovery(url) => ("discovery_url", url),
        ProviderPlace::Github(url) => ("base_url", url),
        ProviderPlace::Issuer(url) => ("issuer", url),
    };
    let claims = &provider.claims;
    let effective = [
        ("kind", text(provider.kind.as_str())),
        (place, text(url)),
        ("label", text(&provider.label)),
        ("scopes", list(&provider.scopes)),
        ("redirect_uri", text(&provider.redirect_uri)),
        ("claims.email_verified", text(&claims.email_verified)),
    ];
    for (path, value) in effective {
        let is_said = table.at(path).is_some_and(|n| n.origin.is_asked() && n.as_str() != Some(""));
        if !is_said {
            table.set_at(path, Node::new(value, Origin::Default));
        }
    }
}

/// Where a problem of a key stands: at its value, else at the table.
fn place(key: &str, code: &str, table: &Table, header: &Origin) -> Origin {
    if code == "missing-key" {
        return header.clone();
    }
    let head = key.split('.').next().unwrap_or(key);
    let map_entry = key
        .split_once('.')
        .and_then(|(map, entry)| table.table(map)?.get(entry))
        .map(|node| node.origin.clone());
    map_entry
        .or_else(|| table.get(head).map(|node| node.origin.clone()))
        .filter(Origin::is_asked)
        .unwrap_or_else(|| header.clone())
}

/// Whether a value of the provider was refused before it came here.
fn is_broken(index: usize, key: &str, cx: &Context<'_>) -> bool {
    let paths = [
        format!("provider[{index}].provider.{key}"),
        format!("provider.{index}.{key}"),
        format!("provider.{key}"),
    ];
    paths.iter().any(|path| cx.broken.contains(path))
}

/// What a refused value leaves missing was told with it.
fn is_told(problem: &SpecProblem, index: usize, cx: &Context<'_>) -> bool {
    const PLACE: [&str; 4] = ["issuer", "discovery_url", "base_url", "slug"];
    let key = problem.key.as_str();
    match problem.code {
        "missing-key" if PLACE.contains(&key) => PLACE.iter().any(|k| is_broken(index, k, cx)),
        "missing-key" => is_broken(index, key, cx),
        "public-client-without-pkce" => is_broken(index, "client_secret", cx),
        _ => false,
    }
}
