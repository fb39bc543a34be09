//! What one reading of a message tells: its size, its hash, its fields.

use sha2::{Digest, Sha256};

use super::content::{Content, Unwrap};
use super::failure::Failure;
use super::header::{Header, Part, Piece};
use super::notes::Fields;

/// What was found.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Octets, as the writer meant them.
    pub len: u64,
    /// Of these octets.
    pub sha256: [u8; 32],
    /// The fields as they are stored.
    pub fields: Fields,
}

/// Finds them while octets pass.
#[derive(Debug, Default)]
pub struct Observer {
    header: Header,
    fields: Fields,
}

impl Observer {
    /// Looks at octets as they are stored.
    ///
    /// # Errors
    ///
    /// None: so that it can stand between others.
    pub fn add(&mut self, octets: &[u8]) -> Result<(), Failure> {
        if self.header.is_over() {
            return Ok(());
        }
        let fields = &mut self.fields;
        self.header.add(octets, &mut |piece| note(fields, piece))
    }

    /// What the header said.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn finish(mut self) -> Result<Fields, Failure> {
        let fields = &mut self.fields;
        self.header.finish(&mut |piece| note(fields, piece))?;
        Ok(self.fields)
    }
}

fn note(fields: &mut Fields, piece: Piece<'_>) -> Result<(), Failure> {
    if let Part::Field(name) = piece.part {
        fields.add(name, piece.begins, piece.octets);
    }
    Ok(())
}

/// Hashes and counts what is written to it.
#[derive(Clone, Debug, Default)]
pub struct Hash {
    sha256: Sha256,
    len: u64,
}

impl Hash {
    /// More octets.
    ///
    /// # Errors
    ///
    /// None: so that it can stand behind others.
    pub fn add(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.sha256.update(octets);
        self.len += octets.len() as u64;
        Ok(())
    }

    /// How many there were, and their hash.
    #[must_use]
    pub fn finish(self) -> (u64, [u8; 32]) {
        (self.len, self.sha256.finalize().into())
    }
}

/// Reads a message once. One that is `wrapped` may have something before it that this program put there; its `>` are gone already.
///
/// # Errors
///
/// When it cannot be read.
pub fn of(content: &dyn Content, wrapped: bool) -> Result<Facts, Failure> {
    let (mut observer, mut unwrap, mut hash) = (Observer::default(), Unwrap::default(), Hash::default());
    content.read(&mut |octets| {
        observer.add(octets)?;
        if wrapped { unwrap.add(octets, &mut |octets| hash.add(octets)) } else { hash.add(octets) }
    })?;
    unwrap.finish(&mut |octets| hash.add(octets))?;
    let (len, sha256) = hash.finish();
    Ok(Facts { len, sha256, fields: observer.finish()? })
}
