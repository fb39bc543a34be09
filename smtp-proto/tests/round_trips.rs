//! What is written is read as it was meant, and what is read is written as it was.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::{Ipv4Addr, Ipv6Addr};

use postrider_smtp_proto::{
    AddressLiteral, Argument, AuthParameter, Body, Capability, ClientName, Code, Command, Domain, EnhancedCode,
    ForwardPath, Host, LiteralAddress, Mailbox, Mechanism, Parameters, Path, Postmaster, Reply, ReversePath, Secret,
    Text,
};
use proptest::prelude::*;

/// `Dot-string`, `Quoted-string`: RFC 5321 section 4.1.2, RFC 6531 section 3.3.
fn local_part() -> impl Strategy<Value = String> {
    let atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~\u{e9}\u{4e2d}-]{1,6}";
    prop_oneof![
        proptest::collection::vec(atom, 1..4).prop_map(|atoms| atoms.join(".")),
        r#""([ !#-\[\]-~\u{e9}]|\\[ -~]){0,20}""#,
        Just("postmaster".to_owned())
    ]
}

fn domain() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?(\\.[a-zA-Z0-9\u{e9}]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?){0,4}"
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(|address| format!("[{address}]")),
        any::<Ipv6Addr>().prop_map(|address| format!("[IPv6:{address}]")),
        "\\[[a-z][a-z0-9-]{0,5}[a-z0-9]:[!-Z^-~]{1,20}\\]",
    ]
}

/// `esmtp-param`, no keyword twice and none that is known, whose values have a grammar.
fn parameters() -> impl Strategy<Value = String> {
    let parameter = "(X-|9)[A-Z0-9-]{0,7}(=[!-<>-~\u{e9}]{1,12})?";
    proptest::collection::vec(parameter, 0..6).prop_map(|parameters: Vec<String>| {
        let mut seen = std::collections::BTreeSet::new();
        let first = |word: &&String| seen.insert(word.split('=').next().map(str::to_owned));
        parameters.iter().filter(first).map(String::as_str).collect::<Vec<_>>().join(" ")
    })
}

/// What commands are made of.
#[derive(Clone, Debug)]
struct Parts {
    mailbox: String,
    name: String,
    parameters: String,
    text: String,
    mechanism: String,
    secret: Vec<u8>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let host = prop_oneof![3 => domain(), 1 => literal()];
    let mailbox = (local_part(), host).prop_map(|(local_part, host)| format!("{local_part}@{host}"));
    let text = "[!-~\u{e9}]([ -~\u{4e2d}]{0,30}[!-~])?";
    let secret = proptest::collection::vec(any::<u8>(), 0..60);
    let name = prop_oneof![domain(), literal(), "[!-~\u{e9}]{1,30}"];
    (mailbox, name, parameters(), text, "[A-Z0-9_-]{1,20}", secret).prop_map(
        |(mailbox, name, parameters, text, mechanism, secret)| Parts {
            mailbox,
            name,
            parameters,
            text,
            mechanism,
            secret,
        },
    )
}

impl Parts {
    fn commands(&self) -> Vec<Command<'_>> {
        let parameters = Parameters::new(&self.parameters).unwrap();
        let path = Path::new(Mailbox::new(&self.mailbox).unwrap());
        let name = ClientName::new(&self.name).unwrap();
        let argument = Argument::new(&self.text).unwrap();
        let auth = |initial: Option<&[u8]>| Command::Auth {
            mechanism: Mechanism::new(&self.mechanism).unwrap(),
            initial: initial.map(|initial| Secret::from(initial.to_vec())),
        };
        vec![
            auth(None),
            auth(Some(&self.secret)),
            auth(Some(b"")),
            Command::Data,
            Command::Ehlo(name),
            Command::Expn(argument),
            Command::Helo(name),
            Command::Help(Some(argument)),
            Command::Help(None),
            Command::Lhlo(name),
            Command::Mail { from: ReversePath::Null, parameters },
            Command::Mail { from: ReversePath::Path(path), parameters: Parameters::NONE },
            Command::Mail { from: ReversePath::Path(path), parameters },
            Command::Noop(Some(argument)),
            Command::Noop(None),
            Command::Quit,
            Command::Rcpt { to: ForwardPath::Path(path), parameters },
            Command::Rcpt { to: ForwardPath::Postmaster(Postmaster::new("postMaster").unwrap()), parameters },
            Command::Rset,
            Command::StartTls,
            Command::Vrfy(argument),
        ]
    }
}

#[test]
fn the_text_of_a_path_is_all_of_it() {
    for path in ["<@a,@b:\"x y\\\"\"@[IPv6:::1]>", "<PostMaster>", "<gr\u{fc}n@b\u{fc}cher.example>"] {
        let read = ForwardPath::new(path).unwrap();
        assert_eq!(format!("<{}>", read.as_str()), path);
        assert_eq!(read.as_bytes(), read.as_str().as_bytes());
    }
    let route = ReversePath::new("<@a:b@c>").unwrap();
    assert_eq!((route.as_str(), route.to_string().as_str()), ("@a:b@c", "<b@c>"));
    assert_eq!(ReversePath::Null.as_str(), "");
}

fn line_of(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut line = Vec::new();
    encode(&mut line);
    let text = line.strip_suffix(b"\r\n").unwrap();
    assert!(!text.iter().any(|octet| b"\r\n".contains(octet)), "{}", line.escape_ascii());
    text.to_vec()
}

/// A text that begins with what is no enhanced code, so that it is read as the text it is.
fn reply_lines() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("([!-/:-~\u{e9}][ -~\t\u{e9}]{0,40})?", 1..5)
}

fn code() -> impl Strategy<Value = Code> {
    (2..=5_u16, 0..=5_u16, 0..=9_u16).prop_map(|(a, b, c)| Code::new(a * 100 + b * 10 + c).unwrap())
}

proptest! {
    #[test]
    fn every_command_is_read_as_it_was_written(parts in parts()) {
        for command in parts.commands() {
            let line = line_of(|out| command.encode(out));
            prop_assert_eq!(Command::parse(&line), Ok(command));
        }
    }

    #[test]
    fn keywords_may_be_in_any_case_and_spaces_may_follow(parts in parts(), lower in any::<u16>(), spaces in 0..4_usize) {
        for command in parts.commands() {
            let mut line = line_of(|out| command.encode(out));
            let after = line.iter().position(|octet| *octet == b'<' || *octet == b' ' && !line.starts_with(b"MAIL"));
            let keyword = if line.starts_with(b"RCPT") { 8 } else { after.unwrap_or(line.len()) };
            let flip = |(at, octet): (usize, &mut u8)| if lower >> at & 1 == 1 { octet.make_ascii_lowercase() };
            line[..keyword].iter_mut().enumerate().for_each(flip);
            line.extend(std::iter::repeat_n(b' ', spaces));
            prop_assert_eq!(Command::parse(&line), Ok(command));
        }
    }

    #[test]
    fn every_reply_is_read_as_it_was_written(
        code in code(), lines in reply_lines(), subject in 0..1000_u16, detail in 0..1000_u16, enhanced in any::<bool>(),
    ) {
        let texts: Vec<_> = lines.iter().map(|line| Text::new(line).unwrap()).collect();
        let mut reply = Reply::lines_of(code, texts);
        let class = u8::try_from(code.as_u16() / 100).unwrap();
        if enhanced && class != 3 {
            reply = reply.with_enhanced(class, subject, detail);
        }
        let mut octets = Vec::new();
        reply.encode(&mut octets);
        let read = Reply::parse(&octets).unwrap();
        prop_assert_eq!((read.code(), read.enhanced()), (code, reply.enhanced()));
        prop_assert!(read.lines().eq(lines.iter().map(String::as_bytes)));
        prop_assert_eq!(read.enhanced().is_some(), enhanced && class != 3);
        // Read and written again, as it is or kept, it is the same.
        let (mut again, mut kept) = (Vec::new(), Vec::new());
        read.encode(&mut again);
        read.clone().into_owned().encode(&mut kept);
        prop_assert_eq!((&again, &kept), (&octets, &octets));
    }

    #[test]
    fn a_challenge_is_read_as_it_was_written(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut line = Vec::new();
        Reply::challenge_of(&octets).encode(&mut line);
        prop_assert!(line.starts_with(b"334 "));
        let read = Reply::parse(&line).unwrap().challenge().map(|challenge| challenge.expose().to_vec());
        prop_assert_eq!(read, Ok(octets));
    }

    #[test]
    fn whatever_is_read_as_a_command_is_written_as_one_that_reads_the_same(
        line in "([A-Za-z]{4}|MAIL FROM:|RCPT TO:|AUTH PLAIN|NOOP|EHLO|\\PC{0,4})[ <]?[0-9A-Za-z=*@.\\[\\]<>\"\\\\:-]{0,12}( [0-9A-Za-z=*@.-]{0,6}){0,3}",
    ) {
        if let Ok(command) = Command::parse(line.as_bytes()) {
            let written = line_of(|out| command.encode(out));
            prop_assert_eq!(Command::parse(&written), Ok(command));
        }
    }

    #[test]
    fn whatever_octets_come_as_a_line_they_are_read_without_a_panic(
        line in proptest::collection::vec(any::<u8>(), 0..80),
        start in prop::sample::select(vec![&b""[..], b"MAIL FROM:<", b"RCPT TO:<", b"RCPT TO:<\"", b"EHLO [", b"250-", b"250 2."]),
    ) {
        let line = [start, &line].concat();
        let _ = Command::parse(&line);
        let capability = Capability::parse(&line);
        let _ = format!("{:?}", capability);
        let _ = Reply::parse(&line);
        let _ = Reply::parse(&[&line[..], b"\r\n"].concat());
        let _ = (Mailbox::new(&line), AddressLiteral::new(&line), Parameters::new(&line), ClientName::new(&line));
    }

    #[test]
    fn what_a_path_holds_is_what_was_put_in(local in local_part(), host in domain(), route in proptest::collection::vec(domain(), 0..3)) {
        let mailbox = format!("{local}@{host}");
        let read = Mailbox::new(&mailbox).unwrap();
        prop_assert_eq!(read.as_bytes(), mailbox.as_bytes());
        prop_assert_eq!((read.local_part().as_bytes(), read.host().as_bytes()), (local.as_bytes(), host.as_bytes()));
        let hops: Vec<_> = route.iter().map(|hop| format!("@{hop}")).collect();
        let route = if hops.is_empty() { String::new() } else { hops.join(",") + ":" };
        let line = format!("RCPT TO:<{route}{mailbox}>");
        let Ok(Command::Rcpt { to: ForwardPath::Path(path), .. }) = Command::parse(line.as_bytes()) else { panic!("{line}") };
        prop_assert_eq!((path.route(), path.mailbox()), (route.as_bytes(), read));
        let written = line_of(|out| Command::parse(line.as_bytes()).unwrap().encode(out));
        prop_assert_eq!(written, line.as_bytes());
    }

    #[test]
    fn quotes_are_not_part_of_a_name(name in "[ -~]{0,30}") {
        let escaped: String = name.chars().flat_map(|c| if "\"\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect();
        let all_escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
        let mailboxes = [format!("\"{escaped}\"@b"), format!("\"{all_escaped}\"@b")];
        let read = mailboxes.each_ref().map(Mailbox::new);
        // All escaped it may be too long.
        let fits: Vec<_> = read.iter().filter_map(|mailbox| mailbox.as_ref().ok()).collect();
        prop_assert!(escaped.len() + 2 > 64 || !fits.is_empty());
        for mailbox in &fits {
            prop_assert_eq!(mailbox.local_part().unquoted(), name.as_bytes());
            prop_assert_eq!(mailbox.local_part(), fits[0].local_part());
        }
        if let Ok(plain) = Mailbox::new(&format!("{name}@b")) && !name.starts_with('"') {
            prop_assert_eq!(plain.local_part(), fits[0].local_part());
        }
    }

    #[test]
    fn addresses_are_read_as_they_are_written(v4 in any::<Ipv4Addr>(), v6 in any::<Ipv6Addr>(), tag in "[a-z]{1,5}[0-9]", content in "[!-Z^-~]{1,20}") {
        let address = |literal: &str| format!("{:?}", AddressLiteral::new(literal).unwrap().address());
        prop_assert_eq!(address(&format!("[{v4}]")), format!("{:?}", LiteralAddress::V4(v4)));
        prop_assert_eq!(address(&format!("[ipv6:{v6}]")), format!("{:?}", LiteralAddress::V6(v6)));
        let general = LiteralAddress::General(tag.as_bytes(), content.as_bytes());
        prop_assert_eq!(address(&format!("[{tag}:{content}]")), format!("{general:?}"));
    }

    #[test]
    fn parameters_are_found_by_their_keyword_in_any_case(all in parameters()) {
        let parameters = Parameters::new(&all).unwrap();
        let words: Vec<_> = all.split(' ').filter(|word| !word.is_empty()).collect();
        prop_assert_eq!(parameters.iter().count(), words.len());
        for word in words {
            let (keyword, value) = word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value)));
            let found = parameters.find(&keyword.to_ascii_lowercase()).unwrap();
            prop_assert_eq!((found.keyword, found.value), (keyword.as_bytes(), value.map(str::as_bytes)));
            prop_assert!(Parameters::new(&format!("{all} {}", keyword.to_ascii_lowercase())).is_err(), "twice");
        }
    }

    #[test]
    fn a_size_and_a_submitter_are_read_as_they_are_written(size in any::<u64>(), local in "[!-~&&[^\"(),.:;<>@\\[\\]\\\\]]{1,20}", plain in any::<bool>()) {
        let xtext: String = local.chars().map(|c| match c {
            '+' | '=' => format!("+{:02X}", c as u32),
            c if plain => c.to_string(),
            c => format!("+{:02X}", c as u32),
        }).collect();
        let parameters = format!("SIZE={size} BODY=8bitMime AUTH={xtext}@b SMTPUTF8");
        let parameters = Parameters::new(&parameters).unwrap();
        prop_assert_eq!(parameters.size(), Some(size));
        prop_assert_eq!((parameters.body(), parameters.smtputf8()), (Some(Body::EightBitMime), true));
        prop_assert_eq!(parameters.auth(), Some(AuthParameter::Mailbox(format!("{local}@b").into_bytes().into())));
    }
}

#[test]
fn every_code_has_its_number_and_its_class() {
    for number in 0..=u16::MAX {
        let sound = (200..600).contains(&number);
        assert_eq!(Code::new(number).is_ok(), sound, "{number}");
        let Ok(code) = Code::new(number) else { continue };
        let octets = format!("{number} text\r\n");
        let reply = Reply::parse(octets.as_bytes()).unwrap();
        assert_eq!((reply.code(), code.as_u16(), code.to_string()), (code, number, number.to_string()));
        let class = [code.is_success(), code.is_intermediate(), code.is_transient(), code.is_permanent()];
        assert_eq!(class.iter().position(|is| *is), Some(usize::from(number / 100 - 2)));
        assert_eq!(class.iter().filter(|is| **is).count(), 1);
    }
}

/// RFC 2034 section 4: an enhanced code is one only where its class is that of the reply.
#[test]
fn enhanced_codes_are_told_from_texts_that_look_like_them() {
    for (octets, enhanced, text) in [
        ("250 2.1.5 ok\r\n", EnhancedCode::new(2, 1, 5).ok(), "ok"),
        ("250 2.1.5\r\n", EnhancedCode::new(2, 1, 5).ok(), ""),
        ("250 2.999.999 \r\n", EnhancedCode::new(2, 999, 999).ok(), ""),
        ("550 5.7.1\tno\r\n", None, "5.7.1\tno"),
        ("250 5.1.1 ok\r\n", None, "5.1.1 ok"),
        ("450 5.1.1 no\r\n", None, "5.1.1 no"),
        ("550 5.7.1234 no\r\n", None, "5.7.1234 no"),
        ("550 5.7 no\r\n", None, "5.7 no"),
        ("550 5.7.1.2 no\r\n", None, "5.7.1.2 no"),
        ("550 5..1 no\r\n", None, "5..1 no"),
        ("550 5.7.1: no\r\n", None, "5.7.1: no"),
        ("354 3.0.0 go on\r\n", None, "3.0.0 go on"),
        ("550  5.7.1 no\r\n", None, " 5.7.1 no"),
        ("250\r\n", None, ""),
    ] {
        let reply = Reply::parse(octets.as_bytes()).unwrap();
        assert_eq!((reply.enhanced(), reply.lines().next()), (enhanced, Some(text.as_bytes())), "{octets:?}");
    }
    // Of each reply its own: the next one without a code has none.
    assert_eq!(Reply::parse(b"250-2.1.5 a\r\n250 b\r\n").unwrap().lines().collect::<Vec<_>>(), [b"a", b"b"]);
    for (class, subject, detail) in [(3, 0, 0), (1, 0, 0), (6, 0, 0), (2, 1000, 0), (2, 0, 1000)] {
        assert!(EnhancedCode::new(class, subject, detail).is_err());
        assert_eq!(Reply::new(Code::OK, "").with_enhanced(class, subject, detail).enhanced(), None);
    }
}

#[test]
fn replies_are_equal_when_they_say_the_same() {
    let reply = Reply::new(Code::OK, "done").with_enhanced(2, 0, 0);
    assert_eq!(reply, Reply::lines_of(Code::OK, vec![Text::lossy("done")]).with_enhanced(2, 0, 0));
    assert_eq!(reply, reply.clone().into_owned());
    assert_eq!(reply, Reply::parse(b"250 2.0.0 done\r\n").unwrap());
    assert_ne!(reply, Reply::new(Code::OK, "done"));
}

/// RFC 5321 section 4.1.2: "a", "\a" and a are the same name; section 2.4: domains have no case.
#[test]
fn mailboxes_are_equal_when_they_are_the_same_mailbox() {
    let mailbox = |octets: &'static str| Mailbox::new(octets).unwrap();
    assert_eq!(mailbox("\"a\"@b"), mailbox("a@b"));
    assert_eq!(mailbox("\"\\a\"@b"), mailbox("a@B"));
    assert_ne!(mailbox("A@b"), mailbox("a@b"));
    assert_ne!(mailbox("a@b"), mailbox("a@c"));
}

#[test]
fn names_and_domains_are_compared_as_rfc_5321_says() {
    let mailbox = |octets: &'static str| Mailbox::new(octets).unwrap();
    assert_eq!(mailbox("\"\\a\"@b").local_part(), mailbox("a@b").local_part());
    assert_ne!(mailbox("A@b").local_part(), mailbox("a@b").local_part());
    assert_eq!(mailbox("a@Example.ORG").host(), Host::Domain(Domain::new("eXAMPLE.org").unwrap()));
    assert_ne!(Domain::new("example.org").unwrap(), Domain::new("example.com").unwrap());
    assert_eq!(Mechanism::new("plain").unwrap(), Mechanism::PLAIN);
}

#[test]
fn what_is_too_long_cannot_be_made() {
    let of = |len: usize| "x".repeat(len);
    let domain = |len: usize| [of(63), of(63), of(63), of(len - 3 * 64)].join(".");
    assert!(Domain::new(&domain(255)).is_ok() && Domain::new(&format!("{}.a", domain(254))).is_err());
    assert!(Domain::new(&of(63)).is_ok() && Domain::new(&of(64)).is_err());
    assert!(Mailbox::new(&format!("{}@b", of(64))).is_ok() && Mailbox::new(&format!("{}@b", of(65))).is_err());
    // RFC 5321 section 4.5.3.1.3: 256 octets with the brackets.
    let path = |len: usize| format!("MAIL FROM:<a@{}>", domain(len - 4));
    assert!(Command::parse(path(256).as_bytes()).is_ok() && Command::parse(path(257).as_bytes()).is_err());
    assert!(ClientName::new(&of(255)).is_ok() && ClientName::new(&of(256)).is_err());
    assert!(Mechanism::new(&of(20)).is_ok() && Mechanism::new(&of(21)).is_err());
    let many = |count: usize| (0..count).map(|at| format!("P{at}")).collect::<Vec<_>>().join(" ");
    assert!(Parameters::new(&many(64)).is_ok() && Parameters::new(&many(65)).is_err());
    assert_eq!(
        Command::parse(format!("MAIL FROM:<> {}", many(100)).as_bytes()).unwrap_err().reply().code().as_u16(),
        501
    );
}

/// RFC 1870 section 3: one to twenty digits, and what is too much for us is more than we take.
#[test]
fn a_size_of_twenty_digits_is_a_size() {
    let parameters = Parameters::new("SIZE=99999999999999999999").unwrap();
    assert_eq!(parameters.size(), Some(u64::MAX));
}

/// RFC 5321 section 4.1.1.1 and the extensions' own documents.
#[test]
fn capabilities_are_read_in_any_case_and_what_is_unknown_is_kept() {
    let parse = |line: &'static str| Capability::parse(line.as_bytes());
    assert_eq!(parse("pipelining"), Capability::Pipelining);
    assert_eq!(parse("8bitMIME"), Capability::EightBitMime);
    assert_eq!(parse("Size"), Capability::Size(None));
    assert_eq!(parse("SIZE 0"), Capability::Size(Some(0)));
    assert_eq!(parse("SIZE 18446744073709551615"), Capability::Size(Some(u64::MAX)));
    for (line, keyword, parameters) in [
        ("X-NEW", "X-NEW", None),
        ("x-new one two", "x-new", Some("one two")),
        ("SIZE x", "SIZE", Some("x")),
        ("AUTH=PLAIN LOGIN", "AUTH=PLAIN", Some("LOGIN")),
        ("AUTH", "AUTH", None),
        ("", "", None),
        (" SIZE", "", Some("SIZE")),
    ] {
        let other = Capability::Other { keyword: keyword.as_bytes(), parameters: parameters.map(str::as_bytes) };
        assert_eq!(parse(line), other, "{line:?}");
    }
    let Capability::Auth(mechanisms) = parse("auth PLAIN  login waytoolongforamechanism SCRAM-SHA-256") else {
        panic!()
    };
    assert_eq!(mechanisms.iter().collect::<Vec<_>>(), [Mechanism::PLAIN, Mechanism::LOGIN, Mechanism::SCRAM_SHA_256]);
    assert!(mechanisms.contains(Mechanism::LOGIN) && !mechanisms.contains(Mechanism::OAUTHBEARER));
}

/// RFC 6531 section 3.1: the client must ignore any parameters of this keyword.
#[test]
fn smtputf8_is_known_whatever_follows_it() {
    assert_eq!(Capability::parse(b"SMTPUTF8 someday"), Capability::SmtpUtf8);
}
