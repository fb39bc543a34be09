use postrider_smtp_proto::{Extensions, Mechanism, OtherExtension, Text};

/// Every extension there is, to be offered, and one of the program's own.
pub(crate) fn everything() -> Extensions {
    let mut extensions = Extensions::default();
    extensions.auth = vec![Mechanism::PLAIN, Mechanism::LOGIN, Mechanism::SCRAM_SHA_256];
    extensions.expn = true;
    extensions.help = true;
    extensions.smtputf8 = true;
    extensions.starttls = true;
    let line = Text::lossy("X-OWN one two");
    extensions.other = vec![OtherExtension { line, mail: vec!["X-FROM".to_owned()], rcpt: vec!["X-TO".to_owned()] }];
    extensions
}
