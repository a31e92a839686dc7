//! Every effective value with its origin, for `vestibule check --format json`. Never a secret.

use serde_json::{Map, Value as Json, json};

use crate::keys::{Key, Kind, ROOT};
use crate::tree::{Node, Table, Value};

/// Dotted key → `{ "value", "origin" }`. Elements of lists of tables are numbered from 0.
pub(crate) fn of(root: &Table) -> Json {
    let mut out = Map::new();
    table(root, ROOT, "", &mut out);
    Json::Object(out)
}

fn table(values: &Table, keys: &'static [Key], path: &str, out: &mut Map<String, Json>) {
    for entry in &values.entries {
        let Some(key) = keys.iter().find(|k| k.name == entry.key) else { continue };
        let path =
            if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        match (&key.kind, &entry.node.value) {
            (Kind::Table(inner), Value::Table(values)) => table(values, inner, &path, out),
            (Kind::Tables(inner), Value::List(items)) => {
                for (index, item) in items.iter().filter_map(Node::as_table).enumerate() {
                    table(item, inner, &format!("{path}[{index}]"), out);
                }
            }
            _ => {
                let value = if key.secret { json!("[secret]") } else { plain(&entry.node) };
                out.insert(path, json!({ "value": value, "origin": entry.node.origin.label() }));
            }
        }
    }
}

fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Bool(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::List(items) => Json::Array(items.iter().map(plain).collect()),
        Value::Str(text) => json!(text),
        Value::Table(table) => {
            Json::Object(table.entries.iter().map(|e| (e.key.clone(), plain(&e.node))).collect())
        }
    }
}
