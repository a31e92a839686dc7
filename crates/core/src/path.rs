//! The single reading of a request path: what is matched is what is forwarded.
//!
//! Not a resolver: nothing is collapsed, resolved or repaired. Only the escapes of
//! unreserved characters are decoded and hex digits put in upper case; what two readers
//! could understand differently has no normal form at all. Dot segments are looked for as
//! a lenient app might read them: after further decodings, with `\` and `%2F` as
//! separators, and with a `;` parameter cut off.

use std::fmt;

/// A path in normal form (CONTRACT section 3, "Paths"). Starts with `/`, holds no query.
///
/// ```
/// use vestibule_core::path::{BadPath, NormalPath};
///
/// let (path, needs) = NormalPath::parse("/%61pp/a%c3%a9").unwrap();
/// assert_eq!(path.as_str(), "/app/a%C3%A9");
/// assert_eq!(needs, Default::default());
/// assert_eq!(NormalPath::parse("/public/%2e%2e/admin"), Err(BadPath::DotSegment));
/// assert!(NormalPath::parse("/a%2Fb").unwrap().1.encoded_slash);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NormalPath(String);

/// What a route permits that is refused by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathAllowances {
    /// `//`
    pub double_slash: bool,
    /// `%2F`
    pub encoded_slash: bool,
    /// `;` and `%3B`
    pub semicolon: bool,
}

/// Why a path has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// `%` without two hex digits.
    #[error("a broken percent escape")]
    BadEscape,
    /// `\` or `%5C`.
    #[error("a backslash")]
    Backslash,
    /// A control character, a byte from 0x80 on, `%00`, or a raw `#`.
    #[error("a character that cannot stand in a path")]
    BadCharacter,
    /// A `.` or `..` segment, also after one or two further decodings.
    #[error("a `.` or `..` segment")]
    DotSegment,
    /// `//` where it is not permitted.
    #[error("an empty segment")]
    DoubleSlash,
    /// `%2F` where it is not permitted.
    #[error("an encoded slash")]
    EncodedSlash,
    /// It does not start with `/`.
    #[error("no leading slash")]
    NotAbsolute,
    /// `;` or `%3B` where it is not permitted.
    #[error("a semicolon")]
    Semicolon,
}

/// What [`NormalPath::parse`] found besides the path: which allowances it needs.
pub type Needs = PathAllowances;

impl NormalPath {
    /// Brings a raw path (without query) to normal form, whatever a route may permit, and
    /// says which allowances it needs. The route is known only after its host is matched,
    /// so that check comes second: [`Needs::within`].
    pub fn parse(raw: &str) -> Result<(Self, Needs), BadPath> {
        if !raw.starts_with('/') {
            return Err(BadPath::NotAbsolute);
        }
        let seen = Seen::scan(raw.as_bytes())?;
        let path = if seen.escape { normalise(raw)? } else { raw.to_owned() };
        if has_dot_segment(path.as_bytes()) {
            return Err(BadPath::DotSegment);
        }
        if !seen.escape {
            let needs = Needs {
                double_slash: seen.double_slash,
                encoded_slash: false,
                semicolon: seen.semicolon,
            };
            return Ok((Self(path), needs));
        }
        if hides_dot_segment(&path) {
            return Err(BadPath::DotSegment);
        }
        let needs = Needs {
            double_slash: seen.double_slash,
            encoded_slash: path.contains("%2F"),
            semicolon: seen.semicolon || path.contains("%3B"),
        };
        Ok((Self(path), needs))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PathAllowances {
    /// Whether everything needed is allowed; else the first thing that is not.
    pub fn within(self, allowed: Self) -> Result<(), BadPath> {
        if self.double_slash && !allowed.double_slash {
            return Err(BadPath::DoubleSlash);
        }
        if self.encoded_slash && !allowed.encoded_slash {
            return Err(BadPath::EncodedSlash);
        }
        if self.semicolon && !allowed.semicolon {
            return Err(BadPath::Semicolon);
        }
        Ok(())
    }
}

/// What one pass over the raw bytes found.
#[derive(Default)]
struct Seen {
    escape: bool,
    double_slash: bool,
    semicolon: bool,
}

impl Seen {
    fn scan(raw: &[u8]) -> Result<Self, BadPath> {
        let mut seen = Self::default();
        let mut previous = 0;
        for &byte in raw {
            match byte {
                b'/' => seen.double_slash |= previous == b'/',
                b'%' => seen.escape = true,
                b';' => seen.semicolon = true,
                b'\\' => return Err(BadPath::Backslash),
                // A `?` would be a query that somebody forgot to cut off.
                0..=b' ' | 0x7f.. | b'#' | b'?' => return Err(BadPath::BadCharacter),
                _ => {}
            }
            previous = byte;
        }
        Ok(seen)
    }
}

/// Decodes escapes of unreserved characters (RFC 3986, 2.3), puts the others in upper case.
fn normalise(raw: &str) -> Result<String, BadPath> {
    let mut path = String::with_capacity(raw.len());
    let mut parts = raw.split('%');
    path.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let byte = escaped_byte(part.as_bytes()).ok_or(BadPath::BadEscape)?;
        match byte {
            0 => return Err(BadPath::BadCharacter),
            b'\\' => return Err(BadPath::Backslash),
            b'-' | b'.' | b'_' | b'~' => path.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => path.push(char::from(byte)),
            _ => {
                path.push('%');
                path.extend(part.bytes().take(2).map(|b| char::from(b.to_ascii_uppercase())));
            }
        }
        path.push_str(part.get(2..).unwrap_or_default());
    }
    Ok(path)
}

/// The byte that two leading hex digits stand for.
fn escaped_byte(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = digits else { return None };
    let high = char::from(*high).to_digit(16)?;
    let low = char::from(*low).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

/// Whether a segment is `.` or `..`, where `/` and `\` separate and a `;` ends the name.
fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|b| matches!(b, b'/' | b'\\')).any(|segment| {
        let rest = match segment {
            [b'.', b'.', rest @ ..] | [b'.', rest @ ..] => rest,
            _ => return false,
        };
        matches!(rest, [] | [b';', ..])
    })
}

/// Whether a dot segment shows once escapes are read again: the `%2F` and `%3B` of the
/// normal form, and whatever one or two further decodings uncover.
fn hides_dot_segment(path: &str) -> bool {
    const FURTHER_DECODINGS: usize = 2;
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..=FURTHER_DECODINGS {
        let decoded = decode_once(&bytes);
        if has_dot_segment(&decoded) {
            return true;
        }
        if decoded.len() == bytes.len() {
            return false;
        }
        bytes = decoded;
    }
    false
}

/// Decodes every escape once; a broken one stays. Two-byte overlong UTF-8 of ASCII is read
/// as what careless decoders make of it.
fn decode_once(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let byte = match escaped_byte(tail) {
            Some(byte) if *first == b'%' => {
                rest = tail.get(2..).unwrap_or_default();
                byte
            }
            _ => *first,
        };
        match decoded.last_mut() {
            Some(lead @ (0xc0 | 0xc1)) if byte & 0xc0 == 0x80 => {
                *lead = ((*lead & 1) << 6) | (byte & 0x3f);
            }
            _ => decoded.push(byte),
        }
    }
    decoded
}

impl fmt::Display for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<String, BadPath> {
        NormalPath::parse(raw).map(|(path, _)| path.0)
    }

    fn needs(raw: &str) -> (bool, bool, bool) {
        let needs = NormalPath::parse(raw).unwrap().1;
        (needs.double_slash, needs.encoded_slash, needs.semicolon)
    }

    #[test]
    fn c2_the_normal_form_decodes_unreserved_characters_only() {
        for (raw, normal) in [
            ("/", "/"),
            ("/a/b.c/", "/a/b.c/"),
            ("/%61%5F%7e%2D%2e1", "/a_~-.1"),
            ("/a%20b", "/a%20b"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/%2a%24%40%3a", "/%2A%24%40%3A"),
            ("/a*b!$&'()+,=:@", "/a*b!$&'()+,=:@"),
            ("/%25zz", "/%25zz"),
            ("/%252f", "/%252f"),
            ("/a|b^c{d}[e]\"<>`", "/a|b^c{d}[e]\"<>`"),
            ("/...", "/..."),
            ("/.a/..b/c./d..", "/.a/..b/c./d.."),
            ("/.well-known/x", "/.well-known/x"),
            ("/%0a%7f", "/%0A%7F"),
        ] {
            assert_eq!(parse(raw).as_deref(), Ok(normal), "{raw}");
        }
    }

    #[test]
    fn c2_003_61_dot_segments_have_no_normal_form_however_they_are_written() {
        for raw in [
            "/..",
            "/.",
            "/a/..",
            "/a/../b",
            "/a/./b",
            "/./",
            "/a/..;/b",
            "/a/..;x=y/b",
            "/a/.;",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/%2e",
            "/a/%252e%252e/b",
            "/a/.%252e",
            "/a/%25252e%25252e/b",
            "/a/..%2fb",
            "/a%2f..%2fb",
            "/a%2f%2e%2e",
            "/a%252f..%252fb",
            "/a/..%252fb",
            "/a/..%255cb",
            "/a/..%3Bx/b",
            "/a/..%253bx/b",
            "/a/%c0%ae%c0%ae/b",
            "/a%c0%af..",
            "/a/%252e%252e%252fb",
        ] {
            assert_eq!(parse(raw), Err(BadPath::DotSegment), "{raw}");
        }
    }

    #[test]
    fn c1_c2_what_cannot_stand_in_a_path_is_refused() {
        for (raw, error) in [
            ("", BadPath::NotAbsolute),
            ("*", BadPath::NotAbsolute),
            ("a/b", BadPath::NotAbsolute),
            ("http://a/b", BadPath::NotAbsolute),
            ("/a%", BadPath::BadEscape),
            ("/a%2", BadPath::BadEscape),
            ("/a%2g", BadPath::BadEscape),
            ("/a%u002e", BadPath::BadEscape),
            ("/a%+1", BadPath::BadEscape),
            ("/a%%41", BadPath::BadEscape),
            ("/a%é", BadPath::BadCharacter),
            ("/a\\b", BadPath::Backslash),
            ("/a%5cb", BadPath::Backslash),
            ("/a%5Cb", BadPath::Backslash),
            ("/a%00", BadPath::BadCharacter),
            ("/a\0", BadPath::BadCharacter),
            ("/a\tb", BadPath::BadCharacter),
            ("/a\r\nb", BadPath::BadCharacter),
            ("/a b", BadPath::BadCharacter),
            ("/a\u{7f}", BadPath::BadCharacter),
            ("/é", BadPath::BadCharacter),
            ("/a\u{2024}\u{2024}/b", BadPath::BadCharacter),
            ("/admin#/public", BadPath::BadCharacter),
            ("/admin?x=/public", BadPath::BadCharacter),
        ] {
            assert_eq!(parse(raw), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn c1_an_encoded_query_or_fragment_mark_stays_part_of_the_path() {
        assert_eq!(parse("/admin%23/public").as_deref(), Ok("/admin%23/public"));
        assert_eq!(parse("/admin%3f/public").as_deref(), Ok("/admin%3F/public"));
    }

    #[test]
    fn c3_c4_slashes_and_semicolons_pass_only_where_a_route_says_so() {
        assert_eq!(needs("//a"), (true, false, false));
        assert_eq!(needs("/a//"), (true, false, false));
        assert_eq!(needs("/a%2fb"), (false, true, false));
        assert_eq!(needs("/admin;x=y/a"), (false, false, true));
        assert_eq!(needs("/;x/admin"), (false, false, true));
        assert_eq!(needs("/a%3bb"), (false, false, true));
        assert_eq!(needs("/a;b%41"), (false, false, true));
        assert_eq!(needs("/a%252fb%253b"), (false, false, false));
        let all = PathAllowances { double_slash: true, encoded_slash: true, semicolon: true };
        assert_eq!(all.within(all), Ok(()));
        assert_eq!(all.within(PathAllowances::default()), Err(BadPath::DoubleSlash));
        let only = PathAllowances { encoded_slash: true, ..PathAllowances::default() };
        assert_eq!(only.within(PathAllowances { double_slash: true, ..only }), Ok(()));
        assert_eq!(only.within(PathAllowances::default()), Err(BadPath::EncodedSlash));
        let only = PathAllowances { semicolon: true, ..PathAllowances::default() };
        assert_eq!(only.within(PathAllowances::default()), Err(BadPath::Semicolon));
    }
}
