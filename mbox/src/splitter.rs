//! Where messages begin and end, from octets that come in any pieces.

use memchr::memmem;

use crate::from_line::{Form, FromLine};
use crate::header::{ContentLength, MAX_NAME, is_field};

/// What a splitter goes by where a line begins with `From `.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// Any such line after a blank line, or at the start of the file, begins a message: qmail's rule. Lengths are not believed.
    BlankRequired,
    /// Any such line with a date begins a message, whatever stands before it: mutt's rule. Lengths are not believed.
    DateEnough,
    /// The evidence is weighed: a blank line before, a date, a header field behind, a `Content-Length` that ends here, and what the lines before
    /// were like. A `Content-Length` is believed if where it ends a message begins, or the file ends.
    #[default]
    Evidence,
}

/// What the caller is to do next.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step<'b> {
    /// Something was found. Drop `consumed` octets from the front of your buffer when you are done with it.
    Event {
        /// Octets of the buffer that are dealt with.
        consumed: usize,
        /// What they are.
        event: Event<'b>,
    },
    /// Append more octets to the same buffer and call again; with `last`, if there are none.
    NeedInput,
    /// A message says how long it is. Give [`Splitter::looked`] the octets of the file from this offset on, [`Splitter::LOOK`] of them or those to the
    /// end of the file; without them, if you cannot look ahead.
    Look {
        /// From the start of the file.
        at: u64,
    },
    /// There is nothing more.
    End,
}

/// A part of the file. All parts together are the file, octet for octet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'b> {
    /// Octets before the first message, which belong to none.
    Junk(&'b [u8]),
    /// A message begins.
    Start {
        /// The line, with its line end.
        line: &'b [u8],
        /// Why it is one.
        why: Why,
    },
    /// Octets of the message, as they are stored.
    Content(&'b [u8]),
    /// The message ends. What was consumed are line ends that part it from the next and belong to none.
    End(End),
    /// Something about the message that a person might judge differently. Consumes nothing.
    Doubt(Doubt),
}

/// Why a line was taken as the start of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// The file, or what is left of it, begins with it.
    First,
    /// The message before says that it ends here.
    Length,
    /// The policy, or the evidence, is enough.
    Line,
}

/// What is known of a message when it has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct End {
    /// Octets of its content to its body: header section and the blank line behind it; all, if there is no body.
    pub header_len: u64,
    /// Octets of its content.
    pub len: u64,
    /// What its `Content-Length` was worth.
    pub length: Length,
}

/// What a `Content-Length` was worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Length {
    /// There is none.
    Absent,
    /// It is right.
    Right,
    /// The policy does not go by it, or the caller could not look ahead.
    Unchecked,
    /// No message begins where it ends, or it is no number.
    Wrong,
}

/// A line that a person might judge differently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Doubt {
    /// Its first octet, from the start of the file.
    pub at: u64,
    /// How it was judged.
    pub what: What,
}

/// How a doubtful line was judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// It begins a message, though there is no blank line before it.
    NoBlankLine,
    /// It is text, though much like the start of a message.
    TakenAsText,
    /// It is text, because the message says that it is longer.
    WithinLength,
}

/// Finds the messages of an mbox file in octets that come in any pieces.
///
/// It holds no octets: what it has not consumed, about 1,100 octets at most, stays in the caller's buffer and is given again with more behind it.
/// What is found does not depend on how the octets are cut.
#[derive(Clone, Debug)]
pub struct Splitter {
    policy: Policy,
    finder: memmem::Finder<'static>,
    /// Offset of the buffer's first octet.
    at: u64,
    junk: u64,
    /// Octets at the front of the buffer that were searched and are content.
    searched: usize,
    /// The octet before the buffer; before a message, an LF.
    before: u8,
    state: State,
    message: Message,
    /// What the first message's line is like; those that say less are text.
    usual: Option<Form>,
    /// The line of the last doubt: it is told once.
    doubted: Option<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Before the first message.
    Junk,
    /// A message begins here.
    Start(Why),
    /// In a header section; within a line, or at the start of one.
    Header { within: bool },
    /// Somebody has to look at where the message says that it ends.
    Look { end: u64 },
    /// In a body. Where the message ends, if it has said so and is right.
    Body { end: Option<u64> },
    /// At the end of the file.
    End,
}

/// What is known of the message so far.
#[derive(Clone, Copy, Debug)]
struct Message {
    at: u64,
    header_len: Option<u64>,
    claim: Option<ContentLength>,
    length: Length,
}

/// A line that begins with `From `, with what decides about it.
struct Candidate {
    /// Where it begins.
    at: usize,
    /// Where the blank line before it begins, if there is one.
    blank: Option<usize>,
    form: Form,
}

impl Splitter {
    /// Octets that have to be given to [`Self::looked`], if the file has so many.
    pub const LOOK: usize = 1 + 2 * LINE_END + MAX_FROM_LINE + MAX_NAME;

    /// A splitter for a file from its start.
    pub fn new(policy: Policy) -> Self {
        Self::at(policy, 0)
    }

    /// A splitter for a file from a message on that begins at this offset.
    pub fn at(policy: Policy, at: u64) -> Self {
        Self {
            policy,
            finder: memmem::Finder::new(b"From "),
            at,
            junk: 0,
            searched: 0,
            before: b'\n',
            state: State::Junk,
            message: Message { at, header_len: None, claim: None, length: Length::Absent },
            usual: None,
            doubted: None,
        }
    }

    /// A splitter for the same file from a message on that begins at this offset.
    pub(crate) fn again_at(&self, at: u64) -> Self {
        Self { usual: self.usual, ..Self::at(self.policy, at) }
    }

    /// Offset of the buffer's first octet, from the start of the file.
    pub const fn position(&self) -> u64 {
        self.at
    }

    /// Octets before the first message that belong to none, as far as they were consumed.
    pub const fn junk(&self) -> u64 {
        self.junk
    }

    /// What is at the front of `input`, which begins with what was not consumed before. `last`: it ends with the file.
    pub fn next<'b>(&mut self, input: &'b [u8], last: bool) -> Step<'b> {
        loop {
            let step = match self.state {
                State::Start(why) => Some(self.start(input, last, why)),
                State::Header { within } => self.header(input, last, within),
                State::Look { end } => self.look(input, last, end),
                State::Junk if self.at == 0 && self.searched == 0 => Some(self.mark(input, last)),
                State::Junk | State::Body { end: None } => Some(self.search(input, last)),
                State::Body { end: Some(end) } => self.counted(input, last, end),
                State::End => Some(Step::End),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// Answers [`Step::Look`]: the octets there, none where the file ends before; or `None`. `last`: they end with the file.
    pub fn looked(&mut self, octets: Option<&[u8]>, last: bool) {
        self.checked(octets.map(|octets| octets.split_first().is_some_and(|(_, behind)| is_end(behind, last))));
    }

    /// Whether the message ends where it says, if that could be found out.
    fn checked(&mut self, right: Option<bool>) {
        let State::Look { end } = self.state else { return };
        self.message.length = match right {
            None => Length::Unchecked,
            Some(true) => Length::Right,
            Some(false) => Length::Wrong,
        };
        self.state = State::Body { end: (right == Some(true)).then_some(end) };
    }

    /// The line that begins a message. It was found whole.
    fn start<'b>(&mut self, input: &'b [u8], last: bool, why: Why) -> Step<'b> {
        let Some(len) = line_len(input, last) else { return Step::NeedInput };
        let line = input.get(..len).unwrap_or_default();
        self.usual = self.usual.or_else(|| FromLine::new(line).map(|line| line.form()));
        self.take(input, len);
        self.state = State::Header { within: false };
        self.message = Message { at: self.at, header_len: None, claim: None, length: Length::Absent };
        Step::Event { consumed: len, event: Event::Start { line, why } }
    }

    /// Lines of a header section: to its end, or to the next message where there is none.
    fn header<'b>(&mut self, input: &'b [u8], last: bool, mut within: bool) -> Option<Step<'b>> {
        loop {
            let rest = input.get(self.searched..).unwrap_or_default();
            let whole = memchr::memchr(b'\n', rest).map(|at| at + 1);
            let line = rest.get(..whole.unwrap_or(rest.len())).unwrap_or_default();
            if !within && let Some(step) = self.line(input, last, line) {
                return step;
            }
            match whole {
                Some(len) => self.searched += len,
                None if last => return Some(self.rest(input)),
                // No line that counts is that long: what is there can go.
                None if within || line.len() > MAX_FROM_LINE => {
                    self.state = State::Header { within: true };
                    return Some(self.more(input, input.len()));
                }
                None => return Some(self.more(input, self.searched)),
            }
            within = false;
            self.state = State::Header { within };
        }
    }

    /// A line of a header section from its start, as far as it has come. `None`: go on; `Some(None)`: the state is another.
    #[allow(clippy::option_option, reason = "as the caller of the caller wants it")]
    fn line<'b>(&mut self, input: &'b [u8], last: bool, line: &[u8]) -> Option<Option<Step<'b>>> {
        match line {
            b"\n" | b"\r\n" => {
                let end = self.at + (self.searched + line.len()) as u64;
                self.message.header_len = Some(end - self.message.at);
                self.state = self.claimed(end);
                return Some(None);
            }
            [b'F', b'r', b'o', b'm', b' ', ..] => {
                let at = self.at + self.searched as u64;
                match self.judge(input, last, self.searched) {
                    None => return Some(Some(self.more(input, self.searched))),
                    Some((candidate, true)) => return Some(Some(self.found(input, &candidate))),
                    Some((candidate, false)) if candidate.form == Form::Dated && self.doubted != Some(at) => {
                        self.doubted = Some(at);
                        return Some(Some(self.doubt(self.searched, What::TakenAsText)));
                    }
                    Some(_) => {}
                }
            }
            [b'C' | b'c', .., b'\n'] if line.len() <= MAX_FROM_LINE => {
                if let Some(claim) = ContentLength::parse(line) {
                    self.message.claim = Some(self.message.claim.map_or(claim, |first| first.and(claim)));
                }
            }
            _ => {}
        }
        None
    }

    /// What comes behind a header section that ends at `end`.
    fn claimed(&mut self, end: u64) -> State {
        match (self.message.claim, self.policy) {
            (None, _) => State::Body { end: None },
            (Some(_), Policy::BlankRequired | Policy::DateEnough) => {
                self.message.length = Length::Unchecked;
                State::Body { end: None }
            }
            (Some(claim), Policy::Evidence) => match claim.len().and_then(|len| end.checked_add(len)) {
                Some(end) => State::Look { end },
                None => {
                    self.message.length = Length::Wrong;
                    State::Body { end: None }
                }
            },
        }
    }

    /// Where the message says that it ends, if that is in the buffer or the buffer is the rest of the file.
    fn look<'b>(&mut self, input: &'b [u8], last: bool, end: u64) -> Option<Step<'b>> {
        let ahead = usize::try_from(end - self.at).ok();
        match ahead.and_then(|ahead| input.get(ahead..)) {
            Some(behind) if last || behind.len() >= Self::LOOK => self.checked(Some(is_end(behind, last))),
            None if last => self.checked(Some(false)),
            _ => return Some(Step::Look { at: end - 1 }),
        }
        None
    }

    /// Octets that end where the message says.
    fn counted<'b>(&mut self, input: &'b [u8], last: bool, end: u64) -> Option<Step<'b>> {
        let end = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        if let Some(candidate) = self.candidate(input, last, input.len().min(end)) {
            match candidate {
                Some((candidate, true)) => {
                    self.searched = candidate.at + 5;
                    return Some(self.doubt(candidate.at, What::WithinLength));
                }
                Some(_) => return None,
                None => return Some(self.undecided(input)),
            }
        }
        let Some(behind) = input.get(end..) else {
            let held = held_from(input, self.searched, self.before);
            return Some(if last { self.rest(input) } else { self.more(input, held) });
        };
        let blank = line_ends(behind);
        let rest = behind.get(blank..).unwrap_or_default();
        if rest.starts_with(b"From ") {
            return Some(self.ended(input, end, end + blank, State::Start(Why::Length)));
        }
        if rest.is_empty() && last {
            return Some(self.ended(input, end, end + blank, State::End));
        }
        if !last && (b"From ".starts_with(rest) || rest == b"\r") {
            return Some(self.more(input, end));
        }
        // The file has changed since it was looked at.
        self.message.length = Length::Wrong;
        self.state = State::Body { end: None };
        self.searched = end;
        None
    }

    /// The start of a file, where a byte order mark stands before the first line at times.
    fn mark<'b>(&mut self, input: &'b [u8], last: bool) -> Step<'b> {
        if input.len() < MARK.len() && MARK.starts_with(input) && !last {
            return Step::NeedInput;
        }
        if !input.starts_with(MARK) {
            return self.search(input, last);
        }
        let step = self.more(input, MARK.len());
        self.before = b'\n';
        step
    }

    /// Octets that end where the next message begins.
    fn search<'b>(&mut self, input: &'b [u8], last: bool) -> Step<'b> {
        loop {
            match self.candidate(input, last, input.len()) {
                Some(Some((candidate, true))) => return self.found(input, &candidate),
                Some(Some((candidate, false))) if candidate.form == Form::Dated => {
                    return self.doubt(candidate.at, What::TakenAsText);
                }
                Some(Some(_)) => {}
                Some(None) => return self.undecided(input),
                None if last => return self.rest(input),
                None => return self.more(input, held_from(input, self.searched, self.before)),
            }
        }
    }

    /// The next line in `input[..end]` that begins with `From `, and whether it begins a message; `Some(None)`, if that cannot be said yet. What is
    /// before it, or it itself if it was told, counts as searched.
    #[allow(clippy::option_option, reason = "nothing there, and nothing known yet, are not the same")]
    fn candidate(&mut self, input: &[u8], last: bool, end: usize) -> Option<Option<(Candidate, bool)>> {
        loop {
            let found = self.finder.find(input.get(self.searched..end)?)?;
            let at = self.searched + found;
            self.searched = at;
            let before = at.checked_sub(1).and_then(|before| input.get(before)).unwrap_or(&self.before);
            if *before == b'\n' {
                let judged = self.judge(input, last, at);
                if matches!(judged, Some((_, false))) {
                    self.searched = at + 5;
                }
                return Some(judged);
            }
            self.searched = at + 5;
        }
    }
    /// More is needed to judge the line at which the search stopped.
    fn undecided<'b>(&mut self, input: &'b [u8]) -> Step<'b> {
        let blank = blank_before(input, self.searched, self.before);
        self.more(input, blank.unwrap_or(self.searched))
    }

    /// The line at `at` and whether it begins a message; `None`, if more of the file is needed to say so.
    fn judge(&self, input: &[u8], last: bool, at: usize) -> Option<(Candidate, bool)> {
        let rest = input.get(at..)?;
        let blank = blank_before(input, at, self.before);
        let text = Candidate { at, blank, form: Form::Prose };
        let (line, behind) = rest.split_at_checked(line_len(rest, last)?)?;
        if rest.len() >= MAX_FROM_LINE && !line.ends_with(b"\n") {
            return Some((text, false));
        }
        let Some(form) = FromLine::new(line).map(|line| line.form()) else { return Some((text, false)) };
        let next = Next::of(behind, last)?;
        let first = self.state == State::Junk;
        let begins = match self.policy {
            Policy::BlankRequired => first || blank.is_some(),
            Policy::DateEnough => form == Form::Dated,
            Policy::Evidence => self.weigh(form, first || blank.is_some(), next) >= ENOUGH,
        };
        Some((Candidate { at, blank, form }, begins))
    }

    /// How much speaks for the start of a message.
    fn weigh(&self, form: Form, after_blank: bool, next: Next) -> i32 {
        let form = match form {
            Form::Dated => 3,
            Form::Bare | Form::Hyphen if self.usual == Some(form) => 3,
            // A program writes dates into all of its lines or into none.
            Form::Bare | Form::Hyphen | Form::Word if self.usual == Some(Form::Dated) => 0,
            Form::Bare | Form::Hyphen | Form::Word => 1,
            Form::Prose => -2,
        };
        let next = match next {
            Next::Field => 2,
            Next::Nothing => 1,
            Next::Text => -1,
        };
        form + next + if after_blank { 2 } else { 0 }
    }

    /// A message begins, and the one before it, if there is one, ends.
    fn found<'b>(&mut self, input: &'b [u8], candidate: &Candidate) -> Step<'b> {
        if self.state == State::Junk {
            if candidate.at > 0 {
                return self.more(input, candidate.at);
            }
            self.state = State::Start(Why::First);
            return self.start(input, true, Why::First);
        }
        let at = self.at + candidate.at as u64;
        if candidate.blank.is_none() && self.doubted != Some(at) {
            self.doubted = Some(at);
            return self.doubt(candidate.at, What::NoBlankLine);
        }
        self.ended(input, candidate.blank.unwrap_or(candidate.at), candidate.at, State::Start(Why::Line))
    }

    fn doubt<'b>(&self, at: usize, what: What) -> Step<'b> {
        Step::Event { consumed: 0, event: Event::Doubt(Doubt { at: self.at + at as u64, what }) }
    }

    /// What is left at the end of the file.
    fn rest<'b>(&mut self, input: &'b [u8]) -> Step<'b> {
        if self.state == State::Junk {
            self.searched = input.len();
            let step = self.more(input, input.len());
            return if step == Step::NeedInput { Step::End } else { step };
        }
        let end = blank_before(input, input.len(), self.before).unwrap_or(input.len());
        self.ended(input, end, input.len(), State::End)
    }

    /// The message ends at `end`; behind it are line ends to `behind`.
    fn ended<'b>(&mut self, input: &'b [u8], end: usize, behind: usize, state: State) -> Step<'b> {
        if end > 0 {
            return self.more(input, end);
        }
        let len = self.at - self.message.at;
        let header_len = self.message.header_len.unwrap_or(len).min(len);
        if let (Length::Unchecked, Some(claim)) = (self.message.length, self.message.claim) {
            let right =
                claim.len().is_some_and(|claim| (len - header_len..=len - header_len + behind as u64).contains(&claim));
            self.message.length = if right { Length::Right } else { Length::Wrong };
        }
        self.take(input, behind);
        self.state = state;
        Step::Event { consumed: behind, event: Event::End(End { header_len, len, length: self.message.length }) }
    }

    /// Octets before `end` are done with; if there are none, more are needed.
    fn more<'b>(&mut self, input: &'b [u8], end: usize) -> Step<'b> {
        let octets = match input.get(..end) {
            None | Some([]) => return Step::NeedInput,
            Some(octets) => octets,
        };
        self.take(input, end);
        if self.state != State::Junk {
            return Step::Event { consumed: end, event: Event::Content(octets) };
        }
        self.junk += end as u64;
        Step::Event { consumed: end, event: Event::Junk(octets) }
    }

    fn take(&mut self, input: &[u8], consumed: usize) {
        if let Some(octet) = consumed.checked_sub(1).and_then(|before| input.get(before)) {
            self.before = *octet;
        }
        self.at += consumed as u64;
        self.searched = self.searched.saturating_sub(consumed);
    }
}

/// U+FEFF in UTF-8.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Evidence that is enough.
const ENOUGH: i32 = 5;

/// The longest `From ` line with its line end; a longer one is text. Addresses have up to 320 octets, UUCP's paths had some more.
const MAX_FROM_LINE: usize = 1024;

/// The longest line end.
const LINE_END: usize = 2;

/// What comes behind a line that begins with `From `.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// A header field, or a quoted line that procmail and others leave between them.
    Field,
    /// A blank line, another `From ` line, or the end of the file.
    Nothing,
    Text,
}

impl Next {
    /// `None`, if that cannot be said yet.
    fn of(octets: &[u8], last: bool) -> Option<Self> {
        if matches!(octets, [b'\n', ..] | [b'\r', b'\n', ..])
            || octets.starts_with(b"From ")
            || (octets.is_empty() && last)
        {
            return Some(Self::Nothing);
        }
        if octets.starts_with(b">From ") {
            return Some(Self::Field);
        }
        match is_field(octets) {
            Some(true) => Some(Self::Field),
            // A CR may still become a line end.
            Some(false) if octets != b"\r" || last => Some(Self::Text),
            None if last => Some(Self::Text),
            _ => None,
        }
    }
}

/// Octets of the line at the front with its line end; `None`, if that has not come.
fn line_len(octets: &[u8], last: bool) -> Option<usize> {
    match memchr::memchr(b'\n', octets.get(..MAX_FROM_LINE).unwrap_or(octets)) {
        Some(at) => Some(at + 1),
        None if last => Some(octets.len()),
        None if octets.len() >= MAX_FROM_LINE => Some(MAX_FROM_LINE),
        None => None,
    }
}

/// Octets of up to two line ends at the front.
fn line_ends(octets: &[u8]) -> usize {
    let line_end = |octets: &[u8]| match octets {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    };
    let first = line_end(octets);
    first + octets.get(first..).map_or(0, line_end)
}

/// Where the blank line begins that ends at `at`, if there is one.
fn blank_before(input: &[u8], at: usize, first: u8) -> Option<usize> {
    let before = input.get(..at)?.strip_suffix(b"\n")?;
    let before = before.strip_suffix(b"\r").unwrap_or(before);
    (*before.last().unwrap_or(&first) == b'\n').then_some(before.len())
}

/// Where that begins at the end of `input` which may become a blank line and the start of a message; what is searched is not.
fn held_from(input: &[u8], searched: usize, first: u8) -> usize {
    let line = memchr::memrchr(b'\n', input).map_or(0, |at| at + 1);
    let rest = input.get(line..).unwrap_or_default();
    let begins_line = line > 0 || first == b'\n';
    if !begins_line || !(b"From ".starts_with(rest) || rest == b"\r") {
        return input.len();
    }
    let hold = if rest == b"\r" { line } else { blank_before(input, line, first).unwrap_or(line) };
    hold.max(searched)
}

/// Whether a message may end where these octets begin.
fn is_end(octets: &[u8], last: bool) -> bool {
    let rest = octets.get(line_ends(octets)..).unwrap_or_default();
    let line = rest.split_inclusive(|octet| *octet == b'\n').next();
    match line.map(FromLine::new) {
        None => last,
        Some(line) => line.is_some_and(|line| line.form() != Form::Prose),
    }
}
