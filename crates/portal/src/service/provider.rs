//! Signing in at providers: their buttons, the way there, and what a refusal says.

use vestibule_authn::oidc::FLOW_LIFETIME;
use vestibule_authn::provider::{ProviderPurpose, ProviderRefused, ProviderStart};
use vestibule_core::id::AccountId;
use vestibule_core::settings::provider::MfaFrom;

use crate::navigation::encode;
use crate::problem::Problem;
use crate::visit::Visit;

/// A button of the sign-in page: a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Button {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) href: String,
    pub(crate) is_down: bool,
}

/// A button for each provider, in the order of configuration. `step` as in `/login?step=`.
pub(crate) fn buttons(visit: &Visit, rd: &str, step: &str) -> Vec<Button> {
    let mut query = String::new();
    for (name, value) in [("rd", rd), ("step", step)] {
        if !value.is_empty() {
            let mark = if query.is_empty() { '?' } else { '&' };
            query.push_str(&format!("{mark}{name}={}", encode(value)));
        }
    }
    let buttons = visit.authn().provider_buttons().into_iter();
    let buttons = buttons.map(|button| Button {
        href: format!("/api/v1/auth/login/{}{query}", button.id),
        id: button.id.to_string(),
        label: button.label,
        is_down: button.is_down,
    });
    buttons.collect()
}

/// The buttons by which somebody who is signed in can prove again who they are: those of the
/// identities that their account has, and for a second factor only providers that tell of one.
pub(crate) async fn buttons_of(
    visit: &Visit,
    account: AccountId,
    rd: &str,
    step: &str,
) -> Result<Vec<Button>, Problem> {
    let all = buttons(visit, rd, step);
    if all.is_empty() {
        return Ok(all);
    }
    let links = visit.authn().provider_links(account).await?;
    let tells_of_mfa = |id: &str| {
        let known = visit.authn().providers();
        known.iter().any(|p| &*p.provider.id == id && p.provider.mfa_from != MfaFrom::None)
    };
    let fits = |button: &Button| {
        links.iter().any(|link| link.provider == button.id)
            && (step != "mfa" || tells_of_mfa(&button.id))
    };
    Ok(all.into_iter().filter(fits).collect())
}

/// The way to a provider: its URL, and the cookie that binds the answer to this browser.
pub(crate) struct Departure {
    pub(crate) location: String,
    pub(crate) cookie: String,
}

/// Begins a sign-in at a provider.
pub(crate) async fn depart(
    visit: &Visit,
    provider: &str,
    purpose: ProviderPurpose,
    rd: &str,
) -> Result<Departure, ProviderRefused> {
    let name = visit.names.provider_flow;
    let start = ProviderStart {
        provider: provider.to_owned(),
        purpose,
        rd: visit.kept_return_to(rd),
        browser: visit.cookie(name).map(str::to_owned),
    };
    let started = visit.authn().start_provider_sign_in(start, &visit.actor(), visit.now).await?;
    let cookie = visit.names.set(name, &started.browser, FLOW_LIFETIME);
    Ok(Departure { location: started.location, cookie })
}

/// What a refusal says, and the one link that leads on.
pub(crate) struct Refusal {
    pub(crate) problem: Problem,
    pub(crate) label: &'static str,
    pub(crate) href: String,
}

/// Puts a refusal into words for whoever came by `provider`.
pub(crate) fn refusal(
    visit: &Visit,
    provider: &str,
    refused: ProviderRefused,
    rd: &str,
) -> Refusal {
    let login = || match visit.kept_return_to(rd) {
        rd if rd.is_empty() => visit.url("/login"),
        rd => visit.url(&format!("/login?rd={}", encode(&rd))),
    };
    let back = |problem: Problem| Refusal { problem, label: "Back to sign-in", href: login() };
    match refused {
        ProviderRefused::AccountDisabled => back(Problem::account_disabled()),
        ProviderRefused::Declined => back(Problem::provider_denied()),
        ProviderRefused::EmailDomain => back(Problem::email_domain_not_allowed()),
        ProviderRefused::Failed { advice, .. } => back(Problem::provider_signin_failed(advice)),
        ProviderRefused::LinkRefused { reason, pending } => {
            link_refusal(visit, &label_of(visit, provider), reason, pending.as_deref())
        }
        ProviderRefused::NotConfigured => back(Problem::provider_not_configured()),
        ProviderRefused::SignupOff => back(Problem::signup_disabled().detail(
            "There is no account for you here yet, and a first sign-in makes none. Ask your \
             administrator.",
        )),
        ProviderRefused::Store(error) => back(error.into()),
    }
}

/// Where the identity and an account stay apart: why, and how they are joined.
fn link_refusal(
    visit: &Visit,
    label: &str,
    reason: &'static str,
    pending: Option<&str>,
) -> Refusal {
    let title = match reason {
        "in_use" => "This identity belongs to another account",
        _ => "Not linked to your account yet",
    };
    let how = "To use both, sign in with your password, then link";
    let detail = match (reason, pending) {
        ("in_use", _) => format!(
            "Who you are at {label} signs in to another account here. Unlink it there first, or \
             go on with that account."
        ),
        (_, Some(_)) => format!(
            "An account here has the email address that {label} gives for you, and it is joined \
             with its owner’s word only. {how}: one question follows, and both ways lead to the \
             same account."
        ),
        ("email_unverified", None) => format!(
            "{label} does not say that the email address is yours, so nothing was made or joined \
             here. {how} {label} in your settings."
        ),
        (_, None) => format!(
            "Accounts are not joined by their email address here, so nothing was made or joined. \
             {how} {label} in your settings."
        ),
    };
    let problem = Problem::link_refused(title, detail, reason);
    let after = match pending {
        Some(token) => visit.url(&format!("/settings/link?token={}", encode(token))),
        None => visit.url("/settings"),
    };
    if visit.browser_identity().is_some() && pending.is_none() {
        return Refusal { problem, label: "Back to settings", href: after };
    }
    let href = visit.url(&format!("/login?rd={}", encode(&after)));
    Refusal { problem, label: "Sign in, then link", href }
}

/// How people know a provider.
pub(crate) fn label_of(visit: &Visit, id: &str) -> String {
    let buttons = visit.authn().provider_buttons();
    let found = buttons.into_iter().find(|button| &*button.id == id);
    found.map_or_else(|| "the provider".to_owned(), |button| button.label)
}
