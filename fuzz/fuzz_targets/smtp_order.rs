//! In whatever order a client says what there is to say, and whatever it is answered: no message, and no part of one, comes to an SMTP or LMTP
//! server's program without a sender and a recipient that were accepted before it, in the same transaction.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::{Choices, Cuts, same_at_every_cut};
use postrider_fuzz::smtp::{Options, serve};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    options: Options,
    choices: Choices,
    cuts: Cuts,
    /// Each octet is a line.
    order: &'a [u8],
}

const LINES: [&[u8]; 32] = [
    b"EHLO c\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"DATA\r\n",
    b"x\r\n.\r\n",
    b"BDAT 2\r\nx\r",
    b"BDAT 1\r\n\n",
    b"BDAT 6 LAST\r\nQUIT\r\n",
    b"BDAT 0\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 30\r\nMAIL FROM:<x@y>\r\nRCPT TO:<\r\n",
    b"BDAT 1 LAST\r\n\n",
    b"BURL imap:x\r\n",
    b"BURL imap:x LAST\r\n",
    b"RSET\r\n",
    b"HELO c\r\n",
    b"LHLO c\r\n",
    b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n",
    b"MAIL FROM:<a@b> PRDR\r\n",
    b"MAIL FROM:<a@b> SIZE=25\r\n",
    b"MAIL FROM:<\xc3\xa9@b>\r\n",
    b"MAIL FROM:<\xc3\xa9@b> SMTPUTF8\r\n",
    b"RCPT TO:<\xc3\xa9@d>\r\n",
    b"RCPT TO:<c@d> NOTIFY=NEVER\r\n",
    b".\r\n",
    b"NOOP\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN =\r\n",
    b"XCLIENT NAME=a\r\n",
    b"ETRN a\r\n",
    b"VERB\r\n",
    b"BDAT 5 x\r\n",
];

fuzz_target!(|input: Input<'_>| {
    let wire: Vec<_> = input.order.iter().take(60).flat_map(|octet| LINES[usize::from(octet % 32)]).copied().collect();
    // The program looks at each event: see `Envelope` in `src/smtp.rs`.
    same_at_every_cut(input.cuts, |cuts| serve(&wire, input.options, input.choices, cuts));
});
