//! Values that know where they came from: what a file, the environment, a profile or the registry says,
//! in one shape, so that the layers can be laid over one another and each value still be underlined.

use std::path::PathBuf;
use std::sync::Arc;

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Where each line begins, so that naming a line costs no walk through the file.
    pub(crate) lines: Vec<usize>,
}

impl SourceFile {
    pub(crate) fn new(path: PathBuf, text: String, mode: u32) -> Self {
        let lines =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path, text, mode, lines }
    }

    /// The number, from 1, and the beginning of the line that holds the byte.
    pub(crate) fn line_of(&self, at: usize) -> (usize, usize) {
        let number = self.lines.partition_point(|&start| start <= at);
        (number, number.checked_sub(1).and_then(|i| self.lines.get(i)).copied().unwrap_or(0))
    }
}

/// Bytes of a file.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: Arc<SourceFile>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Who said so.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Default,
    Env(Arc<str>),
    File(Place),
    Profile(&'static str),
}

/// A value and who said so.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    /// `env:NAME` or `file:/path` where the text of the file pointed elsewhere.
    pub(crate) via: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Float(f64),
    Int(i64),
    List(Vec<Node>),
    Str(String),
    Table(Table),
}

/// Entries in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_origin: Origin,
    pub(crate) node: Node,
}

/// Equality ignores where a value came from.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.node == other.node
    }
}

impl Origin {
    /// `default`, `profile`, `file:line` or `env:NAME`.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Env(name) => format!("env:{name}"),
            Self::File(place) => place.file_line(),
            Self::Profile(_) => "profile".to_owned(),
        }
    }

    /// Whether a person asked for it, by file or environment.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self, Self::Env(_) | Self::File(_))
    }
}

impl Node {
    pub(crate) fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin, via: None }
    }

    pub(crate) fn text(text: impl Into<String>, origin: Origin) -> Self {
        Self::new(Value::Str(text.into()), origin)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The elements of a list; a single value counts as a list of one.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// What a file's author would call it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.value {
            Value::Bool(_) => "a boolean",
            Value::Float(_) => "a number with a fraction",
            Value::Int(_) => "a number",
            Value::List(_) => "a list",
            Value::Str(_) => "a string",
            Value::Table(_) => "a table",
        }
    }
}

impl Table {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.node)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.node)
    }

    pub(crate) fn table(&self, key: &str) -> Option<&Table> {
        self.get(key).and_then(Node::as_table)
    }

    /// The node under a dotted path of tables.
    pub(crate) fn at(&self, path: &str) -> Option<&Node> {
        match path.split_once('.') {
            None => self.get(path),
            Some((head, rest)) => self.table(head)?.at(rest),
        }
    }

    /// Replaces or adds; a list holds what it held, no merging.
    pub(crate) fn set(&mut self, key: &str, node: Node) {
        match self.get_mut(key) {
            Some(place) => *place = node,
            None => {
                let key_origin = node.origin.clone();
                self.entries.push(Entry { key: key.to_owned(), key_origin, node });
            }
        }
    }

    /// Sets under a dotted path, making tables on the way.
    pub(crate) fn set_at(&mut self, path: &str, node: Node) {
        let Some((head, rest)) = path.split_once('.') else {
            return self.set(path, node);
        };
        if !matches!(self.get(head).map(|n| &n.value), Some(Value::Table(_))) {
            self.set(head, Node::new(Value::Table(Table::default()), node.origin.clone()));
        }
        if let Some(Value::Table(table)) = self.get_mut(head).map(|n| &mut n.value) {
            table.set_at(rest, node);
        }
    }

    /// Lays `over` on this table: tables are merged at every depth, everything else is replaced.
    pub(crate) fn lay_over(&mut self, over: Table) {
        for entry in over.entries {
            match self.entries.iter_mut().find(|e| e.key == entry.key) {
                Some(place) => match (&mut place.node.value, entry.node.value) {
                    (Value::Table(under), Value::Table(over)) => {
                        under.lay_over(over);
                        place.key_origin = entry.key_origin;
                        place.node.origin = entry.node.origin;
                    }
                    (_, value) => {
                        place.node = Node { value, ..entry.node };
                        place.key_origin = entry.key_origin;
                    }
                },
                None => self.entries.push(entry),
            }
        }
    }

    pub(crate) fn origin(&self, path: &str) -> Origin {
        self.at(path).map_or(Origin::Default, |n| n.origin.clone())
    }

    pub(crate) fn str(&self, path: &str) -> &str {
        self.at(path).and_then(Node::as_str).unwrap_or_default()
    }

    pub(crate) fn bool(&self, path: &str) -> bool {
        matches!(self.at(path).map(|n| &n.value), Some(Value::Bool(true)))
    }

    pub(crate) fn int(&self, path: &str) -> i64 {
        match self.at(path).map(|n| &n.value) {
            Some(Value::Int(number)) => *number,
            _ => 0,
        }
    }

    /// A duration whose form was checked before.
    pub(crate) fn duration(&self, path: &str) -> std::time::Duration {
        crate::form::duration(self.str(path)).unwrap_or_default()
    }

    /// The texts of a list, or of a single text.
    pub(crate) fn texts(&self, path: &str) -> Vec<&str> {
        self.at(path)
            .map(|n| n.items().iter().filter_map(Node::as_str).collect())
            .unwrap_or_default()
    }

    /// The tables of a list of tables.
    pub(crate) fn tables(&self, path: &str) -> Vec<(&Node, &Table)> {
        let items = self.at(path).map(Node::items).unwrap_or_default();
        items.iter().filter_map(|n| n.as_table().map(|t| (n, t))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        crate::source::fragment(text, &Origin::Default).unwrap()
    }

    #[test]
    fn tables_are_merged_at_every_depth_and_lists_replaced() {
        let mut under = table("a = { b = { c = 1, d = [1, 2] } }\ne = 1");
        under.lay_over(table("a = { b = { d = [3] } }\nf = 2"));
        assert_eq!(under, table("a = { b = { c = 1, d = [3] } }\ne = 1\nf = 2"));
    }

    #[test]
    fn a_word_laid_over_a_table_replaces_it() {
        let mut under = table("access = { groups = ['a'] }");
        under.lay_over(table("access = 'public'"));
        assert_eq!(under, table("access = 'public'"));
    }
}
