//! An SMTP command that is read from any octets is written as one line, which reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_smtp_proto::{AttributeValue, Command, Parameters, Queue, Quirks};

fuzz_target!(|line: &[u8]| {
    let mut forgiving = Quirks::default();
    (forgiving.space_before_path, forgiving.underscore_in_domain) = (true, true);
    for quirks in [Quirks::default(), forgiving] {
        if let Ok(command) = Command::parse_with(line, quirks) {
            let mut out = Vec::new();
            command.encode(&mut out);
            let written = out.strip_suffix(b"\r\n").expect("a command ends in CRLF");
            assert!(!written.iter().any(u8::is_ascii_control), "{}", out.escape_ascii());
            read_every_part(&command);
            assert_eq!(Command::parse_with(written, quirks), Ok(command));
        }
    }
});

/// What is looked at only when somebody asks must not panic either, and may be logged.
fn read_every_part(command: &Command<'_>) {
    let logged = match command {
        Command::Ehlo(name) | Command::Helo(name) | Command::Lhlo(name) => format!("{name} {:?}", name.host()),
        Command::Mail { from, parameters } => format!("{from} {:?} {}", from.mailbox(), values(parameters)),
        Command::Rcpt { to, parameters } => format!("{to} {:?} {}", to.mailbox(), values(parameters)),
        Command::Atrn(Some(domains)) => format!("{domains} {:?}", domains.iter().collect::<Vec<_>>()),
        Command::Burl { url, .. } => url.to_string(),
        Command::Etrn(name) => format!("{name} {}", matches!(name.queue(), Queue::Subdomains(_))),
        Command::Xclient(attributes) | Command::Xforward(attributes) => {
            // Decoded, a value may be anything but a control character of ASCII.
            let known =
                attributes.iter().filter(|attribute| matches!(attribute.value, AttributeValue::Known(_))).count();
            format!("{attributes:?} {known} {:?}", attributes.address())
        }
        command => format!("{command:?}"),
    };
    assert!(!logged.chars().any(char::is_control), "{logged:?}");
}

fn values(parameters: &Parameters<'_>) -> String {
    let (size, body) = (parameters.size(), parameters.body());
    format!("{parameters:?} {size:?} {body:?} {:?} {:?}", parameters.smtputf8(), parameters.auth())
}
