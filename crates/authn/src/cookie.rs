//! Names and forms of our cookies. The scheme of `portal_url` decides them, never the socket.

use std::time::Duration;

use vestibule_core::settings::Settings;

/// Our cookies' names and attributes under the settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookies {
    /// `__Host-vestibule`, `vestibule`, or `__Secure-vestibule`.
    pub session: &'static str,
    /// `__Host-vestibule-flow-` or `vestibule-flow-`, followed by a number 0–4.
    pub flow_prefix: &'static str,
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

impl Cookies {
    /// The names under these settings.
    pub fn new(settings: &Settings) -> Self {
        let _ = settings;
        todo!("authn helper")
    }

    /// `Set-Cookie` of a session token. Without `max_age` the cookie ends with the browser.
    pub fn set_session(&self, token: &str, max_age: Option<Duration>) -> String {
        let _ = (token, max_age);
        todo!("authn helper")
    }

    /// `Set-Cookie` that removes the session cookie: same name, path and flags.
    pub fn clear_session(&self) -> String {
        todo!("authn helper")
    }

    /// `Set-Cookie` of any other cookie of ours (host-only, `Path=/; HttpOnly; SameSite=Lax`).
    pub fn set(&self, name: &str, value: &str, max_age: Duration) -> String {
        let _ = (name, value, max_age);
        todo!("authn helper")
    }

    /// `Set-Cookie` that removes such a cookie.
    pub fn clear(&self, name: &str) -> String {
        let _ = name;
        todo!("authn helper")
    }
}

/// Whether a cookie name is one of ours, under any settings: such cookies never reach an
/// app, and an app can never set them. Bytes are compared as they are.
pub fn is_ours(name: &[u8]) -> bool {
    let _ = name;
    todo!("authn helper")
}

/// Splits a `Cookie` field at `;`, trims SP and HTAB, and yields name and value (RFC 6265bis 5.7 without quoting).
pub fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let _ = field;
    std::iter::empty()
}

/// The field without our cookies, every other byte as it was; `None` where nothing remains.
pub fn without_ours(field: &[u8]) -> Option<Vec<u8>> {
    let _ = field;
    todo!("authn helper")
}
