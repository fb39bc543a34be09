//! Messages, and what becomes of them on the wire.

use super::Random;

/// Which lines begin with a dot.
#[derive(Clone, Copy)]
pub(crate) enum Dots {
    /// None.
    None,
    /// So many in a hundred.
    Percent(u64),
    /// All but the first, the dot of which smtp-proto 0.2.5 leaves.
    All,
}

impl Dots {
    fn fall(self, random: &mut Random) -> bool {
        match self {
            Self::None => false,
            Self::Percent(chance) => random.percent(chance),
            Self::All => true,
        }
    }
}

const LETTERS: &[u8; 64] = b"etaoin shrdlu ETAOIN cmfwyp vbgkjq 0123456789+/xz etaoin shrdlue";

/// A message of some `size` octets in lines that end in CRLF: one in twelve is empty, half of the others have 40 to 76
/// octets, as text has, the rest 76, as attachments have.
pub(crate) fn message(size: usize, dots: Dots) -> Vec<u8> {
    let mut random = Random::new(20 + size as u64);
    let mut message = Vec::with_capacity(size + 100);
    while message.len() < size {
        let dotted = dots.fall(&mut random);
        if dotted && !message.is_empty() {
            message.push(b'.');
        }
        let len = match random.number(0, 24) {
            0..2 => 0,
            2..13 => random.number(40, 77),
            _ => 76,
        };
        for _ in 0..len.div_ceil(8) {
            message.extend(random.bits().to_le_bytes().map(|octet| LETTERS[usize::from(octet & 63)]));
        }
        message.truncate(message.len() - usize::try_from(len.next_multiple_of(8) - len).unwrap_or_default());
        message.extend_from_slice(b"\r\n");
    }
    message
}

/// An attachment of some `size` octets in lines of 76 that end in CRLF, as base64 has them.
pub(crate) fn attachment(size: usize, dots: Dots) -> Vec<u8> {
    let mut random = Random::new(40 + size as u64);
    let mut attachment = Vec::with_capacity(size + 100);
    while attachment.len() < size {
        let start = attachment.len();
        for _ in 0..10 {
            attachment.extend(random.bits().to_le_bytes().map(|octet| LETTERS[usize::from(octet & 63)]));
        }
        attachment.truncate(start + 76);
        if dots.fall(&mut random) {
            attachment[start] = b'.';
        }
        attachment.extend_from_slice(b"\r\n");
    }
    attachment
}

/// A message as it goes over the wire, octet by octet: written for this purpose, so that the codecs are not compared with
/// themselves.
pub(crate) fn on_the_wire(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + message.len() / 32);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// A message as files keep it: its lines end in LF.
pub(crate) fn with_lf(message: &[u8]) -> Vec<u8> {
    message.iter().copied().filter(|octet| *octet != b'\r').collect()
}

/// How many lines begin with a dot.
pub(crate) fn dotted(message: &[u8]) -> usize {
    message.split(|octet| *octet == b'\n').filter(|line| line.starts_with(b".")).count()
}
