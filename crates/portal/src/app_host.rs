//! What Vestibule answers under `/.vestibule/` on an app's own host: the app's side of the
//! hand-off, sign-out, `whoami`, and the key set (CONTRACT section 4).
//!
//! The flow cookie holds where the browser wants to go besides its random part, so that no
//! URL has to carry it and nobody else can choose it. What fails is begun anew once, then a
//! page says so: never a loop.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;

use vestibule_authn::Authn;
use vestibule_authn::cookie::FLOW_COOKIES;
use vestibule_authn::handoff::FLOW_LIFETIME;
use vestibule_core::account::Status;
use vestibule_core::facts::FetchSite;
use vestibule_core::group::Group;
use vestibule_core::local::LocalPlace;
use vestibule_core::return_to::{Origin, ReturnTo};
use vestibule_core::time::UnixMillis;

use crate::api;
use crate::body::FormBody;
use crate::dispatch::append_cookies;
use crate::guard::Need;
use crate::json::time;
use crate::navigation::encode;
use crate::pages;
use crate::params::Params;
use crate::problem::Problem;
use crate::visit::{V, Visit};

/// The paths, without `/.vestibule`. They mean the same on the portal's own host.
pub(crate) const PATHS: &[&str] = &["/callback", "/jwks.json", "/sign-out", "/start", "/whoami"];

/// Longest value of a flow cookie; browsers keep 4,096 bytes of name and value.
const MAX_FLOW: usize = 3_800;

pub(crate) fn router() -> Router {
    Router::new()
        .route("/start", get(start))
        .route("/callback", get(callback))
        .route("/sign-out", get(ask_sign_out).post(sign_out))
        .route("/whoami", get(whoami))
        .route("/jwks.json", get(api::jwks))
        .route("/.well-known/jwks.json", get(api::jwks))
        .fallback(|| async { Problem::not_found() })
}

/// The app's origin as the browser sees it. The portal's scheme holds for every host.
pub(crate) fn origin(visit: &Visit) -> Origin {
    let ctx = &visit.ctx;
    let scheme = visit.settings.server.portal.scheme;
    let port = if ctx.port == ctx.scheme.default_port() { scheme.default_port() } else { ctx.port };
    Origin { scheme, host: ctx.host.clone(), port }
}

/// Sets a flow cookie and sends the browser to the portal for a code.
async fn start(visit: V, params: Params) -> Response {
    let origin = origin(&visit);
    let wish = params.value("rd").unwrap_or_default();
    let path = path_on(&visit, &origin, wish).unwrap_or_else(|| "/".to_owned());
    if !visit.needs_handoff(&origin) {
        return visit.redirect(&format!("{origin}{path}"));
    }
    let flow = Flow::new(&visit, &path);
    let state = Authn::flow_state(&flow.value);
    let authority = origin.to_string();
    let authority = authority.split("://").nth(1).unwrap_or_default();
    let again = if params.has("again") { "&again=1" } else { "" };
    let to =
        visit.url(&format!("/handoff?host={}&state={}{again}", encode(authority), encode(&state)));
    let mut response = visit.redirect(&to);
    let name = format!("{}{}", visit.names.flow_prefix, free_slot(&visit));
    append_cookies(&mut response, &[visit.names.set(&name, &flow.value, FLOW_LIFETIME)]);
    response
}

/// Redeems the code for this host's own cookie.
async fn callback(visit: V, params: Params) -> Result<Response, Problem> {
    let origin = origin(&visit);
    let (code, state) = (params.value("code"), params.value("state"));
    let flow = state
        .and_then(|state| flows(&visit).find(|(_, flow)| Authn::flow_state(&flow.value) == state));
    let path = flow.as_ref().map_or("/", |(_, flow)| flow.path()).to_owned();
    let path =
        path_on(&visit, &origin, &format!("{origin}{path}")).unwrap_or_else(|| "/".to_owned());
    let spent: Vec<_> = flow.iter().map(|(name, _)| visit.names.clear(name)).collect();

    if let (Some(code), Some(state), Some((_, flow))) = (code, state, &flow) {
        let host = origin.host.as_str();
        let session = visit
            .authn()
            .redeem_handoff(code, host, state, &flow.value, &visit.actor(), visit.now)
            .await?;
        if let Some(session) = session {
            let mut response = visit.redirect(&format!("{origin}{path}"));
            // A token of one host stays on it, also where other hosts share a domain's cookie.
            let names = vestibule_authn::cookie::Cookies { domain: None, ..visit.names.clone() };
            append_cookies(&mut response, &[names.set_session(&session.token, session.max_age)]);
            append_cookies(&mut response, &spent);
            return Ok(response);
        }
    }
    // Somebody who went back to a spent link is signed in already.
    if visit.browser_identity().is_some() && params.has("again") {
        return Ok(visit.redirect(&format!("{origin}{path}")));
    }
    let retry = format!("{origin}/.vestibule/start?rd={}", encode(&format!("{origin}{path}")));
    let mut response = if params.has("again") {
        let problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "SIGNIN_NOT_COMPLETED",
            "The sign-in could not be completed",
        )
        .detail("The link was used before, is too old, or this browser did not keep its cookies.");
        if visit.wants_page {
            pages::error::render_with_way_out(&visit, &problem, "Try again", &retry)
        } else {
            problem.into_response()
        }
    } else {
        visit.redirect(&format!("{retry}&again=1"))
    };
    append_cookies(&mut response, &spent);
    Ok(response)
}

/// Ends the whole session at once, unless another site asks for it.
async fn ask_sign_out(visit: V, params: Params) -> Result<Response, Problem> {
    let rd = params.value("rd").unwrap_or_default();
    if visit.browser_identity().is_some() && visit.fetch_site == FetchSite::CrossSite {
        let action = "/.vestibule/sign-out".to_owned();
        return Ok(pages::logout::ask(&visit, action, rd));
    }
    end(&visit, rd).await
}

async fn sign_out(visit: V, form: FormBody) -> Result<Response, Problem> {
    end(&visit, form.field("rd")).await
}

/// The portal's own cookie is cleared by the portal: on the way to `rd`, or at its sign-in page,
/// where the provider of the session sends the browser.
async fn end(visit: &Visit, rd: &str) -> Result<Response, Problem> {
    let session = visit.browser_identity().and_then(|identity| identity.session);
    let provider = match session {
        Some(session) => pages::logout::end_session(visit, session).await?,
        None => None,
    };
    let to = match (provider, visit.return_to(rd)) {
        (Some(provider), _) => provider,
        (None, Some(_)) => visit.url(&format!("/logout?rd={}", encode(rd))),
        (None, None) => visit.url("/logout"),
    };
    let mut response = visit.redirect(&to);
    let own = vestibule_authn::cookie::Cookies { domain: None, ..visit.names.clone() };
    append_cookies(&mut response, &[own.clear_session(), visit.names.clear(visit.names.csrf)]);
    Ok(response)
}

/// What the app may know about who is signed in.
async fn whoami(visit: V) -> Result<Response, Problem> {
    // An app asks about whoever it let in, also by a token that is good for apps alone.
    let foreign = visit.ctx.identity.as_ref().filter(|identity| identity.account.is_none());
    let identity = match foreign.filter(|_| !visit.ctx.bad_credential) {
        Some(identity) if !visit.auth_is_off() => identity,
        _ => visit.require(Need::Known)?,
    };
    match identity.status {
        Status::Active => {}
        Status::Pending => return Err(Problem::account_pending()),
        _ => return Err(Problem::account_rejected()),
    }
    let told = |group: &&Group| match &visit.ctx.place {
        LocalPlace::AppReserved { route } => route.tells_group(group),
        LocalPlace::Portal { .. } => true,
    };
    let groups: Vec<_> = identity.groups.iter().filter(told).map(Group::as_str).collect();
    let body = serde_json::json!({
        "user": &*identity.username,
        "email": identity.email.as_deref(),
        "name": &*identity.name,
        "groups": groups,
        "role": identity.role.as_str(),
        "expires_at": Some(time(identity.expires_at)).filter(|end| !end.is_empty()),
        "auth_time": identity.auth_time.map(time),
    });
    Ok(axum::Json(body).into_response())
}

/// Path and query of an `rd` that lies on this very host.
fn path_on(visit: &Visit, origin: &Origin, rd: &str) -> Option<String> {
    match visit.return_to(rd)? {
        ReturnTo::App { origin: to, path_and_query } if to == *origin => Some(path_and_query),
        ReturnTo::Portal(path) if *origin == visit.settings.server.portal => Some(path),
        _ => None,
    }
}

/// Value of a flow cookie: `<random>.<seconds>.<r|b><path>`, the path raw where a cookie can
/// hold it and else in base64url.
struct Flow {
    value: String,
    path: String,
    began: i64,
}

impl Flow {
    fn new(visit: &Visit, path: &str) -> Self {
        let fits = |b: u8| (0x21..0x7f).contains(&b) && !b"\",;\\".contains(&b);
        let kept =
            if path.bytes().all(fits) { format!("r{path}") } else { format!("b{}", base64(path)) };
        let began = visit.now.secs();
        let random = visit.authn().new_flow();
        let mut value = format!("{random}.{began}.{kept}");
        let mut path = path.to_owned();
        if value.len() > MAX_FLOW {
            "/".clone_into(&mut path);
            value = format!("{random}.{began}.r/");
        }
        Self { value, path, began }
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.splitn(3, '.');
        let (_, began, kept) = (parts.next()?, parts.next()?, parts.next()?);
        let path = match kept.split_at_checked(1)? {
            ("r", path) => path.to_owned(),
            ("b", path) => unbase64(path)?,
            _ => return None,
        };
        Some(Self { value: value.to_owned(), path, began: began.parse().ok()? })
    }

    fn path(&self) -> &str {
        &self.path
    }
}

/// The flow cookies this browser has, with their names.
fn flows(visit: &Visit) -> impl Iterator<Item = (String, Flow)> + '_ {
    (0..FLOW_COOKIES).filter_map(|slot| {
        let name = format!("{}{slot}", visit.names.flow_prefix);
        let flow = Flow::parse(visit.cookie(&name)?)?;
        Some((name, flow))
    })
}

/// A slot that is free, else the one of the oldest flow.
fn free_slot(visit: &Visit) -> u8 {
    let age = |slot: &u8| {
        let name = format!("{}{slot}", visit.names.flow_prefix);
        visit
            .cookie(&name)
            .and_then(Flow::parse)
            .map_or(UnixMillis(0), |flow| UnixMillis::from_secs(flow.began))
    };
    (0..FLOW_COOKIES).min_by_key(age).unwrap_or(0)
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn unbase64(text: &str) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_cookie_comes_back_with_its_path() {
        for path in ["/", "/a?b=c&d=%20", "/x;y,z\"q"] {
            let kept =
                if path.contains(';') { format!("b{}", base64(path)) } else { format!("r{path}") };
            let flow = Flow::parse(&format!("AbC_-123.1700000000.{kept}")).unwrap();
            assert_eq!((flow.path(), flow.began), (path, 1_700_000_000));
        }
        for bad in ["", "a", "a.b", "a.b.c", "a.1.xpath", "a.1.b!!", "a.1."] {
            assert!(Flow::parse(bad).is_none(), "{bad}");
        }
    }
}
