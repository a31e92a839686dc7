//! Files that others may read and should not: private keys, secret files, and configuration files that
//! hold a secret in clear.
//!
//! What counts is whether others can get at the bytes: a file of mode 0644 in a folder of mode 0700 draws
//! a warning, in an open folder it is an error. Container engines mount secrets as 0444; their folders are left out.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Context;
use crate::diagnostic::Diagnostic;
use crate::env::is_container_secret;
use crate::keys::{Key, Kind, ROOT};
use crate::tree::{Node, Origin, Table, Value};

pub(crate) fn check(root: &Table, cx: &mut Context<'_>) {
    for (_, table) in root.tables("tls.certificate") {
        file(Path::new(table.str("key")), "the private key", &table.origin("key"), cx);
    }
    let mut secrets = Vec::new();
    collect(root, ROOT, &mut secrets);
    let mut told: Vec<&Path> = Vec::new();
    for node in &secrets {
        if let Some(path) = node.via.as_deref().and_then(|via| via.strip_prefix("file:")) {
            file(Path::new(path), "the secret file", &node.origin, cx);
            continue;
        }
        if let (Origin::File(place), None, Some(text)) = (&node.origin, &node.via, node.as_str())
            && !text.is_empty()
            && !told.contains(&place.file.path.as_path())
        {
            told.push(&place.file.path);
            if place.file.mode & 0o004 != 0 {
                report(
                    &place.file.path,
                    place.file.mode,
                    "this file holds a secret and",
                    &node.origin,
                    cx,
                );
            }
        }
    }
}

/// Every value of a key that is secret.
pub(crate) fn collect<'a>(table: &'a Table, keys: &'static [Key], found: &mut Vec<&'a Node>) {
    for entry in &table.entries {
        let Some(key) = keys.iter().find(|k| k.name == entry.key) else { continue };
        if key.secret {
            found.extend(entry.node.items());
        }
        match (&key.kind, &entry.node.value) {
            (Kind::Table(inner), Value::Table(table)) => collect(table, inner, found),
            (Kind::Tables(inner), Value::List(items)) => {
                items.iter().filter_map(Node::as_table).for_each(|t| collect(t, inner, found));
            }
            _ => {}
        }
    }
}

fn file(path: &Path, what: &str, origin: &Origin, cx: &mut Context<'_>) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    let mode = meta.permissions().mode() & 0o7777;
    let what = format!("{what} `{}`", path.display());
    if mode & 0o007 != 0 && !is_container_secret(path) {
        report(path, mode, &what, origin, cx);
    } else if mode & 0o020 != 0 {
        let message = format!("{what} may be written by its group (mode {mode:04o})");
        cx.warning("readable-by-others", message, origin, &format!("chmod 640 {}", path.display()));
    }
}

fn report(path: &Path, mode: u32, what: &str, origin: &Origin, cx: &mut Context<'_>) {
    let help = format!("chmod 600 {}", path.display());
    // What a variable points to is usually mounted by somebody else's tool, with its own modes.
    let is_variable = matches!(origin, Origin::Env(_));
    let problem = if is_variable {
        Diagnostic::warning(
            "readable-by-others",
            format!("{what} can be read by others (mode {mode:04o})"),
        )
    } else if is_reachable(path) {
        Diagnostic::error(
            "readable-by-others",
            format!("{what} can be read by others (mode {mode:04o})"),
        )
    } else {
        let message =
            format!("{what} has mode {mode:04o}: only the folder around it keeps others out");
        Diagnostic::warning("readable-by-others", message)
    };
    cx.problems.add(problem.at(origin).help(help));
}

/// Whether others can walk every folder on the way.
fn is_reachable(path: &Path) -> bool {
    let Ok(path) = std::fs::canonicalize(path) else { return true };
    path.ancestors().skip(1).all(|folder| {
        std::fs::metadata(folder).map_or(true, |m| m.permissions().mode() & 0o001 != 0)
    })
}
