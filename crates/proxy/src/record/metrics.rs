//! Counters of one worker: plain cells that only it writes, summed when they are scraped.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vestibule_core::facts::Door;
use vestibule_core::verdict::Reason;

use super::Exchange;

/// Upper bounds of the histograms' buckets, in microseconds.
const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
const VERDICTS: [&str; 4] = ["allow", "challenge", "deny", "step-up"];
const DOORS: [Door; 4] = [Door::AuthRequest, Door::ExtAuthz, Door::ForwardAuth, Door::Proxy];
/// Why a connection ended other than well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionError {
    BadRequest,
    HeadTooLarge,
    HeaderTimeout,
    Io,
    Stalled,
    Tls,
    TlsTimeout,
}

const ERRORS: [&str; 7] =
    ["bad-request", "head-too-large", "header-timeout", "io", "stalled", "tls", "tls-timeout"];

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    over: AtomicU64,
    sum_micros: AtomicU64,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|&bound| micros <= bound);
        bump(bucket.and_then(|at| self.buckets.get(at)).unwrap_or(&self.over), 1);
        bump(&self.sum_micros, micros);
    }
}

/// A cell has one writer, so a load and a store are enough.
fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    route: Arc<str>,
    code: u16,
    method: usize,
}

/// Cells of one worker that the scrape reads.
pub(crate) struct Cells {
    requests: Mutex<Vec<(Series, Arc<AtomicU64>)>>,
    duration: Histogram,
    upstream: Histogram,
    verdicts: Vec<AtomicU64>,
    errors: [AtomicU64; ERRORS.len()],
}

/// The worker's own side.
pub(crate) struct WorkerMetrics {
    cells: Arc<Cells>,
    known: RefCell<Vec<(Series, Arc<AtomicU64>)>>,
    last: Cell<usize>,
}

impl WorkerMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let verdicts = DOORS.len() * VERDICTS.len() * Reason::ALL.len();
        let cells = Arc::new(Cells {
            requests: Mutex::default(),
            duration: Histogram::default(),
            upstream: Histogram::default(),
            verdicts: (0..verdicts).map(|_| AtomicU64::new(0)).collect(),
            errors: Default::default(),
        });
        registry.workers.lock().unwrap_or_else(PoisonError::into_inner).push(cells.clone());
        Self { cells, known: RefCell::default(), last: Cell::new(0) }
    }

    pub(crate) fn connection_error(&self, error: ConnectionError) {
        if let Some(cell) = self.cells.errors.get(error as usize) {
            bump(cell, 1);
        }
    }

    pub(crate) fn count(&self, exchange: &Exchange, took: Duration) {
        let method = exchange.method.as_str();
        let method = METHODS.iter().position(|m| *m == method).unwrap_or(METHODS.len() - 1);
        let route = exchange.route.as_ref().map(|route| &route.route.name);
        self.count_request(route, exchange.status, method);
        self.cells.duration.observe(took);
        if let Some(upstream) = exchange.upstream_time {
            self.cells.upstream.observe(upstream);
        }
        let at = verdict_index(exchange.door, exchange.verdict, exchange.reason);
        if let Some(cell) = at.and_then(|at| self.cells.verdicts.get(at)) {
            bump(cell, 1);
        }
    }

    fn count_request(&self, route: Option<&Arc<str>>, code: u16, method: usize) {
        let mut known = self.known.borrow_mut();
        let is = |series: &Series| {
            series.code == code
                && series.method == method
                && route.map_or("", |route| route) == &*series.route
        };
        if let Some((series, cell)) = known.get(self.last.get())
            && is(series)
        {
            return bump(cell, 1);
        }
        if let Some(at) = known.iter().position(|(series, _)| is(series)) {
            self.last.set(at);
            if let Some((_, cell)) = known.get(at) {
                bump(cell, 1);
            }
            return;
        }
        let route = route.cloned().unwrap_or_else(|| Arc::from(""));
        let entry = (Series { route, code, method }, Arc::new(AtomicU64::new(1)));
        self.cells.requests.lock().unwrap_or_else(PoisonError::into_inner).push(entry.clone());
        self.last.set(known.len());
        known.push(entry);
    }
}

fn verdict_index(door: Door, verdict: &str, reason: Reason) -> Option<usize> {
    let door = DOORS.iter().position(|d| *d == door)?;
    let verdict = VERDICTS.iter().position(|v| *v == verdict)?;
    // `ALL` is in the order of the declaration.
    Some((door * VERDICTS.len() + verdict) * Reason::ALL.len() + reason as usize)
}

/// All workers' cells.
#[derive(Default)]
pub(crate) struct Registry {
    workers: Mutex<Vec<Arc<Cells>>>,
    pub(crate) log_dropped: AtomicU64,
}

/// The proxy's metrics at one moment.
pub struct Metrics {
    pub(crate) registry: Arc<Registry>,
    pub(crate) certificates: Vec<(String, i64)>,
}

impl Metrics {
    /// Renders Prometheus' text format (version 0.0.4).
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(8192);
        let workers = self.registry.workers.lock().unwrap_or_else(PoisonError::into_inner);
        render_requests(&mut out, &workers);
        histogram(&mut out, "vestibule_request_duration_seconds", &workers, |c| &c.duration);
        histogram(&mut out, "vestibule_upstream_duration_seconds", &workers, |c| &c.upstream);
        render_verdicts(&mut out, &workers);
        let errors = ERRORS.iter().enumerate();
        head(&mut out, "vestibule_connection_errors_total", "counter");
        for (at, reason) in errors {
            let sum = sum(&workers, |c| c.errors.get(at));
            let _ = writeln!(out, "vestibule_connection_errors_total{{reason=\"{reason}\"}} {sum}");
        }
        head(&mut out, "vestibule_log_dropped_total", "counter");
        let dropped = self.registry.log_dropped.load(Relaxed);
        let _ = writeln!(out, "vestibule_log_dropped_total {dropped}");
        head(&mut out, "vestibule_certificate_expiry_seconds", "gauge");
        for (name, expiry) in &self.certificates {
            let name = escaped(name);
            let _ =
                writeln!(out, "vestibule_certificate_expiry_seconds{{name=\"{name}\"}} {expiry}");
        }
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}");
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn sum<'a>(workers: &'a [Arc<Cells>], cell: impl Fn(&'a Cells) -> Option<&'a AtomicU64>) -> u64 {
    workers.iter().filter_map(|w| cell(w)).map(|cell| cell.load(Relaxed)).sum()
}

fn render_requests(out: &mut String, workers: &[Arc<Cells>]) {
    let mut sums: BTreeMap<Series, u64> = BTreeMap::new();
    for worker in workers {
        for (series, cell) in &*worker.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            *sums.entry(series.clone()).or_default() += cell.load(Relaxed);
        }
    }
    head(out, "vestibule_requests_total", "counter");
    for (Series { route, code, method }, count) in sums {
        let (route, method) = (escaped(&route), METHODS.get(method).unwrap_or(&"other"));
        let _ = writeln!(
            out,
            "vestibule_requests_total{{route=\"{route}\",code=\"{code}\",method=\"{method}\"}} {count}"
        );
    }
}

fn render_verdicts(out: &mut String, workers: &[Arc<Cells>]) {
    head(out, "vestibule_verdicts_total", "counter");
    for door in DOORS {
        for verdict in VERDICTS {
            for reason in Reason::ALL {
                let at = verdict_index(door, verdict, *reason);
                let sum = sum(workers, |c| at.and_then(|at| c.verdicts.get(at)));
                if sum > 0 {
                    let door = door.as_str();
                    let _ = writeln!(
                        out,
                        "vestibule_verdicts_total{{door=\"{door}\",verdict=\"{verdict}\",reason=\"{reason}\"}} {sum}"
                    );
                }
            }
        }
    }
}

fn histogram(
    out: &mut String,
    name: &str,
    workers: &[Arc<Cells>],
    of: impl Fn(&Cells) -> &Histogram,
) {
    head(out, name, "histogram");
    let mut count = 0;
    for (at, bound) in BOUNDS.iter().enumerate() {
        count += sum(workers, |c| of(c).buckets.get(at));
        let le = Duration::from_micros(*bound).as_secs_f64();
        let _ = writeln!(out, "{name}_bucket{{le=\"{le}\"}} {count}");
    }
    count += sum(workers, |c| Some(&of(c).over));
    let total = Duration::from_micros(sum(workers, |c| Some(&of(c).sum_micros))).as_secs_f64();
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{name}_sum {total}");
    let _ = writeln!(out, "{name}_count {count}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scrape_sums_workers_and_escapes_labels() {
        let registry = Arc::new(Registry::default());
        for _ in 0..2 {
            let worker = WorkerMetrics::new(&registry);
            let route: Arc<str> = Arc::from("a\"b");
            worker.count_request(Some(&route), 200, 0);
            worker.count_request(Some(&route), 200, 0);
            worker.count_request(None, 404, 7);
            worker.cells.duration.observe(Duration::from_micros(700));
            worker.connection_error(ConnectionError::HeaderTimeout);
        }
        let text = Metrics { registry, certificates: vec![("a.example".into(), 7)] }.render();
        for line in [
            "vestibule_requests_total{route=\"a\\\"b\",code=\"200\",method=\"GET\"} 4",
            "vestibule_requests_total{route=\"\",code=\"404\",method=\"other\"} 2",
            "vestibule_request_duration_seconds_bucket{le=\"0.0005\"} 0",
            "vestibule_request_duration_seconds_bucket{le=\"0.001\"} 2",
            "vestibule_request_duration_seconds_count 2",
            "vestibule_connection_errors_total{reason=\"header-timeout\"} 2",
            "vestibule_certificate_expiry_seconds{name=\"a.example\"} 7",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
