//! Any octets are the name of a message that stays as it was, or an error; other flags change nothing but the flags.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::one_of;
use postrider_maildir::{Flag, Flags, Info, Name, Separator};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    flags: [u8; 4],
    separator: u8,
    octets: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let Ok(name) = Name::parse(input.octets) else { return };
    assert_eq!(name.octets(), input.octets);
    assert!(input.octets.starts_with(name.base()) && name.base().starts_with(name.unique()));
    read_every_part(&name);
    let flags: Flags = input.flags.into_iter().filter_map(Flag::new).collect();
    let separator = one_of(input.separator, [Separator::Colon, Separator::Exclamation, Separator::Semicolon]);
    let Some(set) = changed(&name, name.flags().with(flags), separator) else { return };
    assert_eq!(changed(&set, set.flags().with(flags), separator), Some(set.clone()));
    let unset = changed(&set, set.flags().without(flags), separator).expect("fewer flags make no longer name");
    assert_eq!(changed(&unset, unset.flags().without(flags), separator), Some(unset));
});

/// What names claim is looked at only when somebody asks; it must not panic either, and may be logged.
fn read_every_part(name: &Name<'_>) {
    let claims = (name.size(), name.crlf_size(), name.mbsync_uid(), name.seconds(), name.fields().count());
    assert!(format!("{name} {claims:?} {:?}", name.info()).is_ascii());
}

/// The name with these flags, read anew; none where it would be too long or its info is of another kind.
fn changed(name: &Name<'_>, flags: Flags, separator: Separator) -> Option<Name<'static>> {
    let changed = name.with_flags(flags, separator).ok()??;
    let again = Name::parse(changed.octets().to_vec()).expect("the new name is a name");
    assert_eq!((again.base(), again.flags()), (name.base(), flags));
    assert_eq!(behind_flags(&again), behind_flags(name));
    Some(again)
}

/// What other programs keep behind the flags.
fn behind_flags<'n>(name: &'n Name<'_>) -> &'n [u8] {
    match name.info() {
        Info::Flags(_, rest) => rest,
        Info::Experimental(_) | Info::None => b"",
    }
}
