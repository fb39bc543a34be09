//! The line that begins a message, in all the forms that programs have written.

/// A `From ` line, without its line end.
///
/// [RFC 4155](https://www.rfc-editor.org/rfc/rfc4155) has `From SENDER DATE` with the date as C's `asctime` writes it. Read are also dates without
/// seconds, with a numeric or named zone before or behind the year, of RFC 822 and of ISO 8601, years of two digits, any text around, and no date.
///
/// ```
/// use postrider_mbox::FromLine;
///
/// let line = FromLine::new(b"From john at example.org  Wed Feb 23 17:28 MET 2000").expect("it begins with From");
/// assert_eq!(line.sender(), b"john at example.org");
/// assert_eq!(line.date().map(|date| date.unix_seconds()), Some(951_323_280));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FromLine<'b> {
    text: &'b [u8],
    /// The date, if it is one, and where it begins.
    date: Option<(Option<Date>, usize)>,
}

/// What a `From ` line looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// It has a date.
    Dated,
    /// Nothing, as some exports have it.
    Bare,
    /// `-`, as Mozilla's programs have it.
    Hyphen,
    /// One word.
    Word,
    /// Several words: most likely a sentence.
    Prose,
}

/// Seconds since 1970, as a `From ` line says.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Date(i64);

impl Date {
    /// Seconds since 1970-01-01T00:00:00Z; a date without a zone is taken as one of UTC, as RFC 4155 has it.
    pub const fn unix_seconds(self) -> i64 {
        self.0
    }
}

impl<'b> FromLine<'b> {
    /// What `line` says, if it begins with `From `. Its line end may be there or not.
    pub fn new(line: &'b [u8]) -> Option<Self> {
        let text = line.strip_prefix(b"From ")?.trim_ascii_end();
        Some(Self { text, date: find_date(text) })
    }

    /// What stands before the date, without the space around it: mostly an address or `MAILER-DAEMON`, at times `-` or nothing.
    pub fn sender(&self) -> &'b [u8] {
        let end = self.date.map_or(self.text.len(), |(_, start)| start);
        self.text.get(..end).unwrap_or_default().trim_ascii()
    }

    /// When the message was delivered, if the line says so. Some programs write `Jan 00 00:00:00 0000` where they do not know.
    pub fn date(&self) -> Option<Date> {
        self.date.and_then(|(date, _)| date)
    }

    pub(crate) fn form(&self) -> Form {
        if self.date.is_some() {
            return Form::Dated;
        }
        match self.text {
            b"" => Form::Bare,
            b"-" => Form::Hyphen,
            text if text.iter().any(u8::is_ascii_whitespace) => Form::Prose,
            _ => Form::Word,
        }
    }
}

/// More words hold no date: it is the third or fourth, and addresses have few spaces.
const MAX_WORDS: usize = 24;

/// The first date in `text`, and where it begins.
fn find_date(text: &[u8]) -> Option<(Option<Date>, usize)> {
    let (seconds, start) = usual_date(text).or_else(|| any_date(text))?;
    // Of the year 0 there is no date; it is written for none.
    Some((Some(Date(seconds)).filter(|_| seconds > days(1, 1, 1) * DAY), start))
}

/// What nearly all lines are: an address in one word, and behind it the 24 octets that `asctime` writes. The words are not looked for.
fn usual_date(text: &[u8]) -> Option<(i64, usize)> {
    let (before, date) = text.split_at_checked(text.len().checked_sub(24)?)?;
    let address = before.trim_ascii();
    if address.len() == before.len() || !address.contains(&b'@') || address.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    let [w1, w2, w3, b' ', m1, m2, m3, b' ', d1, d2, b' ', clock @ .., b' ', y1, y2, y3, y4] = date else {
        return None;
    };
    if !is_weekday(&[*w1, *w2, *w3]) {
        return None;
    }
    let month = month(&[*m1, *m2, *m3])?;
    let day = if *d1 == b' ' { number(&[*d2], 0..=31)? } else { number(&[*d1, *d2], 0..=31)? };
    let year = year(&[*y1, *y2, *y3, *y4])?;
    Some((days(year, month, day) * DAY + time(clock)?, before.len()))
}

/// The first date in `text` in any form.
fn any_date(text: &[u8]) -> Option<(i64, usize)> {
    let mut rest = Words { text, at: 0 };
    for _ in 0..MAX_WORDS {
        let start = rest.next_start()?;
        let words = rest.clone();
        if let Some(seconds) = date(words) {
            return Some((seconds, start));
        }
        rest.next();
    }
    None
}

/// The words of a line and where they begin.
#[derive(Clone)]
struct Words<'b> {
    text: &'b [u8],
    at: usize,
}

impl<'b> Words<'b> {
    fn next_start(&self) -> Option<usize> {
        let rest = self.text.get(self.at..)?;
        Some(self.at + rest.iter().position(|octet| !octet.is_ascii_whitespace())?)
    }
}

impl<'b> Iterator for Words<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let start = self.next_start()?;
        let rest = self.text.get(start..)?;
        let len = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        self.at = start + len;
        rest.get(..len)
    }
}

/// A date at the front of `words`: `[Wed] Feb 23 17:28[:00] [MET [DST]] 2000 [+0100]`, `[Wed[,]] 23 Feb 2000 17:28[:00] [+0100]` or
/// `2000-02-23 17:28[:00] [+0100]`. A weekday that does not fit is none of our business.
fn date(mut words: Words<'_>) -> Option<i64> {
    let mut word = words.next()?;
    if let Some(day) = iso_day(word) {
        let seconds = time(words.next()?)?;
        return Some(day * DAY + seconds - words.next().and_then(zone).unwrap_or(0));
    }
    if is_weekday(word) {
        word = words.next()?;
    }
    let (month, day) = match month(word) {
        Some(month) => (month, number(words.next()?, 0..=31)?),
        None => {
            let day = number(word, 1..=31)?;
            let month = month(words.next()?)?;
            let year = year(words.next()?)?;
            let seconds = time(words.next()?)?;
            return Some(days(year, month, day) * DAY + seconds - words.next().and_then(zone).unwrap_or(0));
        }
    };
    let seconds = time(words.next()?)?;
    // Up to two words of a zone stand before the year, and a numeric one may follow it.
    let (mut offset, mut summer) = (0, 0);
    for _ in 0..3 {
        let word = words.next()?;
        if let Some(year) = year(word) {
            let offset = words.next().and_then(numeric_zone).unwrap_or(offset + summer);
            return Some(days(year, month, day) * DAY + seconds - offset);
        }
        if word == b"DST" {
            summer = HOUR;
        } else {
            offset = zone(word)?;
        }
    }
    None
}

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn is_weekday(word: &[u8]) -> bool {
    let word = word.strip_suffix(b",").unwrap_or(word);
    lower(word).is_some_and(|word| matches!(&word, b"mon" | b"tue" | b"wed" | b"thu" | b"fri" | b"sat" | b"sun"))
}

fn month(word: &[u8]) -> Option<i64> {
    Some(match &lower(word)? {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}

/// A word of three octets, its letters in lower case; no other octet becomes a letter.
fn lower(word: &[u8]) -> Option<[u8; 3]> {
    let word: [u8; 3] = word.try_into().ok()?;
    Some(word.map(|octet| octet | 0x20))
}

fn number(word: &[u8], range: core::ops::RangeInclusive<i64>) -> Option<i64> {
    if !matches!(word.len(), 1..=4) || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = word.iter().fold(0, |value, digit| value * 10 + i64::from(digit & 0xF));
    range.contains(&value).then_some(value)
}

/// Four digits, or two: 70 to 99 are of the last century.
fn year(word: &[u8]) -> Option<i64> {
    match word.len() {
        4 => number(word, 0..=9999),
        2 => number(word, 0..=99).map(|year| if year < 70 { 2000 + year } else { 1900 + year }),
        _ => None,
    }
}

/// `17:28` or `17:28:59`; 60 is a leap second.
fn time(word: &[u8]) -> Option<i64> {
    let mut parts = word.split(|octet| *octet == b':');
    let hours = number(parts.next()?, 0..=23)?;
    let minutes = number(parts.next()?, 0..=59)?;
    let seconds = parts.next().map_or(Some(0), |seconds| number(seconds, 0..=60))?;
    parts.next().is_none().then_some(hours * HOUR + minutes * 60 + seconds)
}

/// A numeric zone, or any name: those of RFC 822 count, others stand for UTC.
fn zone(word: &[u8]) -> Option<i64> {
    let named = word.len() <= 5 && word.iter().all(u8::is_ascii_alphabetic);
    numeric_zone(word).or_else(|| named.then(|| named_zone(word)))
}

/// `+0100`, `-0330`: seconds east of Greenwich.
fn numeric_zone(word: &[u8]) -> Option<i64> {
    let (sign, digits) = word.split_first()?;
    let (hours, minutes) = digits.split_at_checked(2).filter(|(_, minutes)| minutes.len() == 2)?;
    let offset = number(hours, 0..=23)? * HOUR + number(minutes, 0..=59)? * 60;
    match sign {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

/// The zones of [RFC 5322 section 4.3](https://www.rfc-editor.org/rfc/rfc5322#section-4.3), and the European ones.
fn named_zone(name: &[u8]) -> i64 {
    let hours = match name {
        b"EDT" => -4,
        b"EST" | b"CDT" => -5,
        b"CST" | b"MDT" => -6,
        b"MST" | b"PDT" => -7,
        b"PST" => -8,
        b"CET" | b"MET" | b"BST" => 1,
        b"CEST" | b"MEST" | b"EET" => 2,
        b"EEST" | b"MSK" => 3,
        _ => 0,
    };
    hours * HOUR
}

fn iso_day(word: &[u8]) -> Option<i64> {
    let mut parts = word.split(|octet| *octet == b'-');
    let year = parts.next().filter(|year| year.len() == 4).and_then(year)?;
    let (month, day) = (number(parts.next()?, 1..=12)?, number(parts.next()?, 1..=31)?);
    parts.next().is_none().then(|| days(year, month, day))
}

/// Days since 1970-01-01 in the Gregorian calendar; years begin in March here, so that a leap day is the last of its year.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_read_in_every_form_that_was_written() {
        for (line, sender, seconds) in [
            ("From a@b Thu Jan  1 00:00:00 1970", "a@b", 0),
            ("From a@b  Wed Feb 23 17:28:01 2000", "a@b", 951_326_881),
            ("From a@b Wed Feb 23 17:28 MET 2000", "a@b", 951_323_280),
            ("From a@b Wed Feb 23 17:28 MET DST 2000", "a@b", 951_319_680),
            ("From a@b Wed Feb 23 17:28:00 2000 -0500", "a@b", 951_344_880),
            ("From a@b Wed Feb 23 17:28:00 EST 2000 remote from host", "a@b", 951_344_880),
            ("From a@b Wed Feb 23 17:28:00 +0100 2000", "a@b", 951_323_280),
            ("From a@b Feb 23 17:28:00 2000", "a@b", 951_326_880),
            ("From Wed Feb 23 17:28:00 2000", "", 951_326_880),
            ("From a@b Wed Feb 03 17:28:00 99", "a@b", 918_062_880),
            ("From - Sat 23 Jan 2016 22:06:43 +0200", "-", 1_453_579_603),
            ("From - Sat, 23 Jan 2016 20:06:43", "-", 1_453_579_603),
            ("From () 2019-10-02 05:04:34 +0000", "()", 1_569_992_674),
            ("From 1@xxx Fri Sep 16 22:26:51 +0000 2016", "1@xxx", 1_474_064_811),
            ("From \"a b\"@c\tFri Sep 16 22:26:51 2016\r\n", "\"a b\"@c", 1_474_064_811),
            ("From john at example.com  Fri Sep 16 22:26:51 2016", "john at example.com", 1_474_064_811),
        ] {
            let from = FromLine::new(line.as_bytes()).unwrap();
            assert_eq!(
                (from.sender(), from.date().map(Date::unix_seconds)),
                (sender.as_bytes(), Some(seconds)),
                "{line}"
            );
            assert_eq!(from.form(), Form::Dated);
        }
        let none = FromLine::new(b"From a@b  Mon Jan 00 00:00:00 0000").unwrap();
        assert_eq!((none.sender(), none.date(), none.form()), (&b"a@b"[..], None, Form::Dated));
    }

    proptest! {
        #[test]
        fn the_usual_form_is_read_as_any_other(
            line in "(a@b|a|@ |Thu@|1 )? {0,2}(Thu|Thu,|thx|Th) (Jan|may|Jax) ( 1|31|00|32| x|1 ) (00:00:00|23:59:60|24:00:00|00:00: 0|1:00:000|000:00 00) (1970|0000|19 0|99) ?",
        ) {
            let text = line.as_bytes().trim_ascii_end();
            if let Some(found) = usual_date(text) {
                prop_assert_eq!(Some(found), any_date(text));
            }
        }
    }

    #[test]
    fn what_has_no_date_is_told_by_its_words() {
        for (line, form) in [
            ("From ", Form::Bare),
            ("From  \r\n", Form::Bare),
            ("From -", Form::Hyphen),
            ("From - \r\n", Form::Hyphen),
            ("From a@b", Form::Word),
            ("From perl5-porters:", Form::Word),
            ("From Russia with love", Form::Prose),
            ("From now until May 35 it rains", Form::Prose),
            ("From May 1 on", Form::Prose),
            ("From a Wed Feb 23 25:00:00 2000", Form::Prose),
            ("From a Wed Feb 23 17:28:00", Form::Prose),
        ] {
            assert_eq!(FromLine::new(line.as_bytes()).unwrap().form(), form, "{line}");
        }
        assert_eq!([FromLine::new(b"From: a@b"), FromLine::new(b">From a"), FromLine::new(b"from a")], [None; 3]);
    }
}
