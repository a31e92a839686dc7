//! What a provider says about itself (OpenID Connect Discovery 1.0).

use serde_json::Value;

use vestibule_core::settings::provider::{Provider, ProviderPlace};

use super::{Fault, PROVIDER_DOWN, TELL_ADMIN};
use crate::fetch::{Fetch, is_json};
use crate::jose::{self, Object};

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// The parts that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    /// `None` for plain OAuth 2.
    pub(crate) jwks_uri: Option<String>,
    pub(crate) userinfo_endpoint: Option<String>,
    pub(crate) end_session_endpoint: Option<String>,
    /// Empty: not told, which means `client_secret_basic`.
    pub(crate) token_auth_methods: Vec<String>,
    /// Names of signature algorithms of ID tokens.
    pub(crate) id_token_algorithms: Vec<String>,
    /// Empty: not told.
    pub(crate) pkce_methods: Vec<String>,
    /// Authorization responses carry `iss` (RFC 9207).
    pub(crate) tells_iss: bool,
    /// Logout tokens can be had.
    pub(crate) backchannel_logout: bool,
    /// Seconds by which the provider's `Date` was ahead of ours when it was asked.
    pub(crate) clock_ahead_secs: Option<i64>,
}

/// The URL of the discovery document.
pub(crate) fn url(place: &ProviderPlace) -> Option<String> {
    match place {
        ProviderPlace::Discovery(url) => Some(url.clone()),
        ProviderPlace::Github(_) => None,
        ProviderPlace::Issuer(issuer) => {
            Some(format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/')))
        }
    }
}

/// Asks the provider. `development`: its URLs may be plain http.
pub(crate) async fn discover(
    fetch: &Fetch,
    provider: &Provider,
    development: bool,
    now: vestibule_core::time::UnixMillis,
) -> Result<Metadata, Fault> {
    let url = match (&provider.place, url(&provider.place)) {
        (ProviderPlace::Github(base), _) => return Ok(of_github(base)),
        (_, Some(url)) => url,
        (_, None) => return Err(Fault::new("discovery_url", "", TELL_ADMIN)),
    };
    let answer = fetch
        .get(&url, "application/json", None)
        .await
        .map_err(|error| fault("discovery", error.word(), &error.to_string()))?;
    let clock_ahead_secs = date_of(answer.headers()).map(|date| date - now.secs());
    if !answer.status().is_success() {
        let detail = format!("{url} answers {}", answer.status().as_u16());
        return Err(Fault::new("discovery_status", detail, PROVIDER_DOWN));
    }
    if !is_json(answer.headers()) {
        return Err(malformed(&format!("{url} does not answer JSON")));
    }
    let document =
        jose::object(answer.body()).ok_or_else(|| malformed(&format!("{url} is no object")))?;
    let metadata = Metadata { clock_ahead_secs, ..read(&document)? };
    check_issuer(&provider.place, &metadata.issuer)?;
    check_endpoints(&metadata, development)?;
    Ok(metadata)
}

/// GitHub has no discovery: its endpoints stand in its documentation.
fn of_github(base: &str) -> Metadata {
    Metadata {
        issuer: base.to_owned(),
        authorization_endpoint: format!("{base}/login/oauth/authorize"),
        token_endpoint: format!("{base}/login/oauth/access_token"),
        jwks_uri: None,
        userinfo_endpoint: None,
        end_session_endpoint: None,
        token_auth_methods: vec!["client_secret_post".to_owned()],
        id_token_algorithms: Vec::new(),
        pkce_methods: vec!["S256".to_owned()],
        tells_iss: false,
        backchannel_logout: false,
        clock_ahead_secs: None,
    }
}

fn fault(step: &str, word: &'static str, detail: &str) -> Fault {
    let reason = match (step, word) {
        (_, "timeout") => "discovery_timeout",
        (_, "answer_too_long") => "discovery_too_long",
        (_, "redirect") => "discovery_redirect",
        (_, "address_refused") => "discovery_address_refused",
        _ => "discovery_unreachable",
    };
    Fault::new(reason, detail, PROVIDER_DOWN)
}

fn malformed(detail: &str) -> Fault {
    Fault::new("discovery_malformed", detail, TELL_ADMIN)
}

fn read(document: &Object) -> Result<Metadata, Fault> {
    let needed = |name: &str| {
        jose::text(document, name)
            .map(str::to_owned)
            .ok_or_else(|| malformed(&format!("the discovery document has no `{name}`")))
    };
    let optional = |name: &str| jose::text(document, name).map(str::to_owned);
    let list = |name: &str| -> Vec<String> {
        let texts = document.get(name).map(jose::texts).unwrap_or_default();
        texts.into_iter().map(str::to_owned).collect()
    };
    let flag = |name: &str| document.get(name) == Some(&Value::Bool(true));
    Ok(Metadata {
        issuer: needed("issuer")?,
        authorization_endpoint: needed("authorization_endpoint")?,
        token_endpoint: needed("token_endpoint")?,
        jwks_uri: Some(needed("jwks_uri")?),
        userinfo_endpoint: optional("userinfo_endpoint"),
        end_session_endpoint: optional("end_session_endpoint"),
        token_auth_methods: list("token_endpoint_auth_methods_supported"),
        id_token_algorithms: list("id_token_signing_alg_values_supported"),
        pkce_methods: list("code_challenge_methods_supported"),
        tells_iss: flag("authorization_response_iss_parameter_supported"),
        backchannel_logout: flag("backchannel_logout_supported"),
        clock_ahead_secs: None,
    })
}

/// The document's issuer is the configured one, character for character (Discovery, 4.3).
fn check_issuer(place: &ProviderPlace, said: &str) -> Result<(), Fault> {
    let (expected, fits) = match place {
        ProviderPlace::Issuer(issuer) => (issuer.as_str(), issuer == said),
        ProviderPlace::Discovery(url) => match url.strip_suffix(WELL_KNOWN) {
            // Written as a URL, the issuer may or may not have had a final slash.
            Some(base) => (base, said == base || said.strip_suffix('/') == Some(base)),
            None => (url.as_str(), origin(url).is_some() && origin(url) == origin(said)),
        },
        ProviderPlace::Github(base) => (base.as_str(), base == said),
    };
    if fits {
        return Ok(());
    }
    let detail = format!(
        "the discovery document names the issuer `{said}`, the configuration `{expected}`; write it exactly as the document does"
    );
    Err(Fault::new("discovery_issuer_mismatch", detail, TELL_ADMIN))
}

/// Every endpoint is an absolute URL of http or https, and in production nothing of a provider
/// goes over plain http but to this machine itself.
fn check_endpoints(metadata: &Metadata, development: bool) -> Result<(), Fault> {
    let endpoints = [
        Some(&metadata.authorization_endpoint),
        Some(&metadata.token_endpoint),
        metadata.jwks_uri.as_ref(),
        metadata.userinfo_endpoint.as_ref(),
        metadata.end_session_endpoint.as_ref(),
    ];
    for endpoint in endpoints.into_iter().flatten() {
        match place_of(endpoint) {
            Place::Nowhere => {
                return Err(malformed(&format!("`{endpoint}` is no URL of http or https")));
            }
            Place::Insecure if !development => {
                let detail = format!("the discovery document names {endpoint}, which is not https");
                return Err(Fault::new("discovery_insecure", detail, TELL_ADMIN));
            }
            Place::Insecure | Place::Secure => {}
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Plain http to somewhere else.
    Insecure,
    /// No URL that can be asked, or that a browser may be sent to.
    Nowhere,
    /// https, or this machine.
    Secure,
}

fn place_of(url: &str) -> Place {
    let Ok(url) = url::Url::parse(url) else { return Place::Nowhere };
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return Place::Nowhere,
    };
    match url.scheme() {
        "https" => Place::Secure,
        "http" if is_loopback => Place::Secure,
        "http" => Place::Insecure,
        _ => Place::Nowhere,
    }
}

/// `scheme://host[:port]`.
pub(crate) fn origin(url: &str) -> Option<String> {
    let origin = url::Url::parse(url).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// `Date`, in seconds since 1970 (RFC 9110, 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`).
pub(crate) fn date_of(headers: &http::HeaderMap) -> Option<i64> {
    let text = headers.get(http::header::DATE)?.to_str().ok()?;
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: i64 = words.next()?.parse().ok()?;
    let names =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let name = words.next()?;
    let month = i64::try_from(names.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    // Days from the civil date, after Howard Hinnant: eras of 400 years that begin on 1 March.
    let shifted = if month > 2 { year } else { year - 1 };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_issuer_mismatch_by_slash_case_or_host_is_refused() {
        let issuer = ProviderPlace::Issuer("https://id.example.com".to_owned());
        assert!(check_issuer(&issuer, "https://id.example.com").is_ok());
        for other in ["https://id.example.com/", "https://ID.example.com", "https://evil.example"] {
            let fault = check_issuer(&issuer, other).unwrap_err();
            assert_eq!(fault.reason, "discovery_issuer_mismatch", "{other}");
        }
        let url = "https://a.example/application/o/x/.well-known/openid-configuration";
        let place = ProviderPlace::Discovery(url.to_owned());
        assert!(check_issuer(&place, "https://a.example/application/o/x/").is_ok());
        assert!(check_issuer(&place, "https://a.example/application/o/x").is_ok());
        assert!(check_issuer(&place, "https://a.example/application/o/y/").is_err());
        assert!(check_issuer(&place, "https://a.example/").is_err());
    }

    #[test]
    fn seed_001_23_the_document_stands_below_the_issuer_without_a_double_slash() {
        for issuer in ["https://id.example.com/realms/x", "https://id.example.com/realms/x/"] {
            assert_eq!(
                url(&ProviderPlace::Issuer(issuer.to_owned())).unwrap(),
                "https://id.example.com/realms/x/.well-known/openid-configuration"
            );
        }
    }

    #[test]
    fn seed_004_63_in_production_every_endpoint_must_be_https_but_on_loopback() {
        for (url, place) in [
            ("https://id.example.com/x", Place::Secure),
            ("http://id.example.com/x", Place::Insecure),
            ("http://127.0.0.1:1/x", Place::Secure),
            ("http://localhost/x", Place::Secure),
            ("http://localhost.evil.example/x", Place::Insecure),
            ("javascript:alert(1)", Place::Nowhere),
            ("/x", Place::Nowhere),
            ("x", Place::Nowhere),
        ] {
            assert_eq!(place_of(url), place, "{url}");
        }
    }

    #[test]
    fn x22_the_date_field_is_read() {
        let mut headers = http::HeaderMap::new();
        headers.insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        assert_eq!(date_of(&headers), Some(784_111_777));
        headers.insert("date", "Tue, 29 Feb 2028 00:00:00 GMT".parse().unwrap());
        assert_eq!(date_of(&headers), Some(1_835_395_200));
    }
}
