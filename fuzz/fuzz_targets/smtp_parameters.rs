//! Parameters of MAIL and RCPT that are read from any octets are written as they were read; and what is read of them, given to a list, is read
//! again from what the list writes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_smtp_proto::{AuthParameter, Command, ForwardPath, ParameterList, Parameters, ReversePath};

fuzz_target!(|octets: &[u8]| {
    let Ok(parameters) = Parameters::new(octets) else { return };
    assert_eq!(parameters.as_bytes(), octets);
    assert!(!octets.iter().any(u8::is_ascii_control));
    let to = ForwardPath::new("<a@b>").expect("a path");
    for command in [Command::Mail { from: ReversePath::Null, parameters }, Command::Rcpt { to, parameters }] {
        let mut out = Vec::new();
        command.encode(&mut out);
        let line = out.strip_suffix(b"\r\n").expect("a command ends in CRLF");
        assert_eq!(Command::parse(line), Ok(command));
    }
    assert_eq!(one_by_one(&parameters).as_parameters(), parameters);
    let list = by_meaning(&parameters);
    assert_eq!(meaning(&list.as_parameters()), meaning(&parameters));
    assert!(list.as_parameters().as_bytes().is_ascii());
});

/// Each as it stands.
fn one_by_one(parameters: &Parameters<'_>) -> ParameterList {
    parameters.iter().fold(ParameterList::new(), |list, parameter| {
        assert!(parameters.iter().filter(|other| other.keyword.eq_ignore_ascii_case(parameter.keyword)).count() == 1);
        let value = parameter.value.map(|value| [b"=", value].concat()).unwrap_or_default();
        list.other(&[parameter.keyword, &value].concat()).expect("what was read can be given")
    })
}

/// Each from what it means.
fn by_meaning(parameters: &Parameters<'_>) -> ParameterList {
    let given = "what was read can be given";
    let mut list = ParameterList::new();
    list = parameters.auth().map_or(list.clone(), |auth| list.auth(&auth).expect(given));
    list = parameters.body().map_or(list.clone(), |body| list.body(body));
    list = parameters.deliver_by().map_or(list.clone(), |by| list.deliver_by(by));
    list = parameters.envelope_id().map_or(list.clone(), |id| list.envelope_id(&*id).expect(given));
    list = parameters.hold().map_or(list.clone(), |hold| list.hold(hold).expect(given));
    list = parameters.mt_priority().map_or(list.clone(), |priority| list.mt_priority(priority).expect(given));
    list = parameters.notify().map_or(list.clone(), |notify| list.notify(notify));
    // In the form that any server takes it may be too long: RFC 3461 section 5.4.
    list = parameters.original_recipient().map_or(list.clone(), |original| {
        match list.clone().original_recipient(&original) {
            Ok(list) => list,
            Err(_) => list,
        }
    });
    list = if parameters.prdr() { list.prdr() } else { list };
    list = if parameters.require_tls() { list.require_tls() } else { list };
    list = parameters.ret().map_or(list.clone(), |ret| list.ret(ret));
    list = parameters.size().map_or(list.clone(), |size| list.size(size));
    list = if parameters.smtputf8() { list.smtputf8() } else { list };
    list = parameters.submitter().map_or(list.clone(), |submitter| list.submitter(&submitter).expect(given));
    parameters.valid_since().map_or(list.clone(), |since| list.valid_since(since))
}

fn meaning(parameters: &Parameters<'_>) -> String {
    // A name without a domain is written as nobody.
    let auth = parameters.auth().map(|auth| match auth {
        AuthParameter::Name(_) => AuthParameter::Unknown,
        auth => auth,
    });
    let first = (auth, parameters.body(), parameters.deliver_by(), parameters.envelope_id(), parameters.hold());
    let second = (parameters.mt_priority(), parameters.notify(), parameters.prdr(), parameters.require_tls());
    let third =
        (parameters.ret(), parameters.size(), parameters.smtputf8(), parameters.submitter(), parameters.valid_since());
    let original = parameters.original_recipient().filter(|original| original.address().len() <= 40);
    format!("{first:?} {second:?} {third:?} {original:?}")
}
