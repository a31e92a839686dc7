//! Keys of `[secrets]`, `[store]`, `[api_keys]`, `[smtp]`, `[[provider]]`, `[[jwt_issuer]]`.

use super::*;

pub(crate) static SECRETS: &[Key] = &[
    Key::new("auth_secret", Kind::OneOrMany(&TEXT), "Keys session and one-time tokens and nothing else; at least 32 bytes. Changing it ends all sessions. Left out: derived from `jwt_secret`.").secret().example("\"env:AUTH_SECRET\""),
    Key::new("jwt_secret", Kind::OneOrMany(&TEXT), "HS256 access tokens. Left out: EdDSA with keys of the store.").secret().example("\"env:AUTH_JWT_SECRET\""),
    Key::new("store_key", Kind::OneOrMany(&Kind::Text(&HEX_KEY)), "64 hex digits. Seals what must be read back and keys the check digits of API keys. Left out: `store.key` in `data_dir`, made at the first start.").secret().example("\"file:/data/store.key\""),
];

pub(crate) static STORE: &[Key] = &[
    Key::new("url", Kind::Text(&STORE_URL), "SQLite file. Left out: `vestibule.db` in `data_dir`.")
        .example("\"sqlite:///data/vestibule.db\""),
    Key::new("redis", Kind::Text(&REDIS_URL), "What several nodes share.")
        .example("\"redis://127.0.0.1:6379\"")
        .later(),
    Key::new("backup", Kind::Table(BACKUP), "Regular backups; off unless written.").optional(),
];

static BACKUP: &[Key] = &[
    Key::new("dir", Kind::Path, "Where they go. Left out: `backups` in `data_dir`.")
        .example("\"/data/backups\""),
    Key::new("every", Kind::Duration, "How often.").default("\"24h\""),
    Key::new("keep", Kind::Int(1, 10_000), "How many are kept.").default("7"),
];

pub(crate) static API_KEYS: &[Key] = &[
    Key::new("prefix", Kind::Text(&KEY_PREFIX), "Of new keys.").default("\"vst\""),
    Key::new(
        "accept",
        Kind::List(&Kind::Text(&KEY_PREFIX)),
        "Further prefixes that are ours by form, for imported keys.",
    )
    .default("[]"),
    Key::new("rate_limit", Kind::Table(RATE_LIMIT), "Per key, unless the key has its own."),
];

static RATE_LIMIT: &[Key] = &[
    Key::new("requests", Kind::Int(1, 1_000_000_000), "So many pass in one window.").default("100"),
    Key::new("window", Kind::Duration, "How long a window lasts, at least a second.")
        .default("\"1m\""),
];

pub(crate) static SMTP: &[Key] = &[
    Key::new("enabled", Kind::Bool, "Whether mail is sent.").default("false"),
    Key::new("host", Kind::Text(&ANY), "Server.").example("\"smtp.example.com\""),
    Key::new("port", Kind::Int(1, 65_535), "Port.").default("587"),
    Key::new("user", Kind::Text(&ANY), "User; empty: no authentication.").example("\"vestibule\""),
    Key::new("password", Kind::Text(&ANY), "Password.").secret().example("\"env:SMTP_PASSWORD\""),
    Key::new("from", Kind::Text(&ANY), "Sender.").example("\"Vestibule <auth@example.com>\""),
    Key::new("secure", Kind::Bool, "`true`: implicit TLS; `false`: STARTTLS.").default("false"),
    Key::new(
        "starttls",
        Kind::Word(&["required", "optional"]),
        "`optional` sends without TLS where the server offers none.",
    )
    .default("\"required\""),
];

pub(crate) static PROVIDER: &[Key] = &[
    Key::new("id", Kind::Text(&ANY), "1 to 32 of a-z, 0-9, `_` and `-`. Stands in URLs and in `<provider>:<subject>`; variables of the same id are joined with this table and win.")
        .required()
        .example("\"pocket-id\""),
    Key::new("kind", Kind::Word(&["oidc", "google", "github", "authentik"]), "How to speak to it: `oidc` fits whoever speaks OpenID Connect.")
        .default("\"oidc\""),
    Key::new("issuer", Kind::Text(&ANY), "Issuer, exactly as the provider writes it. Kind google: https://accounts.google.com unless written.")
        .example("\"https://id.example.com\""),
    Key::new("discovery_url", Kind::Text(&ANY), "Discovery document, instead of `issuer`.")
        .example("\"https://id.example.com/.well-known/openid-configuration\""),
    Key::new("base_url", Kind::Text(&ANY), "Of authentik, with `slug`; of a GitHub other than github.com.")
        .example("\"https://authentik.example.com\""),
    Key::new("slug", Kind::Text(&ANY), "Of the authentik application.").example("\"vestibule\""),
    Key::new("client_id", Kind::Text(&ANY), "Client id. Required, here or by a variable.")
        .example("\"vestibule\""),
    Key::new(
        "client_secret",
        Kind::Text(&ANY),
        "Client secret; left out: a public client with PKCE.",
    )
    .secret()
    .example("\"env:POCKET_ID_SECRET\""),
    Key::new(
        "label",
        Kind::Text(&ANY),
        "Name on the button. Left out: the provider's name, else the id.",
    )
    .example("\"Pocket ID\""),
    Key::new(
        "scopes",
        TEXTS,
        "What is asked for. Kind github: `read:user`, `user:email`, `read:org` unless written.",
    )
    .default("[\"openid\", \"profile\", \"email\"]"),
    Key::new(
        "pkce",
        Kind::Bool,
        "Proof of possession by S256; a client without a secret cannot do without.",
    )
    .default("true"),
    Key::new("enabled", Kind::Bool, "Shown and usable.").default("true"),
    Key::new(
        "allowed_domains",
        TEXTS,
        "Of the verified e-mail: others are refused, and a match makes a new account active. Empty: any.",
    )
    .default("[]"),
    Key::new("auto_approve", Kind::Bool, "Every new account of this provider is active.")
        .default("false"),
    Key::new("trust_email", Kind::Bool, "Its word on e-mail addresses is believed.")
        .default("true"),
    Key::new(
        "mfa_from",
        Kind::Text(&ANY),
        "When a sign-in there counts as multi-factor: `none`, `amr`, `acr:<value>`.",
    )
    .default("\"none\""),
    Key::new(
        "redirect_uri",
        Kind::Text(&ANY),
        "Callback to send, on the portal's host; empty: derived from `portal_url`.",
    )
    .default("\"\""),
    Key::new("claims", Kind::Table(CLAIMS), "Which claim says what; dots lead into objects."),
    Key::new("groups", Kind::Map(&TEXT), "Claim value to local group. What is not named keeps its name (oidc, authentik) or becomes `github:org/team`.")
        .example("{ vestibule-admins = \"admins\" }"),
    Key::new("roles", Kind::Map(&Kind::Word(&["admin", "user"])), "Claim value to role; left out: the provider says nothing about roles.")
        .example("{ vestibule-admins = \"admin\" }"),
];

static CLAIMS: &[Key] = &[
    Key::new("subject", Kind::Text(&ANY), "Who it is; must never change or be used again.")
        .default("\"sub\""),
    Key::new("username", Kind::Text(&ANY), "User name.").default("\"preferred_username\""),
    Key::new("email", Kind::Text(&ANY), "E-mail address.").default("\"email\""),
    Key::new(
        "email_verified",
        Kind::Text(&ANY),
        "Whether that address is proved. Where `email` is another claim: left out, it is not.",
    )
    .default("\"email_verified\""),
    Key::new("groups", Kind::Text(&ANY), "Groups.").default("\"groups\""),
];

pub(crate) static JWT_ISSUER: &[Key] = &[
    Key::new("name", Kind::Text(&NAME), "Names the identity: `<name>:<sub>`.")
        .required()
        .example("\"ci\""),
    Key::new("issuer", Kind::Text(&URL), "The claim `iss`.")
        .required()
        .example("\"https://ci.example.com\""),
    Key::new("jwks_url", Kind::Text(&URL), "Where its keys are. Left out: tokens are asked about at `introspection_url`.")
        .example("\"https://ci.example.com/jwks\""),
    Key::new("audience", TEXTS, "One of these must stand in `aud`.")
        .required()
        .example("[\"vestibule\"]"),
    Key::new(
        "algorithms",
        Kind::List(&Kind::Word(&[
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
            "HS256", "HS384", "HS512",
        ])),
        "Signatures that are taken; never HS*, whose key would be public. Required with `jwks_url`.",
    )
    .example("[\"RS256\", \"ES256\", \"EdDSA\"]"),
    Key::new(
        "claims",
        Kind::Table(JWT_CLAIMS),
        "Which claim says what; left out: the identity is the subject alone.",
    ),
    Key::new("introspection_url", Kind::Text(&URL), "Asked about opaque tokens (RFC 7662).")
        .example("\"https://ci.example.com/introspect\""),
    Key::new("client_id", Kind::Text(&ANY), "Our name there, for introspection.").example("\"vestibule\""),
    Key::new("client_secret", Kind::Text(&ANY), "For introspection.")
        .secret()
        .example("\"env:CI_SECRET\""),
];

static JWT_CLAIMS: &[Key] = &[
    Key::new("username", Kind::Text(&ANY), "Display name; the identity stays `<name>:<sub>`.")
        .example("\"preferred_username\""),
    Key::new("email", Kind::Text(&ANY), "E-mail address; counts where `email_verified` is true.")
        .example("\"email\""),
    Key::new("groups", Kind::Text(&ANY), "Groups.").example("\"groups\""),
    Key::new("role", Kind::Text(&ANY), "Role: `admin` or `user`.").example("\"role\""),
];
