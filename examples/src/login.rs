//! The one gate for logins: checks passwords, remembers for a while whose were right, and slows down who guesses.
//!
//! A password hash is dear on purpose, and a client that polls every minute would pay it each time. So a login that succeeded is remembered: not
//! the password, but an HMAC of name and password under a key that exists only in this process. It is forgotten after some minutes, and counts no
//! more once the account has changed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

pub use crate::accounts::Account;
use crate::accounts::{Accounts, AccountsError};
use crate::admission::network;
use crate::networks::Networks;

/// Why a login failed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LoginError {
    /// Name or password are wrong; which of them is not said.
    #[error("wrong name or password")]
    BadCredentials,
    /// The server cannot tell now.
    #[error("logins cannot be checked at the moment")]
    Temporary,
    /// The address has failed too often of late.
    #[error("too many failed logins from this address")]
    TooManyFailures,
}

/// Checks logins for all protocols of a server.
#[derive(Debug)]
pub struct Logins {
    accounts: Arc<Accounts>,
    /// As many hashes at a time as there are cores: more would only take memory, 19 MiB each.
    hashing: Semaphore,
    /// For each network, the turns of the logins that wait for a hash: so none fills the queue, and each login waits for the outcome of those before.
    turns: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
    /// Hashes at a time for one network.
    turns_each: usize,
    key: [u8; 32],
    secret: Vec<u8>,
    remember: Duration,
    /// Where many share an address: what fails there counts against the user alone.
    shared: Networks,
    verified: Mutex<HashMap<[u8; 32], Verified>>,
    failures: Mutex<HashMap<Guesser, Failures>>,
    /// Checked when there is no such account, so that it takes as long.
    nobody: Arc<Account>,
}

#[derive(Debug)]
struct Verified {
    account: Arc<Account>,
    until: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Guesser {
    Network(IpAddr),
    Recipients(IpAddr),
    User(String),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// What is not forgotten yet.
    fn left(&self) -> u32 {
        let forgotten = self.last.elapsed().as_secs() / FORGET_ONE.as_secs();
        self.count.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

/// Entries in each table. When one is full, what is old goes first, and if nothing is, all of it.
const TABLE: usize = 20_000;

/// After this time one failure is forgotten: all that count in a quarter of an hour, while a device with an old password that tries every few minutes
/// never comes to the limit.
const FORGET_ONE: Duration = Duration::from_secs(18);

/// An address that has failed so often has to wait. Users are never locked out: that would be a way to lock them out.
const MOST_FAILURES: u32 = 50;

/// The first failure is answered after this time, each further one after twice the time, up to 16 times.
const DELAY: Duration = Duration::from_millis(500);

impl Logins {
    /// Checks against `accounts`, remembering for `remember`.
    ///
    /// # Errors
    ///
    /// When the system gives no random octets, or the data directory's secret cannot be had.
    pub fn new(accounts: Arc<Accounts>, remember: Duration) -> Result<Self, AccountsError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| AccountsError::Hash(error.to_string()))?;
        let secret = accounts.secret()?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            accounts,
            hashing: Semaphore::new(cores),
            turns: Mutex::default(),
            turns_each: (cores / 2).max(1),
            key,
            secret,
            remember,
            shared: Networks::default(),
            verified: Mutex::default(),
            failures: Mutex::default(),
            nobody: Arc::new(Account::new("nobody", "nobody")?),
        })
    }

    /// In these networks many share an address: what fails there counts against the user alone.
    #[must_use]
    pub fn sharing(self, shared: Networks) -> Self {
        Self { shared, ..self }
    }

    /// The accounts behind the gate.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// What makes up verifiers for accounts that are not there: see [`Accounts::secret`].
    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Whether `password` is that of `user`. A failure takes its time; it is the caller's connection alone that waits.
    ///
    /// # Errors
    ///
    /// When it is not, or cannot be told.
    pub async fn check(&self, peer: IpAddr, user: &str, password: &[u8]) -> Result<Arc<Account>, LoginError> {
        let account = self.accounts.find(user);
        let mark = self.mark(user, password);
        if let Some(account) = account.as_ref().filter(|account| self.remembers(&mark, account)) {
            // Whoever has logged in from there before goes on, whatever a neighbour does.
            return Ok(Arc::clone(account));
        }
        self.admit(peer)?;
        let turn = self.turn_of(peer);
        let turn = turn.acquire().await.map_err(|_| LoginError::Temporary)?;
        self.admit(peer)?;
        let verified = self.hash(account.clone(), password.to_vec()).await?;
        let Some(account) = account.filter(|_| verified) else {
            // Counted before the next from there has its turn.
            let delay = self.count_failure(peer, user);
            drop(turn);
            sleep(delay).await;
            return Err(LoginError::BadCredentials);
        };
        self.remember(mark, &account);
        Ok(account)
    }

    fn turn_of(&self, peer: IpAddr) -> Arc<Semaphore> {
        let mut turns = lock(&self.turns);
        make_room(&mut turns, |turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(network(peer)).or_insert_with(|| Arc::new(Semaphore::new(self.turns_each))))
    }

    /// Whether the address may try at all.
    ///
    /// # Errors
    ///
    /// [`LoginError::TooManyFailures`].
    pub fn admit(&self, peer: IpAddr) -> Result<(), LoginError> {
        let guesser = Guesser::Network(network(peer));
        let count = lock(&self.failures).get(&guesser).map_or(0, Failures::left);
        if count >= MOST_FAILURES { Err(LoginError::TooManyFailures) } else { Ok(()) }
    }

    /// Notes a failure and waits, the longer the more there were.
    pub async fn failed(&self, peer: IpAddr, user: &str) -> LoginError {
        sleep(self.count_failure(peer, user)).await;
        LoginError::BadCredentials
    }

    /// Notes a failure. Returns how late it is to be answered.
    fn count_failure(&self, peer: IpAddr, user: &str) -> Duration {
        let of_network = if self.shared.contains(peer) { 0 } else { self.count(Guesser::Network(network(peer))) };
        let user: String = user.chars().take(64).collect();
        // Who has named nobody guesses at nobody's password.
        let of_user = if user.is_empty() { 0 } else { self.count(Guesser::User(user.to_ascii_lowercase())) };
        DELAY * 2_u32.pow(of_network.max(of_user).saturating_sub(1).min(4))
    }

    /// Notes a recipient that does not exist. Returns how many there were from that address of late.
    pub fn count_stranger(&self, peer: IpAddr) -> u32 {
        if self.shared.contains(peer) { 0 } else { self.count(Guesser::Recipients(network(peer))) }
    }

    fn count(&self, guesser: Guesser) -> u32 {
        let mut failures = lock(&self.failures);
        make_room(&mut failures, |failures| failures.left() > 0);
        let entry = failures.entry(guesser).or_insert(Failures { count: 0, last: Instant::now() });
        *entry = Failures { count: entry.left().saturating_add(1), last: Instant::now() };
        entry.count
    }

    async fn hash(&self, account: Option<Arc<Account>>, password: Vec<u8>) -> Result<bool, LoginError> {
        let _turn = self.hashing.acquire().await.map_err(|_| LoginError::Temporary)?;
        let (known, account) = (account.is_some(), account.unwrap_or_else(|| Arc::clone(&self.nobody)));
        let verified = spawn_blocking(move || account.verify(&password)).await;
        verified.map(|verified| known && verified).map_err(|_| LoginError::Temporary)
    }

    fn mark(&self, user: &str, password: &[u8]) -> [u8; 32] {
        // HMAC takes keys of any length.
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.key);
        mac.map_or([0; 32], |mac| {
            mac.chain_update(user.to_ascii_lowercase())
                .chain_update([0])
                .chain_update(password)
                .finalize()
                .into_bytes()
                .into()
        })
    }

    fn remembers(&self, mark: &[u8; 32], account: &Arc<Account>) -> bool {
        let verified = lock(&self.verified);
        verified.get(mark).is_some_and(|verified| verified.until > Instant::now() && verified.account == *account)
    }

    fn remember(&self, mark: [u8; 32], account: &Arc<Account>) {
        if self.remember.is_zero() {
            return;
        }
        let mut verified = lock(&self.verified);
        make_room(&mut verified, |verified| verified.until > Instant::now());
        verified.insert(mark, Verified { account: Arc::clone(account), until: Instant::now() + self.remember });
    }
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_room<K: std::hash::Hash + Eq, V>(table: &mut HashMap<K, V>, is_of_use: impl Fn(&V) -> bool) {
    if table.len() >= TABLE {
        table.retain(|_, value| is_of_use(value));
    }
    if table.len() >= TABLE {
        table.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn logins(data: &tempfile::TempDir) -> Logins {
        let accounts = Arc::new(Accounts::open(data.path()).unwrap());
        accounts.add("anna", "secret").unwrap();
        Logins::new(accounts, Duration::from_secs(300)).unwrap()
    }

    #[tokio::test]
    async fn a_right_password_is_remembered_until_the_account_changes() {
        let data = tempfile::tempdir().unwrap();
        let logins = logins(&data);
        assert!(logins.check(PEER, "anna", b"secret").await.is_ok());
        let start = std::time::Instant::now();
        assert!(logins.check(PEER, "Anna", b"secret").await.is_ok());
        assert!(start.elapsed() < Duration::from_millis(5), "it took {:?}", start.elapsed());
        logins.accounts().remove("anna").unwrap();
        logins.accounts().add("anna", "other").unwrap();
        assert_eq!(logins.check(PEER, "anna", b"secret").await, Err(LoginError::BadCredentials));
        assert!(logins.check(PEER, "anna", b"other").await.is_ok());
    }

    #[tokio::test]
    async fn guesses_at_the_same_time_are_counted_before_the_next_is_tried() {
        let data = tempfile::tempdir().unwrap();
        let logins = Arc::new(logins(&data));
        // All at once, all but two of the failures that are allowed used up already.
        for _ in 0..MOST_FAILURES - 2 {
            logins.count(Guesser::Network(PEER));
        }
        let guess = |number: u32| {
            let logins = Arc::clone(&logins);
            tokio::spawn(async move { logins.check(PEER, "anna", format!("guess {number}").as_bytes()).await })
        };
        let guesses: Vec<_> = (0..20).map(guess).collect();
        let mut refused = 0;
        for guess in guesses {
            refused += usize::from(guess.await.unwrap() == Err(LoginError::TooManyFailures));
        }
        let tried = 20 - refused;
        assert!((2..2 + logins.turns_each).contains(&tried), "{tried} passwords were tried");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_answered_ever_more_slowly_and_then_not_at_all() {
        let data = tempfile::tempdir().unwrap();
        let logins = logins(&data);
        let mut waits = Vec::new();
        for _ in 0..MOST_FAILURES {
            let start = Instant::now();
            assert_eq!(logins.failed(PEER, "anna").await, LoginError::BadCredentials);
            waits.push(start.elapsed().as_millis() / 500);
        }
        assert_eq!(waits[..6], [1, 2, 4, 8, 16, 16]);
        assert_eq!(logins.check(PEER, "anna", b"secret").await, Err(LoginError::TooManyFailures));
        let elsewhere = "192.0.2.1".parse().unwrap();
        assert_eq!(logins.admit(elsewhere), Ok(()));
        tokio::time::advance(FORGET_ONE).await;
        assert_eq!(logins.admit(PEER), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_shared_network_the_user_alone_is_slowed_down() {
        let data = tempfile::tempdir().unwrap();
        let shared: Networks = serde_json::from_str(r#"["127.0.0.0/8"]"#).unwrap();
        let logins = logins(&data).sharing(shared);
        let guess = async |user: &str| {
            let start = Instant::now();
            assert_eq!(logins.failed(PEER, user).await, LoginError::BadCredentials);
            start.elapsed()
        };
        for _ in 0..2 * MOST_FAILURES {
            guess("anna").await;
        }
        assert_eq!(guess("anna").await, 16 * DELAY);
        assert_eq!(guess("bert").await, DELAY);
        assert_eq!(logins.admit(PEER), Ok(()));
        assert_eq!((0..200).map(|_| logins.count_stranger(PEER)).max(), Some(0));
    }
}
