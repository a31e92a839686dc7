//! A provider as its forms show it, and back: text fields on one side, the keys of
//! `[[provider]]` on the other. `/admin/providers` and `/setup` share it.

use std::collections::BTreeMap;

use vestibule_core::secret::Secret;
use vestibule_core::settings::provider::ProviderKind;
use vestibule_core::settings::provider::spec::{ProviderSpec, SpecProblem};

use crate::body::FormBody;
use crate::visit::Visit;

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A kind in the dropdown, with what to register there.
pub(crate) struct KindChoice {
    pub(crate) word: &'static str,
    pub(crate) label: &'static str,
    /// What is sent as `redirect_uri` where the provider has the kind's own short name.
    pub(crate) redirect_uri: String,
}

/// The kinds, in the order of the dropdown.
pub(crate) fn kinds(visit: &Visit) -> Vec<KindChoice> {
    let kinds = [
        (ProviderKind::Authentik, "Authentik"),
        (ProviderKind::Google, "Google"),
        (ProviderKind::Github, "GitHub"),
        (ProviderKind::Oidc, "OpenID Connect"),
    ];
    let form = &visit.settings.server.provider_redirect_uri;
    let kinds = kinds.into_iter().map(|(kind, label)| KindChoice {
        word: kind.as_str(),
        label,
        redirect_uri: form.replace("<id>", kind.as_str()),
    });
    kinds.collect()
}

/// What a kind is called.
pub(crate) fn kind_label(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Authentik => "Authentik",
        ProviderKind::Github => "GitHub",
        ProviderKind::Google => "Google",
        ProviderKind::Oidc => "OpenID Connect",
    }
}

/// The text fields. The client secret is none of them: it is sent, never shown.
#[derive(Default)]
pub(crate) struct Fields {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) base_url: String,
    pub(crate) slug: String,
    pub(crate) issuer: String,
    pub(crate) github_url: String,
    pub(crate) client_id: String,
    pub(crate) scopes: String,
    pub(crate) pkce: bool,
    pub(crate) allowed_domains: String,
    pub(crate) auto_approve: bool,
    pub(crate) trust_email: bool,
    pub(crate) mfa_from: String,
    pub(crate) redirect_uri: String,
    pub(crate) claim_subject: String,
    pub(crate) claim_username: String,
    pub(crate) claim_email: String,
    pub(crate) claim_email_verified: String,
    pub(crate) claim_groups: String,
    pub(crate) groups: String,
    pub(crate) roles: String,
}

impl Fields {
    /// Empty, with the boxes ticked that are ticked by default.
    pub(crate) fn blank() -> Self {
        Self { pkce: true, trust_email: true, mfa_from: "none".to_owned(), ..Self::default() }
    }

    /// What a form holds.
    pub(crate) fn of_form(form: &FormBody) -> Self {
        let text = |name: &str| form.field(name).trim().to_owned();
        Self {
            kind: text("kind"),
            id: text("id"),
            label: text("label"),
            base_url: text("base_url"),
            slug: text("slug"),
            issuer: text("issuer"),
            github_url: text("github_url"),
            client_id: text("client_id"),
            scopes: text("scopes"),
            pkce: form.ticked("pkce"),
            allowed_domains: text("allowed_domains"),
            auto_approve: form.ticked("auto_approve"),
            trust_email: form.ticked("trust_email"),
            mfa_from: text("mfa_from"),
            redirect_uri: text("redirect_uri"),
            claim_subject: text("claim_subject"),
            claim_username: text("claim_username"),
            claim_email: text("claim_email"),
            claim_email_verified: text("claim_email_verified"),
            claim_groups: text("claim_groups"),
            groups: text("groups"),
            roles: text("roles"),
        }
    }

    /// A provider as it is written down.
    pub(crate) fn of_spec(spec: &ProviderSpec) -> Self {
        let kind = spec.kind.clone().unwrap_or_else(|| ProviderKind::Oidc.as_str().to_owned());
        let claim = |name: &str| spec.claims.get(name).cloned().unwrap_or_default();
        let base_url = spec.base_url.clone().unwrap_or_default();
        let is_github = kind == ProviderKind::Github.as_str();
        let (base_url, github_url) =
            if is_github { (String::new(), base_url) } else { (base_url, String::new()) };
        Self {
            kind,
            id: spec.id.clone(),
            label: spec.label.clone().unwrap_or_default(),
            base_url,
            slug: spec.slug.clone().unwrap_or_default(),
            issuer: spec.discovery_url.clone().or(spec.issuer.clone()).unwrap_or_default(),
            github_url,
            client_id: spec.client_id.clone(),
            scopes: spec.scopes.clone().unwrap_or_default().join(" "),
            pkce: spec.pkce.unwrap_or(true),
            allowed_domains: spec.allowed_domains.clone().unwrap_or_default().join(" "),
            auto_approve: spec.auto_approve.unwrap_or(false),
            trust_email: spec.trust_email.unwrap_or(true),
            mfa_from: spec.mfa_from.clone().unwrap_or_else(|| "none".to_owned()),
            redirect_uri: spec.redirect_uri.clone().unwrap_or_default(),
            claim_subject: claim("subject"),
            claim_username: claim("username"),
            claim_email: claim("email"),
            claim_email_verified: claim("email_verified"),
            claim_groups: claim("groups"),
            groups: lines(&spec.groups),
            roles: lines(&spec.roles),
        }
    }

    /// A new provider: what people need to begin with. Without a short name it has its kind's.
    pub(crate) fn to_new_spec(&self, secret: &str) -> ProviderSpec {
        let id = if self.id.is_empty() { &self.kind } else { &self.id };
        let mut spec = ProviderSpec {
            id: id.clone(),
            kind: Some(self.kind.clone()),
            label: given(&self.label),
            ..ProviderSpec::default()
        };
        self.place_into(&mut spec);
        self.client_into(&mut spec, secret);
        spec
    }

    /// The same provider with what its page changes; an empty secret leaves the old one.
    pub(crate) fn to_changed_spec(
        &self,
        old: &ProviderSpec,
        secret: &str,
    ) -> Result<ProviderSpec, SpecProblem> {
        let mut spec = old.clone();
        self.place_into(&mut spec);
        self.client_into(&mut spec, secret);
        spec.label = given(&self.label);
        spec.scopes = words(&self.scopes);
        spec.pkce = Some(self.pkce);
        spec.allowed_domains = words(&self.allowed_domains);
        spec.auto_approve = Some(self.auto_approve);
        spec.trust_email = Some(self.trust_email);
        spec.mfa_from = given(&self.mfa_from);
        spec.redirect_uri = given(&self.redirect_uri);
        let claims = [
            ("subject", &self.claim_subject),
            ("username", &self.claim_username),
            ("email", &self.claim_email),
            ("email_verified", &self.claim_email_verified),
            ("groups", &self.claim_groups),
        ];
        for (name, claim) in claims {
            match given(claim) {
                Some(claim) => spec.claims.insert(name.to_owned(), claim),
                None => spec.claims.remove(name),
            };
        }
        spec.groups = map("groups", &self.groups)?;
        spec.roles = map("roles", &self.roles)?;
        Ok(spec)
    }

    fn place_into(&self, spec: &mut ProviderSpec) {
        match spec.kind.as_deref() {
            Some("authentik") => {
                spec.base_url = given(&self.base_url);
                spec.slug = given(&self.slug);
            }
            Some("github") => spec.base_url = given(&self.github_url),
            // One of its own is set by file or API only; the form leaves it alone.
            Some("google") => {}
            _ => {
                let is_document = self.issuer.ends_with(DISCOVERY);
                let place = given(&self.issuer);
                (spec.discovery_url, spec.issuer) =
                    if is_document { (place, None) } else { (None, place) };
            }
        }
    }

    fn client_into(&self, spec: &mut ProviderSpec, secret: &str) {
        spec.client_id.clone_from(&self.client_id);
        let secret = Some(secret.trim()).filter(|secret| !secret.is_empty());
        spec.client_secret = secret.map(Secret::new);
    }
}

/// What is wrong, under the name that the field has on the page.
pub(crate) struct FieldProblem {
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl From<SpecProblem> for FieldProblem {
    fn from(problem: SpecProblem) -> Self {
        let field = match problem.key.as_str() {
            "allowed_domains" => "Allowed email domains",
            "base_url" => "Base URL",
            "client_id" => "Client ID",
            "client_secret" => "Client Secret",
            "discovery_url" | "issuer" => "Issuer URL",
            "groups" => "Groups",
            "id" => "Short name",
            "kind" => "Provider",
            "label" => "Name on the button",
            "mfa_from" => "Second factor",
            "redirect_uri" => "Redirect URI",
            "roles" => "Roles",
            "scopes" => "Scopes",
            "slug" => "Application Slug",
            key => key,
        };
        Self {
            field: field.to_owned(),
            message: sentence(&problem.message),
            help: sentence(&problem.help),
        }
    }
}

/// What is written to stand behind a place or a colon, as a sentence of its own.
pub(crate) fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let Some(first) = rest.next() else { return String::new() };
    let is_url = text.split(' ').next().is_some_and(|word| word.contains("://"));
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    if is_url {
        return format!("{text}{end}");
    }
    format!("{}{}{end}", first.to_uppercase(), rest.as_str())
}

fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn words(text: &str) -> Option<Vec<String>> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',' || c == ';');
    let words: Vec<_> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    Some(words).filter(|words| !words.is_empty())
}

/// `value = meaning` on each line; the last `=` parts them, as a claim's value may hold some.
fn map(key: &str, text: &str) -> Result<BTreeMap<String, String>, SpecProblem> {
    let mut map = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let parts = line.rsplit_once('=').map(|(value, meaning)| (value.trim(), meaning.trim()));
        let Some((value, meaning)) = parts.filter(|(v, m)| !v.is_empty() && !m.is_empty()) else {
            return Err(SpecProblem {
                key: key.to_owned(),
                code: "bad-value",
                message: format!("the line \u{201c}{line}\u{201d} is no pair"),
                help: "Write one pair a line, such as: staff = editors".to_owned(),
            });
        };
        map.insert(value.to_owned(), meaning.to_owned());
    }
    Ok(map)
}

fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<_> = map.iter().map(|(value, meaning)| format!("{value} = {meaning}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_004_19_seed_004_20_a_new_provider_takes_the_fields_of_its_kind_only() {
        let fields = Fields {
            kind: "authentik".to_owned(),
            base_url: "https://auth.company".to_owned(),
            slug: "pantrie".to_owned(),
            issuer: "https://left.over".to_owned(),
            client_id: "c".to_owned(),
            ..Fields::blank()
        };
        let spec = fields.to_new_spec("s");
        assert_eq!((spec.id.as_str(), spec.kind.as_deref()), ("authentik", Some("authentik")));
        assert_eq!(spec.base_url.as_deref(), Some("https://auth.company"));
        assert_eq!((spec.slug.as_deref(), spec.issuer), (Some("pantrie"), None));
        assert_eq!(spec.client_secret, Some(Secret::new("s")));
    }

    #[test]
    fn a_discovery_document_is_told_from_an_issuer() {
        for (place, is_document) in
            [("https://id.x/o/.well-known/openid-configuration", true), ("https://id.x/o/", false)]
        {
            let fields = Fields { kind: "oidc".into(), issuer: place.into(), ..Fields::blank() };
            let spec = fields.to_new_spec("");
            let (document, issuer) = (spec.discovery_url, spec.issuer);
            assert_eq!(document.as_deref(), is_document.then_some(place));
            assert_eq!(issuer.as_deref(), (!is_document).then_some(place));
            assert_eq!(spec.client_secret, None, "a public client");
        }
    }

    #[test]
    fn what_a_page_shows_and_sends_back_changes_nothing() {
        let spec = ProviderSpec {
            id: "corp".into(),
            kind: Some("oidc".into()),
            issuer: Some("https://id.x".into()),
            client_id: "c".into(),
            scopes: Some(vec!["openid".into(), "groups".into()]),
            pkce: Some(true),
            auto_approve: Some(true),
            trust_email: Some(false),
            mfa_from: Some("acr:gold".into()),
            claims: BTreeMap::from([("email".into(), "mail".into())]),
            groups: BTreeMap::from([("cn=a,dc=b".into(), "staff".into())]),
            roles: BTreeMap::from([("boss".into(), "admin".into())]),
            ..ProviderSpec::default()
        };
        let back = Fields::of_spec(&spec).to_changed_spec(&spec, "").unwrap();
        assert_eq!(back, spec);
    }

    #[test]
    fn a_remark_becomes_a_sentence() {
        for (text, said) in [
            ("write it", "Write it."),
            ("`x` is no id", "`x` is no id."),
            ("http://x answers", "http://x answers."),
            ("", ""),
        ] {
            assert_eq!(sentence(text), said);
        }
    }

    #[test]
    fn a_line_without_a_pair_is_told() {
        for bad in ["staff", "= x", "x ="] {
            assert_eq!(map("groups", bad).unwrap_err().key, "groups", "{bad}");
        }
        assert_eq!(map("groups", "\n a = b \n\n").unwrap().len(), 1);
    }
}
