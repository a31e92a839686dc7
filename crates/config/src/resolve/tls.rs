//! `[tls]`: the files are there and hold what they should. Whether key and chain belong together is
//! found where they are loaded.

use std::path::PathBuf;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use vestibule_core::settings::listener::Listener;
use vestibule_core::settings::tls::{Certificate, Tls};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Context;
use crate::tree::{Origin, Table};

/// Settings, and the names that certificates cover.
pub(crate) struct Resolved {
    pub(crate) settings: Tls,
    pub(crate) names: Vec<String>,
}

pub(crate) fn resolve(root: &Table, listeners: &[Listener], cx: &mut Context<'_>) -> Resolved {
    let mut certificates = Vec::new();
    let mut names = Vec::new();
    for (_, table) in root.tables("tls.certificate") {
        let pair = Certificate {
            cert: PathBuf::from(table.str("cert")),
            key: PathBuf::from(table.str("key")),
        };
        if table.get("cert").is_some() {
            cx.files.insert(pair.cert.clone());
            match chain(&pair.cert) {
                Ok(found) => names.extend(found),
                Err(why) => cx.error(
                    "bad-certificate",
                    format!("`cert` names `{}`: {why}", pair.cert.display()),
                    &table.origin("cert"),
                    "name a PEM file with the chain, leaf first",
                ),
            }
        }
        if table.get("key").is_some() {
            cx.files.insert(pair.key.clone());
            if let Err(why) = private_key(&pair.key) {
                cx.error(
                    "bad-private-key",
                    format!("`key` names `{}`: {why}", pair.key.display()),
                    &table.origin("key"),
                    "name a PEM file with the private key of `cert`",
                );
            }
        }
        certificates.push(pair);
    }
    let wanting = root.tables("listener").into_iter().find(|(_, l)| l.bool("tls"));
    if certificates.is_empty()
        && listeners.iter().any(|l| l.tls)
        && !cx.broken.iter().any(|p| p.starts_with("tls"))
    {
        let origin = wanting.map_or(Origin::Default, |(_, l)| l.origin("tls"));
        cx.error(
            "no-certificate",
            "a listener has `tls = true`, but there is no `[[tls.certificate]]`",
            &origin,
            "add `[[tls.certificate]]` with `cert` and `key`, or write `tls = false` behind a front proxy",
        );
    }
    let tls13_only = root.str("tls.min_version") == "1.3";
    Resolved { settings: Tls { tls13_only, certificates }, names }
}

/// The names of a chain's leaf.
fn chain(path: &std::path::Path) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(path).map_err(|e| crate::source::plain(&e))?;
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| "it is no PEM file".to_owned())?;
    let leaf = chain.first().ok_or("it holds no certificate")?;
    let (_, leaf) = X509Certificate::from_der(leaf)
        .map_err(|_| "its first certificate cannot be read".to_owned())?;
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.map(|n| n.value.general_names.as_slice()).unwrap_or_default();
    Ok(names.iter().filter_map(name).collect())
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| std::net::Ipv4Addr::from(b).to_string()),
            _ => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|b| format!("[{}]", std::net::Ipv6Addr::from(b))),
        },
        _ => None,
    }
}

fn private_key(path: &std::path::Path) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|e| crate::source::plain(&e))?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map(drop)
        .map_err(|_| "it holds no private key in PEM form".to_owned())
}
