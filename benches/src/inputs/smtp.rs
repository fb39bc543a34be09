use std::fmt::Write;

use super::Random;

/// Sessions of [`commands`] and of [`replies`].
pub(crate) const SESSIONS: u32 = 1000;
/// Commands of a session: EHLO, MAIL, 10 RCPT, DATA.
pub(crate) const COMMANDS: u32 = 13;
/// Replies of a session: the greeting, one to each command, one to the message.
pub(crate) const REPLIES: u32 = 15;

/// Pipelined sessions; `rich` ones with the parameters that large servers send.
pub(crate) fn commands(rich: bool) -> Vec<u8> {
    let mut random = Random::new(10);
    let mut said = String::new();
    for _ in 0..SESSIONS {
        let _ = write!(said, "EHLO {}\r\n", random.host());
        let _ = write!(said, "MAIL FROM:<{}>", random.address());
        if rich {
            mail_parameters(&mut random, &mut said);
        }
        said.push_str("\r\n");
        for _ in 0..10 {
            let address = random.address();
            let _ = write!(said, "RCPT TO:<{address}>");
            if rich && random.percent(50) {
                said.push_str(" NOTIFY=SUCCESS,FAILURE,DELAY");
                if random.percent(60) {
                    let _ = write!(said, " ORCPT=rfc822;{}", xtext(&address));
                }
            }
            said.push_str("\r\n");
        }
        said.push_str("DATA\r\n");
    }
    said.into_bytes()
}

fn mail_parameters(random: &mut Random, said: &mut String) {
    let _ = write!(said, " SIZE={} BODY=8BITMIME", random.number(500, 30_000_000));
    if random.percent(30) {
        said.push_str(" SMTPUTF8");
    }
    if random.percent(50) {
        let _ = write!(said, " RET={} ENVID=QQ{:012x}", random.one_of(&["HDRS", "FULL"]), random.bits() >> 16);
    }
    if random.percent(20) {
        let _ = write!(said, " AUTH={}", xtext(&random.address()));
    }
}

fn xtext(address: &str) -> String {
    address.replace('+', "+2B").replace('=', "+3D")
}

/// What servers answer in such sessions; one recipient in ten is refused in three lines.
pub(crate) fn replies() -> Vec<u8> {
    let mut random = Random::new(11);
    let mut said = String::new();
    for _ in 0..SESSIONS {
        let host = random.host();
        let _ = write!(said, "220 {host} ESMTP ready\r\n{}250 2.1.0 Sender OK\r\n", hello(host, &mut random));
        for _ in 0..10 {
            let address = random.address();
            let _ = if random.percent(10) {
                write!(
                    said,
                    "550-5.1.1 The email account that you tried to reach ({address}) does not exist.\r\n\
                     550-5.1.1 Please try double-checking the recipient's email address for typos\r\n\
                     550 5.1.1 or unnecessary spaces. {:016x} - gsmtp\r\n",
                    random.bits()
                )
            } else {
                write!(said, "250 2.1.5 <{address}>... Recipient ok\r\n")
            };
        }
        let queued = random.bits() >> 20;
        let _ =
            write!(said, "354 Start mail input; end with <CRLF>.<CRLF>\r\n250 2.0.0 OK: queued as {queued:011X}\r\n");
    }
    said.into_bytes()
}

/// Replies to EHLO, of ten lines each.
pub(crate) fn hellos() -> Vec<u8> {
    let mut random = Random::new(12);
    (0..SESSIONS).flat_map(|_| hello(random.host(), &mut random).into_bytes()).collect()
}

fn hello(host: &str, random: &mut Random) -> String {
    format!(
        "250-{host} Hello {} [192.0.2.{}]\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-STARTTLS\r\n\
         250-AUTH PLAIN LOGIN SCRAM-SHA-256\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-DSN\r\n250 SMTPUTF8\r\n",
        random.host(),
        random.number(1, 255)
    )
}
