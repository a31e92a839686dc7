//! Names of headers that say who somebody is: which are set, and which are removed from
//! whatever a client sends, in every spelling.

/// Which identity headers an app gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Nothing but the assertion, where that is on.
    None,
    /// `Remote-User`, `Remote-Email`, `Remote-Name`, `Remote-Groups`.
    Remote,
    /// `X-Auth-Request-User`, `-Email`, `-Groups`, `-Preferred-Username`.
    XAuthRequest,
    /// `X-Forwarded-User`, `-Email`, `-Groups`, `-Preferred-Username`.
    XForwarded,
}

/// Every header name that Vestibule may assert an identity with, lower case, of all presets, and
/// those that pass a provider's token on.
pub const MANAGED: &[&str] = &[
    "remote-user",
    "remote-email",
    "remote-name",
    "remote-groups",
    "remote-groups-truncated",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-user",
    "x-forwarded-access-token",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-id-token",
    "x-forwarded-preferred-username",
    "x-forwarded-user",
    "x-vestibule-assertion",
];

/// Whether a client's header of this name must be removed: some app may read it as a
/// [`MANAGED`] name. Apps of the CGI family see letters and digits only and take whatever else
/// for one and the same mark, and some drop such marks at the end; so any case, any mark for
/// `-`, and any marks behind. One pass, no allocation.
pub fn is_managed(name: &[u8]) -> bool {
    if !matches!(name.first().map(|b| b | 0x20), Some(b'r' | b'x')) {
        return false;
    }
    let end = name.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1);
    let name = name.get(..end).unwrap_or_default();
    let fold = |b: u8| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' };
    MANAGED.iter().any(|managed| {
        managed.len() == name.len() && managed.bytes().zip(name.iter()).all(|(m, &n)| m == fold(n))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b2_every_spelling_of_a_managed_name_is_managed() {
        for name in MANAGED {
            for spelled in [
                name.to_string(),
                name.to_uppercase(),
                name.replace('-', "_"),
                name.replace('-', "."),
                name.replacen('-', "_", 1),
                name.replace('-', "~"),
                format!("{name}-"),
                format!("{name}_."),
            ] {
                assert!(is_managed(spelled.as_bytes()), "{spelled}");
            }
        }
        for other in ["remote", "x-forwarded-for", "remote-users", "x-user", "x-", "r", ""] {
            assert!(!is_managed(other.as_bytes()), "{other}");
        }
    }
}
