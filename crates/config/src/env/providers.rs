//! Sets of variables that describe a provider: `OAUTH_<P>_*`, `OIDC_<ID>_*`, `AUTH_GOOGLE_*`, `AUTH_GITHUB_*`.
//!
//! An incomplete set never stops the start; it leaves the provider off and says which variable is missing.

use std::collections::BTreeMap;

use super::Variables;
use crate::diagnostic::{Diagnostic, Problems};
use crate::form;

/// A provider that the environment describes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EnvironmentProvider {
    pub(crate) id: String,
    /// The beginning of its variables, such as `OAUTH_POCKET_ID`.
    pub(crate) family: String,
    pub(crate) values: BTreeMap<&'static str, String>,
    /// Variables that it needs and has not.
    pub(crate) missing: Vec<String>,
    /// Whether it is switched on, if it is complete.
    pub(crate) enabled: bool,
}

/// Settings of `OAUTH_<P>_*`, longest first where one ends another.
const OAUTH: &[&str] = &[
    "CLIENT_SECRET",
    "DISCOVERY_URL",
    "PRETTY_NAME",
    "CLIENT_ID",
    "BASE_URL",
    "ENABLED",
    "SCOPES",
    "PKCE",
    "SLUG",
];
const OIDC: &[&str] = &[
    "CLIENT_SECRET",
    "SUBJECT_CLAIM",
    "USERNAME_CLAIM",
    "REDIRECT_URI",
    "EMAIL_CLAIM",
    "CLIENT_ID",
    "ISSUER",
    "LABEL",
    "SCOPE",
];
const PAIR: &[&str] = &["CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URI", "ALLOWED_DOMAINS"];

/// Whether a name is a setting of some provider.
pub(crate) fn is_of_a_family(name: &str) -> bool {
    split(name, "OAUTH_", OAUTH).is_some()
        || split(name, "OIDC_", OIDC).is_some()
        || ["AUTH_GOOGLE_", "AUTH_GITHUB_"]
            .iter()
            .any(|f| name.strip_prefix(f).is_some_and(|s| PAIR.contains(&s)))
}

/// Gathers every set, and reports what is incomplete, misspelt or contradicts itself.
pub(crate) fn gather(
    variables: &mut Variables<'_>,
    problems: &mut Problems,
) -> Vec<EnvironmentProvider> {
    let switch = switch(variables, problems);
    let mut found = oauth(variables, switch, problems);
    found.extend(oidc(variables, problems));
    for (id, family) in [("google", "AUTH_GOOGLE"), ("github", "AUTH_GITHUB")] {
        let values = settings(variables, family, PAIR, problems);
        if !values.is_empty() {
            let missing = lacking(family, &["CLIENT_ID", "CLIENT_SECRET"], &values);
            found.push(EnvironmentProvider {
                id: id.to_owned(),
                family: family.to_owned(),
                values,
                missing,
                enabled: true,
            });
        }
    }
    report_twins(&found, problems);
    found
}

/// `ENABLE_OAUTH_SIGNIN`: on, off, or not said.
fn switch(variables: &mut Variables<'_>, problems: &mut Problems) -> Option<bool> {
    let text = match variables.value("ENABLE_OAUTH_SIGNIN") {
        Ok(text) => text?,
        Err(problem) => {
            problems.add(problem);
            return None;
        }
    };
    form::boolean(&text)
        .map_err(|why| {
            problems.add(Diagnostic::error("bad-value", format!("`ENABLE_OAUTH_SIGNIN`: {why}")))
        })
        .ok()
}

fn oauth(
    variables: &mut Variables<'_>,
    switch: Option<bool>,
    problems: &mut Problems,
) -> Vec<EnvironmentProvider> {
    let mut groups: Vec<String> = Vec::new();
    for name in variables.environment.keys().filter(|n| n.starts_with("OAUTH_")) {
        match split(name, "OAUTH_", OAUTH) {
            Some((group, _)) if !groups.iter().any(|g| g == group) => groups.push(group.to_owned()),
            Some(_) => {}
            None => looks_like_ours(name, "OAUTH_", OAUTH, problems),
        }
    }
    let mut found = Vec::new();
    for group in groups {
        let family = format!("OAUTH_{group}");
        let values = settings(variables, &family, OAUTH, problems);
        if values.is_empty() {
            continue;
        }
        let is_authentik = values.contains_key("BASE_URL") || values.contains_key("SLUG");
        let is_github = group == "GITHUB" && !values.contains_key("DISCOVERY_URL");
        let needed: &[&str] = match (is_authentik, is_github) {
            (true, _) => &["BASE_URL", "SLUG", "CLIENT_ID", "CLIENT_SECRET"],
            (_, true) => &["CLIENT_ID", "CLIENT_SECRET"],
            _ => &["CLIENT_ID", "CLIENT_SECRET", "DISCOVERY_URL"],
        };
        let mut enabled = match switch {
            Some(on) => on,
            None => is_authentik,
        };
        if !enabled && switch.is_none() {
            problems.add(Diagnostic::notice(
                "provider-off",
                format!("the variables `{family}_*` are ignored until ENABLE_OAUTH_SIGNIN=true"),
            ));
        }
        if let Some(text) = values.get("ENABLED") {
            match form::boolean(text) {
                Ok(on) => enabled &= on,
                Err(why) => problems
                    .add(Diagnostic::error("bad-value", format!("`{family}_ENABLED`: {why}"))),
            }
        }
        if let Some(Err(why)) = values.get("PKCE").map(|text| form::boolean(text)) {
            problems.add(Diagnostic::error("bad-value", format!("`{family}_PKCE`: {why}")));
        }
        let missing = lacking(&family, needed, &values);
        found.push(EnvironmentProvider { id: id_of(&group), family, values, missing, enabled });
    }
    found
}

fn oidc(variables: &mut Variables<'_>, problems: &mut Problems) -> Vec<EnvironmentProvider> {
    let listed = match variables.value("OIDC_PROVIDERS") {
        Ok(text) => text.unwrap_or_default(),
        Err(problem) => {
            problems.add(problem);
            String::new()
        }
    };
    let mut found = Vec::new();
    let mut families = Vec::new();
    for id in form::list(&listed) {
        let id = id.to_ascii_lowercase();
        let family = format!("OIDC_{}", id.to_ascii_uppercase().replace(['-', '.'], "_"));
        let values = settings(variables, &family, OIDC, problems);
        let missing = lacking(&family, &["ISSUER", "CLIENT_ID", "REDIRECT_URI"], &values);
        families.push(family.clone());
        found.push(EnvironmentProvider { id, family, values, missing, enabled: true });
    }
    let mut told: Vec<&str> = Vec::new();
    for name in
        variables.environment.keys().filter(|n| n.starts_with("OIDC_") && *n != "OIDC_PROVIDERS")
    {
        match split(name, "OIDC_", OIDC) {
            Some((group, _)) if families.iter().any(|f| f.strip_prefix("OIDC_") == Some(group)) => {
            }
            Some((group, _)) => {
                if !told.contains(&group) {
                    told.push(group);
                    problems.add(Diagnostic::notice(
                        "provider-off",
                        format!("the variables `OIDC_{group}_*` are ignored: OIDC_PROVIDERS does not list `{}`", id_of(group)),
                    ));
                }
            }
            None => looks_like_ours(name, "OIDC_", OIDC, problems),
        }
    }
    found
}

/// The group and the setting of a name: the setting is the longest known ending.
fn split<'a>(
    name: &'a str,
    start: &str,
    known: &[&'static str],
) -> Option<(&'a str, &'static str)> {
    let rest = name.strip_prefix(start)?;
    let rest = rest.strip_suffix("_FILE").unwrap_or(rest);
    let setting = known.iter().filter(|s| rest.ends_with(**s)).max_by_key(|s| s.len())?;
    let group = rest.strip_suffix(setting)?.strip_suffix('_')?;
    (!group.is_empty()).then_some((group, *setting))
}

fn id_of(group: &str) -> String {
    group.to_ascii_lowercase().replace('_', "-")
}

fn settings(
    variables: &mut Variables<'_>,
    family: &str,
    known: &[&'static str],
    problems: &mut Problems,
) -> BTreeMap<&'static str, String> {
    let mut values = BTreeMap::new();
    for setting in known {
        match variables.value(&format!("{family}_{setting}")) {
            Ok(Some(text)) => {
                values.insert(*setting, text);
            }
            Ok(None) => {}
            Err(problem) => problems.add(problem),
        }
    }
    values
}

fn lacking(family: &str, needed: &[&str], values: &BTreeMap<&'static str, String>) -> Vec<String> {
    needed.iter().filter(|n| !values.contains_key(**n)).map(|n| format!("{family}_{n}")).collect()
}

/// One notice for a name that is nearly one of ours, such as `OAUTH_X_CLIENTID`.
fn looks_like_ours(name: &str, start: &str, known: &[&'static str], problems: &mut Problems) {
    let squeezed = |text: &str| text.replace('_', "");
    let Some(rest) = name.strip_prefix(start) else { return };
    let near = known.iter().find(|s| squeezed(rest).ends_with(&squeezed(s)));
    if let Some(near) = near {
        problems.add(Diagnostic::notice(
            "unknown-variable",
            format!("`{name}` is ignored: did you mean `{start}…_{near}`?"),
        ));
    }
}

/// Two families may describe one provider only if they agree.
fn report_twins(found: &[EnvironmentProvider], problems: &mut Problems) {
    for (index, one) in found.iter().enumerate() {
        let rest = found.get(index + 1..).unwrap_or_default();
        for other in rest.iter().filter(|o| o.id == one.id && o.family != one.family) {
            for setting in ["CLIENT_ID", "ISSUER"] {
                let (a, b) = (one.values.get(setting), other.values.get(setting));
                if a.is_some() && b.is_some() && a != b {
                    problems.add(
                        Diagnostic::error(
                            "conflicting-variables",
                            format!(
                                "`{}_{setting}` and `{}_{setting}` disagree",
                                one.family, other.family
                            ),
                        )
                        .help(format!("both describe the provider `{}`: unset one set", one.id)),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;

    fn gathered(pairs: &[(&str, &str)]) -> (Vec<EnvironmentProvider>, Vec<String>) {
        let environment: Environment =
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut problems = Problems::default();
        let mut files = Default::default();
        let found =
            gather(&mut Variables { environment: &environment, files: &mut files }, &mut problems);
        (found, problems.0.into_iter().map(|d| d.message).collect())
    }

    #[test]
    fn seed_000_35_seed_000_48_the_id_is_lower_case_and_hyphenated() {
        let (found, _) =
            gathered(&[("OAUTH_MY_OWN_IDP_CLIENT_ID", "x"), ("ENABLE_OAUTH_SIGNIN", "true")]);
        assert_eq!(found[0].id, "my-own-idp");
    }

    #[test]
    fn seed_000_33_a_set_stays_off_without_the_switch() {
        let set = [
            ("OAUTH_POCKET_ID_CLIENT_ID", "a"),
            ("OAUTH_POCKET_ID_CLIENT_SECRET", "b"),
            ("OAUTH_POCKET_ID_DISCOVERY_URL", "https://x"),
        ];
        let (found, notices) = gathered(&set);
        assert!(!found[0].enabled && notices[0].contains("ENABLE_OAUTH_SIGNIN"));
        let (found, notices) = gathered(&[&set[..], &[("ENABLE_OAUTH_SIGNIN", "true")]].concat());
        assert!(found[0].enabled && found[0].missing.is_empty() && notices.is_empty());
    }

    #[test]
    fn seed_000_36_seed_000_37_seed_000_38_missing_variables_are_named() {
        let (found, _) = gathered(&[("OAUTH_X_PKCE", "true"), ("ENABLE_OAUTH_SIGNIN", "1")]);
        assert_eq!(
            found[0].missing,
            ["OAUTH_X_CLIENT_ID", "OAUTH_X_CLIENT_SECRET", "OAUTH_X_DISCOVERY_URL"]
        );
    }

    #[test]
    fn seed_004_35_seed_004_46_authentik_is_on_by_itself_and_each_missing_one_is_named() {
        let four = ["BASE_URL", "SLUG", "CLIENT_ID", "CLIENT_SECRET"]
            .map(|s| format!("OAUTH_AUTHENTIK_{s}"));
        let all: Vec<(&str, &str)> = four.iter().map(|n| (n.as_str(), "https://x")).collect();
        assert!(gathered(&all).0[0].missing.is_empty() && gathered(&all).0[0].enabled);
        for left_out in &four {
            let rest: Vec<_> = all.iter().filter(|(n, _)| n != left_out).copied().collect();
            assert_eq!(gathered(&rest).0[0].missing, [left_out.as_str()], "{left_out}");
        }
    }

    #[test]
    fn seed_001_15_seed_001_16_listed_ids_are_read_in_order() {
        let (found, _) =
            gathered(&[("OIDC_PROVIDERS", "plex,authelia"), ("OIDC_AUTHELIA_ISSUER", "https://a")]);
        assert_eq!(found.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["plex", "authelia"]);
        assert_eq!(found[1].values["ISSUER"], "https://a");
    }

    #[test]
    fn seed_001_17_a_listed_id_without_its_variables_names_the_three() {
        let (found, _) = gathered(&[("OIDC_PROVIDERS", "x")]);
        assert_eq!(found[0].missing, ["OIDC_X_ISSUER", "OIDC_X_CLIENT_ID", "OIDC_X_REDIRECT_URI"]);
    }

    #[test]
    fn seed_001_18_variables_of_an_unlisted_id_draw_one_notice() {
        let (found, notices) =
            gathered(&[("OIDC_Y_ISSUER", "https://y"), ("OIDC_Y_CLIENT_ID", "y")]);
        assert!(found.is_empty());
        assert_eq!(notices.len(), 1);
    }

    #[test]
    fn seed_002_27_half_a_pair_names_the_other_half() {
        let (found, _) = gathered(&[("AUTH_GOOGLE_CLIENT_ID", "x")]);
        assert_eq!(found[0].missing, ["AUTH_GOOGLE_CLIENT_SECRET"]);
    }

    #[test]
    fn two_families_that_disagree_about_one_id_are_refused_by_both_names() {
        let (_, problems) = gathered(&[
            ("AUTH_GOOGLE_CLIENT_ID", "a"),
            ("AUTH_GOOGLE_CLIENT_SECRET", "s"),
            ("OAUTH_GOOGLE_CLIENT_ID", "b"),
            ("OAUTH_GOOGLE_CLIENT_SECRET", "s"),
            ("OAUTH_GOOGLE_DISCOVERY_URL", "https://x"),
            ("ENABLE_OAUTH_SIGNIN", "true"),
        ]);
        assert!(
            problems.iter().any(
                |p| p.contains("OAUTH_GOOGLE_CLIENT_ID") && p.contains("AUTH_GOOGLE_CLIENT_ID")
            ),
            "{problems:?}"
        );
    }

    #[test]
    fn a_misspelt_setting_draws_a_notice() {
        let (_, notices) = gathered(&[("OAUTH_X_CLIENTID", "a")]);
        assert!(notices[0].contains("CLIENT_ID"), "{notices:?}");
    }
}
