//! One problem, and where it stands. Not how it looks: that is [`mod@crate::render`].
//!
//! A problem carries its hint as data, so that the terminal, `check --format json` and the log line of
//! a refused reload say the same thing.

use std::path::PathBuf;

use crate::tree::{Origin, Place};

/// One problem.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Stable kebab-case code, e.g. `unknown-key`.
    pub code: &'static str,
    /// Whether it stops the start.
    pub is_error: bool,
    /// Only worth knowing: nothing is wrong.
    pub is_notice: bool,
    /// One sentence.
    pub message: String,
    /// Where, for problems of a file.
    pub span: Option<Span>,
    /// What to type next.
    pub help: Option<String>,
}

/// A place in a file.
#[derive(Clone, Debug)]
pub struct Span {
    /// The file as given.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Length in characters of what is underlined.
    pub length: usize,
    /// The whole line.
    pub text: String,
}

/// Codes of warnings that leave the server running but make `vestibule check` exit 1.
const FAIL_CHECK: &[&str] = &["no-way-to-sign-in", "provider-not-configured"];

impl Diagnostic {
    pub(crate) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            is_error: true,
            is_notice: false,
            message: message.into(),
            span: None,
            help: None,
        }
    }

    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { is_error: false, ..Self::error(code, message) }
    }

    pub(crate) fn notice(code: &'static str, message: impl Into<String>) -> Self {
        Self { is_error: false, is_notice: true, ..Self::error(code, message) }
    }

    /// Points at the place; a value of the environment is named in the message instead.
    pub(crate) fn at(mut self, origin: &Origin) -> Self {
        match origin {
            Origin::File(place) => self.span = Some(place.span()),
            Origin::Env(name) => {
                if !self.message.contains(&**name) {
                    self.message.push_str(&format!(" (from the environment variable `{name}`)"));
                }
            }
            Origin::Profile(profile) => {
                self.message.push_str(&format!(" (the default of profile `{profile}`)"));
            }
            Origin::Default => {}
        }
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// `error`, `warning` or `notice`.
    pub fn severity(&self) -> &'static str {
        match (self.is_error, self.is_notice) {
            (true, _) => "error",
            (false, true) => "notice",
            (false, false) => "warning",
        }
    }

    /// Whether `vestibule check` exits 1: an error, a provider of the environment that is off
    /// because variables are missing (which never stops a server), or no way to sign in but
    /// perhaps by a provider that only the store knows.
    pub fn fails_check(&self) -> bool {
        self.is_error || FAIL_CHECK.contains(&self.code)
    }

    /// As an object of `check --format json`.
    pub fn to_json(&self) -> serde_json::Value {
        let span = self.span.as_ref();
        serde_json::json!({
            "code": self.code,
            "severity": self.severity(),
            "message": self.message,
            "file": span.map(|s| s.file.display().to_string()),
            "line": span.map(|s| s.line),
            "column": span.map(|s| s.column),
            "help": self.help,
        })
    }
}

impl Place {
    /// Line, column and text, counted only when a problem is reported.
    pub(crate) fn span(&self) -> Span {
        let text = &self.file.text;
        let start = floor_boundary(text, self.start);
        let (line, line_start) = self.file.line_of(start);
        let rest = text.get(line_start..).unwrap_or_default();
        let before = text.get(line_start..start).unwrap_or_default();
        let end = floor_boundary(text, self.end.max(start));
        let marked = text.get(start..end).unwrap_or_default();
        Span {
            file: self.file.path.clone(),
            line,
            column: before.chars().count() + 1,
            length: marked.lines().next().unwrap_or_default().chars().count().max(1),
            text: rest.lines().next().unwrap_or_default().to_owned(),
        }
    }

    /// `file:line`.
    pub(crate) fn file_line(&self) -> String {
        format!("{}:{}", self.file.path.display(), self.file.line_of(self.start).0)
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// All problems of one run.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Diagnostic>);

impl Problems {
    pub(crate) fn add(&mut self, diagnostic: impl Into<Box<Diagnostic>>) {
        self.0.push(*diagnostic.into());
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.is_error)
    }

    /// In the order of the files, then everything that has no place; errors before the rest
    /// where both stand on one line.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.0.sort_by_key(|d| {
            let span = d.span.as_ref();
            (
                span.is_none(),
                span.map(|s| (s.file.clone(), s.line, s.column)),
                !d.is_error,
                d.is_notice,
            )
        });
        self.0
    }
}
