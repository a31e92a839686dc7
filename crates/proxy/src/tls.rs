//! TLS towards clients: certificates chosen by SNI, without a default one, swapped while
//! running. What a certificate covers is kept, so that a Host it does not cover can be
//! refused (421) before it is routed.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use vestibule_core::settings::tls::{Certificate, Tls};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The names that a certificate is good for, lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateNames {
    exact: Vec<Box<str>>,
    /// What follows `*.`.
    wildcard: Vec<Box<str>>,
}

impl CertificateNames {
    /// Whether the certificate covers the host (in canonical form; `*` stands for one label).
    pub(crate) fn cover(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        self.exact.iter().any(|name| **name == *bare)
            || host.split_once('.').is_some_and(|(label, rest)| {
                !label.is_empty() && self.wildcard.iter().any(|name| **name == *rest)
            })
    }

    fn of(leaf: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        let alternative = leaf.subject_alternative_name().ok().flatten();
        for name in alternative.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.add(&name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => {
                    let v4 =
                        <[u8; 4]>::try_from(*bytes).map(|b| std::net::IpAddr::from(b).to_string());
                    let v6 =
                        <[u8; 16]>::try_from(*bytes).map(|b| std::net::IpAddr::from(b).to_string());
                    if let Ok(address) = v4.or(v6) {
                        names.exact.push(address.into());
                    }
                }
                _ => {}
            }
        }
        names
    }

    fn add(&mut self, name: &str) {
        match name.strip_prefix("*.") {
            Some(rest) => self.wildcard.push(rest.into()),
            None => self.exact.push(name.into()),
        }
    }
}

struct Loaded {
    source: Certificate,
    key: Arc<CertifiedKey>,
    names: Arc<CertificateNames>,
    /// Seconds since the epoch.
    not_after: i64,
}

#[derive(Default)]
struct Store {
    loaded: Vec<Arc<Loaded>>,
    exact: HashMap<Box<str>, Arc<Loaded>>,
    wildcard: HashMap<Box<str>, Arc<Loaded>>,
}

impl Store {
    fn new(loaded: Vec<Arc<Loaded>>) -> Self {
        let mut store = Self::default();
        for one in &loaded {
            // The first certificate of the file that names a host is the one for it.
            for name in &one.names.exact {
                store.exact.entry(name.clone()).or_insert_with(|| one.clone());
            }
            for name in &one.names.wildcard {
                store.wildcard.entry(name.clone()).or_insert_with(|| one.clone());
            }
        }
        store.loaded = loaded;
        store
    }

    fn find(&self, sni: &str) -> Option<&Arc<Loaded>> {
        let name = sni.trim_end_matches('.').to_ascii_lowercase();
        self.exact.get(name.as_str()).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }
}

/// Chooses by SNI; a client without a name, or with an unknown one, gets no certificate.
#[derive(Default)]
struct BySni(ArcSwap<Store>);

impl fmt::Debug for BySni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BySni")
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let store = self.0.load();
        Some(store.find(hello.server_name()?)?.key.clone())
    }
}

/// The TLS side of all listeners.
pub(crate) struct TlsServer {
    certificates: Arc<BySni>,
    config: ArcSwap<ServerConfig>,
    ticketer: Arc<dyn rustls::server::ProducesTickets>,
    provider: Arc<CryptoProvider>,
}

impl TlsServer {
    /// Fails where a certificate or key cannot be read or the two do not belong together.
    pub(crate) fn new(tls: &Tls) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|e| e.to_string())?;
        let certificates = Arc::new(BySni::default());
        let loaded = load_all(tls, &provider)?;
        certificates.0.store(Arc::new(Store::new(loaded)));
        let config = server_config(tls, &provider, &certificates, &ticketer)?;
        Ok(Self { certificates, config: ArcSwap::from_pointee(config), ticketer, provider })
    }

    /// Takes new settings; open connections keep what they have.
    pub(crate) fn reload(&self, tls: &Tls) -> Result<(), String> {
        let loaded = load_all(tls, &self.provider)?;
        let config = server_config(tls, &self.provider, &self.certificates, &self.ticketer)?;
        self.certificates.0.store(Arc::new(Store::new(loaded)));
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// Reads every pair anew; one that is broken keeps its old certificate.
    pub(crate) fn reload_certificates(&self) {
        let old = self.certificates.0.load_full();
        let loaded = old.loaded.iter().map(|one| match load(&one.source, &self.provider) {
            Ok(fresh) => Arc::new(fresh),
            Err(error) => {
                tracing::error!(%error, "certificate not reloaded; the old one stays in use");
                one.clone()
            }
        });
        self.certificates.0.store(Arc::new(Store::new(loaded.collect())));
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// What the certificate for this server name covers.
    pub(crate) fn names_for(&self, sni: &str) -> Option<Arc<CertificateNames>> {
        self.certificates.0.load().find(sni).map(|one| one.names.clone())
    }

    /// First name and end (seconds since the epoch) of each certificate.
    pub(crate) fn expiries(&self) -> Vec<(String, i64)> {
        let store = self.certificates.0.load();
        let name = |one: &Loaded| match (one.names.exact.first(), one.names.wildcard.first()) {
            (Some(name), _) => name.to_string(),
            (None, Some(rest)) => format!("*.{rest}"),
            (None, None) => one.source.cert.display().to_string(),
        };
        store.loaded.iter().map(|one| (name(one), one.not_after)).collect()
    }
}

fn server_config(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    certificates: &Arc<BySni>,
    ticketer: &Arc<dyn rustls::server::ProducesTickets>,
) -> Result<ServerConfig, String> {
    let both: &[&rustls::SupportedProtocolVersion] =
        &[&rustls::version::TLS13, &rustls::version::TLS12];
    let versions = if tls.tls13_only { both.get(..1).unwrap_or(both) } else { both };
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(certificates.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = ticketer.clone();
    config.max_early_data_size = 0;
    Ok(config)
}

fn load_all(tls: &Tls, provider: &CryptoProvider) -> Result<Vec<Arc<Loaded>>, String> {
    tls.certificates.iter().map(|source| load(source, provider).map(Arc::new)).collect()
}

fn load(source: &Certificate, provider: &CryptoProvider) -> Result<Loaded, String> {
    let say = |path: &Path, why: &dyn fmt::Display| format!("{}: {why}", path.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&source.cert)
        .and_then(Iterator::collect)
        .map_err(|error| say(&source.cert, &error))?;
    let leaf = chain.first().ok_or_else(|| say(&source.cert, &"holds no certificate"))?;
    let (names, not_after) = match X509Certificate::from_der(leaf) {
        Ok((_, leaf)) => (CertificateNames::of(&leaf), leaf.validity().not_after.timestamp()),
        Err(error) => return Err(say(&source.cert, &error)),
    };
    let key = PrivateKeyDer::from_pem_file(&source.key).map_err(|e| say(&source.key, &e))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let pair = format!("does not belong to {} ({error})", source.cert.display());
        say(&source.key, &pair)
    })?;
    Ok(Loaded { source: source.clone(), key: Arc::new(key), names: Arc::new(names), not_after })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(dir: &Path, stem: &str, names: &[&str]) -> Certificate {
        let made = rcgen::generate_simple_self_signed(
            names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        )
        .unwrap();
        let certificate = Certificate {
            cert: dir.join(format!("{stem}.pem")),
            key: dir.join(format!("{stem}.key")),
        };
        std::fs::write(&certificate.cert, made.cert.pem()).unwrap();
        std::fs::write(&certificate.key, made.signing_key.serialize_pem()).unwrap();
        certificate
    }

    #[test]
    fn l6_a_certificate_covers_one_label_under_its_wildcard() {
        let names = CertificateNames {
            exact: vec!["example.com".into(), "::1".into()],
            wildcard: vec!["example.com".into()],
        };
        for good in ["example.com", "a.example.com", "[::1]"] {
            assert!(names.cover(good), "{good}");
        }
        for bad in ["a.b.example.com", ".example.com", "example.org", "xexample.com", "com"] {
            assert!(!names.cover(bad), "{bad}");
        }
    }

    #[test]
    fn a_mismatched_pair_keeps_the_old_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) =
            (pair(dir.path(), "one", &["a.test"]), pair(dir.path(), "two", &["b.test"]));
        let tls = Tls { tls13_only: false, certificates: vec![one.clone()] };
        let server = TlsServer::new(&tls).unwrap();
        std::fs::copy(&two.cert, &one.cert).unwrap();
        server.reload_certificates();
        assert!(server.names_for("a.test").is_some(), "the old one stays");
        assert!(server.reload(&tls).unwrap_err().contains("one.key"));
        std::fs::copy(&two.key, &one.key).unwrap();
        server.reload_certificates();
        assert!(server.names_for("a.test").is_none());
        assert!(server.names_for("B.test.").is_some());
    }
}
