//! Which UID each message has.

use std::ops::Range;

use crate::metadata::Base;

/// What [`number`] found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Numbering {
    /// What the mailbox has to say now.
    pub base: Base,
    /// The messages, counted from 0, whose UID is another than they say.
    pub changed: Range<usize>,
}

/// Gives each message of a mailbox its UID, in the order of the file.
///
/// Those that the messages say stand as long as they rise. From the first one on that says none, all get new ones, above the last that was given. Where they
/// do not rise, the file was put together from others or has been changed by a program that knows nothing of UIDs, and where there is no base, they are what
/// some sender wrote: then all are numbered anew, and the UIDVALIDITY is another and larger one.
///
/// `now`: seconds since 1970, from which a new UIDVALIDITY is made.
///
/// ```
/// use postrider_mbox::{Base, number};
///
/// let base = Base { uid_validity: 1_700_000_000, uid_last: 9, keywords: Vec::new() };
/// let mut uids = [Some(3), Some(7), None, None];
/// let numbering = number(Some(base), &mut uids, 1_800_000_000);
/// assert_eq!(uids, [Some(3), Some(7), Some(10), Some(11)]);
/// assert_eq!((numbering.base.uid_validity, numbering.base.uid_last, numbering.changed), (1_700_000_000, 11, 2..4));
/// ```
pub fn number(base: Option<Base>, uids: &mut [Option<u32>], now: u64) -> Numbering {
    let first_missing = uids.iter().position(Option::is_none).unwrap_or(uids.len());
    let said = uids.iter().flatten();
    let rises = said.clone().zip(said.clone().skip(1)).all(|(one, other)| one < other);
    if let Some(mut base) = base.clone().filter(|_| rises) {
        base.uid_last = base.uid_last.max(said.copied().max().unwrap_or(0));
        if give(uids, first_missing, &mut base.uid_last) {
            return Numbering { base, changed: first_missing..uids.len() };
        }
    }
    let before = base.as_ref().map_or(0, |base| base.uid_validity);
    let uid_validity = u32::try_from(now).unwrap_or(u32::MAX).max(before.saturating_add(1));
    let mut base = Base { uid_validity, uid_last: 0, keywords: base.map(|base| base.keywords).unwrap_or_default() };
    give(uids, 0, &mut base.uid_last);
    Numbering { base, changed: 0..uids.len() }
}

/// New UIDs for all from `first` on; `false`, and nothing is changed, if there are not so many left.
fn give(uids: &mut [Option<u32>], first: usize, last: &mut u32) -> bool {
    let rest = uids.get_mut(first..).unwrap_or_default();
    let Some(end) = u32::try_from(rest.len()).ok().and_then(|more| last.checked_add(more)) else { return false };
    for (uid, number) in rest.iter_mut().zip(*last + 1..=end) {
        *uid = Some(number);
    }
    *last = end;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn base(uid_last: u32) -> Option<Base> {
        Some(Base { uid_validity: 5, uid_last, keywords: Vec::new() })
    }

    /// UIDs, UIDVALIDITY, last UID and what was changed.
    fn run(base: Option<Base>, said: &[u32]) -> (Vec<u32>, u32, u32, Range<usize>) {
        let mut uids: Vec<_> = said.iter().map(|uid| Some(*uid).filter(|uid| *uid > 0)).collect();
        let Numbering { base, changed } = number(base, &mut uids, NOW);
        (uids.into_iter().flatten().collect(), base.uid_validity, base.uid_last, changed)
    }

    #[test]
    fn rising_uids_stand_with_their_gaps() {
        assert_eq!(run(base(9), &[2, 3, 7]), (vec![2, 3, 7], 5, 9, 3..3));
        assert_eq!(run(base(4), &[2, 3, 7]), (vec![2, 3, 7], 5, 7, 3..3), "the last one given was one of them");
        assert_eq!(run(base(9), &[]), (vec![], 5, 9, 0..0));
    }

    #[test]
    fn from_the_first_without_on_all_are_new() {
        assert_eq!(run(base(9), &[2, 0, 7]), (vec![2, 10, 11], 5, 11, 1..3));
        assert_eq!(run(base(0), &[0, 0]), (vec![1, 2], 5, 2, 0..2));
    }

    #[test]
    fn doubled_and_falling_uids_are_numbered_anew_under_another_validity() {
        let new = u32::try_from(NOW).unwrap();
        assert_eq!(run(base(9), &[2, 2, 7]), (vec![1, 2, 3], new, 3, 0..3));
        assert_eq!(run(base(9), &[2, 0, 1]), (vec![1, 2, 3], new, 3, 0..3));
    }

    #[test]
    fn without_a_base_what_messages_say_is_nothing() {
        assert_eq!(run(None, &[20, 30]), (vec![1, 2], u32::try_from(NOW).unwrap(), 2, 0..2));
    }

    #[test]
    fn when_the_numbers_are_used_up_they_begin_again() {
        let (uids, validity, last, _) = run(base(u32::MAX - 1), &[7, 0, 0]);
        assert_eq!((uids, validity > 5, last), (vec![1, 2, 3], true, 3));
        assert_eq!(run(base(u32::MAX - 2), &[7, 0, 0]).0, [7, u32::MAX - 1, u32::MAX]);
    }

    #[test]
    fn a_new_validity_is_larger_though_the_clock_went_back() {
        let mut uids = [Some(2), Some(2)];
        let base = Base { uid_validity: 4_000_000_000, uid_last: 2, keywords: Vec::new() };
        assert_eq!(number(Some(base), &mut uids, NOW).base.uid_validity, 4_000_000_001);
    }
}
