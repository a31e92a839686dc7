//! The access language: words, names of `[policy]`, tables, lists of tables.

use std::sync::Arc;

use vestibule_core::account::Role;
use vestibule_core::credential::CredentialKind;
use vestibule_core::group::Group;
use vestibule_core::policy::{Access, AccessTable};

use super::Context;
use super::later;
use crate::diagnostic::Diagnostic;
use crate::form;
use crate::keys::route::ACCESS_WORDS;
use crate::keys::suggest::closest;
use crate::tree::{Node, Origin, Table, Value};

/// Every policy by its name.
pub(crate) type Policies = Vec<(String, Access)>;

/// Resolves `[policy]`. Names may not be words of the language.
pub(crate) fn policies(root: &Table, cx: &mut Context<'_>) -> Policies {
    let mut resolved = Policies::new();
    let Some(table) = root.table("policy") else { return resolved };
    for entry in &table.entries {
        if ACCESS_WORDS.contains(&entry.key.as_str()) {
            cx.error(
                "reserved-name",
                format!(
                    "`{}` is a word of the access language and no name for a policy",
                    entry.key
                ),
                &entry.key_origin,
                &format!("call it for example `my-{}`", entry.key),
            );
            continue;
        }
        // A policy is made of words and tables, so there are no circles.
        let access = resolve(&entry.node, &Policies::new(), cx);
        resolved.push((entry.key.clone(), access));
    }
    resolved
}

/// Resolves one `access`. What is wrong is reported and shuts.
pub(crate) fn resolve(node: &Node, policies: &Policies, cx: &mut Context<'_>) -> Access {
    match &node.value {
        Value::Str(word) => by_word(word, node, policies, cx),
        Value::Table(table) => Access::AnyOf(vec![one_table(table, &node.origin, cx)]),
        Value::List(items) => {
            let tables = items.iter().filter_map(|item| Some((item.as_table()?, &item.origin)));
            Access::AnyOf(tables.map(|(table, origin)| one_table(table, origin, cx)).collect())
        }
        _ => Access::Deny,
    }
}

fn by_word(word: &str, node: &Node, policies: &Policies, cx: &mut Context<'_>) -> Access {
    let table = AccessTable::default();
    let table = match word {
        "admin" => AccessTable { roles: Some(vec![Role::Admin]), ..table },
        "api-key" => AccessTable { credentials: Some(vec![CredentialKind::ApiKey]), ..table },
        "mfa" => AccessTable { mfa: true, ..table },
        "public" => AccessTable { public: true, ..table },
        "signed-in" => table,
        "deny" => return Access::Deny,
        name => {
            if let Some((_, access)) = policies.iter().find(|(n, _)| n == name) {
                return access.clone();
            }
            let names =
                ACCESS_WORDS.iter().copied().chain(policies.iter().map(|(n, _)| n.as_str()));
            let near = closest(name, names).map(|n| format!("did you mean `{n}`?"));
            let problem = Diagnostic::error(
                "unknown-access",
                format!("`{name}` is no word of the access language and no policy"),
            )
            .at(&node.origin);
            let help = near.unwrap_or_else(|| {
                format!(
                    "use {}, or add `{name} = {{ … }}` under `[policy]`",
                    ACCESS_WORDS.join(", ")
                )
            });
            cx.problems.add(problem.help(help));
            return Access::Deny;
        }
    };
    Access::AnyOf(vec![table])
}

fn one_table(table: &Table, origin: &Origin, cx: &mut Context<'_>) -> AccessTable {
    let claims = table.table("claims").map(|t| t.entries.as_slice()).unwrap_or_default();
    for entry in table.entries.iter().chain(claims) {
        if matches!(&entry.node.value, Value::List(items) if items.is_empty()) {
            cx.error(
                "empty-list",
                format!("`{}` is an empty list: nobody could ever meet it", entry.key),
                &entry.node.origin,
                "name somebody, leave the key out, or write `access = \"deny\"`",
            );
        }
    }
    let texts = |key: &str| table.get(key).map(|_| table.texts(key));
    let shared = |key: &str| {
        texts(key).map(|list| list.into_iter().map(Arc::from).collect::<Vec<Arc<str>>>())
    };
    let lower = |key: &str| {
        texts(key).map(|list| {
            list.into_iter().map(|t| Arc::from(t.to_lowercase())).collect::<Vec<Arc<str>>>()
        })
    };
    let credentials = credentials(table, cx);
    let claims = table.get("claims").map(|node| {
        let entries = node.as_table().map(|t| t.entries.as_slice()).unwrap_or_default();
        let values = |n: &Node| n.items().iter().filter_map(Node::as_str).map(Arc::from).collect();
        entries.iter().map(|e| (Arc::from(e.key.as_str()), values(&e.node))).collect()
    });
    let resolved = AccessTable {
        public: table.bool("public"),
        users: shared("users"),
        emails: lower("emails"),
        email_domains: lower("email_domains"),
        groups: texts("groups")
            .map(|list| list.into_iter().filter_map(|g| Group::new(g).ok()).collect()),
        roles: texts("roles").map(|list| list.into_iter().filter_map(|r| r.parse().ok()).collect()),
        credentials,
        mfa: table.bool("mfa"),
        max_auth_age: table.get("max_auth_age").map(|_| table.duration("max_auth_age")),
        networks: texts("networks")
            .map(|list| list.into_iter().filter_map(|n| form::network(n).ok()).collect()),
        scopes: shared("scopes"),
        claims,
    };
    contradictions(&resolved, table, origin, cx);
    resolved
}

fn credentials(table: &Table, cx: &mut Context<'_>) -> Option<Vec<CredentialKind>> {
    let node = table.get("credentials")?;
    let mut kinds = Vec::new();
    for item in node.items() {
        let Some(kind) = item.as_str().and_then(CredentialKind::from_word) else { continue };
        match &kind {
            CredentialKind::ClientCert => {
                later::refuse(cx, &format!("`credentials = [\"{kind}\"]`"), &item.origin);
            }
            CredentialKind::Jwt(name) => known_issuer(name, &item.origin, cx),
            _ => {}
        }
        kinds.push(kind);
    }
    Some(kinds)
}

/// Tokens are taken of issuers that are named, and of nobody else (SECURITY 1.N).
fn known_issuer(name: &str, origin: &Origin, cx: &mut Context<'_>) {
    if cx.issuer_names.iter().any(|known| known == name) {
        return;
    }
    let help = match closest(name, cx.issuer_names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `jwt:{near}`?"),
        None => format!("add a `[[jwt_issuer]]` with `name = \"{name}\"`"),
    };
    let message = format!("`jwt:{name}` names no `[[jwt_issuer]]`: whose tokens would be taken?");
    cx.error("unknown-issuer", message, origin, &help);
}

fn contradictions(resolved: &AccessTable, table: &Table, origin: &Origin, cx: &mut Context<'_>) {
    let asks_session = resolved.mfa || resolved.max_auth_age.is_some();
    let takes_session =
        resolved.credentials.as_ref().is_none_or(|c| c.contains(&CredentialKind::Session));
    if asks_session && !takes_session {
        let key = if resolved.mfa { "mfa" } else { "max_auth_age" };
        let place = table.entry(key).map_or_else(|| origin.clone(), |e| e.key_origin.clone());
        cx.error(
            "never-met",
            format!("`{key}` is met by sessions only, but `credentials` takes none: nobody could ever pass"),
            &place,
            "add \"session\" to `credentials`, or take one of the two out",
        );
    }
    let takes_jwt = |kinds: &Vec<CredentialKind>| {
        kinds.iter().any(|kind| matches!(kind, CredentialKind::Jwt(_)))
    };
    if let Some(claims) = table.entry("claims")
        && !resolved.credentials.as_ref().is_some_and(takes_jwt)
    {
        cx.error(
            "never-met",
            "`claims` is met by tokens of `[[jwt_issuer]]` only, but `credentials` takes none: nobody could ever pass",
            &claims.key_origin,
            "add `credentials = [\"jwt:<issuer name>\"]`, or take `claims` out",
        );
    }
    let asks_identity = [
        "users",
        "emails",
        "email_domains",
        "groups",
        "roles",
        "credentials",
        "max_auth_age",
        "scopes",
        "claims",
    ]
    .into_iter()
    .find(|key| table.get(key).is_some())
    .or(resolved.mfa.then_some("mfa"));
    if let (true, Some(key)) = (resolved.public, asks_identity) {
        let place = table.entry(key).map_or_else(|| origin.clone(), |e| e.key_origin.clone());
        cx.error(
            "public-with-identity",
            format!("`public = true` asks for nobody, but `{key}` asks who it is"),
            &place,
            "take one of the two out; `public` goes with `networks` only",
        );
    }
}
