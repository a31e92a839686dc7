//! What was proved lately, kept in memory: who, never whether.
//!
//! An entry is believed only while the flags of its account and of its session or key stand
//! and no sweeping change happened; a revocation turns flags, so nothing has to be searched
//! for. A fill that read before a revocation can neither be kept nor be handed to a request
//! that came after it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};

use vestibule_core::id::{AccountId, KeyId, SessionId};
use vestibule_core::identity::Identity;
use vestibule_core::time::UnixMillis;

use crate::ports::{Digest, StoreResult};

/// The longest time an entry is believed without asking the store again.
const MAX_STALENESS: Duration = Duration::from_secs(30);
/// How long "not there" is believed.
const NEGATIVE_LIFE: Duration = Duration::from_secs(1);
const CAPACITY: u64 = 100_000;
const NEGATIVE_CAPACITY: u64 = 20_000;

/// How many forms there are.
pub(crate) const FORMS: usize = 6;

/// Which form of credential a digest belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// An API key as the password of Basic.
    Basic,
    /// A JWT of an issuer.
    Jwt,
    /// An API key.
    Key,
    /// A token that its issuer is asked about.
    Opaque,
    /// A session cookie.
    Session,
    /// An access token.
    Token,
}

impl Form {
    pub(crate) const ALL: [Self; FORMS] =
        [Self::Basic, Self::Jwt, Self::Key, Self::Opaque, Self::Session, Self::Token];

    /// The label in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Jwt => "jwt",
            Self::Key => "api-key",
            Self::Opaque => "introspection",
            Self::Session => "session",
            Self::Token => "token",
        }
    }
}

/// A credential in the cache: its form and digest. One form is never another's hit.
pub(crate) type CacheKey = (Form, Digest);

/// Whose flags an entry depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Account(AccountId),
    Key(KeyId),
    Session(SessionId),
}

/// What all entries of one account, session or key share.
#[derive(Debug, Default)]
pub(crate) struct Life {
    gone: AtomicBool,
    /// Last use; never moves back.
    pub(crate) last_seen: AtomicI64,
    /// The last use that was written down for the next flush.
    pub(crate) noted: AtomicI64,
    /// The last `api_key.success` line.
    pub(crate) audited: AtomicI64,
    /// When the tokens of the session's provider are to be renewed; 0: never, or under way.
    pub(crate) renew_at: AtomicI64,
}

impl Life {
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

/// A proved credential.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) identity: Arc<Identity>,
    /// The one host (without port) that the token is good for.
    pub(crate) host: Option<Box<str>>,
    /// Ends after this many milliseconds without a request; `i64::MAX`: never.
    pub(crate) idle_millis: i64,
    pub(crate) account: Arc<Life>,
    /// Of the session or key.
    pub(crate) own: Arc<Life>,
    pub(crate) world: u64,
    /// From here on whoever vouches for the credential must be asked anew.
    pub(crate) believed_until: UnixMillis,
}

pub(crate) type Flight = Shared<BoxFuture<'static, StoreResult<Option<Arc<Entry>>>>>;

pub(crate) struct IdentityCache {
    entries: moka::sync::Cache<CacheKey, Arc<Entry>>,
    negative: moka::sync::Cache<CacheKey, u64>,
    lives: Mutex<HashMap<Subject, Weak<Life>>>,
    flights: Mutex<HashMap<CacheKey, Flight>>,
    /// Moves at every change that a running fill may have missed.
    epoch: AtomicU64,
    /// Moves when everything must be asked anew.
    world: AtomicU64,
}

impl IdentityCache {
    pub(crate) fn new() -> Self {
        Self {
            entries: moka::sync::Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(MAX_STALENESS)
                .build(),
            negative: moka::sync::Cache::builder()
                .max_capacity(NEGATIVE_CAPACITY)
                .time_to_live(NEGATIVE_LIFE)
                .build(),
            lives: Mutex::default(),
            flights: Mutex::default(),
            epoch: AtomicU64::new(0),
            world: AtomicU64::new(0),
        }
    }

    /// A believed entry.
    pub(crate) fn get(&self, key: &CacheKey, now: UnixMillis) -> Option<Arc<Entry>> {
        let found = self.entries.get(key)?;
        (self.is_fresh(&found) && now < found.believed_until).then_some(found)
    }

    /// Whether the credential was found missing a moment ago and nothing was made since.
    pub(crate) fn is_known_missing(&self, key: &CacheKey) -> bool {
        self.negative.get(key).is_some_and(|epoch| epoch == self.epoch())
    }

    pub(crate) fn is_fresh(&self, entry: &Entry) -> bool {
        !entry.account.is_gone()
            && !entry.own.is_gone()
            && entry.world == self.world.load(Ordering::SeqCst)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub(crate) fn world(&self) -> u64 {
        self.world.load(Ordering::SeqCst)
    }

    /// Keeps an entry, unless a change happened since `epoch` was read.
    pub(crate) fn insert(&self, key: CacheKey, entry: Arc<Entry>) {
        self.entries.insert(key, entry);
    }

    /// Keeps a "not there" read under `epoch`.
    pub(crate) fn insert_missing(&self, key: CacheKey, epoch: u64) {
        self.negative.insert(key, epoch);
    }

    /// The shared state of a subject, made where there is none.
    pub(crate) fn life(&self, subject: Subject) -> Arc<Life> {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(life) = lives.get(&subject).and_then(Weak::upgrade) {
            return life;
        }
        let life = Arc::new(Life::default());
        lives.insert(subject, Arc::downgrade(&life));
        life
    }

    /// Joins the running fill of a credential or starts one.
    pub(crate) fn flight(&self, key: CacheKey, start: impl FnOnce() -> Flight) -> Flight {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.entry(key).or_insert_with(start).clone()
    }

    pub(crate) fn landed(&self, key: &CacheKey) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Something was made or switched on: whoever was missing may be there now.
    pub(crate) fn something_new(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What was proved about these holds no longer. Called after the store was written.
    pub(crate) fn forget(&self, subjects: &[Subject]) {
        self.something_new();
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        for subject in subjects {
            if let Some(life) = lives.remove(subject).and_then(|weak| weak.upgrade()) {
                life.gone.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Nothing that was proved is believed any more.
    pub(crate) fn forget_all(&self) {
        self.world.fetch_add(1, Ordering::SeqCst);
        self.something_new();
        self.entries.invalidate_all();
        self.negative.invalidate_all();
    }

    /// Drops what nobody refers to.
    pub(crate) fn sweep(&self) {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.retain(|_, weak| weak.strong_count() > 0);
    }

    /// Different sessions in the cache; an estimate for metrics.
    pub(crate) fn sessions(&self) -> u64 {
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = |(subject, weak): &(&Subject, &Weak<Life>)| {
            matches!(subject, Subject::Session(_)) && weak.strong_count() > 0
        };
        lives.iter().filter(alive).count() as u64
    }
}
