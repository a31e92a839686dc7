//! Keys of `[server]`, `[[listener]]`, `[tls]`, `[telemetry]`.

use super::*;

pub(crate) static SERVER: &[Key] = &[
    Key::new("portal_url", Kind::Text(&ORIGIN), "The portal's origin as browsers see it, without a path. Its scheme decides the cookie. Left out: ORIGIN, else the origin of AUTH_BASE_URL, else the first loopback listener.")
        .example("\"https://auth.example.com\""),
    Key::new("environment", Kind::Word(&["production", "development"]), "What may be lax. `development` permits plain http on loopback and lifts the limits of the sign-in endpoints there.")
        .default("\"production\""),
    Key::new("profile", Kind::Word(crate::profile::NAMES), "Defaults of one of the documents that Vestibule serves; empty: none. Changes defaults only.")
        .default("\"\""),
    Key::new("data_dir", Kind::Path, "Folder of the store, the store key and the control socket.").default("\"/data\""),
    Key::new("trusted_proxies", Kind::TrustedProxies, "Whose forwarding headers are believed: `false`, `true`, a hop count, or a list of addresses and networks. Only a list may also ask the hooks from off loopback.")
        .default("false")
        .example("[\"10.0.0.0/8\"]"),
    Key::new("workers", Kind::Int(0, 256), "Worker threads of the proxy; 0: one per core, at most 4.").default("0"),
    Key::new("header_timeout", Kind::Duration, "A request head that is not finished by then is answered 408.").default("\"10s\""),
    Key::new("api_prefix", Kind::Text(&API_PREFIX), "A prefix under which the JSON API and the callbacks answer besides, such as `/api` (API_PREFIX); empty: none.").default("\"\""),
];

pub(crate) static LISTENER: &[Key] = &[
    Key::new("address", Kind::Text(&SOCKET), "Address and port; port 0 takes a free one.").required().example("\"0.0.0.0:443\""),
    Key::new("tls", Kind::Bool, "Serve TLS with the certificates of `[tls]`.").default("false").example("true"),
    Key::new("door", Kind::Word(&["proxy", "forward-auth", "redirect"]), "`proxy` answers apps and portal, `forward-auth` only the hooks, `redirect` leads to https.").default("\"proxy\""),
];

pub(crate) static TLS: &[Key] = &[
    Key::new("min_version", Kind::Word(&["1.2", "1.3"]), "The oldest TLS version that is spoken.")
        .default("\"1.2\""),
    Key::new(
        "certificate",
        Kind::Tables(CERTIFICATE),
        "Chosen by the name that the client asks for; there is no default one. Read anew when the files change.",
    ),
    Key::new("acme", Kind::Table(ACME), "Certificates made by themselves.").optional().later(),
];

static CERTIFICATE: &[Key] = &[
    Key::new("cert", Kind::Path, "PEM file of the chain, leaf first.")
        .required()
        .example("\"/certs/fullchain.pem\""),
    Key::new("key", Kind::Path, "PEM file of the private key, not readable by others.")
        .required()
        .example("\"/certs/privkey.pem\""),
];

static ACME: &[Key] = &[
    Key::new("email", Kind::Text(&EMAIL), "Contact address.")
        .required()
        .example("\"ops@example.com\""),
    Key::new("directory", Kind::Text(&URL), "Directory of the authority.")
        .default("\"https://acme-v02.api.letsencrypt.org/directory\""),
    Key::new("ca_file", Kind::Path, "PEM file of the authority's own root.")
        .example("\"/certs/pebble.pem\""),
];

pub(crate) static TELEMETRY: &[Key] = &[
    Key::new(
        "listen",
        Kind::Text(&SOCKET_OR_OFF),
        "Address of /metrics, /healthz and /readyz; empty or `off`: none.",
    )
    .default("\"127.0.0.1:9464\""),
    Key::new("log", Kind::Table(LOG), "The log on standard output."),
    Key::new("access_log", Kind::Table(ACCESS_LOG), "One line a request."),
    Key::new("otlp", Kind::Text(&URL), "OpenTelemetry collector.")
        .example("\"http://127.0.0.1:4317\"")
        .later(),
];

static LOG: &[Key] = &[
    Key::new("format", Kind::Word(&["json", "text"]), "`json` or `text`.").default("\"json\""),
    Key::new("level", Kind::Text(&ANY), "A level, or a filter such as `info,vestibule=debug`.")
        .default("\"info\""),
];

static ACCESS_LOG: &[Key] = &[
    Key::new("format", Kind::Word(&["json", "combined", "off"]), "`json`, `combined` or `off`.")
        .default("\"json\""),
    Key::new("file", Kind::Path, "File to append to; empty: standard output.").default("\"\""),
];
