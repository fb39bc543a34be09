//! Any octets are a list of UIDs that is written as one that reads the same, or an error; a field that is set changes no other.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_maildir::{UidEntry, UidList};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    octets: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let Ok(list) = UidList::parse(input.octets) else { return };
    assert!(list.uid_validity() > 0 && list.iter().count() == list.len());
    let mut previous = 0;
    for entry in list.iter() {
        assert!(entry.uid() > previous && entry.uid() < list.next_uid() && !entry.name().is_empty());
        assert!(list.get(entry.uid()) == Some(entry) && list.find(entry.name()) == Some(entry));
        assert!(entry.fields().all(|(letter, _)| entry.field(letter).is_some()));
        previous = entry.uid();
    }
    let written = list.to_dovecot();
    let again = UidList::parse(written.clone()).expect("what was written is a list");
    assert_eq!(again.to_dovecot(), written);
    assert_eq!((again.guid(), again.header_field(b'P')), (list.guid(), list.header_field(b'P')));
    assert!(same(&list, &again) && list.iter().eq(again.iter()));
    courier(&list);
    set(list);
});

fn same(one: &UidList, other: &UidList) -> bool {
    (one.uid_validity(), one.next_uid(), one.len()) == (other.uid_validity(), other.next_uid(), other.len())
}

/// Version 1 has no fields, and no name that begins with a space.
fn courier(list: &UidList) {
    if list.iter().all(|entry| !entry.name().starts_with(b" ")) {
        let again = UidList::parse(list.to_courier()).expect("what was written is a list");
        let named = |entry: UidEntry<'_>| (entry.uid(), entry.name().to_vec());
        assert!(same(list, &again) && list.iter().map(named).eq(again.iter().map(named)));
    }
}

/// The first message gets a field; whatever else there is stays.
fn set(mut list: UidList) {
    let Some((uid, name)) = list.iter().next().map(|entry| (entry.uid(), entry.name().to_vec())) else { return };
    let kept: Vec<_> = list.iter().flat_map(|entry| others(entry)).collect();
    assert!(list.set_field(uid, b'P', b"a:b/c"));
    let again = UidList::parse(list.to_dovecot()).expect("what was written is a list");
    assert_eq!(again.find(&name).map(|entry| (entry.uid(), entry.field(b'P'))), Some((uid, Some(&b"a:b/c"[..]))));
    assert!(again.iter().flat_map(|entry| others(entry)).eq(kept));
}

/// All but the field that is set.
fn others(entry: UidEntry<'_>) -> Vec<(u32, u8, Vec<u8>)> {
    entry
        .fields()
        .filter(|(letter, _)| *letter != b'P')
        .map(|(letter, value)| (entry.uid(), letter, value.to_vec()))
        .collect()
}
