//! The registered extensions: what is announced, which parameters and commands are taken where, and that nothing given to them breaks a line.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postrider_smtp_proto::{
    Argument, AttributeList, AttributeValue, Attributes, AuthParameter, Body, ByMode, Capability, ClientName, Code,
    Command, DateTime, DeliverBy, DomainList, Extensions, ForwardPath, FutureRelease, Hold, Limits, Mailbox, Mechanism,
    Misuse, Notify, OriginalRecipient, OtherCommand, OtherExtension, Otherwise, ParameterList, Parameters, Queue,
    QueueName, Reply, Ret, ReversePath, Secret, State, Step, Text, Url, ValidSince, Verb, client, server,
};
use proptest::prelude::*;

#[path = "support/everything.rs"]
mod everything;
use everything::everything;
#[path = "support/extended.rs"]
mod extended;
use extended::extended;

fn greeted(config: server::Config) -> server::Connection {
    let mut connection = server::Connection::new(config);
    connection.send(&Reply::new(Code::READY, "ready"), &mut Vec::new()).unwrap();
    connection
}

fn nothing() -> Extensions {
    let mut nothing = Extensions::default();
    (nothing.eight_bit_mime, nothing.enhanced_status_codes) = (false, false);
    (nothing.pipelining, nothing.size) = (false, false);
    nothing
}

fn offering(extensions: Extensions) -> server::Config {
    server::Config { extensions, ..server::Config::default() }
}

/// Says a line that the program gets, and answers it.
fn ask(connection: &mut server::Connection, line: &str, code: Code) {
    let line = format!("{line}\r\n");
    let step = connection.receive(line.as_bytes());
    assert!(matches!(step, Ok(Step::Event { event: server::Event::Command(_), .. })), "{line}: {step:?}");
    connection.send(&Reply::new(code, "so"), &mut Vec::new()).unwrap();
}

/// What a line is refused with, if it is.
fn refusal(connection: &server::Connection, line: &str) -> Option<u16> {
    let line = format!("{line}\r\n");
    match connection.clone().receive(line.as_bytes()).unwrap() {
        Step::Event { event: server::Event::Rejected(error), .. } => Some(error.reply().code().as_u16()),
        Step::Event { event: server::Event::Command(_), .. } => None,
        step => panic!("{line}: {step:?}"),
    }
}

/// A session in which these commands were accepted.
fn after(config: server::Config, lines: &[&str]) -> server::Connection {
    let mut connection = greeted(config);
    lines.iter().for_each(|line| ask(&mut connection, line, Code::OK));
    connection
}

fn encoded(command: &Command<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    command.encode(&mut out);
    out
}

// Parameters.

/// A parameter's values, its command aside.
struct Values {
    keyword: &'static str,
    good: &'static [&'static str],
    bad: &'static [&'static str],
}

const MAIL: [Values; 17] = [
    Values {
        keyword: "SIZE",
        good: &["=0", "=1", "=00000000000000000001"],
        bad: &["", "=", "=-1", "=1.5", "=x", "=0x1", "=1,2", "=000000000000000000001"],
    },
    Values {
        keyword: "BODY",
        good: &["=7BIT", "=8bitmime", "=BINARYMIME"],
        bad: &["", "=", "=7", "=9BIT", "=8BITMIM", "=BINARYMIMES", "=7BIT,8BITMIME"],
    },
    Values { keyword: "SMTPUTF8", good: &[""], bad: &["=1", "="] },
    Values {
        keyword: "AUTH",
        good: &["=<>", "=a@b", "=e+3Dmc2@example.com", "=\"a+20b\"@c", "=a"],
        bad: &["", "=", "=a@", "=<a@b>", "=a+3db@c", "=a+3@b", "=a+0Ab@c", "=a@b,c"],
    },
    // RFC 3461 sections 4.3 and 4.4.
    Values { keyword: "RET", good: &["=FULL", "=HDRS", "=hdrs"], bad: &["", "=", "=BODY", "=FULL,HDRS", "=FULLY"] },
    Values {
        keyword: "ENVID",
        good: &["=QQ314159", "=+2B+3D+20", "=a;b"],
        bad: &["", "=", "=+2b", "=+", "=+4", "=+GG", "=+00", "=+0D+0A", "=+7F", "=+80", "=\u{e9}"],
    },
    // RFC 2852 section 4.
    Values {
        keyword: "BY",
        good: &["=240;R", "=+340;RT", "=-120;N", "=0;N", "=0;NT", "=999999999;n", "=000000241;rt"],
        bad: &[
            "",
            "=",
            "=120",
            "=;R",
            "=120;",
            "=120;X",
            "=120;RN",
            "=120;TR",
            "=120;RTT",
            "=0;R",
            "=-1;R",
            "=-0;R",
            "=1000000000;N",
            "=+-1;N",
            "=1.5;R",
            "=120,R",
        ],
    },
    // RFC 4865 section 3.
    Values {
        keyword: "HOLDFOR",
        good: &["=1", "=86400"],
        bad: &["", "=", "=0", "=01", "=-1", "=+1", "=1000000000", "=1s"],
    },
    Values {
        keyword: "HOLDUNTIL",
        good: &["=2029-05-29T17:04:00Z", "=2028-02-29T23:59:60Z", "=2029-05-29T17:04:00.5Z"],
        bad: &[
            "",
            "=",
            "=2029-05-29",
            "=2029-02-29T00:00:00Z",
            "=2029-13-01T00:00:00Z",
            "=2029-05-29T24:00:00Z",
            "=2029-05-29T17:04:00",
            "=2029-05-29T17:04Z",
            "=1",
        ],
    },
    // RFC 6710 section 3.
    Values {
        keyword: "MT-PRIORITY",
        good: &["=-9", "=-1", "=0", "=1", "=9"],
        bad: &["", "=", "=10", "=-10", "=+1", "=-0", "=00", "=01", "=x"],
    },
    // RFC 3885 section 3.
    Values {
        keyword: "MTRK",
        good: &["=7nt1TAn1SThlLjpyVOGEZKqH1VQ=", "=QUJD:1", "=QUJD:999999999"],
        bad: &["", "=", "=:5", "=QUJD:", "=QUJD:1000000000", "=QUJD:x", "=QUJD:1:2", "=a-b", "=+!"],
    },
    // RFC 3865 section 2.3.
    Values {
        keyword: "SOLICIT",
        good: &["=net.example:ADV", "=org.example:ADV:ADLT,net.example:ADV", "=a"],
        bad: &["", "=", "=,", "=a,", "=,a", "=1a", "=a=b", "=a,,b"],
    },
    // RFC 4405 section 4.
    Values {
        keyword: "SUBMITTER",
        good: &["=alice@example.com", "=a+2Bb@example.com"],
        bad: &["", "=", "=<>", "=<a@b>", "=alice", "=a+2bb@c"],
    },
    // RFC 8689 section 2.
    Values { keyword: "REQUIRETLS", good: &[""], bad: &["=", "=1", "=YES"] },
    Values { keyword: "PRDR", good: &[""], bad: &["=", "=1"] },
    Values { keyword: "CONPERM", good: &[""], bad: &["=", "=1"] },
    Values { keyword: "XVERP", good: &["", "=-=", "=+="], bad: &["=", "=-", "=+=="] },
];

const RCPT: [Values; 4] = [
    // RFC 3461 sections 4.1 and 4.2, RFC 6533 section 3.
    Values {
        keyword: "NOTIFY",
        good: &["=NEVER", "=never", "=SUCCESS", "=FAILURE", "=DELAY", "=SUCCESS,FAILURE,DELAY", "=delay,Success"],
        bad: &[
            "",
            "=",
            "=NEVER,SUCCESS",
            "=SUCCESS,NEVER",
            "=SUCCESS,",
            "=,SUCCESS",
            "=SUCCESS,,DELAY",
            "=ALWAYS",
            "=SUCCESS;DELAY",
        ],
    },
    Values {
        keyword: "ORCPT",
        good: &[
            "=rfc822;Bob@Example.COM",
            "=rfc822;Bob+2Bx@a",
            "=x400;/C+3Dus/",
            "=utf-8;a@b",
            "=utf-8;gr\\x{FC}n@b",
            "=UTF-8;\\x{2B}\\x{3D}\\x{5C}@b",
            "=utf-8;\\x{1F600}@b",
            "=unknown;x",
        ],
        bad: &[
            "",
            "=",
            "=rfc822",
            "=;a@b",
            "=rfc822;",
            "=rfc822;a+2b@c",
            "=rfc822;a+0D+0Ab@c",
            "=rfc822;a+",
            "=rfc822;gr\u{fc}n@b",
            "=utf-8;a+2Bb@c",
            "=utf-8;\\x{D800}",
            "=utf-8;\\x{DFFF}",
            "=utf-8;\\x{110000}",
            "=utf-8;\\x{0041}",
            "=utf-8;\\x{41}",
            "=utf-8;\\x{fc}",
            "=utf-8;\\x{FC",
            "=utf-8;\\xFC",
            "=utf-8;\\x{}",
            "=utf-8;\\x{0A}",
            "=rf(c;a",
        ],
    },
    // RFC 7293 section 3.1.
    Values {
        keyword: "RRVS",
        good: &["=2014-04-03T23:01:00Z", "=2014-04-03T23:01:00Z;C", "=2014-04-03T23:01:00+02:00;r"],
        bad: &[
            "",
            "=",
            "=2014-04-03",
            "=2014-04-03T23:01:00Z;",
            "=2014-04-03T23:01:00Z;X",
            "=;C",
            "=2014-04-03T23:01:00Z;C;R",
        ],
    },
    Values { keyword: "CONNEG", good: &[""], bad: &["=", "=1"] },
];

/// Within TLS, with everything on offer; and with a sender.
fn within_tls() -> [(server::Connection, &'static str, &'static [Values]); 2] {
    let config = || server::Config { tls: true, ..offering(extended()) };
    let smtputf8 = "MAIL FROM:<a@b> SMTPUTF8";
    [
        (after(config(), &["EHLO c"]), "MAIL FROM:<a@b>", &MAIL),
        (after(config(), &["EHLO c", smtputf8]), "RCPT TO:<c@d>", &RCPT),
    ]
}

#[test]
fn each_parameter_has_its_values_and_no_others() {
    for (connection, command, parameters) in within_tls() {
        for Values { keyword, good, bad } in parameters {
            for value in *good {
                for keyword in [(*keyword).to_owned(), keyword.to_ascii_lowercase()] {
                    assert_eq!(refusal(&connection, &format!("{command} {keyword}{value}")), None, "{keyword}{value}");
                }
            }
            for value in *bad {
                assert_eq!(refusal(&connection, &format!("{command} {keyword}{value}")), Some(501), "{keyword}{value}");
            }
        }
    }
}

/// RFC 3461 section 5.4, RFC 3865 section 2.3.
#[test]
fn values_may_be_as_long_as_their_documents_say_and_no_longer() {
    let [(mail, ..), (rcpt, ..)] = within_tls();
    for (connection, command, value, most) in [
        (&mail, "MAIL FROM:<> ENVID=", "", 100),
        (&rcpt, "RCPT TO:<c@d> ORCPT=", "rfc822;", 500),
        (&mail, "MAIL FROM:<> SOLICIT=", "", 1000),
        (&mail, "MAIL FROM:<> SIZE=", "", 20),
    ] {
        let of = |len: usize| {
            let octet = if command.ends_with("SIZE=") { "0" } else { "x" };
            format!("{command}{value}{}", octet.repeat(len - value.len()))
        };
        assert_eq!(refusal(connection, &of(most)), None, "{command}");
        assert_eq!(refusal(connection, &of(most + 1)), Some(501), "{command}");
    }
}

/// RFC 5321 section 4.1.1.11: "it will return code 555".
#[test]
fn a_parameter_is_unknown_to_the_other_command_without_its_extension_and_after_helo() {
    let [mail, rcpt] = within_tls();
    for (of, other) in [(&mail, &rcpt), (&rcpt, &mail)] {
        for Values { keyword, good, .. } in of.2 {
            let parameter = format!("{keyword}{}", good[0]);
            assert_eq!(
                refusal(&other.0, &format!("{} {parameter}", other.1)),
                Some(555),
                "{parameter} with {}",
                other.1
            );
            let bare = offering(nothing());
            let lines: &[&str] = if of.1.starts_with('M') { &["EHLO c"] } else { &["EHLO c", "MAIL FROM:<>"] };
            assert_eq!(refusal(&after(bare, lines), &format!("{} {parameter}", of.1)), Some(555), "{parameter}");
            let lines: &[&str] = if of.1.starts_with('M') { &["HELO c"] } else { &["HELO c", "MAIL FROM:<>"] };
            let all = server::Config { tls: true, ..offering(extended()) };
            assert_eq!(refusal(&after(all, lines), &format!("{} {parameter}", of.1)), Some(555), "{parameter}");
        }
    }
}

/// Each extension brings its own parameters and no others.
#[test]
fn an_extension_that_is_offered_alone_brings_its_own_parameters() {
    type Change = fn(&mut Extensions);
    let alone: [(Change, &[&str]); 15] = [
        (|all| all.size = true, &["SIZE"]),
        (|all| all.eight_bit_mime = true, &["BODY"]),
        (|all| all.smtputf8 = true, &["SMTPUTF8"]),
        (|all| all.auth = vec![Mechanism::PLAIN], &["AUTH"]),
        (|all| all.dsn = true, &["RET", "ENVID", "NOTIFY", "ORCPT"]),
        (|all| all.deliver_by = Some(0), &["BY"]),
        (|all| all.future_release = extended().future_release, &["HOLDFOR", "HOLDUNTIL"]),
        (|all| all.mt_priority = Some(Text::EMPTY), &["MT-PRIORITY"]),
        (|all| all.mtrk = true, &["MTRK"]),
        (|all| all.no_soliciting = Some(Text::EMPTY), &["SOLICIT"]),
        (|all| all.submitter = true, &["SUBMITTER"]),
        (|all| all.require_tls = true, &["REQUIRETLS"]),
        (|all| all.rrvs = true, &["RRVS"]),
        (|all| all.prdr = true, &["PRDR"]),
        (|all| (all.conversion, all.xverp) = (true, true), &["CONPERM", "CONNEG", "XVERP"]),
    ];
    for (change, keywords) in alone {
        let mut extensions = nothing();
        change(&mut extensions);
        let config = server::Config { tls: true, ..offering(extensions) };
        let mail = after(config.clone(), &["EHLO c"]);
        let rcpt = after(config, &["EHLO c", "MAIL FROM:<>"]);
        for (connection, command, parameters) in [(&mail, "MAIL FROM:<>", &MAIL[..]), (&rcpt, "RCPT TO:<c@d>", &RCPT)] {
            for Values { keyword, good, .. } in parameters {
                let found = refusal(connection, &format!("{command} {keyword}{}", good[0]));
                let expected = if keywords.contains(keyword) { None } else { Some(555) };
                assert_eq!(found, expected, "{keyword} where {keywords:?} are offered");
            }
        }
    }
}

/// RFC 3461 section 4: "If more than one of either of these parameters appears ... 501 syntax error in parameters or arguments"; RFC 4865
/// section 4.2: "MUST reject a MAIL command containing more than one hold-param".
#[test]
fn a_parameter_that_stands_twice_is_refused() {
    for (connection, command, parameters) in within_tls() {
        for Values { keyword, good, .. } in parameters {
            let (first, last, lower) = (good[0], good[good.len() - 1], keyword.to_ascii_lowercase());
            for twice in [format!("{keyword}{first} {keyword}{first}"), format!("{keyword}{first} {lower}{last}")] {
                assert_eq!(refusal(&connection, &format!("{command} {twice}")), Some(501), "{twice}");
            }
        }
    }
    let [(mail, ..), _] = within_tls();
    for twice in ["HOLDFOR=1 HOLDUNTIL=2029-05-29T17:04:00Z", "HOLDUNTIL=2029-05-29T17:04:00Z SIZE=1 HOLDFOR=1"] {
        assert_eq!(refusal(&mail, &format!("MAIL FROM:<> {twice}")), Some(501), "{twice}");
    }
}

/// RFC 8689 section 2: it belongs to sessions within TLS, and is announced there only.
#[test]
fn requiretls_is_there_within_tls_only() {
    let announced =
        |connection: &server::Connection| connection.capabilities().any(|one| one == Capability::RequireTls);
    let mut connection = after(offering(extended()), &["EHLO c"]);
    assert_eq!((refusal(&connection, "MAIL FROM:<a@b> REQUIRETLS"), announced(&connection)), (Some(555), false));
    ask(&mut connection, "STARTTLS", Code::READY);
    connection.secured(b"").unwrap();
    ask(&mut connection, "EHLO c", Code::OK);
    assert_eq!((refusal(&connection, "MAIL FROM:<a@b> REQUIRETLS"), announced(&connection)), (None, true));
}

/// RFC 5321 section 4.1.1.11: "cannot implement one or more of the parameters associated with a particular MAIL FROM or RCPT TO command,
/// it will return code 555".
#[test]
fn a_binary_message_that_is_not_offered_is_not_implemented() {
    for change in [|all: &mut Extensions| all.binary_mime = false, |all: &mut Extensions| all.chunking = false] {
        let mut extensions = extended();
        change(&mut extensions);
        let connection = after(offering(extensions), &["EHLO c"]);
        assert_eq!(refusal(&connection, "MAIL FROM:<a@b> BODY=BINARYMIME"), Some(555));
        assert_eq!(refusal(&connection, "MAIL FROM:<a@b> BODY=8BITMIME"), None);
    }
}

/// RFC 3030 section 3: "The BINARYMIME service extension can only be used with the "CHUNKING" service extension."
#[test]
fn a_binary_message_needs_chunking_too() {
    for (chunking, binary_mime) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut extensions = extended();
        (extensions.chunking, extensions.binary_mime) = (chunking, binary_mime);
        let connection = after(offering(extensions), &["EHLO c"]);
        let taken = refusal(&connection, "MAIL FROM:<a@b> BODY=BINARYMIME").is_none();
        let announced = connection.capabilities().any(|one| one == Capability::BinaryMime);
        assert_eq!((taken, announced), (chunking && binary_mime, chunking && binary_mime));
    }
}

/// RFC 4865 section 4.2: "MUST reject a MAIL command containing the "for" option specifying a value that is greater than the advertised
/// max-future-release-interval", "the "until" option specifying a value that is later than the advertised max-future-release-date-time".
#[test]
fn a_message_is_not_held_for_longer_than_announced() {
    let connection = after(offering(extended()), &["EHLO c"]);
    for (parameter, refused) in [
        ("HOLDFOR=86400", None),
        ("HOLDFOR=86401", Some(501)),
        ("HOLDUNTIL=2030-01-01T00:00:00Z", None),
        ("HOLDUNTIL=2030-01-01T00:00:01Z", Some(501)),
    ] {
        assert_eq!(refusal(&connection, &format!("MAIL FROM:<a@b> {parameter}")), refused, "{parameter}");
    }
}

/// RFC 2852 section 3: "Any attempt by a client to specify a by-mode of "R" and a by-time strictly less than this limit, min-by-time, will
/// be rejected with a permanent failure (55z) reply code."
#[test]
fn a_message_is_not_returned_after_less_time_than_announced() {
    let connection = after(offering(extended()), &["EHLO c"]);
    for parameter in ["BY=240;R", "BY=1;N"] {
        assert_eq!(refusal(&connection, &format!("MAIL FROM:<a@b> {parameter}")), None, "{parameter}");
    }
    let refused = refusal(&connection, "MAIL FROM:<a@b> BY=239;R");
    assert!(refused.is_some_and(|code| (550..560).contains(&code)), "{refused:?}");
}

/// RFC 6533 section 3: an address in UTF-8 as it is needs SMTPUTF8; in its ASCII form it does not.
#[test]
fn an_original_recipient_in_utf_8_needs_smtputf8() {
    let with = after(offering(extended()), &["EHLO c", "MAIL FROM:<a@b> SMTPUTF8"]);
    assert_eq!(refusal(&with, "RCPT TO:<c@d> ORCPT=utf-8;gr\u{fc}n@b"), None);
    let without = after(offering(extended()), &["EHLO c", "MAIL FROM:<a@b>"]);
    assert_eq!(refusal(&without, "RCPT TO:<c@d> ORCPT=utf-8;gr\\x{FC}n@b"), None);
    let mut extensions = extended();
    extensions.smtputf8 = false;
    let not_offered = after(offering(extensions), &["EHLO c", "MAIL FROM:<a@b>"]);
    assert_eq!(refusal(&not_offered, "RCPT TO:<c@d> ORCPT=utf-8;gr\u{fc}n@b"), Some(553));
}

// What a program reads of them.

fn mail(parameters: &'static str) -> Parameters<'static> {
    Parameters::new(parameters).unwrap()
}

#[test]
fn parameters_are_read_as_what_they_mean() {
    let moment = |text| DateTime::new(text).unwrap();
    let by = |seconds, mode, trace| DeliverBy::new(seconds, mode, trace).ok();
    assert_eq!(mail("BY=+0125;rT").deliver_by(), by(125, ByMode::Return, true));
    assert_eq!(mail("BY=-1;N").deliver_by(), by(-1, ByMode::Notify, false));
    assert_eq!(mail("ENVID=a+2Bb+3D+20").envelope_id().as_deref(), Some("a+b= "));
    assert_eq!((mail("RET=full").ret(), mail("ret=HDRS").ret()), (Some(Ret::Full), Some(Ret::Headers)));
    assert_eq!(mail("HOLDFOR=5").hold(), Some(Hold::For(5)));
    let until = "2029-05-29T17:04:00Z";
    assert_eq!(mail("holduntil=2029-05-29T17:04:00Z").hold(), Some(Hold::Until(moment(until))));
    assert_eq!(moment(until).unix_seconds(), 1_874_768_640);
    assert_eq!([mail("MT-PRIORITY=-4").mt_priority(), mail("mt-priority=0").mt_priority()], [Some(-4), Some(0)]);
    assert_eq!(mail("SUBMITTER=a+2Bb@c").submitter().as_deref(), Some(&b"a+b@c"[..]));
    assert_eq!(mail("AUTH=a+2Bb@c").auth(), Some(AuthParameter::Mailbox(Cow::Borrowed(b"a+b@c"))));
    assert_eq!(mail("AUTH=<>").auth(), Some(AuthParameter::Unknown));
    assert_eq!(mail("AUTH=anna+2B").auth(), Some(AuthParameter::Name(Cow::Owned(b"anna+".to_vec()))));
    let name = ParameterList::new().auth(&AuthParameter::Name(Cow::Borrowed(b"anna"))).unwrap();
    assert_eq!(name.as_parameters().as_bytes(), b"AUTH=<>");
    assert!(ParameterList::new().auth(&AuthParameter::Mailbox(Cow::Borrowed(b"anna"))).is_err());
    assert_eq!(mail("BODY=binarymime").body(), Some(Body::BinaryMime));
    assert!(mail("requiretls SIZE=1 prdr").require_tls() && mail("X=1 PRDR").prdr() && mail("smtputf8").smtputf8());
    let two = Notify { success: true, delay: true, ..Notify::NEVER };
    assert_eq!(
        (mail("NOTIFY=DELAY,SUCCESS").notify(), mail("NOTIFY=NEVER").notify()),
        (Some(two), Some(Notify::NEVER))
    );
    let since = mail("RRVS=2014-04-03T23:01:00Z;c").valid_since().unwrap();
    assert_eq!((since.since.unix_seconds(), since.otherwise), (1_396_566_060, Some(Otherwise::Continue)));
    let original = mail("ORCPT=Utf-8;gr\\x{FC}n\\x{2B}\\x{1F600}@b").original_recipient().unwrap();
    assert_eq!((original.address_type(), original.address()), ("Utf-8", "gr\u{fc}n+\u{1f600}@b"));
}

/// RFC 1870: SIZE=0 says something, and no SIZE does not.
#[test]
fn what_is_not_there_is_told_from_what_says_nothing() {
    let none = Parameters::NONE;
    assert_eq!(
        (none.size(), mail("SIZE=0").size(), mail("SIZE=99999999999999999999").size()),
        (None, Some(0), Some(u64::MAX))
    );
    let empty =
        none.notify().is_none() && none.ret().is_none() && none.envelope_id().is_none() && none.hold().is_none();
    let absent = none.deliver_by().is_none() && none.mt_priority().is_none() && none.original_recipient().is_none();
    assert!(empty && absent && none.submitter().is_none() && none.auth().is_none() && none.valid_since().is_none());
    assert!(!none.prdr() && !none.require_tls() && !none.smtputf8() && none.body().is_none());
    assert_eq!(mail("X-BY=1;R BYE=2 ENVIDX=3").deliver_by(), None);
}

/// RFC 3461 section 4: a client quotes `+` and `=`.
#[test]
fn what_is_written_in_xtext_is_quoted() {
    let original = OriginalRecipient::new("rfc822", "a+b=c@d").unwrap();
    let list = ParameterList::new().envelope_id("1+1=2 ok").unwrap().original_recipient(&original).unwrap();
    assert_eq!(list.as_parameters().as_bytes(), b"ENVID=1+2B1+3D2+20ok ORCPT=rfc822;a+2Bb+3Dc@d");
    let list = ParameterList::new().submitter("a+b@c").unwrap();
    let list = list.auth(&AuthParameter::Mailbox(Cow::Borrowed(b"\"a b\"@c"))).unwrap();
    assert_eq!(list.as_parameters().as_bytes(), b"SUBMITTER=a+2Bb@c AUTH=\"a+20b\"@c");
}

#[test]
fn a_list_replaces_what_is_given_twice() {
    let list = ParameterList::new().size(1).ret(Ret::Full).size(2).hold(Hold::For(3)).unwrap();
    let list = list.hold(Hold::Until(DateTime::new("2029-05-29T17:04:00Z").unwrap())).unwrap();
    let list = list.other("size=4").unwrap().notify(Notify::NEVER);
    let parameters = list.as_parameters();
    assert_eq!((parameters.size(), parameters.iter().count()), (Some(4), 4));
    assert!(matches!(parameters.hold(), Some(Hold::Until(_))));
    assert_eq!(parameters.notify(), Some(Notify::NEVER));
}

// What is announced.

fn capabilities_of(config: server::Config) -> (server::Connection, Vec<u8>) {
    let mut connection = greeted(config);
    let mut out = Vec::new();
    assert!(matches!(connection.receive(b"EHLO c\r\n"), Ok(Step::Event { .. })));
    connection.send_hello("mail.example", &mut out).unwrap();
    (connection, out)
}

#[test]
fn all_extensions_are_announced_in_the_words_of_their_documents() {
    let (_, out) = capabilities_of(server::Config { tls: true, ..offering(extended()) });
    let text = String::from_utf8(out).unwrap();
    let mut listed: Vec<_> = text.lines().skip(1).map(|line| &line[4..]).collect();
    listed.sort_unstable();
    let expected = [
        "8BITMIME",
        "ATRN",
        "AUTH PLAIN LOGIN SCRAM-SHA-256",
        "BINARYMIME",
        "BURL imap",
        "CHUNKING",
        "CONNEG",
        "CONPERM",
        "DELIVERBY 240",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "ETRN",
        "EXPN",
        "FUTURERELEASE 86400 2030-01-01T00:00:00Z",
        "HELP",
        "LIMITS RCPTMAX=1000",
        "MT-PRIORITY MIXER",
        "MTRK",
        "NO-SOLICITING net.example:ADV",
        "PIPELINING",
        "PRDR",
        "REQUIRETLS",
        "RRVS",
        "SIZE 52428800",
        "SMTPUTF8",
        "SUBMITTER",
        "VERB",
        "X-OWN one two",
        "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT",
        "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
        "XVERP",
    ];
    assert_eq!(listed, expected);
}

#[test]
fn words_that_may_be_left_out_are() {
    let mut extensions = nothing();
    (extensions.burl, extensions.mt_priority) = (Some(Text::EMPTY), Some(Text::EMPTY));
    (extensions.no_soliciting, extensions.deliver_by) = (Some(Text::EMPTY), Some(0));
    let (_, out) = capabilities_of(offering(extensions));
    let text = String::from_utf8(out).unwrap();
    let mut listed: Vec<_> = text.lines().skip(1).map(|line| &line[4..]).collect();
    listed.sort_unstable();
    assert_eq!(listed, ["BURL", "DELIVERBY", "MT-PRIORITY", "NO-SOLICITING"]);
}

/// RFC 9422: names and values, of which 0 and more than six digits are none.
#[test]
fn limits_are_read_and_what_does_not_fit_says_nothing() {
    let limits = |line: &'static str| match Capability::parse(line.as_bytes()) {
        Capability::Limits(limits) => (limits.transactions(), limits.recipients(), limits.recipient_domains()),
        other => panic!("{other:?}"),
    };
    assert_eq!(limits("LIMITS MAILMAX=20 RCPTMAX=100 RCPTDOMAINMAX=1"), (Some(20), Some(100), Some(1)));
    assert_eq!(limits("limits rcptmax=999999"), (None, Some(999_999), None));
    for none in [
        "RCPTMAX=0",
        "RCPTMAX=01",
        "RCPTMAX=1000000",
        "RCPTMAX=",
        "RCPTMAX",
        "RCPTMAX=-1",
        "RCPTMAX=1x",
        "XRCPTMAX=5",
        "FOO=5",
    ] {
        let line = format!("LIMITS {none}");
        let Capability::Limits(limits) = Capability::parse(line.as_bytes()) else { panic!("{line}") };
        assert_eq!(limits.recipients(), None, "{line}");
    }
    assert_eq!(limits("LIMITS FOO=bar RCPTMAX=5 BAR"), (None, Some(5), None));
    assert!(matches!(Capability::parse(b"LIMITS"), Capability::Other { .. }));
}

/// What is announced is what is kept to.
#[test]
fn the_limit_of_recipients_is_announced_and_told_again_with_452() {
    let limits = Limits { recipients: 2, ..Limits::default() };
    let config = server::Config { limits, ..offering(extended()) };
    let mut connection = after(config, &["EHLO c"]);
    assert!(
        connection
            .capabilities()
            .any(|one| matches!(one, Capability::Limits(limits) if limits.recipients() == Some(2)))
    );
    for line in ["MAIL FROM:<>", "RCPT TO:<a@b>", "RCPT TO:<c@d>"] {
        ask(&mut connection, line, Code::OK);
    }
    assert_eq!(refusal(&connection, "RCPT TO:<e@f>"), Some(452));
}

#[test]
fn capabilities_are_written_as_they_were_read() {
    let lines = "ATRN|AUTH PLAIN|BINARYMIME|BURL|BURL imap imap://imap.example|CHUNKING|CONNEG|CONPERM|DELIVERBY|DELIVERBY 240|DSN|8BITMIME|\
                 ENHANCEDSTATUSCODES|ETRN|EXPN|FUTURERELEASE 1 2030-01-01T00:00:00Z|HELP|LIMITS RCPTMAX=1 X=y|MT-PRIORITY|MT-PRIORITY STANAG4406|\
                 MTRK|NO-SOLICITING|NO-SOLICITING net.example:ADV|PIPELINING|PRDR|REQUIRETLS|RRVS|SIZE|SIZE 0|SIZE 18446744073709551615|\
                 SMTPUTF8|STARTTLS|SUBMITTER|VRFY|XCLIENT|XCLIENT NAME ADDR|XFORWARD NAME|XVERP";
    for line in lines.split('|') {
        let capability = Capability::parse(line.as_bytes());
        assert!(!matches!(capability, Capability::Other { .. }), "{line}");
        let mut out = Vec::new();
        capability.encode(&mut out);
        assert_eq!(out.escape_ascii().to_string(), line);
        assert_eq!(
            Capability::parse(line.to_ascii_lowercase().replace("t00:00:00z", "T00:00:00Z").as_bytes()).eq(&capability),
            {
                // What stands behind the keyword is kept as it is.
                let words = line.split_once(' ').map_or("", |(_, words)| words);
                words == words.to_ascii_lowercase() || line.starts_with("FUTURERELEASE") || line.starts_with("AUTH")
            }
        );
    }
}

/// What does not fit is kept as it stands.
#[test]
fn a_capability_whose_words_do_not_fit_is_another() {
    let lines = "FUTURERELEASE|FUTURERELEASE 1|FUTURERELEASE 0 2030-01-01T00:00:00Z|FUTURERELEASE 1 2030|SIZE x|SIZE -1|SIZE 18446744073709551616|\
                 DELIVERBY x|DELIVERBY 1000000000|CHUNKING x|DSN x|BINARYMIME x|PRDR 1|REQUIRETLS x|X-NEW|X-NEW a b|CHUNKIN|CHUNKINGS|";
    for line in lines.split('|') {
        let Capability::Other { keyword, parameters } = Capability::parse(line.as_bytes()) else { panic!("{line}") };
        let (first, rest) = line.split_once(' ').map_or((line, None), |(first, rest)| (first, Some(rest.as_bytes())));
        assert_eq!((keyword, parameters), (first.as_bytes(), rest));
    }
}

/// RFC 2852 section 2: `min-by-time *( ',' extension-token )`, where `min-by-time = [1*9DIGIT]`.
#[test]
fn the_shortest_time_may_be_followed_by_words_to_come() {
    assert_eq!(Capability::parse(b"DELIVERBY 240,new,newer"), Capability::DeliverBy(Some(240)));
}

#[test]
fn the_shortest_time_may_be_left_out_before_words_to_come() {
    assert_eq!(Capability::parse(b"DELIVERBY ,new"), Capability::DeliverBy(None));
}

fn extensions() -> impl Strategy<Value = Extensions> {
    let word = "[!-~]{0,12}( [!-~]{1,8})?";
    let flags = proptest::collection::vec(any::<bool>(), 24);
    let texts = (proptest::option::of(word), proptest::option::of(word), proptest::option::of(word));
    let numbers = (proptest::option::of(0..1_000_000_000_u32), proptest::option::of(1..1_000_000_000_u32));
    (flags, texts, numbers).prop_map(|(flags, (burl, profile, keywords), (seconds, hold))| {
        let text = |text: Option<String>| text.map(|text| Text::new(text.trim()).unwrap().into_owned());
        let max_moment = DateTime::new("2030-01-01T00:00:00Z").unwrap();
        let mut flags = flags.into_iter();
        let mut flag = || flags.next().unwrap();
        let mut extensions = nothing();
        for field in [
            &mut extensions.atrn,
            &mut extensions.binary_mime,
            &mut extensions.chunking,
            &mut extensions.conversion,
            &mut extensions.dsn,
            &mut extensions.eight_bit_mime,
            &mut extensions.enhanced_status_codes,
            &mut extensions.etrn,
            &mut extensions.expn,
            &mut extensions.help,
            &mut extensions.limits,
            &mut extensions.mtrk,
            &mut extensions.pipelining,
            &mut extensions.prdr,
            &mut extensions.require_tls,
            &mut extensions.rrvs,
            &mut extensions.size,
            &mut extensions.smtputf8,
            &mut extensions.starttls,
            &mut extensions.submitter,
            &mut extensions.xclient,
            &mut extensions.xforward,
            &mut extensions.xverp,
        ] {
            *field = flag();
        }
        extensions.auth = if flag() { vec![Mechanism::PLAIN, Mechanism::SCRAM_SHA_256] } else { Vec::new() };
        (extensions.burl, extensions.mt_priority, extensions.no_soliciting) =
            (text(burl), text(profile), text(keywords));
        extensions.deliver_by = seconds;
        extensions.future_release = hold.map(|max_seconds| FutureRelease { max_seconds, max_moment });
        extensions
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_client_reads_what_a_server_offers(extensions in extensions(), tls in any::<bool>(), lmtp in any::<bool>()) {
        let mut server = greeted(server::Config { tls, lmtp, ..offering(extensions) });
        let mut client = client::Connection::new(client::Config { tls, lmtp, ..client::Config::default() });
        assert!(matches!(client.receive(b"220 ready\r\n"), Ok(Step::Event { .. })));
        let name = ClientName::new("c").unwrap();
        let (mut said, mut answer) = (Vec::new(), Vec::new());
        client.send(&if lmtp { Command::Lhlo(name) } else { Command::Ehlo(name) }, &mut said).unwrap();
        assert!(matches!(server.receive(&said), Ok(Step::Event { .. })));
        server.send_hello("mail.example", &mut answer).unwrap();
        let Step::Event { event, .. } = client.receive(&answer).unwrap() else { panic!() };
        let written = |capability: Capability<'_>| {
            let mut out = Vec::new();
            capability.encode(&mut out);
            out.escape_ascii().to_string()
        };
        let known = event.reply.capabilities().all(|capability| !matches!(capability, Capability::Other { .. }));
        prop_assert!(known, "{}", event.reply);
        let (read, offered): (Vec<_>, Vec<_>) =
            (event.reply.capabilities().map(written).collect(), server.capabilities().map(written).collect());
        prop_assert_eq!(read, offered);
        let lists = |wanted| server.capabilities().any(|capability| capability == wanted);
        prop_assert_eq!(client.offered().chunking, lists(Capability::Chunking));
        prop_assert_eq!(client.offered().pipelining, lists(Capability::Pipelining));
        let offers_starttls = lists(Capability::StartTls);
        prop_assert!(!(tls && offers_starttls));
    }
}

// Commands.

#[test]
fn commands_of_extensions_are_refused_where_they_are_not_offered_and_after_helo() {
    let lines = ["ATRN", "ETRN a.example", "XCLIENT NAME=a", "XFORWARD NAME=a"];
    for line in lines {
        assert_eq!(refusal(&after(offering(nothing()), &["EHLO c"]), line), Some(502), "{line}");
        assert_eq!(refusal(&after(offering(extended()), &["HELO c"]), line), Some(502), "{line}");
        let within = after(offering(extended()), &["EHLO c", "MAIL FROM:<>"]);
        assert_eq!(refusal(&within, line), Some(503), "{line} within a transaction");
    }
    let recipients = ["MAIL FROM:<>", "RCPT TO:<a@b>"];
    let burl = |hello, extensions| after(offering(extensions), &[&[hello], &recipients[..]].concat());
    assert_eq!(refusal(&burl("EHLO c", nothing()), "BURL imap:x LAST"), Some(502));
    assert_eq!(refusal(&burl("HELO c", extended()), "BURL imap:x LAST"), Some(502));
    assert_eq!(refusal(&burl("EHLO c", extended()), "BURL imap:x LAST"), None);
}

#[test]
fn arguments_of_the_commands_follow_their_grammar() {
    for (line, good) in [
        // RFC 1985 section 5.
        ("ETRN sigurd.innosoft.com", true),
        ("etrn @foo.com", true),
        ("ETRN #uucp", true),
        ("ETRN", false),
        ("ETRN ", false),
        ("ETRN a b", false),
        ("ETRN @", false),
        ("ETRN #", false),
        ("ETRN -a", false),
        ("ETRN a'; DROP TABLE hints", false),
        // RFC 2645 section 5.2.1.
        ("ATRN", true),
        ("atrn example.org,example.com", true),
        ("ATRN example.org, example.com", false),
        ("ATRN ,", false),
        ("ATRN example.org,", false),
        ("ATRN a@b.example", false),
        // RFC 4468 section 3.5.
        (
            "BURL imap://harry@gryffindor.example.com/outbox;uidvalidity=1078863300/;uid=25;urlauth=submit+harry:internal:91354a473744909de610943775f92038 LAST",
            true,
        ),
        ("burl imap:x last", true),
        ("BURL imap:x", true),
        ("BURL", false),
        ("BURL LAST", false),
        ("BURL /outbox LAST", false),
        ("BURL imap:x y", false),
        ("BURL imap:x LAST x", false),
        ("BURL imap:x  LAST", false),
        ("BURL imap: LAST", false),
        ("BURL 1map:x", false),
        ("BURL imap:\u{e9}", false),
        // Postfix's XCLIENT_README and XFORWARD_README.
        ("XCLIENT NAME=spike.porcupine.org ADDR=168.100.189.2", true),
        ("XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[tempunavail]", true),
        ("xclient addr=IPV6:2001:db8::1 port=65535 proto=ESMTP helo=a+20b login=c", true),
        ("XCLIENT DESTADDR=192.0.2.1 DESTPORT=25", true),
        ("XCLIENT", false),
        ("XCLIENT NAME", false),
        ("XCLIENT NAME=a  ADDR=1.2.3.4", false),
        ("XCLIENT NAME=a NAME=b", false),
        ("XCLIENT NAME=a name=b", false),
        ("XCLIENT NAME=a=b", false),
        ("XCLIENT NAME=a+0D+0Ab", false),
        ("XCLIENT NAME=a+2b", false),
        ("XCLIENT ADDR=a", false),
        ("XCLIENT ADDR=2001:db8::1", false),
        ("XCLIENT ADDR=1.2.3", false),
        ("XCLIENT ADDR=1.2.3.256", false),
        ("XCLIENT PORT=65536", false),
        ("XCLIENT PORT=-1", false),
        ("XFORWARD NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP", true),
        ("XFORWARD HELO=spike.porcupine.org IDENT=abc SOURCE=REMOTE", true),
        ("XFORWARD", false),
    ] {
        let parsed = Command::parse(line.as_bytes());
        assert_eq!(parsed.is_ok(), good, "{line}: {parsed:?}");
        if let Err(error) = parsed {
            assert_eq!(error.reply().code(), Code::ARGUMENT_ERROR, "{line}");
        }
    }
}

#[test]
fn queues_and_domains_are_told_apart() {
    let queue = |name: &'static str| QueueName::new(name).unwrap().queue();
    assert!(matches!(queue("foo.com"), Queue::Host(domain) if domain.as_bytes() == b"foo.com"));
    assert!(matches!(queue("@foo.com"), Queue::Subdomains(domain) if domain.as_bytes() == b"foo.com"));
    assert_eq!(queue("#uucp"), Queue::Named(b"uucp"));
    let list = DomainList::new("example.org,example.com").unwrap();
    assert_eq!(list.iter().map(|domain| domain.to_string()).collect::<Vec<_>>(), ["example.org", "example.com"]);
}

#[test]
fn attributes_are_read_as_what_they_mean() {
    let attributes =
        Attributes::new("ADDR=IPV6:2001:db8::1 NAME=[UNAVAILABLE] HELO=[TEMPUNAVAIL] LOGIN=a+20b").unwrap();
    assert_eq!(attributes.address(), "2001:db8::1".parse().ok());
    assert_eq!(attributes.find("name"), Some(AttributeValue::Unavailable));
    assert_eq!(attributes.find("HELO"), Some(AttributeValue::TemporarilyUnavailable));
    assert_eq!(attributes.find("LOGIN"), Some(AttributeValue::Known(Cow::Borrowed(b"a b"))));
    assert_eq!((attributes.find("PORT"), attributes.iter().count()), (None, 4));
    assert_eq!(Attributes::new("ADDR=[UNAVAILABLE]").unwrap().address(), None);
}

/// A command that is not even offered is read before it is refused: it must not cost more than its octets.
#[test]
fn attributes_are_read_in_time_that_grows_with_their_number_and_no_faster() {
    let cost = |count: usize| {
        let words: Vec<_> = (0..count).map(|index| format!("{index}=+20")).collect();
        let line = format!("XCLIENT {}", words.join(" "));
        assert!(line.len() < 4096);
        allocation_counter::measure(|| assert!(Command::parse(line.as_bytes()).is_ok())).count_total
    };
    let (few, many) = (cost(3), cost(30));
    assert!(many <= 12 * few, "{many} allocations for ten times the attributes that cost {few}");
    let too_many: Vec<_> = (0..33).map(|index| format!("{index}=x")).collect();
    assert!(Command::parse(format!("XCLIENT {}", too_many.join(" ")).as_bytes()).is_err());
}

/// Whatever a client calls itself, it is not taken for one that is not known.
#[test]
fn a_value_that_looks_as_if_it_were_missing_is_sent_as_it_is() {
    for text in ["[UNAVAILABLE]", "[tempunavail]"] {
        let value = AttributeValue::Known(Cow::Borrowed(text.as_bytes()));
        let list = AttributeList::new().with("HELO", &value).unwrap();
        assert_eq!(list.as_attributes().unwrap().find("HELO"), Some(value), "{text}");
    }
}

/// RFC 2645 section 5: "The ATRN command MUST be rejected if the session has not been authenticated. Response code 530"; after 250 "the
/// roles reverse".
#[test]
fn atrn_turns_the_roles_of_a_client_that_has_logged_in() {
    let mut server = after(offering(extended()), &["EHLO c"]);
    assert_eq!(refusal(&server, "ATRN a.example"), Some(530));
    ask(&mut server, "AUTH PLAIN =", Code::AUTHENTICATED);
    ask(&mut server, "ATRN a.example", Code::MAILBOX_TEMPORARILY_UNAVAILABLE);
    assert_eq!((server.state(), server.is_turned()), (State::Ready, false));
    ask(&mut server, "ATRN a.example,b.example", Code::OK);
    assert_eq!((server.state(), server.is_turned(), server.is_closed()), (State::Turned, true, false));
    assert_eq!(server.receive(b"220 ready\r\n"), Ok(Step::Paused), "what comes now is for a client");
    assert_eq!(server.send(&Reply::new(Code::OK, ""), &mut Vec::new()), Err(Misuse::Closed));

    let mut client = client::Connection::new(client::Config::default());
    let hear = |client: &mut client::Connection, said: &str, line: Option<&str>| {
        assert!(matches!(client.receive(said.as_bytes()), Ok(Step::Event { .. })), "{said}");
        line.map(|line| client.send(&Command::parse(line.as_bytes()).unwrap(), &mut Vec::new()).unwrap())
    };
    hear(&mut client, "220 ready\r\n", Some("EHLO c"));
    hear(&mut client, "250-a\r\n250 ATRN\r\n", Some("AUTH PLAIN ="));
    hear(&mut client, "235 in\r\n", Some("ATRN"));
    assert_eq!(client.timeout().as_secs(), 600);
    hear(&mut client, "250 turned\r\n", None);
    assert_eq!((client.state(), client.is_turned(), client.is_waiting()), (State::Turned, true, false));
    assert_eq!(client.receive(b"EHLO d\r\n"), Ok(Step::Paused), "what comes now is for a server");
    assert!(client.send(&Command::Quit, &mut Vec::new()).is_err());
}

/// On the same stream, the octets behind the 250 included: RFC 2645 section 6.
#[test]
fn after_atrn_the_customer_serves_and_the_provider_sends() {
    let (mut customer, mut provider) =
        (server::Connection::new(offering(extended())), client::Connection::new(client::Config::default()));
    let (mut to_provider, mut to_customer) = (Vec::new(), Vec::new());
    customer.send(&Reply::new(Code::READY, "example.org ready to receive email"), &mut to_provider).unwrap();
    assert!(matches!(provider.receive(&to_provider), Ok(Step::Event { .. })));
    provider.send(&Command::Ehlo(ClientName::new("EXAMPLE.NET").unwrap()), &mut to_customer).unwrap();
    assert!(matches!(
        customer.receive(&to_customer),
        Ok(Step::Event { event: server::Event::Command(Command::Ehlo(_)), .. })
    ));
    to_provider.clear();
    customer.send_hello("example.org", &mut to_provider).unwrap();
    assert!(matches!(provider.receive(&to_provider), Ok(Step::Event { .. })));
    assert!(provider.offered().chunking);
}

/// Postfix: "the server ... resets state to the initial SMTP greeting protocol stage".
#[test]
fn xclient_begins_the_session_anew_and_xforward_does_not() {
    let mut server = after(offering(extended()), &["EHLO c"]);
    ask(&mut server, "AUTH PLAIN =", Code::AUTHENTICATED);
    ask(&mut server, "XFORWARD NAME=a", Code::OK);
    ask(&mut server, "XCLIENT NAME=a", Code::MAILBOX_UNAVAILABLE);
    assert_eq!((server.state(), server.is_authenticated(), server.is_extended()), (State::Ready, true, true));
    ask(&mut server, "XCLIENT NAME=a", Code::READY);
    assert_eq!((server.state(), server.is_authenticated(), server.is_extended()), (State::Nameless, false, false));
    for line in ["MAIL FROM:<>", "AUTH PLAIN =", "XFORWARD NAME=a"] {
        assert_eq!(refusal(&server, line), Some(503), "{line}");
    }
    ask(&mut server, "EHLO d", Code::OK);
    assert_eq!((refusal(&server, "MAIL FROM:<>"), refusal(&server, "AUTH PLAIN =")), (None, None));
}

#[test]
fn a_command_that_is_not_known_is_the_programs_if_it_says_so() {
    let server = after(offering(extended()), &["EHLO c"]);
    for (line, refused) in
        [("VERB", None), ("verb ON", None), ("ONEX", Some(500)), ("TURN", Some(500)), ("VERBS", Some(500))]
    {
        assert_eq!(refusal(&server, line), refused, "{line}");
    }
    let line = b"Verb a  b\xc3\xa9\r\n";
    let Ok(Step::Event { event: server::Event::Command(Command::Other(other)), .. }) = server.clone().receive(line)
    else {
        panic!()
    };
    assert_eq!((other.keyword(), other.argument(), other.is("VERB")), ("Verb", "a  b\u{e9}".as_bytes(), true));
    for line in [&b"VERB \xff\r\n"[..], b"VERB a\0b\r\n", b"VERB a\tb\r\n"] {
        let Ok(Step::Event { event: server::Event::Rejected(_), .. }) = server.clone().receive(line) else { panic!() };
    }
    let extension = OtherExtension { commands: vec!["QUIT".to_owned()], ..OtherExtension::default() };
    let known = after(offering(Extensions { other: vec![extension], ..nothing() }), &[]);
    assert!(matches!(
        known.clone().receive(b"QUIT\r\n"),
        Ok(Step::Event { event: server::Event::Command(Command::Quit), .. })
    ));
}

// Round trips.

/// An address as it may be, in ASCII or not.
fn mailbox() -> impl Strategy<Value = String> {
    ("[a-z+=/_-]{1,10}", "[a-z]{1,8}(\\.[a-z]{1,8})?").prop_map(|(local, domain)| format!("{local}@{domain}"))
}

fn moment() -> impl Strategy<Value = String> {
    (
        0..10_000_u32,
        1..13_u32,
        1..29_u32,
        0..24_u32,
        0..60_u32,
        "Z|z|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]|\\.[0-9]{1,6}Z",
    )
        .prop_map(|(year, month, day, hour, minute, end)| {
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:59{end}")
        })
}

/// What a program may say of a message, in the types it says it in.
#[derive(Clone, Debug)]
struct Wishes {
    size: Option<u64>,
    body: Option<Body>,
    by: Option<(i32, bool, bool)>,
    envelope_id: Option<String>,
    hold: Option<Result<u32, String>>,
    priority: Option<i8>,
    notify: Option<(bool, bool, bool)>,
    original: Option<(String, String)>,
    flags: (bool, bool, bool),
    ret: Option<bool>,
    submitter: Option<String>,
    auth: Option<Option<String>>,
    since: Option<(String, Option<bool>)>,
}

fn wishes() -> impl Strategy<Value = Wishes> {
    use proptest::option::of;
    let body = prop::sample::select(vec![Body::SevenBit, Body::EightBitMime, Body::BinaryMime]);
    let by = (-999_999_999..=999_999_999_i32, any::<bool>(), any::<bool>());
    let hold = prop_oneof![(1..1_000_000_000_u32).prop_map(Ok), moment().prop_map(Err)];
    let original = prop_oneof![
        ("rfc822|x400|RFC822", "[ -~]{1,30}"),
        ("utf-8|UTF-8", "[ -~\u{e9}\u{4e2d}\u{1f600}\u{ad}]{1,20}"),
    ];
    let first = (of(any::<u64>()), of(body), of(by), of("[ -~]{1,30}"), of(hold), of(-9..=9_i8));
    let second = (of(any::<(bool, bool, bool)>()), of(original), any::<(bool, bool, bool)>(), of(any::<bool>()));
    let third = (of(mailbox()), of(of(mailbox())), of((moment(), of(any::<bool>()))));
    (first, second, third).prop_map(
        |((size, body, by, envelope_id, hold, priority), (notify, original, flags, ret), (submitter, auth, since))| {
            Wishes { size, body, by, envelope_id, hold, priority, notify, original, flags, ret, submitter, auth, since }
        },
    )
}

impl Wishes {
    fn by(&self) -> Option<DeliverBy> {
        let (seconds, notify, trace) = self.by?;
        DeliverBy::new(seconds, if notify { ByMode::Notify } else { ByMode::Return }, trace).ok()
    }

    fn notify(&self) -> Option<Notify> {
        self.notify.map(|(delay, failure, success)| Notify { delay, failure, success })
    }

    fn ret(&self) -> Option<Ret> {
        self.ret.map(|full| if full { Ret::Full } else { Ret::Headers })
    }

    fn original(&self) -> Option<OriginalRecipient<'_>> {
        let (address_type, address) = self.original.as_ref()?;
        Some(OriginalRecipient::new(address_type, address).unwrap())
    }

    fn auth(&self) -> Option<AuthParameter<'_>> {
        let known = |mailbox: &'_ String| AuthParameter::Mailbox(Cow::Owned(mailbox.as_bytes().to_vec()));
        self.auth.as_ref().map(|auth| auth.as_ref().map_or(AuthParameter::Unknown, known))
    }

    fn since(&self) -> Option<ValidSince<'_>> {
        let (since, otherwise) = self.since.as_ref()?;
        let otherwise = otherwise.map(|go_on| if go_on { Otherwise::Continue } else { Otherwise::Reject });
        Some(ValidSince { since: DateTime::new(since).unwrap(), otherwise })
    }

    fn hold(&self) -> Option<Hold<'_>> {
        match self.hold.as_ref()? {
            Ok(seconds) => Some(Hold::For(*seconds)),
            Err(moment) => Some(Hold::Until(DateTime::new(moment).unwrap())),
        }
    }

    fn list(&self) -> ParameterList {
        let mut list = ParameterList::new();
        list = self.size.map_or(list.clone(), |size| list.size(size));
        list = self.body.map_or(list.clone(), |body| list.body(body));
        list = self.by().map_or(list.clone(), |by| list.deliver_by(by));
        list = self.envelope_id.as_ref().map_or(list.clone(), |id| list.envelope_id(id).unwrap());
        list = self.hold().map_or(list.clone(), |hold| list.hold(hold).unwrap());
        list = self.priority.map_or(list.clone(), |priority| list.mt_priority(priority).unwrap());
        list = self.notify().map_or(list.clone(), |notify| list.notify(notify));
        list = self.original().map_or(list.clone(), |original| list.original_recipient(&original).unwrap());
        list = if self.flags.0 { list.prdr() } else { list };
        list = if self.flags.1 { list.require_tls() } else { list };
        list = if self.flags.2 { list.smtputf8() } else { list };
        list = self.ret().map_or(list.clone(), |ret| list.ret(ret));
        list = self.submitter.as_ref().map_or(list.clone(), |submitter| list.submitter(submitter).unwrap());
        list = self.auth().map_or(list.clone(), |auth| list.auth(&auth).unwrap());
        self.since().map_or(list.clone(), |since| list.valid_since(since))
    }

    fn assert_read(&self, parameters: &Parameters<'_>) {
        assert_eq!(parameters.size(), self.size);
        assert_eq!(parameters.body(), self.body);
        assert_eq!(parameters.deliver_by(), self.by());
        assert_eq!(parameters.envelope_id().as_deref(), self.envelope_id.as_deref());
        assert_eq!(parameters.hold(), self.hold());
        assert_eq!(parameters.mt_priority(), self.priority);
        assert_eq!(parameters.notify(), self.notify());
        assert_eq!(parameters.original_recipient(), self.original());
        assert_eq!((parameters.prdr(), parameters.require_tls(), parameters.smtputf8()), self.flags);
        assert_eq!(parameters.ret(), self.ret());
        assert_eq!(parameters.submitter().as_deref(), self.submitter.as_deref().map(str::as_bytes));
        assert_eq!(parameters.auth(), self.auth());
        assert_eq!(parameters.valid_since(), self.since());
    }
}

/// Octets as somebody who wants to break a line would choose them.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let marks: [&[u8]; 20] = [
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b" ",
        b"  ",
        b"\t",
        b"=",
        b"+0D+0A",
        b">",
        b"<",
        b"a",
        b"a@b",
        b";",
        b",",
        b":",
        b"\x7f",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xff",
    ];
    let part = prop_oneof![
        prop::sample::select(marks.to_vec()).prop_map(<[u8]>::to_vec),
        "[!-~]{0,6}".prop_map(String::into_bytes)
    ];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

/// One line of `words` words, which is the command.
fn assert_one_line(command: &Command<'_>, words: usize) {
    let out = encoded(command);
    let line = out.strip_suffix(b"\r\n").unwrap();
    assert!(!line.iter().any(u8::is_ascii_control), "{}", out.escape_ascii());
    assert_eq!(line.split(|octet| *octet == b' ').count(), words, "{}", out.escape_ascii());
    assert_eq!(Command::parse(line).as_ref(), Ok(command), "{}", out.escape_ascii());
}

/// Parameters that a hostile value got into: as many as were given, on one line.
fn assert_parameters(list: &ParameterList, count: usize) {
    let parameters = list.as_parameters();
    assert_eq!(parameters.iter().count(), count, "{parameters:?}");
    assert_one_line(&Command::Mail { from: ReversePath::Null, parameters }, 2 + count);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn parameters_are_read_as_they_were_given(wishes in wishes()) {
        let list = wishes.list();
        wishes.assert_read(&list.as_parameters());
        let out = encoded(&Command::Mail { from: ReversePath::Null, parameters: list.as_parameters() });
        prop_assert!(out.is_ascii(), "any server can take it");
        let Command::Mail { parameters, .. } = Command::parse(&out[..out.len() - 2]).unwrap() else { panic!() };
        wishes.assert_read(&parameters);
        prop_assert_eq!(parameters, list.as_parameters());
        // Given once more they are the same, in another order perhaps.
        let again = parameters.iter().try_fold(ParameterList::new(), |list, parameter| {
            let value = parameter.value.map(|value| [b"=", value].concat()).unwrap_or_default();
            list.other(&[parameter.keyword, &value].concat())
        });
        let again = again.unwrap();
        prop_assert_eq!(again.as_parameters().as_bytes(), parameters.as_bytes());
    }

    #[test]
    fn what_follows_another_keyword_is_kept(keyword in "[A-Z0-9][A-Z0-9-]{0,9}", value in "[!-<>-~\u{e9}]{1,20}") {
        let parameter = format!("X-{keyword}={value}");
        let list = ParameterList::new().size(5).other(&parameter).unwrap().prdr();
        let parameters = list.as_parameters();
        let found = parameters.find(&format!("x-{keyword}")).unwrap();
        prop_assert_eq!(found.value, Some(value.as_bytes()));
        prop_assert_eq!((parameters.size(), parameters.prdr(), parameters.iter().count()), (Some(5), true, 3));
    }

    #[test]
    fn attributes_are_read_as_they_were_given(
        v4 in any::<u32>(),
        v6 in any::<u128>(),
        is_v6 in any::<bool>(),
        port in any::<u16>(),
        helo in "[ -~\u{e9}]{0,40}",
    ) {
        prop_assume!(!helo.to_ascii_uppercase().ends_with("UNAVAIL]") && !helo.to_ascii_uppercase().ends_with("UNAVAILABLE]"));
        let address = if is_v6 { IpAddr::from(Ipv6Addr::from(v6)) } else { IpAddr::from(Ipv4Addr::from(v4)) };
        let known = |text: String| AttributeValue::Known(Cow::Owned(text.into_bytes()));
        let (port, helo) = (known(port.to_string()), known(helo));
        let list = AttributeList::new().address(address).with("PORT", &port).unwrap().with("HELO", &helo).unwrap();
        let list = list.with("NAME", &AttributeValue::TemporarilyUnavailable).unwrap();
        for command in [Command::Xclient(list.as_attributes().unwrap()), Command::Xforward(list.as_attributes().unwrap())] {
            assert_one_line(&command, 5);
            let out = encoded(&command);
            let (Command::Xclient(read) | Command::Xforward(read)) = Command::parse(&out[..out.len() - 2]).unwrap() else { panic!() };
            prop_assert_eq!(read.address(), Some(address));
            prop_assert_eq!(read.find("PORT"), Some(port.clone()));
            prop_assert_eq!(read.find("helo"), Some(helo.clone()));
            prop_assert_eq!(read.find("NAME"), Some(AttributeValue::TemporarilyUnavailable));
        }
    }

    /// Every octet string that may be sent in xtext comes back, and no other can be sent.
    #[test]
    fn xtext_is_undone_by_who_reads_it(id in proptest::collection::vec(any::<u8>(), 0..40)) {
        let list = ParameterList::new().envelope_id(&id);
        let printable = id.iter().all(|octet| (b' '..=b'~').contains(octet));
        let len: usize = id.iter().map(|octet| if octet.is_ascii_graphic() && !b"+=".contains(octet) { 1 } else { 3 }).sum();
        prop_assert_eq!(list.is_ok(), printable && (1..=100).contains(&len));
        if let Ok(list) = list {
            prop_assert_eq!(list.as_parameters().envelope_id().map(|read| read.into_owned().into_bytes()), Some(id));
        }
    }

    #[test]
    fn an_original_recipient_is_read_as_it_was_given(
        address_type in "rfc822|utf-8|UTF-8|x400|[a-z]{1,8}",
        address in "[ -~\u{80}-\u{2ff}\u{4e2d}\u{1f600}]{0,30}",
    ) {
        let original = OriginalRecipient::new(&address_type, &*address);
        let list = original.and_then(|original| ParameterList::new().original_recipient(&original));
        let utf8 = address_type.eq_ignore_ascii_case("utf-8");
        let sound = !address.is_empty() && (address.is_ascii() || utf8) && !address.chars().any(char::is_control);
        let fits = list.is_ok() || !sound || address.chars().count() * 9 > 480;
        prop_assert!(fits && (list.is_err() || sound));
        if let Ok(list) = list {
            prop_assert!(list.as_parameters().as_bytes().is_ascii());
            prop_assert_eq!(list.as_parameters().original_recipient(), OriginalRecipient::new(&address_type, &*address).ok());
        }
    }

    /// No value makes a command more than it is: neither a second line nor a second word.
    #[test]
    fn no_value_breaks_the_line_of_a_command(octets in hostile(), other in hostile()) {
        let text = String::from_utf8_lossy(&octets);
        if let Ok(name) = ClientName::new(&octets) {
            assert_one_line(&Command::Ehlo(name), 2);
        }
        if let Ok(domains) = DomainList::new(&octets) {
            assert_one_line(&Command::Atrn(Some(domains)), 2);
        }
        if let Ok(queue) = QueueName::new(&octets) {
            assert_one_line(&Command::Etrn(queue), 2);
        }
        for octets in [octets.clone(), [b"imap:", &octets[..]].concat()] {
            if let Ok(url) = Url::new(&octets) {
                assert_one_line(&Command::Burl { url, last: true }, 3);
                assert_one_line(&Command::Burl { url, last: false }, 2);
            }
        }
        for octets in [octets.clone(), [b"NAME=", &octets[..]].concat()] {
            if let Ok(attributes) = Attributes::new(&octets) {
                assert_one_line(&Command::Xclient(attributes), 1 + attributes.iter().count());
            }
        }
        if let Ok(mailbox) = Mailbox::new(&octets) {
            let quoted = mailbox.as_bytes().iter().filter(|octet| **octet == b' ').count();
            assert_one_line(&Command::Rcpt { to: ForwardPath::from(mailbox), parameters: Parameters::NONE }, 2 + quoted);
        }
        if let Ok(parameters) = Parameters::new(&octets) {
            assert_one_line(&Command::Mail { from: ReversePath::Null, parameters }, 2 + parameters.iter().count());
        }
        if let Ok(command) = OtherCommand::new(&text, "") {
            assert_one_line(&Command::Other(command), 1);
        }
        if let Ok(command) = OtherCommand::new("XYZZY", &text) {
            let words = if text.is_empty() { 1 } else { 2 + text.bytes().filter(|octet| *octet == b' ').count() };
            assert_one_line(&Command::Other(command), words);
        }
        if let Ok(mechanism) = Mechanism::new(&octets) {
            let initial = Some(Secret::from(other.clone()));
            assert_one_line(&Command::Auth { mechanism, initial }, 3);
        }
        if let Ok(argument) = Argument::new(&octets) {
            let commands =
                [Command::Expn(argument), Command::Help(Some(argument)), Command::Noop(Some(argument)), Command::Vrfy(argument)];
            for command in commands {
                let line = encoded(&command);
                prop_assert_eq!(Command::parse(&line[..line.len() - 2]), Ok(command));
            }
        }
        let shown = Text::lossy(&text);
        prop_assert!(!shown.as_bytes().iter().any(|octet| octet.is_ascii_control() && *octet != b'\t'));
    }

    #[test]
    fn no_value_breaks_the_line_of_parameters_and_attributes(octets in hostile(), other in hostile()) {
        let list = || ParameterList::new().size(1);
        let submitter = AuthParameter::Mailbox(Cow::Borrowed(&octets));
        let (text, name) = (String::from_utf8_lossy(&octets), String::from_utf8_lossy(&other));
        let original = |address_type| {
            let original = OriginalRecipient::new(address_type, &*text);
            original.and_then(|original| list().original_recipient(&original))
        };
        let lists = [
            list().envelope_id(&octets),
            list().submitter(&octets),
            list().auth(&submitter),
            original("rfc822"),
            original("utf-8"),
            original(&name),
            list().other(&octets),
            list().other(&[b"X=", &octets[..]].concat()),
        ];
        for list in lists.into_iter().flatten() {
            let count = list.as_parameters().iter().count();
            prop_assert!(count == 2 || octets.eq_ignore_ascii_case(b"SIZE") || count == 1);
            assert_parameters(&list, count);
        }
        let value = AttributeValue::Known(Cow::Borrowed(&octets[..]));
        let lists = [AttributeList::new().with("NAME", &value), AttributeList::new().with(&name, &value)];
        for list in lists.into_iter().flatten() {
            assert_one_line(&Command::Xforward(list.as_attributes().unwrap()), 2);
        }
    }

    #[test]
    fn numbers_out_of_range_cannot_be_given(seconds in any::<i32>(), hold in any::<u32>(), priority in any::<i8>()) {
        let by = |mode| DeliverBy::new(seconds, mode, true).is_ok();
        prop_assert_eq!(by(ByMode::Notify), (-999_999_999..=999_999_999).contains(&seconds));
        prop_assert_eq!(by(ByMode::Return), (1..=999_999_999).contains(&seconds));
        prop_assert_eq!(ParameterList::new().hold(Hold::For(hold)).is_ok(), (1..=999_999_999).contains(&hold));
        prop_assert_eq!(ParameterList::new().mt_priority(priority).is_ok(), (-9..=9).contains(&priority));
    }
}

/// A verb is what a command is known by, also when it is of the program's own.
#[test]
fn no_command_of_ours_can_be_made_as_one_that_is_not_known() {
    for keyword in ["DATA", "bdat", "StartTls", "XCLIENT", "ETRN", "ATRN", "BURL", "", "A B", "A\r\n", "-A", "\u{e9}"] {
        assert!(OtherCommand::new(keyword, "").is_err(), "{keyword:?}");
    }
    let verb = OtherCommand::new("XYZZY", "a b").unwrap();
    assert_eq!(
        (Command::Other(verb.clone()).verb(), &encoded(&Command::Other(verb))[..]),
        (Verb::Other, &b"XYZZY a b\r\n"[..])
    );
}
