//! Where a provider is: issuer, discovery document or base URL, by its kind.

use super::{ProviderSpec, SpecProblem, said};
use crate::facts::Scheme;
use crate::return_to::Origin;
use crate::settings::provider::{ProviderKind, ProviderPlace};

/// What the URL of every discovery document ends in (OpenID Connect Discovery 1.0, 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

const GOOGLE: &str = "https://accounts.google.com";
const GITHUB: &str = "https://github.com";

/// The place, or what is wrong with it.
pub(super) fn resolve(
    spec: &ProviderSpec,
    kind: ProviderKind,
    development: bool,
    problems: &mut Vec<SpecProblem>,
) -> Option<ProviderPlace> {
    let mut reader = Reader { spec, kind, development, problems };
    reader.refuse_keys_of_others();
    match kind {
        ProviderKind::Authentik => reader.authentik(),
        ProviderKind::Github => reader.github(),
        ProviderKind::Google => reader.openid(Some(GOOGLE)),
        ProviderKind::Oidc => reader.openid(None),
    }
}

struct Reader<'a> {
    spec: &'a ProviderSpec,
    kind: ProviderKind,
    development: bool,
    problems: &'a mut Vec<SpecProblem>,
}

impl<'a> Reader<'a> {
    /// `issuer` or `discovery_url`. Both: the issuer, which says more.
    fn openid(&mut self, default: Option<&str>) -> Option<ProviderPlace> {
        let issuer = said(&self.spec.issuer);
        let discovery = said(&self.spec.discovery_url);
        if issuer.is_none() && discovery.is_none() {
            let Some(default) = default else {
                self.missing(
                    "issuer",
                    "does not say where it is",
                    "add `issuer = \"https://id.example.com\"`, or `discovery_url`",
                );
                return None;
            };
            return Some(ProviderPlace::Issuer(default.to_owned()));
        }
        let issuer = issuer.map(|text| self.issuer(text));
        let discovery = discovery.map(|text| self.discovery(text));
        match (issuer, discovery) {
            (Some(issuer), Some(discovery)) => {
                let (issuer, discovery) = (issuer?, discovery?);
                self.same_issuer(("issuer", issuer), ("`discovery_url`", issuer_of(discovery)))?;
                Some(ProviderPlace::Issuer(issuer.to_owned()))
            }
            (Some(issuer), None) => Some(ProviderPlace::Issuer(issuer?.to_owned())),
            (None, discovery) => Some(ProviderPlace::Discovery(discovery??.to_owned())),
        }
    }

    /// `base_url` and `slug`, which give the discovery document; its issuer ends in a slash or
    /// not, as the server has it, and is taken from the document.
    fn authentik(&mut self) -> Option<ProviderPlace> {
        let (base, slug) = (said(&self.spec.base_url), said(&self.spec.slug));
        let elsewhere = said(&self.spec.issuer).or(said(&self.spec.discovery_url));
        if base.is_none() && slug.is_none() && elsewhere.is_some() {
            return self.openid(None);
        }
        if base.is_none() {
            self.missing(
                "base_url",
                "has no `base_url`",
                "add `base_url = \"https://authentik.example.com\"`",
            );
        }
        if slug.is_none() {
            self.missing("slug", "has no `slug`", "add `slug = \"<slug of the application>\"`");
        }
        let base = base.and_then(|text| self.base_url(text));
        let slug = slug.and_then(|text| self.slug(text));
        let derived = format!("{}/application/o/{}{WELL_KNOWN}", base?, slug?);
        let derived_issuer = ("`base_url` and `slug`", issuer_of(&derived));
        if let Some(text) = said(&self.spec.discovery_url) {
            let discovery = self.discovery(text)?;
            self.same_issuer(("discovery_url", issuer_of(discovery)), derived_issuer)?;
        }
        if let Some(text) = said(&self.spec.issuer) {
            let issuer = self.issuer(text)?;
            self.same_issuer(("issuer", issuer), derived_issuer)?;
        }
        Some(ProviderPlace::Discovery(derived))
    }

    fn github(&mut self) -> Option<ProviderPlace> {
        let base = match said(&self.spec.base_url) {
            Some(text) => self.base_url(text)?,
            None => GITHUB,
        };
        Some(ProviderPlace::Github(base.to_owned()))
    }

    fn issuer(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(issuer) = text.strip_suffix(WELL_KNOWN) {
            self.problems.push(SpecProblem::new(
                "issuer",
                "bad-value",
                format!("`issuer` is {text}, which is the URL of a discovery document"),
                format!("write `issuer = \"{issuer}\"`, or call the key `discovery_url`"),
            ));
            return None;
        }
        self.url("issuer", text)
    }

    fn discovery(&mut self, text: &'a str) -> Option<&'a str> {
        let url = self.url("discovery_url", text)?;
        if url.ends_with(WELL_KNOWN) {
            return Some(url);
        }
        self.problems.push(SpecProblem::new(
            "discovery_url",
            "bad-value",
            format!("`discovery_url` is {text}, which does not end in {WELL_KNOWN}: no issuer could be told from it"),
            format!("write `discovery_url = \"{}{WELL_KNOWN}\"`", url.trim_end_matches('/')),
        ));
        None
    }

    /// Without its final slashes; a path before them is kept.
    fn base_url(&mut self, text: &'a str) -> Option<&'a str> {
        self.url("base_url", text).map(|url| url.trim_end_matches('/'))
    }

    fn slug(&mut self, text: &'a str) -> Option<&'a str> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.len() <= 100 && text.bytes().all(allowed) && !matches!(text, "." | "..") {
            return Some(text);
        }
        self.problems.push(SpecProblem::new(
            "slug",
            "bad-value",
            format!("`{text}` is no slug: use letters, digits, `-` and `_`"),
            "copy it from the application's page at the provider: one word, no URL",
        ));
        None
    }

    /// An absolute URL without query, fragment and credentials; https in production.
    fn url(&mut self, key: &'static str, text: &'a str) -> Option<&'a str> {
        let Some((origin, _)) = split_url(text) else {
            self.problems.push(SpecProblem::new(
                key,
                "bad-value",
                format!("`{key}` is `{text}`, which is no URL"),
                "write scheme, host and path, such as `https://id.example.com`, without query and fragment",
            ));
            return None;
        };
        if !self.development && origin.scheme == Scheme::Http && !origin.host.is_loopback() {
            self.problems.push(SpecProblem::new(
                key,
                "insecure-provider-url",
                format!("`{key}` is {text}: in production it must be https"),
                "write it with `https://`",
            ));
            return None;
        }
        Some(text)
    }

    /// Two keys may say where the provider is, if they say the same. A final slash is not held
    /// against them: the document says which form is right.
    fn same_issuer(&mut self, one: (&'static str, &str), other: (&str, &str)) -> Option<()> {
        let trimmed = |issuer: &str| issuer.strip_suffix('/').unwrap_or(issuer).to_owned();
        let ((key, mine), (others, theirs)) =
            ((one.0, trimmed(one.1)), (other.0, trimmed(other.1)));
        if mine == theirs {
            return Some(());
        }
        self.problems.push(SpecProblem::new(
            key,
            "conflicting-issuers",
            format!("`{key}` belongs to the issuer {mine}, but {others} to {theirs}"),
            "take one of them out",
        ));
        None
    }

    /// Keys that another kind has: kept silently they would look as if they held.
    fn refuse_keys_of_others(&mut self) {
        let keys: &[(&str, &Option<String>, &str)] = match self.kind {
            ProviderKind::Authentik => &[],
            ProviderKind::Github => &[
                (
                    "issuer",
                    &self.spec.issuer,
                    "write `kind = \"oidc\"`, or `base_url` for another GitHub",
                ),
                (
                    "discovery_url",
                    &self.spec.discovery_url,
                    "write `kind = \"oidc\"`, or `base_url` for another GitHub",
                ),
                ("slug", &self.spec.slug, "take it out, or write `kind = \"authentik\"`"),
            ],
            ProviderKind::Google => &[
                ("base_url", &self.spec.base_url, "write `issuer` to point elsewhere"),
                ("slug", &self.spec.slug, "take it out, or write `kind = \"authentik\"`"),
            ],
            ProviderKind::Oidc => &[
                (
                    "base_url",
                    &self.spec.base_url,
                    "write `issuer`, or `kind = \"authentik\"` (with `slug`) or `kind = \"github\"`",
                ),
                ("slug", &self.spec.slug, "take it out, or write `kind = \"authentik\"`"),
            ],
        };
        for (key, value, help) in keys {
            if said(value).is_some() {
                let kind = self.kind.as_str();
                let message = format!("a provider of kind `{kind}` has no `{key}`");
                self.problems.push(SpecProblem::new(key, "key-of-another-kind", message, *help));
            }
        }
    }

    fn missing(&mut self, key: &'static str, what: &str, help: &str) {
        let message = format!("the provider `{}` {what}", self.spec.id);
        self.problems.push(SpecProblem::new(key, "missing-key", message, help));
    }
}

/// The issuer that a discovery document's URL denotes.
fn issuer_of(discovery: &str) -> &str {
    discovery.strip_suffix(WELL_KNOWN).unwrap_or(discovery)
}

/// Origin and path of an absolute http or https URL. `None` for anything with credentials, a
/// query, a fragment, or a character that has to be escaped.
pub(super) fn split_url(text: &str) -> Option<(Origin, &str)> {
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"#<>?[\\]^`{|}".contains(&b);
    let authority = text.find("://")? + 3;
    let end = text.get(authority..)?.find('/').map_or(text.len(), |at| authority + at);
    let (origin, path) = text.split_at_checked(end)?;
    let authority_is_plain =
        origin.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\'));
    if !authority_is_plain || !path.bytes().all(plain) {
        return None;
    }
    Some((Origin::parse(origin)?, path))
}
