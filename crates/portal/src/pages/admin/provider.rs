//! `/admin/providers/{id}`: one provider. What to register there, how it answers, and, where an
//! administrator made it, everything that can be changed.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use vestibule_authn::provider::{ProviderChangeError, ProviderReport, ProviderShown};
use vestibule_core::settings::provider::ProviderOrigin;
use vestibule_core::settings::provider::spec::ProviderSpec;

use super::fields::{FieldProblem, Fields, kind_label, sentence};
use super::providers::{Refused, State};
use crate::api::backchannel_logout_uri;
use crate::assets;
use crate::body::FormBody;
use crate::guard::Need;
use crate::params::Params;
use crate::problem::Problem;
use crate::security_headers::Script;
use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

/// What a test found.
pub(crate) struct Report {
    pub(crate) is_good: bool,
    pub(crate) checks: Vec<Check>,
}

/// One thing that was tried.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) is_good: bool,
    pub(crate) found: String,
    pub(crate) help: Option<String>,
}

impl From<ProviderReport> for Report {
    fn from(report: ProviderReport) -> Self {
        let is_good = report.is_good();
        let checks = report.checks.into_iter().map(|check| Check {
            name: match check.name {
                "client" => "Client",
                "clock" => "Clock",
                "discovery" => "Discovery",
                "endpoints" => "Endpoints",
                "issuer" => "Issuer",
                "keys" => "Keys",
                "logout" => "Sign-out",
                "pkce" => "PKCE",
                other => other,
            },
            is_good: check.is_good,
            found: check.found,
            help: check.help.as_deref().map(sentence),
        });
        Self { is_good, checks: checks.collect() }
    }
}

#[derive(Template)]
#[template(path = "admin_provider.html")]
struct ProviderPage {
    chrome: Chrome,
    copy_js: String,
    id: String,
    label: String,
    kind: &'static str,
    is_enabled: bool,
    /// Where it stands, if not here.
    stands_in: Option<&'static str>,
    redirect_uri: String,
    backchannel_logout_uri: String,
    has_secret: bool,
    state: State,
    fields: Fields,
    problems: Vec<FieldProblem>,
    report: Option<Report>,
    notice: Option<&'static str>,
    error: Option<String>,
}

pub(crate) async fn show(
    visit: V,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let notice = match params.value("done") {
        Some("created") => Some(
            "The provider is made, and its button stands on the sign-in page. Register the \
             redirect URI below at the provider, then test it.",
        ),
        Some("saved") => Some("The change is in force."),
        _ => None,
    };
    Ok(Shown { notice, ..Shown::default() }.render(&visit, find(&visit, &id)?))
}

pub(crate) async fn submit(
    visit: V,
    Path(id): Path<String>,
    form: FormBody,
) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let found = find(&visit, &id)?;
    let done = match form.field("action") {
        "delete" => {
            let deleted = visit.authn().delete_provider(&id, &visit.actor(), visit.now).await;
            deleted.map(|()| visit.url("/admin/providers?deleted"))
        }
        "disable" => enable(&visit, &found.spec, false).await,
        "enable" => enable(&visit, &found.spec, true).await,
        "save" => return save(&visit, found, &form).await,
        "test" => {
            let report = visit.authn().test_provider(&id, visit.now).await;
            let report = Some(Report::from(report.ok_or_else(Problem::not_found)?));
            return Ok(Shown { report, ..Shown::default() }.render(&visit, find(&visit, &id)?));
        }
        _ => return Err(Problem::bad_request("The form says nothing to do.")),
    };
    match done {
        Ok(to) => Ok(visit.redirect(&to)),
        Err(error) => {
            let refused = Some(Refused::from(error));
            Ok(Shown { refused, ..Shown::default() }.render(&visit, found))
        }
    }
}

async fn enable(
    visit: &Visit,
    spec: &ProviderSpec,
    enabled: bool,
) -> Result<String, ProviderChangeError> {
    let spec = ProviderSpec { enabled: Some(enabled), client_secret: None, ..spec.clone() };
    let to = visit.url(&format!("/admin/providers/{}?done=saved", spec.id));
    visit.authn().change_provider(spec, &visit.actor(), visit.now).await?;
    Ok(to)
}

async fn save(visit: &Visit, found: ProviderShown, form: &FormBody) -> Result<Response, Problem> {
    let kind = found.provider.kind.as_str().to_owned();
    let fields = Fields { kind, id: found.spec.id.clone(), ..Fields::of_form(form) };
    let changed = match fields.to_changed_spec(&found.spec, form.field("client_secret")) {
        Ok(spec) => visit.authn().change_provider(spec, &visit.actor(), visit.now).await,
        Err(problem) => Err(ProviderChangeError::Bad(vec![problem])),
    };
    match changed {
        Ok(provider) => {
            let to = format!("/admin/providers/{}?done=saved", provider.id);
            Ok(visit.redirect(&visit.url(&to)))
        }
        Err(error) => {
            let refused = Some(Refused::from(error));
            Ok(Shown { refused, fields: Some(fields), ..Shown::default() }.render(visit, found))
        }
    }
}

fn find(visit: &Visit, id: &str) -> Result<ProviderShown, Problem> {
    let mut known = visit.authn().providers().into_iter();
    known.find(|shown| &*shown.provider.id == id).ok_or_else(Problem::not_found)
}

#[derive(Default)]
struct Shown {
    fields: Option<Fields>,
    report: Option<Report>,
    refused: Option<Refused>,
    notice: Option<&'static str>,
}

impl Shown {
    fn render(self, visit: &Visit, shown: ProviderShown) -> Response {
        let ProviderShown { provider, spec, status } = shown;
        let (problem, problems) = match self.refused {
            Some(refused) => (Some(refused.problem), refused.fields),
            None => (None, Vec::new()),
        };
        let copy_js = assets::path("copy.js");
        let page = ProviderPage {
            chrome: Chrome::new(visit),
            copy_js: copy_js.clone(),
            kind: kind_label(provider.kind),
            is_enabled: provider.enabled,
            stands_in: match provider.origin {
                ProviderOrigin::Environment => Some("the environment"),
                ProviderOrigin::File => Some("the configuration file"),
                ProviderOrigin::Stored => None,
            },
            backchannel_logout_uri: backchannel_logout_uri(visit, &provider.id),
            redirect_uri: provider.redirect_uri,
            has_secret: provider.client_secret.is_some(),
            state: (&status).into(),
            id: provider.id.to_string(),
            label: provider.label,
            fields: self.fields.unwrap_or_else(|| Fields::of_spec(&spec)),
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
