//! Base64: octets come back as they were, and what is read as base64 has no other spelling.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_text_proto::{SaslLine, decode, encode};

fuzz_target!(|octets: &[u8]| {
    let text = encoded(octets);
    let decoded = decode(&text).expect("what was encoded is base64");
    assert_eq!(decoded.expose(), octets);
    match SaslLine::parse(octets) {
        Ok(SaslLine::Response(secret)) => assert_eq!(encoded(secret.expose()), octets),
        Ok(SaslLine::Cancel) => assert_eq!(octets, b"*"),
        Err(_) => {}
    }
});

/// What is in the buffer already stays.
fn encoded(octets: &[u8]) -> Vec<u8> {
    let mut out = b"+ ".to_vec();
    encode(octets, &mut out);
    out.strip_prefix(b"+ ").expect("nothing was overwritten").to_vec()
}
