//! `[telemetry]`

use std::net::SocketAddr;
use std::path::PathBuf;

use vestibule_core::settings::telemetry::{AccessLog, Telemetry};

use super::Context;
use crate::tree::Table;

pub(crate) fn resolve(root: &Table, cx: &mut Context<'_>) -> Telemetry {
    let listen = root.str("telemetry.listen").parse::<SocketAddr>().ok();
    if let Some(address) = listen.filter(|a| !a.ip().is_loopback()) {
        let origin = root.origin("telemetry.listen");
        cx.warning(
            "public-telemetry",
            format!("`telemetry.listen` is {address}: everybody who reaches it reads the metrics, without TLS"),
            &origin,
            "let it be on 127.0.0.1, or keep the port behind a firewall",
        );
    }
    let same = |l: &&(&crate::tree::Node, &Table)| {
        listen.is_some_and(|a| a.port() != 0 && l.1.str("address") == a.to_string())
    };
    if root.tables("listener").iter().any(|l| same(&l)) {
        let origin = root.origin("telemetry.listen");
        cx.error(
            "duplicate-listener",
            "`telemetry.listen` is the address of a listener",
            &origin,
            "give it its own port",
        );
    }
    let file = root.str("telemetry.access_log.file");
    Telemetry {
        listen,
        log_json: root.str("telemetry.log.format") == "json",
        log_level: root.str("telemetry.log.level").to_owned(),
        access_log: match root.str("telemetry.access_log.format") {
            "combined" => AccessLog::Combined,
            "off" => AccessLog::Off,
            _ => AccessLog::Json,
        },
        access_log_file: (!file.is_empty()).then(|| PathBuf::from(file)),
    }
}
