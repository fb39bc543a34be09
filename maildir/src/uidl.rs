//! How POP3 servers spell a UID in UIDL, so that clients go on knowing what they have fetched.

use std::fmt::Write;

/// How a message's UID and its mailbox's UIDVALIDITY are written as a unique id for POP3. A site that changes its server
/// goes on with the format its clients know.
///
/// ```
/// use postrider_maildir::UidlFormat;
///
/// assert_eq!(UidlFormat::Dovecot.write(17, 1275660208), "000000114C0907B0");
/// assert_eq!(UidlFormat::Courier.read(b"UID17-1275660208"), Some((17, 1275660208)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UidlFormat {
    /// `UID<uid>-<validity>`: Courier.
    Courier,
    /// `UID<uid>`: Courier before 2004, whose messages keep it. Has no UIDVALIDITY: it counts as 0.
    CourierUid,
    /// `<validity>.<uid>`: Cyrus, and Dovecot's `%v.%u`.
    Cyrus,
    /// UID, then UIDVALIDITY, with 8 upper-case hexadecimal digits each: Dovecot's default, `%08Xu%08Xv`.
    Dovecot,
    /// UIDVALIDITY, then UID, with 8 lower-case hexadecimal digits each: UW and its successors, `%08lx%08lx`.
    Uw,
}

impl UidlFormat {
    /// The unique id: at most 26 octets.
    #[must_use]
    pub fn write(self, uid: u32, uid_validity: u32) -> String {
        match self {
            Self::Courier => format!("UID{uid}-{uid_validity}"),
            Self::CourierUid => format!("UID{uid}"),
            Self::Cyrus => format!("{uid_validity}.{uid}"),
            Self::Dovecot => format!("{uid:08X}{uid_validity:08X}"),
            Self::Uw => format!("{uid_validity:08x}{uid:08x}"),
        }
    }

    /// UID and UIDVALIDITY of a unique id, if it is exactly as [`write`](Self::write) spells it.
    #[must_use]
    pub fn read(self, id: &[u8]) -> Option<(u32, u32)> {
        let id = std::str::from_utf8(id).ok()?;
        let (uid, validity) = match self {
            Self::Courier => decimal(id.strip_prefix("UID")?.split_once('-')?)?,
            Self::CourierUid => decimal((id.strip_prefix("UID")?, "0"))?,
            Self::Cyrus => decimal(id.split_once('.')?).map(|(validity, uid)| (uid, validity))?,
            Self::Dovecot => hexadecimal(id)?,
            Self::Uw => hexadecimal(id).map(|(validity, uid)| (uid, validity))?,
        };
        // One spelling each: no sign, no zeros in front, no other case.
        (self.write(uid, validity) == id).then_some((uid, validity))
    }
}

fn decimal((first, second): (&str, &str)) -> Option<(u32, u32)> {
    Some((first.parse().ok()?, second.parse().ok()?))
}

fn hexadecimal(id: &str) -> Option<(u32, u32)> {
    let (first, second) = id.split_at_checked(8)?;
    Some((u32::from_str_radix(first, 16).ok()?, u32::from_str_radix(second, 16).ok()?))
}

/// The unique id that servers make of a base name itself: qmail, and Courier before it had UIDs. Octets that cannot stand
/// there are written as Courier does, `+` and two hexadecimal digits. `None` if it is empty or exceeds 70 octets, which
/// RFC 1939 forbids.
#[must_use]
pub fn uidl_of_base(base: &[u8]) -> Option<String> {
    let mut id = String::new();
    for &octet in base {
        match octet {
            b'+' | b'\'' | b'"' | ..=b' ' | 0x7f.. => {
                // Writing to a String cannot fail.
                let _ = write!(id, "+{octet:02X}");
            }
            _ => id.push(char::from(octet)),
        }
    }
    (1..=70).contains(&id.len()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [UidlFormat; 5] =
        [UidlFormat::Courier, UidlFormat::CourierUid, UidlFormat::Cyrus, UidlFormat::Dovecot, UidlFormat::Uw];

    #[test]
    fn each_format_is_spelt_as_its_server_does() {
        let spelt = ALL.map(|format| format.write(0xabc, 1_275_660_208));
        let expected = ["UID2748-1275660208", "UID2748", "1275660208.2748", "00000ABC4C0907B0", "4c0907b000000abc"];
        assert_eq!(spelt, expected);
        for format in ALL {
            let validity = if format == UidlFormat::CourierUid { 0 } else { u32::MAX };
            assert_eq!(format.read(format.write(u32::MAX, validity).as_bytes()), Some((u32::MAX, validity)));
            assert!(format.write(u32::MAX, u32::MAX).len() <= 26);
        }
    }

    #[test]
    fn another_spelling_is_not_read() {
        for id in [
            "",
            "UID",
            "UID-",
            "UID1-",
            "UID+1-2",
            "UID01-2",
            "UID1-2 ",
            "uid1-2",
            "1.",
            ".1",
            "1.02",
            "4294967296.1",
            "1.2.3",
            "00000ABC4C08DFB",
            "00000ABC4C0907B00",
            "0000+ABC4C0907B0",
            "00000abC4C0907B0",
            "é000ABC4C0907B0",
        ] {
            assert!(ALL.iter().all(|format| format.read(id.as_bytes()).is_none()), "{id}");
        }
        assert_eq!(UidlFormat::Uw.read(b"\xff"), None);
    }

    #[test]
    fn a_base_name_is_escaped_and_never_too_long() {
        assert_eq!(uidl_of_base(b"1.M2P3.host,S=5").as_deref(), Some("1.M2P3.host,S=5"));
        assert_eq!(uidl_of_base(b"a+b'\"\xe9 \x7f").as_deref(), Some("a+2Bb+27+22+E9+20+7F"));
        assert_eq!(uidl_of_base(b""), None);
        assert!(uidl_of_base(&[b'x'; 70]).is_some() && uidl_of_base(&[b'x'; 71]).is_none());
    }
}
