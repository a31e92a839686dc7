//! `env:NAME`, `file:/path` and `literal:…` in the strings of a file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::Environment;
use crate::diagnostic::{Diagnostic, Problems};
use crate::env::Variables;
use crate::source;
use crate::tree::{Node, Origin, Table, Value};

/// Replaces what strings point to. What cannot be read is reported, taken out of the tree and its
/// path noted in `broken`, so that nobody complains a second time that it is missing.
pub(crate) struct Expander<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) files: &'a mut BTreeSet<PathBuf>,
    pub(crate) problems: &'a mut Problems,
    pub(crate) broken: &'a mut BTreeSet<String>,
}

impl Expander<'_> {
    pub(crate) fn table(&mut self, table: &mut Table, path: &str) {
        let entries = std::mem::take(&mut table.entries);
        for mut entry in entries {
            let path =
                if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
            if self.node(&mut entry.node, &path) {
                table.entries.push(entry);
            } else {
                self.broken.insert(path);
            }
        }
    }

    fn node(&mut self, node: &mut Node, path: &str) -> bool {
        match &mut node.value {
            Value::Table(table) => self.table(table, path),
            Value::List(items) => {
                let before = items.len();
                let mut kept = std::mem::take(items);
                kept.retain_mut(|item| self.node(item, path));
                let complete = kept.len() == before;
                *items = kept;
                return complete;
            }
            Value::Str(text) => {
                let text = std::mem::take(text);
                match self.text(&text, node, path) {
                    Ok(value) => node.value = Value::Str(value),
                    Err(problem) => {
                        self.problems.add(problem.at(&node.origin));
                        return false;
                    }
                }
            }
            _ => {}
        }
        true
    }

    fn text(&mut self, text: &str, node: &mut Node, path: &str) -> Result<String, Box<Diagnostic>> {
        if let Some(rest) = text.strip_prefix("literal:") {
            return Ok(rest.to_owned());
        }
        if let Some(name) = text.strip_prefix("env:") {
            let mut variables = Variables { environment: self.environment, files: self.files };
            return match variables.value(name) {
                Ok(Some(value)) => {
                    node.via = Some(text.into());
                    Ok(value)
                }
                Ok(None) => Err(Diagnostic::error(
                    "variable-not-set",
                    format!("the environment variable `{name}` is not set"),
                )
                .help(if path.starts_with("secrets.") {
                    format!("set it: {name}=$(openssl rand -hex 32)")
                } else {
                    format!("set `{name}`, or write the value here (`literal:` escapes a text that begins with `env:`)")
                })
                .into()),
                Err(problem) => Err(problem),
            };
        }
        if let Some(name) = text.strip_prefix("file:") {
            let base = match &node.origin {
                Origin::File(place) => source::folder_of(&place.file.path),
                _ => PathBuf::from("."),
            };
            let file = base.join(Path::new(name));
            self.files.insert(file.clone());
            let (value, _) = source::read_text(&file).map_err(|why| {
                Diagnostic::error("unreadable-file", format!("cannot read `{}`: {why}", file.display()))
                    .help("`file:` is followed by the path of a file that holds the value and nothing else")
            })?;
            node.via = Some(format!("file:{}", file.display()).into());
            return Ok(value.trim_end_matches(['\r', '\n']).to_owned());
        }
        Ok(text.to_owned())
    }
}
