//! Searches in blocks of a fixed size. Without a branch for each octet, the compiler makes vector code of them.

use memchr::memchr;

/// Where the first octet stands that is `odd` with the two that follow it; for the last octet but one, a 0 stands for the second.
///
/// Large blocks are fast, small ones leave few octets to be looked at one by one.
#[inline]
pub(crate) fn first_odd(content: &[u8], odd: impl Fn(u8, u8, u8) -> bool + Copy) -> Option<usize> {
    let at = even_until::<256>(content, 0, odd);
    let at = even_until::<32>(content, at, odd);
    let at = even_until::<8>(content, at, odd);
    let mut rest = content.get(at..)?;
    while let [octet, next, after @ ..] = rest {
        if odd(*octet, *next, after.first().copied().unwrap_or(0)) {
            return Some(content.len() - rest.len());
        }
        rest = rest.get(1..)?;
    }
    None
}

/// Passes whole blocks without an odd octet.
#[inline]
fn even_until<const N: usize>(content: &[u8], mut at: usize, odd: impl Fn(u8, u8, u8) -> bool + Copy) -> usize {
    let block = |at: usize| content.get(at..)?.first_chunk::<N>();
    while let (Some(octets), Some(next), Some(after)) = (block(at), block(at + 1), block(at + 2)) {
        let threes = octets.iter().zip(next).zip(after);
        if threes.fold(false, |any, ((octet, next), after)| any | odd(*octet, *next, *after)) {
            break;
        }
        at += N;
    }
    at
}

/// The first LF, sought where lines of mail have theirs: within few octets, for which a call of `memchr` costs more than the search.
#[inline]
pub(crate) fn line_feed(content: &[u8]) -> Option<usize> {
    const NEAR: usize = 128;
    let Some((near, far)) = content.split_first_chunk::<NEAR>() else { return memchr(b'\n', content) };
    let (blocks, _) = near.as_chunks::<32>();
    match blocks.iter().position(has_line_feed) {
        Some(n) => blocks.get(n).map(|block| 32 * n + line_feed_within(block)),
        None => memchr(b'\n', far).map(|at| NEAR + at),
    }
}

#[inline]
fn has_line_feed(block: &[u8; 32]) -> bool {
    block.iter().fold(false, |any, octet| any | (*octet == b'\n'))
}

/// Eight octets at once: the lowest bit that is left belongs to the first LF.
#[inline]
fn line_feed_within(block: &[u8; 32]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let mut at = 0;
    for word in block.as_chunks::<8>().0 {
        let zero_for_lf = u64::from_le_bytes(*word) ^ (ONES * b'\n' as u64);
        let found = zero_for_lf.wrapping_sub(ONES) & !zero_for_lf & (ONES << 7);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn a_line_feed_is_found_wherever_it_stands_and_the_first_of_two() {
        for len in 0..300 {
            assert_eq!(line_feed(&vec![b'\x0b'; len]), None);
            for at in 0..len {
                let mut content = vec![b'\x8a'; len];
                content[len - 1] = b'\n';
                content[at] = b'\n';
                assert_eq!(line_feed(&content), Some(at), "in {len} octets");
            }
        }
    }

    proptest! {
        #[test]
        fn any_octets_have_their_first_line_feed_where_a_plain_search_has_it(
            content in proptest::collection::vec(prop_oneof![200 => any::<u8>(), 1 => Just(b'\n')], 0..300)
        ) {
            prop_assert_eq!(line_feed(&content), content.iter().position(|octet| *octet == b'\n'));
        }

        #[test]
        fn the_first_odd_octet_is_where_a_plain_search_has_it(len in 0_usize..700, marks in proptest::collection::vec(0_usize..700, 0..4)) {
            let mut content = vec![0; len];
            marks.iter().filter(|at| **at < len).for_each(|at| content[*at] = 1);
            for which in 0..3 {
                let odd = |a, b, c| [a, b, c][which] == 1;
                let plain = (0..len.saturating_sub(1)).find(|at| content.get(at + which) == Some(&1));
                prop_assert_eq!(first_odd(&content, odd), plain);
            }
        }
    }
}
