//! Turns files, environment and secret files into [`vestibule_core::settings::Settings`], or into a
//! report that tells the operator what to type. The only crate that reads the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vestibule_core::settings::Settings;

/// The process environment, taken once at the start.
pub type Environment = BTreeMap<String, String>;

/// The environment of this process. Variables that are no UTF-8 are left out.
pub fn environment() -> Environment {
    todo!("config helper")
}

/// A loaded configuration.
#[derive(Debug)]
pub struct Loaded {
    /// What the runtime uses.
    pub settings: Settings,
    /// Warnings and notices, to be logged.
    pub warnings: Vec<Diagnostic>,
    /// Every file that was read (for the watcher): route files, `file:` values, certificates.
    pub files: Vec<PathBuf>,
    /// Directories and patterns of `include`, for the watcher.
    pub include_dirs: Vec<PathBuf>,
    /// Every effective value with its origin, secrets masked (for `check --format json`).
    pub effective: serde_json::Value,
}

/// Everything that is wrong.
#[derive(Debug)]
pub struct Report {
    /// All problems of one run: errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// One problem.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Stable kebab-case code, e.g. `unknown-key`.
    pub code: &'static str,
    /// Whether it stops the start.
    pub is_error: bool,
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

/// Loads a file (or, with `None`, the environment alone).
pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Loaded, Report> {
    let _ = (file, environment);
    todo!("config helper")
}

/// A report as text in the style of rustc (no colour).
pub fn render(diagnostics: &[Diagnostic]) -> String {
    let _ = diagnostics;
    todo!("config helper")
}

/// The JSON Schema of the route file.
pub fn json_schema() -> serde_json::Value {
    todo!("config helper")
}

/// The commented starter file of `vestibule init`.
pub fn starter_file() -> String {
    todo!("config helper")
}
