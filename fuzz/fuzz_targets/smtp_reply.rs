//! An SMTP reply that is read from any octets is written as lines that end in CRLF and hold no other CR or LF, which read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_smtp_proto::Reply;

fuzz_target!(|octets: &[u8]| {
    if let Ok(reply) = Reply::parse(octets) {
        assert_written_as_read(&reply);
        assert_written_as_read(&reply.into_owned());
    }
});

fn assert_written_as_read(reply: &Reply<'_>) {
    assert!(!reply.lines().flatten().any(|octet| b"\r\n".contains(octet)), "{reply:?}");
    let mut out = Vec::new();
    reply.encode(&mut out);
    let again = Reply::parse(&out).expect("what was written is a reply");
    assert_eq!((again.code(), again.enhanced()), (reply.code(), reply.enhanced()));
    assert!(again.lines().eq(reply.lines()), "{again} for {reply}");
    assert!(again.capabilities().eq(reply.capabilities()));
    assert_eq!(again.challenge(), reply.challenge());
}
