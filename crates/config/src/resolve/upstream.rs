//! Where an app listens: `http://host:port`, `https://…`, `h2c://…`, `unix:/path`.

use std::sync::Arc;

use vestibule_core::host::Host;
use vestibule_core::route::{Upstream, UpstreamScheme};

/// Reads an upstream. The message of a refusal says what to write.
pub(crate) fn parse(text: &str) -> Result<Upstream, String> {
    let refuse = |why: &str| {
        Err(format!(
            "`{text}` is no upstream ({why}): write `http://127.0.0.1:3000`, `https://…`, `h2c://…` or `unix:/path`"
        ))
    };
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') || path.len() > 107 || path.contains('\0') {
            return refuse("a unix socket has an absolute path of at most 107 bytes");
        }
        return Ok(Upstream { scheme: UpstreamScheme::Unix, host: Arc::from(path), port: 0 });
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return refuse("it has no scheme");
    };
    let (scheme, default) = match scheme {
        "http" => (UpstreamScheme::Http, 80),
        "https" => (UpstreamScheme::Https, 443),
        "h2c" => (UpstreamScheme::H2c, 80),
        _ => return refuse("its scheme is unknown"),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return refuse("it has a path; the app gets the path of the request");
    }
    if authority.contains('@') {
        return refuse("it has a user name");
    }
    match Host::parse_authority(authority) {
        Ok((_, Some(0))) => refuse("port 0 is no port to connect to"),
        Ok((host, port)) => {
            Ok(Upstream { scheme, host: Arc::from(host.as_str()), port: port.unwrap_or(default) })
        }
        Err(_) => refuse("its host cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_of_every_scheme() {
        let read = |text: &str| parse(text).map(|u| (u.scheme, u.host.to_string(), u.port));
        assert_eq!(read("http://app:3000"), Ok((UpstreamScheme::Http, "app".to_owned(), 3000)));
        assert_eq!(
            read("https://app.example.com/"),
            Ok((UpstreamScheme::Https, "app.example.com".to_owned(), 443))
        );
        assert_eq!(
            read("h2c://127.0.0.1:50051"),
            Ok((UpstreamScheme::H2c, "127.0.0.1".to_owned(), 50051))
        );
        assert_eq!(read("http://[::1]:80"), Ok((UpstreamScheme::Http, "[::1]".to_owned(), 80)));
        assert_eq!(
            read("unix:/run/app.sock"),
            Ok((UpstreamScheme::Unix, "/run/app.sock".to_owned(), 0))
        );
        for bad in [
            "app:3000",
            "ftp://app",
            "http://",
            "http://app/path",
            "http://u@app",
            "unix:app.sock",
            "http://app:0",
            "http://a b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
