//! What is known in form but not built: refused where somebody asks for it.

use super::Context;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, ROOT};
use crate::tree::{Origin, Table, Value};

/// Reports every key that is asked for and not built, and every value of a built key that is not.
pub(crate) fn report(root: &Table, cx: &mut Context<'_>) {
    keys(root, ROOT, "", cx);
    for path in ["smtp.enabled", "auth.passkeys.enabled", "auth.totp.enabled"] {
        if root.bool(path) && root.origin(path).is_asked() {
            refuse(cx, &format!("`{path} = true`"), &root.origin(path));
        }
    }
    if root.str("store.url").starts_with("postgres") {
        refuse(cx, "a PostgreSQL store", &root.origin("store.url"));
    }
    if root.str("auth.email.verification") == "required" {
        refuse(
            cx,
            "`auth.email.verification = \"required\"`",
            &root.origin("auth.email.verification"),
        );
    }
}

fn keys(table: &Table, known: &'static [Key], path: &str, cx: &mut Context<'_>) {
    for entry in &table.entries {
        let Some(key) = known.iter().find(|k| k.name == entry.key) else { continue };
        let path =
            if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        if key.later {
            match &entry.node.value {
                Value::List(items) => {
                    for item in items {
                        refuse(cx, &format!("`[[{path}]]`"), &item.origin);
                    }
                }
                Value::Table(_) => refuse(cx, &format!("`{path}`"), &entry.key_origin),
                _ => refuse(cx, &format!("`{path}`"), &entry.node.origin),
            }
            continue;
        }
        match (&key.kind, &entry.node.value) {
            (Kind::Table(inner), Value::Table(table)) => keys(table, inner, &path, cx),
            (Kind::PartialRoute, Value::Table(table)) => {
                keys(table, crate::keys::route::ROUTE, &path, cx)
            }
            (Kind::Map(Kind::PartialRoute), Value::Table(table)) => {
                for template in &table.entries {
                    if let Value::Table(table) = &template.node.value {
                        let path = format!("{path}.{}", template.key);
                        keys(table, crate::keys::route::ROUTE, &path, cx);
                    }
                }
            }
            (Kind::Tables(inner), Value::List(items)) => {
                for table in items.iter().filter_map(|i| i.as_table()) {
                    keys(table, inner, &path, cx);
                }
            }
            _ => {}
        }
    }
}

/// The one text of a refusal.
pub(crate) fn refuse(cx: &mut Context<'_>, what: &str, origin: &Origin) {
    let problem = Diagnostic::error("not-available-yet", format!("{what} is not available yet"));
    cx.problems.add(problem.at(origin).help("this version does not do it: take it out"));
}
