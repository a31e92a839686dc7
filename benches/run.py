"""Orchestrates the load runs of `benches/run`: starts the parties, alternates the variants, prints medians.

Two ratios: requests per second, which mean something on an idle machine only, and processor time per
request, which a busy machine disturbs less. One core carries what is measured (and, for nginx + auth_request, everything that takes part), the other one
carries wrk and the app. Access logs are on on both sides: nginx with `buffer=64k`, ours as shipped.
"""

import argparse
import base64
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "64"))
BINARY = os.path.abspath(os.environ["BENCH_BINARY"])
UPSTREAM = os.path.abspath(os.environ["BENCH_UPSTREAM"])
MEASURED, LOAD = os.environ.get("BENCH_CORES", "0 1").split()
APP, PORTAL = "localhost", "auth.localhost"
PASSWORD = "correct-Horse-7-staple"
SIZES = [512, 8192, 65536]

children = []


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, core, **kwargs):
    if core is not None:
        command = ["taskset", "-c", core, *command]
    child = subprocess.Popen(command, **kwargs)
    children.append(child)
    return child


def stop(child):
    if child in children:
        children.remove(child)
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def wait_port(port, within=20.0):
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.002)
    raise SystemExit(f"nothing listens on port {port}")


def rss_mib(pid):
    total = 0
    pids = [pid] + [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    for one in pids:
        for line in Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total / 1024


TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    """Processor time that these processes have used, all threads."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def opened_connections():
    """Connections accepted on this machine since it started (TCP PassiveOpens)."""
    names, values = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")]
    return int(dict(zip(names, values))["PassiveOpens"])


class Load:
    """One wrk run."""

    def __init__(self, rps, p50, p99, errors):
        self.rps, self.p50, self.p99, self.errors = rps, p50, p99, errors


def wrk(url, headers, seconds=SECONDS, connections=CONNECTIONS, script=None):
    command = ["taskset", "-c", LOAD, "wrk", "-t1", f"-c{connections}", f"-d{int(seconds)}s", "--latency", "--timeout", "10s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    if script:
        command += ["-s", script]
    out = subprocess.run(command + [url], capture_output=True, text=True, check=True).stdout
    rps = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])

    def percentile(name):
        value, unit = re.search(rf"^\s+{name}%\s+([\d.]+)(us|ms|s|m)\s*$", out, re.M).groups()
        return float(value) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]

    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: (.*)", out)
    errors = (int(wrong[1]) if wrong else 0), (broken[1] if broken else "")
    return Load(rps, percentile(50), percentile(99), errors)


def must_be_good(name, load):
    if load.errors[0] or load.errors[1]:
        raise SystemExit(f"{name}: the answers were not all 2xx: {load.errors}")


class Gateway:
    """vestibule on its own data directory."""

    def __init__(self, folder, upstream, core=MEASURED, routes=1, name="v"):
        self.folder = Path(folder) / name
        self.data = self.folder / "data"
        self.data.mkdir(parents=True, mode=0o700)
        self.plain, self.tls, self.hook, self.telemetry = (free_port() for _ in range(4))
        self.core = core
        text = f"""
[server]
portal_url = "https://{PORTAL}"
environment = "development"
data_dir = "{self.data}"
trusted_proxies = ["127.0.0.1"]
workers = 1
[[listener]]
address = "127.0.0.1:{self.plain}"
[[listener]]
address = "127.0.0.1:{self.tls}"
tls = true
[[listener]]
address = "127.0.0.1:{self.hook}"
door = "forward-auth"
[[tls.certificate]]
cert = "{folder}/leaf.pem"
key = "{folder}/leaf.key"
[secrets]
auth_secret = "{base64.b64encode(os.urandom(48)).decode()}"
[auth.token]
access_lifetime = "2h"
[api_keys]
rate_limit = {{ requests = 1000000000, window = "1m" }}
[telemetry]
listen = "127.0.0.1:{self.telemetry}"
access_log = {{ format = "json", file = "{self.folder}/access.log" }}
"""
        for number in range(routes):
            host = APP if number == 0 else f"r{number}.localhost"
            text += f"""
[[route]]
name = "r{number}"
host = "{host}"
upstream = ["http://127.0.0.1:{upstream}"]
access = "signed-in"
"""
        self.file = self.folder / "vestibule.toml"
        self.file.write_text(text)
        self.file.chmod(0o600)
        self.start()

    def start(self):
        self.log = open(self.folder / "log", "ab")
        begun = time.monotonic()
        self.child = start([BINARY, "serve", "-c", str(self.file)], self.core, stdout=self.log, stderr=self.log)
        end = begun + 60
        while True:
            try:
                if self.ask(self.plain, "GET", PORTAL, "/health")[0] == 200:
                    break
            except OSError:
                pass
            if time.monotonic() > end or self.child.poll() is not None:
                raise SystemExit((self.folder / "log").read_text()[-2000:])
            time.sleep(0.0005)
        self.first_answer_ms = (time.monotonic() - begun) * 1000

    def stop(self):
        stop(self.child)

    def cli(self, *arguments, stdin=""):
        done = subprocess.run([BINARY, *arguments, "-c", str(self.file)], input=stdin, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"vestibule {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def ask(self, port, method, host, path, headers=None, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        headers = {"Host": host, **(headers or {})}
        if body is not None:
            body = json.dumps(body).encode()
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        result = answer.status, answer.headers, answer.read()
        connection.close()
        return result

    def credentials(self):
        """Session cookie of the app's host, API key, access token."""
        self.cli("user", "add", "ann@example.test", "--username", "ann", "--group", "staff", "--status", "active",
                 "--password-file", "-", stdin=PASSWORD + "\n")
        self.origin = {"Origin": f"https://{PORTAL}", "Sec-Fetch-Site": "same-origin"}
        login = {"email": "ann@example.test", "password": PASSWORD}
        status, headers, body = self.ask(self.plain, "POST", PORTAL, "/api/v1/auth/login", self.origin, login | {"cookie": True})
        assert status == 200, (status, body)
        jar = {PORTAL: dict([headers["Set-Cookie"].split(";")[0].split("=", 1)])}
        url = f"https://{APP}/.vestibule/start?rd=https%3A%2F%2F{APP}%2F512"
        for _ in range(6):
            host, path = re.match(r"https://([^/]+)(.*)", url).groups()
            cookies = "; ".join(f"{n}={v}" for n, v in jar.get(host, {}).items())
            status, headers, body = self.ask(self.plain, "GET", host, path, {"Cookie": cookies, "Sec-Fetch-Mode": "navigate"})
            for value in headers.get_all("Set-Cookie") or []:
                name, value = value.split(";")[0].split("=", 1)
                jar.setdefault(host, {})[name] = value
            if "Location" not in headers or path.startswith("/512"):
                break
            url = headers["Location"] if "://" in headers["Location"] else f"https://{host}{headers['Location']}"
        session = jar[APP]["__Host-vestibule"]
        portal = {"Cookie": "; ".join(f"{n}={v}" for n, v in jar[PORTAL].items()), **self.origin}
        status, _, body = self.ask(self.plain, "POST", PORTAL, "/api/v1/auth/api-keys", portal, {"name": "bench"})
        assert status == 201, (status, body)
        key = json.loads(body)["key"]
        status, _, body = self.ask(self.plain, "POST", PORTAL, "/api/v1/auth/login", self.origin, login)
        assert status == 200, (status, body)
        token = json.loads(body)["access_token"]
        return {
            "session cookie": {"Cookie": f"__Host-vestibule={session}"},
            "API key": {"X-Api-Key": key},
            "access token": {"Authorization": f"Bearer {token}"},
        }


def nginx(folder, name, http_block, core=MEASURED):
    home = Path(folder) / name
    home.mkdir()
    paths = "\n".join(f"{p}_temp_path {home}/{p};" for p in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    (home / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\nworker_processes 1;\npid {home}/pid;\nerror_log {home}/error.log;\n"
        f"events {{ worker_connections 4096; }}\nhttp {{\n{paths}\n"
        f"access_log {home}/access.log combined buffer=64k flush=1s;\n"
        "keepalive_requests 100000000;\nkeepalive_timeout 1h;\n"
        "proxy_buffer_size 16k;\nproxy_buffers 16 16k;\nproxy_busy_buffers_size 64k;\n"
        f"{http_block}\n}}\n"
    )
    env = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin"}
    return start(["nginx", "-e", "stderr", "-p", str(home), "-c", str(home / "nginx.conf")], core, env=env)


FORWARD = """
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto https;
        proxy_set_header X-Forwarded-Host $host;
"""


class Table:
    def __init__(self, title, columns):
        print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)

    def row(self, *cells):
        print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def alternate(variants, rounds=ROUNDS, **kwargs):
    """Runs every variant (URL, fields, processes that serve it) once a round, so that drift meets all
    alike. Medians by name: the load, connections opened and processor time per request, lowest and highest rate."""
    runs, opened, costs = ({name: [] for name in variants} for _ in range(3))
    for name, (url, headers, _) in variants.items():
        must_be_good(name, wrk(url, headers, seconds=1, connections=kwargs.get("connections", CONNECTIONS)))
    for _ in range(rounds):
        for name, (url, headers, serving) in variants.items():
            pids = [child.pid for child in serving]
            before, used = opened_connections(), cpu_seconds(pids)
            load = wrk(url, headers, **kwargs)
            must_be_good(name, load)
            mine = kwargs.get("connections", CONNECTIONS)
            requests = max(1, load.rps * kwargs.get("seconds", SECONDS))
            costs[name].append((cpu_seconds(pids) - used) * 1e6 / requests)
            opened[name].append(max(0, opened_connections() - before - mine) / requests)
            runs[name].append(load)
    median = lambda loads, key: statistics.median(getattr(load, key) for load in loads)
    return {
        name: (Load(median(loads, "rps"), median(loads, "p50"), median(loads, "p99"), None), statistics.median(opened[name]),
               statistics.median(costs[name]), min(l.rps for l in loads), max(l.rps for l in loads))
        for name, loads in runs.items()
    }


def show(title, results, base):
    table = Table(title, ["variant", "requests/s (min–max)", "ratio", "CPU µs a request", "ratio by CPU",
                          "p50 µs", "p99 µs", "p50 ratio", "new connections a request"])
    for name, (load, opened, cost, low, high) in results.items():
        first, first_cost = results[base][0], results[base][2]
        table.row(name, f"{load.rps:,.0f} ({low:,.0f}–{high:,.0f})", f"**{load.rps / first.rps:.2f}**", f"{cost:.1f}",
                  f"{first_cost / max(cost, 0.01):.2f}", f"{load.p50:.0f}", f"{load.p99:.0f}", f"{load.p50 / first.p50:.2f}", f"{opened:.4f}")


def core(folder, upstream):
    gateway = Gateway(folder, upstream)
    known = gateway.credentials()
    idle = rss_mib(gateway.child.pid)
    bare_port, asked_port, empty_port = free_port(), free_port(), free_port()
    bare = nginx(folder, "bare", f"""
upstream app {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 100000000; keepalive_timeout 1h; }}
server {{ listen 127.0.0.1:{bare_port}; location / {{ proxy_pass http://app;{FORWARD}}} }}
server {{ listen 127.0.0.1:{empty_port}; location / {{ return 200; }} }}
""")
    snippet = gateway.cli("snippet", "nginx", "--hook", f"127.0.0.1:{gateway.hook}", "--door", f"127.0.0.1:{gateway.plain}")
    # The shipped text; only the socket and what plain HTTP asks for are put in.
    snippet = re.sub(r"listen 443 ssl;\s*ssl_certificate [^;]*;\s*ssl_certificate_key [^;]*;", f"listen 127.0.0.1:{asked_port};", snippet)
    snippet = snippet.replace("$scheme", "https")
    asked = nginx(folder, "asked", snippet)
    for port in (bare_port, asked_port):
        wait_port(port)

    for size in SIZES:
        variants = {
            "nginx proxy_pass": (f"http://localhost:{bare_port}/{size}", {}, [bare]),
            "nginx + auth_request to vestibule": (f"http://localhost:{asked_port}/{size}", known["session cookie"], [asked, gateway.child]),
        }
        for name, headers in known.items():
            variants[f"vestibule, {name}"] = (f"http://localhost:{gateway.plain}/{size}", headers, [gateway.child])
        show(f"Proxying, {size} bytes, {CONNECTIONS} connections, one core", alternate(variants), "nginx proxy_pass")

    ask = {"X-Original-Method": "GET", "X-Original-URL": f"https://{APP}/512", "X-Forwarded-For": "127.0.0.1"}
    show("The hook asked directly", alternate({
        "nginx return 200": (f"http://localhost:{empty_port}/", known["session cookie"] | ask, [bare]),
        "vestibule auth-request": (f"http://127.0.0.1:{gateway.hook}/api/authz/auth-request", known["session cookie"] | ask, [gateway.child]),
    }), "nginx return 200")
    show("One connection, 512 bytes", alternate({
        "nginx proxy_pass": (f"http://localhost:{bare_port}/512", {}, [bare]),
        "vestibule, session cookie": (f"http://localhost:{gateway.plain}/512", known["session cookie"], [gateway.child]),
    }, connections=1), "nginx proxy_pass")
    loaded = rss_mib(gateway.child.pid)
    table = Table("Memory and start", ["", "vestibule", "nginx", "ratio"])
    bare_rss = rss_mib(bare.pid)
    table.row("RSS with one session, idle, MiB", f"{idle:.1f}", "", "")
    table.row("RSS after load, MiB", f"{loaded:.1f}", f"{bare_rss:.1f}", f"{loaded / bare_rss:.1f}")
    for child in (bare, asked):
        stop(child)
    gateway.stop()


def memory(folder, upstream):
    gateway = Gateway(folder, upstream, name="memory")
    first, second = gateway.first_answer_ms, []
    fresh = rss_mib(gateway.child.pid)
    for _ in range(5):
        gateway.stop()
        gateway.start()
        second.append(gateway.first_answer_ms)
    table = Table("Start and idle memory", ["", "value"])
    table.row("start to first answer, new data directory, ms", f"{first:.0f}")
    table.row("start to first answer, median of 5, ms", f"{statistics.median(second):.0f}")
    table.row("RSS idle after start, MiB", f"{fresh:.1f}")
    gateway.stop()


def tls(folder, upstream):
    gateway = Gateway(folder, upstream, name="tls")
    known = gateway.credentials()
    port = free_port()
    front = nginx(folder, "nginx-tls", f"""
upstream app {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 100000000; keepalive_timeout 1h; }}
server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/leaf.key;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m;
  location / {{ proxy_pass http://app;{FORWARD}}} }}
""")
    wait_port(port)
    for size in SIZES:
        show(f"TLS to the client, {size} bytes", alternate({
            "nginx proxy_pass": (f"https://localhost:{port}/{size}", {}, [front]),
            "vestibule, session cookie": (f"https://localhost:{gateway.tls}/{size}", known["session cookie"], [gateway.child]),
        }), "nginx proxy_pass")
    stop(front)
    gateway.stop()


FLOOD = """
wrk.method = "POST"
wrk.headers["Host"] = "%s"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Origin"] = "https://%s"
local n = 0
request = function()
  n = n + 1
  return wrk.format(nil, "/api/v1/auth/login", nil, '{"email":"nobody' .. (n %% 50) .. '@example.test","password":"wrong-' .. n .. '"}')
end
"""


def flood(folder, upstream):
    table = Table("16 connections of wrong passwords beside 16 of authenticated requests",
                  ["cores of the gateway", "p99 µs alone", "p99 µs under the flood", "ratio", "requests/s alone", "under the flood", "RSS MiB after"])
    script = Path(folder) / "flood.lua"
    script.write_text(FLOOD % (PORTAL, PORTAL))
    for label, cores in (("one", MEASURED), ("all", None)):
        gateway = Gateway(folder, upstream, core=cores, name=f"flood-{label}")
        known = gateway.credentials()
        url, headers = f"http://localhost:{gateway.plain}/512", known["session cookie"]
        alone, under = [], []
        for _ in range(ROUNDS):
            load = wrk(url, headers, connections=16)
            must_be_good("alone", load)
            alone.append(load)
            attack = start(["wrk", "-t1", "-c16", f"-d{int(SECONDS) + 2}s", "--timeout", "60s", "-s", str(script),
                            f"http://127.0.0.1:{gateway.plain}"], LOAD, stdout=subprocess.DEVNULL)
            time.sleep(1)
            load = wrk(url, headers, connections=16)
            must_be_good("under the flood", load)
            under.append(load)
            attack.wait()
            children.remove(attack)
        med = lambda loads, key: statistics.median(getattr(l, key) for l in loads)
        table.row(label, f"{med(alone, 'p99'):.0f}", f"{med(under, 'p99'):.0f}", f"**{med(under, 'p99') / med(alone, 'p99'):.2f}**",
                  f"{med(alone, 'rps'):,.0f}", f"{med(under, 'rps'):,.0f}", f"{rss_mib(gateway.child.pid):.1f}")
        gateway.stop()


def routes(folder, upstream):
    gateways = {n: Gateway(folder, upstream, routes=n, name=f"routes-{n}") for n in (1, 100, 10_000)}
    variants = {f"{n:,} routes": (f"http://localhost:{g.plain}/512", g.credentials()["session cookie"], [g.child]) for n, g in gateways.items()}
    show("Number of routes", alternate(variants), "1 routes")
    table = Table("Memory by number of routes", ["routes", "RSS MiB", "start to first answer ms"])
    for n, gateway in gateways.items():
        table.row(f"{n:,}", f"{rss_mib(gateway.child.pid):.1f}", f"{gateway.first_answer_ms:.0f}")
        gateway.stop()


def sessions(folder, upstream):
    found, sizes = {}, {}
    for n in (1, 100_000, 1_000_000):
        gateway = Gateway(folder, upstream, name=f"sessions-{n}")
        headers = gateway.credentials()["session cookie"]
        gateway.stop()
        more_sessions(next(gateway.data.glob("*.db")), n)
        gateway.start()
        # One session, so answered from the cache; and the first look-up of it, which is not.
        begun = time.monotonic()
        status, _, _ = gateway.ask(gateway.plain, "GET", APP, "/512", headers)
        assert status == 200, status
        cold = (time.monotonic() - begun) * 1e6
        found[n] = (gateway, headers, cold)
        sizes[n] = gateway
    variants = {f"{n:,} sessions": (f"http://localhost:{g.plain}/512", h, [g.child]) for n, (g, h, _) in found.items()}
    show("Number of stored sessions", alternate(variants), "1 sessions")
    table = Table("By number of stored sessions", ["sessions", "first request µs (from the store)", "RSS MiB", "start to first answer ms"])
    for n, (gateway, _, cold) in found.items():
        table.row(f"{n:,}", f"{cold:.0f}", f"{rss_mib(gateway.child.pid):.1f}", f"{gateway.first_answer_ms:.0f}")
        gateway.stop()


def more_sessions(database, n):
    """Copies the newest session n times under new ids; nobody knows their tokens, they only weigh."""
    store = sqlite3.connect(database)
    columns = [row[1] for row in store.execute("PRAGMA table_info(sessions)") if row[1] != "id"]
    store.execute("PRAGMA synchronous = OFF")
    store.execute(f"""
        INSERT INTO sessions (id, {', '.join(columns)})
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})
        SELECT lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a'
               || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))), {', '.join('s.' + c for c in columns)}
        FROM n, (SELECT * FROM sessions ORDER BY created_at DESC LIMIT 1) s""")
    store.execute("""INSERT INTO session_tokens (hash, session_id, host, created_at)
                     SELECT randomblob(32), id, NULL, created_at FROM sessions""")
    store.commit()
    store.close()


PARTS = {"core": core, "tls": tls, "memory": memory, "flood": flood, "routes": routes, "sessions": sessions}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(PARTS))
    chosen = parser.parse_args().only.split(",")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-keyout", f"{folder}/leaf.key", "-out", f"{folder}/leaf.pem", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,DNS:*.localhost"], check=True, stderr=subprocess.DEVNULL)
        os.chmod(f"{folder}/leaf.key", 0o600)
        port = free_port()
        try:
            start([UPSTREAM, str(port)], LOAD, stdout=subprocess.DEVNULL)
            wait_port(port)
            model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
            print(f"Machine: {model[1] if model else '?'}, {os.cpu_count()} cores; {ROUNDS} rounds of {SECONDS} s, medians; load before: "
                  f"{os.getloadavg()[0]:.2f}")
            for name in chosen:
                say(f"== {name}")
                PARTS[name](folder, port)
        finally:
            for child in list(children):
                stop(child)


if __name__ == "__main__":
    main()
