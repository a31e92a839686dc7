//! Path patterns of rules (CONTRACT section 3, "Patterns").

use crate::path::NormalPath;

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: String,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(pub String);

impl PathPattern {
    /// Compiles a pattern. Fails on `?`, `#`, `**` elsewhere than stated, no leading slash,
    /// or whatever has no normal form.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let _ = text;
        todo!("core helper")
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path matches; `ignore_case` folds ASCII.
    pub fn matches(&self, path: &NormalPath, ignore_case: bool) -> bool {
        let _ = (path, ignore_case);
        todo!("core helper")
    }
}
