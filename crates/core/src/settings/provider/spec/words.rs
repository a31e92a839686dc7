//! Single keys of a provider: names, words, lists and maps.

use std::sync::Arc;

use super::{ProviderSpec, SpecProblem, said};
use crate::account::Role;
use crate::group::Group;
use crate::host::Host;
use crate::settings::provider::{MfaFrom, ProviderClaims, ProviderKind};

type Problems = Vec<SpecProblem>;

/// Names of `claims`.
const CLAIMS: &[&str] = &["subject", "username", "email", "email_verified", "groups"];

/// `[a-z0-9_-]{1,32}`: it stands in URLs, in `<provider>:<subject>` and in names of variables.
pub(super) fn check_id(id: &str, problems: &mut Problems) {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if (1..=32).contains(&id.len()) && id.bytes().all(allowed) {
        return;
    }
    let (code, message) = match id {
        "" => ("missing-key", "a provider has no `id`".to_owned()),
        id => ("bad-value", format!("`{id}` is no id: use 1 to 32 of a-z, 0-9, `_` and `-`")),
    };
    problems.push(SpecProblem::new("id", code, message, "write for example `id = \"pocket-id\"`"));
}

pub(super) fn kind(spec: &ProviderSpec, problems: &mut Problems) -> Option<ProviderKind> {
    let Some(word) = said(&spec.kind) else { return Some(ProviderKind::Oidc) };
    let kind = ProviderKind::from_word(word);
    if kind.is_none() {
        let words = ProviderKind::ALL.map(|kind| format!("`{}`", kind.as_str())).join(", ");
        problems.push(SpecProblem::new(
            "kind",
            "unknown-value",
            format!("`{word}` is no kind of provider: use {words}"),
            "most providers speak OpenID Connect: write `kind = \"oidc\"`, or leave it out",
        ));
    }
    kind
}

pub(super) fn client_id(spec: &ProviderSpec, problems: &mut Problems) -> String {
    let id = &spec.client_id;
    if id.is_empty() {
        problems.push(SpecProblem::new(
            "client_id",
            "missing-key",
            format!("the provider `{}` has no `client_id`", spec.id),
            "add `client_id = \"…\"`: the provider tells it where the application is registered",
        ));
    } else if !is_line(id, 1024) {
        problems.push(SpecProblem::new(
            "client_id",
            "bad-value",
            "`client_id` holds a control character, or is longer than 1024",
            "copy it again from the provider",
        ));
    }
    id.clone()
}

/// On unless switched off; a client without a secret has no other proof.
pub(super) fn pkce(spec: &ProviderSpec, has_secret: bool, problems: &mut Problems) -> bool {
    if spec.pkce == Some(false) && !has_secret {
        problems.push(SpecProblem::new(
            "pkce",
            "public-client-without-pkce",
            format!("the provider `{}` has no `client_secret`, so `pkce` cannot be off: whoever gets hold of a code could use it", spec.id),
            "take `pkce = false` out, or add `client_secret`",
        ));
    }
    spec.pkce.unwrap_or(true)
}

pub(super) fn label(spec: &ProviderSpec, kind: ProviderKind, problems: &mut Problems) -> String {
    let label = spec.label.as_deref().unwrap_or_default().trim();
    if !is_line(label, 64) {
        problems.push(SpecProblem::new(
            "label",
            "bad-value",
            "`label` holds a control character, or is longer than 64",
            "write the short name that people know, such as `Pocket ID`",
        ));
    }
    match (label, kind) {
        ("", ProviderKind::Authentik) => "Authentik".to_owned(),
        ("", ProviderKind::Github) => "GitHub".to_owned(),
        ("", ProviderKind::Google) => "Google".to_owned(),
        ("", ProviderKind::Oidc) => spec.id.clone(),
        (label, _) => label.to_owned(),
    }
}

/// As written, without duplicates.
pub(super) fn scopes(
    spec: &ProviderSpec,
    kind: ProviderKind,
    problems: &mut Problems,
) -> Vec<String> {
    let Some(written) = &spec.scopes else {
        return kind.default_scopes().iter().map(|scope| (*scope).to_owned()).collect();
    };
    // RFC 6749, 3.3.
    let is_scope = |scope: &str| {
        let allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
        (1..=256).contains(&scope.len()) && scope.bytes().all(allowed)
    };
    let mut scopes: Vec<String> = Vec::new();
    for scope in written {
        if !is_scope(scope) {
            problems.push(SpecProblem::new(
                "scopes",
                "bad-value",
                format!("`{scope}` is no scope"),
                "write each scope as a text of its own, such as `[\"openid\", \"profile\"]`",
            ));
        } else if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    if written.is_empty() && kind != ProviderKind::Github {
        problems.push(SpecProblem::new(
            "scopes",
            "empty-list",
            "`scopes` is empty: the provider would say nothing about the person",
            "write `[\"openid\", \"profile\", \"email\"]`, or leave it out",
        ));
    }
    scopes
}

pub(super) fn allowed_domains(spec: &ProviderSpec, problems: &mut Problems) -> Vec<Arc<str>> {
    let mut domains: Vec<Arc<str>> = Vec::new();
    for text in spec.allowed_domains.iter().flatten() {
        match Host::parse(text).ok().filter(|host| host.ip().is_none()) {
            Some(host) if domains.iter().all(|known| **known != *host.as_str()) => {
                domains.push(host.as_str().into());
            }
            Some(_) => {}
            None => problems.push(SpecProblem::new(
                "allowed_domains",
                "bad-value",
                format!("`{text}` is no domain"),
                "write what stands behind the `@`, such as `example.com`; each subdomain is one of its own",
            )),
        }
    }
    domains
}

pub(super) fn mfa_from(spec: &ProviderSpec, problems: &mut Problems) -> MfaFrom {
    match said(&spec.mfa_from) {
        None | Some("none") => MfaFrom::None,
        Some("amr") => MfaFrom::Amr,
        Some(text) => {
            match text.strip_prefix("acr:").filter(|v| !v.is_empty() && is_line(v, 256)) {
                Some(value) => MfaFrom::Acr(value.to_owned()),
                None => {
                    problems.push(SpecProblem::new(
                        "mfa_from",
                        "bad-value",
                        format!("`{text}` is none of `none`, `amr`, `acr:<value>`"),
                        "write `amr` where the provider lists the methods of a sign-in",
                    ));
                    MfaFrom::None
                }
            }
        }
    }
}

/// The claims, by the names that OpenID Connect gives them unless said otherwise. An e-mail from
/// another claim is not the one that `email_verified` speaks of.
pub(super) fn claims(spec: &ProviderSpec, problems: &mut Problems) -> ProviderClaims {
    for (name, path) in &spec.claims {
        let key = format!("claims.{name}");
        if !CLAIMS.contains(&name.as_str()) {
            problems.push(SpecProblem::new(
                &key,
                "unknown-key",
                format!("`{name}` is not a key of `claims`"),
                format!("use {}", CLAIMS.join(", ")),
            ));
        } else if path.is_empty() || !is_line(path, 256) {
            problems.push(SpecProblem::new(
                &key,
                "bad-value",
                format!("`{key}` names no claim"),
                "write the name of a claim, dots lead into objects; or leave it out",
            ));
        }
    }
    let named = |name: &str, default: &str| {
        spec.claims.get(name).map_or(default, String::as_str).to_owned()
    };
    let email = named("email", "email");
    let verified = if email == "email" { "email_verified" } else { "" };
    ProviderClaims {
        subject: named("subject", "sub"),
        username: named("username", "preferred_username"),
        email_verified: named("email_verified", verified),
        email,
        groups: named("groups", "groups"),
    }
}

pub(super) fn groups(spec: &ProviderSpec, problems: &mut Problems) -> Vec<(Arc<str>, Group)> {
    let mut groups = Vec::new();
    for (value, name) in &spec.groups {
        match Group::new(name) {
            Ok(group) => groups.push((Arc::from(value.as_str()), group)),
            Err(why) => problems.push(SpecProblem::new(
                &format!("groups.{value}"),
                "bad-value",
                why.to_string(),
                "write `groups = { \"<value of the claim>\" = \"<group here>\" }`",
            )),
        }
    }
    groups
}

pub(super) fn roles(spec: &ProviderSpec, problems: &mut Problems) -> Vec<(Arc<str>, Role)> {
    let mut roles = Vec::new();
    for (value, word) in &spec.roles {
        match word.parse() {
            Ok(role) => roles.push((Arc::from(value.as_str()), role)),
            Err(_) => problems.push(SpecProblem::new(
                &format!("roles.{value}"),
                "unknown-value",
                format!("`{word}` is no role: use `admin` or `user`"),
                "write `roles = { \"<value of the claim>\" = \"admin\" }`",
            )),
        }
    }
    roles
}

/// One line of at most so many characters.
fn is_line(text: &str, most: usize) -> bool {
    text.chars().count() <= most && !text.chars().any(char::is_control)
}
