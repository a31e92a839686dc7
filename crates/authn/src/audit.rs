//! Audit events: to the log (target `audit`) at once, to the store in batches.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use vestibule_core::time::UnixMillis;

use crate::ports::AuditEvent;
use crate::{Actor, Authn};

/// Events that wait for the store at most; then the oldest are given up and counted. They
/// stand in the log all the same.
const KEPT: usize = 10_000;
const BATCH: usize = 500;

impl Authn {
    /// Writes an event. Never blocks and never fails the caller; what the store could not
    /// take is tried again and counted.
    pub fn audit(&self, event: AuditEvent) {
        tracing::info!(
            target: "audit",
            time = %rfc3339(event.time),
            event = event.event,
            actor = %event.actor,
            subject = %event.subject,
            client_ip = %event.client_ip,
            request_id = %event.request_id,
            outcome = event.outcome,
            detail = %event.detail,
            "{}",
            event.event
        );
        self.trail.push(event);
    }

    /// An event of somebody at a request.
    pub(crate) fn audit_by(
        &self,
        actor: &Actor,
        event: &'static str,
        subject: impl Display,
        outcome: &'static str,
        detail: impl Into<String>,
        now: UnixMillis,
    ) {
        self.audit(AuditEvent {
            time: now,
            event,
            actor: actor.id.clone(),
            subject: format!("{subject}"),
            client_ip: actor.client_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            request_id: actor.request_id.to_string(),
            outcome,
            detail: detail.into(),
        });
    }

    pub(crate) async fn flush_audit(&self) {
        loop {
            let batch = self.trail.batch();
            if batch.is_empty() {
                return;
            }
            if let Err(error) = self.store.append_audit(&batch).await {
                self.trail.put_back(batch);
                tracing::warn!(%error, "audit events wait in memory for the store");
                // The next try comes with the regular flush.
                return;
            }
        }
    }
}

/// Events on their way to the store.
#[derive(Default)]
pub(crate) struct Trail {
    queue: Mutex<VecDeque<AuditEvent>>,
    filled: Notify,
    dropped: AtomicU64,
}

impl Trail {
    fn push(&self, event: AuditEvent) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(event);
        self.cut(&mut queue);
        drop(queue);
        self.filled.notify_one();
    }

    /// Resolves when an event came in.
    pub(crate) async fn waiting(&self) {
        self.filled.notified().await;
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn batch(&self) -> Vec<AuditEvent> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let length = queue.len().min(BATCH);
        queue.drain(..length).collect()
    }

    fn put_back(&self, batch: Vec<AuditEvent>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        for event in batch.into_iter().rev() {
            queue.push_front(event);
        }
        self.cut(&mut queue);
    }

    fn cut(&self, queue: &mut VecDeque<AuditEvent>) {
        while queue.len() > KEPT {
            queue.pop_front();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A point in time as RFC 3339 with milliseconds, UTC.
pub(crate) fn rfc3339(time: UnixMillis) -> String {
    let days = time.secs().div_euclid(86_400);
    let second = time.secs().rem_euclid(86_400);
    // Civil date from days, after Howard Hinnant: eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        time.0.rem_euclid(1000)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f8_times_are_printed_as_rfc_3339_also_past_2038() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (2_147_558_400_000, "2038-01-20T00:00:00.000Z"),
            (1_795_253_213_007, "2026-11-21T09:26:53.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(UnixMillis(millis)), text);
        }
    }
}
