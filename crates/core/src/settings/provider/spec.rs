//! A provider as somebody wrote it: the keys of `[[provider]]`, nothing filled in. File,
//! environment and `POST /api/v1/admin/providers` all come through here, so that they mean
//! the same and are refused for the same reasons.

mod place;
mod redirect;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Provider, ProviderKind, ProviderOrigin};
use crate::return_to::Origin;
use crate::secret::Secret;

/// The keys of `[[provider]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderSpec {
    /// `[a-z0-9_-]{1,32}`
    pub id: String,
    /// `oidc` (default), `google`, `github`, `authentik`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Discovery document, instead of the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery_url: Option<String>,
    /// Of authentik; of another GitHub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Of the authentik application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Client secret. Read, never written out.
    #[serde(skip_serializing, deserialize_with = "secret")]
    pub client_secret: Option<Secret>,
    /// Name on the button.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// PKCE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pkce: Option<bool>,
    /// Shown and usable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Of the verified e-mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_domains: Option<Vec<String>>,
    /// Every new account is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_approve: Option<bool>,
    /// Its word on e-mail addresses is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_email: Option<bool>,
    /// `none`, `amr`, `acr:<value>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfa_from: Option<String>,
    /// Callback to send; empty or absent: derived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// Claim overrides: `subject`, `username`, `email`, `email_verified`, `groups`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// Claim value to local group.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, String>,
    /// Claim value to role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, String>,
}

/// What resolving needs to know of the rest of the configuration.
#[derive(Clone, Debug)]
pub struct ProviderContext<'a> {
    /// `server.portal_url`.
    pub portal: &'a Origin,
    /// `environment = "development"`: provider URLs may be plain http.
    pub development: bool,
    /// The redirect URI where the spec names none, with `<id>` for the provider's id.
    pub default_redirect_uri: &'a str,
    /// Where the spec comes from.
    pub origin: ProviderOrigin,
}

/// What is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecProblem {
    /// The key, such as `issuer` or `claims.email`.
    pub key: String,
    /// A stable word, such as `bad-value`, `missing-key`, `insecure-provider-url`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl ProviderSpec {
    /// Checks everything and fills in what is left out.
    ///
    /// # Errors
    ///
    /// With every problem, where there is any.
    ///
    /// ```
    /// use vestibule_core::return_to::Origin;
    /// use vestibule_core::settings::provider::ProviderOrigin;
    /// use vestibule_core::settings::provider::spec::{ProviderContext, ProviderSpec};
    ///
    /// let portal = Origin::parse("https://auth.example.com").unwrap();
    /// let context = ProviderContext {
    ///     portal: &portal,
    ///     development: false,
    ///     default_redirect_uri: "https://auth.example.com/api/v1/auth/callback/<id>",
    ///     origin: ProviderOrigin::File,
    /// };
    /// let mut spec = ProviderSpec { id: "pocket-id".to_owned(), ..Default::default() };
    /// assert_eq!(spec.resolve(&context).unwrap_err().len(), 2, "where it is, and our name there");
    ///
    /// spec.issuer = Some("https://id.example.com".to_owned());
    /// spec.client_id = "vestibule".to_owned();
    /// let provider = spec.resolve(&context).unwrap();
    /// assert!(provider.pkce && provider.client_secret.is_none());
    /// assert!(provider.redirect_uri.ends_with("/callback/pocket-id"));
    /// ```
    pub fn resolve(&self, context: &ProviderContext<'_>) -> Result<Provider, Vec<SpecProblem>> {
        let mut problems = Vec::new();
        words::check_id(&self.id, &mut problems);
        // Without a kind nothing is known of the rest: what it lacks would be a guess.
        let Some(kind) = words::kind(self, &mut problems) else { return Err(problems) };
        let place = place::resolve(self, kind, context.development, &mut problems);
        let client_id = words::client_id(self, &mut problems);
        let client_secret =
            self.client_secret.clone().filter(|secret| !secret.expose_secret().is_empty());
        let pkce = words::pkce(self, client_secret.is_some(), &mut problems);
        let label = words::label(self, kind, &mut problems);
        let scopes = words::scopes(self, kind, &mut problems);
        let allowed_domains = words::allowed_domains(self, &mut problems);
        let mfa_from = words::mfa_from(self, &mut problems);
        let redirect_uri = redirect::resolve(self, context, &mut problems);
        let claims = words::claims(self, &mut problems);
        let groups = words::groups(self, &mut problems);
        let roles = words::roles(self, &mut problems);
        let place = match place {
            Some(place) if problems.is_empty() => place,
            _ => return Err(problems),
        };
        Ok(Provider {
            id: self.id.as_str().into(),
            kind,
            place,
            client_id,
            client_secret,
            label,
            scopes,
            pkce,
            enabled: self.enabled.unwrap_or(true),
            allowed_domains,
            auto_approve: self.auto_approve.unwrap_or(false),
            trust_email: self.trust_email.unwrap_or(true),
            mfa_from,
            redirect_uri,
            claims,
            groups,
            roles,
            origin: context.origin,
        })
    }
}

impl ProviderKind {
    /// Every kind, in the order that documents name them.
    pub const ALL: [Self; 4] = [Self::Oidc, Self::Google, Self::Github, Self::Authentik];

    /// Reads the word of configuration and JSON.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// What is asked for where nobody says otherwise.
    pub const fn default_scopes(self) -> &'static [&'static str] {
        match self {
            Self::Github => &["read:user", "user:email", "read:org"],
            Self::Authentik | Self::Google | Self::Oidc => &["openid", "profile", "email"],
        }
    }
}

impl SpecProblem {
    fn new(
        key: &str,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { key: key.to_owned(), code, message: message.into(), help: help.into() }
    }
}

/// What a key says; an empty text says nothing.
fn said(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn secret<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(text)?;
    Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
}
