//! The octets of the file `maildirsize`.

use crate::quota::{Quota, Usage};

/// A file that is longer is counted anew, which starts it over. What the specification says; some 200 deliveries.
pub(crate) const MAX_LEN: u64 = 5120;

/// What a file says: the definition in its first line, and the sum of all others.
///
/// Nothing, where a line is not what it should be, the last one has no end (it is being written, or was torn), no line but the first is
/// there, or the sum is below zero: such a file is counted anew.
pub(crate) fn parse(octets: &[u8]) -> Option<(Quota, Usage)> {
    let mut lines = octets.strip_suffix(b"\n")?.split(|&octet| octet == b'\n');
    let quota = parse_quota(lines.next()?)?;
    let mut lines = lines.map(parse_entry).peekable();
    lines.peek()?;
    // No file of MAX_LEN octets has lines enough to overflow.
    let sum = |(octets, messages): (i128, i128), entry: Option<(i64, i64)>| {
        entry.map(|(more, count)| (octets + i128::from(more), messages + i128::from(count)))
    };
    let (octets, messages) = lines.try_fold((0, 0), sum)?;
    Some((quota, Usage { octets: octets.try_into().ok()?, messages: messages.try_into().ok()? }))
}

/// `1000S,10C`: limits with a letter each, in any order, each once. Other letters are somebody else's limits.
pub(crate) fn parse_quota(line: &[u8]) -> Option<Quota> {
    let mut quota = Quota::default();
    for limit in line.trim_ascii().split(|&octet| octet == b',').filter(|limit| !limit.is_empty()) {
        let (letter, digits) = limit.split_last()?;
        let value: u64 = number(digits)?;
        let place = match letter {
            b'C' => &mut quota.messages,
            b'S' => &mut quota.octets,
            b'A'..=b'Z' => continue,
            _ => return None,
        };
        if place.replace(value).is_some() {
            return None;
        }
    }
    Some(quota.normal())
}

/// Two numbers with white space between them and perhaps around.
fn parse_entry(line: &[u8]) -> Option<(i64, i64)> {
    let mut numbers = line.split(u8::is_ascii_whitespace).filter(|number| !number.is_empty());
    let entry = (number(numbers.next()?)?, number(numbers.next()?)?);
    numbers.next().is_none().then_some(entry)
}

/// Digits, with a minus before them where the type has negative numbers. No plus, no overflow.
fn number<T: std::str::FromStr>(octets: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(octets).ok()?;
    text.strip_prefix('+').is_none().then(|| text.parse().ok())?
}

/// One line as maildrop writes it: 25 octets and LF. All lines have one width, so that writers whose appends fall on each other, as old NFS
/// lets them, spoil no other line.
pub(crate) fn entry(octets: i64, messages: i64) -> String {
    format!("{octets:>12} {messages:>12}\n")
}

/// A file that was just counted.
pub(crate) fn whole(quota: Quota, usage: Usage) -> String {
    let (octets, messages) = usage.signed();
    format!("{quota}\n{}", entry(octets, messages))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Option<(String, u64, u64)> {
        parse(text.as_bytes()).map(|(quota, usage)| (quota.to_string(), usage.octets, usage.messages))
    }

    fn is(quota: &str, octets: u64, messages: u64) -> Option<(String, u64, u64)> {
        Some((quota.to_owned(), octets, messages))
    }

    #[test]
    fn a_file_that_maildrop_wrote_is_read() {
        let file = "1000000S,100C\n           0            0\n          18            1\n          18            1\n";
        assert_eq!(parsed(file), is("1000000S,100C", 36, 2));
    }

    #[test]
    fn lines_of_either_width_and_limits_in_either_order_are_read() {
        assert_eq!(parsed("100C,1000000S\n     36     2\n     18     1\n"), is("1000000S,100C", 54, 3));
        assert_eq!(parsed("5C\n36 2\n\t-18  -1 \n"), is("5C", 18, 1));
        assert_eq!(parsed("1000S\n0 0\n"), is("1000S", 0, 0));
        assert_eq!(parsed("1000S,7X\r\n0 0\r\n"), is("1000S", 0, 0));
        assert_eq!(parsed("\n5 1\n"), is("0S", 5, 1));
        assert_eq!(parsed("0S,0C\n5 1\n"), is("0S", 5, 1));
    }

    #[test]
    fn the_sum_may_pass_below_zero_and_not_end_there() {
        assert_eq!(parsed("5C\n-36 -2\n40 3\n"), is("5C", 4, 1));
        assert_eq!(parsed("5C\n36 2\n-37 -1\n"), None);
        assert_eq!(parsed("5C\n36 2\n-36 -3\n"), None);
    }

    #[test]
    fn a_file_with_anything_else_in_it_is_unusable() {
        for corrupt in [
            "",
            "\n",
            "5C",
            "5C\n",
            "5C\n36 2",
            "5C\n36 2\n18",
            "5C\n36 2\n18 1 1\n",
            "5C\n36 2\n\n",
            "5C\n36\n",
            "5C\n36 x\n",
            "5C\n36 2\0\n",
            "\0\0\0\0",
            "5C\n36 +2\n",
            "5c\n36 2\n",
            "C\n36 2\n",
            "-5C\n36 2\n",
            "5C,5C\n36 2\n",
            "5C 6S\n36 2\n",
            "5C\n99999999999999999999 1\n",
            "99999999999999999999S\n1 1\n",
            "5C\n3 6 2\n",
            "5C\n0x5 1\n",
            "5C\n1.5 1\n",
        ] {
            assert_eq!(parsed(corrupt), None, "{corrupt:?}");
        }
        assert_eq!(parsed("5C\n9223372036854775807 1\n9223372036854775807 1\n"), is("5C", u64::MAX - 1, 2));
    }

    proptest! {
        #[test]
        fn any_octets_are_a_usage_or_unusable(octets in prop::collection::vec(
            prop_oneof![Just(b'\n'), Just(b' '), Just(b'-'), Just(b'S'), Just(b'C'), Just(b','), b'0'..=b'9', any::<u8>()], 0..80,
        )) {
            let _ = parse(&octets);
        }

        #[test]
        fn what_was_written_is_read(
            limits in any::<(u64, u64)>(), usage in 0..1_000_000_000_000_i64, changes in prop::collection::vec(any::<(i32, i16)>(), 0..40),
        ) {
            let quota = Quota { octets: Some(limits.0), messages: Some(limits.1) };
            let mut file = whole(quota, Usage { octets: usage.unsigned_abs(), messages: 50_000_000 });
            let (mut octets, mut messages) = (usage, 50_000_000);
            for (more, count) in changes {
                file.push_str(&entry(more.into(), count.into()));
                (octets, messages) = (octets + i64::from(more), messages + i64::from(count));
            }
            prop_assert!(file.lines().skip(1).all(|line| line.len() == 25));
            let expected = u64::try_from(octets).ok().map(|octets| Usage { octets, messages: messages.unsigned_abs() });
            prop_assert_eq!(parse(file.as_bytes()), expected.map(|usage| (quota.normal(), usage)));
        }
    }
}
