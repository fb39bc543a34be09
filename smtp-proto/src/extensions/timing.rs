//! When a message is to be delivered, and for whom still: [RFC 2852](https://www.rfc-editor.org/rfc/rfc2852),
//! [RFC 4865](https://www.rfc-editor.org/rfc/rfc4865), [RFC 6710](https://www.rfc-editor.org/rfc/rfc6710), [RFC 7293](https://www.rfc-editor.org/rfc/rfc7293).

use core::fmt;

use postrider_text_proto::ValueError;

use crate::grammar;

/// Until when a message is to be delivered. [RFC 2852 section 4](https://www.rfc-editor.org/rfc/rfc2852#section-4).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DeliverBy {
    seconds: i32,
    mode: ByMode,
    trace: bool,
}

/// What becomes of a message that is late.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ByMode {
    /// `N`: the sender is told, and the message goes on.
    Notify,
    /// `R`: it goes back.
    Return,
}

impl DeliverBy {
    /// The most seconds, either way.
    pub const MAX: i32 = 999_999_999;

    /// Within `seconds` from now; a negative number says how long ago that was. With `trace` the sender is told of each hop.
    ///
    /// # Errors
    ///
    /// When it is farther than [`MAX`](Self::MAX), or not in the future although the message is to be returned.
    pub const fn new(seconds: i32, mode: ByMode, trace: bool) -> Result<Self, ValueError> {
        let late = matches!(mode, ByMode::Return) && seconds <= 0;
        if seconds > Self::MAX || seconds < -Self::MAX || late {
            return Err(ValueError { expected: "up to 999999999 seconds, above 0 for a return (RFC 2852 section 4)" });
        }
        Ok(Self { seconds, mode, trace })
    }

    /// ```abnf
    /// by-value = ["-" / "+"] 1*9digit ";" ("N" / "R") ["T"]
    /// ```
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let at = memchr::memchr(b';', value)?;
        let (sign, digits) = match value.get(..at)? {
            [b'-', digits @ ..] => (-1, digits),
            [b'+', digits @ ..] | digits => (1, digits),
        };
        let (mode, trace) = match value.get(at + 1..)? {
            [mode] => (mode, false),
            [mode, b'T' | b't'] => (mode, true),
            _ => return None,
        };
        let mode = match mode {
            b'N' | b'n' => ByMode::Notify,
            b'R' | b'r' => ByMode::Return,
            _ => return None,
        };
        let seconds = grammar::number(digits).filter(|_| digits.len() <= 9)?;
        Self::new(sign * i32::try_from(seconds).ok()?, mode, trace).ok()
    }

    /// Seconds from when the command came.
    pub const fn seconds(self) -> i32 {
        self.seconds
    }

    /// What becomes of a message that is late.
    pub const fn mode(self) -> ByMode {
        self.mode
    }

    /// Whether the sender is told of each hop.
    pub const fn trace(self) -> bool {
        self.trace
    }
}

/// As in `BY=`: `120;RT`.
impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.mode == ByMode::Notify { "N" } else { "R" };
        let trace = if self.trace { "T" } else { "" };
        write!(f, "{};{mode}{trace}", self.seconds)
    }
}

/// How long a message is to be held before it goes out. [RFC 4865 section 3](https://www.rfc-editor.org/rfc/rfc4865#section-3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Hold<'b> {
    /// `HOLDFOR`: the message goes out after so many seconds, 1 to 999,999,999.
    For(u32),
    /// `HOLDUNTIL`: the message goes out then.
    Until(DateTime<'b>),
}

/// ```abnf
/// future-release-integer = %x31-39 *8DIGIT
/// ```
pub(crate) fn hold_seconds(value: &[u8]) -> Option<u32> {
    let seconds = grammar::number(value).filter(|_| value.len() <= 9 && !value.starts_with(b"0"))?;
    u32::try_from(seconds).ok()
}

/// ```abnf
/// priority-value = (["-"] NZDIGIT) / "0"
/// ```
///
/// [RFC 6710 section 7](https://www.rfc-editor.org/rfc/rfc6710#section-7).
pub(crate) fn priority(value: &[u8]) -> Option<i8> {
    let digit = |octet: u8| i8::try_from(octet - b'0').ok();
    match value {
        [octet @ b'0'..=b'9'] => digit(*octet),
        [b'-', octet @ b'1'..=b'9'] => digit(*octet).map(|digit| -digit),
        _ => None,
    }
}

/// Since when the recipient must have had the mailbox for the message to be theirs. [RFC 7293 section 3.1](https://www.rfc-editor.org/rfc/rfc7293#section-3.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ValidSince<'b> {
    /// The moment since which the recipient must have had it.
    pub since: DateTime<'b>,
    /// What a server does whose next hop does not know the extension, if the client says; if not, it refuses the message.
    pub otherwise: Option<Otherwise>,
}

/// What to do where RRVS cannot be passed on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Otherwise {
    /// `C`: pass the message on without it.
    Continue,
    /// `R`: refuse the message.
    Reject,
}

impl<'b> ValidSince<'b> {
    /// ```abnf
    /// rrvs-param = "RRVS=" date-time [ ";" ( "C" / "R" ) ]
    /// ```
    pub(crate) fn parse(value: &'b [u8]) -> Option<Self> {
        let (since, otherwise) = match value {
            [since @ .., b';', b'C' | b'c'] => (since, Some(Otherwise::Continue)),
            [since @ .., b';', b'R' | b'r'] => (since, Some(Otherwise::Reject)),
            since => (since, None),
        };
        Some(Self { since: DateTime::parse(since)?, otherwise })
    }
}

/// As in `RRVS=`.
impl fmt::Display for ValidSince<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.otherwise {
            Some(Otherwise::Continue) => ";C",
            Some(Otherwise::Reject) => ";R",
            None => "",
        };
        write!(f, "{}{action}", self.since)
    }
}

/// A moment, as [RFC 3339 section 5.6](https://www.rfc-editor.org/rfc/rfc3339#section-5.6) writes it.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct DateTime<'b>(&'b [u8]);

impl<'b> DateTime<'b> {
    /// Takes `text` as it is.
    ///
    /// # Errors
    ///
    /// When it is no moment of RFC 3339.
    pub fn new(text: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        Self::parse(text.as_ref()).ok_or(ValueError { expected: "a date and time (RFC 3339 section 5.6)" })
    }

    pub(crate) fn parse(text: &'b [u8]) -> Option<Self> {
        seconds_of(text).map(|_| Self(text))
    }

    /// The octets as they stand on the wire.
    pub const fn as_bytes(&self) -> &'b [u8] {
        self.0
    }

    /// Seconds since the beginning of 1970 in UTC; fractions are cut off, and a leap second counts as the one after it.
    pub fn unix_seconds(&self) -> i64 {
        seconds_of(self.0).unwrap_or_default()
    }
}

impl fmt::Display for DateTime<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(self.0).unwrap_or_default())
    }
}

impl fmt::Debug for DateTime<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DateTime({self})")
    }
}

/// ```abnf
/// date-time    = full-date "T" full-time
/// full-date    = 4DIGIT "-" 2DIGIT "-" 2DIGIT
/// full-time    = 2DIGIT ":" 2DIGIT ":" 2DIGIT [ "." 1*DIGIT ] ( "Z" / ( "+" / "-" ) 2DIGIT ":" 2DIGIT )
/// ```
fn seconds_of(text: &[u8]) -> Option<i64> {
    let number =
        |at: usize, len: usize| Some(i64::try_from(grammar::number(text.get(at..at + len)?)?).unwrap_or(i64::MAX));
    let parted =
        [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')].into_iter().all(|(at, octet)| text.get(at) == Some(&octet));
    if !parted || !text.get(10)?.eq_ignore_ascii_case(&b'T') {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let mut rest = text.get(19..)?;
    if let [b'.', fraction @ ..] = rest {
        let len = fraction.iter().take_while(|octet| octet.is_ascii_digit()).count();
        rest = fraction.get(len..).filter(|_| len > 0)?;
    }
    let offset = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), hours @ .., b':', _, _] if hours.len() == 2 => {
            let (hours, minutes) = (grammar::number(hours)?, grammar::number(rest.get(4..)?)?);
            let offset = i64::try_from(hours * 3600 + minutes * 60).ok().filter(|_| hours < 24 && minutes < 60)?;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let days = days_before(year, month) + day - 1;
    in_range.then_some(days * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the beginning of 1970 to the beginning of the month.
fn days_before(year: i64, month: i64) -> i64 {
    let leap_years =
        |before: i64| (before - 1).div_euclid(4) - (before - 1).div_euclid(100) + (before - 1).div_euclid(400);
    (year - 1970) * 365 + leap_years(year) - leap_years(1970)
        + (1..month).map(|month| days_of(year, month)).sum::<i64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_message_that_is_to_return_needs_a_time_to_come() {
        for good in ["120;R", "+120;rt", "-5;N", "0;NT", "999999999;R", "-999999999;n"] {
            let by = DeliverBy::parse(good.as_bytes()).unwrap();
            assert_eq!(DeliverBy::parse(by.to_string().as_bytes()), Some(by), "{good}");
        }
        for bad in [
            "0;R",
            "-1;R",
            "120",
            "120;",
            "120;X",
            "120;NR",
            "120;NTT",
            ";N",
            "+;N",
            "1000000000;N",
            "+-1;N",
            "1 ;N",
            "120;T",
        ] {
            assert_eq!(DeliverBy::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn priorities_run_from_minus_9_to_9() {
        assert_eq!([&b"-9"[..], b"0", b"9"].map(priority), [Some(-9), Some(0), Some(9)]);
        for bad in ["", "-", "-0", "+1", "10", "-10", "a"] {
            assert_eq!(priority(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_hold_is_1_to_999_999_999_seconds() {
        assert_eq!([&b"1"[..], b"999999999"].map(hold_seconds), [Some(1), Some(999_999_999)]);
        for bad in ["", "0", "01", "1000000000", "-1", "1.5"] {
            assert_eq!(hold_seconds(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn moments_are_counted_from_1970_in_utc() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:30:15.25Z", 951_827_415),
            ("2014-04-03T23:01:00+02:30", 1_396_557_060),
            ("1969-12-31t23:59:59-00:00", -1),
            ("2016-12-31T23:59:60z", 1_483_228_800),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(DateTime::new(text).map(|time| time.unix_seconds()), Ok(seconds), "{text}");
        }
        for bad in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-13-01T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "1970-01-00T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:61Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+1:00",
            "1970-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00+00:60",
            "1970-01-01 00:00:00Z",
            "1970-01-01T00:00:00ZZ",
            "+970-01-01T00:00:00Z",
        ] {
            assert!(DateTime::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_recipient_may_be_valid_since_a_moment() {
        let read = ValidSince::parse(b"2014-04-03T23:01:00Z;R").unwrap();
        assert_eq!((read.since.unix_seconds(), read.otherwise), (1_396_566_060, Some(Otherwise::Reject)));
        assert_eq!(read.to_string(), "2014-04-03T23:01:00Z;R");
        assert!(ValidSince::parse(b"2014-04-03T23:01:00Z").is_some_and(|read| read.otherwise.is_none()));
        for bad in ["2014-04-03T23:01:00Z;", "2014-04-03T23:01:00Z;X", ";C", "2014-04-03;C"] {
            assert_eq!(ValidSince::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
