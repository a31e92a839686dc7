//! The one way in and out: reads the request once, counts it, checks its origin, hands it to
//! the pages, the API or the paths of app hosts, and finishes the answer.
//!
//! The order matters: counting comes before everything a guesser could make us do, and the
//! check for cross-site requests before any handler.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

use vestibule_authn::Authn;
use vestibule_core::local::{LocalContext, LocalPlace};
use vestibule_core::path::NormalPath;

use crate::problem::Problem;
use crate::visit::{Paths, V, Visit};
use crate::{Host, api, app_host, assets, csrf, pages, security_headers};

/// What every handler works with.
pub(crate) struct Portal {
    pub(crate) authn: Arc<Authn>,
    pub(crate) host: Arc<dyn Host>,
}

/// Which part of the portal answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// JSON for programs.
    Api,
    /// `/.vestibule/*` for an app's host.
    AppHost,
    /// Style sheet and icons.
    Asset,
    /// Pages for people.
    Page,
}

struct Doors {
    portal: Arc<Portal>,
    api: Router,
    app_host: Router,
    pages: Router,
}

/// The whole portal.
pub(crate) fn router(portal: Arc<Portal>) -> Router {
    let doors = Arc::new(Doors {
        portal,
        api: api::router(),
        app_host: app_host::router(),
        pages: pages::router(),
    });
    let answer = move |request: Request| {
        let doors = doors.clone();
        async move { answer(&doors, request).await }
    };
    Router::new().fallback(answer).layer(CatchPanicLayer::custom(|_| {
        tracing::error!("a handler of the portal panicked");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }))
}

async fn answer(doors: &Doors, mut request: Request) -> Response {
    let Some(ctx) = request.extensions().get::<LocalContext>().cloned() else {
        tracing::error!("a request reached the portal without its context");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let settings = doors.portal.authn.settings();
    let outside = request.uri().path().to_owned();
    // What the proxy matched is what is answered: the path in its one normal form.
    let normal = NormalPath::parse(&outside).map(|(path, _)| path);
    let path = normal.as_ref().map_or("/.vestibule/unreadable", NormalPath::as_str);
    let placed = place(path, &ctx.place, &settings.server.api_prefix);
    let callback = own_callback(&doors.portal.authn, path, request.uri().query(), &placed);
    let (area, path) = callback.map_or(placed, |callback| (Area::Api, callback));
    if area == Area::Asset {
        let mut response = assets::serve(request.method(), &path, request.headers());
        security_headers::apply(&mut response, None, &settings);
        return response;
    }

    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.clone(),
    };
    let visit = Arc::new(Visit::new(
        doors.portal.clone(),
        ctx,
        area,
        request.method().clone(),
        Paths { target: target.clone(), outside },
        request.headers(),
    ));
    let Ok(uri) = target.parse::<Uri>() else {
        return finish(&visit, Problem::bad_request("The path cannot be read.").into_response());
    };
    *request.uri_mut() = uri;

    if counts_as_authentication(request.method(), &path)
        && let Err(limited) = visit.authn().count_auth_request(visit.ctx.client_ip, visit.now)
    {
        return finish(&visit, Problem::from(limited).into_response());
    }
    if let Err(problem) = csrf::check(&visit, request.headers()) {
        return finish(&visit, problem.into_response());
    }

    let renewed = pages::renew_where_asked(&visit).await;
    request.extensions_mut().insert(V(visit.clone()));
    let router = match area {
        Area::Api | Area::Asset => &doors.api,
        Area::AppHost => &doors.app_host,
        Area::Page => &doors.pages,
    };
    let response = match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let mut response = finish(&visit, response);
    let own = format!("{}=", visit.names.session);
    let sets_session = |field: &HeaderValue| field.as_bytes().starts_with(own.as_bytes());
    if let Some(cookie) = renewed
        && !response.headers().get_all(header::SET_COOKIE).iter().any(sets_session)
    {
        append_cookies(&mut response, &[cookie]);
    }
    response
}

/// A callback at the path of a provider's own `redirect_uri`, under the spelling of all others.
/// Where that is a place of ours besides, it takes answers of the provider and no more.
fn own_callback(
    authn: &Authn,
    path: &str,
    query: Option<&str>,
    (area, placed): &(Area, String),
) -> Option<String> {
    if !authn.is_provider_callback(path) {
        return None;
    }
    let is_ours = match area {
        Area::AppHost | Area::Asset => return None,
        Area::Api => !is_callback(placed),
        Area::Page => pages::is_page(placed),
    };
    let (_, id) = authn.provider_callback_paths().into_iter().find(|(own, _)| own == path)?;
    let mut pairs = query.unwrap_or_default().split('&');
    let taken = !is_ours || pairs.any(|pair| pair.starts_with("state="));
    taken.then(|| format!("/api/v1/auth/callback/{id}"))
}

/// Whether a path (under its one spelling) belongs to a sign-in at a provider: a link in the API
/// that people follow.
pub(crate) fn is_provider_flow(path: &str) -> bool {
    let starts = |prefix: &str| path.strip_prefix(prefix).is_some_and(|id| !id.is_empty());
    starts("/api/v1/auth/login/") || is_callback(path)
}

/// Whether a path (under its one spelling) is where a provider sends people back to.
pub(crate) fn is_callback(path: &str) -> bool {
    let oauth = path.strip_prefix("/api/v1/auth/oauth/").or(path.strip_prefix("/api/auth/oidc/"));
    path.starts_with("/api/v1/auth/callback/")
        || oauth.is_some_and(|rest| rest.ends_with("/callback"))
}

/// Which part a path belongs to, and the path under its one spelling: without the prefix of
/// a shared host and without `API_PREFIX`.
fn place(path: &str, place: &LocalPlace, api_prefix: &str) -> (Area, String) {
    let reserved = match path.strip_prefix("/.vestibule") {
        Some("") => Some("/"),
        rest => rest.filter(|rest| rest.starts_with('/')),
    };
    if let Some(rest) = reserved.filter(|rest| rest.starts_with("/assets/")) {
        return (Area::Asset, rest.to_owned());
    }
    if let LocalPlace::AppReserved { .. } = place {
        return (Area::AppHost, reserved.unwrap_or(path).to_owned());
    }
    if let Some(rest) = reserved.filter(|rest| app_host::PATHS.contains(rest)) {
        return (Area::AppHost, rest.to_owned());
    }
    let path = reserved.unwrap_or(path);
    if path.starts_with("/assets/") {
        return (Area::Asset, path.to_owned());
    }
    let alias = path
        .strip_prefix(api_prefix)
        .filter(|rest| !api_prefix.is_empty() && rest.starts_with("/v1/"))
        .or_else(|| Some(path).filter(|path| path.starts_with("/v1/auth/callback/")));
    if let Some(rest) = alias {
        return (Area::Api, format!("/api{rest}"));
    }
    let key_alias = path.strip_prefix("/api-keys/").is_some_and(|id| !id.is_empty());
    let is_api = path.starts_with("/api/")
        || path.starts_with("/.well-known/")
        || path == "/health"
        || path.starts_with("/health/")
        || key_alias;
    (if is_api { Area::Api } else { Area::Page }, path.to_owned())
}

/// Whether a request counts against `auth.rate_limit`: everything that tries a credential or
/// makes one. Configuration, pages and assets are free. Logout tokens count where they are
/// refused only ([`crate::api`]): one provider may end thousands of sessions from one address.
fn counts_as_authentication(method: &Method, path: &str) -> bool {
    if let Some(rest) = path.strip_prefix("/api/v1/auth/") {
        let group = rest.split('/').next().unwrap_or_default();
        return match group {
            "callback" | "oauth" => true,
            "login" | "signup" | "refresh" | "password" | "email" | "passkeys" | "totp" => {
                method != Method::GET || rest.starts_with("login/")
            }
            _ => false,
        };
    }
    if path.starts_with("/api/auth/oidc/") {
        return true;
    }
    method == Method::POST && matches!(path, "/login" | "/signup" | "/setup" | "/settings/password")
}

/// Renders what a handler refused, and puts on what every answer carries.
fn finish(visit: &Visit, response: Response) -> Response {
    let response = axum_errors_as_problems(response);
    let mut response = match response.extensions().get::<Problem>().cloned() {
        None => response,
        Some(problem) => {
            let mut rendered = render(visit, &problem);
            if let Ok(code) = HeaderValue::from_str(problem.code()) {
                rendered.headers_mut().insert("x-vestibule", code);
            }
            for (name, value) in problem.headers() {
                if rendered.status().is_redirection() {
                    continue;
                }
                rendered.headers_mut().insert(name, value.clone());
            }
            rendered
        }
    };
    security_headers::apply(&mut response, Some(visit), &visit.settings);
    response
}

/// axum's own refusals (405 without a body) as problems, so that nothing leaves unrendered.
fn axum_errors_as_problems(response: Response) -> Response {
    let has_problem = response.extensions().get::<Problem>().is_some();
    if response.status() != StatusCode::METHOD_NOT_ALLOWED || has_problem {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let title = "Method not allowed";
    let mut answer =
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", title).into_response();
    if let Some(allow) = allow {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}

fn render(visit: &Visit, problem: &Problem) -> Response {
    if visit.wants_page && visit.is_for_people() {
        return pages::error::render(visit, problem);
    }
    let mut document = serde_json::json!({
        "type": "about:blank",
        "title": problem.title(),
        "status": problem.status().as_u16(),
        "code": problem.code(),
        "request_id": &*visit.ctx.request_id,
    });
    if let Some(members) = document.as_object_mut() {
        if let Some(detail) = problem.more() {
            members.insert("detail".to_owned(), detail.into());
        }
        for (name, value) in problem.members() {
            members.insert((*name).to_owned(), value.clone());
        }
        match problem.where_to() {
            Some(crate::problem::Detour::SignIn) => {
                members.insert("login_url".to_owned(), visit.url("/login").into());
            }
            Some(crate::problem::Detour::Reauth) => {
                members.insert("login_url".to_owned(), visit.url("/login?step=reauth").into());
            }
            _ => {}
        }
    }
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = problem.status();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// Adds `Set-Cookie` fields.
pub(crate) fn append_cookies(response: &mut Response, cookies: &[String]) {
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portal_place(path: &str, api_prefix: &str) -> (Area, String) {
        place(path, &LocalPlace::Portal { prefixed: true }, api_prefix)
    }

    #[test]
    fn seed_002_57_the_api_also_stands_under_api_prefix() {
        assert_eq!(
            portal_place("/gate/v1/auth/config", "/gate"),
            (Area::Api, "/api/v1/auth/config".to_owned())
        );
        assert_eq!(portal_place("/v1/auth/config", "/gate").0, Area::Page);
        assert_eq!(
            portal_place("/v1/auth/callback/google", ""),
            (Area::Api, "/api/v1/auth/callback/google".to_owned())
        );
    }

    #[test]
    fn pages_lose_the_prefix_of_a_shared_host() {
        assert_eq!(portal_place("/.vestibule/login", ""), (Area::Page, "/login".to_owned()));
        assert_eq!(portal_place("/.vestibule/", ""), (Area::Page, "/".to_owned()));
        assert_eq!(portal_place("/.vestibule", ""), (Area::Page, "/".to_owned()));
        assert_eq!(portal_place("/.vestibulex", ""), (Area::Page, "/.vestibulex".to_owned()));
        assert_eq!(portal_place("/.vestibule/whoami", ""), (Area::AppHost, "/whoami".to_owned()));
    }

    #[test]
    fn seed_000_71_what_tries_a_credential_is_counted_and_what_reads_is_not() {
        for (method, path) in [
            (Method::POST, "/login"),
            (Method::POST, "/setup"),
            (Method::POST, "/api/v1/auth/login"),
            (Method::POST, "/api/v1/auth/signup"),
            (Method::POST, "/api/v1/auth/refresh"),
            (Method::POST, "/api/v1/auth/password/reset"),
            (Method::POST, "/api/v1/auth/passkeys/login/start"),
            (Method::GET, "/api/v1/auth/callback/google"),
            (Method::GET, "/api/v1/auth/login/google"),
        ] {
            assert!(counts_as_authentication(&method, path), "{method} {path}");
        }
        for path in ["/api/v1/auth/config", "/login", "/settings", "/api/v1/auth/passkeys"] {
            assert!(!counts_as_authentication(&Method::GET, path), "{path}");
        }
        let logout = "/api/v1/auth/backchannel-logout/google";
        assert!(!counts_as_authentication(&Method::POST, logout));
    }

    #[test]
    fn paths_of_provider_sign_ins_are_told_from_the_rest() {
        for path in [
            "/api/v1/auth/login/google",
            "/api/v1/auth/callback/google",
            "/api/v1/auth/oauth/google/callback",
            "/api/auth/oidc/google/callback",
        ] {
            assert!(is_provider_flow(path), "{path}");
            assert_eq!(is_callback(path), !path.contains("/login/"), "{path}");
        }
        for path in ["/api/v1/auth/login", "/api/v1/auth/login/", "/api/v1/auth/me", "/login"] {
            assert!(!is_provider_flow(path), "{path}");
        }
    }
}
