//! Refusals: one type for pages and API, rendered where the request leaves ([`crate::dispatch`]).
//!
//! A handler returns `Err(Problem)`; it becomes a problem document (RFC 9457) for programs, and
//! a page or a redirect for people. What a client reads never says which half of a credential
//! was wrong; what an operator needs goes to the log once, beside the request's id.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use vestibule_authn::account::AccountError;
use vestibule_authn::api_key::KeyError;
use vestibule_authn::login::{LoginError, PasswordChangeError, PasswordRefused};
use vestibule_authn::ports::StoreError;
use vestibule_authn::provider::ProviderChangeError;
use vestibule_authn::rate_limit::Limited;

/// Where a person is sent instead of being shown an error page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detour {
    /// To change the password.
    ChangePassword,
    /// To `/pending`.
    Pending,
    /// To `/login` with `step=reauth`.
    Reauth,
    /// To `/rejected`.
    Rejected,
    /// To `/login`.
    SignIn,
}

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    title: String,
    detail: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    members: Vec<(&'static str, serde_json::Value)>,
    detour: Option<Detour>,
}

impl Problem {
    /// A refusal with a stable code and a short title.
    pub(crate) fn new(status: StatusCode, code: &'static str, title: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            title: title.into(),
            detail: None,
            headers: Vec::new(),
            members: Vec::new(),
            detour: None,
        }))
    }

    /// The same with a sentence that says more.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// A further member of the problem document.
    pub(crate) fn member(
        mut self,
        name: &'static str,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.0.members.push((name, value.into()));
        self
    }

    fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.0.headers.push((name, value));
        }
        self
    }

    fn detour(mut self, to: Detour) -> Self {
        self.0.detour = Some(to);
        self
    }

    pub(crate) fn bad_request(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", "Bad request").detail(detail)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Not found")
    }

    pub(crate) fn not_available() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_AVAILABLE", "Not available")
    }

    pub(crate) fn provider_not_configured() -> Self {
        let title = "OAuth provider not configured";
        Self::new(StatusCode::NOT_FOUND, "PROVIDER_NOT_CONFIGURED", title)
            .detail("Go back and sign in another way, or ask an administrator.")
    }

    /// No sign-in came of it. `advice` says what to do and holds nothing the provider wrote.
    pub(crate) fn provider_signin_failed(advice: &str) -> Self {
        let title = "Failed to authenticate";
        Self::new(StatusCode::UNAUTHORIZED, "PROVIDER_SIGNIN_FAILED", title)
            .detail(advice)
            .detour(Detour::SignIn)
    }

    /// The person, or the provider's policy, said no.
    pub(crate) fn provider_denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "PROVIDER_DENIED", "Sign-in was declined").detail(
            "The provider, or you there, said no. Nothing was changed here. Sign in another way, \
             or ask whoever runs the provider for access.",
        )
    }

    pub(crate) fn email_domain_not_allowed() -> Self {
        let title = "This email domain is not allowed";
        Self::new(StatusCode::FORBIDDEN, "EMAIL_DOMAIN_NOT_ALLOWED", title).detail(
            "Only verified addresses of certain domains may sign in this way. Choose another \
             account at the provider, or ask your administrator.",
        )
    }

    /// An identity that is not joined to an account by itself.
    pub(crate) fn link_refused(title: &str, detail: String, reason: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "LINK_REFUSED", title)
            .detail(detail)
            .member("reason", reason)
    }

    pub(crate) fn internal() -> Self {
        let title = "Something went wrong";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", title)
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", "Authentication required")
            .header(header::WWW_AUTHENTICATE, "Bearer")
            .detour(Detour::SignIn)
    }

    pub(crate) fn invalid_credential() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "INVALID_CREDENTIAL", "Invalid credential")
            .header(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
    }

    pub(crate) fn invalid_login() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "INVALID_LOGIN", "Invalid email or password")
    }

    pub(crate) fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", "Forbidden").detail(detail)
    }

    pub(crate) fn bypass_refused() -> Self {
        let title = "Requests that were forwarded are not let in without sign-in";
        Self::new(StatusCode::FORBIDDEN, "BYPASS_REFUSED", title)
    }

    pub(crate) fn csrf() -> Self {
        Self::new(StatusCode::FORBIDDEN, "CSRF_FAILED", "This request came from another site")
            .detail("Open the page here and try again.")
    }

    pub(crate) fn signup_disabled() -> Self {
        Self::new(StatusCode::FORBIDDEN, "SIGNUP_DISABLED", "Sign-up is off")
    }

    pub(crate) fn store_unavailable() -> Self {
        let title = "The service is not available at the moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE", title)
            .header(header::RETRY_AFTER, "5")
    }

    pub(crate) fn account_pending() -> Self {
        Self::new(StatusCode::FORBIDDEN, "ACCOUNT_PENDING", "Awaiting approval")
            .detour(Detour::Pending)
    }

    pub(crate) fn account_rejected() -> Self {
        Self::new(StatusCode::FORBIDDEN, "ACCOUNT_REJECTED", "Access not approved")
            .detour(Detour::Rejected)
    }

    pub(crate) fn account_disabled() -> Self {
        Self::new(StatusCode::FORBIDDEN, "ACCOUNT_DISABLED", "This account is disabled")
            .detail("Ask an administrator to enable it.")
    }

    pub(crate) fn password_change_required() -> Self {
        let title = "The password must be changed first";
        Self::new(StatusCode::FORBIDDEN, "PASSWORD_CHANGE_REQUIRED", title)
            .detour(Detour::ChangePassword)
    }

    pub(crate) fn reauth_required() -> Self {
        let title = "Sign in again to do this";
        Self::new(StatusCode::UNAUTHORIZED, "STEP_UP_REQUIRED", title)
            .header(header::WWW_AUTHENTICATE, "Bearer")
            .detour(Detour::Reauth)
    }

    /// The status that will be answered.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    /// The short title.
    pub(crate) fn title(&self) -> &str {
        &self.0.title
    }

    /// The title, or the longer sentence where there is one: what a form shows.
    pub(crate) fn sentence(&self) -> &str {
        self.0.detail.as_deref().unwrap_or(&self.0.title)
    }

    /// The longer sentence.
    pub(crate) fn more(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// Where a person goes instead.
    pub(crate) fn where_to(&self) -> Option<Detour> {
        self.0.detour
    }

    /// Further members of the problem document.
    pub(crate) fn members(&self) -> &[(&'static str, serde_json::Value)] {
        &self.0.members
    }

    /// Header fields that belong to the answer, in whichever form it is rendered.
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }
}

/// Leaves the rendering to [`crate::dispatch`], which knows who reads.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// 429 (or 503, where the pool is busy) with the headers of the limit.
impl From<Limited> for Problem {
    fn from(limited: Limited) -> Self {
        let wait = limited.retry_after.as_secs().max(1);
        let minutes = wait.div_ceil(60);
        let (status, code, title) = if limited.scope == "busy" {
            (StatusCode::SERVICE_UNAVAILABLE, "BUSY", "Too many sign-ins at once")
        } else {
            (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "Too many attempts")
        };
        let wait_text = match (wait, minutes) {
            (..=90, _) => format!("{wait} seconds"),
            (_, minutes) => format!("{minutes} minutes"),
        };
        let policy = format!(
            "\"{}\";q={};w={}",
            limited.scope,
            limited.requests,
            limited.window.as_secs().max(1)
        );
        Self::new(status, code, title)
            .detail(format!("{title}. Try again in {wait_text}."))
            .header(header::RETRY_AFTER, wait.to_string())
            .header(HeaderName::from_static("ratelimit-policy"), policy)
            .header(
                HeaderName::from_static("ratelimit"),
                format!("\"{}\";r=0;t={wait}", limited.scope),
            )
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict("email") => Self::new(
                StatusCode::CONFLICT,
                "EMAIL_TAKEN",
                "An account with this email exists already",
            ),
            StoreError::Conflict("username") => {
                Self::new(StatusCode::CONFLICT, "USERNAME_TAKEN", "This user name is taken")
            }
            StoreError::Conflict(_) => {
                Self::new(StatusCode::CONFLICT, "CONFLICT", "Already in use")
            }
            StoreError::NotFound => Self::not_found(),
            StoreError::LastAdmin => Self::new(
                StatusCode::CONFLICT,
                "LAST_ADMIN",
                "The last administrator can be neither demoted nor deleted",
            ),
            StoreError::Unavailable(why) => {
                tracing::error!(reason = %why, "the store is unavailable");
                Self::store_unavailable()
            }
        }
    }
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Busy(limited) | LoginError::Limited(limited) => limited.into(),
            LoginError::EmailNotVerified => Self::new(
                StatusCode::FORBIDDEN,
                "EMAIL_NOT_VERIFIED",
                "Verify your email address first",
            ),
            LoginError::Invalid => Self::invalid_login(),
            LoginError::PasswordOff => Self::new(
                StatusCode::UNAUTHORIZED,
                "PASSWORD_SIGNIN_DISABLED",
                "Unauthorized: password sign-in is off",
            ),
            LoginError::Unavailable => Self::store_unavailable(),
        }
    }
}

impl From<PasswordRefused> for Problem {
    fn from(error: PasswordRefused) -> Self {
        match error {
            PasswordRefused::Length(why) => {
                Self::new(StatusCode::BAD_REQUEST, "PASSWORD_LENGTH", why)
            }
            PasswordRefused::Weak(why) => Self::new(StatusCode::BAD_REQUEST, "WEAK_PASSWORD", why),
        }
    }
}

impl From<PasswordChangeError> for Problem {
    fn from(error: PasswordChangeError) -> Self {
        match error {
            PasswordChangeError::Current(LoginError::Invalid) => Self::new(
                StatusCode::UNAUTHORIZED,
                "INVALID_LOGIN",
                "The current password is not right",
            ),
            PasswordChangeError::Current(error) => error.into(),
            PasswordChangeError::Refused(error) => error.into(),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::AdminAlwaysActive => Self::new(
                StatusCode::CONFLICT,
                "ADMIN_ALWAYS_ACTIVE",
                "An administrator is always active",
            )
            .detail("Change the role first."),
            AccountError::BadEmail(_) => Self::new(
                StatusCode::BAD_REQUEST,
                "BAD_EMAIL",
                "That is not an email address we can use",
            ),
            AccountError::BadUsername(_) => Self::new(
                StatusCode::BAD_REQUEST,
                "BAD_USERNAME",
                "A user name is 1 to 64 of a-z 0-9 . _ @ + -",
            ),
            AccountError::Hashing(error) => error.into(),
            AccountError::Password(error) => error.into(),
            AccountError::SignupDisabled => Self::signup_disabled(),
            AccountError::Store(error) => error.into(),
        }
    }
}

/// What is wrong with each key stands in the member `errors`.
impl From<ProviderChangeError> for Problem {
    fn from(error: ProviderChangeError) -> Self {
        let taken = || {
            let title = "A provider with this id exists already";
            Self::new(StatusCode::CONFLICT, "PROVIDER_EXISTS", title)
        };
        match error {
            ProviderChangeError::Bad(problems) => {
                let errors: Vec<_> = problems
                    .iter()
                    .map(|problem| {
                        serde_json::json!({
                            "key": problem.key,
                            "message": problem.message,
                            "help": problem.help,
                        })
                    })
                    .collect();
                let title = "The provider cannot be used like this";
                Self::new(StatusCode::BAD_REQUEST, "BAD_PROVIDER", title).member("errors", errors)
            }
            ProviderChangeError::NotFound => Self::not_found(),
            ProviderChangeError::LastWayIn => Self::new(
                StatusCode::CONFLICT,
                "LAST_WAY_IN",
                "Nobody could sign in without this provider",
            )
            .detail("Passwords are off and no other provider is on. Switch another one on first."),
            ProviderChangeError::ReadOnly => {
                let title = "This provider is set up outside and is read-only here";
                Self::new(StatusCode::CONFLICT, "PROVIDER_READ_ONLY", title).detail(
                    "It stands in the configuration file or the environment. Change it there.",
                )
            }
            ProviderChangeError::Store(StoreError::Conflict("provider"))
            | ProviderChangeError::Taken => taken(),
            ProviderChangeError::Store(error) => error.into(),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::BadName => Self::new(
                StatusCode::BAD_REQUEST,
                "BAD_NAME",
                "A key needs a name of 1 to 100 characters",
            ),
            KeyError::Wider => Self::forbidden(
                "A key can only make keys with scopes, limit and expiry within its own.",
            ),
            KeyError::Store(error) => error.into(),
        }
    }
}
