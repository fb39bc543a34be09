use std::io::Write;

use crate::uid_list::UidList;

/// Written at once.
const PIECE: usize = 64 * 1024;

impl UidList {
    /// The list as `dovecot-uidlist` of version 3, in one piece.
    #[must_use]
    pub fn to_dovecot(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.octets.len() + 128);
        let Ok(()) = self.each_piece(|piece| {
            octets.extend_from_slice(piece);
            Ok::<(), std::convert::Infallible>(())
        });
        octets
    }

    /// The list as `courierimapuiddb`, version 1. It has no room for fields.
    #[must_use]
    pub fn to_courier(&self) -> Vec<u8> {
        let mut octets = format!("1 {} {}\n", self.uid_validity(), self.next_uid()).into_bytes();
        for entry in self.iter() {
            // Writing to a Vec cannot fail.
            let _ = write!(octets, "{} ", entry.uid());
            octets.extend_from_slice(entry.name());
            octets.push(b'\n');
        }
        octets
    }

    /// Hands the file of version 3 over piece by piece.
    pub(super) fn each_piece<E>(&self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut piece = self.first_line();
        for entry in self.iter() {
            if piece.len() >= PIECE {
                take(&piece)?;
                piece.clear();
            }
            self::entry(&mut piece, entry.uid, entry.fields, entry.name);
        }
        take(&piece)
    }

    fn first_line(&self) -> Vec<u8> {
        let mut line = format!("3 V{} N{}", self.uid_validity(), self.next_uid()).into_bytes();
        if let Some(guid) = self.guid() {
            line.extend_from_slice(b" G");
            line.extend_from_slice(guid.as_bytes());
        }
        if !self.header.fields.is_empty() {
            line.push(b' ');
            line.extend_from_slice(&self.header.fields);
        }
        line.push(b'\n');
        line
    }
}

pub(super) fn entry(octets: &mut Vec<u8>, uid: u32, fields: &[u8], name: &[u8]) {
    // Writing to a Vec cannot fail.
    let _ = write!(octets, "{uid} ");
    if !fields.is_empty() {
        octets.extend_from_slice(fields);
        octets.push(b' ');
    }
    octets.push(b':');
    octets.extend_from_slice(name);
    octets.push(b'\n');
}
