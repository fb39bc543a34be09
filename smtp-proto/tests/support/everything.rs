use postrider_smtp_proto::{DateTime, Extensions, FutureRelease, Mechanism, OtherExtension, Text};

/// Every extension there is, to be offered, and one of the program's own.
pub(crate) fn everything() -> Extensions {
    let word = |word: &str| vec![word.to_owned()];
    let future_release = DateTime::new("2038-01-19T03:14:07Z").ok();
    Extensions {
        atrn: true,
        auth: vec![Mechanism::PLAIN, Mechanism::LOGIN, Mechanism::SCRAM_SHA_256],
        binary_mime: true,
        burl: Some(Text::lossy("imap")),
        chunking: true,
        conversion: true,
        deliver_by: Some(120),
        dsn: true,
        etrn: true,
        expn: true,
        future_release: future_release.map(|max_moment| FutureRelease { max_seconds: 86_400, max_moment }),
        help: true,
        limits: true,
        mt_priority: Some(Text::lossy("MIXER")),
        mtrk: true,
        no_soliciting: Some(Text::lossy("org.example:ADV")),
        other: vec![OtherExtension {
            line: Text::lossy("X-OWN one two"),
            commands: word("X-DO"),
            mail: word("X-FROM"),
            rcpt: word("X-TO"),
        }],
        prdr: true,
        require_tls: true,
        rrvs: true,
        smtputf8: true,
        starttls: true,
        submitter: true,
        xclient: true,
        xforward: true,
        xverp: true,
        ..Extensions::default()
    }
}
