//! Whole conversations, through both roles, cut at every octet: the same happens.

#[path = "support/everything.rs"]
mod everything;
#[path = "support/replay.rs"]
mod replay;

use everything::everything;
use replay::{Cut, Record, Turn, conversations, through_client, through_server};

fn at_every_cut(role: fn(&[Turn], Cut) -> Record) {
    for (name, turns) in conversations() {
        let whole = role(&turns, Cut::At(0));
        for cut in Cut::all(&turns) {
            assert_eq!(role(&turns, cut), whole, "{name} with {cut:?}");
        }
    }
}

#[test]
fn a_server_hears_and_says_the_same_at_every_cut() {
    at_every_cut(through_server);
}

#[test]
fn a_client_says_and_hears_the_same_at_every_cut() {
    at_every_cut(through_client);
}

#[test]
fn clients_close_after_quit_and_after_a_refused_greeting() {
    for (name, turns) in conversations() {
        let record = through_client(&turns, Cut::At(0));
        assert_eq!(record.lines.last().map(String::as_str), Some("Closed"), "{name}");
    }
}

/// Conversations with lines that our client refuses to say are named; in all others it says every line.
#[test]
fn most_of_what_clients_say_is_said_by_our_client_too() {
    for (name, turns) in conversations() {
        let said = through_client(&turns, Cut::At(0)).lines;
        let answers = said.iter().filter(|line| line.starts_with("Response")).count();
        let asked = turns.iter().map(|turn| if let Turn::Client(lines) = turn { lines.len() } else { 0 }).sum();
        let unsaid = ["unknown", "place", "syntax", "refused", "offered", "stls", "utf8-lang", "user-pass", "sasl"];
        if !unsaid.iter().any(|part| name.contains(part)) {
            assert_eq!(answers, asked, "{name}");
        }
    }
}

/// What has a wrong form or place is refused by the connection; what is merely not granted is the program's to refuse.
#[test]
fn a_program_sees_no_command_that_is_refused_for_its_form_or_place() {
    let by_connection =
        ["apop-not-offered", "auth-syntax", "out-of-place", "refused", "top-syntax", "unknown-commands"];
    let by_both = [("sasl", 1), ("stls", 2), ("user-pass", 1), ("utf8-lang", 1)];
    for (name, turns) in conversations() {
        let events = through_server(&turns, Cut::At(0)).lines;
        let rejected = events.iter().filter(|event| event.starts_with("Rejected(")).count();
        let answers =
            turns.iter().skip(1).filter_map(|turn| if let Turn::Server(lines) = turn { Some(lines) } else { None });
        let refusals = answers.flatten().filter(|line| line.starts_with(b"-ERR")).count();
        let some = by_both.iter().find(|(some, _)| *some == name).map_or(0, |(_, count)| *count);
        let expected = if by_connection.contains(&name.as_str()) { refusals } else { some };
        assert_eq!(rejected, expected, "{name}: {refusals} refusals");
    }
}

#[test]
fn each_conversation_says_in_its_first_line_what_it_shows() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/pop3");
    for (name, _) in conversations() {
        let text = std::fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap_or_default();
        let headers = text.lines().filter(|line| line.starts_with('#')).count();
        assert!(text.starts_with("# ") && headers == 1, "{name}");
    }
}
