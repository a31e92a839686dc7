//! Keys of `[auth]`.

use super::*;

pub(crate) static AUTH: &[Key] = &[
    Key::new("mode", Kind::Word(&["none", "admin", "full"]), "`full`: accounts, keys, providers. `admin`: the one account of `[auth.admin]`. `none`: nothing is checked; development on loopback only.").default("\"full\""),
    Key::new("approval", Kind::Bool, "An account that made itself starts pending until an administrator says otherwise.").default("true"),
    Key::new("provider_signup", Kind::Bool, "A first sign-in by a provider may make an account.").default("true"),
    Key::new("first_user", Kind::Word(&["setup", "account", "admin", "none"]), "How the first administrator comes to be: a one-time page (`setup`), `[auth.admin]` (`account`), whoever signs in first (`admin`), or not at all.").default("\"setup\""),
    Key::new("admin", Kind::Table(ADMIN), "The first administrator, or the one account of mode admin."),
    Key::new("bootstrap_admin", Kind::Text(&BOOTSTRAP), "`<provider>:<subject or username>`, administrator while there is none. Makes `approval` true.").default("\"\"").example("\"authelia:todd\""),
    Key::new("link_verified_email", Kind::Word(&["safe", "always", "never"]), "Whether a provider's verified e-mail joins an account that is there.").default("\"safe\""),
    Key::new("bypass", Kind::Bool, "Every request is the built-in administrator. Development on loopback only.").default("false"),
    Key::new("allow_insecure_bypass", Kind::Bool, "Permits bypass and mode none off loopback, never in production.").default("false"),
    Key::new("password", Kind::Table(PASSWORD), "Sign-in by e-mail and password."),
    Key::new("email", Kind::Table(EMAIL_KEYS), "Whether an address must be proved."),
    Key::new("passkeys", Kind::Table(PASSKEYS), "Sign-in by passkey."),
    Key::new("totp", Kind::Table(TOTP), "A second factor by authenticator app."),
    Key::new("session", Kind::Table(SESSION), "How long one is signed in, and where."),
    Key::new("token", Kind::Table(TOKEN), "Access and refresh tokens of the JSON API."),
    Key::new("rate_limit", Kind::Table(RATE_LIMIT), "All sign-in endpoints together, per address. Off in development on loopback unless written."),
];

static ADMIN: &[Key] = &[
    Key::new("email", Kind::Text(&EMAIL), "Its address.").example("\"env:ADMIN_EMAIL\""),
    Key::new("password", Kind::Text(&ANY), "Its password.")
        .secret()
        .example("\"env:ADMIN_PASSWORD\""),
];

static PASSWORD: &[Key] = &[
    Key::new("enabled", Kind::Bool, "Whether passwords are taken at all.").default("true"),
    Key::new("signup", Kind::Bool, "Whether people may make accounts themselves.").default("false"),
    Key::new(
        "min_length",
        Kind::Int(1, 200),
        "In characters. Shorter passwords that exist still sign in.",
    )
    .default("8"),
    Key::new("max_length", Kind::Int(8, 4096), "In characters.").default("200"),
    Key::new(
        "require",
        Kind::List(&Kind::Word(&["mixed-case", "number", "symbol"])),
        "What a new password must hold: any of `mixed-case`, `number`, `symbol`.",
    )
    .default("[]"),
    Key::new(
        "blocklist",
        Kind::Bool,
        "Refuse common passwords and ones that hold the e-mail or host.",
    )
    .default("true"),
];

static EMAIL_KEYS: &[Key] = &[Key::new(
    "verification",
    Kind::Word(&["auto", "required", "off"]),
    "`auto`: required when mail is on.",
)
.default("\"auto\"")];

static PASSKEYS: &[Key] =
    &[Key::new("enabled", Kind::Bool, "Whether passkeys are offered.").default("true")];

static TOTP: &[Key] =
    &[Key::new("enabled", Kind::Bool, "Whether authenticator apps are offered.").default("true")];

static SESSION: &[Key] = &[
    Key::new("lifetime", Kind::Duration, "Longest life without \"remember me\".").default("\"7d\""),
    Key::new("idle_timeout", Kind::Duration, "A session ends after this long without a request.").default("\"24h\""),
    Key::new("remember_me", Kind::Duration, "Longest life with \"remember me\".").default("\"30d\""),
    Key::new("cookie_domain", Kind::Text(&DOMAIN), "A parent domain of the portal for one shared cookie; empty: one cookie per host, joined by hand-off.").default("\"\""),
];

static TOKEN: &[Key] = &[
    Key::new("access_lifetime", Kind::Duration, "Life of an access token.").default("\"15m\""),
    Key::new("refresh_lifetime", Kind::Duration, "Life of a refresh token.").default("\"30d\""),
];

static RATE_LIMIT: &[Key] = &[
    Key::new("requests", Kind::Int(1, 1_000_000), "So many pass in one window.").default("100"),
    Key::new("window", Kind::Duration, "How long a window lasts, at least a second.")
        .default("\"15m\""),
];
