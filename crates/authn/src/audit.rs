//! Audit events: to the log (target `audit`) at once, to the store in batches.

use crate::Authn;
use crate::ports::AuditEvent;

impl Authn {
    /// Writes an event. Never blocks and never fails the caller; what the store could not
    /// take is tried again and counted.
    pub fn audit(&self, event: AuditEvent) {
        let _ = event;
        todo!("authn helper")
    }
}
