//! `vestibule explain`: what would happen to a request, and why, without sending one.

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::api_key::Scopes;
use vestibule_core::credential::CredentialKind;
use vestibule_core::facts::{Audience, Door, Facts, FetchSite, Scheme};
use vestibule_core::group::Group;
use vestibule_core::host::Host;
use vestibule_core::id::AccountId;
use vestibule_core::identity::Identity;
use vestibule_core::path::NormalPath;
use vestibule_core::policy::{self, Decision};
use vestibule_core::route::{Route, RouteTable};
use vestibule_core::settings::Settings;
use vestibule_core::time::UnixMillis;
use vestibule_core::verdict::{Code, Reason, Trace, Verdict};

use super::{ConfigArgs, Format, output, store};
use crate::wire;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// GET, POST, …
    method: String,
    /// The URL as the browser sees it
    url: String,
    /// Signed in as this account (read from the store where it is known), or the subject of a
    /// foreign token
    #[arg(long = "as", value_name = "EMAIL")]
    account: Option<String>,
    /// In this group; may be repeated; replaces the account's own
    #[arg(long = "group", value_name = "G")]
    groups: Vec<String>,
    /// With this role; replaces the account's own
    #[arg(long)]
    role: Option<Role>,
    /// What proves who it is [default: session where somebody is named, else none]
    #[arg(long, value_name = "session|api-key|token|jwt:<issuer>|none", value_parser = credential)]
    credential: Option<CredentialKind>,
    /// The sign-in had a second factor
    #[arg(long)]
    mfa: bool,
    /// The client's address
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    ip: IpAddr,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A credential as a rule names it, or `none`.
fn credential(word: &str) -> Result<CredentialKind, String> {
    use CredentialKind::{ApiKey, Jwt, None, Session, Token};
    match CredentialKind::from_word(word) {
        _ if word == "none" => Ok(None),
        Some(kind @ (ApiKey | Jwt(_) | Session | Token)) => Ok(kind),
        _ => Err("use session, api-key, token, jwt:<issuer name> or none".to_owned()),
    }
}

/// What `explain` found.
struct Explanation {
    verdict: Verdict,
    route: Option<Arc<Route>>,
    rule: Option<usize>,
    trace: Trace,
}

pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let settings = store::settings(&args.config)?;
    let now = wire::now();
    let identity = identity(args, &settings, now)?;
    let explanation = explain(args, &settings, identity.as_ref(), now)?;
    let status = vestibule_proxy::status_for_program(explanation.verdict);
    match args.format {
        Format::Json => output::line(&serde_json::to_string_pretty(&json!({
            "verdict": explanation.verdict.as_str(),
            "reason": explanation.verdict.reason().as_str(),
            "status": status,
            "route": explanation.route.as_ref().map(|route| route.name.to_string()),
            "rule": explanation.rule,
            "trace": explanation.trace.steps,
        }))?),
        Format::Human => print(&explanation, status),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(explanation: &Explanation, status: u16) {
    let verdict = explanation.verdict;
    output::line(&format!(
        "{} ({}), status {status} for a program",
        verdict.as_str(),
        verdict.reason()
    ));
    if let Some(route) = &explanation.route {
        let rule = explanation.rule.map_or_else(
            || "no rule matched: the route's own access".to_owned(),
            |number| format!("rule {number}"),
        );
        output::line(&format!("route {} ({}), {rule}", route.name, route.origin));
    }
    for (number, step) in explanation.trace.steps.iter().enumerate() {
        output::line(&format!("{:>3}. {step}", number + 1));
    }
}

fn explain(
    args: &ExplainArgs,
    settings: &Settings,
    identity: Option<&Identity>,
    now: UnixMillis,
) -> anyhow::Result<Explanation> {
    let target = Target::parse(&args.url)?;
    let mut trace = Trace::default();
    let deny = |reason, code, trace: Trace| Explanation {
        verdict: Verdict::Deny { reason, code },
        route: None,
        rule: None,
        trace,
    };
    let (path, needs) = match NormalPath::parse(&target.path) {
        Ok(parsed) => parsed,
        Err(bad) => {
            trace.push(format!(
                "The path `{}` has {bad}: it is refused before any rule.",
                target.path
            ));
            return Ok(deny(Reason::BadTarget, Code::BadRequestTarget, trace));
        }
    };
    trace.push(format!("Host `{}`, path in normal form `{path}`.", target.host));
    let table = RouteTable::new(settings.routes.clone());
    let portal = &settings.server.portal;
    let Some(route) = table.find(&target.host, &path) else {
        if target.host == portal.host {
            trace.push("The host is the portal's: its pages decide for themselves.");
            return Ok(Explanation {
                verdict: Verdict::Allow(Reason::Portal),
                route: None,
                rule: None,
                trace,
            });
        }
        trace.push("No route has this host and path.");
        return Ok(deny(Reason::NoRoute, Code::NoRoute, trace));
    };
    if let Err(bad) = needs.within(route.allow_in_path) {
        trace.push(format!(
            "The path holds {bad}, which the route does not permit (`allow_in_path`)."
        ));
        return Ok(deny(Reason::BadTarget, Code::BadRequestTarget, trace));
    }
    let facts = Facts {
        door: Door::Proxy,
        method: &args.method,
        scheme: target.scheme,
        host: &target.host,
        port: target.port,
        path: &path,
        client_ip: args.ip,
        network_ip: args.ip,
        has_forwarding_header: false,
        audience: Audience::Program,
        fetch_site: FetchSite::Absent,
        origin: None,
        upgrade: false,
        preflight: false,
        preflight_method: None,
    };
    let Decision { verdict, rule } = policy::decide(route, &facts, identity, now, Some(&mut trace));
    Ok(Explanation { verdict, route: Some(route.clone()), rule, trace })
}

/// The parts of the URL.
struct Target {
    scheme: Scheme,
    host: Host,
    port: u16,
    path: String,
}

impl Target {
    fn parse(url: &str) -> anyhow::Result<Self> {
        let what = || format!("`{url}` is no URL such as https://app.example.com/path");
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            _ => anyhow::bail!(what()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).with_context(what)?;
        let (host, port) = Host::parse_authority(authority).with_context(what)?;
        let path = target.split(['?', '#']).next().filter(|path| !path.is_empty()).unwrap_or("/");
        Ok(Self {
            scheme,
            host,
            port: port.unwrap_or(scheme.default_port()),
            path: path.to_owned(),
        })
    }
}

/// Who the request is made to come from; `None`: nobody.
fn identity(
    args: &ExplainArgs,
    settings: &Settings,
    now: UnixMillis,
) -> anyhow::Result<Option<Identity>> {
    let named =
        args.account.is_some() || !args.groups.is_empty() || args.role.is_some() || args.mfa;
    let credential = match &args.credential {
        Some(CredentialKind::None) => return Ok(None),
        None if !named && settings.auth.is_off() => CredentialKind::None,
        None if !named => return Ok(None),
        None => CredentialKind::Session,
        Some(kind) => kind.clone(),
    };
    let issuer = match &credential {
        CredentialKind::Jwt(name) => Some(name.clone()),
        _ => None,
    };
    if let Some(name) = &issuer {
        let known = settings.jwt_issuers.iter().any(|issuer| issuer.name == *name);
        anyhow::ensure!(known, "there is no [[jwt_issuer]] named `{name}` in the file");
    }
    let stored = if issuer.is_none() { stored_account(args, settings)? } else { None };
    let mut account = stored.unwrap_or_else(|| invented_account(args, now));
    if !args.groups.is_empty() {
        account.groups =
            args.groups.iter().map(|name| Group::new(name)).collect::<Result<_, _>>()?;
    }
    if let Some(role) = args.role {
        account.role = role;
    }
    let mut identity = Identity::of_account(&account, credential, 0, UnixMillis(i64::MAX));
    identity.mfa = args.mfa;
    identity.auth_time = Some(now);
    identity.scopes = Scopes::all();
    if let Some(issuer) = issuer {
        // Nothing but what its `claims` map names; the map's answers are `--group` and `--role`.
        identity.account = None;
        identity.email = None;
        identity.auth_time = None;
        let sub = args.account.as_deref().unwrap_or("somebody");
        identity.username = Arc::from(format!("{issuer}:{sub}"));
    }
    Ok(Some(identity))
}

/// The account named by `--as`, where there is a store that knows it.
fn stored_account(args: &ExplainArgs, settings: &Settings) -> anyhow::Result<Option<Account>> {
    let Some(who) = &args.account else { return Ok(None) };
    if !settings.store.sqlite.exists() {
        return Ok(None);
    }
    store::with_store(&args.config, async |desk| Ok(desk.authn.find_account(who).await?))
}

fn invented_account(args: &ExplainArgs, now: UnixMillis) -> Account {
    let email = args.account.as_deref().and_then(vestibule_core::account::canonical_email);
    let username = args.account.as_deref().map_or_else(
        || "somebody".to_owned(),
        |who| vestibule_core::account::username_from(who.split('@').next().unwrap_or(who)),
    );
    Account {
        id: AccountId(uuid::Uuid::nil()),
        username: Arc::from(username),
        email_verified: email.is_some(),
        email: email.map(Arc::from),
        name: Arc::from(""),
        role: Role::User,
        status: Status::Active,
        groups: Arc::new([]),
        must_change_password: false,
        created_at: now,
    }
}
