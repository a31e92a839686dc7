//! `[[jwt_issuer]]`: whose tokens are taken besides ours. A table that leaves open who may have made a
//! token, for whom, or how it is signed, is refused (SECURITY 1.N).

use vestibule_core::facts::Scheme;
use vestibule_core::secret::Secret;
use vestibule_core::settings::jwt_issuer::{Introspection, JwtClaims, JwtIssuer};
use vestibule_core::settings::server::Server;

use super::Context;
use crate::diagnostic::Diagnostic;
use crate::form;
use crate::tree::{Node, Table};

pub(crate) fn resolve(root: &Table, server: &Server, cx: &mut Context<'_>) -> Vec<JwtIssuer> {
    let tables = root.tables("jwt_issuer");
    let mut issuers: Vec<JwtIssuer> = Vec::new();
    for (index, (node, table)) in tables.iter().enumerate() {
        one_of_a_kind(table, &tables, cx);
        urls(table, server, cx);
        keys(node, table, index, cx);
        introspection(node, table, index, cx);
        issuers.push(of(table));
    }
    cx.issuer_names =
        issuers.iter().map(|i| i.name.to_string()).filter(|name| !name.is_empty()).collect();
    issuers
}

fn of(table: &Table) -> JwtIssuer {
    let text = |path: &str| Some(table.str(path).to_owned()).filter(|text| !text.is_empty());
    let texts = |path: &str| table.texts(path).into_iter().map(str::to_owned).collect();
    JwtIssuer {
        name: table.str("name").into(),
        issuer: table.str("issuer").to_owned(),
        jwks_url: text("jwks_url"),
        audience: texts("audience"),
        algorithms: texts("algorithms"),
        claims: JwtClaims {
            username: text("claims.username"),
            email: text("claims.email"),
            groups: text("claims.groups"),
            role: text("claims.role"),
        },
        introspection: text("introspection_url").map(|url| Introspection {
            url,
            client_id: table.str("client_id").to_owned(),
            client_secret: text("client_secret").map(Secret::new),
        }),
    }
}

/// The name says whose a token is, so it may not stand twice. One issuer may: two entries with
/// audiences of their own are two kinds of token, and a route names the one it takes.
fn one_of_a_kind(table: &Table, tables: &[(&Node, &Table)], cx: &mut Context<'_>) {
    let name = table.str("name");
    let mut earlier = tables.iter().map(|(_, t)| *t).take_while(|t| !std::ptr::eq(*t, table));
    if let Some(twin) = earlier.find(|t| !name.is_empty() && t.str("name") == name) {
        let message = format!("two `[[jwt_issuer]]` have the name `{name}`");
        let first = twin.origin("name").label();
        let help = format!("the first one stands at {first}: give each its own");
        cx.error("duplicate-name", message, &table.origin("name"), &help);
    }
}

fn urls(table: &Table, server: &Server, cx: &mut Context<'_>) {
    for key in ["issuer", "jwks_url", "introspection_url"] {
        let url = table.str(key);
        let Some((origin, path)) = form::split_url(url) else { continue };
        if !server.development && origin.scheme == Scheme::Http && !origin.host.is_loopback() {
            cx.error(
                "insecure-provider-url",
                format!("`{key}` is {url}: in production it must be https"),
                &table.origin(key),
                "write it with `https://`",
            );
        }
        if key == "issuer" && origin == server.portal && matches!(path, "" | "/") {
            cx.error(
                "own-issuer",
                format!(
                    "`issuer` is {url}, which is the portal itself: its tokens are taken anyway"
                ),
                &table.origin(key),
                "take the table out: `credentials = [\"token\"]` names access tokens of the portal",
            );
        }
    }
}

/// Whether a key says something, or said something that was refused.
fn is_said(table: &Table, index: usize, key: &str, cx: &Context<'_>) -> bool {
    !matches!(table.get(key).map(Node::as_str), None | Some(Some("")))
        || cx.broken.contains(&format!("jwt_issuer[{index}].jwt_issuer.{key}"))
        || cx.broken.contains(&format!("jwt_issuer.{key}"))
}

fn keys(node: &Node, table: &Table, index: usize, cx: &mut Context<'_>) {
    let has = |key: &str, cx: &Context<'_>| is_said(table, index, key, cx);
    let (has_jwks, has_introspection) = (has("jwks_url", cx), has("introspection_url", cx));
    if !has_jwks && !has_introspection {
        let message = "a `[[jwt_issuer]]` needs `jwks_url` or `introspection_url`: else nothing could be checked";
        cx.error("missing-key", message, &node.origin, "add `jwks_url = \"https://…\"`");
    }
    // Only what is verified here is signed in a way that we know.
    if !has("algorithms", cx) && (has_jwks || !has_introspection) {
        cx.error(
            "missing-key",
            "`jwt_issuer` has no `algorithms`",
            &node.origin,
            "add `algorithms = [\"RS256\", \"ES256\", \"EdDSA\"]`",
        );
    }
    for key in ["audience", "algorithms"] {
        if table.get(key).is_some_and(|n| n.items().is_empty()) {
            let origin = table.origin(key);
            let message =
                format!("`{key}` is empty: a token for anybody, signed in any way, would do");
            cx.error("empty-list", message, &origin, "name what is taken");
        }
    }
    if let Some(item) = items(table, "audience").iter().find(|i| i.as_str() == Some("")) {
        let message = "`audience` holds an empty text: a token for nobody would do";
        cx.error("bad-value", message, &item.origin, "name what is taken");
    }
    for item in items(table, "algorithms") {
        let Some(name) = item.as_str().filter(|name| name.starts_with("HS")) else { continue };
        cx.error(
            "symmetric-algorithm",
            format!("`algorithms` holds {name}, whose key would be the issuer's public one"),
            &item.origin,
            "use RS256, ES256 or EdDSA",
        );
    }
}

fn items<'a>(table: &'a Table, key: &str) -> &'a [Node] {
    table.get(key).map(Node::items).unwrap_or_default()
}

fn introspection(node: &Node, table: &Table, index: usize, cx: &mut Context<'_>) {
    let has = |key: &str, cx: &Context<'_>| is_said(table, index, key, cx);
    let has_introspection = has("introspection_url", cx);
    if has_introspection && !has("client_id", cx) {
        cx.error(
            "missing-key",
            "`introspection_url` needs `client_id`: nobody is told about tokens without saying who asks",
            &node.origin,
            "add `client_id`, and `client_secret` where the provider gave one",
        );
    }
    let lonely = ["client_id", "client_secret"].into_iter().find(|key| has(key, cx));
    if let Some(key) = lonely.filter(|_| !has_introspection) {
        let message = format!("`{key}` is for introspection, but there is no `introspection_url`");
        let problem = Diagnostic::warning("key-without-effect", message).at(&table.origin(key));
        cx.problems.add(problem.help("add `introspection_url`, or take it out"));
    }
}
