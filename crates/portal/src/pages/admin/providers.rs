//! `/admin/providers` ("OAuth Settings"): every provider with how it answered last, and the form
//! that adds one. A form that was tested or refused comes back with what was typed, but for the
//! secret.

use askama::Template;
use axum::response::Response;

use vestibule_authn::provider::{ProviderChangeError, ProviderShown, ProviderStatus};
use vestibule_core::settings::auth::Mode;
use vestibule_core::settings::provider::{ProviderKind, ProviderOrigin};

use super::fields::{FieldProblem, Fields, KindChoice, kind_label, kinds};
use super::provider::Report;
use crate::assets;
use crate::body::FormBody;
use crate::guard::Need;
use crate::json::time_for_people;
use crate::params::Params;
use crate::problem::Problem;
use crate::security_headers::Script;
use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

struct Row {
    id: String,
    label: String,
    kind: &'static str,
    is_enabled: bool,
    is_read_only: bool,
    place: String,
    state: State,
}

/// How a provider answered last, for a tag and a sentence.
pub(super) struct State {
    pub(super) is_up: bool,
    pub(super) is_down: bool,
    pub(super) text: String,
}

impl From<&ProviderStatus> for State {
    fn from(status: &ProviderStatus) -> Self {
        let text = match status {
            ProviderStatus::Down { reason, at } => {
                format!("asked on {}: {reason}", time_for_people(*at))
            }
            ProviderStatus::Unknown => "not asked yet".to_owned(),
            ProviderStatus::Up { at } => format!("asked on {}", time_for_people(*at)),
        };
        Self {
            is_up: matches!(status, ProviderStatus::Up { .. }),
            is_down: matches!(status, ProviderStatus::Down { .. }),
            text,
        }
    }
}

impl Row {
    fn new(shown: &ProviderShown) -> Self {
        let ProviderShown { provider, spec, status } = shown;
        let place =
            [&spec.issuer, &spec.discovery_url, &spec.base_url].into_iter().flatten().next();
        let place = place.map(String::as_str).unwrap_or_else(|| match provider.kind {
            ProviderKind::Github => "github.com",
            ProviderKind::Google => "accounts.google.com",
            ProviderKind::Authentik | ProviderKind::Oidc => "",
        });
        Self {
            id: provider.id.to_string(),
            label: provider.label.clone(),
            kind: kind_label(provider.kind),
            is_enabled: provider.enabled,
            is_read_only: provider.origin != ProviderOrigin::Stored,
            place: place.to_owned(),
            state: status.into(),
        }
    }
}

#[derive(Template)]
#[template(path = "admin_providers.html")]
struct ProvidersPage {
    chrome: Chrome,
    copy_js: String,
    rows: Vec<Row>,
    /// What the environment began and did not finish.
    incomplete: Vec<(String, String)>,
    mode_is_full: bool,
    with_none: bool,
    kinds: Vec<KindChoice>,
    fields: Fields,
    problems: Vec<FieldProblem>,
    report: Option<Report>,
    notice: Option<&'static str>,
    error: Option<String>,
}

pub(crate) async fn list(visit: V, params: Params) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let notice = params.has("deleted").then_some("The provider is deleted.");
    Ok(Shown { notice, ..Shown::default() }.render(&visit))
}

pub(crate) async fn create(visit: V, form: FormBody) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let fields = Fields::of_form(&form);
    let spec = fields.to_new_spec(form.field("client_secret"));
    let (authn, actor, now) = (visit.authn(), visit.actor(), visit.now);
    let mut shown = Shown { fields: Some(fields), ..Shown::default() };
    match form.field("action") {
        "create" => match authn.create_provider(spec, &actor, now).await {
            Ok(made) => {
                return Ok(visit
                    .redirect(&visit.url(&format!("/admin/providers/{}?done=created", made.id))));
            }
            Err(error) => shown.refused = Some(Refused::from(error)),
        },
        "test" => match authn.test_provider_spec(&spec, now).await {
            Ok(report) => shown.report = Some(Report::from(report)),
            Err(error) => shown.refused = Some(Refused::from(error)),
        },
        _ => return Err(Problem::bad_request("The form says nothing to do.")),
    }
    Ok(shown.render(&visit))
}

/// Why a form of a provider came back.
pub(crate) struct Refused {
    pub(crate) problem: Problem,
    pub(crate) fields: Vec<FieldProblem>,
}

impl From<ProviderChangeError> for Refused {
    fn from(error: ProviderChangeError) -> Self {
        let fields = match &error {
            ProviderChangeError::Bad(problems) => {
                problems.iter().cloned().map(FieldProblem::from).collect()
            }
            _ => Vec::new(),
        };
        Self { problem: error.into(), fields }
    }
}

#[derive(Default)]
struct Shown {
    fields: Option<Fields>,
    report: Option<Report>,
    refused: Option<Refused>,
    notice: Option<&'static str>,
}

impl Shown {
    fn render(self, visit: &Visit) -> Response {
        let (problem, problems) = match self.refused {
            Some(refused) => (Some(refused.problem), refused.fields),
            None => (None, Vec::new()),
        };
        let incomplete = visit.settings.incomplete_providers.iter();
        let copy_js = assets::path("copy.js");
        let page = ProvidersPage {
            chrome: Chrome::new(visit),
            copy_js: copy_js.clone(),
            rows: visit.authn().providers().iter().map(Row::new).collect(),
            incomplete: incomplete.map(|p| (p.id.to_string(), p.missing.join(", "))).collect(),
            mode_is_full: visit.mode() == Mode::Full,
            with_none: false,
            kinds: kinds(visit),
            fields: self.fields.unwrap_or_else(Fields::blank),
            problems,
            report: self.report,
            notice: self.notice,
            error: problem.as_ref().map(|problem| problem.sentence().to_owned()),
        };
        let mut response = view::form(visit, problem.as_ref(), &page);
        response.extensions_mut().insert(Script(copy_js));
        response
    }
}
