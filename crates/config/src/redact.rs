//! Keeps secrets that stand in a file out of what is printed about that file.

use crate::diagnostic::Diagnostic;
use crate::keys::ROOT;
use crate::resolve::permissions::collect;
use crate::tree::{Node, Table};

/// Words in a line that make everything behind its `=` a secret.
const TELLTALE: &[&str] = &["secret", "password", "store_key"];

/// Every secret that the tree holds.
pub(crate) fn literals(root: &Table) -> Vec<String> {
    let mut nodes: Vec<&Node> = Vec::new();
    collect(root, ROOT, &mut nodes);
    nodes
        .into_iter()
        .filter_map(Node::as_str)
        .filter(|t| !t.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The problems without the secrets in the lines they quote.
///
/// Where a file is no TOML, or a secret is no text, the tree does not know it: then the name of the
/// key tells.
pub(crate) fn clean(
    mut diagnostics: Vec<Diagnostic>,
    literals: &[String],
    is_partial: bool,
) -> Vec<Diagnostic> {
    for diagnostic in &mut diagnostics {
        let by_name = is_partial || diagnostic.code == "wrong-type";
        let Some(span) = &mut diagnostic.span else { continue };
        for secret in literals {
            let stars = "*".repeat(secret.chars().count());
            for quote in ['"', '\''] {
                span.text = span
                    .text
                    .replace(&format!("{quote}{secret}{quote}"), &format!("{quote}{stars}{quote}"));
            }
            // A short one would blot out half the line, and is refused anyway.
            if secret.chars().count() >= 6 {
                span.text = span.text.replace(secret.as_str(), &stars);
            }
        }
        let lower = span.text.to_ascii_lowercase();
        if by_name && TELLTALE.iter().any(|word| lower.contains(word)) {
            hide_rest(&mut span.text);
        }
    }
    diagnostics
}

/// Stars for what stands behind the first `=`.
fn hide_rest(line: &mut String) {
    if let Some((key, value)) = line.split_once('=') {
        let hidden: String =
            value.chars().map(|c| if c.is_whitespace() { c } else { '*' }).collect();
        *line = format!("{key}={hidden}");
    }
}
