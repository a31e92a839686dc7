//! The real binary on a data directory of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use toml::{Table, Value};

use crate::child::GRACE;
use crate::wait::until_within;
use crate::{Actor, Ca, Child, Cli, Client};

/// The portal of a default gateway.
pub const PORTAL: &str = "https://auth.example.test";
/// The address that hooks are asked from: the only one in a default `trusted_proxies`.
pub const TRUSTED: &str = "127.0.0.9";
/// The password of every account that [`GatewayBuilder::user`] makes.
pub const PASSWORD: &str = "correct-Horse-7-staple";

/// A route, as TOML is built from it. Whatever has no method of its own goes through
/// [`Route::set`] or [`Route::rule`].
#[derive(Clone, Debug)]
pub struct Route(Table);

/// Describes a gateway before it starts.
#[derive(Clone)]
pub struct GatewayBuilder {
    binary: PathBuf,
    config: Table,
    raw: Option<String>,
    file: bool,
    environment: BTreeMap<String, String>,
    users: Vec<(String, String, Vec<String>)>,
    arguments: Vec<String>,
}

/// A data directory and a file, without a server.
pub struct Prepared {
    binary: PathBuf,
    folder: Arc<tempfile::TempDir>,
    file: bool,
    config: Table,
    environment: BTreeMap<String, String>,
    arguments: Vec<String>,
}

/// A running server. Killed when dropped; the data goes with it.
pub struct Gateway {
    prepared: Prepared,
    child: Child,
    listening: Vec<Listening>,
    portal: String,
}

/// A bound socket, as the server announced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// `proxy`, `forward-auth`, `redirect`, `telemetry`.
    pub door: String,
    /// The address with its real port.
    pub address: SocketAddr,
}

impl Route {
    /// A route with one host; `access` is left out.
    pub fn new(name: &str, host: &str) -> Self {
        let mut table = Table::new();
        table.insert("name".into(), name.into());
        table.insert("host".into(), host.into());
        Self(table)
    }

    /// Adds an upstream.
    #[must_use]
    pub fn upstream(mut self, url: impl Into<String>) -> Self {
        let list = self.0.entry("upstream").or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut().unwrap().push(Value::String(url.into()));
        self
    }

    /// `access`: a word, or an inline TOML value such as `{ groups = ["staff"] }`.
    #[must_use]
    pub fn access(self, access: &str) -> Self {
        self.set("access", access)
    }

    /// Any key; text that is no TOML value is taken as a string.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.0.insert(key.into(), word_or_value(value));
        self
    }

    /// Adds a rule: patterns, methods (none: all), access.
    #[must_use]
    pub fn rule(mut self, paths: &[&str], methods: &[&str], access: &str) -> Self {
        let list = |items: &[&str]| Value::Array(items.iter().map(|&item| item.into()).collect());
        let mut rule = Table::new();
        rule.insert("path".into(), list(paths));
        if !methods.is_empty() {
            rule.insert("method".into(), list(methods));
        }
        rule.insert("access".into(), word_or_value(access));
        let rules = self.0.entry("rule").or_insert_with(|| Value::Array(Vec::new()));
        rules.as_array_mut().unwrap().push(Value::Table(rule));
        self
    }
}

impl GatewayBuilder {
    /// Merges a piece of TOML: tables key by key, arrays of tables appended, the rest replaced.
    #[must_use]
    pub fn toml(mut self, piece: &str) -> Self {
        let piece: Table = piece.parse().unwrap_or_else(|error| panic!("{error}\n{piece}"));
        merge(&mut self.config, piece);
        self
    }

    /// Removes a key, dotted.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        let mut table = &mut self.config;
        let (parents, last) = key.rsplit_once('.').unwrap_or(("", key));
        for part in parents.split('.').filter(|part| !part.is_empty()) {
            table = table.get_mut(part).and_then(Value::as_table_mut).expect("no such table");
        }
        table.remove(last);
        self
    }

    /// Replaces the listeners: `(door, tls)`, each on a free port of 127.0.0.1.
    #[must_use]
    pub fn listeners(mut self, listeners: &[(&str, bool)]) -> Self {
        self.config.remove("listener");
        for (door, tls) in listeners {
            self = self.toml(&format!(
                "[[listener]]\naddress = \"127.0.0.1:0\"\ndoor = \"{door}\"\ntls = {tls}"
            ));
        }
        self
    }

    /// `server.portal_url`
    #[must_use]
    pub fn portal(self, url: &str) -> Self {
        self.toml(&format!("[server]\nportal_url = \"{url}\""))
    }

    /// `server.trusted_proxies`, a list.
    #[must_use]
    pub fn trusted(self, addresses: &[&str]) -> Self {
        self.toml(&format!("[server]\ntrusted_proxies = {addresses:?}"))
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        let mut piece = Table::new();
        piece.insert("route".into(), Value::Array(vec![Value::Table(route.0)]));
        merge(&mut self.config, piece);
        self
    }

    /// Has an account made once the server runs: `name@example.test`, username `name`,
    /// password [`PASSWORD`], role user.
    #[must_use]
    pub fn user(mut self, name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        self.users.push((name.to_owned(), "user".to_owned(), groups));
        self
    }

    /// As [`GatewayBuilder::user`], with role admin.
    #[must_use]
    pub fn admin(mut self, name: &str) -> Self {
        self.users.push((name.to_owned(), "admin".to_owned(), Vec::new()));
        self
    }

    /// Sets a variable of the server's environment, which is otherwise empty but for PATH.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Writes this text as the file instead of the merged pieces. `{data}` is the data
    /// directory, `{folder}` the folder of the file.
    #[must_use]
    pub fn raw(mut self, text: &str) -> Self {
        self.raw = Some(text.to_owned());
        self
    }

    /// Starts from the environment alone, without a file.
    #[must_use]
    pub fn without_file(mut self) -> Self {
        self.file = false;
        self
    }

    /// A further argument of `serve`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Writes folder and file; starts nothing.
    pub fn prepare(&self) -> Prepared {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        set_mode(&data, 0o700);
        let leaf = Ca::shared().leaf(&[
            "*.example.test",
            "example.test",
            "localhost",
            "*.localhost",
            "127.0.0.1",
        ]);
        leaf.write(folder.path(), "leaf");
        let mut config = self.config.clone();
        if self.file {
            substitute(&mut config, folder.path());
        }
        let prepared = Prepared {
            binary: self.binary.clone(),
            folder,
            file: self.file,
            config,
            environment: self.environment.clone(),
            arguments: self.arguments.clone(),
        };
        if self.file {
            match &self.raw {
                Some(text) => prepared.rewrite(text),
                None => prepared.write(),
            }
        }
        prepared
    }

    /// Starts the server, waits until it is ready, makes the accounts.
    ///
    /// # Panics
    /// Where it ends first; shows what it said.
    #[track_caller]
    pub fn start(&self) -> Gateway {
        let portal = self
            .config
            .get("server")
            .and_then(|server| server.get("portal_url"))
            .and_then(Value::as_str)
            .unwrap_or(PORTAL)
            .to_owned();
        let gateway = self.prepare().serve(&portal);
        for (name, role, groups) in &self.users {
            gateway.add_user(name, role, groups);
        }
        gateway
    }

    /// Starts the server in the expectation that it refuses; what it said.
    #[track_caller]
    pub fn start_refused(&self) -> Cli {
        let prepared = self.prepare();
        let mut child = Child::start(&mut prepared.serve_command());
        let status = child.wait();
        let said = child.lines().join("\n");
        Cli { code: status.code().unwrap_or(-1), stdout: String::new(), stderr: said }
    }
}

impl Prepared {
    /// The folder that holds the file, the certificate `leaf.pem` and `data/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.folder().join("vestibule.toml")
    }

    /// Replaces the file's text; `{data}` and `{folder}` as in [`GatewayBuilder::raw`].
    pub fn rewrite(&self, text: &str) {
        let text = text
            .replace("{data}", &self.data().display().to_string())
            .replace("{folder}", &self.folder().display().to_string());
        write_private(&self.file(), text.as_bytes());
    }

    fn write(&self) {
        write_private(&self.file(), toml::to_string(&self.config).unwrap().as_bytes());
    }

    /// A command of the binary with the environment set and nothing else.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env_clear().current_dir(self.folder());
        for name in ["PATH", "LD_PRELOAD", "FAKETIME", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.folder()).envs(&self.environment);
        command
    }

    /// Runs a command of the binary on this file.
    pub fn cli(&self, arguments: &[&str]) -> Cli {
        self.cli_with(arguments, b"")
    }

    /// Runs a command of the binary on this file and feeds its standard input.
    pub fn cli_with(&self, arguments: &[&str], stdin: &[u8]) -> Cli {
        let mut command = self.command(arguments);
        if self.file {
            command.arg("-c").arg(self.file());
        }
        Cli::run(&mut command, stdin)
    }

    fn serve_command(&self) -> Command {
        let mut command = self.command(&["serve"]);
        if self.file {
            command.arg("-c").arg(self.file());
        }
        command.args(&self.arguments);
        command
    }

    #[track_caller]
    fn serve(self, portal: &str) -> Gateway {
        let mut child = Child::start(&mut self.serve_command());
        let listening = ready(&mut child);
        Gateway { prepared: self, child, listening, portal: portal.to_owned() }
    }
}

impl Gateway {
    /// A gateway of development with the portal [`PORTAL`], a plain proxy listener, a TLS one,
    /// a forward-auth one and telemetry. `binary` is `env!("CARGO_BIN_EXE_vestibule")`.
    pub fn builder(binary: impl Into<PathBuf>) -> GatewayBuilder {
        let builder = GatewayBuilder {
            binary: binary.into(),
            config: Table::new(),
            raw: None,
            file: true,
            environment: BTreeMap::new(),
            users: Vec::new(),
            arguments: Vec::new(),
        };
        builder
            .toml(&format!(
                r#"
                [server]
                portal_url = "{PORTAL}"
                environment = "development"
                data_dir = "{{data}}"
                trusted_proxies = ["{TRUSTED}"]
                [[tls.certificate]]
                cert = "{{folder}}/leaf.pem"
                key = "{{folder}}/leaf.key"
                [secrets]
                auth_secret = "w1fJ3x9Vq7uYb2Kd8Rz5Tn0Lc6Ph4Sg_test_only"
                [telemetry]
                listen = "127.0.0.1:0"
                "#
            ))
            .listeners(&[("proxy", false), ("proxy", true), ("forward-auth", false)])
    }

    /// Every socket, in the order of the file.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    fn door(&self, door: &str, nth: usize) -> SocketAddr {
        self.listening
            .iter()
            .filter(|listening| listening.door == door)
            .nth(nth)
            .unwrap_or_else(|| panic!("no listener {nth} with door {door}: {:?}", self.listening))
            .address
    }

    /// The plain proxy listener.
    pub fn plain(&self) -> SocketAddr {
        self.door("proxy", 0)
    }

    /// The TLS proxy listener.
    pub fn tls(&self) -> SocketAddr {
        self.door("proxy", 1)
    }

    /// The forward-auth listener.
    pub fn hook(&self) -> SocketAddr {
        self.door("forward-auth", 0)
    }

    /// `telemetry.listen`
    pub fn telemetry(&self) -> SocketAddr {
        self.door("telemetry", 0)
    }

    /// A client of the plain proxy listener, from 127.0.0.1.
    pub fn client(&self) -> Client {
        Client::plain(self.plain())
    }

    /// A client of the TLS proxy listener, from 127.0.0.1.
    pub fn tls_client(&self) -> Client {
        Client::tls(self.tls())
    }

    /// `server.portal_url`
    pub fn portal(&self) -> &str {
        &self.portal
    }

    /// Folder, file, commands.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// The process: logs, signals, memory.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// All lines that the server wrote so far.
    pub fn logs(&self) -> Vec<String> {
        self.child.lines()
    }

    /// Waits for a line that holds every one of the texts.
    #[track_caller]
    pub fn wait_log(&mut self, texts: &[&str]) -> String {
        self.child.wait_line(&format!("{texts:?}"), |line| {
            texts.iter().all(|text| line.contains(text)).then(|| line.to_owned())
        })
    }

    /// Runs a command of the binary on this gateway's file.
    pub fn cli(&self, arguments: &[&str]) -> Cli {
        self.prepared.cli(arguments)
    }

    /// Runs a command of the binary and feeds its standard input.
    pub fn cli_with(&self, arguments: &[&str], stdin: &[u8]) -> Cli {
        self.prepared.cli_with(arguments, stdin)
    }

    /// Makes an account by the command line: `name@example.test`, [`PASSWORD`].
    #[track_caller]
    pub fn add_user(&self, name: &str, role: &str, groups: &[String]) {
        let email = format!("{name}@example.test");
        let mut arguments = vec!["user", "add", &email, "--username", name, "--name", name];
        arguments.extend(["--role", role, "--status", "active", "--password-file", "-"]);
        for group in groups {
            arguments.extend(["--group", group]);
        }
        let _ = self.cli_with(&arguments, format!("{PASSWORD}\n").as_bytes()).expect(0);
    }

    /// A person without an account, with an empty cookie jar.
    pub fn anonymous(&self) -> Actor {
        Actor::new(self.client(), self.portal(), self.default_host()).with_hook(self.hook_client())
    }

    /// A person signed in at the portal, with an account of [`GatewayBuilder::user`].
    #[track_caller]
    pub fn as_user(&self, name: &str) -> Actor {
        let mut actor = self.anonymous();
        let _ = actor.sign_in(&format!("{name}@example.test"), PASSWORD).expect(200);
        actor
    }

    /// A program that shows an API key in `X-Api-Key`.
    pub fn with_key(&self, key: &str) -> Actor {
        self.anonymous().with_header("X-Api-Key", key)
    }

    /// A program that shows a bearer token (or key).
    pub fn with_bearer(&self, token: &str) -> Actor {
        self.anonymous().with_header("Authorization", &format!("Bearer {token}"))
    }

    fn hook_client(&self) -> Option<Client> {
        let hook = self.listening.iter().find(|listening| listening.door == "forward-auth")?;
        Some(Client::plain(hook.address).from(TRUSTED))
    }

    /// The host of the first route, for URLs that are given as a path.
    fn default_host(&self) -> String {
        let host = self.prepared.config.get("route").and_then(|routes| routes.get(0));
        match host.and_then(|route| route.get("host")) {
            Some(Value::Array(hosts)) => hosts.first().and_then(Value::as_str),
            Some(host) => host.as_str(),
            None => None,
        }
        .unwrap_or("app.example.test")
        .to_owned()
    }

    /// Merges a piece into the file and reloads by SIGHUP; waits for `config.reloaded` or
    /// `config.rejected` and answers whether it was taken.
    #[track_caller]
    pub fn reload(&mut self, piece: &str) -> bool {
        let mut piece: Table = piece.parse().unwrap();
        substitute(&mut piece, self.prepared.folder());
        merge(&mut self.prepared.config, piece);
        self.prepared.write();
        self.hang_up()
    }

    /// Merges a piece into the file and neither signals nor waits: for a restart, or to see the
    /// change noticed.
    pub fn amend(&mut self, piece: &str) {
        let mut piece: Table = piece.parse().unwrap();
        substitute(&mut piece, self.prepared.folder());
        merge(&mut self.prepared.config, piece);
        self.prepared.write();
    }

    /// Sets a variable for the next start and for commands; `None` takes it out.
    pub fn set_env(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.prepared.environment.insert(name.to_owned(), value.to_owned()),
            None => self.prepared.environment.remove(name),
        };
    }

    /// Replaces the routes and reloads as [`Gateway::reload`].
    #[track_caller]
    pub fn reload_routes(&mut self, routes: &[Route]) -> bool {
        let routes = routes.iter().map(|route| Value::Table(route.0.clone())).collect();
        self.prepared.config.insert("route".into(), Value::Array(routes));
        self.prepared.write();
        self.hang_up()
    }

    /// SIGHUP; waits for the outcome that follows it.
    #[track_caller]
    pub fn hang_up(&mut self) -> bool {
        let before = self.logs().len();
        self.child.signal(Signal::HUP);
        until_within(GRACE, "config.reloaded or config.rejected", || {
            let lines = self.logs();
            let new = lines.get(before..).unwrap_or_default();
            new.iter().find_map(|line| {
                (line.contains("config.reloaded") || line.contains("config.rejected"))
                    .then(|| line.contains("config.reloaded"))
            })
        })
    }

    /// SIGTERM; waits for the end and answers the exit code.
    #[track_caller]
    pub fn terminate(&mut self) -> i32 {
        self.child.signal(Signal::TERM);
        self.child.wait().code().unwrap_or(-1)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Ends the process (SIGKILL, if it still runs) and starts another on the same data, on
    /// other ports.
    #[track_caller]
    pub fn restart(&mut self) {
        self.child.kill();
        self.child = Child::start(&mut self.prepared.serve_command());
        self.listening = ready(&mut self.child);
    }

    /// As [`Gateway::restart`], on the ports that the ended process had.
    #[track_caller]
    pub fn restart_on_same_ports(&mut self) {
        if let Some(Value::Array(listeners)) = self.prepared.config.get_mut("listener") {
            for (listener, bound) in listeners.iter_mut().zip(&self.listening) {
                if let Some(table) = listener.as_table_mut() {
                    table.insert("address".into(), bound.address.to_string().into());
                }
            }
        }
        self.prepared.write();
        self.restart();
    }

    /// The value of a metric line that starts with these characters.
    pub fn metric(&self, line: &str) -> Option<f64> {
        let url = format!("http://{}/metrics", self.telemetry());
        let text = Client::plain(self.telemetry()).send(&crate::Request::get(&url)).text();
        text.lines().find(|l| l.starts_with(line))?.rsplit(' ').next()?.parse().ok()
    }
}

#[track_caller]
fn ready(child: &mut Child) -> Vec<Listening> {
    let mut listening = Vec::new();
    child.wait_line("it was ready", |line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let field = |name: &str| {
            let value = line.get(name).or_else(|| line.get("fields")?.get(name))?;
            value.as_str().map(str::to_owned)
        };
        match field("message")?.as_str() {
            "listening" => {
                listening.push(Listening {
                    door: field("door").unwrap_or_default(),
                    address: field("address")?.parse().ok()?,
                });
                None
            }
            "ready" => Some(()),
            _ => None,
        }
    });
    listening
}

fn word_or_value(text: &str) -> Value {
    let parsed: Result<Table, _> = format!("value = {text}").parse();
    parsed.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| text.into())
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (Some(Value::Array(old)), Value::Array(new))
                if new.iter().all(Value::is_table) && !new.is_empty() =>
            {
                old.extend(new);
            }
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn substitute(config: &mut Table, folder: &Path) {
    fn walk(value: &mut Value, folder: &str) {
        match value {
            Value::String(text) => {
                *text =
                    text.replace("{data}", &format!("{folder}/data")).replace("{folder}", folder);
            }
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, folder)),
            Value::Table(table) => table.iter_mut().for_each(|(_, item)| walk(item, folder)),
            _ => {}
        }
    }
    let folder = folder.display().to_string();
    config.iter_mut().for_each(|(_, value)| walk(value, &folder));
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::OpenOptionsExt;
    // Written beside and renamed: a watcher never sees half a file.
    let beside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .unwrap();
    file.write_all(bytes).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_merged_and_tables_in_arrays_appended() {
        let builder = Gateway::builder("vestibule")
            .toml("[server]\nworkers = 1")
            .route(Route::new("a", "a.test").access("public"))
            .route(Route::new("b", "b.test").access("{ groups = [\"x\"] }").rule(
                &["/h"],
                &["GET"],
                "public",
            ));
        let server = builder.config["server"].as_table().unwrap();
        assert_eq!(server["workers"].as_integer(), Some(1));
        assert_eq!(server["portal_url"].as_str(), Some(PORTAL));
        let routes = builder.config["route"].as_array().unwrap();
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[0]["access"].as_str(), Some("public"));
        assert!(routes[1]["access"]["groups"].is_array());
        assert_eq!(routes[1]["rule"][0]["path"][0].as_str(), Some("/h"));
    }
}
