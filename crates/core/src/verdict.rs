//! The answer of the decision, and the closed list of reasons for it.

use std::fmt;

/// What a door must do with a request. There is no "yes or no": a caller must look at each case.
#[must_use = "a verdict that is not looked at lets a request through"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it through.
    Allow(Reason),
    /// Nobody is signed in; signing in could help (`can_sign_in`), or no session ever would.
    Challenge {
        /// Why.
        reason: Reason,
        /// Whether some session could satisfy the rule.
        can_sign_in: bool,
    },
    /// Signed in, but not strongly or freshly enough.
    StepUp {
        /// Why.
        reason: Reason,
        /// What is missing.
        step: Step,
    },
    /// Refused; `code` says what the client is told.
    Deny {
        /// Why.
        reason: Reason,
        /// The stable code of the answer.
        code: Code,
    },
}

/// What a step-up asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A second factor.
    Mfa,
    /// A fresh sign-in (`max_auth_age`).
    Reauth,
}

impl Step {
    /// The value of the `step` query parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mfa => "mfa",
            Self::Reauth => "reauth",
        }
    }
}

impl Verdict {
    /// Why.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Allow(reason)
            | Self::Challenge { reason, .. }
            | Self::StepUp { reason, .. }
            | Self::Deny { reason, .. } => reason,
        }
    }

    /// `allow`, `challenge`, `step-up`, `deny`: the word in logs, metrics and `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Challenge { .. } => "challenge",
            Self::StepUp { .. } => "step-up",
            Self::Deny { .. } => "deny",
        }
    }

    /// Whether the request may go on.
    pub const fn is_allow(self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The code a client is told (`code` of a problem document, `X-Vestibule`).
    Code {
        /// The account is shut out by an administrator.
        AccountDisabled = "ACCOUNT_DISABLED",
        /// The account waits for approval.
        AccountPending = "ACCOUNT_PENDING",
        /// The account was not approved.
        AccountRejected = "ACCOUNT_REJECTED",
        /// The target is malformed or has two readings.
        BadRequestTarget = "BAD_REQUEST_TARGET",
        /// The body is over the route's `max_body`.
        BodyTooLarge = "BODY_TOO_LARGE",
        /// A forwarding header came in while nothing is checked.
        BypassRefused = "BYPASS_REFUSED",
        /// A cookie-authenticated unsafe request from another site.
        CrossSiteRefused = "CROSS_SITE_REFUSED",
        /// Signed in, not allowed.
        Forbidden = "FORBIDDEN",
        /// Plain http where only https is served.
        HttpsRequired = "HTTPS_REQUIRED",
        /// Something of ours broke.
        Internal = "INTERNAL_ERROR",
        /// A credential of ours that does not hold.
        InvalidCredential = "INVALID_CREDENTIAL",
        /// CONNECT or TRACE.
        MethodNotAllowed = "METHOD_NOT_ALLOWED",
        /// The certificate shown does not cover the Host.
        MisdirectedRequest = "MISDIRECTED_REQUEST",
        /// No route for the host.
        NoRoute = "NO_ROUTE",
        /// A WebSocket with a cookie from a foreign origin.
        OriginNotAllowed = "ORIGIN_NOT_ALLOWED",
        /// The password must be changed first.
        PasswordChangeRequired = "PASSWORD_CHANGE_REQUIRED",
        /// Over a limit.
        RateLimited = "RATE_LIMITED",
        /// A hook was asked about a path that is Vestibule's own.
        ReservedPath = "RESERVED_PATH",
        /// A stronger sign-in is needed.
        StepUpRequired = "STEP_UP_REQUIRED",
        /// The store cannot be asked.
        StoreUnavailable = "STORE_UNAVAILABLE",
        /// Nobody is signed in.
        Unauthenticated = "UNAUTHENTICATED",
        /// A hook was asked by somebody who is not in `trusted_proxies`.
        UntrustedProxy = "UNTRUSTED_PROXY",
        /// The app did not answer in time.
        UpstreamTimeout = "UPSTREAM_TIMEOUT",
        /// The app cannot be reached or answers nonsense.
        UpstreamUnreachable = "UPSTREAM_UNREACHABLE",
    }
}

words! {
    /// Why a verdict was given: stable words for logs, metrics and `explain`.
    Reason {
        /// The account is disabled.
        AccountDisabled = "account-disabled",
        /// The account waits for approval.
        AccountPending = "account-pending",
        /// The account was not approved.
        AccountRejected = "account-rejected",
        /// Nothing is checked (`auth.mode = "none"` or bypass).
        AuthOff = "auth-off",
        /// A malformed or ambiguous request target.
        BadTarget = "bad-target",
        /// The body is over the limit.
        BodyTooLarge = "body-too-large",
        /// A forwarding header while nothing is checked.
        BypassRefused = "bypass-refused",
        /// The rule does not take this kind of credential.
        CredentialKind = "credential-kind",
        /// An unsafe cookie request from another site.
        CrossSite = "cross-site",
        /// The rule says `deny`, or no rule says anything.
        DenyRule = "deny-rule",
        /// Every criterion of an access table holds.
        Granted = "granted",
        /// A hook's question is malformed or missing a header.
        HookMalformed = "hook-malformed",
        /// Plain http at a redirect listener.
        HttpsRequired = "https-required",
        /// An internal fault.
        Internal = "internal",
        /// A credential of ours that does not hold.
        InvalidCredential = "invalid-credential",
        /// The sign-in had no second factor.
        MfaMissing = "mfa-missing",
        /// CONNECT or TRACE.
        MethodRefused = "method-refused",
        /// The certificate shown does not cover the Host.
        Misdirected = "misdirected",
        /// The `networks` criterion does not hold.
        Network = "network",
        /// No route for the host and path.
        NoRoute = "no-route",
        /// Some criterion about the person does not hold.
        NotAllowed = "not-allowed",
        /// Nobody is signed in.
        NotSignedIn = "not-signed-in",
        /// A WebSocket from a foreign origin.
        Origin = "origin",
        /// The password must be changed first.
        PasswordChange = "password-change",
        /// A CORS preflight that may pass without identity.
        Preflight = "preflight",
        /// The portal's own page or API.
        Portal = "portal",
        /// A public rule.
        Public = "public",
        /// Over a limit.
        RateLimited = "rate-limited",
        /// One of the paths under `/.vestibule/`.
        Reserved = "reserved",
        /// The key's scopes do not cover this.
        Scope = "scope",
        /// The sign-in is older than `max_auth_age`.
        SignInTooOld = "sign-in-too-old",
        /// The store cannot be asked.
        StoreUnavailable = "store-unavailable",
        /// The asker is not in `trusted_proxies`.
        UntrustedProxy = "untrusted-proxy",
        /// The app did not answer in time.
        UpstreamTimeout = "upstream-timeout",
        /// The app cannot be reached or answers nonsense.
        UpstreamUnreachable = "upstream-unreachable",
    }
}

/// How a decision came about, step by step, for `explain`. Built only there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// One plain sentence a step.
    pub steps: Vec<String>,
}

impl Trace {
    /// Adds a step.
    pub fn push(&mut self, step: impl Into<String>) {
        self.steps.push(step.into());
    }
}
