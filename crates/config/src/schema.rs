//! The JSON Schema of the file, from the registry.

use serde_json::{Map, Value as Json, json};

use crate::keys::route::{ACCESS, ACCESS_WORDS, ROUTE};
use crate::keys::{Key, Kind, ROOT};
use crate::tree::Origin;

/// Draft 2020-12. Strings that point elsewhere (`env:NAME`, `file:/path`) are taken for every type.
pub(crate) fn json() -> Json {
    let mut schema = table(ROOT, false);
    if let Json::Object(object) = &mut schema {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".to_owned(), json!("Vestibule"));
        object.insert(
            "$defs".to_owned(),
            json!({
                "elsewhere": { "type": "string", "pattern": "^(env|file):.+" },
                "access": access(),
                "access-table": table(ACCESS, false),
                "route": table(ROUTE, false),
                "partial-route": table(ROUTE, true),
            }),
        );
    }
    schema
}

fn table(keys: &[Key], is_partial: bool) -> Json {
    let properties: Map<String, Json> =
        keys.iter().map(|k| (k.name.to_owned(), property(k))).collect();
    let required: Vec<&str> =
        keys.iter().filter(|k| k.required && !is_partial).map(|k| k.name).collect();
    let mut object =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty()
        && let Json::Object(object) = &mut object
    {
        object.insert("required".to_owned(), json!(required));
    }
    object
}

fn property(key: &Key) -> Json {
    let mut schema = kind(&key.kind);
    if let Json::Object(object) = &mut schema {
        let later = if key.later { " Not available yet." } else { "" };
        object.insert("description".to_owned(), json!(format!("{}{later}", key.doc)));
        if let Some(default) = key.default.and_then(value) {
            object.insert("default".to_owned(), default);
        }
        if let Some(example) = key.example.and_then(value) {
            object.insert("examples".to_owned(), json!([example]));
        }
    }
    schema
}

fn kind(kind_of: &Kind) -> Json {
    let or_elsewhere = |schema: Json| json!({ "anyOf": [schema, { "$ref": "#/$defs/elsewhere" }] });
    match kind_of {
        Kind::Access => json!({ "$ref": "#/$defs/access" }),
        Kind::Bool => or_elsewhere(json!({ "type": "boolean" })),
        Kind::Duration => {
            json!({ "type": "string", "pattern": "^(([0-9]+ *(ms|s|m|min|h|d|w))+|(env|file):.+)$" })
        }
        Kind::Int(least, most) => {
            or_elsewhere(json!({ "type": "integer", "minimum": least, "maximum": most }))
        }
        Kind::List(inner) => or_elsewhere(json!({ "type": "array", "items": kind(inner) })),
        Kind::Map(inner) => json!({ "type": "object", "additionalProperties": kind(inner) }),
        Kind::OneOrMany(inner) => {
            json!({ "anyOf": [kind(inner), { "type": "array", "items": kind(inner) }] })
        }
        Kind::PartialRoute => json!({ "$ref": "#/$defs/partial-route" }),
        Kind::Path => json!({ "type": "string" }),
        Kind::Size => json!({ "anyOf": [
            { "type": "string", "pattern": "^([0-9]+ *(B|kB|KB|KiB|MB|MiB|GB|GiB|TB|TiB)?|(env|file):.+)$" },
            { "type": "integer", "minimum": 0 },
        ] }),
        Kind::Table(keys) => table(keys, false),
        Kind::Tables(keys) if std::ptr::eq(*keys, ROUTE) => {
            json!({ "type": "array", "items": { "$ref": "#/$defs/route" } })
        }
        Kind::Tables(keys) => json!({ "type": "array", "items": table(keys, false) }),
        Kind::Text(_) => json!({ "type": "string" }),
        Kind::TrustedProxies => json!({ "anyOf": [
            { "type": "boolean" },
            { "type": "integer", "minimum": 1, "maximum": 64 },
            { "type": "array", "items": { "type": "string" } },
            { "$ref": "#/$defs/elsewhere" },
        ] }),
        Kind::Word(words) => or_elsewhere(json!({ "enum": words })),
    }
}

fn access() -> Json {
    let words = ACCESS_WORDS.join("`, `");
    json!({
        "description": format!("`{words}`, a name of [policy], a table in which every key must hold, or a list of such tables (any of them)."),
        "anyOf": [
            { "type": "string" },
            { "$ref": "#/$defs/access-table" },
            { "type": "array", "items": { "$ref": "#/$defs/access-table" }, "minItems": 1 },
        ],
    })
}

/// A TOML value as JSON.
fn value(toml: &str) -> Option<Json> {
    let table = crate::source::fragment(&format!("value = {toml}"), &Origin::Default)?;
    let effective = |node: &crate::tree::Node| plain(node);
    table.get("value").map(effective)
}

fn plain(node: &crate::tree::Node) -> Json {
    use crate::tree::Value;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_000_01_the_schema_lists_auth_provider_and_smtp() {
        let schema = json();
        for path in ["auth", "provider", "smtp", "route", "server"] {
            assert!(schema["properties"][path].is_object(), "{path}");
        }
        assert_eq!(schema["properties"]["auth"]["properties"]["mode"]["default"], "full");
        assert_eq!(schema["$defs"]["route"]["additionalProperties"], false);
    }

    #[test]
    fn what_is_not_built_says_so() {
        let acme = &json()["properties"]["tls"]["properties"]["acme"]["description"];
        assert!(acme.as_str().unwrap().ends_with("Not available yet."), "{acme}");
    }
}
