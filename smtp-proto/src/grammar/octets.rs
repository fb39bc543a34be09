//! Octets by what they can be part of, and names in either case: what the productions read octet by octet, they read here.

/// A set of ASCII octets. What is not ASCII is in none: a [`run`] ends there, and who allows UTF-8 looks again.
#[derive(Clone, Copy)]
pub(crate) struct Class(u8);

impl Class {
    /// ```abnf
    /// atext = ALPHA / DIGIT / "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "/" / "=" / "?" / "^" / "_" / "`" /
    ///         "{" / "|" / "}" / "~"
    /// ```
    ///
    /// [RFC 5322 section 3.2.3](https://www.rfc-editor.org/rfc/rfc5322#section-3.2.3).
    pub(crate) const ATEXT: Self = Self(1);
    /// `DIGIT`
    pub(crate) const DIGIT: Self = Self(1 << 1);
    /// `ALPHA / DIGIT / "-"`
    pub(crate) const LET_DIG_HYPHEN: Self = Self(1 << 2);
    /// The same and the underscore, which some domains have.
    pub(crate) const LET_DIG_HYPHEN_UNDERSCORE: Self = Self(1 << 2 | 1 << 3);
    /// `SP / VCHAR`
    pub(crate) const TEXT: Self = Self(1 << 4);
    /// `%d33-60 / %d62-126`, of which the values of parameters are.
    pub(crate) const VALUE: Self = Self(1 << 5);
    /// `VCHAR = %d33-126`
    pub(crate) const VCHAR: Self = Self(1 << 6);
    /// `xchar = %d33-42 / %d44-60 / %d62-126`
    pub(crate) const XCHAR: Self = Self(1 << 7);

    /// Those that `octet` is in.
    const fn of(octet: u8) -> u8 {
        let (vchar, let_dig) = (octet.is_ascii_graphic(), octet.is_ascii_alphanumeric());
        Self::ATEXT.when(vchar && !is_special(octet))
            | Self::DIGIT.when(octet.is_ascii_digit())
            | Self::LET_DIG_HYPHEN.when(let_dig || octet == b'-')
            | Self::LET_DIG_HYPHEN_UNDERSCORE.when(octet == b'_') & !Self::LET_DIG_HYPHEN.0
            | Self::TEXT.when(vchar || octet == b' ')
            | Self::VALUE.when(vchar && octet != b'=')
            | Self::VCHAR.when(vchar)
            | Self::XCHAR.when(vchar && octet != b'=' && octet != b'+')
    }

    const fn when(self, holds: bool) -> u8 {
        if holds { self.0 } else { 0 }
    }

    #[inline(always)]
    pub(crate) const fn has(self, octet: u8) -> bool {
        #[expect(clippy::indexing_slicing, reason = "the table has a place for every octet")]
        let classes = CLASSES[octet as usize];
        classes & self.0 != 0
    }
}

/// ```abnf
/// specials = "(" / ")" / "<" / ">" / "[" / "]" / ":" / ";" / "@" / "\" / "," / "." / DQUOTE
/// ```
const fn is_special(octet: u8) -> bool {
    matches!(octet, b'(' | b')' | b'<' | b'>' | b'[' | b']' | b':' | b';' | b'@' | b'\\' | b',' | b'.' | b'"')
}

static CLASSES: [u8; 256] = {
    let (mut classes, mut octet) = ([0; 256], 0);
    while octet < 256 {
        #[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "it is below 256")]
        (classes[octet] = Class::of(octet as u8));
        octet += 1;
    }
    classes
};

/// How many octets at the front of `input` are of the class. In steps of eight, so that most need no look at where the input ends.
#[inline(always)]
pub(crate) fn run(input: &[u8], class: Class) -> usize {
    let (steps, rest) = input.as_chunks::<8>();
    let mut len = 0;
    for step in steps {
        if let Some(end) = step.iter().position(|octet| !class.has(*octet)) {
            return len + end;
        }
        len += 8;
    }
    len + rest.iter().position(|octet| !class.has(*octet)).unwrap_or(rest.len())
}

/// Whether all octets are of the class.
#[inline]
pub(crate) fn all(input: &[u8], class: Class) -> bool {
    run(input, class) == input.len()
}

/// Where `octet` is first, eight octets at a time: what is sought here is near, and a search with SIMD takes longer to begin.
#[inline(always)]
pub(crate) fn find(input: &[u8], octet: u8) -> Option<usize> {
    let (words, rest) = input.as_chunks();
    let mut at = 0;
    for word in words {
        if let Some(found) = find_in_8(word, octet) {
            return Some(at + found);
        }
        at += 8;
    }
    match input.last_chunk() {
        None => rest.iter().position(|found| *found == octet),
        Some(_) if rest.is_empty() => None,
        // They overlap with what was looked at.
        Some(last) => find_in_8(last, octet).map(|found| input.len() - 8 + found),
    }
}

#[inline(always)]
fn find_in_8(octets: &[u8; 8], octet: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let differing = u64::from_le_bytes(*octets) ^ (u64::from(octet) * ONES);
    // The lowest mark is that of the first octet that is 0; those above it may be wrong.
    let marks = differing.wrapping_sub(ONES) & !differing & HIGHS;
    (marks != 0).then_some((marks.trailing_zeros() / 8) as usize)
}

/// A word of 4 to 8 octets as a number: that of a name in any case of ASCII letters, and of no other word as long.
#[inline(always)]
pub(crate) const fn short_name(word: &[u8]) -> Option<u64> {
    if word.len() > 8 {
        return None;
    }
    let Some(ends) = ends_of_4(word) else { return None };
    // What has the bit 0x40 and is not a letter becomes nothing that names are made of.
    Some(ends & !((ends & 0x4040_4040_4040_4040) >> 1))
}

/// Whether `word` is `name` in any case of ASCII letters. A name is of capital letters, digits and hyphens; those of 4 to 24 octets are compared fast.
#[inline(always)]
pub(crate) fn is_name(word: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
    word.len() == name.len()
        && match name.len() {
            4..=8 => ends_of_4(word).zip(ends_of_4(name)).is_some_and(are_alike),
            9..=16 => are_ends_alike(word, name),
            17..=24 => {
                let middle = |octets: &[u8]| octets.get(8..)?.first_chunk().map(|middle| u64::from_le_bytes(*middle));
                middle(word).zip(middle(name)).is_some_and(are_alike) && are_ends_alike(word, name)
            }
            _ => word.eq_ignore_ascii_case(name),
        }
}

/// The first four octets and the last, which may overlap.
#[inline(always)]
const fn ends_of_4(octets: &[u8]) -> Option<u64> {
    let (Some(first), Some(last)) = (octets.first_chunk(), octets.last_chunk()) else { return None };
    Some((u32::from_le_bytes(*first) as u64) << 32 | u32::from_le_bytes(*last) as u64)
}

/// Of the first eight octets and the last, which may overlap.
#[inline(always)]
fn are_ends_alike(word: &[u8], name: &[u8]) -> bool {
    let ends =
        |octets: &[u8]| Some((u64::from_le_bytes(*octets.first_chunk()?), u64::from_le_bytes(*octets.last_chunk()?)));
    ends(word).zip(ends(name)).is_some_and(|((first, last), (first_of_name, last_of_name))| {
        are_alike((first, first_of_name)) && are_alike((last, last_of_name))
    })
}

/// Of the octets of names only letters have the bit 0x40, and only letters may differ in 0x20.
#[inline(always)]
const fn are_alike((word, name): (u64, u64)) -> bool {
    (word ^ name) & !((name & 0x4040_4040_4040_4040) >> 1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn reading(class: Class) -> Vec<u8> {
        (0..=255).filter(|octet| class.has(*octet)).collect()
    }

    #[test]
    fn classes_are_what_the_grammars_say() {
        let text: Vec<u8> = (b' '..=b'~').collect();
        let without = |octets: &[u8]| text.iter().copied().filter(|octet| !octets.contains(octet)).collect::<Vec<_>>();
        assert_eq!(reading(Class::TEXT), text);
        assert_eq!(reading(Class::VCHAR), without(b" "));
        assert_eq!(reading(Class::VALUE), without(b" ="));
        assert_eq!(reading(Class::XCHAR), without(b" =+"));
        assert_eq!(reading(Class::ATEXT), without(b" \"(),.:;<>@[\\]"));
        assert_eq!(reading(Class::DIGIT), b"0123456789");
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut domain = [&b"-0123456789"[..], letters].concat();
        domain.sort_unstable();
        assert_eq!(reading(Class::LET_DIG_HYPHEN), domain);
        domain.push(b'_');
        domain.sort_unstable();
        assert_eq!(reading(Class::LET_DIG_HYPHEN_UNDERSCORE), domain);
    }

    proptest! {
        #[test]
        fn runs_end_where_an_octet_is_not_of_the_class(input: Vec<u8>, good in "[a-z]{0,20}") {
            let input = [good.as_bytes(), &input].concat();
            let end = input.iter().position(|octet| !octet.is_ascii_graphic()).unwrap_or(input.len());
            prop_assert_eq!(run(&input, Class::VCHAR), end);
            prop_assert_eq!(all(&input, Class::VCHAR), end == input.len());
        }

        #[test]
        fn an_octet_is_found_where_it_is_first(input in proptest::collection::vec(0x7f_u8..=0x81, 0..40), octet in 0x7f_u8..=0x81) {
            prop_assert_eq!(find(&input, octet), input.iter().position(|found| *found == octet));
        }

        #[test]
        fn names_are_told_by_each_octet(name in "[A-Z0-9-]{1,26}", case: [bool; 26], place: usize, octet: u8) {
            let mut word: Vec<u8> = name.bytes().zip(case).map(|(octet, lower)| if lower { octet.to_ascii_lowercase() } else { octet }).collect();
            prop_assert!(is_name(&word, &name));
            prop_assert!(!is_name(&word[1..], &name));
            prop_assert_eq!(short_name(&word), short_name(name.as_bytes()));
            prop_assert_eq!(short_name(&word).is_some(), matches!(name.len(), 4..=8));
            let place = place % word.len();
            word[place] = octet;
            let alike = word.eq_ignore_ascii_case(name.as_bytes());
            prop_assert_eq!(is_name(&word, &name), alike);
            if let Some(number) = short_name(&word) {
                prop_assert_eq!(short_name(name.as_bytes()) == Some(number), alike);
            }
        }
    }
}
