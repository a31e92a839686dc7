//! Fixed windows counted from the first request, bounded in memory: authentication
//! endpoints (CONTRACT section 8, "Limits") and API keys.
//!
//! Counters are exact under concurrency: counting and comparing is one step under one lock
//! of a shard. When a shard is full, ended windows go first and then the ones that counted
//! least, so that a flood of new names cannot wipe out a counter that is near its limit.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use vestibule_core::api_key::RateLimit;
use vestibule_core::id::KeyId;
use vestibule_core::time::UnixMillis;

use crate::Authn;

/// A limit that was passed; what the answer's headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Name of the policy: `auth-client`, `auth-email`, `auth-password`, `api-key`, `bad-credentials`, `busy`.
    pub scope: &'static str,
    /// Requests a window.
    pub requests: u32,
    /// Length of a window.
    pub window: Duration,
    /// Until the window ends. At least one second.
    pub retry_after: Duration,
}

impl Authn {
    /// Counts a request to an authentication endpoint (`auth.rate_limit` per client, IPv6 by /64,
    /// IPv4-mapped as IPv4). Called by the portal before anything else.
    pub fn count_auth_request(&self, client: IpAddr, now: UnixMillis) -> Result<(), Limited> {
        let Some(limit) = self.active.load().settings.auth.rate_limit else {
            return Ok(());
        };
        let counted = self.limits.hit("auth-client", Subject::Client(network(client)), limit, now);
        counted.inspect_err(|limited| self.counters.rate_limited(limited.scope))
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// Failing look-ups of one client.
    BadCredentials(IpAddr),
    /// Requests of one client to authentication endpoints.
    Client(IpAddr),
    /// Tries for one e-mail, by its hash.
    Email([u8; 32]),
    /// Wrong passwords for one e-mail from one client.
    EmailAndClient([u8; 32], IpAddr),
    /// Requests with one API key.
    Key(KeyId),
    /// Audit lines about good uses of one key.
    SuccessLine(KeyId),
}

#[derive(Clone, Copy, Debug)]
struct Window {
    start: i64,
    length: i64,
    count: u32,
}

const SHARDS: usize = 32;
/// Counters of a shard; together about 10 MiB at most.
const SHARD_CAPACITY: usize = 4096;

/// All counters of the process.
pub(crate) struct Limits {
    shards: Vec<Mutex<HashMap<Subject, Window>>>,
    hasher: RandomState,
}

impl Limits {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Counts one; fails where the window is used up.
    pub(crate) fn hit(
        &self,
        scope: &'static str,
        subject: Subject,
        limit: RateLimit,
        now: UnixMillis,
    ) -> Result<(), Limited> {
        let length = i64::try_from(limit.window.as_millis()).unwrap_or(i64::MAX).max(1);
        self.with_shard(&subject, |shard| {
            if !shard.contains_key(&subject) && shard.len() >= SHARD_CAPACITY {
                make_room(shard, now);
            }
            let window = shard.entry(subject).or_insert(Window { start: now.0, length, count: 0 });
            if now.0.saturating_sub(window.start) >= window.length {
                *window = Window { start: now.0, length, count: 0 };
            }
            // After a jump back of the clock the window starts anew, its count stays.
            window.start = window.start.min(now.0);
            window.length = length;
            if window.count >= limit.requests {
                return Err(limited(scope, limit, *window, now));
            }
            window.count += 1;
            Ok(())
        })
        .unwrap_or(Ok(()))
    }

    /// Whether the window is used up, without counting.
    pub(crate) fn is_over(
        &self,
        scope: &'static str,
        subject: &Subject,
        limit: RateLimit,
        now: UnixMillis,
    ) -> Option<Limited> {
        self.with_shard(subject, |shard| {
            let window = *shard.get(subject)?;
            let running = now.0.saturating_sub(window.start) < window.length;
            (running && window.count >= limit.requests).then(|| limited(scope, limit, window, now))
        })?
    }

    /// Takes one back that turned out not to count.
    pub(crate) fn give_back(&self, subject: &Subject) {
        self.with_shard(subject, |shard| {
            if let Some(window) = shard.get_mut(subject) {
                window.count = window.count.saturating_sub(1);
            }
        });
    }

    /// Forgets a counter.
    pub(crate) fn forget(&self, subject: &Subject) {
        self.with_shard(subject, |shard| shard.remove(subject));
    }

    fn with_shard<T>(
        &self,
        subject: &Subject,
        work: impl FnOnce(&mut HashMap<Subject, Window>) -> T,
    ) -> Option<T> {
        let number = usize::try_from(self.hasher.hash_one(subject) % SHARDS as u64).ok()?;
        let shard = self.shards.get(number)?;
        Some(work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap().len()).sum()
    }
}

/// Audit lines about refused keys, let through smoothly: ten at once from one client, then one
/// every six seconds (GCRA), so that guessing keys does not fill the disk.
pub(crate) struct FailureLines(DefaultKeyedRateLimiter<IpAddr>);

impl FailureLines {
    pub(crate) fn new() -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(LINES_A_MINUTE)))
    }

    /// Whether a line about this client may be written now.
    pub(crate) fn may_write(&self, client: IpAddr) -> bool {
        self.0.check_key(&network(client)).is_ok()
    }

    /// Forgets clients that were quiet long enough to count as new.
    pub(crate) fn forget_quiet(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

const LINES_A_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();

fn limited(scope: &'static str, limit: RateLimit, window: Window, now: UnixMillis) -> Limited {
    let left = window.start.saturating_add(window.length).saturating_sub(now.0);
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    // Rounded up: who comes back after the told seconds is let in.
    let secs = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    Limited {
        scope,
        requests: limit.requests,
        window: limit.window,
        retry_after: Duration::from_secs(secs.max(1)),
    }
}

fn make_room(shard: &mut HashMap<Subject, Window>, now: UnixMillis) {
    shard.retain(|_, w| now.0.saturating_sub(w.start) < w.length);
    if shard.len() < SHARD_CAPACITY {
        return;
    }
    let mut counts: Vec<u32> = shard.values().map(|w| w.count).collect();
    let middle = counts.len() / 8;
    let (_, &mut bound, _) = counts.select_nth_unstable(middle);
    let mut surplus = middle.max(1);
    shard.retain(|_, w| {
        let goes = w.count <= bound && surplus > 0;
        surplus -= usize::from(goes);
        !goes
    });
}

/// The client as limits see it: IPv4-mapped addresses as IPv4, IPv6 by its /64.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { requests: 100, window: Duration::from_secs(60) };

    fn client(n: u32) -> Subject {
        Subject::Client(IpAddr::V4(n.into()))
    }

    #[test]
    fn seed_000_61_seed_003_79_a_hundred_pass_the_next_does_not_and_all_are_back_when_it_ends() {
        let limits = Limits::new();
        let start = UnixMillis(1_000_500);
        for n in 0..100 {
            assert!(
                limits.hit("t", client(1), LIMIT, start.plus(Duration::from_millis(n))).is_ok()
            );
        }
        let late = start.plus(Duration::from_secs(30));
        let limited = limits.hit("t", client(1), LIMIT, late).unwrap_err();
        assert_eq!(limited.retry_after, Duration::from_secs(30));
        let after = late.plus(limited.retry_after);
        for _ in 0..100 {
            assert!(limits.hit("t", client(1), LIMIT, after).is_ok());
        }
        assert!(limits.hit("t", client(1), LIMIT, after).is_err());
        assert!(limits.hit("t", client(2), LIMIT, after).is_ok());
    }

    #[test]
    fn i3_tries_at_once_pass_at_most_the_limit() {
        let limits = Limits::new();
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..10)
                .map(|_| {
                    scope.spawn(|| {
                        (0..50)
                            .filter(|_| limits.hit("t", client(1), LIMIT, UnixMillis(5)).is_ok())
                            .count()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }

    #[test]
    fn i3_a_flood_of_names_is_bounded_and_wipes_out_no_full_counter() {
        let limits = Limits::new();
        for _ in 0..100 {
            limits.hit("t", client(0), LIMIT, UnixMillis(5)).unwrap();
        }
        for n in 1..400_000 {
            let _ = limits.hit("t", client(n), LIMIT, UnixMillis(6));
        }
        assert!(limits.len() <= SHARDS * SHARD_CAPACITY);
        assert!(limits.hit("t", client(0), LIMIT, UnixMillis(7)).is_err());
    }

    #[test]
    fn x22_a_jump_back_of_the_clock_neither_frees_nor_locks_for_long() {
        let limits = Limits::new();
        for _ in 0..100 {
            limits.hit("t", client(1), LIMIT, UnixMillis(10_000_000)).unwrap();
        }
        let limited = limits.hit("t", client(1), LIMIT, UnixMillis(1_000_000)).unwrap_err();
        assert!(limited.retry_after <= LIMIT.window);
        assert!(limits.hit("t", client(1), LIMIT, UnixMillis(1_060_000)).is_ok());
    }

    #[test]
    fn x17_guessing_keys_writes_ten_lines_and_then_few() {
        let lines = FailureLines::new();
        let one = IpAddr::from([192, 0, 2, 1]);
        let written = (0..1000).filter(|_| lines.may_write(one)).count();
        assert!((10..=12).contains(&written), "{written}");
        assert!(lines.may_write(IpAddr::from([192, 0, 2, 2])));
        lines.forget_quiet();
        assert!(!lines.may_write(one), "a busy client is not forgotten");
    }

    #[test]
    fn a7_forms_of_one_address_share_a_bucket_and_ipv6_counts_by_its_64() {
        let ip = |text: &str| network(text.parse().unwrap());
        assert_eq!(ip("::ffff:1.2.3.4"), ip("1.2.3.4"));
        assert_eq!(ip("2001:db8:1:2::1"), ip("2001:db8:1:2:ffff::9"));
        assert_ne!(ip("2001:db8:1:2::1"), ip("2001:db8:1:3::1"));
    }
}
