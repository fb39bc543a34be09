use postrider_smtp_proto::{Extensions, Mechanism, OtherExtension, Text};

/// Every extension there is, to be offered, and one of the program's own.
pub(crate) fn everything() -> Extensions {
    let line = Text::lossy("X-OWN one two");
    Extensions {
        auth: vec![Mechanism::PLAIN, Mechanism::LOGIN, Mechanism::SCRAM_SHA_256],
        expn: true,
        help: true,
        other: vec![OtherExtension {
            line,
            mail: vec!["X-FROM".to_owned()],
            rcpt: vec!["X-TO".to_owned()],
            ..OtherExtension::default()
        }],
        smtputf8: true,
        starttls: true,
        ..Extensions::default()
    }
}
