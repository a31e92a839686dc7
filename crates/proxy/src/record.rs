//! What is remembered of each request: one access line and one set of counters, both written
//! when the answer's body is over, whatever its end. Never a query, a cookie or a key.

pub(crate) mod access_log;
pub(crate) mod metrics;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use vestibule_core::credential::CredentialKind;
use vestibule_core::facts::Door;
use vestibule_core::host::Host;
use vestibule_core::identity::Identity;
use vestibule_core::path::NormalPath;
use vestibule_core::time::UnixMillis;
use vestibule_core::verdict::{Reason, Verdict};

pub(crate) use self::metrics::ConnectionError;
use crate::body::Meter;
use crate::facts::Client;
use crate::server::guard::ConnState;
use crate::snapshot::CompiledRoute;
use crate::worker::Worker;

/// A request under way, from its head to the end of its answer. Dropping it writes the record.
pub(crate) struct Exchange {
    pub(crate) worker: Rc<Worker>,
    pub(crate) conn: Arc<ConnState>,
    pub(crate) started: Instant,
    /// The wall clock, asked once a request.
    pub(crate) now: UnixMillis,
    pub(crate) request_id: RequestId,
    pub(crate) method: Method,
    pub(crate) host: Option<Host>,
    pub(crate) path: Option<NormalPath>,
    pub(crate) client: Client,
    pub(crate) door: Door,
    pub(crate) status: u16,
    pub(crate) verdict: &'static str,
    pub(crate) reason: Reason,
    pub(crate) rule: Option<usize>,
    pub(crate) route: Option<Arc<CompiledRoute>>,
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) meter: Option<Rc<Meter>>,
    pub(crate) bytes_out: u64,
    pub(crate) upstream_time: Option<Duration>,
    /// The answer ended before its end.
    pub(crate) broke_off: bool,
    pub(crate) user_agent: Option<http::HeaderValue>,
    pub(crate) referer: Option<http::HeaderValue>,
}

impl Exchange {
    /// What was decided.
    pub(crate) fn decided(&mut self, verdict: Verdict, rule: Option<usize>) {
        self.verdict = verdict.as_str();
        self.reason = verdict.reason();
        self.rule = rule;
    }

    /// Refused before or beside the policy.
    pub(crate) fn refused(&mut self, reason: Reason) {
        self.verdict = "deny";
        self.reason = reason;
    }

    /// Resolves when the credential behind this exchange ends; `None`: nobody's.
    pub(crate) fn watch(&self) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        let identity = self.identity.as_ref()?;
        let is_foreign = matches!(identity.credential, CredentialKind::Jwt(_));
        if identity.session.is_none() && identity.key.is_none() && !is_foreign {
            return None;
        }
        let mut watch = self.worker.shared.authn.watch(identity);
        Some(Box::pin(async move { watch.ended().await }))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.conn.end_exchange();
        let worker = self.worker.clone();
        let took = self.started.elapsed();
        worker.metrics.count(self, took);
        if self.route.as_ref().is_none_or(|route| route.route.access_log) {
            worker.log.write(self, took);
        }
    }
}

/// A request's id: unique, no secret. Also the trace id of requests that bring none.
#[derive(Clone)]
pub(crate) enum RequestId {
    /// Made here.
    Own(uuid::Uuid),
    /// Told by a trusted proxy.
    Told(Arc<str>),
}

impl RequestId {
    /// Calls `f` with the text.
    pub(crate) fn with_text<T>(&self, f: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Own(uuid) => {
                f(uuid.as_hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
            }
            Self::Told(text) => f(text),
        }
    }

    /// The text, shared.
    pub(crate) fn shared(&self) -> Arc<str> {
        match self {
            Self::Own(_) => self.with_text(|text| Arc::from(text)),
            Self::Told(text) => text.clone(),
        }
    }
}
