//! `[store]`, `[api_keys]`, `[smtp]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vestibule_core::api_key::RateLimit;
use vestibule_core::secret::Secret;
use vestibule_core::settings::api_keys::ApiKeys;
use vestibule_core::settings::server::Server;
use vestibule_core::settings::smtp::Smtp;
use vestibule_core::settings::store::{Backup, Store};

use super::Context;
use crate::profile;
use crate::tree::{Node, Origin, Table};

pub(crate) fn resolve(root: &mut Table, server: &Server, cx: &mut Context<'_>) -> Store {
    let said = root.str("store.url").to_owned();
    let sqlite = if said.is_empty() {
        let path = server.data_dir.join(profile::store_file(cx.profile));
        root.set_at(
            "store.url",
            Node::text(format!("sqlite://{}", path.display()), Origin::Default),
        );
        path
    } else {
        sqlite_path(&said, &root.origin("store.url"))
    };
    let backup = root.at("store.backup").is_some().then(|| {
        let dir = match root.str("store.backup.dir") {
            "" => server.data_dir.join("backups"),
            dir => PathBuf::from(dir),
        };
        Backup {
            dir,
            every: root.duration("store.backup.every"),
            keep: usize::try_from(root.int("store.backup.keep")).unwrap_or(7),
        }
    });
    if let Some(backup) = &backup {
        root.set_at(
            "store.backup.dir",
            Node::text(backup.dir.to_string_lossy(), root.origin("store.backup.dir")),
        );
        if backup.every < Duration::from_secs(60) {
            let origin = root.origin("store.backup.every");
            cx.error(
                "out-of-range",
                "`store.backup.every` must be at least a minute",
                &origin,
                "write for example `\"24h\"`",
            );
        }
    }
    Store { sqlite, backup }
}

/// `sqlite:///abs`, `sqlite://rel`, `sqlite:rel`; what is relative starts at the file that says so.
fn sqlite_path(url: &str, origin: &Origin) -> PathBuf {
    let rest = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = Path::new(rest.strip_prefix("//").unwrap_or(rest));
    match origin {
        Origin::File(place) => crate::source::folder_of(&place.file.path).join(path),
        _ => path.to_owned(),
    }
}

pub(crate) fn api_keys(root: &Table, server: &Server, cx: &mut Context<'_>) -> ApiKeys {
    let asked = ["requests", "window"]
        .iter()
        .any(|k| root.origin(&format!("api_keys.rate_limit.{k}")).is_asked());
    let is_off = cx.profile == "penombre" && server.development && !asked;
    ApiKeys {
        prefix: root.str("api_keys.prefix").into(),
        accept: root.texts("api_keys.accept").into_iter().map(Into::into).collect(),
        rate_limit: (!is_off).then(|| rate_limit(root, "api_keys.rate_limit", cx)),
    }
}

/// `{ requests, window }`.
pub(crate) fn rate_limit(root: &Table, path: &str, cx: &mut Context<'_>) -> RateLimit {
    let window_path = format!("{path}.window");
    let window = root.duration(&window_path);
    if window < Duration::from_secs(1) && !cx.broken.contains(&window_path) {
        let origin = root.origin(&window_path);
        cx.error(
            "out-of-range",
            format!("`{window_path}` must be at least a second"),
            &origin,
            "write for example `\"1m\"`",
        );
    }
    RateLimit {
        requests: u32::try_from(root.int(&format!("{path}.requests"))).unwrap_or(1).max(1),
        window: window.max(Duration::from_secs(1)),
    }
}

pub(crate) fn smtp(root: &Table, cx: &mut Context<'_>) -> Option<Smtp> {
    if !root.bool("smtp.enabled") {
        return None;
    }
    let penombre_only = |path: &str| matches!(path, "smtp.user" | "smtp.password");
    for (path, variable) in [
        ("smtp.host", "SMTP_HOST"),
        ("smtp.user", "SMTP_USER"),
        ("smtp.password", "SMTP_PASSWORD"),
        ("smtp.from", "SMTP_FROM"),
    ] {
        let needs_user =
            cx.profile == "penombre" || matches!(root.origin("smtp.enabled"), Origin::Env(_));
        if cx.is_missing(root, path) && (needs_user || !penombre_only(path)) {
            let origin = root.origin("smtp.enabled");
            cx.error(
                "missing-key",
                format!("mail is on, but `{path}` ({variable}) is not set"),
                &origin,
                &format!("set {variable}, or write `{path}`"),
            );
        }
    }
    Some(Smtp {
        host: root.str("smtp.host").to_owned(),
        port: u16::try_from(root.int("smtp.port")).unwrap_or(587),
        user: root.str("smtp.user").to_owned(),
        password: Secret::new(root.str("smtp.password")),
        from: root.str("smtp.from").to_owned(),
        implicit_tls: root.bool("smtp.secure"),
        danger_starttls_optional: root.str("smtp.starttls") == "optional",
    })
}
