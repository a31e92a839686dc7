//! What a file or a variable says, held against the registry: every key known, every value of its form.
//! Values that are not are reported and taken out; what several keys mean together is `resolve`'s.

use std::collections::BTreeSet;
use std::path::Path;

use crate::diagnostic::{Diagnostic, Problems};
use crate::form;
use crate::keys::route::{ACCESS, ACCESS_WORDS};
use crate::keys::suggest::{closest, nearest};
use crate::keys::{Form, Key, Kind};
use crate::source::folder_of;
use crate::tree::{Node, Origin, Table, Value};

/// Holds trees against the registry.
pub(crate) struct Checker<'a> {
    pub(crate) problems: &'a mut Problems,
    /// Dotted paths whose value was refused.
    pub(crate) broken: &'a mut BTreeSet<String>,
}

impl Checker<'_> {
    /// Checks a table and removes what is wrong. `name` is what messages call the table.
    pub(crate) fn table(
        &mut self,
        table: &mut Table,
        keys: &'static [Key],
        path: &str,
        is_partial: bool,
        origin: &Origin,
    ) {
        let name = path.rsplit('.').next().unwrap_or(path);
        let owner = if name.is_empty() { "the file".to_owned() } else { format!("`{name}`") };
        let missing =
            keys.iter().filter(|k| k.required && !is_partial && table.get(k.name).is_none());
        for key in missing {
            let path = format!("{path}.{}", key.name);
            if self.broken.insert(path) {
                let example = key.example.map(|e| format!("add `{} = {e}`", key.name));
                let mut problem =
                    Diagnostic::error("missing-key", format!("{owner} has no `{}`", key.name))
                        .at(origin);
                problem.help = example;
                self.problems.add(problem);
            }
        }
        let entries = std::mem::take(&mut table.entries);
        for mut entry in entries {
            let Some(key) = keys.iter().find(|k| k.name == entry.key) else {
                let mut problem = Diagnostic::error(
                    "unknown-key",
                    format!("`{}` is not a key of {owner}", entry.key),
                )
                .at(&entry.key_origin);
                problem.help = nearest(&entry.key, keys).map(|n| format!("did you mean `{n}`?"));
                self.problems.add(problem);
                continue;
            };
            let path =
                if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            if self.value(&mut entry.node, &key.kind, &path, key.name) {
                table.entries.push(entry);
            } else {
                self.broken.insert(path);
            }
        }
    }

    /// Checks one value, bringing texts of variables to their type. False: it was refused.
    pub(crate) fn value(
        &mut self,
        node: &mut Node,
        kind: &'static Kind,
        path: &str,
        name: &str,
    ) -> bool {
        from_text(node, kind);
        match kind {
            Kind::Access => self.access(node, path, name),
            Kind::Bool => {
                matches!(node.value, Value::Bool(_))
                    || self.wrong_type(node, name, "`true` or `false`")
            }
            Kind::Duration => match &node.value {
                Value::Str(text) => match form::duration(text) {
                    Ok(time) if !time.is_zero() => true,
                    Ok(_) => self.refuse(
                        node,
                        "out-of-range",
                        format!("`{name}` must be longer than nothing"),
                    ),
                    Err(why) => self.refuse(node, "bad-duration", why),
                },
                Value::Int(number) => {
                    let help = format!("write it with a unit: `\"{number}s\"`");
                    self.wrong_type_help(node, name, "a duration", help)
                }
                _ => self.wrong_type(node, name, "a duration such as `\"15m\"`"),
            },
            Kind::Int(least, most) => match node.value {
                Value::Int(number) if (*least..=*most).contains(&number) => true,
                Value::Int(number) => {
                    let why =
                        format!("`{name}` is {number}, but must lie between {least} and {most}");
                    self.refuse(node, "out-of-range", why)
                }
                _ => self.wrong_type(node, name, "a whole number"),
            },
            Kind::List(inner) => match &mut node.value {
                Value::List(items) => self.items(items, inner, path, name),
                Value::Str(text) => {
                    let help = format!("write `[\"{text}\"]`");
                    self.wrong_type_help(node, name, "a list", help)
                }
                _ => self.wrong_type(node, name, "a list"),
            },
            Kind::Map(inner) => match &mut node.value {
                Value::Table(table) => self.map(table, inner, path),
                _ => self.wrong_type(node, name, "a table"),
            },
            Kind::OneOrMany(inner) => match &mut node.value {
                Value::List(items) => self.items(items, inner, path, name),
                _ => self.value(node, inner, path, name),
            },
            Kind::PartialRoute => {
                let origin = node.origin.clone();
                match &mut node.value {
                    Value::Table(table) => {
                        self.table(table, crate::keys::route::ROUTE, path, true, &origin);
                        true
                    }
                    _ => self.wrong_type(node, name, "a table of route keys"),
                }
            }
            Kind::Path => match &node.value {
                Value::Str(text) => {
                    if let (Origin::File(place), false) = (&node.origin, text.is_empty()) {
                        let path = folder_of(&place.file.path).join(Path::new(text));
                        node.value = Value::Str(path.to_string_lossy().into_owned());
                    }
                    true
                }
                _ => self.wrong_type(node, name, "a path"),
            },
            Kind::Size => match &node.value {
                Value::Str(text) => match form::size(text) {
                    Ok(_) => true,
                    Err(why) => self.refuse(node, "bad-size", why),
                },
                Value::Int(number) if *number >= 0 => {
                    node.value = Value::Str(number.to_string());
                    true
                }
                _ => self.wrong_type(node, name, "a size such as `\"10MiB\"`"),
            },
            Kind::Table(keys) => {
                let origin = node.origin.clone();
                match &mut node.value {
                    Value::Table(table) => {
                        self.table(table, keys, path, false, &origin);
                        true
                    }
                    Value::List(_) => {
                        let help = format!("write it as `[{path}]`, once");
                        self.wrong_type_help(node, name, "a table", help)
                    }
                    _ => self.wrong_type(node, name, "a table"),
                }
            }
            Kind::Tables(keys) => self.tables(node, keys, path, name),
            Kind::Text(form) => self.text(node, form, name),
            Kind::TrustedProxies => self.trusted_proxies(node, path, name),
            Kind::Word(words) => match &node.value {
                Value::Str(text) if words.contains(&text.as_str()) => true,
                Value::Str(text) => {
                    let list: Vec<String> =
                        words.iter().filter(|w| !w.is_empty()).map(|w| format!("`{w}`")).collect();
                    let why = format!("`{text}` is no value of `{name}`: use {}", list.join(", "));
                    let help = closest(text, words.iter().copied())
                        .map(|w| format!("did you mean `{w}`?"));
                    self.problems.add(Diagnostic {
                        help,
                        ..Diagnostic::error("unknown-value", why).at(&node.origin)
                    });
                    false
                }
                _ => self.wrong_type(node, name, "a string"),
            },
        }
    }

    fn text(&mut self, node: &Node, form: &Form, name: &str) -> bool {
        match &node.value {
            Value::Str(text) => match (form.check)(text) {
                Ok(()) => true,
                Err(why) => self.refuse(node, "bad-value", why),
            },
            _ => self.wrong_type(node, name, &format!("{} in quotes", form.what)),
        }
    }

    fn items(&mut self, items: &mut [Node], inner: &'static Kind, path: &str, name: &str) -> bool {
        let mut good = true;
        for item in items {
            good &= self.value(item, inner, path, name);
        }
        good
    }

    fn map(&mut self, table: &mut Table, inner: &'static Kind, path: &str) -> bool {
        let entries = std::mem::take(&mut table.entries);
        for mut entry in entries {
            let name = entry.key.clone();
            if self.value(&mut entry.node, inner, &format!("{path}.{name}"), &name) {
                table.entries.push(entry);
            }
        }
        true
    }

    fn tables(&mut self, node: &mut Node, keys: &'static [Key], path: &str, name: &str) -> bool {
        let Value::List(items) = &mut node.value else {
            let help = format!("write `[[{path}]]` with two brackets: there may be several");
            return self.wrong_type_help(node, name, "a list of tables", help);
        };
        for (index, item) in items.iter_mut().enumerate() {
            let origin = item.origin.clone();
            match &mut item.value {
                Value::Table(table) => {
                    // Each one on its own: a bad route does not hide the next.
                    self.table(table, keys, &format!("{path}[{index}].{name}"), false, &origin);
                }
                _ => {
                    self.wrong_type(item, name, "a table");
                }
            }
        }
        items.retain(|item| item.as_table().is_some());
        true
    }

    fn access(&mut self, node: &mut Node, path: &str, name: &str) -> bool {
        let origin = node.origin.clone();
        match &mut node.value {
            Value::Str(_) => true,
            Value::Table(table) => {
                self.table(table, ACCESS, &format!("{path}.access"), false, &origin);
                true
            }
            Value::List(items) if items.is_empty() => self.refuse(
                node,
                "empty-access",
                format!("an empty list of tables lets nobody in: write `{name} = \"deny\"`"),
            ),
            Value::List(items) => {
                let mut good = true;
                for item in items {
                    let origin = item.origin.clone();
                    match &mut item.value {
                        Value::Table(table) => {
                            self.table(table, ACCESS, &format!("{path}.access"), false, &origin)
                        }
                        _ => {
                            good = self.wrong_type(
                                item,
                                name,
                                "a table (a list of tables means \"any of these\")",
                            )
                        }
                    }
                }
                good
            }
            _ => {
                let words = ACCESS_WORDS.join(", ");
                self.wrong_type(
                    node,
                    name,
                    &format!("a word ({words}), a name of `[policy]`, or a table"),
                )
            }
        }
    }

    fn trusted_proxies(&mut self, node: &mut Node, path: &str, name: &str) -> bool {
        match &mut node.value {
            Value::Bool(_) | Value::Int(1..=64) => true,
            Value::Int(0) => {
                node.value = Value::Bool(false);
                true
            }
            Value::Int(number) => {
                let why = format!("`{name}` is {number}: a hop count lies between 0 and 64");
                self.refuse(node, "out-of-range", why)
            }
            Value::List(items) => {
                static NETWORK: Kind = Kind::Text(&crate::keys::NETWORK);
                let before = items.len();
                items.retain_mut(|item| self.value(item, &NETWORK, path, name));
                before == items.len() || !items.is_empty()
            }
            _ => self.wrong_type(node, name, "`false`, `true`, a hop count or a list of networks"),
        }
    }

    fn refuse(&mut self, node: &Node, code: &'static str, why: impl Into<String>) -> bool {
        self.problems.add(Diagnostic::error(code, why).at(&node.origin));
        false
    }

    fn wrong_type(&mut self, node: &Node, name: &str, wanted: &str) -> bool {
        let why = match (&node.value, &node.origin) {
            // Keys that hold secrets take any text, so none comes here.
            (Value::Str(text), Origin::Env(_)) => {
                format!("`{name}` is `{text}`, but takes {wanted}")
            }
            _ => format!("`{name}` is {}, but takes {wanted}", node.type_name()),
        };
        self.refuse(node, "wrong-type", why)
    }

    fn wrong_type_help(&mut self, node: &Node, name: &str, wanted: &str, help: String) -> bool {
        let why = format!("`{name}` is {}, but takes {wanted}", node.type_name());
        self.problems.add(Diagnostic::error("wrong-type", why).at(&node.origin).help(help));
        false
    }
}

/// A text that came by a variable or a `file:` is read as its key's type; what cannot be is left
/// as it is, for the check to refuse.
fn from_text(node: &mut Node, kind: &'static Kind) {
    if !matches!(node.origin, Origin::Env(_)) && node.via.is_none() {
        return;
    }
    let Value::Str(text) = &node.value else { return };
    if matches!(kind, Kind::Text(_) | Kind::Word(_) | Kind::Path | Kind::Size) {
        return;
    }
    let toml =
        || crate::source::fragment(&format!("value = {text}"), &node.origin)?.get("value").cloned();
    let origin = &node.origin;
    let list = || {
        Value::List(form::list(text).into_iter().map(|t| Node::text(t, origin.clone())).collect())
    };
    let converted = match kind {
        Kind::Bool => form::boolean(text).ok().map(Value::Bool),
        Kind::Int(..) => text.trim().parse().ok().map(Value::Int),
        Kind::Duration => {
            text.trim().parse::<u64>().ok().map(|secs| Value::Str(format!("{secs}s")))
        }
        Kind::TrustedProxies => match (text.trim().parse(), form::boolean(text)) {
            (Ok(count), _) => Some(Value::Int(count)),
            (_, Ok(value)) => Some(Value::Bool(value)),
            _ => Some(list()),
        },
        Kind::List(_) if text.trim_start().starts_with('[') => toml().map(|n| n.value),
        Kind::List(_) => Some(list()),
        Kind::OneOrMany(_) if text.trim_start().starts_with('[') => toml().map(|n| n.value),
        Kind::Access if text.trim_start().starts_with(['[', '{']) => toml().map(|n| n.value),
        Kind::Map(_) | Kind::PartialRoute | Kind::Table(_) | Kind::Tables(_) => {
            toml().map(|n| n.value)
        }
        _ => None,
    };
    if let Some(value) = converted {
        node.value = value;
    }
}
