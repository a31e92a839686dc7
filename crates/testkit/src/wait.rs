//! Polling with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once. Generous: machines are slow.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Polls until `probe` yields a value; panics with `what` after [`DEADLINE`].
#[track_caller]
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, probe)
}

/// Polls until `probe` yields a value; panics with `what` when `within` has passed.
#[track_caller]
pub fn until_within<T>(within: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < end, "waited {within:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
