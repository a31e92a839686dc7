//! The forms of single values: durations, sizes, booleans of the environment, lists of the environment,
//! addresses. Each says what it would take when it refuses.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use vestibule_core::host::{Host, HostPattern};
use vestibule_core::pattern::PathPattern;
use vestibule_core::return_to::Origin;

/// `15m`, `1h30m`, `250ms`; a bare `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || {
        format!(
            "`{text}` is no duration: write a number with a unit, such as `15m` (ms, s, m, h, d, w)"
        )
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.trim();
    let mut total = 0u64;
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let millis: u64 = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(refuse()),
        };
        let number: u64 = number.parse().map_err(|_| refuse())?;
        let part = number.checked_mul(millis).ok_or_else(refuse)?;
        total = total.checked_add(part).ok_or_else(refuse)?;
        rest = tail;
    }
    // A hundred years are for ever, and keep every sum of times within its type.
    if total > 100 * 366 * 86_400_000 {
        return Err(format!("`{text}` is longer than a hundred years"));
    }
    Ok(Duration::from_millis(total))
}

/// `0`, `512`, `10MiB`, `1.5GB`-like fractions are not taken.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let refuse = || {
        format!(
            "`{text}` is no size: write bytes or a unit, such as `10MiB` (B, kB, KiB, MB, MiB, GB, GiB, TB, TiB)"
        )
    };
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "TiB" => 1 << 40,
        _ => return Err(refuse()),
    };
    number.checked_mul(factor).ok_or_else(refuse)
}

/// A boolean as the documented variables spell it.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!(
            "`{text}` is no boolean: write true or false (1, 0, yes, no, on, off are taken too)"
        )),
    }
}

/// A list as the documented variables spell it: split at commas, semicolons and white space.
pub(crate) fn list(text: &str) -> Vec<&str> {
    let separator = |c: char| c == ',' || c == ';' || c.is_whitespace();
    text.split(separator).filter(|part| !part.is_empty()).collect()
}

/// A network or a single address.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(net.trunc());
    }
    text.parse::<std::net::IpAddr>().map(IpNet::from).map_err(|_| {
        format!("`{text}` is no address and no network: write `10.0.0.7` or `10.0.0.0/8`")
    })
}

pub(crate) fn check_network(text: &str) -> Result<(), String> {
    network(text).map(drop)
}

pub(crate) fn check_socket(text: &str) -> Result<(), String> {
    text.parse::<SocketAddr>().map(drop).map_err(|_| {
        format!("`{text}` is no address to listen on: write `127.0.0.1:8080`, `0.0.0.0:443` or `[::]:443`")
    })
}

/// An address to listen on, or nothing.
pub(crate) fn check_socket_or_off(text: &str) -> Result<(), String> {
    if matches!(text, "" | "off") { Ok(()) } else { check_socket(text) }
}

pub(crate) fn check_origin(text: &str) -> Result<(), String> {
    if Origin::parse(text).is_some() {
        return Ok(());
    }
    let why = if text.contains("://") {
        "an origin is scheme, host and port only, without a path"
    } else {
        "it has no scheme"
    };
    Err(format!("`{text}` is no origin ({why}): write `https://auth.example.com`"))
}

/// A URL with a host; its path is free.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    split_url(text).map(drop).ok_or_else(|| {
        format!("`{text}` is no URL: write `https://id.example.com`, with scheme and host")
    })
}

/// Origin and path of an http or https URL.
pub(crate) fn split_url(text: &str) -> Option<(Origin, &str)> {
    let authority = text.find("://")? + 3;
    let end = text.get(authority..)?.find(['/', '?', '#']).map_or(text.len(), |at| authority + at);
    let (origin, path) = text.split_at_checked(end)?;
    Some((Origin::parse(origin)?, path))
}

pub(crate) fn check_host(text: &str) -> Result<(), String> {
    HostPattern::parse(text).map(drop).map_err(|_| {
        format!("`{text}` is no host: write `app.example.com` or `*.example.com`, without scheme and path")
    })
}

pub(crate) fn check_domain(text: &str) -> Result<(), String> {
    if text.is_empty() || Host::parse(text.trim_start_matches('.')).is_ok_and(|h| h.ip().is_none())
    {
        return Ok(());
    }
    Err(format!("`{text}` is no domain: write `example.com`"))
}

pub(crate) fn check_pattern(text: &str) -> Result<(), String> {
    PathPattern::parse(text).map(drop).map_err(|e| e.to_string())
}

pub(crate) fn check_email(text: &str) -> Result<(), String> {
    let good = text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
        && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if good { Ok(()) } else { Err(format!("`{text}` is no e-mail address")) }
}

/// `[a-z0-9_-]{1,32}`
pub(crate) fn check_id(text: &str) -> Result<(), String> {
    let good = (1..=32).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if good {
        Ok(())
    } else {
        Err(format!("`{text}` is no id: use 1 to 32 of a-z, 0-9, `_` and `-`"))
    }
}

/// A route's or issuer's name: it stands in scopes, logs and metrics.
pub(crate) fn check_name(text: &str) -> Result<(), String> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | ',' | '"' | '*');
    if !text.is_empty() && text.len() <= 64 && !text.chars().any(bad) {
        return Ok(());
    }
    Err(format!(
        "`{text}` is no name: use 1 to 64 characters without white space, `:`, `,`, `\"`, `*`"
    ))
}

/// The first part of an API key.
pub(crate) fn check_key_prefix(text: &str) -> Result<(), String> {
    let good = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if good {
        Ok(())
    } else {
        Err(format!("`{text}` is no key prefix: use 1 to 16 letters and digits, without `_`"))
    }
}

pub(crate) fn check_method(text: &str) -> Result<(), String> {
    let good = !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    if good {
        Ok(())
    } else {
        Err(format!("`{text}` is no method: write it in upper case, such as `GET`"))
    }
}

pub(crate) fn check_header_name(text: &str) -> Result<(), String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(token) {
        Ok(())
    } else {
        Err(format!("`{text}` is no header name"))
    }
}

pub(crate) fn check_header_value(text: &str) -> Result<(), String> {
    if text.bytes().all(|b| b == b'\t' || (0x20..0x7f).contains(&b)) {
        Ok(())
    } else {
        Err("a header value holds visible ASCII characters and spaces only".to_owned())
    }
}

/// `<provider>:<subject or username>`
pub(crate) fn check_bootstrap(text: &str) -> Result<(), String> {
    let good = text.is_empty()
        || text
            .split_once(':')
            .is_some_and(|(id, who)| check_id(id).is_ok() && !who.trim().is_empty());
    if good {
        Ok(())
    } else {
        Err(format!(
            "`{text}` is not `<provider>:<subject or username>`: write for example `authelia:todd`"
        ))
    }
}

/// A path prefix: empty, or `/` and something without a final `/`.
pub(crate) fn check_api_prefix(text: &str) -> Result<(), String> {
    let good = text.is_empty()
        || (text.starts_with('/')
            && !text.contains(['?', '#', '*', '%', '\\'])
            && !text.contains("//"));
    if good { Ok(()) } else { Err(format!("`{text}` is no path prefix: write for example `/api`")) }
}

/// A route's `path` or `strip_prefix`: plain, in normal form.
pub(crate) fn check_path(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    if text.contains(['*', '?', '#']) {
        return Err(format!(
            "`{text}` is no path prefix: it stands for itself and everything below, without `*`, `?` or `#`"
        ));
    }
    match vestibule_core::path::NormalPath::parse(text) {
        Err(why) => Err(format!("`{text}` is no path: {why}")),
        Ok(_) => Ok(()),
    }
}

/// `http://host:port`, `https://…`, `h2c://…` or `unix:/path`.
pub(crate) fn check_upstream(text: &str) -> Result<(), String> {
    crate::resolve::upstream::parse(text).map(drop)
}

pub(crate) fn check_hex_key(text: &str) -> Result<(), String> {
    match vestibule_core::settings::secrets::StoreKey::from_hex(text) {
        Some(_) => Ok(()),
        None => {
            Err("a store key is 64 hex digits: make one with `openssl rand -hex 32`".to_owned())
        }
    }
}

pub(crate) fn check_credential(text: &str) -> Result<(), String> {
    match vestibule_core::credential::CredentialKind::from_word(text) {
        Some(_) => Ok(()),
        None => Err(format!(
            "`{text}` is no kind of credential: use `session`, `api-key`, `token`, `basic`, `client-cert` or `jwt:<issuer name>`"
        )),
    }
}

pub(crate) fn check_group(text: &str) -> Result<(), String> {
    vestibule_core::group::Group::new(text).map(drop).map_err(|e| e.to_string())
}

pub(crate) fn check_store_url(text: &str) -> Result<(), String> {
    let good = text.starts_with("postgres://")
        || text.starts_with("postgresql://")
        || text.strip_prefix("sqlite:").is_some_and(|p| {
            let path = p.trim_start_matches("//");
            !path.is_empty() && !p.contains(":memory:") && !path.contains('?')
        });
    if good {
        Ok(())
    } else {
        Err(format!("`{text}` is no store: write `sqlite:///data/vestibule.db`"))
    }
}

pub(crate) fn check_redis_url(text: &str) -> Result<(), String> {
    if text.starts_with("redis://") || text.starts_with("rediss://") {
        Ok(())
    } else {
        Err(format!("`{text}` is no Redis URL: write `redis://127.0.0.1:6379`"))
    }
}

pub(crate) fn check_any(_: &str) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_numbers_with_units() {
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2w"), Ok(Duration::from_secs(1_209_600)));
        for bad in
            ["", "15", "m", "15x", "-1s", "1.5h", "15 m 3", "99999999999999999999s", "200000w"]
        {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert_eq!(size("10MB"), Ok(10_000_000));
        for bad in ["", "MiB", "1.5GB", "10mib", "-1", "99999999TiB"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn seed_booleans_take_four_spellings_in_any_case() {
        for yes in ["true", "1", "YES", "On"] {
            assert_eq!(boolean(yes), Ok(true));
        }
        for no in ["FALSE", "0", "no", "off"] {
            assert_eq!(boolean(no), Ok(false));
        }
        assert!(boolean("maybe").is_err());
    }

    #[test]
    fn seed_lists_split_at_commas_semicolons_and_white_space() {
        assert_eq!(list("a,b; c\td,,"), ["a", "b", "c", "d"]);
    }

    #[test]
    fn seed_001_63_a_bootstrap_administrator_names_its_provider() {
        assert!(
            check_bootstrap("authelia:todd").is_ok() && check_bootstrap("plex:myplexuser").is_ok()
        );
        for bad in ["todd", ":todd", "plex:", "Plex:x"] {
            assert!(check_bootstrap(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_number_of_seconds_comes_back(secs in 0u64..1_000_000_000) {
            proptest::prop_assert_eq!(duration(&format!("{secs}s")), Ok(Duration::from_secs(secs)));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (duration(&text), size(&text), boolean(&text), network(&text), split_url(&text).is_some());
        }
    }
}
