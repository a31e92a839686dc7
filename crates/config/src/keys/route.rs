//! Keys of `[[route]]`, its rules, the access language, `[identity_headers]` and `[[test]]`.

use super::*;

pub(crate) static ROUTE: &[Key] = &[
    Key::new("name", Kind::Text(&NAME), "Unique; stands in logs, metrics and scopes. Left out: its first host and path.").example("\"openinary\""),
    Key::new("enabled", Kind::Bool, "Whether the route is there at all.").default("true"),
    Key::new("template", Kind::Text(&ANY), "A table of `[template]` whose keys hold where the route says nothing.").default("\"\""),
    Key::new("host", Kind::OneOrMany(&Kind::Text(&HOST)), "Exact, `*.example.com` (one label), or a list. Required.").example("\"img.example.com\""),
    Key::new("path", Kind::Text(&PREFIX), "Prefix at a segment border; the longest prefix wins.").default("\"/\""),
    Key::new("upstream", Kind::OneOrMany(&Kind::Text(&UPSTREAM)), "Where the app is: http, https, h2c or unix. Left out: only the hooks answer for this route.").example("\"http://127.0.0.1:3000\""),
    Key::new("access", Kind::Access, "What holds where no rule matches.").default("\"deny\"").example("\"signed-in\""),
    Key::new("ignore_case", Kind::Bool, "Rules fold ASCII case.").default("false"),
    Key::new("allow_in_path", Kind::List(&Kind::Word(&["double-slash", "encoded-slash", "semicolon"])), "What may stand in a path that is refused otherwise.").default("[]"),
    Key::new("cors_preflight", Kind::Word(&["deny", "pass"]), "`pass` lets CORS preflights through, without identity.").default("\"deny\""),
    Key::new("cors_origins", Kind::List(&Kind::Text(&ORIGIN)), "Who may read our own 401 and 403.").default("[]"),
    Key::new("allowed_origins", Kind::List(&Kind::Text(&ORIGIN)), "Further origins for WebSockets that sign in by cookie.").default("[]"),
    Key::new("cross_site", Kind::Word(&["allow", "block-unsafe"]), "`block-unsafe` refuses unsafe methods by cookie from other sites.").default("\"allow\""),
    Key::new("portal", Kind::List(&Kind::Text(&PATTERN)), "Further patterns that are the portal's, where the host is the portal's.").default("[]").example("[\"/setup\"]"),
    Key::new("pass_bearer", Kind::Bool, "Tokens of `[[jwt_issuer]]` reach the app.").default("false"),
    Key::new("provider_token", Kind::Word(&["none", "access", "id"]), "What of the sign-in's provider the app gets: its access token in `X-Forwarded-Access-Token`, or the ID token in `X-Forwarded-Id-Token`.").default("\"none\""),
    Key::new("health_check", Kind::Table(HEALTH_CHECK), "Leave out upstreams that do not answer.").optional().later(),
    Key::new("timeouts", Kind::Table(TIMEOUTS), "How long an app may take."),
    Key::new("max_body", Kind::Size, "Largest request body; `0`: no limit.").default("\"0\"").example("\"10MiB\""),
    Key::new("preserve_host", Kind::Bool, "The app sees the host that the client asked for.").default("true"),
    Key::new("strip_prefix", Kind::Text(&PREFIX), "Removed from the path before forwarding; rules see the whole path.").default("\"\"").example("\"/app\""),
    Key::new("request_headers", Kind::Table(HEADERS), "Changes to the request."),
    Key::new("response_headers", Kind::Table(HEADERS), "Changes to the answer."),
    Key::new("upstream_tls", Kind::Table(UPSTREAM_TLS), "TLS to the app."),
    Key::new("identity_headers", Kind::Table(IDENTITY_HEADERS), "Overrides the global table key by key.").optional(),
    Key::new("access_log", Kind::Bool, "Whether requests are written to the access log.").default("true"),
    Key::new("rule", Kind::Tables(RULE), "Who may pass where; the first match wins."),
];

static HEALTH_CHECK: &[Key] = &[
    Key::new("path", Kind::Text(&PREFIX), "What is asked for.").required().example("\"/health\""),
    Key::new("every", Kind::Duration, "How often.").default("\"10s\""),
];

static TIMEOUTS: &[Key] = &[
    Key::new("connect", Kind::Duration, "Until the connection stands.").default("\"5s\""),
    Key::new(
        "response",
        Kind::Duration,
        "From the end of the request body to the head of the answer.",
    )
    .default("\"60s\""),
    Key::new("idle", Kind::Duration, "Without a byte in either direction.").default("\"10m\""),
];

static HEADERS: &[Key] = &[
    Key::new(
        "set",
        Kind::Map(&Kind::Text(&HEADER_VALUE)),
        "Name and value; replaces what is there.",
    )
    .example("{ X-Frame-Options = \"DENY\" }"),
    Key::new("remove", Kind::List(&Kind::Text(&HEADER_NAME)), "Names.")
        .default("[]")
        .example("[\"Server\"]"),
];

static UPSTREAM_TLS: &[Key] = &[
    Key::new(
        "ca_file",
        Kind::Path,
        "PEM file of the authorities to trust instead of the system's; empty: the system's.",
    )
    .default("\"\""),
    Key::new("insecure_skip_verify", Kind::Bool, "Accept any certificate.").default("false"),
    Key::new(
        "server_name",
        Kind::Text(&DOMAIN),
        "Name to send and check instead of the host; empty: the host.",
    )
    .default("\"\""),
];

pub(crate) static IDENTITY_HEADERS: &[Key] = &[
    Key::new(
        "preset",
        Kind::Word(&["remote", "x-forwarded", "x-auth-request", "none"]),
        "Which names: `Remote-*`, `X-Forwarded-*`, `X-Auth-Request-*` or none.",
    )
    .default("\"remote\""),
    Key::new("assertion", Kind::Bool, "A signed JWT in X-Vestibule-Assertion.").default("true"),
    Key::new("groups", TEXTS, "Which groups are told; `*` is any run of characters.")
        .default("[\"*\"]"),
];

static RULE: &[Key] = &[
    Key::new(
        "path",
        Kind::OneOrMany(&Kind::Text(&PATTERN)),
        "Any of these patterns; left out: every path of the route.",
    )
    .example("[\"/t/*\", \"/health\"]"),
    Key::new(
        "method",
        Kind::OneOrMany(&Kind::Text(&METHOD)),
        "Any of these, GET includes HEAD; left out: every method.",
    )
    .example("[\"GET\"]"),
    Key::new("access", Kind::Access, "Who may pass.").required().example("\"public\""),
];

/// Keys of an access table.
pub(crate) static ACCESS: &[Key] = &[
    Key::new("public", Kind::Bool, "Asks for no signed-in account.").default("false"),
    Key::new("users", Kind::OneOrMany(&TEXT), "User names."),
    Key::new("emails", Kind::OneOrMany(&Kind::Text(&EMAIL)), "Verified e-mail addresses."),
    Key::new(
        "email_domains",
        Kind::OneOrMany(&Kind::Text(&DOMAIN)),
        "Domains of the verified e-mail address.",
    ),
    Key::new("groups", Kind::OneOrMany(&Kind::Text(&GROUP)), "Groups."),
    Key::new("roles", Kind::OneOrMany(&Kind::Word(&["admin", "user"])), "Roles."),
    Key::new(
        "credentials",
        Kind::OneOrMany(&Kind::Text(&CREDENTIAL)),
        "Kinds of credential; left out: session, API key and own token.",
    ),
    Key::new("mfa", Kind::Bool, "Only multi-factor sign-ins; met by sessions only.")
        .default("false"),
    Key::new(
        "max_auth_age",
        Kind::Duration,
        "Longest time since the sign-in; met by sessions only.",
    ),
    Key::new("networks", Kind::OneOrMany(&Kind::Text(&NETWORK)), "Networks of the client."),
    Key::new("scopes", Kind::OneOrMany(&TEXT), "Scopes of a key."),
    Key::new(
        "claims",
        Kind::Map(&Kind::OneOrMany(&TEXT)),
        "Claims of a token of `[[jwt_issuer]]`.",
    ),
];

/// Words that stand for an access rule.
pub(crate) const ACCESS_WORDS: &[&str] =
    &["public", "signed-in", "mfa", "api-key", "admin", "deny"];

pub(crate) static TEST: &[Key] = &[
    Key::new("request", Kind::Text(&ANY), "Method and URL.")
        .required()
        .example("\"GET https://img.example.com/storage/a\""),
    Key::new("as", Kind::Table(TEST_AS), "Who asks; left out: nobody."),
    Key::new("expect", Kind::Word(&["allow", "challenge", "step-up", "deny"]), "The verdict.")
        .required()
        .example("\"deny\""),
];

static TEST_AS: &[Key] = &[
    Key::new("user", Kind::Text(&ANY), "User name.").example("\"ann\""),
    Key::new("email", Kind::Text(&EMAIL), "E-mail address.").example("\"ann@example.com\""),
    Key::new("groups", TEXTS, "Groups.").example("[\"editors\"]"),
    Key::new("role", Kind::Word(&["admin", "user"]), "Role.").example("\"user\""),
    Key::new(
        "credential",
        Kind::Word(&["session", "api-key", "token", "none"]),
        "Kind of credential.",
    )
    .example("\"session\""),
    Key::new("mfa", Kind::Bool, "Signed in with a second factor.").example("true"),
    Key::new("ip", Kind::Text(&ANY), "Address of the client.").example("\"10.0.0.7\""),
];
