//! `redirect_uri`: what is sent, and the one form in which a callback is taken.

use super::place::split_url;
use super::{ProviderContext, ProviderSpec, SpecProblem, said};
use crate::path::{NormalPath, PathAllowances};

const KEY: &str = "redirect_uri";

/// What the spec names, byte for byte, else the default for its id.
pub(super) fn resolve(
    spec: &ProviderSpec,
    context: &ProviderContext<'_>,
    problems: &mut Vec<SpecProblem>,
) -> String {
    let derived = context.default_redirect_uri.replace("<id>", &spec.id);
    let uri = said(&spec.redirect_uri).unwrap_or(&derived);
    if let Some(problem) = problem(uri, context, &derived) {
        // A bad id makes a bad path, and was reported already.
        if said(&spec.redirect_uri).is_some() || problems.iter().all(|p| p.key != "id") {
            problems.push(problem);
        }
    }
    uri.to_owned()
}

/// Providers compare redirect URIs byte for byte, and so do we: what could be spelled in two
/// ways is refused.
fn problem(uri: &str, context: &ProviderContext<'_>, derived: &str) -> Option<SpecProblem> {
    let portal = context.portal.to_string();
    let bad = |why: String, help: String| Some(SpecProblem::new(KEY, "bad-value", why, help));
    let Some((origin, path)) = split_url(uri) else {
        return bad(
            format!(
                "`{KEY}` is `{uri}`, which is no absolute URL without query, fragment and credentials"
            ),
            format!("write for example `{derived}`, or leave it out"),
        );
    };
    if origin != *context.portal {
        return Some(SpecProblem::new(
            KEY,
            "foreign-redirect-uri",
            format!(
                "`{KEY}` is {uri}, but the portal is {portal}: the answer would never reach it"
            ),
            format!("write `{portal}{path}`, or let `server.portal_url` name that host"),
        ));
    }
    let normal = NormalPath::parse(path)
        .ok()
        .filter(|(_, needs)| needs.within(PathAllowances::default()).is_ok());
    let normal = match &normal {
        Some((normal, _)) if normal.as_str() != "/" => normal.as_str(),
        _ => {
            return bad(
                format!("`{KEY}` is {uri}, whose path cannot be a callback"),
                format!("write for example `{derived}`"),
            );
        }
    };
    let canonical = format!("{portal}{normal}");
    (uri != canonical).then(|| {
        SpecProblem::new(
            KEY,
            "bad-value",
            format!("`{KEY}` is {uri}, which is one of several spellings of {canonical}"),
            format!("write `{canonical}`, and register the same at the provider"),
        )
    })
}
