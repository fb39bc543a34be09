//! File names: every name that a message can have, read and written without loss.

use postrider_maildir::{Flag, Flags, Info, Name, NameError, Separator};
use proptest::prelude::*;

const SEPARATORS: [Separator; 3] = [Separator::Colon, Separator::Exclamation, Separator::Semicolon];

#[test]
fn the_base_ends_at_the_last_separator_before_1_or_2_and_a_comma() {
    for (name, base, flags) in [
        ("1.2.h", "1.2.h", ""),
        ("1.2.h:2,", "1.2.h", ""),
        ("1.2.h:2,SS", "1.2.h", "S"),
        ("1.2.h:2,TSF", "1.2.h", "FST"),
        ("1.2.h:2,SXyz9", "1.2.h", "9SXyz"),
        ("1.2.h!2,S", "1.2.h", "S"),
        ("1.2.h;2,S", "1.2.h", "S"),
        ("1.2.h:2", "1.2.h:2", ""),
        ("1.2.h:3,S", "1.2.h:3,S", ""),
        ("1.2.h:2,S:2,F", "1.2.h:2,S", "F"),
        ("1.2.h;2,S:1,x", "1.2.h;2,S", ""),
        ("1.2.h:2,S,abc", "1.2.h", "S"),
        ("a:b:2,R", "a:b", "R"),
        (":2,S", "", "S"),
        ("x", "x", ""),
    ] {
        let parsed = Name::parse(name.as_bytes()).unwrap();
        assert_eq!(parsed.base(), base.as_bytes(), "{name}");
        assert_eq!(parsed.flags().to_string(), flags, "{name}");
        assert_eq!(parsed.octets(), name.as_bytes());
    }
}

#[test]
fn names_that_no_message_can_have_are_refused() {
    for (name, error) in [
        (&b""[..], NameError::Hidden),
        (b".", NameError::Hidden),
        (b".nfs0001", NameError::Hidden),
        (b"a/b", NameError::Octet(b'/')),
        (b"a\0b", NameError::Octet(0)),
        (&[b'x'; 256], NameError::TooLong { len: 256 }),
    ] {
        assert_eq!(Name::parse(name).unwrap_err(), error);
    }
    assert!(Name::parse(&[b'x'; 255][..]).is_ok());
}

#[test]
fn sizes_that_lie_or_overflow_are_numbers_or_none_and_never_a_panic() {
    for (field, size) in [
        ("S=0", Some(0)),
        ("S=007", Some(7)),
        ("S=18446744073709551615", Some(u64::MAX)),
        ("S=18446744073709551616", None),
        ("S=99999999999999999999999", None),
        ("S=-1", None),
        ("S=+1", None),
        ("S= 1", None),
        ("S=", None),
        ("S", None),
        ("S=1,S=2", Some(1)),
        ("s=1", None),
        ("XS=1", None),
    ] {
        let name = format!("1.2.h,{field}:2,");
        assert_eq!(Name::parse(name.as_bytes()).unwrap().size(), size, "{field}");
    }
}

#[test]
fn fields_are_found_in_any_order_and_unknown_ones_kept() {
    let name = Name::parse(&b"1700000000.M1P2.h\xff,U=12,FMD5=d41d,W=34,S=33,junk,u=9:2,"[..]).unwrap();
    assert_eq!((name.size(), name.crlf_size(), name.mbsync_uid()), (Some(33), Some(34), Some(12)));
    assert_eq!(name.field(b"FMD5"), Some(&b"d41d"[..]));
    assert_eq!((name.unique(), name.seconds()), (&b"1700000000.M1P2.h\xff"[..], Some(1_700_000_000)));
    assert_eq!(name.fields().count(), 5);
}

#[test]
fn flags_change_and_everything_else_stays() {
    let flags = Flags::from(Flag::SEEN).with(Flag::DRAFT.into());
    for (name, changed) in [
        ("1.2.h", "1.2.h;2,DS"),
        ("1.2.h:2,", "1.2.h:2,DS"),
        ("1.2.h!2,F,foreign:set", "1.2.h!2,DS,foreign:set"),
        ("1.2.h:2", "1.2.h:2;2,DS"),
    ] {
        let parsed = Name::parse(name.as_bytes()).unwrap();
        let result = parsed.with_flags(flags, Separator::Semicolon).unwrap().unwrap();
        assert_eq!(result.to_string(), changed);
    }
    let experimental = Name::parse(&b"1.2.h:1,whatever"[..]).unwrap();
    assert_eq!(experimental.info(), Info::Experimental(b"whatever"));
    assert_eq!(experimental.with_flags(flags, Separator::Colon), Ok(None));
    let long = Name::parse(vec![b'x'; 255]).unwrap();
    assert_eq!(long.with_flags(flags, Separator::Colon), Err(NameError::TooLong { len: 260 }));
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop_oneof![
        Just(b':'),
        Just(b';'),
        Just(b'!'),
        Just(b'1'),
        Just(b'2'),
        Just(b','),
        Just(b'S'),
        Just(b'='),
        Just(b'.'),
        any::<u8>()
    ];
    prop::collection::vec(likely, 0..40)
}

fn flags() -> impl Strategy<Value = Flags> {
    prop::collection::vec(any::<u8>(), 0..8).prop_map(|octets| octets.into_iter().filter_map(Flag::new).collect())
}

proptest! {
    #[test]
    fn any_octets_are_a_name_that_prints_as_it_was_or_an_error(octets in octets()) {
        if let Ok(name) = Name::parse(&octets[..]) {
            prop_assert_eq!(name.octets(), &octets[..]);
            prop_assert!(octets.starts_with(name.base()));
            let _ = (name.size(), name.crlf_size(), name.mbsync_uid(), name.seconds(), name.info(), name.to_string());
        }
    }

    #[test]
    fn changing_flags_never_changes_which_message_it_is(octets in octets(), flags in flags(), which in 0_usize..3) {
        let Ok(name) = Name::parse(octets) else { return Ok(()) };
        if let Ok(Some(changed)) = name.with_flags(flags, SEPARATORS[which]) {
            prop_assert_eq!(changed.base(), name.base());
            prop_assert_eq!(changed.flags(), flags);
            let again = Name::parse(changed.octets()).unwrap();
            prop_assert_eq!(again.base(), name.base());
            prop_assert_eq!(again.info(), changed.info());
        }
    }
}
