//! Whole conversations, through both roles, cut at every octet: the same happens.

#[path = "support/everything.rs"]
mod everything;
#[path = "support/replay.rs"]
mod replay;

use everything::everything;
use replay::{Cut, Record, Turn, conversations, through_client, through_server};

/// Servers that ours is not: it refuses `DATA` without a recipient.
const NOT_OUR_SERVER: [&str; 1] = ["rfc2920-nobody-354"];

fn served() -> impl Iterator<Item = (String, Vec<Turn>)> {
    conversations().into_iter().filter(|(name, _)| !NOT_OUR_SERVER.contains(&name.as_str()))
}

fn at_every_cut(role: fn(&[Turn], Cut) -> Record, conversations: impl IntoIterator<Item = (String, Vec<Turn>)>) {
    for (name, turns) in conversations {
        let whole = role(&turns, Cut::At(0));
        for cut in Cut::all(&turns) {
            assert_eq!(role(&turns, cut), whole, "{name} with {cut:?}");
        }
    }
}

#[test]
fn a_server_hears_and_says_the_same_at_every_cut() {
    at_every_cut(through_server, served());
}

#[test]
fn a_client_says_and_hears_the_same_at_every_cut() {
    at_every_cut(through_client, conversations());
}

/// All end with the session but one, which ends where the roles are reversed.
fn end_of(name: &str) -> &'static str {
    if name == "rfc2645-atrn" { "Turned" } else { "Closed" }
}

#[test]
fn both_roles_close_after_quit_after_a_refused_greeting_and_after_421() {
    for (name, turns) in conversations() {
        let record = through_client(&turns, Cut::At(0));
        assert_eq!(record.lines.last().map(String::as_str), Some(end_of(&name)), "{name}");
    }
    for (name, turns) in served() {
        let record = through_server(&turns, Cut::At(0));
        assert_eq!(record.lines.last().map(String::as_str), Some(end_of(&name)), "{name}");
    }
}

/// Conversations with lines that our client refuses to say are named; in all others it says every line.
#[test]
fn most_of_what_clients_say_is_said_by_our_client_too() {
    let unsaid = [
        "auth-refused",
        "auth-challenges",
        "auth-rfc4954",
        "out-of-place",
        "refused-session",
        "parameters",
        "paths-malformed",
        "rfc3207-starttls",
        "size-too-large",
        "smtputf8",
        "starttls-out-of-place",
        "transactions",
        "unknown-commands",
        "rfc1985-etrn",
        "rfc6710-mt-priority",
        "rfc2852-deliverby",
        "8bitmime",
        "rfc4865-futurerelease",
        "dsn-refused",
        "tracking-and-submitter",
        "bdat-out-of-place",
        "xclient",
    ];
    for (name, turns) in conversations() {
        let record = through_client(&turns, Cut::At(0));
        let refused: Vec<_> = record.lines.iter().filter(|line| line.starts_with("unsaid ")).collect();
        assert_eq!(refused.is_empty(), !unsaid.contains(&name.as_str()), "{name}: {refused:?}");
    }
}

/// What has a wrong form or place is refused by the connection; what is merely not granted is the program's to refuse.
#[test]
fn a_program_sees_no_command_that_is_refused_for_its_form_or_place() {
    for (name, turns) in served() {
        let events = through_server(&turns, Cut::At(0)).lines;
        let rejected = events.iter().filter(|event| event.starts_with("Rejected(")).count();
        let answers =
            turns.iter().skip(1).filter_map(|turn| if let Turn::Server(lines) = turn { Some(lines) } else { None });
        let codes =
            ["500", "501", "502", "503", "504", "552 message of", "553 not", "554 no valid", "554 5.5.0 No", "555"];
        let refusals = answers
            .flatten()
            .filter(|line| {
                codes.iter().any(|code| line.starts_with(code.as_bytes())) && !line.ends_with(b"cancelled\r\n")
            })
            .count();
        assert_eq!(rejected, refusals, "{name}");
    }
}

#[test]
fn each_conversation_says_in_its_first_line_what_it_shows() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/smtp");
    for (name, _) in conversations() {
        let text = std::fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap_or_default();
        let headers = text.lines().filter(|line| line.starts_with('#')).count();
        assert!(text.starts_with("# ") && headers == 1, "{name}");
    }
}
