//! A report as text, in the form that compilers made familiar. No colour is needed to understand it.

use std::fmt::Write;

use crate::diagnostic::{Diagnostic, Span};

/// The longest hint that stands on the line of the carets.
const INLINE: usize = 60;
/// The longest line of a file that is quoted.
const LINE: usize = 160;

/// All problems, one after the other, and how many there are.
pub(crate) fn text(diagnostics: &[Diagnostic], note: Option<&str>) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        one(&mut out, diagnostic, note.filter(|_| diagnostic.is_error));
        out.push('\n');
    }
    let count = |is_error: bool| {
        diagnostics.iter().filter(|d| d.is_error == is_error && !d.is_notice).count()
    };
    let plural =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (count(true), count(false)) {
        (0, 0) => {}
        (errors, 0) => _ = writeln!(out, "{}", plural(errors, "error")),
        (0, warnings) => _ = writeln!(out, "{}", plural(warnings, "warning")),
        (errors, warnings) => {
            _ = writeln!(out, "{}, {}", plural(errors, "error"), plural(warnings, "warning"))
        }
    }
    out
}

fn one(out: &mut String, diagnostic: &Diagnostic, note: Option<&str>) {
    // Writing to a String cannot fail.
    _ = writeln!(
        out,
        "{}[{}]: {}",
        diagnostic.severity(),
        diagnostic.code,
        shown(&diagnostic.message)
    );
    let help = diagnostic.help.as_deref();
    let inline = help.filter(|h| diagnostic.span.is_some() && h.chars().count() <= INLINE);
    let mut indent = 1;
    if let Some(span) = &diagnostic.span {
        indent = span.line.to_string().len();
        quote(out, span, inline, indent);
    }
    if let Some(help) = help.filter(|_| inline.is_none()) {
        _ = writeln!(out, "{:indent$} = help: {}", "", shown(help));
    }
    if let Some(note) = note {
        _ = writeln!(out, "{:indent$} = note: {note}", "");
    }
}

fn quote(out: &mut String, span: &Span, inline: Option<&str>, indent: usize) {
    _ = writeln!(out, "{:indent$}--> {}:{}:{}", "", span.file.display(), span.line, span.column);
    let line: String =
        span.text.chars().take(LINE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if span.column > LINE {
        return;
    }
    _ = writeln!(out, "{:indent$} |", "");
    _ = writeln!(out, "{:indent$} | {}", span.line, line.trim_end());
    let before = " ".repeat(span.column.saturating_sub(1));
    let room = LINE.saturating_sub(span.column) + 1;
    let carets = "^".repeat(span.length.clamp(1, room));
    let inline = inline.map(|h| format!(" {}", shown(h))).unwrap_or_default();
    _ = writeln!(out, "{:indent$} | {before}{carets}{inline}", "");
}

/// Without control characters: what an operator pasted does not steer the terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Diagnostic {
        Diagnostic {
            span: Some(Span {
                file: "vestibule.toml".into(),
                line: 42,
                column: 12,
                length: 5,
                text: "access = { group = [\"staff\"] }".to_owned(),
            }),
            ..Diagnostic::error("unknown-key", "`group` is not a key of `access`")
                .help("did you mean `groups`?")
        }
    }

    #[test]
    fn a_problem_shows_file_line_column_reason_and_fix() {
        let expected = "error[unknown-key]: `group` is not a key of `access`
  --> vestibule.toml:42:12
   |
42 | access = { group = [\"staff\"] }
   |            ^^^^^ did you mean `groups`?
   = note: the running configuration is unchanged

1 error
";
        assert_eq!(text(&[example()], Some("the running configuration is unchanged")), expected);
    }

    #[test]
    fn a_long_hint_stands_below() {
        let long = Diagnostic { help: Some("x ".repeat(40)), ..example() };
        assert!(text(&[long], None).contains("\n   = help: x x"));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let text = text(&[Diagnostic::error("x", "a\u{1b}[31mb")], None);
        assert!(!text.contains('\u{1b}'));
    }
}
