//! `VESTIBULE_SECTION__KEY`: two underscores a level, a number for an element of a list of tables
//! (`VESTIBULE_LISTENER__0__ADDRESS`). A table or list may be given whole, as TOML.

use std::collections::BTreeSet;

use super::{Variables, tree_origin};
use crate::diagnostic::{Diagnostic, Problems};
use crate::expand::Expander;
use crate::keys::suggest::closest;
use crate::keys::{Kind, ROOT};
use crate::raw::Checker;
use crate::tree::{Node, Table, Value};

/// Names with this beginning that are no keys.
const OTHERS: &[&str] = &["VESTIBULE_CONFIG", "VESTIBULE_PROFILE", "VESTIBULE_IGNORE_ENV"];

/// Lays every `VESTIBULE_*` variable over the tree.
pub(crate) fn apply(
    tree: &mut Table,
    variables: &mut Variables<'_>,
    problems: &mut Problems,
    broken: &mut BTreeSet<String>,
) {
    let names: Vec<String> =
        variables.environment.keys().filter(|n| n.starts_with("VESTIBULE_")).cloned().collect();
    let mut done = BTreeSet::new();
    for name in names {
        let base = name.strip_suffix("_FILE").unwrap_or(&name);
        // An exact key name wins over the reading of `_FILE`.
        let name =
            if resolve(&name).is_none() && resolve(base).is_some() { base } else { name.as_str() };
        if !done.insert(name.to_owned()) || OTHERS.contains(&base) {
            continue;
        }
        let Some((segments, kind)) = resolve(name) else {
            unknown(name, problems);
            continue;
        };
        let path = segments.join(".");
        let text = match value(variables, name) {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(problem) => {
                problems.add(problem);
                broken.insert(path);
                continue;
            }
        };
        let mut said = Table::default();
        said.set(&path, Node::text(text, tree_origin(name)));
        let environment = variables.environment;
        Expander { environment, files: variables.files, problems, broken }.table(&mut said, "");
        let Some(mut node) = said.get(&path).cloned() else { continue };
        node.via = node.via.or_else(|| super::via_file(environment, name));
        let leaf = segments.last().map(String::as_str).unwrap_or_default().to_owned();
        if !(Checker { problems, broken }).value(&mut node, kind, &path, &leaf) {
            broken.insert(path);
            continue;
        }
        if !put(tree, &segments, node) {
            problems.add(
                Diagnostic::error(
                    "bad-variable",
                    format!("`{name}` names an element that is not there"),
                )
                .help("number the elements of a list from 0, without a gap"),
            );
        }
    }
}

/// A variable's value; where its name is itself a key, `<NAME>_FILE` is still read.
fn value(variables: &mut Variables<'_>, name: &str) -> Result<Option<String>, Box<Diagnostic>> {
    if resolve(&format!("{name}_FILE")).is_some() {
        return Ok(variables.environment.get(name).filter(|v| !v.is_empty()).cloned());
    }
    variables.value(name)
}

fn unknown(name: &str, problems: &mut Problems) {
    let Some(rest) = name.strip_prefix("VESTIBULE_").filter(|rest| rest.contains("__")) else {
        return;
    };
    let near = closest(&rest.to_ascii_lowercase(), all_names().iter().map(String::as_str))
        .map(|near| format!("did you mean `VESTIBULE_{}`?", near.to_ascii_uppercase()));
    let notice =
        Diagnostic::notice("unknown-variable", format!("`{name}` is no key and is ignored"));
    problems.add(Diagnostic { help: near, ..notice });
}

fn all_names() -> Vec<String> {
    fn walk(keys: &'static [crate::keys::Key], path: &str, names: &mut Vec<String>) {
        for key in keys {
            let path =
                if path.is_empty() { key.name.to_owned() } else { format!("{path}__{}", key.name) };
            if let Kind::Table(keys) = key.kind {
                walk(keys, &path, names);
            }
            names.push(path);
        }
    }
    let mut names = Vec::new();
    walk(ROOT, "", &mut names);
    names
}

/// Path and form of the key that a variable names.
fn resolve(name: &str) -> Option<(Vec<String>, &'static Kind)> {
    let rest = name.strip_prefix("VESTIBULE_")?.to_ascii_lowercase();
    let segments: Vec<String> = rest.split("__").map(str::to_owned).collect();
    let mut parts = segments.iter().peekable();
    let first = parts.next()?;
    let mut kind = &ROOT.iter().find(|k| k.name == first)?.kind;
    while let Some(part) = parts.next() {
        kind = match kind {
            Kind::Tables(keys) => {
                part.parse::<usize>().ok()?;
                let name = parts.next()?;
                &keys.iter().find(|k| k.name == name)?.kind
            }
            Kind::Map(inner) => inner,
            other => &other.keys()?.iter().find(|k| k.name == part)?.kind,
        };
    }
    Some((segments, kind))
}

fn put(table: &mut Table, segments: &[String], node: Node) -> bool {
    let Some((head, rest)) = segments.split_first() else { return false };
    if rest.is_empty() {
        let mut over = Table::default();
        over.set(head, node);
        table.lay_over(over);
        return true;
    }
    let number = rest.first().and_then(|r| r.parse::<usize>().ok());
    if table.get(head).is_none() {
        let empty =
            if number.is_some() { Value::List(Vec::new()) } else { Value::Table(Table::default()) };
        table.set(head, Node::new(empty, node.origin.clone()));
    }
    match (table.get_mut(head).map(|n| &mut n.value), number) {
        (Some(Value::Table(inner)), None) => put(inner, rest, node),
        (Some(Value::List(items)), Some(index)) => {
            if index == items.len() {
                items.push(Node::new(Value::Table(Table::default()), node.origin.clone()));
            }
            match (items.get_mut(index).map(|n| &mut n.value), rest.split_first()) {
                (Some(Value::Table(inner)), Some((_, rest))) => put(inner, rest, node),
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_key_name_wins_over_the_file_reading() {
        assert!(resolve("VESTIBULE_TLS__ACME__CA_FILE").is_some());
        assert!(resolve("VESTIBULE_TLS__ACME__CA").is_none());
        assert!(resolve("VESTIBULE_SECRETS__AUTH_SECRET_FILE").is_none());
    }

    #[test]
    fn two_underscores_are_a_level() {
        let (path, kind) = resolve("VESTIBULE_AUTH__TOKEN__ACCESS_LIFETIME").unwrap();
        assert_eq!(path.join("."), "auth.token.access_lifetime");
        assert!(matches!(kind, Kind::Duration));
        assert!(resolve("VESTIBULE_LISTENER__0__ADDRESS").is_some());
    }
}
