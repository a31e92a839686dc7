//! `[auth]`: who signs in, and every combination that would let in more people than its author thinks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use vestibule_core::facts::Scheme;
use vestibule_core::secret::Secret;
use vestibule_core::settings::auth::{
    Admin, Auth, EmailVerification, FirstUser, LinkVerifiedEmail, Mode, Password, Require, Session,
};
use vestibule_core::settings::listener::Listener;
use vestibule_core::settings::provider::Provider;
use vestibule_core::settings::server::Server;

use super::{Context, all_loopback, store};
use crate::diagnostic::Diagnostic;
use crate::profile::DOCUMENTED_PASSWORD;
use crate::tree::{Node, Origin, Table, Value};

pub(crate) fn resolve(
    root: &mut Table,
    server: &Server,
    listeners: &[Listener],
    providers: &[Provider],
    cx: &mut Context<'_>,
) -> Auth {
    let mode = mode(root, server, listeners, cx);
    let bypass = root.bool("auth.bypass");
    let allow_insecure_bypass = root.bool("auth.allow_insecure_bypass");
    let is_off = bypass || mode == Mode::None;
    if is_off {
        refuse_open_door(root, server, listeners, bypass, mode, cx);
    }
    let password = password(root, mode, cx);
    let bootstrap_admin = bootstrap(root);
    let first_user = match root.str("auth.first_user") {
        "account" => FirstUser::Account,
        "admin" => FirstUser::Admin,
        "none" => FirstUser::None,
        _ => FirstUser::Setup,
    };
    let admin = admin(root, mode, first_user, is_off, server, listeners, cx);
    if !is_off && !password.enabled {
        no_way_in(root, mode, providers, cx);
    }
    if !is_off && !server.development && mode == Mode::Full && first_user == FirstUser::Admin {
        let origin = root.origin("auth.first_user");
        cx.warning(
            "first-comer-is-admin",
            "`first_user = \"admin\"` in production: whoever signs in first is the administrator",
            &origin,
            "sign in before others can reach it, or write `first_user = \"setup\"`",
        );
    }
    let approval = root.bool("auth.approval");
    if password.signup && !approval && !is_off {
        let origin = root.origin("auth.password.signup");
        cx.warning(
            "open-signup",
            "sign-up is open and nobody approves: whoever finds the page has an active account",
            &origin,
            "write `approval = true` under `[auth]`, or `signup = false` under `[auth.password]`",
        );
    }
    let limit_asked = ["requests", "window"]
        .iter()
        .any(|k| root.origin(&format!("auth.rate_limit.{k}")).is_asked());
    let no_limit = server.development && all_loopback(listeners) && !limit_asked;
    Auth {
        mode,
        approval,
        provider_signup: root.bool("auth.provider_signup"),
        first_user,
        admin,
        bootstrap_admin,
        link_verified_email: match root.str("auth.link_verified_email") {
            "always" => LinkVerifiedEmail::Always,
            "never" => LinkVerifiedEmail::Never,
            _ => LinkVerifiedEmail::Safe,
        },
        bypass,
        allow_insecure_bypass,
        password,
        email_verification: match root.str("auth.email.verification") {
            "required" => EmailVerification::Required,
            "off" => EmailVerification::Off,
            _ => EmailVerification::Auto,
        },
        // Neither is built: asking for one is refused, and what is only a default stays off.
        passkeys: false,
        totp: false,
        session: session(root, server, cx),
        access_lifetime: root.duration("auth.token.access_lifetime"),
        refresh_lifetime: root.duration("auth.token.refresh_lifetime"),
        rate_limit: (!no_limit).then(|| store::rate_limit(root, "auth.rate_limit", cx)),
    }
}

fn mode(root: &mut Table, server: &Server, listeners: &[Listener], cx: &mut Context<'_>) -> Mode {
    if cx.profile == "everruns"
        && !root.origin("auth.mode").is_asked()
        && !cx.broken.contains("auth.mode")
    {
        if server.development && all_loopback(listeners) {
            root.set_at("auth.mode", Node::text("none", Origin::Profile("everruns")));
        } else {
            cx.error(
                "mode-not-set",
                "`AUTH_MODE` is not set: profile everruns defaults to `none` in development on loopback only",
                &Origin::Default,
                "set AUTH_MODE to `none`, `admin` or `full`",
            );
        }
    }
    match root.str("auth.mode") {
        "none" => Mode::None,
        "admin" => Mode::Admin,
        _ => Mode::Full,
    }
}

/// Mode none and bypass: never in production, off loopback only by a second word.
fn refuse_open_door(
    root: &Table,
    server: &Server,
    listeners: &[Listener],
    bypass: bool,
    mode: Mode,
    cx: &mut Context<'_>,
) {
    let (what, path) = if bypass {
        ("`AUTH_BYPASS` (`auth.bypass`) is on", "auth.bypass")
    } else {
        ("`auth.mode` (AUTH_MODE) is `none`", "auth.mode")
    };
    let origin = root.origin(path);
    if bypass && mode == Mode::None {
        cx.problems.add(Diagnostic::notice(
            "bypass-wins",
            "both `auth.bypass` and mode none are set: bypass holds",
        ));
    }
    if !server.development {
        cx.error(
            "open-in-production",
            format!("{what}: every request would be an administrator, in production"),
            &origin,
            "take it out, or write `environment = \"development\"` on a machine that nobody else reaches",
        );
    } else if let Some(listener) = listeners.iter().find(|l| !l.address.ip().is_loopback()) {
        let message = format!("{what}, but the listener {} is not on loopback", listener.address);
        if root.bool("auth.allow_insecure_bypass") {
            cx.warning(
                "open-to-the-network",
                format!("{message}: EVERYBODY who reaches it is an administrator"),
                &origin,
                "take `allow_insecure_bypass` out as soon as you can",
            );
        } else {
            cx.error(
                "open-to-the-network",
                message,
                &origin,
                "let it listen on 127.0.0.1, or set ALLOW_INSECURE_AUTH_BYPASS=1 if you are sure",
            );
        }
    }
}

fn password(root: &Table, mode: Mode, cx: &mut Context<'_>) -> Password {
    let (least, most) =
        (root.int("auth.password.min_length"), root.int("auth.password.max_length"));
    if least > most {
        let origin = root.origin("auth.password.min_length");
        let message =
            format!("`min_length` is {least}, but `max_length` is {most}: no password would do");
        cx.error("out-of-range", message, &origin, "let `min_length` be the smaller one");
    }
    let require = |word: &str| match word {
        "mixed-case" => Some(Require::MixedCase),
        "number" => Some(Require::Number),
        "symbol" => Some(Require::Symbol),
        _ => None,
    };
    let enabled = root.bool("auth.password.enabled");
    Password {
        enabled,
        signup: root.bool("auth.password.signup") && enabled && mode == Mode::Full,
        min_length: usize::try_from(least).unwrap_or(8),
        max_length: usize::try_from(most).unwrap_or(200),
        require: root.texts("auth.password.require").into_iter().filter_map(require).collect(),
        blocklist: root.bool("auth.password.blocklist"),
    }
}

fn admin(
    root: &Table,
    mode: Mode,
    first_user: FirstUser,
    is_off: bool,
    server: &Server,
    listeners: &[Listener],
    cx: &mut Context<'_>,
) -> Option<Admin> {
    let is_mode_admin = mode == Mode::Admin;
    let needed =
        !is_off && (is_mode_admin || (mode == Mode::Full && first_user == FirstUser::Account));
    for (path, of_mode_admin, of_others) in [
        ("auth.admin.email", "AUTH_ADMIN_EMAIL", "ADMIN_EMAIL"),
        ("auth.admin.password", "AUTH_ADMIN_PASSWORD", "ADMIN_PASSWORD"),
    ] {
        // In mode admin the account is the door: a profile's well-known one does not count.
        let from_profile = is_mode_admin && matches!(root.origin(path), Origin::Profile(_));
        if needed && (cx.is_missing(root, path) || from_profile) {
            let (variable, why) = if is_mode_admin {
                (of_mode_admin, "mode admin")
            } else {
                (of_others, "`first_user = \"account\"`")
            };
            cx.error(
                "missing-admin",
                format!("`{variable}` (`{path}`) is not set: {why} needs it"),
                &Origin::Default,
                &format!("set {variable}, or write `{path}`"),
            );
        }
    }
    let (email, password) = (root.str("auth.admin.email"), root.str("auth.admin.password"));
    if email.is_empty() || password.is_empty() {
        if !needed && !is_off && email.is_empty() != password.is_empty() {
            let (set, other) =
                if email.is_empty() { ("password", "email") } else { ("email", "password") };
            let origin = root.origin(&format!("auth.admin.{set}"));
            let message = format!(
                "`auth.admin.{set}` is set without `auth.admin.{other}`: no account is made"
            );
            cx.problems.add(Diagnostic::notice("half-an-admin", message).at(&origin));
        }
        return None;
    }
    let is_documented_default = password == DOCUMENTED_PASSWORD;
    if needed && is_documented_default && !server.development && !all_loopback(listeners) {
        cx.error(
            "documented-password",
            "the administrator's password is the one that the documentation prints",
            &root.origin("auth.admin.password"),
            if is_mode_admin {
                "set AUTH_ADMIN_PASSWORD to one of your own"
            } else {
                "set ADMIN_PASSWORD to one of your own"
            },
        );
    }
    Some(Admin {
        email: email.to_lowercase().into(),
        password: Secret::new(password),
        is_documented_default,
    })
}

/// `bootstrap_admin` says who the administrator is: then nobody becomes one by coming first, and
/// everybody else waits for approval.
fn bootstrap(root: &mut Table) -> Option<(Arc<str>, Arc<str>)> {
    let (provider, who) = root.str("auth.bootstrap_admin").split_once(':')?;
    let named = (Arc::from(provider), Arc::from(who));
    let origin = root.origin("auth.bootstrap_admin");
    root.set_at("auth.approval", Node::new(Value::Bool(true), origin.clone()));
    if root.str("auth.first_user") == "admin" {
        root.set_at("auth.first_user", Node::text("none", origin));
    }
    Some(named)
}

/// Passwords are off: a provider must be there, and be asked (mode admin asks none).
fn no_way_in(root: &Table, mode: Mode, providers: &[Provider], cx: &mut Context<'_>) {
    let origin = root.origin("auth.password.enabled");
    if mode == Mode::Admin {
        return cx.error(
            "no-way-to-sign-in",
            "nobody could sign in: passwords are off (LOCAL_AUTH, `auth.password.enabled`), and mode admin asks no provider",
            &origin,
            "set LOCAL_AUTH=true, or AUTH_MODE=full",
        );
    }
    // A provider that is refused for another reason may have been meant.
    let is_known = providers.len() == root.tables("provider").len();
    if is_known && !providers.iter().any(|provider| provider.enabled) {
        // Only the store knows of providers made at run time: the start looks there, and refuses.
        cx.warning(
            "no-way-to-sign-in",
            "nobody could sign in: passwords are off (LOCAL_AUTH, `auth.password.enabled`) and no provider is enabled (OIDC_PROVIDERS, `[[provider]]`), unless one was made at run time",
            &origin,
            "set LOCAL_AUTH=true, or write `enabled = true` under `[auth.password]`",
        );
    }
}

fn session(root: &Table, server: &Server, cx: &mut Context<'_>) -> Session {
    let domain =
        root.str("auth.session.cookie_domain").trim_start_matches('.').to_ascii_lowercase();
    let origin = root.origin("auth.session.cookie_domain");
    if !domain.is_empty() {
        let host = server.portal.host.as_str();
        let is_parent =
            host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
        if domain.parse::<IpAddr>().is_ok() || psl::suffix_str(&domain) == Some(domain.as_str()) {
            cx.error(
                "public-cookie-domain",
                format!("`cookie_domain` is `{domain}`, under which anybody may have a host: all of them would get the session"),
                &origin,
                "write a domain of your own, or leave it empty for one cookie per host",
            );
        } else if !is_parent {
            cx.error(
                "foreign-cookie-domain",
                format!("`cookie_domain` is `{domain}`, but the portal is `{host}`: browsers would refuse the cookie"),
                &origin,
                "write a parent of the portal's host, or leave it empty",
            );
        } else if server.portal.scheme == Scheme::Http {
            cx.error(
                "insecure-cookie-domain",
                "`cookie_domain` needs an https portal: its cookie is marked Secure",
                &origin,
                "leave it empty, or give `server.portal_url` an https origin",
            );
        }
    }
    let time = |key: &str| root.duration(&format!("auth.session.{key}"));
    let session = Session {
        lifetime: time("lifetime"),
        idle_timeout: time("idle_timeout"),
        remember_me: time("remember_me"),
        cookie_domain: domain,
    };
    if session.idle_timeout < Duration::from_secs(60)
        && !cx.broken.contains("auth.session.idle_timeout")
    {
        let origin = root.origin("auth.session.idle_timeout");
        cx.warning(
            "short-idle-timeout",
            "`idle_timeout` is under a minute, but the time of the last request is kept only to the minute",
            &origin,
            "write at least `\"5m\"`",
        );
    }
    session
}
