//! Argon2id on a capped pool, and which texts may become a password.
//!
//! A permit lives inside the blocking task: a client that leaves frees nothing before its
//! hash has ended, so memory is bounded by permits × 19 MiB whatever clients do.

pub(crate) mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use vestibule_core::secret::Secret;
use vestibule_core::settings::Settings;
use vestibule_core::settings::auth::Require;

use crate::keyring;
use crate::login::{LoginError, PasswordRefused};
use crate::rate_limit::Limited;

/// The floor of OWASP's password storage advice: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const OUTPUT: usize = 32;
/// Stored hashes that ask for more (a poisoned import) are refused before memory is taken.
const CEILING_KIB: u32 = 256 * 1024;
const CEILING_PASSES: u32 = 64;
/// Tries that wait for a permit at most; further ones are told to come back.
const QUEUE: usize = 64;
/// Longer texts are refused before they are hashed.
pub(crate) const LONGEST_BYTES: usize = 1024;

/// What a check of a password found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Right {
        /// The stored hash is weaker than new ones are.
        outdated: bool,
    },
    Wrong,
}

impl Checked {
    pub(crate) const fn is_right(self) -> bool {
        matches!(self, Self::Right { .. })
    }
}

/// Where passwords are hashed.
pub(crate) struct Pool {
    service: tokio::runtime::Handle,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    hashed: Arc<AtomicU64>,
}

impl Pool {
    pub(crate) fn new(service: tokio::runtime::Handle) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            service,
            permits: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            hashed: Arc::default(),
        }
    }

    /// A new hash (PHC string).
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, LoginError> {
        let hashed = self.hashed.clone();
        self.work(move || new_hash(password.expose_secret().as_bytes(), &hashed))
            .await?
            .ok_or(LoginError::Unavailable)
    }

    /// Compares with a stored hash; without one the same work is done for nothing.
    pub(crate) async fn verify(
        &self,
        password: Secret,
        stored: Option<String>,
    ) -> Result<Checked, LoginError> {
        let hashed = self.hashed.clone();
        self.work(move || check(password.expose_secret().as_bytes(), stored.as_deref(), &hashed))
            .await
    }

    /// How many hashes were worked out, for nothing or not.
    pub(crate) fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LoginError> {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let before = self.waiting.fetch_add(1, Ordering::SeqCst);
                let _waiting = Waiting(&self.waiting);
                if before >= QUEUE {
                    return Err(LoginError::Busy(busy()));
                }
                let permit = self.permits.clone().acquire_owned().await;
                permit.map_err(|_| LoginError::Unavailable)?
            }
        };
        let task = self.service.spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        task.await.map_err(|_| LoginError::Unavailable)
    }
}

fn busy() -> Limited {
    let second = Duration::from_secs(1);
    Limited {
        scope: "busy",
        requests: u32::try_from(QUEUE).unwrap_or(u32::MAX),
        window: second,
        retry_after: second,
    }
}

fn engine(memory_kib: u32, passes: u32, lanes: u32) -> Option<Argon2<'static>> {
    let params = Params::new(memory_kib, passes, lanes, Some(OUTPUT)).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The blocks of one hash. Room for more is asked for than is used: allocators keep what was
/// freed for the next time, except for pieces as large as this, which go back to the
/// system at once. Pages that are never touched cost nothing.
fn memory(params: &Params) -> Vec<Block> {
    const GIVEN_BACK_FROM: usize = 48 * 1024 * 1024;
    let used = params.block_count();
    let mut blocks = Vec::with_capacity(used.max(GIVEN_BACK_FROM / Block::SIZE));
    blocks.resize(used, Block::default());
    blocks
}

/// Runs Argon2 into `output`; `None` where the library refuses salt or lengths.
fn derive(engine: &Argon2<'_>, password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<()> {
    engine.hash_password_into_with_memory(password, salt, output, memory(engine.params())).ok()
}

fn new_hash(password: &[u8], hashed: &AtomicU64) -> Option<String> {
    let salt = Salt::new(&keyring::random::<16>().ok()?).ok()?;
    let engine = engine(MEMORY_KIB, PASSES, LANES)?;
    let mut output = [0; OUTPUT];
    derive(&engine, password, salt_bytes(&salt), &mut output)?;
    hashed.fetch_add(1, Ordering::Relaxed);
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(engine.params()).ok()?,
        salt: Some(salt),
        hash: Some(Output::new(&output).ok()?),
    };
    Some(hash.to_string())
}

fn check(password: &[u8], stored: Option<&str>, hashed: &AtomicU64) -> Checked {
    let Some(stored) = stored else {
        return waste(password, hashed);
    };
    let Some((hash, params)) = PasswordHash::new(stored).ok().and_then(|hash| {
        let params = Params::try_from(&hash).ok()?;
        Some((hash, params))
    }) else {
        tracing::error!(
            "a stored password hash cannot be read; set the password anew with `vestibule user password`"
        );
        return waste(password, hashed);
    };
    let too_heavy = params.m_cost() > CEILING_KIB || params.t_cost() > CEILING_PASSES;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok();
    let (Some(algorithm), false) = (algorithm, too_heavy) else {
        tracing::error!(
            "a stored password hash is of another kind or asks for too much memory; set the password anew with `vestibule user password`"
        );
        return waste(password, hashed);
    };
    let version = hash.version.map_or(Ok(Version::V0x13), Version::try_from);
    let (Some(salt), Some(expected), Ok(version)) = (hash.salt, hash.hash, version) else {
        return waste(password, hashed);
    };
    let outdated = algorithm != Algorithm::Argon2id
        || params.m_cost() < MEMORY_KIB
        || params.t_cost() < PASSES;
    let mut output = vec![0; expected.as_bytes().len()];
    let engine = Argon2::new(algorithm, version, params);
    if derive(&engine, password, salt_bytes(&salt), &mut output).is_none() {
        return Checked::Wrong;
    }
    hashed.fetch_add(1, Ordering::Relaxed);
    if bool::from(output.as_slice().ct_eq(expected.as_bytes())) {
        Checked::Right { outdated }
    } else {
        Checked::Wrong
    }
}

fn salt_bytes(salt: &Salt) -> &[u8] {
    salt.as_ref()
}

/// The same work as a check, with nothing to compare to.
fn waste(password: &[u8], hashed: &AtomicU64) -> Checked {
    let mut output = [0; OUTPUT];
    if let Some(engine) = engine(MEMORY_KIB, PASSES, LANES) {
        let made = derive(&engine, password, b"nobody has this.", &mut output);
        hashed.fetch_add(u64::from(made.is_some()), Ordering::Relaxed);
    }
    std::hint::black_box(&output);
    Checked::Wrong
}

/// Whether the text may become a password of an account with this e-mail.
pub(crate) fn accept(
    settings: &Settings,
    password: &str,
    email: Option<&str>,
) -> Result<(), PasswordRefused> {
    let rules = &settings.auth.password;
    let length = password.chars().count();
    if length < rules.min_length || length > rules.max_length || password.len() > LONGEST_BYTES {
        return Err(PasswordRefused::Length(format!(
            "A password has {} to {} characters",
            rules.min_length, rules.max_length
        )));
    }
    let missing: Vec<_> = rules
        .require
        .iter()
        .filter(|rule| !holds(**rule, password))
        .map(|rule| kind(*rule))
        .collect();
    if !missing.is_empty() {
        return Err(PasswordRefused::Weak(format!("The password lacks {}", missing.join(" and "))));
    }
    if rules.blocklist {
        let host = settings.server.portal.host.as_str();
        if let Some(why) = common::reason(password, email, host) {
            return Err(PasswordRefused::Weak(why.to_owned()));
        }
    }
    Ok(())
}

fn holds(rule: Require, password: &str) -> bool {
    match rule {
        Require::MixedCase => {
            password.chars().any(char::is_uppercase) && password.chars().any(char::is_lowercase)
        }
        Require::Number => password.chars().any(char::is_numeric),
        Require::Symbol => password.chars().any(|c| !c.is_alphanumeric()),
    }
}

const fn kind(rule: Require) -> &'static str {
    match rule {
        Require::MixedCase => "upper- and lower-case letters",
        Require::Number => "a number",
        Require::Symbol => "a symbol",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &[u8], stored: Option<&str>) -> Checked {
        super::check(password, stored, &AtomicU64::new(0))
    }

    fn new_hash(password: &[u8]) -> Option<String> {
        super::new_hash(password, &AtomicU64::new(0))
    }

    fn phc(memory_kib: u32, passes: u32) -> String {
        use argon2::password_hash::PasswordHasher as _;
        let hash: PasswordHash = engine(memory_kib, passes, 1)
            .unwrap()
            .hash_password_with_salt(b"a good one", b"0123456789abcdef")
            .unwrap();
        hash.to_string()
    }

    #[test]
    fn seed_001_06_seed_003_12_new_hashes_are_argon2id_at_the_floor_or_above() {
        let hash = new_hash(b"a good one").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(check(b"a good one", Some(&hash)), Checked::Right { outdated: false });
        assert_eq!(check(b"a good onE", Some(&hash)), Checked::Wrong);
        assert_ne!(hash, new_hash(b"a good one").unwrap(), "a salt for each hash");
    }

    #[test]
    fn a_weaker_stored_hash_is_right_and_outdated() {
        assert_eq!(check(b"a good one", Some(&phc(1024, 1))), Checked::Right { outdated: true });
    }

    #[test]
    fn i5_x16_a_stored_hash_that_asks_for_4_gib_is_refused_before_allocating() {
        let poisoned = phc(19_456, 2).replace("m=19456", "m=4194304");
        assert_eq!(check(b"a good one", Some(&poisoned)), Checked::Wrong);
        assert_eq!(check(b"a good one", Some("$1$no$hash")), Checked::Wrong);
    }

    #[test]
    fn bytes_behind_the_72nd_count() {
        let long = "x".repeat(72);
        let hash = new_hash(format!("{long}a").as_bytes()).unwrap();
        assert_eq!(check(format!("{long}b").as_bytes(), Some(&hash)), Checked::Wrong);
    }
}
