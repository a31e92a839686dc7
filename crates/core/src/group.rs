//! Group names: what they may hold, so that a comma-joined header cannot be forged.

use std::fmt;
use std::sync::Arc;

/// A group name: 1–128 printable characters without `,` `|` `;`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(Arc<str>);

/// Why a text is no group name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no group name: use 1 to 128 printable characters without `,` `|` `;`")]
pub struct InvalidGroup {
    /// The refused text, cut to 128 characters.
    pub name: String,
}

impl Group {
    /// Checks the text. Fails where it is empty, too long, or holds a separator or a
    /// control character.
    pub fn new(name: &str) -> Result<Self, InvalidGroup> {
        let length = name.chars().count();
        let allowed = |c: char| !c.is_control() && !matches!(c, ',' | '|' | ';');
        if (1..=128).contains(&length) && name.chars().all(allowed) && name.trim() == name {
            Ok(Self(Arc::from(name)))
        } else {
            Err(InvalidGroup { name: name.chars().take(128).collect() })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_and_control_characters_are_refused() {
        for bad in ["", "a,b", "a|b", "a;b", "a\nb", " a", &"x".repeat(129)] {
            assert!(Group::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_other_scripts_are_kept() {
        assert!(Group::new("редакторы").is_ok());
        assert!(Group::new("github:org/team").is_ok());
    }
}
