//! Hashes passwords (argon2id) on a thread of its own, one at a time, so that neither a core nor the service thread waits for
//! one. The queue is bounded, and what has waited too long is not hashed any more. Never knows a user.
//!
//! The parameters are those of OWASP's password storage cheat sheet: 19 MiB of memory, two passes, one lane. One hash takes
//! 15 ms of processor time on the reference machine, and 35 ms beside compilers that use both its processors, so the thread
//! does 30 to 60 a second. `cargo test --lib server::accounts::hasher -- --nocapture` prints the time of one.

use std::sync::Arc;
use std::thread;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

use super::figures::AccountFigures;
use crate::base::limits::{ACCOUNT_TIMEOUT_MS, HASHES_WAITING_MAX};
use crate::io::clock;
use crate::wire::account_body::Password;

const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Asks the thread for hashes.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    jobs: Sender<Job>,
    figures: Arc<AccountFigures>,
}

/// Why there is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashError {
    /// Too many wait.
    Full,
    /// It has waited too long, or the thread has ended.
    Late,
}

#[derive(Debug)]
struct Job {
    work: Work,
    /// Monotonic milliseconds.
    until_ms: u64,
    reply: oneshot::Sender<Option<Done>>,
}

#[derive(Debug)]
enum Work {
    Hash(Password),
    /// `None`: there is no hash to compare with; takes as long.
    Verify(Password, Option<Box<str>>),
}

#[derive(Debug)]
enum Done {
    Hashed(Box<str>),
    Verified(bool),
}

impl Hasher {
    /// Starts the thread, which ends when the last hasher is dropped.
    ///
    /// # Errors
    /// The operating system gives no thread or no random numbers.
    pub(super) fn start(figures: Arc<AccountFigures>) -> anyhow::Result<Self> {
        let hashes = Hashes::new()?;
        let (jobs, queue) = bounded(HASHES_WAITING_MAX);
        thread::Builder::new().name("passwords".to_owned()).spawn({
            let figures = figures.clone();
            move || work(&hashes, &queue, &figures)
        })?;
        Ok(Self { jobs, figures })
    }

    /// The hash of a new password, in the PHC string format.
    pub(super) async fn hash(&self, password: Password) -> Result<Box<str>, HashError> {
        match self.ask(Work::Hash(password)).await? {
            Done::Hashed(hash) => Ok(hash),
            Done::Verified(_) => Err(HashError::Late),
        }
    }

    /// Whether a password is the one of a hash. Takes as long without a hash.
    pub(super) async fn verify(&self, password: Password, hash: Option<Box<str>>) -> Result<bool, HashError> {
        match self.ask(Work::Verify(password, hash)).await? {
            Done::Verified(is_right) => Ok(is_right),
            Done::Hashed(_) => Err(HashError::Late),
        }
    }

    async fn ask(&self, work: Work) -> Result<Done, HashError> {
        let (reply, answered) = oneshot::channel();
        let job = Job { work, until_ms: clock::now().mono_ms() + ACCOUNT_TIMEOUT_MS, reply };
        self.jobs.try_send(job).map_err(|_| HashError::Full)?;
        self.figures.waiting.set(self.jobs.len() as u64);
        answered.await.ok().flatten().ok_or(HashError::Late)
    }
}

fn work(hashes: &Hashes, queue: &Receiver<Job>, figures: &AccountFigures) {
    while let Ok(Job { work, until_ms, reply }) = queue.recv() {
        figures.waiting.set(queue.len() as u64);
        let begin = clock::now();
        // Nobody waits for it any more.
        if !reply.is_closed() && begin.mono_ms() < until_ms {
            let done = match work {
                Work::Hash(password) => hashes.hash(&password).map(Done::Hashed),
                Work::Verify(password, hash) => Some(Done::Verified(hashes.verify(&password, hash.as_deref()))),
            };
            figures.hash.record(clock::now().mono_us - begin.mono_us, 1);
            // Whoever asked may have gone meanwhile.
            let _ = reply.send(done);
        }
    }
}

/// Hashes and compares.
struct Hashes {
    argon2: Argon2<'static>,
    /// A hash with these parameters that no password has.
    nobody: String,
}

impl Hashes {
    fn new() -> anyhow::Result<Self> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES));
        let params = params.map_err(|error| anyhow::anyhow!("cannot hash passwords: {error}"))?;
        let mut random = [0; SALT_BYTES + HASH_BYTES];
        getrandom::fill(&mut random)?;
        let (salt, hash) = random.split_at(SALT_BYTES);
        let nobody = format!(
            "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${}${}",
            BASE64.encode(salt),
            BASE64.encode(hash)
        );
        Ok(Self { argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params), nobody })
    }

    fn hash(&self, password: &Password) -> Option<Box<str>> {
        let mut salt = [0; SALT_BYTES];
        let hashed = getrandom::fill(&mut salt).map_err(|error| error.to_string()).and_then(|()| {
            let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
            let hash = self.argon2.hash_password(password.as_str().as_bytes(), &salt);
            hash.map(|hash| hash.to_string().into()).map_err(|error| error.to_string())
        });
        hashed.map_err(|error| tracing::error!(error, "cannot hash a password")).ok()
    }

    fn verify(&self, password: &Password, hash: Option<&str>) -> bool {
        let Ok(parsed) = PasswordHash::new(hash.unwrap_or(&self.nobody)) else {
            tracing::error!("the store holds a password's hash that is not in the PHC string format");
            return false;
        };
        self.argon2.verify_password(password.as_str().as_bytes(), &parsed).is_ok() && hash.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text).expect("valid")
    }

    #[tokio::test]
    async fn a_hash_is_of_one_password_and_says_how_it_was_made() {
        let figures = Arc::new(AccountFigures::default());
        let hasher = Hasher::start(figures.clone()).expect("a thread");
        let hash = hasher.hash(password("correct horse")).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hasher.hash(password("correct horse")).await, Ok(hash.clone()), "each has its own salt");
        assert_eq!(hasher.verify(password("correct horse"), Some(hash.clone())).await, Ok(true));
        assert_eq!(hasher.verify(password("correct house"), Some(hash)).await, Ok(false));
        assert_eq!(hasher.verify(password("correct horse"), Some("$argon2id$".into())).await, Ok(false));
        // The last one takes no time, and is counted all the same.
        let hashes = figures.hash.buckets.iter().map(crate::base::counters::Counter::get).sum::<u64>();
        assert_eq!(hashes, 5);
        println!("one hash: {} us", figures.hash.sum_us.get() / 4);
    }

    #[test]
    fn without_a_hash_the_same_work_is_done() {
        let hashes = Hashes::new().expect("random numbers");
        let nobody = PasswordHash::new(&hashes.nobody).expect("in the format");
        let params = Params::try_from(&nobody).expect("parameters");
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY_KIB, PASSES, LANES));
        assert_eq!(nobody.hash.map(|hash| hash.len()), Some(HASH_BYTES));
        assert!(!hashes.verify(&password("anything"), None));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_what_nobody_waits_for_is_not_hashed() {
        let figures = Arc::new(AccountFigures::default());
        let (jobs, queue) = bounded(2);
        let hasher = Hasher { jobs, figures: figures.clone() };
        let one = tokio::spawn({
            let hasher = hasher.clone();
            async move { hasher.hash(password("one")).await }
        });
        let two = tokio::spawn({
            let hasher = hasher.clone();
            async move { hasher.hash(password("two")).await }
        });
        while hasher.jobs.len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hasher.verify(password("three"), None).await, Err(HashError::Full));
        assert_eq!(figures.waiting.get(), 2);
        one.abort();
        assert!(one.await.is_err(), "whoever asked has gone");
        let mut late = queue.recv().expect("the first");
        assert!(late.reply.is_closed());
        late = queue.recv().expect("the second");
        late.until_ms = 0;
        let (jobs, queue) = bounded(1);
        jobs.send(late).expect("room");
        drop(jobs);
        work(&Hashes::new().expect("random numbers"), &queue, &figures);
        assert_eq!(two.await.expect("it goes on"), Err(HashError::Late));
        assert_eq!(figures.hash.sum_us.get(), 0, "nothing was hashed");
    }
}
