//! Verdicts and refusals as answers (CONTRACT section 6): the one place where a status is
//! chosen. A navigation gets a page or a redirect, a program a problem document, and nobody
//! learns which half of a credential was wrong.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, header};
use vestibule_authn::rate_limit::Limited;
use vestibule_core::facts::Audience;
use vestibule_core::policy::Decision;
use vestibule_core::return_to::MAX_RETURN_TO;
use vestibule_core::verdict::{Code, Reason, Step, Verdict};

use crate::body::OutBody;
use crate::headers::X_VESTIBULE;
use crate::record::RequestId;
use crate::resource::METADATA_PATH;
use crate::snapshot::{CompiledRoute, PortalPages};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;color-scheme:light dark;max-width:36rem;margin:15vh auto;padding:0 1.5rem}h1{font-size:1.5rem}code{opacity:.7}";
const PAGE_POLICY: &str = "default-src 'none'; style-src 'sha256-6/bCl2KbLkLf4GqAQ4SQxLjsFHfbVXmpM3NKQfwzaT4='; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Why a request is not let through, as far as its answer needs it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: Reason,
    /// The rule that decided, where one did.
    pub(crate) decision: Option<Decision>,
    way_out: WayOut,
    limited: Option<Limited>,
    /// The connection ends with the answer.
    closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WayOut {
    ChangePassword,
    None,
    Pending,
    Rejected,
    Secure,
    SignIn(Option<Step>),
}

impl Refusal {
    /// A refusal without a way out.
    pub(crate) fn new(code: Code, reason: Reason) -> Self {
        Self { code, reason, decision: None, way_out: WayOut::None, limited: None, closes: false }
    }

    /// A malformed or ambiguous request; the connection ends.
    pub(crate) fn malformed() -> Self {
        Self { closes: true, ..Self::new(Code::BadRequestTarget, Reason::BadTarget) }
    }

    /// A path with two readings.
    pub(crate) fn bad_target() -> Self {
        Self::new(Code::BadRequestTarget, Reason::BadTarget)
    }

    /// CONNECT and TRACE.
    pub(crate) fn method_refused() -> Self {
        Self { closes: true, ..Self::new(Code::MethodNotAllowed, Reason::MethodRefused) }
    }

    /// Over a limit.
    pub(crate) fn limited(limited: Limited) -> Self {
        let limited = Some(limited);
        Self { limited, ..Self::new(Code::RateLimited, Reason::RateLimited) }
    }

    /// The connection ends with the answer.
    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// Plain http where https is served: GET and HEAD are sent there.
    pub(crate) fn https_required(redirects: bool) -> Self {
        let way_out = if redirects { WayOut::Secure } else { WayOut::None };
        Self { way_out, closes: true, ..Self::new(Code::HttpsRequired, Reason::HttpsRequired) }
    }

    /// What the policy refused; `None`: it allows.
    pub(crate) fn of(decision: Decision) -> Option<Self> {
        let (code, reason, way_out) = match decision.verdict {
            Verdict::Allow(_) => return None,
            Verdict::Challenge { reason, can_sign_in: true } => {
                (Code::Unauthenticated, reason, WayOut::SignIn(None))
            }
            Verdict::Challenge { reason, can_sign_in: false } => {
                (Code::Unauthenticated, reason, WayOut::None)
            }
            Verdict::StepUp { reason, step } => {
                (Code::StepUpRequired, reason, WayOut::SignIn(Some(step)))
            }
            Verdict::Deny { reason, code } => (code, reason, way_out_of(code)),
        };
        Some(Self { way_out, decision: Some(decision), ..Self::new(code, reason) })
    }

    fn status(&self) -> StatusCode {
        match self.code {
            Code::BadRequestTarget | Code::HttpsRequired => StatusCode::BAD_REQUEST,
            Code::InvalidCredential | Code::StepUpRequired | Code::Unauthenticated => {
                StatusCode::UNAUTHORIZED
            }
            Code::NoRoute => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::MisdirectedRequest | Code::ReservedPath => StatusCode::MISDIRECTED_REQUEST,
            Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Code::UpstreamUnreachable => StatusCode::BAD_GATEWAY,
            Code::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Code::AccountDisabled
            | Code::AccountPending
            | Code::AccountRejected
            | Code::BypassRefused
            | Code::CrossSiteRefused
            | Code::Forbidden
            | Code::OriginNotAllowed
            | Code::PasswordChangeRequired
            | Code::UntrustedProxy => StatusCode::FORBIDDEN,
        }
    }

    const fn title(&self) -> &'static str {
        match self.code {
            Code::AccountDisabled => "This account is disabled",
            Code::AccountPending => "Awaiting approval",
            Code::AccountRejected => "Access not approved",
            Code::BadRequestTarget => "The address of this request cannot be read one way only",
            Code::BodyTooLarge => "What was sent is too large",
            Code::BypassRefused => "Requests that were forwarded are not let in without sign-in",
            Code::CrossSiteRefused => "This request came from another site",
            Code::Forbidden => "You may not open this",
            Code::HttpsRequired => "Use https",
            Code::Internal => "Something went wrong",
            Code::InvalidCredential => "The key or token shown is not valid",
            Code::MethodNotAllowed => "This method is not served",
            Code::MisdirectedRequest => "This connection is for another host",
            Code::NoRoute => "There is nothing here",
            Code::OriginNotAllowed => "This page may not connect here",
            Code::PasswordChangeRequired => "Change your password first",
            Code::RateLimited => "Too many requests",
            Code::ReservedPath => {
                "This path belongs to the sign-in gateway and must be sent to it directly"
            }
            Code::StepUpRequired => "A stronger or fresher sign-in is needed",
            Code::StoreUnavailable => "Sign-in cannot be checked at the moment",
            Code::Unauthenticated => "Authentication required",
            Code::UntrustedProxy => "The asker is not a trusted proxy",
            Code::UpstreamTimeout => "The app did not answer in time",
            Code::UpstreamUnreachable => "The app cannot be reached",
        }
    }
}

const fn way_out_of(code: Code) -> WayOut {
    match code {
        Code::AccountPending => WayOut::Pending,
        Code::AccountRejected => WayOut::Rejected,
        Code::PasswordChangeRequired => WayOut::ChangePassword,
        _ => WayOut::None,
    }
}

/// Who asked for what, as far as the answer of a refusal needs it.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) audience: Audience,
    /// The URL as the browser sees it, path and query as sent; empty where unknown.
    pub(crate) url: &'a str,
    pub(crate) origin: Option<&'a str>,
    pub(crate) request_id: &'a RequestId,
    pub(crate) pages: &'a PortalPages,
    pub(crate) route: Option<&'a CompiledRoute>,
}

impl Asked<'_> {
    fn is_read(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }

    /// Where the refusal can be got out of, in a browser.
    fn location(&self, refusal: &Refusal) -> Option<String> {
        match refusal.way_out {
            WayOut::None => None,
            WayOut::ChangePassword => Some(self.pages.change_password.clone()),
            WayOut::Pending => Some(self.pages.pending.clone()),
            WayOut::Rejected => Some(self.pages.rejected.clone()),
            WayOut::Secure => {
                self.url.strip_prefix("http://").map(|rest| format!("https://{rest}"))
            }
            WayOut::SignIn(step) => Some(self.login(step)),
        }
    }

    fn login(&self, step: Option<Step>) -> String {
        let mut url = format!("{}?rd=", self.pages.login);
        let rd = if self.url.len() <= MAX_RETURN_TO { self.url } else { origin_of(self.url) };
        for &byte in rd.as_bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                let _ = write!(url, "%{byte:02X}");
            }
        }
        if let Some(step) = step {
            let _ = write!(url, "&step={}", step.as_str());
        }
        url
    }
}

fn origin_of(url: &str) -> &str {
    let end = url.find("://").and_then(|at| url.get(at + 3..)?.find('/').map(|to| at + 4 + to));
    end.and_then(|end| url.get(..end)).unwrap_or("")
}

/// The answer at the proxy door, and at the hooks that may redirect.
pub(crate) fn answer(refusal: &Refusal, asked: &Asked<'_>) -> Response<OutBody> {
    let location = asked.location(refusal);
    let redirects = match refusal.way_out {
        WayOut::Secure => asked.is_read(),
        WayOut::None => false,
        WayOut::ChangePassword | WayOut::Pending | WayOut::Rejected | WayOut::SignIn(_) => {
            asked.audience == Audience::Navigation
        }
    };
    let mut response = match &location {
        Some(location) if redirects => redirect(refusal, asked, location),
        _ => document(refusal, asked, location.as_deref()),
    };
    mark(response.headers_mut(), refusal);
    allow_reading(&mut response, asked);
    response
}

/// The answer to nginx's `auth_request`: 401, 403 or 503, and `Location` exactly where a
/// navigation would be redirected. Without a body, so that nginx keeps its connection.
pub(crate) fn answer_auth_request(refusal: &Refusal, asked: &Asked<'_>) -> Response<OutBody> {
    let mut response = Response::new(OutBody::empty());
    let redirects = asked.audience == Audience::Navigation
        && !matches!(refusal.way_out, WayOut::None | WayOut::Secure);
    let location = asked.location(refusal).filter(|_| redirects);
    *response.status_mut() = match refusal.status() {
        StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => refusal.status(),
        _ if redirects || refusal.code == Code::ReservedPath => StatusCode::UNAUTHORIZED,
        _ => StatusCode::FORBIDDEN,
    };
    if let Some(Ok(location)) = location.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    mark(response.headers_mut(), refusal);
    authenticate_with(response.headers_mut(), refusal, asked);
    response
}

/// More header fields than are read (RFC 6585, 5).
pub(crate) fn too_many_fields() -> Response<OutBody> {
    closing(bare(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "TOO_MANY_FIELDS"))
}

/// An `Expect` other than `100-continue` (RFC 9110, 10.1.1).
pub(crate) fn expectation_failed() -> Response<OutBody> {
    closing(bare(StatusCode::EXPECTATION_FAILED, "EXPECTATION_FAILED"))
}

/// A method that a document of our own does not take, and those it does.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Response<OutBody> {
    let mut response = bare(StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed.as_str());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// An answer that is in its header fields alone.
pub(crate) fn no_content() -> Response<OutBody> {
    let mut response = Response::new(OutBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A refusal without a body.
fn bare(status: StatusCode, code: &'static str) -> Response<OutBody> {
    let mut response = Response::new(OutBody::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_VESTIBULE, HeaderValue::from_static(code));
    response
}

fn closing(mut response: Response<OutBody>) -> Response<OutBody> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn redirect(refusal: &Refusal, asked: &Asked<'_>, location: &str) -> Response<OutBody> {
    let mut response = Response::new(OutBody::empty());
    *response.status_mut() = match refusal.way_out {
        WayOut::Secure => StatusCode::PERMANENT_REDIRECT,
        _ if asked.is_read() => StatusCode::FOUND,
        _ => StatusCode::SEE_OTHER,
    };
    match HeaderValue::try_from(location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => document(refusal, asked, None),
    }
}

fn document(refusal: &Refusal, asked: &Asked<'_>, location: Option<&str>) -> Response<OutBody> {
    let status = refusal.status();
    let (kind, text) = match asked.audience {
        Audience::Program => ("application/problem+json", problem(refusal, asked, location)),
        audience => ("text/html; charset=utf-8", page(refusal, asked, location, audience)),
    };
    let mut response = Response::new(OutBody::bytes(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if asked.audience != Audience::Program {
        let policy = HeaderValue::from_static(PAGE_POLICY);
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    authenticate_with(headers, refusal, asked);
    response
}

fn problem(refusal: &Refusal, asked: &Asked<'_>, location: Option<&str>) -> String {
    #[derive(serde::Serialize)]
    struct Problem<'a> {
        r#type: &'static str,
        title: &'static str,
        status: u16,
        code: &'static str,
        request_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        login_url: Option<&'a str>,
    }
    let signs_in = matches!(refusal.way_out, WayOut::SignIn(_));
    asked.request_id.with_text(|request_id| {
        let problem = Problem {
            r#type: "about:blank",
            title: refusal.title(),
            status: refusal.status().as_u16(),
            code: refusal.code.as_str(),
            request_id,
            login_url: location.filter(|_| signs_in),
        };
        serde_json::to_string(&problem).unwrap_or_default()
    })
}

fn page(
    refusal: &Refusal,
    asked: &Asked<'_>,
    location: Option<&str>,
    audience: Audience,
) -> String {
    let title = refusal.title();
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main><h1>{title}</h1>"
    );
    if let Some(location) = location {
        let target = if audience == Audience::Frame { " target=\"_top\"" } else { "" };
        let _ = write!(page, "<p><a href=\"{}\"{target}>Continue</a></p>", escape(location));
    }
    let _ = asked.request_id.with_text(|id| {
        write!(page, "<p><code>{} · {}</code></p></main></body></html>", refusal.code, escape(id))
    });
    page
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn mark(headers: &mut HeaderMap, refusal: &Refusal) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_VESTIBULE, HeaderValue::from_static(refusal.code.as_str()));
    if refusal.closes {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if refusal.code == Code::MethodNotAllowed {
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        headers.insert(header::ALLOW, allowed);
    }
    let Some(limited) = &refusal.limited else { return };
    let (retry, window) = (limited.retry_after.as_secs().max(1), limited.window.as_secs());
    headers.insert(header::RETRY_AFTER, HeaderValue::from(retry));
    let name = limited.scope;
    for (header, text) in [
        ("ratelimit", format!("\"{name}\";r=0;t={retry}")),
        ("ratelimit-policy", format!("\"{name}\";q={};w={window}", limited.requests)),
    ] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(header, value);
        }
    }
}

/// RFC 9110, 11.6.1: a 401 names the schemes that would do.
fn authenticate_with(headers: &mut HeaderMap, refusal: &Refusal, asked: &Asked<'_>) {
    if refusal.status() != StatusCode::UNAUTHORIZED {
        return;
    }
    let bearer = match refusal.code {
        Code::InvalidCredential => "Bearer realm=\"vestibule\", error=\"invalid_token\"",
        _ => "Bearer realm=\"vestibule\"",
    };
    let asks_for_jwt = asked.route.is_some_and(|route| route.asks_for_jwt(refusal.decision));
    let origin = origin_of(asked.url).trim_end_matches('/');
    let bearer = if asks_for_jwt && !origin.is_empty() {
        // RFC 9728, 5.1: where to read whose token would do.
        let bearer = format!("{bearer}, resource_metadata=\"{origin}{METADATA_PATH}\"");
        HeaderValue::try_from(bearer).unwrap_or(HeaderValue::from_static("Bearer"))
    } else {
        HeaderValue::from_static(bearer)
    };
    headers.insert(header::WWW_AUTHENTICATE, bearer);
    let basic = asked.route.is_some_and(|route| route.takes_basic);
    if basic && asked.audience == Audience::Program && asked.origin.is_none() {
        let basic = HeaderValue::from_static("Basic realm=\"vestibule\", charset=\"UTF-8\"");
        headers.append(header::WWW_AUTHENTICATE, basic);
    }
}

/// `cors_origins` may read our own 401 and 403.
fn allow_reading(response: &mut Response<OutBody>, asked: &Asked<'_>) {
    let (Some(origin), Some(route)) = (asked.origin, asked.route) else { return };
    let listed = route.route.cors_origins.iter().any(|known| **known == *origin);
    if !listed || !matches!(response.status().as_u16(), 401 | 403) {
        return;
    }
    if let Ok(origin) = HeaderValue::from_str(origin) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if headers.contains_key(header::WWW_AUTHENTICATE) {
            // A program in a page that looks for the way to a token reads it there.
            let readable = HeaderValue::from_static("WWW-Authenticate");
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
        }
    }
}

/// The status a program gets for a verdict, for `explain`; 200 where the app answers.
pub fn status_for_program(verdict: Verdict) -> u16 {
    let decision = Decision { verdict, rule: None };
    Refusal::of(decision).map_or(StatusCode::OK, |refusal| refusal.status()).as_u16()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> PortalPages {
        PortalPages {
            login: "https://auth.test/login".into(),
            pending: "https://auth.test/pending".into(),
            rejected: "https://auth.test/rejected".into(),
            change_password: "https://auth.test/settings?change=password".into(),
        }
    }

    fn asked<'a>(
        method: &'a Method,
        audience: Audience,
        url: &'a str,
        pages: &'a PortalPages,
        id: &'a RequestId,
    ) -> Asked<'a> {
        Asked { method, audience, url, origin: None, request_id: id, pages, route: None }
    }

    fn challenge(can_sign_in: bool) -> Refusal {
        let verdict = Verdict::Challenge { reason: Reason::NotSignedIn, can_sign_in };
        Refusal::of(Decision { verdict, rule: None }).unwrap()
    }

    #[test]
    fn the_page_policy_names_the_hash_of_its_style() {
        let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
        let hash = suite.tls13().unwrap().common.hash_provider.hash(STYLE.as_bytes());
        let hash =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hash.as_ref());
        assert!(PAGE_POLICY.contains(&format!("'sha256-{hash}'")), "{hash}");
    }

    #[test]
    fn seed_a_navigation_is_sent_to_sign_in_and_a_program_is_told() {
        let (pages, id) = (pages(), RequestId::Told("r1".into()));
        let url = "https://app.test/a?b=c&d";
        let get =
            answer(&challenge(true), &asked(&Method::GET, Audience::Navigation, url, &pages, &id));
        assert_eq!(get.status(), 302);
        assert_eq!(
            get.headers()["location"],
            "https://auth.test/login?rd=https%3A%2F%2Fapp.test%2Fa%3Fb%3Dc%26d"
        );
        assert_eq!(get.headers()["cache-control"], "no-store");
        let post =
            answer(&challenge(true), &asked(&Method::POST, Audience::Navigation, url, &pages, &id));
        assert_eq!(post.status(), 303);
        let api =
            answer(&challenge(true), &asked(&Method::GET, Audience::Program, url, &pages, &id));
        assert_eq!(
            (api.status().as_u16(), &api.headers()["x-vestibule"]),
            (401, &HeaderValue::from_static("UNAUTHENTICATED"))
        );
        assert!(api.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        let frame =
            answer(&challenge(true), &asked(&Method::GET, Audience::Frame, url, &pages, &id));
        assert_eq!(frame.status(), 401);
        let hopeless =
            answer(&challenge(false), &asked(&Method::GET, Audience::Navigation, url, &pages, &id));
        assert_eq!(hopeless.status(), 401);
        assert!(!hopeless.headers().contains_key("location"));
    }

    #[test]
    fn d2_auth_request_answers_only_what_nginx_understands() {
        let (pages, id) = (pages(), RequestId::Told("r1".into()));
        for code in Code::ALL {
            let refusal = Refusal::new(*code, Reason::Internal);
            let answer = answer_auth_request(
                &refusal,
                &asked(&Method::GET, Audience::Navigation, "", &pages, &id),
            );
            assert!(matches!(answer.status().as_u16(), 401 | 403 | 503), "{code}");
        }
        let go = answer_auth_request(
            &challenge(true),
            &asked(&Method::GET, Audience::Navigation, "https://a.test/", &pages, &id),
        );
        assert_eq!(go.status(), 401);
        assert!(go.headers().contains_key("location"));
        let stay = answer_auth_request(
            &challenge(true),
            &asked(&Method::GET, Audience::Program, "https://a.test/", &pages, &id),
        );
        assert!(!stay.headers().contains_key("location"));
    }

    #[test]
    fn a_long_url_keeps_only_its_origin() {
        let (pages, id) = (pages(), RequestId::Told("r1".into()));
        let url = format!("https://app.test/{}", "x".repeat(MAX_RETURN_TO));
        let asked = asked(&Method::GET, Audience::Navigation, &url, &pages, &id);
        assert_eq!(asked.login(None), "https://auth.test/login?rd=https%3A%2F%2Fapp.test%2F");
    }
}
