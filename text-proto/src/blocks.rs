//! Searches that tell 32 octets apart at once: with the vectors that the CPU is found to have at run time, or those that all of its kind have.

use fearless_simd::prelude::*;
use fearless_simd::{Simd, mask8x32, u8x32};

/// How many octets are told apart at once.
pub(crate) const BLOCK: usize = 32;

/// Ends a function with another that takes a [`Simd`]. The other has to be inlined, with all it calls: the rest is compiled for any CPU.
macro_rules! widest {
    ($search:ident($($argument:expr),*)) => {{
        let level = fearless_simd::Level::try_detect().unwrap_or(fearless_simd::Level::baseline());
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = level.as_avx2() {
            return fearless_simd::Simd::vectorize(avx2, #[inline(always)] || $search(avx2, $($argument),*));
        }
        fearless_simd::dispatch!(level, simd => $search(simd, $($argument),*))
    }};
}
pub(crate) use widest;

/// What makes two neighbours odd.
pub(crate) trait Odd {
    /// The odd ones among octets, each with its `next`.
    fn among<S: Simd>(octets: u8x32<S>, next: u8x32<S>) -> mask8x32<S>;
}

/// Where the first octet stands that is odd with the next one.
#[inline]
pub(crate) fn first_odd<O: Odd>(content: &[u8], odd: O) -> Option<usize> {
    widest!(first_odd_with(content, odd))
}

/// [`first_odd`] where it is likely to be within a line, which is passed sooner than the CPU is asked, or another function is called.
#[inline(always)]
pub(crate) fn first_odd_soon<O: Odd>(content: &[u8], odd: O) -> Option<usize> {
    let line = content.get(..3 * BLOCK + 1).unwrap_or(content);
    let soon = fearless_simd::dispatch!(fearless_simd::Level::baseline(), simd => first_odd_near::<_, O>(simd, line));
    soon.map_or_else(|passed| first_odd_after(content, passed, odd), Some)
}

#[inline(never)]
fn first_odd_after<O: Odd>(content: &[u8], passed: usize, odd: O) -> Option<usize> {
    first_odd(content.get(passed..)?, odd).map(|at| passed + at)
}

/// In whole blocks; or how many octets they have.
#[inline(always)]
fn first_odd_near<S: Simd, O: Odd>(simd: S, content: &[u8]) -> Result<usize, usize> {
    let mut at = 0;
    while let Some(pairs) = content.get(at..).and_then(<[u8]>::first_chunk) {
        let bits = odd_bits::<S, O>(simd, pairs);
        if bits != 0 {
            return Ok(at + bits.trailing_zeros() as usize);
        }
        at += BLOCK;
    }
    Err(at)
}

#[inline(always)]
fn first_odd_with<S: Simd, O: Odd>(simd: S, content: &[u8], _: O) -> Option<usize> {
    const MANY: usize = 4 * BLOCK;
    let mut at = 0;
    // Where one line is to be found, to stop at its block is best.
    while at < MANY
        && let Some(pairs) = content.get(at..).and_then(<[u8]>::first_chunk)
    {
        let bits = odd_bits::<S, O>(simd, pairs);
        if bits != 0 {
            return Some(at + bits.trailing_zeros() as usize);
        }
        at += BLOCK;
    }
    // And where there are many, one branch for several blocks.
    while let Some(many) = content.get(at..)?.first_chunk::<{ MANY + 1 }>() {
        let mut bits = 0_u128;
        for n in [3, 2, 1, 0] {
            let pairs = many.get(n * BLOCK..)?.first_chunk()?;
            bits = bits << BLOCK | u128::from(odd_bits::<S, O>(simd, pairs));
        }
        if bits != 0 {
            return Some(at + bits.trailing_zeros() as usize);
        }
        at += MANY;
    }
    while let Some(pairs) = content.get(at..)?.first_chunk() {
        let bits = odd_bits::<S, O>(simd, pairs);
        if bits != 0 {
            return Some(at + bits.trailing_zeros() as usize);
        }
        at += BLOCK;
    }
    // The last octet of all has no next one.
    let rest = content.get(at..)?;
    let mut padded = [0; BLOCK + 1];
    padded.get_mut(..rest.len())?.copy_from_slice(rest);
    let with_next = (1 << rest.len().saturating_sub(1)) - 1;
    let bits = u64::from(odd_bits::<S, O>(simd, &padded)) & with_next;
    (bits != 0).then(|| at + bits.trailing_zeros() as usize)
}

/// A bit for each of 32 pairs of neighbours, the lowest for the first.
#[inline(always)]
fn odd_bits<S: Simd, O: Odd>(simd: S, pairs: &[u8; BLOCK + 1]) -> u32 {
    let (Some(octets), Some(next)) = (pairs.first_chunk(), pairs.last_chunk()) else { return 0 };
    bits(O::among(vector(simd, octets), vector(simd, next)))
}

/// 32 octets to compare.
#[inline(always)]
pub(crate) fn vector<S: Simd>(simd: S, octets: &[u8; BLOCK]) -> u8x32<S> {
    (*octets).simd_into(simd)
}

/// A bit for each octet, the lowest for the first.
#[inline(always)]
pub(crate) fn bits<S: Simd>(mask: mask8x32<S>) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a mask of 32 lanes has 32 bits")]
    let bits = mask.to_bitmask() as u32;
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    struct Marked;

    impl Odd for Marked {
        fn among<S: Simd>(octets: u8x32<S>, next: u8x32<S>) -> mask8x32<S> {
            octets.simd_eq(1) | next.simd_eq(2)
        }
    }

    /// With the vectors that all CPUs of this kind have.
    fn first_marked_with_the_narrowest(content: &[u8]) -> Option<usize> {
        fearless_simd::dispatch!(fearless_simd::Level::baseline(), simd => first_odd_with(simd, content, Marked))
    }

    proptest! {
        #[test]
        fn the_first_odd_octet_is_where_a_plain_search_has_it(len in 0_usize..700, marks in proptest::collection::vec((0_usize..700, 1_u8..3), 0..4)) {
            let mut content = vec![0; len];
            marks.iter().filter(|(at, _)| *at < len).for_each(|(at, mark)| content[*at] = *mark);
            let plain = content.windows(2).position(|pair| pair[0] == 1 || pair[1] == 2);
            prop_assert_eq!(first_odd(&content, Marked), plain);
            prop_assert_eq!(first_odd_soon(&content, Marked), plain);
            prop_assert_eq!(first_marked_with_the_narrowest(&content), plain);
        }
    }
}
