//! Who has a mailbox: a TOML file with a password hash and SCRAM verifiers for each account.
//!
//! A running server sees changes of the file at the next login. Passwords are nowhere; from what the file holds they can only be guessed, at the
//! price of Argon2 or PBKDF2 a guess.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tracing::error;

/// Why the accounts cannot be read or changed.
#[derive(Debug, Error)]
pub enum AccountsError {
    /// There is an account of that name.
    #[error("there is an account {0:?} already")]
    Exists(String),
    /// A file cannot be used.
    #[error("cannot {operation} {path:?}: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A name no account can have.
    #[error("an account's name has 1 to 64 of a-z, 0-9, '.', '_', '-' and '+' and begins with a letter or digit")]
    Name,
    /// There is no account of that name.
    #[error("there is no account {0:?}")]
    None(String),
    /// The file is damaged. Its lines are not shown: they hold what passwords can be guessed from.
    #[error("{path:?}, line {line}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// There were accounts, and now the file is gone or empty.
    #[error("{path:?} is gone or empty: the accounts known before stay")]
    Vanished {
        /// The file.
        path: PathBuf,
    },
    /// A password that cannot be used.
    #[error("a password has at least one character, and none that SASLprep forbids (RFC 4013)")]
    Password,
    /// The system gives no random octets, or a hash cannot be computed.
    #[error("cannot hash the password: {0}")]
    Hash(String),
}

/// An account.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its name: the local part of its address, and the folder of its mail.
    pub name: String,
    /// Argon2id, as a PHC string.
    pub password: String,
    /// For SCRAM-SHA-1.
    pub scram_sha_1: Verifier,
    /// For SCRAM-SHA-256.
    pub scram_sha_256: Verifier,
}

/// What a server keeps for SCRAM: [RFC 5802 section 3](https://www.rfc-editor.org/rfc/rfc5802#section-3).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// The salt.
    #[serde(with = "in_base64")]
    pub salt: Vec<u8>,
    /// H(HMAC(salted password, "Client Key")).
    #[serde(with = "in_base64")]
    pub stored_key: Vec<u8>,
    /// HMAC(salted password, "Server Key").
    #[serde(with = "in_base64")]
    pub server_key: Vec<u8>,
}

/// Rounds of PBKDF2: RFC 7677 section 4 asks for 4,096 at least.
const ITERATIONS: u32 = 16_384;

/// The accounts of a data directory.
#[derive(Debug)]
pub struct Accounts {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    stamp: Option<Stamp>,
    /// What could not be used, to tell it once and not at each login.
    told: Option<Option<Stamp>>,
    by_name: Arc<BTreeMap<String, Arc<Account>>>,
}

/// What changes when the file is replaced, written to, or given to somebody else.
type Stamp = (u64, u64, (i64, i64), (i64, i64));

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AccountsFile {
    #[serde(default)]
    account: Vec<Account>,
}

impl Accounts {
    /// The accounts in `data`. A file that is not there is one without accounts.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is damaged.
    pub fn open(data: &Path) -> Result<Self, AccountsError> {
        let accounts = Self { path: data.join("accounts.toml"), loaded: Mutex::default() };
        accounts.reload()?;
        Ok(accounts)
    }

    /// The account of that name, as the file has it now. Upper case is taken for lower case.
    pub fn find(&self, name: &str) -> Option<Arc<Account>> {
        self.all().get(&name.to_ascii_lowercase()).cloned()
    }

    /// All accounts by name. A file that has become unreadable leaves those known before.
    pub fn all(&self) -> Arc<BTreeMap<String, Arc<Account>>> {
        if let Err(error) = self.reload() {
            error!(%error, "accounts not read anew");
        }
        Arc::clone(&self.lock().by_name)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self) -> Result<(), AccountsError> {
        let stamp = match std::fs::metadata(&self.path) {
            Ok(of) => Some((of.ino(), of.size(), (of.mtime(), of.mtime_nsec()), (of.ctime(), of.ctime_nsec()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(self.failed("read", source)),
        };
        let mut loaded = self.lock();
        if loaded.stamp == stamp {
            return Ok(());
        }
        let told = loaded.told == Some(stamp);
        // An editor truncates it, a restore or a mount has it away for a moment: nobody has lost the account by that.
        let vanished = stamp.is_none_or(|(_, size, ..)| size == 0) && !loaded.by_name.is_empty();
        let outcome = if vanished { Err(AccountsError::Vanished { path: self.path.clone() }) } else { self.read() };
        match outcome {
            Ok(file) => {
                let by_name = file.account.into_iter().map(|account| (account.name.clone(), Arc::new(account)));
                *loaded = Loaded { stamp, told: None, by_name: Arc::new(by_name.collect()) };
                Ok(())
            }
            Err(error) => {
                loaded.told = Some(stamp);
                if matches!(error, AccountsError::Parse { .. }) {
                    // It stays damaged until it is changed. What cannot be read, though, may be readable the next time as it is.
                    loaded.stamp = stamp;
                }
                if told { Ok(()) } else { Err(error) }
            }
        }
    }

    fn read(&self) -> Result<AccountsFile, AccountsError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(AccountsFile::default()),
            Err(source) => return Err(self.failed("read", source)),
        };
        toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = 1 + before.bytes().filter(|octet| *octet == b'\n').count();
            // What is said of a value quotes it.
            let shown = if error.message().starts_with("invalid") { "invalid value" } else { error.message() };
            AccountsError::Parse { path: self.path.clone(), line, message: shown.to_owned() }
        })
    }

    /// Octets that are the same whenever a server runs with this data directory, and that nobody else knows.
    ///
    /// # Errors
    ///
    /// When they can neither be read nor made.
    pub fn secret(&self) -> Result<Vec<u8>, AccountsError> {
        let path = self.path.with_file_name("secret");
        let long_enough = |secret: &Vec<u8>| secret.len() >= 16;
        if let Some(secret) = std::fs::read(&path).ok().filter(long_enough) {
            return Ok(secret);
        }
        let _lock = self.locked()?;
        match std::fs::read(&path) {
            Ok(secret) if long_enough(&secret) => Ok(secret),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(AccountsError::Io { operation: "read", path, source })
            }
            _ => {
                let secret = [random()?, random()?].concat();
                let written = self.replace(&path, &secret);
                written.map(|()| secret).map_err(|source| AccountsError::Io { operation: "write", path, source })
            }
        }
    }

    /// Adds an account.
    ///
    /// # Errors
    ///
    /// When there is one of that name, name or password cannot be used, or the file cannot be written.
    pub fn add(&self, name: &str, password: &str) -> Result<(), AccountsError> {
        let account = Account::new(name, password)?;
        self.change(|accounts| {
            if accounts.iter().any(|other| other.name == account.name) {
                return Err(AccountsError::Exists(account.name));
            }
            accounts.push(account);
            accounts.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(())
        })
    }

    /// Removes an account. Its mail stays.
    ///
    /// # Errors
    ///
    /// When there is none of that name, or the file cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), AccountsError> {
        let name = name.to_ascii_lowercase();
        self.change(|accounts| {
            let before = accounts.len();
            accounts.retain(|account| account.name != name);
            if accounts.len() == before { Err(AccountsError::None(name)) } else { Ok(()) }
        })
    }

    /// Changes the file: under a lock against other programs that do, and so that a crash leaves the old one or the new one.
    fn change(&self, change: impl FnOnce(&mut Vec<Account>) -> Result<(), AccountsError>) -> Result<(), AccountsError> {
        let _lock = self.locked()?;
        let mut file = self.read()?;
        change(&mut file.account)?;
        let text = toml::to_string(&file).map_err(|error| self.failed("write", io::Error::other(error)))?;
        self.replace(&self.path, text.as_bytes()).map_err(|source| self.failed("write", source))
    }

    /// Held until it is dropped.
    fn locked(&self) -> Result<File, AccountsError> {
        let path = self.path.with_extension("lock");
        let lock = || {
            let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
            lock.lock().map(|()| lock)
        };
        let locked = lock();
        locked.map_err(|source| AccountsError::Io { operation: "lock", path, source })
    }

    fn replace(&self, path: &Path, octets: &[u8]) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(octets)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        File::open(self.directory())?.sync_all()
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> AccountsError {
        AccountsError::Io { operation, path: self.path.clone(), source }
    }
}

impl Account {
    /// An account with the hashes of `password`. It takes a tenth of a second, on purpose.
    ///
    /// # Errors
    ///
    /// When name or password cannot be used.
    pub fn new(name: &str, password: &str) -> Result<Self, AccountsError> {
        let name = name.to_ascii_lowercase();
        let part = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"._-+".contains(&octet);
        let begins = name.bytes().next().is_some_and(|octet| octet.is_ascii_alphanumeric());
        // `anna.lock` is what locks anna's mbox file.
        if !begins || name.len() > 64 || !name.bytes().all(part) || name.ends_with(".lock") {
            return Err(AccountsError::Name);
        }
        let password = prepared(password).filter(|password| !password.is_empty()).ok_or(AccountsError::Password)?;
        let hash = |error: argon2::password_hash::Error| AccountsError::Hash(error.to_string());
        let salt = SaltString::encode_b64(&random()?).map_err(hash)?;
        let phc = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(hash)?.to_string();
        Ok(Self {
            name,
            password: phc,
            scram_sha_1: Verifier::sha_1(&password, random()?.to_vec()),
            scram_sha_256: Verifier::sha_256(&password, random()?.to_vec()),
        })
    }

    /// Whether `password` is the account's. It takes some tens of milliseconds, on purpose, for any password.
    pub fn verify(&self, password: &[u8]) -> bool {
        let prepared = std::str::from_utf8(password).ok().and_then(prepared);
        let password = prepared.as_ref().map_or(password, |password| password.as_bytes());
        PasswordHash::new(&self.password).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    }
}

/// Equal passwords typed on different keyboards are equal octets after this: [RFC 4013](https://www.rfc-editor.org/rfc/rfc4013).
fn prepared(password: &str) -> Option<String> {
    stringprep::saslprep(password).ok().map(std::borrow::Cow::into_owned)
}

fn random() -> Result<[u8; 16], AccountsError> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(|error| AccountsError::Hash(error.to_string()))?;
    Ok(octets)
}

impl Verifier {
    fn sha_1(password: &str, salt: Vec<u8>) -> Self {
        let mut salted = [0; 20];
        pbkdf2::pbkdf2_hmac::<Sha1>(password.as_bytes(), &salt, ITERATIONS, &mut salted);
        let mac = |text: &[u8]| {
            <Hmac<Sha1> as Mac>::new_from_slice(&salted).map(|mac| mac.chain_update(text).finalize().into_bytes())
        };
        let keys = (mac(b"Client Key").unwrap_or_default(), mac(b"Server Key").unwrap_or_default());
        Self { iterations: ITERATIONS, salt, stored_key: Sha1::digest(keys.0).to_vec(), server_key: keys.1.to_vec() }
    }

    fn sha_256(password: &str, salt: Vec<u8>) -> Self {
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, ITERATIONS, &mut salted);
        let mac = |text: &[u8]| {
            <Hmac<Sha256> as Mac>::new_from_slice(&salted).map(|mac| mac.chain_update(text).finalize().into_bytes())
        };
        let keys = (mac(b"Client Key").unwrap_or_default(), mac(b"Server Key").unwrap_or_default());
        Self { iterations: ITERATIONS, salt, stored_key: Sha256::digest(keys.0).to_vec(), server_key: keys.1.to_vec() }
    }

    /// What a stranger is shown for an account that is not there: the same each time for a mechanism (whose keys have `len` octets) and a name in any
    /// case, so that it cannot be told from one that is.
    pub fn fake(secret: &[u8], name: &str, len: usize) -> Self {
        let name = name.to_ascii_lowercase();
        let part = |label: &[u8]| {
            let mac = <Hmac<Sha256> as Mac>::new_from_slice(secret);
            let of = |mac: Hmac<Sha256>| mac.chain_update(label).chain_update(len.to_be_bytes()).chain_update(&name);
            mac.map(|mac| of(mac).finalize().into_bytes().to_vec()).unwrap_or_default()
        };
        let cut = |mut octets: Vec<u8>, len| {
            octets.truncate(len);
            octets
        };
        Self {
            iterations: ITERATIONS,
            salt: cut(part(b"salt"), 16),
            stored_key: cut(part(b"stored key"), len),
            server_key: cut(part(b"server key"), len),
        }
    }
}

mod in_base64 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(octets))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_survives_the_file_and_knows_its_password() {
        let data = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(data.path()).unwrap();
        accounts.add("Anna", "p\u{e4}ss w\u{f6}rd").unwrap();
        assert!(matches!(accounts.add("anna", "x"), Err(AccountsError::Exists(_))));
        let again = Accounts::open(data.path()).unwrap();
        let anna = again.find("ANNA").unwrap();
        assert!(anna.verify("p\u{e4}ss w\u{f6}rd".as_bytes()));
        // The same letters, composed otherwise.
        assert!(anna.verify("pa\u{308}ss wo\u{308}rd".as_bytes()));
        assert!(!anna.verify(b"pass word") && !anna.verify(b"") && !anna.verify(b"\xff"));
        let mode = std::fs::metadata(data.path().join("accounts.toml")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_running_server_sees_accounts_come_and_go() {
        let data = tempfile::tempdir().unwrap();
        let (server, tool) = (Accounts::open(data.path()).unwrap(), Accounts::open(data.path()).unwrap());
        assert!(server.find("bert").is_none());
        tool.add("bert", "secret").unwrap();
        assert!(server.find("bert").is_some());
        tool.remove("bert").unwrap();
        assert!(server.find("bert").is_none());
        assert!(matches!(tool.remove("bert"), Err(AccountsError::None(_))));
    }

    #[test]
    fn a_damaged_file_leaves_the_accounts_known_before() {
        let data = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(data.path()).unwrap();
        accounts.add("carl", "secret").unwrap();
        assert!(accounts.find("carl").is_some());
        std::fs::write(data.path().join("accounts.toml"), "[[account]]\nname = 1").unwrap();
        assert!(accounts.find("carl").is_some());
        assert!(matches!(Accounts::open(data.path()), Err(AccountsError::Parse { .. })));
    }

    #[test]
    fn a_file_that_could_not_be_read_is_read_once_it_can_be() {
        let data = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(data.path()).unwrap();
        accounts.add("dora", "secret").unwrap();
        let (path, aside) = (data.path().join("accounts.toml"), data.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(accounts.reload().is_err());
        assert!(accounts.reload().is_ok(), "it is told once");
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        assert!(accounts.find("dora").is_some());
    }

    #[test]
    fn a_file_that_is_gone_or_empty_for_a_moment_takes_nobody_s_account() {
        let data = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(data.path()).unwrap();
        accounts.add("fritz", "secret").unwrap();
        assert!(accounts.find("fritz").is_some());
        let path = data.path().join("accounts.toml");
        std::fs::write(&path, "").unwrap();
        assert!(accounts.find("fritz").is_some());
        std::fs::remove_file(&path).unwrap();
        assert!(accounts.find("fritz").is_some());
        std::fs::write(&path, "account = []\n").unwrap();
        assert!(accounts.find("fritz").is_none(), "the file says so");
    }

    #[test]
    fn an_error_in_the_file_shows_its_line_and_no_hash() {
        let data = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(data.path()).unwrap();
        accounts.add("emil", "secret").unwrap();
        let text = std::fs::read_to_string(data.path().join("accounts.toml")).unwrap();
        std::fs::write(data.path().join("accounts.toml"), text.replacen("\"\n", "\n", 2)).unwrap();
        let error = Accounts::open(data.path()).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("argon2"), "{error}");
    }

    #[test]
    fn what_a_stranger_is_shown_does_not_depend_on_case_but_on_the_mechanism() {
        let fake = |name, len| Verifier::fake(b"secret of the data directory", name, len);
        assert_eq!(fake("Nobody", 20), fake("nobody", 20));
        assert_ne!(fake("nobody", 20).salt, fake("nobody", 32).salt);
        assert_ne!(fake("nobody", 20).salt, fake("somebody", 20).salt);
        let data = tempfile::tempdir().unwrap();
        let secret = || Accounts::open(data.path()).unwrap().secret().unwrap();
        assert_eq!(secret(), secret(), "a restart changes nothing");
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for name in ["", "..", ".a", "-a", "a/b", "a b", "a\0", "\u{e4}", "a@b", &"a".repeat(65)] {
            assert!(matches!(Account::new(name, "x"), Err(AccountsError::Name)), "{name:?}");
        }
        assert!(matches!(Account::new("a", ""), Err(AccountsError::Password)));
    }
}
