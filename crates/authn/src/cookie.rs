//! Names and forms of our cookies. The scheme of `portal_url` decides them, never the socket.

use std::fmt::Write as _;
use std::time::Duration;

use vestibule_core::facts::Scheme;
use vestibule_core::settings::Settings;

/// Our cookies' names and attributes under the settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookies {
    /// `__Host-vestibule`, `vestibule`, or `__Secure-vestibule`.
    pub session: &'static str,
    /// `__Host-vestibule-flow-` or `vestibule-flow-`, followed by a number 0–4.
    pub flow_prefix: &'static str,
    /// `__Host-vestibule-flow-provider` or `vestibule-flow-provider`: binds sign-ins at
    /// providers to the browser.
    pub provider_flow: &'static str,
    /// `__Host-vestibule-device` or `vestibule-device`.
    pub device: &'static str,
    /// `__Host-vestibule-csrf` or `vestibule-csrf`.
    pub csrf: &'static str,
    /// Whether `Secure` is set.
    pub secure: bool,
    /// `Domain`, for `cookie_domain` (session cookie only).
    pub domain: Option<String>,
}

/// Number of flow cookies a browser may have at once on one host.
pub const FLOW_COOKIES: u8 = 5;

/// Browsers keep no cookie longer (RFC 6265bis, 5.6.2).
const LONGEST: Duration = Duration::from_secs(400 * 86_400);

impl Cookies {
    /// The names under these settings.
    pub fn new(settings: &Settings) -> Self {
        let domain = settings.auth.session.cookie_domain.trim_start_matches('.');
        let domain = (!domain.is_empty()).then(|| domain.to_ascii_lowercase());
        if settings.server.portal.scheme == Scheme::Https {
            Self {
                session: if domain.is_some() { "__Secure-vestibule" } else { "__Host-vestibule" },
                flow_prefix: "__Host-vestibule-flow-",
                provider_flow: "__Host-vestibule-flow-provider",
                device: "__Host-vestibule-device",
                csrf: "__Host-vestibule-csrf",
                secure: true,
                domain,
            }
        } else {
            Self {
                session: "vestibule",
                flow_prefix: "vestibule-flow-",
                provider_flow: "vestibule-flow-provider",
                device: "vestibule-device",
                csrf: "vestibule-csrf",
                secure: false,
                domain,
            }
        }
    }

    /// `Set-Cookie` of a session token. Without `max_age` the cookie ends with the browser.
    pub fn set_session(&self, token: &str, max_age: Option<Duration>) -> String {
        self.field(self.session, token, self.domain.as_deref(), max_age)
    }

    /// `Set-Cookie` that removes the session cookie: same name, path and flags.
    pub fn clear_session(&self) -> String {
        self.field(self.session, "", self.domain.as_deref(), Some(Duration::ZERO))
    }

    /// `Set-Cookie` of any other cookie of ours (host-only, `Path=/; HttpOnly; SameSite=Lax`).
    pub fn set(&self, name: &str, value: &str, max_age: Duration) -> String {
        self.field(name, value, None, Some(max_age))
    }

    /// `Set-Cookie` that removes such a cookie.
    pub fn clear(&self, name: &str) -> String {
        self.field(name, "", None, Some(Duration::ZERO))
    }

    fn field(
        &self,
        name: &str,
        value: &str,
        domain: Option<&str>,
        max_age: Option<Duration>,
    ) -> String {
        let mut field = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
        if self.secure {
            field.push_str("; Secure");
        }
        if let Some(domain) = domain {
            field.push_str("; Domain=");
            field.push_str(domain);
        }
        if let Some(max_age) = max_age {
            // Writing to a String cannot fail.
            let _ = write!(field, "; Max-Age={}", max_age.min(LONGEST).as_secs());
            if max_age.is_zero() {
                field.push_str("; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
            }
        }
        field
    }
}

/// Whether a cookie name is one of ours, under any settings: such cookies never reach an
/// app, and an app can never set them. Bytes are compared as they are.
pub fn is_ours(name: &[u8]) -> bool {
    let bare = if let Some(rest) = name.strip_prefix(b"__Host-") {
        rest
    } else if let Some(rest) = name.strip_prefix(b"__Secure-") {
        rest
    } else {
        name
    };
    match bare.strip_prefix(b"vestibule") {
        Some(rest) => {
            rest.is_empty() || rest == b"-device" || rest == b"-csrf" || rest.starts_with(b"-flow-")
        }
        None => false,
    }
}

/// Splits a `Cookie` field at `;`, trims SP and HTAB, and yields name and value (RFC 6265bis 5.7 without quoting).
pub fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    field.split(|&b| b == b';').filter_map(|part| {
        let part = trim(part);
        if part.is_empty() {
            return None;
        }
        let mut halves = part.splitn(2, |&b| b == b'=');
        let (first, second) = (halves.next().unwrap_or_default(), halves.next());
        // Without `=` it is a value without a name.
        Some(second.map_or((&[][..], part), |value| (trim(first), trim(value))))
    })
}

/// The field without our cookies, every other byte as it was; `None` where nothing remains.
pub fn without_ours(field: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(field.len());
    let mut dropped_last = false;
    let mut any = false;
    for part in field.split(|&b| b == b';') {
        let name = trim(part.split(|&b| b == b'=').next().unwrap_or_default());
        if part.contains(&b'=') && is_ours(name) {
            dropped_last = true;
            continue;
        }
        if any {
            kept.push(b';');
            kept.extend_from_slice(part);
        } else if dropped_last {
            // The space belonged to the separator that went with the dropped cookie.
            kept.extend_from_slice(part.strip_prefix(b" ").unwrap_or(part));
        } else {
            kept.extend_from_slice(part);
        }
        any = true;
    }
    let nothing = kept.iter().all(|b| matches!(b, b' ' | b'\t' | b';'));
    (!nothing).then_some(kept)
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(domain: Option<&str>, secure: bool) -> Cookies {
        Cookies {
            session: if secure { "__Host-vestibule" } else { "vestibule" },
            flow_prefix: "__Host-vestibule-flow-",
            provider_flow: "__Host-vestibule-flow-provider",
            device: "__Host-vestibule-device",
            csrf: "__Host-vestibule-csrf",
            secure,
            domain: domain.map(str::to_owned),
        }
    }

    #[test]
    fn seed_003_19_the_session_cookie_is_secure_http_only_and_lax() {
        let cookies = names(None, true);
        assert_eq!(
            cookies.set_session("T", None),
            "__Host-vestibule=T; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        let remembered = cookies.set_session("T", Some(Duration::from_secs(60)));
        assert!(remembered.ends_with("; Max-Age=60"), "{remembered}");
    }

    #[test]
    fn f2_the_deletion_cookie_has_the_same_name_path_and_flags() {
        for cookies in [names(None, true), names(None, false), names(Some("example.com"), true)] {
            let set = cookies.set_session("", None);
            let clear = cookies.clear_session();
            assert_eq!(clear, format!("{set}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"));
        }
    }

    #[test]
    fn ours_is_told_by_the_bytes_of_the_name_under_any_settings() {
        for name in [
            "vestibule",
            "__Host-vestibule",
            "__Secure-vestibule",
            "vestibule-flow-0",
            "__Host-vestibule-flow-4",
            "__Host-vestibule-device",
            "vestibule-csrf",
        ] {
            assert!(is_ours(name.as_bytes()), "{name}");
        }
        for name in
            ["Vestibule", "vestibule2", "my-vestibule", "__host-vestibule", "", "vestibule-"]
        {
            assert!(!is_ours(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn pairs_are_split_at_semicolons_only_and_quotes_mean_nothing() {
        let read: Vec<_> = pairs(b"a=\"b; vestibule=1\";\tc = d=e ;; plain").collect();
        assert_eq!(
            read,
            [(&b"a"[..], &b"\"b"[..]), (b"vestibule", b"1\""), (b"c", b"d=e"), (b"", b"plain"),]
        );
    }

    #[test]
    fn b9_only_our_cookies_are_taken_out_and_every_other_byte_stays() {
        for (given, left) in [
            ("a=1; b=2", Some("a=1; b=2")),
            ("__Host-vestibule=x; a=1", Some("a=1")),
            ("a=1; __Host-vestibule=x; b=\" 2 \"", Some("a=1; b=\" 2 \"")),
            ("a=1; vestibule=x", Some("a=1")),
            ("vestibule=x;a=1", Some("a=1")),
            ("vestibule=x; __Secure-vestibule=y;", None),
            ("vestibule=x", None),
            (" vestibule =x; vestibule-flow-3=z;  a=\tb ", Some(" a=\tb ")),
            ("", None),
        ] {
            let result = without_ours(given.as_bytes()).map(|b| String::from_utf8(b).unwrap());
            assert_eq!(result.as_deref(), left, "{given:?}");
        }
    }
}
