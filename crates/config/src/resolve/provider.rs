//! Providers. The room that speaks to them is not built: a set in the environment leaves its provider
//! off and says so, while its form is already checked; one in the file is refused.

use super::Context;
use crate::diagnostic::Diagnostic;
use crate::form;
use crate::keys::credential::JWT_ISSUER;
use crate::tree::{Origin, Table};

pub(crate) fn resolve(root: &Table, cx: &mut Context<'_>) {
    let development = root.str("server.environment") == "development";
    let mut problems = Vec::new();
    for provider in &cx.providers {
        for setting in ["ISSUER", "BASE_URL", "DISCOVERY_URL"] {
            let Some(url) = provider.values.get(setting) else { continue };
            let name = format!("{}_{setting}", provider.family);
            if let Some(problem) = url_problem(&name, url, development) {
                problems.push(problem);
            }
        }
        if !provider.missing.is_empty() {
            let missing = provider.missing.join(",");
            problems.push(
                Diagnostic::warning(
                    "provider-not-configured",
                    format!("provider.not_configured id={} missing={missing}", provider.id),
                )
                .help(
                    redirect_hint(&provider.missing, &provider.id, root).unwrap_or_else(|| {
                        "set what is missing; until then the provider is off".to_owned()
                    }),
                ),
            );
        } else if provider.enabled {
            problems.push(
                Diagnostic::warning(
                    "not-available-yet",
                    format!(
                        "the provider `{}` (`{}_*`) is not available yet and is off",
                        provider.id, provider.family
                    ),
                )
                .help("unset its variables, or leave them for a version that has it"),
            );
        }
    }
    for problem in problems {
        cx.problems.add(problem);
    }
    in_file(root, development, cx);
}

/// The redirect URI to register, where that is what is missing.
fn redirect_hint(missing: &[String], id: &str, root: &Table) -> Option<String> {
    let name = missing.iter().find(|name| name.ends_with("_REDIRECT_URI"))?;
    let portal = match root.str("server.portal_url") {
        "" => "https://<your-domain>",
        portal => portal.trim_end_matches('/'),
    };
    Some(format!(
        "set {name}={portal}/api/auth/oidc/{id}/callback and register the same at the provider"
    ))
}

fn url_problem(name: &str, url: &str, development: bool) -> Option<Diagnostic> {
    match form::split_url(url) {
        None => {
            Some(Diagnostic::error("bad-value", format!("`{name}` is `{url}`, which is no URL")))
        }
        Some((origin, _))
            if !development && origin.scheme.as_str() == "http" && !origin.host.is_loopback() =>
        {
            Some(
                Diagnostic::error(
                    "insecure-provider-url",
                    format!("`{name}` is {url}: in production it must be https"),
                )
                .help("write it with `https://`"),
            )
        }
        Some(_) => None,
    }
}

fn in_file(root: &Table, development: bool, cx: &mut Context<'_>) {
    let mut ids: Vec<&str> = Vec::new();
    for (_, table) in root.tables("provider") {
        let id = table.str("id");
        if !id.is_empty() && ids.contains(&id) {
            let message = format!("two providers have the id `{id}`");
            cx.error("duplicate-name", message, &table.origin("id"), "give each its own id");
        }
        ids.push(id);
        for key in ["issuer", "discovery_url", "base_url"] {
            if let Some(problem) =
                table.get(key).and_then(|n| url_problem(key, n.as_str()?, development))
            {
                cx.problems.add(problem.at(&table.origin(key)));
            }
        }
        let lacks = |key: &str| table.get(key).is_none();
        let endpoint_missing = match table.str("kind") {
            "oidc" => lacks("issuer") && lacks("discovery_url"),
            "authentik" => lacks("base_url") || lacks("slug"),
            _ => false,
        };
        if endpoint_missing {
            let origin = table.origin("id");
            cx.error(
                "missing-key",
                format!("the provider `{id}` does not say where it is"),
                &origin,
                "add `issuer = \"https://…\"` (authentik: `base_url` and `slug`)",
            );
        }
    }
    issuers(root, development, cx);
}

fn issuers(root: &Table, development: bool, cx: &mut Context<'_>) {
    debug_assert!(JWT_ISSUER.iter().any(|k| k.name == "algorithms"));
    for (node, table) in root.tables("jwt_issuer") {
        for key in ["issuer", "jwks_url", "introspection_url"] {
            if let Some(problem) =
                table.get(key).and_then(|n| url_problem(key, n.as_str()?, development))
            {
                cx.problems.add(problem.at(&table.origin(key)));
            }
        }
        if table.get("jwks_url").is_none() && table.get("introspection_url").is_none() {
            let message = "a `[[jwt_issuer]]` needs `jwks_url` or `introspection_url`: else nothing could be checked";
            cx.error("missing-key", message, &node.origin, "add `jwks_url = \"https://…\"`");
        }
        for key in ["audience", "algorithms"] {
            if table.get(key).is_some_and(|n| n.items().is_empty()) {
                let origin: Origin = table.origin(key);
                let message =
                    format!("`{key}` is empty: a token for anybody, signed in any way, would do");
                cx.error("empty-list", message, &origin, "name what is taken");
            }
        }
        let secret_based = table.at("algorithms").map(|n| n.items()).unwrap_or_default();
        for item in secret_based.iter().filter(|i| i.as_str().is_some_and(|a| a.starts_with("HS")))
        {
            cx.error(
                "symmetric-algorithm",
                format!(
                    "`algorithms` holds {}, whose key would be the issuer's public one",
                    item.as_str().unwrap_or_default()
                ),
                &item.origin,
                "use RS256, ES256 or EdDSA",
            );
        }
    }
}
