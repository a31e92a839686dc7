//! Two files written from the registry: the reference of every key, and the starter of `vestibule init`.

use std::fmt::Write;

use crate::keys::{Key, Kind, ROOT};

/// Every key with its meaning and default. Uncommenting a line gives its default or example.
pub(crate) fn all() -> String {
    let mut out = String::from(
        "# Every key of Vestibule, with its default (`#key = value`) or, where there is none, an example (`#key = value  # example`).\n\
         # Written by the program from its registry of keys; a test keeps it fresh. Not a file to start with: that is `vestibule init`.\n\
         #\n\
         # Any string may be given as \"env:NAME\" or \"file:/path\"; \"literal:…\" escapes. Durations are \"15m\", sizes \"10MiB\".\n",
    );
    for key in ROOT.iter().filter(|k| !is_section(&k.kind)) {
        line(&mut out, key);
    }
    for key in ROOT.iter().filter(|k| is_section(&k.kind)) {
        section(&mut out, key, key.name, false);
    }
    out.push_str("\n# Variables of the environment that are read besides; `<NAME>_FILE` reads each from a file. Every key above is\n# also VESTIBULE_SECTION__KEY, with two underscores a level, which stands above all of these.\n");
    for variable in crate::env::DOCUMENTED {
        _ = writeln!(out, "# {}: {}", variable.name, variable.meaning);
    }
    out.push_str("# Providers: <PROVIDER> and <ID> are the id in upper case, with `_` for `-`.\n");
    for (name, key) in crate::env::providers::documented() {
        _ = writeln!(out, "# {name}: provider.{key}");
    }
    out
}

fn is_section(kind: &Kind) -> bool {
    matches!(kind, Kind::Table(_) | Kind::Tables(_))
}

/// `in_list`: the section belongs to a list of tables, which stays empty unless uncommented.
fn section(out: &mut String, key: &Key, path: &str, in_list: bool) {
    let is_list = matches!(key.kind, Kind::Tables(_));
    let header = if is_list { format!("[[{path}]]") } else { format!("[{path}]") };
    let mark = if is_list || in_list || key.optional || key.later { "#" } else { "" };
    let later = if key.later { " (not available yet)" } else { "" };
    _ = write!(out, "\n# {}{later}\n{mark}{header}\n", key.doc);
    let Some(keys) = key.kind.keys() else { return };
    for key in keys.iter().filter(|k| !is_section(&k.kind)) {
        line(out, key);
    }
    for inner in keys.iter().filter(|k| is_section(&k.kind)) {
        section(out, inner, &format!("{path}.{}", inner.name), is_list || in_list);
    }
}

fn line(out: &mut String, key: &Key) {
    let words = match &key.kind {
        Kind::Word(words) => {
            let words: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
            format!(" One of {}.", words.join(", "))
        }
        _ => String::new(),
    };
    let later = if key.later { " (not available yet)" } else { "" };
    let required = if key.required { " Required." } else { "" };
    _ = writeln!(out, "# {}{words}{required}{later}", key.doc);
    _ = match (key.default, key.example) {
        (Some(default), _) => writeln!(out, "#{} = {default}", key.name),
        (None, Some(example)) => writeln!(out, "#{} = {example}  # example", key.name),
        (None, None) => writeln!(out, "#{} =", key.name),
    };
}

/// What `vestibule init` writes: small, commented, and good as it stands once the two names are changed.
pub(crate) fn starter() -> String {
    STARTER.to_owned()
}

const STARTER: &str = r#"# Vestibule. `vestibule check` reads this file and says what is wrong; `vestibule serve` runs it.
# Every key with its default stands in config/reference.toml and in `vestibule schema`.

[server]
portal_url = "https://auth.example.com"   # where people sign in: an origin, without a path
data_dir   = "/data"                      # database, store key, control socket
#trusted_proxies = ["10.0.0.0/8"]         # front proxies whose X-Forwarded-* are believed

[[listener]]
address = "127.0.0.1:8080"                # behind a front proxy that speaks TLS

# With certificates of its own, Vestibule needs no front proxy:
#[[listener]]
#address = "0.0.0.0:443"
#tls     = true
#[[listener]]
#address = "0.0.0.0:80"
#door    = "redirect"
#[[tls.certificate]]
#cert = "/certs/fullchain.pem"
#key  = "/certs/privkey.pem"

[secrets]
auth_secret = "env:AUTH_SECRET"           # make it: openssl rand -hex 32

[auth]
first_user = "setup"                      # the first start prints the URL of a one-time setup page

# One table for each app. Nothing is open unless a rule says so.
[[route]]
name     = "app"
host     = "app.example.com"
upstream = "http://127.0.0.1:3000"
access   = "signed-in"                    # public | signed-in | mfa | api-key | admin | deny, or a table

  [[route.rule]]                          # the first match wins
  path   = ["/health", "/static/*"]
  method = ["GET"]
  access = "public"

  #[[route.rule]]
  #path   = "/admin/*"
  #access = { groups = ["staff"] }
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_file_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/reference.toml");
        let on_disk = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            on_disk == all(),
            "write it anew: cargo run -p vestibule-config --example reference > config/reference.toml"
        );
    }

    #[test]
    fn the_reference_file_is_toml() {
        assert!(crate::source::fragment(&all(), &crate::tree::Origin::Default).is_some());
    }
}
