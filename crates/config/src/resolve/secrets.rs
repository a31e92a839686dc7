//! `[secrets]`: there where needed, long enough, not the one of a document.

use vestibule_core::secret::Secret;
use vestibule_core::settings::auth::{Auth, Mode};
use vestibule_core::settings::secrets::{Secrets, StoreKey};

use super::Context;
use crate::diagnostic::Diagnostic;
use crate::tree::{Origin, Table};

/// Bytes of a secret that nobody can guess.
const LEAST: usize = 32;

/// What documents, starter files and lazy hands put where a secret should be.
const EXAMPLES: &[&str] = &[
    "changeme",
    "change-me",
    "change_me",
    "your-secret",
    "your_secret",
    "yoursecret",
    "your-auth-secret",
    "your_client_secret",
    "your-jwt-secret",
    "your-super-secret",
    "supersecret",
    "super-secret",
    "super_secret",
    "replace-me",
    "replace_me",
    "replaceme",
    "example",
    "placeholder",
    "insecure",
    "do-not-use",
    "openssl rand",
    "generate-a",
    "secret-key-here",
    "secret-here",
    "0123456789abcdef0123456789abcdef",
    "abcdefghijklmnopqrstuvwxyz",
    "00112233445566778899aabbccddeeff",
    "deadbeefdeadbeef",
];

pub(crate) fn resolve(root: &Table, auth: &Auth, cx: &mut Context<'_>) -> Secrets {
    let is_needed = !auth.is_off();
    let auth_secret = list(root, "secrets.auth_secret");
    let jwt_secret = list(root, "secrets.jwt_secret");
    if is_needed
        && cx.profile == "everruns"
        && root.origin("auth.mode").is_asked()
        && cx.is_missing(root, "secrets.jwt_secret")
    {
        cx.error(
            "missing-secret",
            format!(
                "`AUTH_JWT_SECRET` is not set: profile everruns requires it in mode {}",
                auth.mode.as_str()
            ),
            &Origin::Default,
            "set it: AUTH_JWT_SECRET=$(openssl rand -hex 32)",
        );
    }
    let auth_secret_derived = auth_secret.is_empty() && !jwt_secret.is_empty();
    if is_needed
        && jwt_secret.is_empty()
        && cx.is_missing(root, "secrets.auth_secret")
        && !cx.broken.contains("secrets.jwt_secret")
        && cx.profile != "everruns"
    {
        cx.error(
            "missing-secret",
            format!(
                "`AUTH_SECRET` (`secrets.auth_secret`) is not set: mode {} signs session tokens with it",
                auth.mode.as_str()
            ),
            &Origin::Default,
            "set it: AUTH_SECRET=$(openssl rand -hex 32)",
        );
    }
    if auth.mode != Mode::None || !auth_secret.is_empty() {
        for (index, (secret, origin)) in auth_secret.iter().enumerate() {
            check(secret, origin, "AUTH_SECRET", "secrets.auth_secret", index, true, cx);
        }
    }
    for (index, (secret, origin)) in jwt_secret.iter().enumerate() {
        check(secret, origin, "AUTH_JWT_SECRET", "secrets.jwt_secret", index, false, cx);
    }
    if let (Some((one, _)), Some((other, origin))) = (auth_secret.first(), jwt_secret.first())
        && one == other
    {
        cx.warning(
            "secret-used-twice",
            "`auth_secret` and `jwt_secret` are the same text: who learns one has both",
            origin,
            "make a second one: openssl rand -hex 32",
        );
    }
    let store_key =
        root.texts("secrets.store_key").into_iter().filter_map(StoreKey::from_hex).collect();
    let plain = |list: Vec<(Secret, Origin)>| list.into_iter().map(|(s, _)| s).collect::<Vec<_>>();
    let jwt_secret = plain(jwt_secret);
    Secrets {
        auth_secret: if auth_secret_derived { jwt_secret.clone() } else { plain(auth_secret) },
        auth_secret_derived,
        jwt_secret,
        store_key,
    }
}

fn list(root: &Table, path: &str) -> Vec<(Secret, Origin)> {
    let items = root.at(path).map(|n| n.items()).unwrap_or_default();
    let text = |n: &crate::tree::Node| {
        n.as_str().filter(|t| !t.is_empty()).map(|t| (Secret::new(t), n.origin.clone()))
    };
    items.iter().filter_map(text).collect()
}

fn check(
    secret: &Secret,
    origin: &Origin,
    variable: &str,
    key: &str,
    index: usize,
    must: bool,
    cx: &mut Context<'_>,
) {
    let which = if index == 0 {
        format!("`{variable}` (`{key}`)")
    } else {
        format!("number {} of `{key}`", index + 1)
    };
    let help = format!("make a good one: {variable}=$(openssl rand -hex 32)");
    if looks_like_an_example(secret.expose_secret()) {
        let message = format!("{which} is an example value, which everybody knows");
        cx.problems.add(Diagnostic::error("example-secret", message).at(origin).help(help));
        return;
    }
    let length = secret.expose_secret().len();
    if length < LEAST {
        let message = |word| format!("{which} has {length} bytes: at least {LEAST} are {word}");
        let problem = if must {
            Diagnostic::error("short-secret", message("needed"))
        } else {
            // The document only recommends the length for the signing of tokens.
            Diagnostic::warning("short-secret", message("recommended"))
        };
        cx.problems.add(problem.at(origin).help(help));
    }
}

/// A text that stands in a document, or that no generator would make.
pub(crate) fn looks_like_an_example(secret: &str) -> bool {
    let lower = secret.trim().to_ascii_lowercase();
    let distinct: std::collections::BTreeSet<char> = lower.chars().collect();
    EXAMPLES.iter().any(|example| lower.contains(example))
        || (lower.len() >= 8 && distinct.len() <= 3)
}

#[cfg(test)]
mod tests {
    use super::looks_like_an_example;

    #[test]
    fn seed_003_96_placeholders_are_known() {
        for example in [
            "changeme-changeme-changeme-changeme",
            "your-secret-key-at-least-32-characters",
            &"a".repeat(64),
        ] {
            assert!(looks_like_an_example(example), "{example}");
        }
    }

    #[test]
    fn seed_002_33_seed_002_34_generated_secrets_are_none() {
        for good in [
            "9f2b7c41d0e85a6634bb17c9e0f3d2a85c6e7f901b2a3d4c5e6f708192a3b4c5",
            "Jk39xlQmv8Zt5Rw1Ny6Pb4Hd7Gs2Fa0c",
        ] {
            assert!(!looks_like_an_example(good), "{good}");
        }
    }
}
