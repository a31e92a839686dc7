//! What is taken off a request and an answer, and what is put on. The strip pass is one
//! function and one pass; rendered identity headers are kept per identity, route and origin.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;

use http::header;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use vestibule_authn::Authn;
use vestibule_authn::authenticate::Reading;
use vestibule_authn::cookie;
use vestibule_core::account::Status;
use vestibule_core::assertion::{MANAGED, Preset, is_managed};
use vestibule_core::facts::Scheme;
use vestibule_core::host::Host;
use vestibule_core::identity::Identity;
use vestibule_core::route::ProviderToken;
use vestibule_core::time::UnixMillis;

use crate::facts::{
    Client, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, is_forwarding,
};
use crate::record::RequestId;
use crate::snapshot::{CompiledRoute, Edits};

pub(crate) const X_VESTIBULE: HeaderName = HeaderName::from_static("x-vestibule");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const X_VESTIBULE_ASSERTION: HeaderName = HeaderName::from_static("x-vestibule-assertion");
const X_FORWARDED_ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-forwarded-access-token");
const X_FORWARDED_ID_TOKEN: HeaderName = HeaderName::from_static("x-forwarded-id-token");
const REMOTE_GROUPS_TRUNCATED: HeaderName = HeaderName::from_static("remote-groups-truncated");

/// Bytes of groups that an app is told without being asked.
const MAX_GROUP_BYTES: usize = 4096;
/// Renderings a worker keeps twice: the young ones and the ones before.
const RENDERED_MAX: usize = 4096;

/// Removes from a request everything that only Vestibule may say, hop-by-hop fields, and,
/// unless the peer is believed, the whole forwarding family. Nothing else removes headers
/// for trust's sake. One pass; most names are settled by their first byte.
pub(crate) fn strip_request(headers: &mut HeaderMap, vouched: bool) {
    let mut doomed: Vec<HeaderName> = Vec::new();
    let mut connection = false;
    for name in headers.keys() {
        if is_untold(name.as_str().as_bytes(), vouched) {
            connection |= *name == header::CONNECTION;
            doomed.push(name.clone());
        }
    }
    if connection {
        connection_listed(headers, &mut doomed);
    }
    for name in doomed {
        headers.remove(name);
    }
}

fn is_untold(name: &[u8], vouched: bool) -> bool {
    match name.first() {
        Some(b'c') if name == b"connection" => true,
        Some(b't') if matches!(name, b"te" | b"trailer" | b"transfer-encoding") => true,
        Some(b'r') => is_managed(name),
        Some(b'x') if is_managed(name) || is_internal(name) => true,
        Some(b'x' | b'f' | b't' | b'c') => {
            is_forwarding(name) && (!vouched || name.iter().any(|b| matches!(b, b'_' | b'.')))
        }
        Some(b'e') => name == b"expect",
        Some(b'h') => name == b"http2-settings",
        Some(b'k') => name == b"keep-alive",
        Some(b'p') => matches!(name, b"proxy" | b"proxy-connection" | b"proxy-authorization"),
        Some(b'u') => name == b"upgrade",
        _ => false,
    }
}

/// `X-Vestibule` and whatever begins so, in any spelling.
fn is_internal(name: &[u8]) -> bool {
    name.get(2..11).is_some_and(|own| own == b"vestibule")
}

/// The fields that `Connection` names (RFC 9110, 7.6.1). Framing and routing are not the
/// client's to switch off.
fn connection_listed(headers: &HeaderMap, doomed: &mut Vec<HeaderName>) {
    for line in headers.get_all(header::CONNECTION) {
        for token in line.as_bytes().split(|&b| b == b',') {
            let Ok(name) = HeaderName::from_bytes(token.trim_ascii()) else { continue };
            if name != header::HOST && name != header::CONTENT_LENGTH {
                doomed.push(name);
            }
        }
    }
}

/// Where a request came from and what it asked for, to be told to the app.
pub(crate) struct Origin<'a> {
    pub(crate) client: Client,
    /// The peer's address, rendered once a connection.
    pub(crate) peer: &'a HeaderValue,
    pub(crate) peer_ip: IpAddr,
    pub(crate) scheme: Scheme,
    /// `host[:port]` as the client asked.
    pub(crate) authority: &'a HeaderValue,
    pub(crate) port: u16,
    pub(crate) request_id: &'a RequestId,
}

/// Sets the forwarding family, the request's id and the trace. What a believed peer said is
/// continued.
pub(crate) fn set_forwarding(headers: &mut HeaderMap, origin: &Origin<'_>) {
    let vouched = origin.client.vouched;
    let chain = if vouched { longer_chain(headers, origin) } else { origin.peer.clone() };
    headers.insert(X_FORWARDED_FOR, chain);
    let real_ip = if origin.client.ip == origin.peer_ip {
        origin.peer.clone()
    } else {
        header_value(origin.client.ip.to_string())
    };
    headers.insert(X_REAL_IP, real_ip);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(origin.scheme.as_str()));
    if !(vouched && stands_once(headers, &X_FORWARDED_HOST)) {
        headers.insert(X_FORWARDED_HOST, origin.authority.clone());
    }
    if !(vouched && stands_once(headers, &X_FORWARDED_PORT)) {
        let port = match origin.port {
            80 => HeaderValue::from_static("80"),
            443 => HeaderValue::from_static("443"),
            port => HeaderValue::from(port),
        };
        headers.insert(X_FORWARDED_PORT, port);
    }
    let id = origin.request_id.with_text(HeaderValue::from_str);
    headers.insert(X_REQUEST_ID, id.unwrap_or(HeaderValue::from_static("")));
    set_trace(headers, origin);
}

fn stands_once(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().count() == 1
}

/// Every line of the believed peer's chain, and the peer itself.
fn longer_chain(headers: &HeaderMap, origin: &Origin<'_>) -> HeaderValue {
    let mut chain = String::with_capacity(64);
    for line in headers.get_all(X_FORWARDED_FOR) {
        let _ = write!(chain, "{}, ", line.to_str().unwrap_or("unknown"));
    }
    chain.push_str(origin.peer.to_str().unwrap_or("unknown"));
    header_value(chain)
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

fn set_trace(headers: &mut HeaderMap, origin: &Origin<'_>) {
    let good = |value: &HeaderValue| {
        let text = value.as_bytes();
        text.len() == 55
            && text.starts_with(b"00-")
            && text.iter().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f' | b'-'))
    };
    if origin.client.vouched && headers.get(&TRACEPARENT).is_some_and(good) {
        return;
    }
    headers.remove(&TRACESTATE);
    let id = match origin.request_id {
        RequestId::Own(id) => *id,
        // A told id need not be 16 bytes; the trace gets one of its own.
        RequestId::Told(_) => uuid::Uuid::new_v4(),
    };
    let (high, low) = id.as_u64_pair();
    let span = (high ^ low.rotate_left(32)).max(1);
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
    let mut digits = uuid::Uuid::encode_buffer();
    let trace = id.as_simple().encode_lower(&mut digits).as_bytes();
    if let Some(place) = text.get_mut(3..35) {
        place.copy_from_slice(trace);
    }
    let span = uuid::Uuid::from_u64_pair(span, 0);
    let span = span.as_simple().encode_lower(&mut digits).as_bytes();
    if let (Some(place), Some(span)) = (text.get_mut(36..52), span.get(..16)) {
        place.copy_from_slice(span);
    }
    if let Ok(value) = HeaderValue::from_bytes(&text) {
        headers.insert(TRACEPARENT, value);
    }
}

/// A request id as a believed peer may send it: short and plain.
pub(crate) fn told_request_id(headers: &HeaderMap) -> Option<RequestId> {
    let told = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b);
    ((1..=128).contains(&told.len()) && told.bytes().all(plain))
        .then(|| RequestId::Told(told.into()))
}

/// Whether the app may not see `Authorization`: it is ours, and no foreign token that the
/// route passes on. One that did not decide (a key stood beside it) was not checked either.
pub(crate) fn keeps_authorization_back(reading: &Reading, route: &CompiledRoute) -> bool {
    reading.authorization_is_ours && !(route.route.pass_bearer && reading.is_foreign())
}

/// Takes our credentials off: what is left is what the app may see.
pub(crate) fn clean_credentials(headers: &mut HeaderMap, reading: &Reading, route: &CompiledRoute) {
    if keeps_authorization_back(reading, route) {
        headers.remove(header::AUTHORIZATION);
    }
    if reading.api_key_is_ours {
        headers.remove(X_API_KEY);
    }
    if !reading.has_own_cookies && headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let cookies = app_cookies(headers);
    headers.remove(header::COOKIE);
    if let Some(Ok(value)) = cookies.map(|cookies| HeaderValue::from_bytes(&cookies)) {
        headers.insert(header::COOKIE, value);
    }
}

/// The request's cookies without ours, several lines (HTTP/2) as one.
pub(crate) fn app_cookies(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut joined: Vec<u8> = Vec::new();
    for line in headers.get_all(header::COOKIE) {
        if let Some(rest) = cookie::without_ours(line.as_bytes()) {
            if !joined.is_empty() {
                joined.extend_from_slice(b"; ");
            }
            joined.extend_from_slice(&rest);
        }
    }
    (!joined.is_empty()).then_some(joined)
}

/// Applies a route's edits.
pub(crate) fn edit(headers: &mut HeaderMap, edits: &Edits) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in &edits.set {
        headers.insert(name.clone(), value.clone());
    }
}

/// Takes off an app's answer what ends at this hop and what only Vestibule may say.
/// `by_cookie`: the request's credential came by cookie, so the answer is one person's.
pub(crate) fn clean_answer(headers: &mut HeaderMap, by_cookie: bool) {
    let mut doomed: Vec<HeaderName> = Vec::new();
    let (mut connection, mut cookies, mut cache_control) = (false, false, false);
    for name in headers.keys() {
        match name.as_str() {
            "connection" => connection = true,
            "set-cookie" => cookies = true,
            "cache-control" => cache_control = true,
            "keep-alive" | "proxy-authenticate" | "proxy-connection" | "transfer-encoding"
            | "upgrade" | "x-vestibule" => doomed.push(name.clone()),
            _ => {}
        }
    }
    if connection {
        connection_listed(headers, &mut doomed);
        doomed.push(header::CONNECTION);
    }
    for name in doomed {
        headers.remove(name);
    }
    if cookies {
        keep_only_app_cookies(headers);
    }
    if by_cookie && !cache_control {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

fn keep_only_app_cookies(headers: &mut HeaderMap) {
    let ours = |value: &HeaderValue| {
        // A browser sends a nameless cookie as its bare value, which may look like a name.
        let shift = |b: &u8| *b == b'=' || b.is_ascii_whitespace();
        let start = value.as_bytes().iter().take_while(|b| shift(b)).count();
        let named = value.as_bytes().get(start..).unwrap_or_default();
        let name = named.split(|&b| b == b'=' || b == b';').next().unwrap_or_default();
        cookie::is_ours(name.trim_ascii())
    };
    if !headers.get_all(header::SET_COOKIE).iter().any(ours) {
        return;
    }
    let kept: Vec<HeaderValue> =
        headers.get_all(header::SET_COOKIE).iter().filter(|value| !ours(value)).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for value in kept {
        headers.append(header::SET_COOKIE, value);
    }
}

/// Identity headers ready to be put on.
#[derive(Debug)]
pub(crate) struct IdentityHeaders {
    pub(crate) values: Vec<(HeaderName, HeaderValue)>,
    renew_at: UnixMillis,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    generation: u64,
    route: u32,
    scheme: Scheme,
    host: Host,
    port: u16,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Key, Rc<IdentityHeaders>>,
    old: HashMap<Key, Rc<IdentityHeaders>>,
}

/// A worker's memory of rendered headers: bounded, the least recently made go first.
#[derive(Default)]
pub(crate) struct Rendered(RefCell<Generations>);

/// The app as the browser sees it.
#[derive(Clone, Copy)]
pub(crate) struct AppOrigin<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) host: &'a Host,
    pub(crate) port: u16,
}

impl Rendered {
    /// The headers that tell an app who it is, signed anew under half an assertion's life.
    pub(crate) fn identity(
        &self,
        authn: &Authn,
        route: &CompiledRoute,
        identity: &Identity,
        app: AppOrigin<'_>,
        now: UnixMillis,
    ) -> Rc<IdentityHeaders> {
        let AppOrigin { scheme, host, port } = app;
        let key = Key {
            generation: identity.generation,
            route: route.uid,
            scheme,
            host: host.clone(),
            port,
        };
        let mut kept = self.0.borrow_mut();
        let found = kept.young.get(&key).or_else(|| kept.old.get(&key)).cloned();
        if let Some(found) = found.filter(|found| now < found.renew_at) {
            return found;
        }
        let made = Rc::new(render(authn, route, identity, app, now));
        if kept.young.len() >= RENDERED_MAX {
            kept.old = std::mem::take(&mut kept.young);
        }
        kept.young.insert(key, made.clone());
        made
    }
}

fn render(
    authn: &Authn,
    route: &CompiledRoute,
    identity: &Identity,
    app: AppOrigin<'_>,
    now: UnixMillis,
) -> IdentityHeaders {
    let mut headers =
        IdentityHeaders { values: Vec::with_capacity(6), renew_at: UnixMillis(i64::MAX) };
    if identity.account.is_some() && identity.status != Status::Active {
        return headers;
    }
    let (groups, truncated) = told_groups(route, identity);
    for (name, value) in preset_values(route.route.preset, identity, &groups.join(",")) {
        headers.values.push((HeaderName::from_static(name), plain_value(&value)));
    }
    if truncated {
        headers.values.push((REMOTE_GROUPS_TRUNCATED, HeaderValue::from_static("true")));
    }
    headers.values.extend(provider_token(route.route.provider_token, identity));
    if route.route.assertion {
        let origin = CompiledRoute::app_origin(app.scheme, app.host, app.port);
        if let Some(assertion) = authn.sign_assertion(identity, &origin, &groups, now)
            && let Ok(value) = HeaderValue::from_str(&assertion.token)
        {
            headers.values.push((X_VESTIBULE_ASSERTION, value));
            headers.renew_at = assertion.renew_at;
        }
    }
    headers
}

/// The token of the sign-in's provider that the route passes on. A refreshed one comes with a
/// new generation of the identity.
fn provider_token(which: ProviderToken, identity: &Identity) -> Option<(HeaderName, HeaderValue)> {
    let tokens = identity.provider_tokens.as_ref()?;
    let (name, token) = match which {
        ProviderToken::Access => (X_FORWARDED_ACCESS_TOKEN, &tokens.access_token),
        ProviderToken::Id => (X_FORWARDED_ID_TOKEN, tokens.id_token.as_ref()?),
        ProviderToken::None => return None,
    };
    let mut value = HeaderValue::from_str(token.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

fn preset_values(preset: Preset, identity: &Identity, groups: &str) -> Vec<(&'static str, String)> {
    let user = identity.username.to_string();
    let email = identity.email.as_deref().unwrap_or("").to_owned();
    let groups = groups.to_owned();
    match preset {
        Preset::None => Vec::new(),
        Preset::Remote => vec![
            ("remote-user", user),
            ("remote-email", email),
            ("remote-name", identity.name.to_string()),
            ("remote-groups", groups),
        ],
        Preset::XAuthRequest => vec![
            ("x-auth-request-user", user.clone()),
            ("x-auth-request-email", email),
            ("x-auth-request-groups", groups),
            ("x-auth-request-preferred-username", user),
        ],
        Preset::XForwarded => vec![
            ("x-forwarded-user", user.clone()),
            ("x-forwarded-email", email),
            ("x-forwarded-groups", groups),
            ("x-forwarded-preferred-username", user),
        ],
    }
}

/// The groups that the route tells; beyond the bound only those that a rule names.
fn told_groups<'a>(route: &CompiledRoute, identity: &'a Identity) -> (Vec<&'a str>, bool) {
    let told = |group: &&str| route.route.told_groups.iter().any(|glob| glob_matches(glob, group));
    let all: Vec<&str> = identity.groups.iter().map(|group| group.as_str()).filter(told).collect();
    let bytes = |groups: &[&str]| groups.iter().map(|group| group.len() + 1).sum::<usize>();
    if bytes(&all) <= MAX_GROUP_BYTES {
        return (all, false);
    }
    let mut named: Vec<&str> = all.into_iter().filter(|group| route.names_group(group)).collect();
    while bytes(&named) > MAX_GROUP_BYTES {
        named.pop();
    }
    (named, true)
}

/// `*` is any run of characters.
fn glob_matches(glob: &str, text: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = text.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    text.ends_with(last)
}

/// UTF-8 without control characters.
fn plain_value(text: &str) -> HeaderValue {
    let value = HeaderValue::from_bytes(text.as_bytes());
    value.unwrap_or_else(|_| {
        let plain: String = text.chars().filter(|c| !c.is_control()).collect();
        HeaderValue::from_bytes(plain.as_bytes()).unwrap_or(HeaderValue::from_static(""))
    })
}

/// Puts identity headers on a request.
pub(crate) fn assert_identity(headers: &mut HeaderMap, identity: &IdentityHeaders) {
    for (name, value) in &identity.values {
        headers.insert(name.clone(), value.clone());
    }
}

/// Every managed name, empty where the route's preset does not tell it: what a hook answers.
pub(crate) fn assert_everything(headers: &mut HeaderMap, identity: Option<&IdentityHeaders>) {
    for name in MANAGED {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(""));
    }
    if let Some(identity) = identity {
        assert_identity(headers, identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b2_b4_nothing_a_client_says_about_itself_survives() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "a"),
            ("connection", "x-keep, Remote-User, close"),
            ("remote-user", "root"),
            ("remote_user", "root"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x_forwarded_proto", "https"),
            ("x-vestibule-internal", "1"),
            ("forwarded", "for=6.6.6.6"),
            ("x-keep", "1"),
            ("te", "trailers"),
            ("proxy", "http://evil"),
            ("accept", "*/*"),
            ("x-custom", "1"),
            ("content-length", "3"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut vouched = headers.clone();
        strip_request(&mut headers, false);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-length", "host", "x-custom"]);
        strip_request(&mut vouched, true);
        assert!(vouched.contains_key("x-forwarded-for") && vouched.contains_key("forwarded"));
        assert!(!vouched.contains_key("x_forwarded_proto") && !vouched.contains_key("remote-user"));
    }

    #[test]
    fn b10_control_characters_are_taken_out_of_a_name() {
        assert_eq!(
            plain_value("a\r\nb\0c é"),
            HeaderValue::from_bytes("abc é".as_bytes()).unwrap()
        );
    }

    #[test]
    fn globs_tell_groups() {
        for (glob, text, holds) in [
            ("*", "a", true),
            ("app-*", "app-x", true),
            ("app-*", "xapp-", false),
            ("*-ro", "a-ro", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob_matches(glob, text), holds, "{glob} {text}");
        }
    }
}
