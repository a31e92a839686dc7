//! Turns files, environment and secret files into [`vestibule_core::settings::Settings`], or into a
//! report that tells the operator what to type. The only crate that reads the environment.
//!
//! Three stages: what is said (files and variables as trees whose values know their place, each held
//! against the registry of keys), what holds (the layers over one another), what it means (settings, and
//! every contradiction). All problems of one run are reported together.

#![warn(missing_docs)]

mod diagnostic;
mod effective;
mod env;
mod expand;
mod form;
mod keys;
mod profile;
mod raw;
mod redact;
mod reference;
mod render;
mod resolve;
mod schema;
mod source;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use vestibule_core::settings::Settings;

pub use crate::diagnostic::{Diagnostic, Span};

use crate::diagnostic::Problems;
use crate::tree::{Origin, Table};

/// The process environment, taken once at the start.
pub type Environment = BTreeMap<String, String>;

/// The environment of this process. Variables that are no UTF-8 are left out.
pub fn environment() -> Environment {
    env::of_process()
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

/// Whether any documented variable is set, so that a gateway can start without a file.
pub fn has_documented_variables(environment: &Environment) -> bool {
    env::says_anything(environment)
}

/// Loads a file (or, with `None`, the environment alone).
///
/// # Errors
///
/// With everything that is wrong, where anything is: nothing of such a configuration may be used.
///
/// ```
/// let report = vestibule_config::load(None, &Default::default()).unwrap_err();
/// assert!(vestibule_config::render(&report.diagnostics).contains("vestibule init"));
/// ```
pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Loaded, Report> {
    let environment = env::without_ignored(environment);
    let mut problems = Problems::default();
    if file.is_none() && !env::says_anything(&environment) {
        problems.add(
            Diagnostic::error("no-configuration", "there is no configuration file and no variable of ours is set")
                .help("make a file with `vestibule init`, name one with `-c FILE`, or try `vestibule protect http://127.0.0.1:3000`"),
        );
        return Err(Report { diagnostics: problems.into_sorted() });
    }
    let mut read = source::Read::default();
    let mut broken = BTreeSet::new();
    let mut root = match file {
        Some(path) => source::load(path, &mut read, &mut problems),
        None => Table::default(),
    };
    expand::Expander {
        environment: &environment,
        files: &mut read.files,
        problems: &mut problems,
        broken: &mut broken,
    }
    .table(&mut root, "");
    // Before the check, which takes out what is wrong: a wrong secret is one still.
    let secrets = redact::literals(&root);
    raw::Checker { problems: &mut problems, broken: &mut broken }.table(
        &mut root,
        keys::ROOT,
        "",
        false,
        &Origin::Default,
    );
    if read.is_partial {
        // Half a file says half the truth: what it means is not judged.
        return Err(Report { diagnostics: redact::clean(problems.into_sorted(), &secrets, true) });
    }
    let layered = lay(&mut root, &environment, &mut read.files, &mut problems, &mut broken);
    let mut context = resolve::Context {
        problems: &mut problems,
        broken: &broken,
        files: &mut read.files,
        profile: layered.profile.as_str(),
        base: layered.base,
        providers: layered.providers,
        issuer_names: Vec::new(),
    };
    let settings = resolve::resolve(&mut root, &mut context);
    let has_errors = problems.has_errors();
    let diagnostics = redact::clean(problems.into_sorted(), &secrets, false);
    if has_errors {
        return Err(Report { diagnostics });
    }
    Ok(Loaded {
        settings,
        warnings: diagnostics,
        files: read.files.into_iter().collect(),
        include_dirs: read.include_dirs.into_iter().collect(),
        effective: effective::of(&root),
    })
}

struct Layered {
    profile: String,
    base: env::Base,
    providers: Vec<env::providers::EnvironmentProvider>,
}

/// Lays profile, file, documented variables and `VESTIBULE_*` over one another.
fn lay(
    root: &mut Table,
    environment: &Environment,
    files: &mut BTreeSet<PathBuf>,
    problems: &mut Problems,
    broken: &mut BTreeSet<String>,
) -> Layered {
    let mut variables = env::Variables { environment, files };
    let profile = env::profile(environment, root);
    let around = env::Around { profile: &profile, file: root };
    let documented = env::documented(&mut variables, &around, problems, broken);
    let mut merged = profile::layer(&profile);
    merged.lay_over(std::mem::take(root));
    merged.lay_over(documented);
    env::overlay::apply(&mut merged, &mut variables, problems, broken);
    let base = env::base(&mut variables, &profile, problems);
    let sets = env::providers::gather(&mut variables, problems, broken);
    let providers = env::providers::join(&mut merged, sets, problems);
    *root = merged;
    Layered { profile, base, providers }
}

/// A report as text in the style of rustc (no colour).
pub fn render(diagnostics: &[Diagnostic]) -> String {
    render::text(diagnostics, None)
}

/// The same for a reload that was refused: every error says that nothing changed.
pub fn render_refused_reload(diagnostics: &[Diagnostic]) -> String {
    render::text(diagnostics, Some("the running configuration is unchanged"))
}

/// The JSON Schema of the route file.
pub fn json_schema() -> serde_json::Value {
    schema::json()
}

/// The commented starter file of `vestibule init`.
pub fn starter_file() -> String {
    reference::starter()
}

/// Every key with its meaning and default, as a commented file: `config/reference.toml`.
pub fn reference_file() -> String {
    reference::all()
}
