//! Profiles: the defaults that each of the documents promises. A profile changes defaults only;
//! every file and every variable stands above it. One data table, nothing else.

use crate::source;
use crate::tree::{Origin, Table};

/// Values of `server.profile`.
pub(crate) const NAMES: &[&str] =
    &["", "penombre", "narratorr-requests", "everruns", "openinary", "pantrie"];

/// Key, profile, value as TOML. What is conditional in a document (`auth.mode` of everruns, the
/// limits of development) is decided where those keys are resolved.
pub(crate) const DEFAULTS: &[(&str, &str, &str)] = &[
    ("auth.admin.email", "penombre", "\"admin@example.com\""),
    ("auth.admin.password", "penombre", "\"Admin1234!\""),
    ("auth.approval", "penombre", "false"),
    ("auth.first_user", "penombre", "\"account\""),
    ("auth.password.signup", "penombre", "true"),
    ("api_keys.prefix", "penombre", "\"pen\""),
    ("auth.first_user", "narratorr-requests", "\"admin\""),
    ("auth.password.signup", "narratorr-requests", "true"),
    ("auth.approval", "everruns", "false"),
    ("auth.password.signup", "everruns", "true"),
    ("auth.approval", "openinary", "false"),
    ("auth.password.require", "openinary", "[\"mixed-case\", \"number\", \"symbol\"]"),
    ("api_keys.prefix", "openinary", "\"sk\""),
    ("store.backup.every", "openinary", "\"24h\""),
    ("store.backup.keep", "openinary", "7"),
    ("auth.approval", "pantrie", "false"),
    ("auth.link_verified_email", "pantrie", "\"always\""),
];

/// The defaults of a profile as a tree. An unknown name has none; it is refused as a value.
pub(crate) fn layer(profile: &str) -> Table {
    let mut layer = Table::default();
    for (key, _, value) in DEFAULTS.iter().filter(|(_, of, _)| *of == profile) {
        let name = NAMES.iter().find(|n| **n == profile).copied().unwrap_or_default();
        let fragment = source::fragment(&format!("value = {value}"), &Origin::Profile(name));
        if let Some(node) = fragment.and_then(|t| t.get("value").cloned()) {
            layer.set_at(key, node);
        }
    }
    layer
}

/// Name of the SQLite file in `data_dir`.
pub(crate) fn store_file(profile: &str) -> &'static str {
    if profile == "openinary" { "auth.db" } else { "vestibule.db" }
}

/// Patterns that are the portal's on routes of the portal's host.
pub(crate) fn portal_paths(profile: &str) -> &'static [&'static str] {
    match profile {
        "everruns" => &["/health"],
        "openinary" => &["/setup", "/api-keys", "/api-keys/*", "/health/database"],
        "pantrie" => &["/setup"],
        _ => &[],
    }
}

/// Path of the callback that is sent, with `<id>` for the provider's id.
pub(crate) fn callback(profile: &str) -> &'static str {
    if profile == "pantrie" {
        "/api/v1/auth/oauth/<id>/callback"
    } else {
        "/api/v1/auth/callback/<id>"
    }
}

/// `AUTH_BASE_URL` where nobody says anything.
pub(crate) fn base_url(profile: &str) -> Option<&'static str> {
    (profile == "everruns").then_some("http://localhost:9300/api")
}

/// The password that the first document prints: refused where others could use it.
pub(crate) const DOCUMENTED_PASSWORD: &str = "Admin1234!";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_key_and_a_profile_that_exist() {
        for (key, profile, value) in DEFAULTS {
            assert!(crate::keys::find(key).is_some(), "{key}");
            assert!(NAMES.contains(profile), "{profile}");
            let fragment = format!("value = {value}");
            assert!(
                crate::source::fragment(&fragment, &crate::tree::Origin::Default).is_some(),
                "{value}"
            );
        }
    }
}
