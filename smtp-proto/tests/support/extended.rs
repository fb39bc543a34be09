use postrider_smtp_proto::{DateTime, Extensions, FutureRelease, OtherExtension, Text};

/// Whatever a server can offer, and a command of the program's own.
pub(crate) fn extended() -> Extensions {
    let mut all = crate::everything();
    (all.atrn, all.etrn, all.xclient, all.xforward, all.xverp) = (true, true, true, true, true);
    (all.binary_mime, all.chunking, all.conversion, all.dsn) = (true, true, true, true);
    (all.limits, all.mtrk, all.prdr, all.require_tls, all.rrvs, all.submitter) = (true, true, true, true, true, true);
    (all.burl, all.mt_priority) = (Some(Text::lossy("imap")), Some(Text::lossy("MIXER")));
    (all.deliver_by, all.no_soliciting) = (Some(240), Some(Text::lossy("net.example:ADV")));
    let max_moment = DateTime::new("2030-01-01T00:00:00Z").unwrap();
    all.future_release = Some(FutureRelease { max_seconds: 86_400, max_moment });
    let line = Text::lossy("VERB");
    all.other.push(OtherExtension { line, commands: vec!["VERB".to_owned()], ..OtherExtension::default() });
    all
}
