//! Keywords and subscriptions, whatever octets they are read from, are written as octets that read the same; what Courier
//! keeps is read or left out.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_maildir::{CourierKeywords, KeywordError, Keywords, Pop3Sizes, Subscriptions};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// How much of the octets is the keyword or the name that is added.
    len: u8,
    octets: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let (added, octets) = input.octets.split_at(usize::from(input.len).min(input.octets.len()));
    keywords(octets, added);
    subscriptions(octets, added);
    let courier = CourierKeywords::parse(octets);
    assert!(courier.messages().all(|base| courier.of(base).count() > 0));
    let sizes = Pop3Sizes::parse(octets);
    assert!(sizes.len() + sizes.skipped() <= octets.len());
});

fn keywords(octets: &[u8], added: &[u8]) {
    let mut keywords = Keywords::parse(octets);
    let written = keywords.to_octets();
    let again = Keywords::parse(&written);
    assert!(again == keywords && again.to_octets() == written);
    assert!(keywords.without_letter().eq(again.without_letter()));
    for (letter, name) in keywords.iter() {
        assert_eq!((keywords.flag(name), keywords.name(letter)), (Some(letter), Some(name)));
    }
    let (before, free) = (keywords.clone(), 26 - keywords.iter().count());
    match keywords.add(added) {
        Ok(letter) => {
            assert_eq!(Keywords::parse(&keywords.to_octets()).flag(added), Some(letter));
            assert!(before.iter().all(|(letter, name)| keywords.name(letter) == Some(name)));
        }
        Err(KeywordError::NoLetter) => assert!(free == 0 && keywords == before),
        Err(_) => assert_eq!(keywords, before),
    }
}

fn subscriptions(octets: &[u8], added: &[u8]) {
    let mut folders = Subscriptions::parse(octets);
    let before = folders.to_octets();
    assert_eq!(Subscriptions::parse(&before), folders);
    if folders.add(&[added]) {
        let mut again = Subscriptions::parse(&folders.to_octets());
        assert!(again == folders && again.contains(&[added]));
        assert!(again.remove(&[added]) && again.to_octets() == before);
    }
}
