//! What the peers do with the same octets, and what of it is compared.

use pop3_codec::parse;
use pop3_codec::types::{Command, Response};
use rfc1939::transaction::response;
use sawp::parser::{Direction, Parse};
use sawp_pop3::{InnerMessage, Keyword, Message, POP3};

use crate::checksum::Checksum;

pub(super) fn pop3_codec_commands(input: &[u8]) -> u64 {
    let (mut sum, mut rest) = (Checksum::default(), input);
    while let Ok((left, command)) = parse::command(rest) {
        match &command {
            Command::User(text) | Command::Pass(text) => sum.add_len(text.as_bytes()),
            Command::Top { msg, n } => {
                sum.add((*msg).into());
                sum.add((*n).into());
            }
            Command::Dele { msg } | Command::List { msg } | Command::Retr { msg } | Command::Uidl { msg } => {
                sum.add((*msg).into());
            }
            Command::ListAll | Command::UidlAll => sum.add(0),
            Command::Stat => sum.add(1),
            Command::Noop => sum.add(2),
            Command::Quit => sum.add(3),
            _ => sum.add(4),
        }
        rest = left;
    }
    sum.value()
}

pub(super) fn pop3_codec_scan_listings(input: &[u8]) -> u64 {
    let mut sum = Checksum::default();
    if let Ok((_, Response::Ok(listing))) = parse::response_list_all(input) {
        for line in &listing.body {
            sum.add(line.message_id.into());
            sum.add(line.message_size.into());
        }
    }
    sum.value()
}

pub(super) fn pop3_codec_unique_ids(input: &[u8]) -> u64 {
    let mut sum = Checksum::default();
    if let Ok((_, Response::Ok(listing))) = parse::response_uidl_all(input) {
        for line in &listing.body {
            sum.add(line.message_id.into());
            sum.add_len(line.message_uid.as_bytes());
        }
    }
    sum.value()
}

pub(super) fn pop3_codec_message(input: &[u8]) -> u64 {
    let Ok((_, Response::Ok(message))) = parse::response_retr(input) else { return 0 };
    let unstuffed = |line: &str| line.len() - usize::from(line.starts_with('.')) + 2;
    message.body.iter().map(|line| unstuffed(line) as u64).sum()
}

fn sawp(input: &[u8], direction: Direction) -> Option<(&[u8], InnerMessage)> {
    match (POP3 {}).parse(input, direction) {
        Ok((rest, Some(Message { inner, .. }))) => Some((rest, inner)),
        _ => None,
    }
}

pub(super) fn sawp_commands(input: &[u8]) -> u64 {
    let (mut sum, mut rest) = (Checksum::default(), input);
    while let Some((left, InnerMessage::Command(command))) = sawp(rest, Direction::ToServer) {
        let argument = command.args.first().map_or(&b""[..], Vec::as_slice);
        match command.keyword {
            Keyword::USER | Keyword::PASS => sum.add_len(argument),
            Keyword::TOP => {
                sum.add(number(argument));
                sum.add(number(&command.args[1]));
            }
            Keyword::DELE | Keyword::LIST | Keyword::RETR | Keyword::UIDL => sum.add(number(argument)),
            Keyword::STAT => sum.add(1),
            Keyword::NOOP => sum.add(2),
            Keyword::QUIT => sum.add(3),
            _ => sum.add(4),
        }
        rest = left;
    }
    sum.value()
}

fn sawp_lines(input: &[u8], mut take: impl FnMut(&[u8])) {
    if let Some((_, InnerMessage::Response(response))) = sawp(input, Direction::ToClient) {
        response.data.iter().for_each(|line| take(line));
    }
}

/// The words of a line, its number read.
fn listed(line: &[u8]) -> (u64, &[u8]) {
    let at = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
    (number(&line[..at]), line.get(at + 1..).unwrap_or_default())
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit & 15))
}

pub(super) fn sawp_scan_listings(input: &[u8]) -> u64 {
    let mut sum = Checksum::default();
    sawp_lines(input, |line| {
        let (message, octets) = listed(line);
        sum.add(message);
        sum.add(number(octets));
    });
    sum.value()
}

pub(super) fn sawp_unique_ids(input: &[u8]) -> u64 {
    let mut sum = Checksum::default();
    sawp_lines(input, |line| {
        let (message, id) = listed(line);
        sum.add(message);
        sum.add_len(id);
    });
    sum.value()
}

pub(super) fn sawp_message(input: &[u8]) -> u64 {
    let mut size = 0;
    sawp_lines(input, |line| size += line.len() as u64 + 2);
    size
}

pub(super) fn rfc1939_scan_listings(input: &[u8]) -> u64 {
    let mut sum = Checksum::default();
    for (message, octets) in response::list(input).map(|list| list.informations).unwrap_or_default() {
        sum.add(message as u64);
        sum.add(octets as u64);
    }
    sum.value()
}

pub(super) fn rfc1939_unique_ids(input: &[u8]) -> u64 {
    let mut sum = Checksum::default();
    for (message, id) in response::uidl(input).map(|list| list.informations).unwrap_or_default() {
        sum.add(message as u64);
        sum.add_len(id);
    }
    sum.value()
}

/// The message comes without its last CRLF and with the stuffed dots.
pub(super) fn rfc1939_message(input: &[u8], stuffed: usize) -> u64 {
    let message = response::retr(input).and_then(|retr| retr.message);
    message.map_or(0, |message| (message.len() + 2 - stuffed) as u64)
}
