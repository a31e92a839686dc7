//! The single reading of a request path: what is matched is what is forwarded.

use std::fmt;

/// A path in normal form (CONTRACT section 3, "Paths"). Starts with `/`, holds no query.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NormalPath(String);

/// What a route permits that is refused by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathAllowances {
    /// `//`
    pub double_slash: bool,
    /// `%2F`
    pub encoded_slash: bool,
    /// `;` and `%3B`
    pub semicolon: bool,
}

/// Why a path has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// `%` without two hex digits.
    #[error("a broken percent escape")]
    BadEscape,
    /// `\` or `%5C`.
    #[error("a backslash")]
    Backslash,
    /// A control character, a byte from 0x80 on, `%00`, or a raw `#`.
    #[error("a character that cannot stand in a path")]
    BadCharacter,
    /// A `.` or `..` segment, also after one or two further decodings.
    #[error("a `.` or `..` segment")]
    DotSegment,
    /// `//` where it is not permitted.
    #[error("an empty segment")]
    DoubleSlash,
    /// `%2F` where it is not permitted.
    #[error("an encoded slash")]
    EncodedSlash,
    /// It does not start with `/`.
    #[error("no leading slash")]
    NotAbsolute,
    /// `;` or `%3B` where it is not permitted.
    #[error("a semicolon")]
    Semicolon,
}

/// What [`NormalPath::parse`] found besides the path: which allowances it needs.
pub type Needs = PathAllowances;

impl NormalPath {
    /// Brings a raw path (without query) to normal form, whatever a route may permit, and
    /// says which allowances it needs. The route is known only after its host is matched,
    /// so that check comes second: [`Needs::within`].
    pub fn parse(raw: &str) -> Result<(Self, Needs), BadPath> {
        let _ = raw;
        todo!("core helper")
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PathAllowances {
    /// Whether everything needed is allowed; else the first thing that is not.
    pub fn within(self, allowed: Self) -> Result<(), BadPath> {
        if self.double_slash && !allowed.double_slash {
            return Err(BadPath::DoubleSlash);
        }
        if self.encoded_slash && !allowed.encoded_slash {
            return Err(BadPath::EncodedSlash);
        }
        if self.semicolon && !allowed.semicolon {
            return Err(BadPath::Semicolon);
        }
        Ok(())
    }
}

impl fmt::Display for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
