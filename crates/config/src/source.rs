//! Reads files and turns their text into trees whose values know their place. Knows TOML and `include`;
//! knows no key by name but `include`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Problems};
use crate::tree::{Entry, Node, Origin, Place, SourceFile, Table, Value};

/// The largest file that is read.
const MAX_FILE: u64 = 16 << 20;

/// What was read, for the watcher.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) files: BTreeSet<PathBuf>,
    pub(crate) include_dirs: BTreeSet<PathBuf>,
    /// Whether some file is no TOML, so that what it holds is known in part only.
    pub(crate) is_partial: bool,
}

/// Reads the main file and everything it includes into one tree.
pub(crate) fn load(main: &Path, read: &mut Read, problems: &mut Problems) -> Table {
    let Some(mut root) = load_one(main, None, read, problems) else {
        return Table::default();
    };
    let Some(include) = root.get("include").cloned() else { return root };
    for pattern in include.items() {
        let Some(text) = pattern.as_str() else { continue };
        let found = matching(&folder_of(main).join(text), read);
        if found.is_empty() {
            let message = format!("no file matches `include = [\"{text}\"]`");
            let literal = !text.contains('*');
            let problem = if literal {
                Diagnostic::error("include-not-found", message)
                    .help("write the path relative to this file")
            } else {
                Diagnostic::notice("include-empty", message)
            };
            problems.add(problem.at(&pattern.origin));
        }
        for path in found {
            let Some(part) = load_one(&path, Some(&pattern.origin), read, problems) else {
                continue;
            };
            if let Some(nested) = part.entry("include") {
                problems.add(
                    Diagnostic::error("nested-include", "an included file includes nothing itself")
                        .at(&nested.key_origin)
                        .help("name all files in the `include` of the main file"),
                );
            }
            join(&mut root, part, "", problems);
        }
    }
    root
}

fn load_one(
    path: &Path,
    asked: Option<&Origin>,
    read: &mut Read,
    problems: &mut Problems,
) -> Option<Table> {
    read.files.insert(path.to_owned());
    let (text, mode) = match read_text(path) {
        Ok(found) => found,
        Err(why) => {
            read.is_partial = true;
            let problem = Diagnostic::error(
                "unreadable-file",
                format!("cannot read `{}`: {why}", path.display()),
            );
            problems.add(match asked {
                Some(origin) => problem.at(origin),
                None => {
                    problem.help("name a file with `-c FILE`, or make one with `vestibule init`")
                }
            });
            return None;
        }
    };
    let file = Arc::new(SourceFile::new(path.to_owned(), text, mode));
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let origin =
            Origin::File(Place { file: Arc::clone(&file), start: span.start, end: span.end });
        problems.add(
            Diagnostic::error("syntax", error.message().trim().replace('\n', ", ")).at(&origin),
        );
    }
    read.is_partial |= !errors.is_empty();
    Some(convert_table(table.get_ref(), &|span| {
        Origin::File(Place { file: Arc::clone(&file), start: span.start, end: span.end })
    }))
}

/// The text of a file and its permission bits.
pub(crate) fn read_text(path: &Path) -> Result<(String, u32), String> {
    let meta = std::fs::metadata(path).map_err(|e| plain(&e))?;
    if meta.is_dir() {
        return Err("it is a folder".to_owned());
    }
    if meta.len() > MAX_FILE {
        return Err("it is larger than 16 MiB".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|e| plain(&e))?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    Ok((text, meta.permissions().mode() & 0o7777))
}

/// What the system says, without its number.
pub(crate) fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// The folder that relative paths of a file start from.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Files that match a path whose names may hold `*`, in order of their names.
fn matching(pattern: &Path, read: &mut Read) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy().into_owned();
        if !name.contains('*') {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
            read.include_dirs.insert(folder.clone());
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            let mut names: Vec<_> = entries.flatten().map(|e| e.file_name()).collect();
            names.sort();
            let fits = |n: &std::ffi::OsString| glob(&name, &n.to_string_lossy());
            next.extend(names.iter().filter(|n| fits(n)).map(|n| folder.join(n)));
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    found
}

/// `*` is any run of characters, but hidden files are named in full.
fn glob(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// Adds an included file: lists of tables grow, tables are joined, anything else may stand once.
fn join(root: &mut Table, part: Table, path: &str, problems: &mut Problems) {
    for entry in part.entries {
        if entry.key == "include" && path.is_empty() {
            continue;
        }
        let Some(there) = root.entries.iter_mut().find(|e| e.key == entry.key) else {
            root.entries.push(entry);
            continue;
        };
        let path =
            if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        match (&mut there.node.value, entry.node.value) {
            (Value::Table(under), Value::Table(over)) => join(under, over, &path, problems),
            (Value::List(list), Value::List(more))
                if list.iter().chain(&more).all(|n| n.as_table().is_some()) =>
            {
                list.extend(more);
            }
            _ => problems.add(
                Diagnostic::error("key-in-two-files", format!("`{path}` is set in two files"))
                    .at(&entry.key_origin)
                    .help(format!(
                        "it stands at {} already: remove one of them",
                        there.key_origin.label()
                    )),
            ),
        }
    }
}

/// A TOML text that comes from nowhere in a file; `None` where it is no TOML.
pub(crate) fn fragment(text: &str, origin: &Origin) -> Option<Table> {
    let table = DeTable::parse(text).ok()?;
    Some(convert_table(table.get_ref(), &|_| origin.clone()))
}

fn convert_table(table: &DeTable<'_>, place: &dyn Fn(std::ops::Range<usize>) -> Origin) -> Table {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entries = entries.into_iter().map(|(key, value)| Entry {
        key: key.get_ref().to_string(),
        key_origin: place(key.span()),
        node: convert(value, place),
    });
    Table { entries: entries.collect() }
}

fn convert(value: &Spanned<DeValue<'_>>, place: &dyn Fn(std::ops::Range<usize>) -> Origin) -> Node {
    let converted = match value.get_ref() {
        DeValue::String(text) => Value::Str(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                .map_or(Value::Float(f64::NAN), Value::Int)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(time) => Value::Str(time.to_string()),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| convert(item, place)).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(table, place)),
    };
    Node::new(converted, place(value.span()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_runs_of_characters_of_one_name() {
        assert!(glob("*.toml", "a.toml") && glob("a*b*c", "aXbYc") && glob("*", "x"));
        assert!(!glob("*.toml", ".a.toml") && !glob("*.toml", "a.tom") && !glob("a*", "b"));
    }

    #[test]
    fn values_know_their_line() {
        let file = Arc::new(SourceFile::new("x.toml".into(), "[a]\nb = 1\n".to_owned(), 0o600));
        let (table, _) = DeTable::parse_recoverable(&file.text);
        let tree = convert_table(table.get_ref(), &|span| {
            Origin::File(Place { file: Arc::clone(&file), start: span.start, end: span.end })
        });
        assert_eq!(tree.origin("a.b").label(), "x.toml:2");
    }
}
