//! Path patterns of rules (CONTRACT section 3, "Patterns").
//!
//! Not regular expressions, and no `**`: the language stays small enough that `check` can
//! prove one pattern to lie within another ([`PathPattern::covers`]).

use std::fmt;

use crate::path::NormalPath;

/// A compiled pattern.
///
/// `*` is any run of characters within one segment; a final `/*` is the path itself, with
/// or without `/`, and everything below; a pattern without `*` also matches with one final
/// `/`; `/` is exactly `/`.
///
/// ```
/// use vestibule_core::path::NormalPath;
/// use vestibule_core::pattern::PathPattern;
///
/// let path = |text| NormalPath::parse(text).unwrap().0;
/// let below = PathPattern::parse("/t/*").unwrap();
/// assert!(below.matches(&path("/t"), false) && below.matches(&path("/t/a/b.jpg"), false));
/// assert!(!below.matches(&path("/tiles"), false));
/// assert!(PathPattern::parse("/a?b=c").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: String,
    /// What must match to the end; in normal form. Without the final `/*` where there is one.
    head: String,
    /// What may follow the head.
    tail: Tail,
    /// Whether `head` holds a `*`.
    globs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tail {
    /// Nothing, or everything from a `/` on.
    Below,
    /// Nothing.
    Nothing,
    /// Nothing, or one `/`.
    Slash,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(pub String);

impl PathPattern {
    /// Compiles a pattern. Fails on `?`, `#`, `**`, no leading slash, or whatever has no
    /// normal form; the message says what to write instead.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let refuse = |why: String| Err(InvalidPattern(why));
        if text.contains(['?', '#']) {
            return refuse(format!(
                "`{text}`: queries and fragments are never matched; leave out `?` and `#` and what follows"
            ));
        }
        if text.contains("**") {
            return refuse(format!(
                "`{text}`: there is no `**`; a final `/*` already covers everything below"
            ));
        }
        if !text.starts_with('/') {
            return refuse(format!("`{text}`: a pattern starts with `/`; write `/{text}`"));
        }
        let (normal, _) = NormalPath::parse(text).map_err(|bad| {
            InvalidPattern(format!("`{text}` holds {bad}; no request path ever does, so write it without (percent-encoded where it must stand)"))
        })?;
        let (head, tail) = match normal.as_str().strip_suffix("/*") {
            Some(head) => (head, Tail::Below),
            None => (normal.as_str(), Tail::Nothing),
        };
        let globs = head.contains('*');
        let tail = match tail {
            Tail::Nothing if !globs && !head.ends_with('/') => Tail::Slash,
            tail => tail,
        };
        Ok(Self { text: text.to_owned(), head: head.to_owned(), tail, globs })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path matches; `ignore_case` folds ASCII.
    pub fn matches(&self, path: &NormalPath, ignore_case: bool) -> bool {
        if self.globs {
            self.glob(path.as_str(), ignore_case)
        } else {
            self.literal(path.as_str(), ignore_case)
        }
    }

    /// Whether every path that `other` matches is matched by this pattern too. May say no
    /// where the truth is yes, never the other way round.
    pub fn covers(&self, other: &Self, ignore_case: bool) -> bool {
        let same = |a: &str, b: &str| if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b };
        let tail_covered =
            self.tail == other.tail || self.tail == Tail::Below || other.tail == Tail::Nothing;
        if same(&self.head, &other.head) && tail_covered {
            return true;
        }
        // `other` as a text: its stars are characters that only a star (or `Below`) of ours
        // can stand for, because a literal `*` never meets one of theirs by accident.
        if self.tail == Tail::Below {
            return self.glob(&other.head, ignore_case);
        }
        other.tail == Tail::Nothing && self.globs && self.glob(&other.head, ignore_case)
    }

    /// Whether every path of a route with this prefix is matched.
    pub fn covers_prefix(&self, prefix: &str, ignore_case: bool) -> bool {
        self.tail == Tail::Below
            && self.glob(prefix.strip_suffix('/').unwrap_or(prefix), ignore_case)
    }

    /// Whether some path of a route with this prefix can match. May say yes where the truth
    /// is no, never the other way round.
    pub fn reaches_prefix(&self, prefix: &str, ignore_case: bool) -> bool {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let mut pattern = self.head.split('/');
        for segment in prefix.split('/') {
            match pattern.next() {
                Some(glob) if segment_matches(glob, segment, ignore_case) => {}
                Some(_) => return false,
                None => return self.tail == Tail::Below,
            }
        }
        true
    }

    /// For `/x*`, which stops at the next `/`: the `/x/*` that was probably meant.
    pub fn did_you_mean(&self) -> Option<String> {
        let segment = self.text.rsplit('/').next()?;
        let name =
            segment.strip_suffix('*').filter(|name| !name.is_empty() && !name.contains('*'))?;
        let before = self.text.strip_suffix(segment)?;
        Some(format!("{before}{name}/*"))
    }

    fn literal(&self, path: &str, ignore_case: bool) -> bool {
        let Some((start, rest)) = path.split_at_checked(self.head.len()) else { return false };
        let equal =
            if ignore_case { start.eq_ignore_ascii_case(&self.head) } else { start == self.head };
        equal && self.tail.takes(rest)
    }

    fn glob(&self, path: &str, ignore_case: bool) -> bool {
        let mut rest = path;
        for (index, glob) in self.head.split('/').enumerate() {
            if index > 0 {
                match rest.strip_prefix('/') {
                    Some(after) => rest = after,
                    None => return false,
                }
            }
            let end = rest.find('/').unwrap_or(rest.len());
            let (segment, after) = rest.split_at(end);
            if !segment_matches(glob, segment, ignore_case) {
                return false;
            }
            rest = after;
        }
        self.tail.takes(rest)
    }
}

impl Tail {
    fn takes(self, rest: &str) -> bool {
        match self {
            Self::Below => rest.is_empty() || rest.starts_with('/'),
            Self::Nothing => rest.is_empty(),
            Self::Slash => rest.is_empty() || rest == "/",
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether the text matches, where `*` is any run of characters (also none). Case counts.
///
/// ```
/// use vestibule_core::pattern::matches_glob;
///
/// assert!(matches_glob("app-*", "app-editors") && matches_glob("*", ""));
/// assert!(!matches_glob("app-*", "my-app-editors"));
/// ```
pub fn matches_glob(glob: &str, text: &str) -> bool {
    segment_matches(glob, text, false)
}

/// Wildcard match that goes back to the last star only: linear for one star, never worse
/// than the product of both lengths.
fn segment_matches(glob: &str, text: &str, ignore_case: bool) -> bool {
    let same = |a: u8, b: u8| if ignore_case { a.eq_ignore_ascii_case(&b) } else { a == b };
    let (mut glob, mut text) = (glob.as_bytes(), text.as_bytes());
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (glob, text) {
            ([b'*', after @ ..], _) => {
                glob = after;
                retry = Some((after, text));
                continue;
            }
            ([a, after_glob @ ..], [b, after_text @ ..]) if same(*a, *b) => {
                (glob, text) = (after_glob, after_text);
                continue;
            }
            ([], []) => return true,
            _ => {}
        }
        match retry {
            Some((after_star, [_, shorter @ ..])) => {
                (glob, text) = (after_star, shorter);
                retry = Some((after_star, shorter));
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).unwrap()
    }

    fn matches(text: &str, path: &str) -> bool {
        pattern(text).matches(&NormalPath::parse(path).unwrap().0, false)
    }

    #[test]
    fn seed_003_28_a_slash_is_exactly_the_root() {
        assert!(matches("/", "/"));
        assert!(!matches("/", "/other"));
    }

    #[test]
    fn seed_003_31_seed_003_39_a_final_star_is_the_path_itself_and_everything_below() {
        for path in ["/t", "/t/", "/t/x", "/t/w_200/a/b.jpg"] {
            assert!(matches("/t/*", path), "{path}");
        }
        for path in ["/", "/tx", "/tx/y", "/T/x", "/a/t/x"] {
            assert!(!matches("/t/*", path), "{path}");
        }
        assert!(matches("/*", "/") && matches("/*", "/a/b"));
    }

    #[test]
    fn seed_003_33_a_star_stays_within_its_segment() {
        assert!(matches("/v/*/size", "/v/a.mp4/size"));
        assert!(!matches("/v/*/size", "/v/a/b.mp4/size"));
        assert!(!matches("/v/*/size", "/v/a.mp4/size/"));
        assert!(matches("/v/*.mp4/*", "/v/a.mp4/x/y") && matches("/v/*.mp4/*", "/v/.mp4"));
        assert!(!matches("/v/*.mp4/*", "/v/a.mp3/x"));
        assert!(matches("/x*", "/x") && matches("/x*", "/xyz"));
        assert!(!matches("/x*", "/x/") && !matches("/x*", "/xyz/a"));
        assert!(matches("/a*b*c", "/abbcbc") && !matches("/a*b*c", "/abbcb"));
    }

    #[test]
    fn c7_a_pattern_ends_at_a_segment_border() {
        assert!(matches("/api", "/api") && matches("/api", "/api/"));
        for path in ["/apiX", "/api%2f", "/api/x", "/api//", "/ap"] {
            assert!(!matches("/api", path), "{path}");
        }
        for path in ["/apiX", "/api%2f", "/api%2fx", "/api;x"] {
            assert!(!matches("/api/*", path), "{path}");
        }
        assert!(matches("/api/", "/api/"));
        assert!(!matches("/api/", "/api") && !matches("/api/", "/api//"));
    }

    #[test]
    fn c1_neither_query_nor_fragment_marks_make_a_path_match() {
        for path in ["/admin%23/public", "/admin%3F/public", "/admin%3Fx=/public"] {
            assert!(!matches("/public", path) && !matches("/public/*", path), "{path}");
            assert!(!matches("/*/public/x", path));
        }
    }

    #[test]
    fn patterns_are_read_like_paths() {
        assert!(matches("/%61dmin", "/admin") && matches("/caf%c3%a9", "/caf%C3%A9"));
        assert!(matches("/a%2ab", "/a%2Ab") && !matches("/a%2ab", "/axb"));
        let folded = pattern("/Admin/*");
        let path = NormalPath::parse("/aDMIN/Users").unwrap().0;
        assert!(folded.matches(&path, true) && !folded.matches(&path, false));
        assert!(pattern("/*.PHP").matches(&NormalPath::parse("/a.php").unwrap().0, true));
    }

    #[test]
    fn what_is_no_pattern_is_answered_with_what_to_write() {
        for (bad, says) in [
            ("/a?b", "leave out `?`"),
            ("/a#b", "leave out `?`"),
            ("/a/**", "a final `/*`"),
            ("/**/a", "a final `/*`"),
            ("admin", "write `/admin`"),
            ("*", "write `/*`"),
            ("", "write `/`"),
            ("/a/../b", "segment"),
            ("/a%zz", "escape"),
            ("/é", "percent-encoded"),
            ("/a b", "percent-encoded"),
        ] {
            let error = PathPattern::parse(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{bad:?}: {error}");
        }
    }

    #[test]
    fn one_pattern_lies_within_another() {
        let covers = |a: &str, b: &str| pattern(a).covers(&pattern(b), false);
        for (wide, narrow) in [
            ("/*", "/"),
            ("/*", "/a/*/b"),
            ("/a/*", "/a"),
            ("/a/*", "/a/"),
            ("/a/*", "/a/b/*"),
            ("/a/*", "/a/*/c"),
            ("/a", "/a"),
            ("/a*", "/ab*"),
            ("/*/b/*", "/a/b"),
            ("/a*/*", "/ab/*"),
        ] {
            assert!(covers(wide, narrow), "{wide} covers {narrow}");
        }
        for (a, b) in [
            ("/", "/*"),
            ("/a", "/a/*"),
            ("/a/b/*", "/a/*"),
            ("/a*", "/a"), // `/a` also is `/a/`
            ("/a/*", "/ab"),
            ("/ab*", "/a*"),
            ("/*/b", "/a/*"),
        ] {
            assert!(!covers(a, b), "{a} does not cover {b}");
        }
        assert!(pattern("/A/*").covers(&pattern("/a/b"), true));
    }

    #[test]
    fn a_pattern_is_held_against_a_prefix() {
        assert!(
            pattern("/*").covers_prefix("/", false) && pattern("/*").covers_prefix("/a", false)
        );
        assert!(pattern("/a/*").covers_prefix("/a", false));
        assert!(
            !pattern("/a").covers_prefix("/a", false)
                && !pattern("/a/b/*").covers_prefix("/a", false)
        );
        assert!(
            pattern("/a/b").reaches_prefix("/a", false)
                && pattern("/*").reaches_prefix("/a", false)
        );
        assert!(
            pattern("/x/*").reaches_prefix("/", false) && pattern("/").reaches_prefix("/", false)
        );
        assert!(
            !pattern("/b/*").reaches_prefix("/a", false)
                && !pattern("/").reaches_prefix("/a", false)
        );
        assert!(!pattern("/a").reaches_prefix("/a/b", false));
    }

    #[test]
    fn a_star_at_the_end_of_a_name_is_asked_about() {
        assert_eq!(pattern("/storage*").did_you_mean().as_deref(), Some("/storage/*"));
        assert_eq!(pattern("/a/b*").did_you_mean().as_deref(), Some("/a/b/*"));
        for fine in ["/*", "/a/*", "/a", "/*.jpg", "/a*/b"] {
            assert_eq!(pattern(fine).did_you_mean(), None, "{fine}");
        }
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let glob = "*a".repeat(60);
        assert!(!matches_glob(&glob, &"b".repeat(5000)));
        assert!(!matches_glob(&glob, &format!("{}b", "a".repeat(5000))));
    }
}
