//! A provider as somebody wrote it: the keys of `[[provider]]`, nothing filled in. File,
//! environment and `POST /api/v1/admin/providers` all come through here, so that they mean
//! the same and are refused for the same reasons.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Provider, ProviderOrigin};
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
    pub fn resolve(&self, context: &ProviderContext<'_>) -> Result<Provider, Vec<SpecProblem>> {
        let _ = context;
        Err(Vec::new())
    }
}

fn secret<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(text)?;
    Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
}
