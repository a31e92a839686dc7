//! Figures for `/metrics`: counted here, rendered elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::Authn;
use crate::identity_cache::{FORMS, Form};

/// A reading of all counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `vestibule_signins_total{method,result}`
    pub signins: Vec<(&'static str, &'static str, u64)>,
    /// Password hashes worked out: one a checked sign-in, whether the account exists or not.
    pub password_hashes: u64,
    /// `vestibule_cache_hits_total{cache}`
    pub cache_hits: Vec<(&'static str, u64)>,
    /// `vestibule_cache_misses_total{cache}`
    pub cache_misses: Vec<(&'static str, u64)>,
    /// `vestibule_rate_limited_total{scope}`
    pub rate_limited: Vec<(&'static str, u64)>,
    /// `vestibule_sessions_active`: sessions in use lately; the stored ones are
    /// [`crate::ports::Store::count_sessions`].
    pub sessions_active: u64,
    /// Audit events that neither store nor memory could keep.
    pub audit_dropped: u64,
}

impl Authn {
    /// The counters as they stand.
    pub fn counters(&self) -> Counters {
        let forms = |values: &[AtomicU64; FORMS]| {
            let read = values.iter().map(|v| v.load(Ordering::Relaxed));
            Form::ALL.iter().map(|f| f.as_str()).zip(read).collect()
        };
        let lock = |map: &Mutex<BTreeMap<_, _>>| -> BTreeMap<_, _> {
            map.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let live = &self.counters;
        Counters {
            signins: lock(&live.signins).into_iter().map(|((m, r), n)| (m, r, n)).collect(),
            password_hashes: self.passwords.hashed(),
            cache_hits: forms(&live.hits),
            cache_misses: forms(&live.misses),
            rate_limited: live
                .limited
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .map(|(scope, n)| (*scope, *n))
                .collect(),
            sessions_active: self.cache.sessions(),
            audit_dropped: self.trail.dropped(),
        }
    }
}

/// The counters while they count.
#[derive(Default)]
pub(crate) struct Live {
    signins: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    hits: [AtomicU64; FORMS],
    misses: [AtomicU64; FORMS],
    limited: Mutex<BTreeMap<&'static str, u64>>,
}

impl Live {
    pub(crate) fn sign_in(&self, method: &'static str, result: &'static str) {
        let mut signins = self.signins.lock().unwrap_or_else(PoisonError::into_inner);
        *signins.entry((method, result)).or_default() += 1;
    }

    pub(crate) fn rate_limited(&self, scope: &'static str) {
        let mut limited = self.limited.lock().unwrap_or_else(PoisonError::into_inner);
        *limited.entry(scope).or_default() += 1;
    }

    pub(crate) fn hit(&self, form: Form) {
        count(&self.hits, form);
    }

    pub(crate) fn miss(&self, form: Form) {
        count(&self.misses, form);
    }
}

fn count(values: &[AtomicU64; FORMS], form: Form) {
    if let Some(value) = Form::ALL.iter().position(|f| *f == form).and_then(|at| values.get(at)) {
        value.fetch_add(1, Ordering::Relaxed);
    }
}
