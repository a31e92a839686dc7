//! `/admin/users`: approve, reject, disable, sign out, and make administrators.

use askama::Template;
use axum::response::Response;

use vestibule_core::account::{Account, Role, Status};
use vestibule_core::id::AccountId;

use crate::body::FormBody;
use crate::guard::Need;
use crate::json::time_for_people;
use crate::params::Params;
use crate::problem::Problem;
use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

/// How many accounts stand on one page.
const PAGE: u32 = 100;

struct UserRow {
    id: String,
    name: String,
    email: String,
    is_admin: bool,
    is_self: bool,
    status: &'static str,
    groups: String,
    created: String,
}

impl UserRow {
    fn new(account: &Account, own: Option<AccountId>) -> Self {
        let email = account.email.as_deref().unwrap_or(&account.username).to_owned();
        Self {
            id: account.id.to_string(),
            name: if account.name.is_empty() { &account.username } else { &account.name }
                .to_string(),
            email,
            is_admin: account.role == Role::Admin,
            is_self: own == Some(account.id),
            status: account.effective_status().as_str(),
            groups: account.groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            created: time_for_people(account.created_at),
        }
    }
}

#[derive(Template)]
#[template(path = "admin_users.html")]
struct UsersPage<'a> {
    chrome: Chrome,
    waiting: Vec<UserRow>,
    others: Vec<UserRow>,
    next: Option<String>,
    notice: Option<&'a str>,
    error: Option<&'a str>,
}

pub(crate) async fn show(visit: V, params: Params) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let notice = params.has("changed").then_some("The change is in force.");
    render(&visit, params.value("after"), notice, None).await
}

pub(crate) async fn submit(visit: V, form: FormBody) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let id: AccountId = form.field("id").parse().map_err(|_| Problem::not_found())?;
    let (authn, actor, now) = (visit.authn(), visit.actor(), visit.now);
    let status = match form.field("action") {
        "activate" => Some(Status::Active),
        "disable" => Some(Status::Disabled),
        "reject" => Some(Status::Rejected),
        _ => None,
    };
    let done = match (form.field("action"), status) {
        (_, Some(status)) => authn.set_status(id, status, &actor, now).await.map(|_| ()),
        ("make-admin", _) => authn.set_role(id, Role::Admin, &actor, now).await.map(|_| ()),
        ("make-user", _) => authn.set_role(id, Role::User, &actor, now).await.map(|_| ()),
        ("sign-out", _) => {
            authn.end_sessions_of(id, None, &actor, now).await?;
            Ok(())
        }
        _ => return Err(Problem::bad_request("The form says nothing to do.")),
    };
    match done {
        Ok(()) => Ok(visit.redirect(&visit.url("/admin/users?changed"))),
        Err(error) => render(&visit, None, None, Some(&error.into())).await,
    }
}

async fn render(
    visit: &Visit,
    after: Option<&str>,
    notice: Option<&str>,
    problem: Option<&Problem>,
) -> Result<Response, Problem> {
    let bad = |_| Problem::bad_request("`after` is the id of an account.");
    let after = after.map(str::parse).transpose().map_err(bad)?;
    let own = visit.ctx.identity.as_ref().and_then(|identity| identity.account);
    let accounts = visit.authn().store().accounts(after, PAGE).await?;
    let full = u32::try_from(accounts.len()).is_ok_and(|n| n == PAGE);
    let next = accounts.last().filter(|_| full).map(|account| account.id.to_string());
    let (waiting, others) = accounts
        .iter()
        .map(|account| UserRow::new(account, own))
        .partition(|row| row.status == Status::Pending.as_str());
    let page = UsersPage {
        chrome: Chrome::new(visit),
        waiting,
        others,
        next,
        notice,
        error: problem.map(Problem::sentence),
    };
    Ok(view::form(visit, problem, &page))
}
