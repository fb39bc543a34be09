//! What is to change in a file: which octets are replaced by which. All others stay.

use std::ops::Range;

use crate::entries::Entry;
use crate::fields::{Field, Name};
use crate::metadata::{Base, Flag, Metadata};

/// What is to become of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Edit {
    /// It stays as it is.
    Keep,
    /// It goes.
    Remove,
    /// Its header says this from now on.
    Set(Metadata),
}

/// Octets of the file, and what takes their place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Splice {
    pub(crate) range: Range<u64>,
    pub(crate) octets: Vec<u8>,
}

impl Splice {
    fn keeps_len(&self) -> bool {
        self.range.end - self.range.start == self.octets.len() as u64
    }
}

/// Splices in the order of the file, none within another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Plan {
    pub(crate) splices: Vec<Splice>,
    pub(crate) removed: usize,
    pub(crate) changed: usize,
    /// Among those that stay is one that nobody has seen in a list.
    pub(crate) leaves_new: bool,
}

impl Plan {
    /// Whether what is behind each splice stays where it is.
    pub(crate) fn is_in_place(&self) -> bool {
        self.splices.iter().all(Splice::keeps_len)
    }

    /// Where the file ends, if all there is to do is to end it there.
    pub(crate) fn truncation(&self, end: u64) -> Option<u64> {
        let first = self.splices.first()?.range.start;
        let goes_on = |at: Option<u64>, splice: &Splice| {
            at.filter(|at| splice.range.start == *at && splice.octets.is_empty()).map(|_| splice.range.end)
        };
        (self.splices.iter().fold(Some(first), goes_on)? == end).then_some(first)
    }

    /// Octets of a file of `len` when it is changed.
    pub(crate) fn len_of(&self, len: u64) -> u64 {
        let splices = self.splices.iter();
        splices.fold(len, |len, splice| len + splice.octets.len() as u64 - (splice.range.end - splice.range.start))
    }
}

/// Makes a plan, message by message in the order of the file.
#[derive(Debug)]
pub(crate) struct Planner<'a> {
    plan: Plan,
    /// What the mailbox is to say of itself; `None`: what it says.
    base: Option<&'a Base>,
    /// What it says.
    said: Option<Base>,
    /// The next message is the first of the file.
    first: bool,
    /// The message that says it from now on has come.
    carried: bool,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(base: Option<&'a Base>) -> Self {
        Self { plan: Plan::default(), base, said: None, first: true, carried: false }
    }

    /// The next message, and what is to become of it; c-client's internal one stays, whatever is asked.
    pub(crate) fn add(&mut self, entry: &Entry, edit: impl FnOnce(&Entry) -> Edit) {
        let first = std::mem::take(&mut self.first);
        if first {
            self.said.clone_from(&entry.base);
        }
        if first && entry.is_internal() {
            self.carried = true;
            if let Some(base) = self.base.filter(|base| Some(*base) != entry.base.as_ref()) {
                let text = |_| Lines::of(entry).base(b"X-IMAP: ", Some(base));
                self.plan.replace(entry, |name| matches!(name, Name::XImap | Name::XImapBase), text);
            }
            return;
        }
        let metadata = match edit(entry) {
            Edit::Remove => {
                self.plan.removed += 1;
                return self.plan.splices.push(Splice { range: entry.at..entry.next, octets: Vec::new() });
            }
            Edit::Set(metadata) => metadata,
            Edit::Keep => entry.metadata.clone(),
        };
        let seen = metadata.flags.contains(Flag::SEEN) || metadata.flags.contains(Flag::OLD);
        self.plan.leaves_new |= !seen;
        let carries = !std::mem::replace(&mut self.carried, true);
        // What senders wrote into any other message counts for nothing, and goes when its header is written anew.
        let base = if carries { self.base.or(self.said.as_ref()) } else { None };
        let changes = metadata != entry.metadata;
        if changes || carries && base != entry.base.as_ref() {
            self.plan.changed += usize::from(changes);
            let text = |padding| {
                let mut lines = Lines::of(entry).base(b"X-IMAPbase: ", base);
                metadata.write(&mut lines.octets, lines.end, padding);
                lines
            };
            self.plan.replace(entry, |name| !matches!(name, Name::ContentLength | Name::Subject), text);
        }
    }

    pub(crate) fn finish(self) -> Plan {
        self.plan
    }
}

/// Octets of space behind the keywords, so that marks that come later have room.
const PADDING: usize = 64;

impl Plan {
    /// The fields for which `ours` holds give way to `text`, which takes the space behind its keywords: where they were, if they stand together and it
    /// fits there, else at the end of the header section.
    fn replace(&mut self, entry: &Entry, ours: impl Fn(Name) -> bool, text: impl Fn(usize) -> Lines) {
        let header = entry.header();
        let place = |field: &Field| header.start + field.at..header.start + field.at + field.len;
        let places: Vec<_> = entry.fields.iter().filter(|field| ours(field.name)).map(place).collect();
        if let (Some(first), Some(last)) = (places.first(), places.last())
            && places.iter().zip(places.iter().skip(1)).all(|(one, other)| one.end == other.start)
            && let Some(octets) = fitted(last.end - first.start, |padding| text(padding).octets)
        {
            return self.splices.push(Splice { range: first.start..last.end, octets });
        }
        self.splices.extend(places.into_iter().map(|range| Splice { range, octets: Vec::new() }));
        let Lines { mut octets, end } = text(PADDING);
        if !entry.ends_line {
            octets.splice(0..0, end.iter().copied());
        }
        let at = header.end - u64::from(entry.blank_line);
        self.splices.push(Splice { range: at..at, octets });
    }
}

/// `text` with as much space as makes it so long.
fn fitted(len: u64, text: impl Fn(usize) -> Vec<u8>) -> Option<Vec<u8>> {
    let padded = text(1).len() as u64;
    let padding = len.checked_sub(padded).and_then(|more| usize::try_from(more).ok()).map_or(0, |more| more + 1);
    Some(text(padding)).filter(|text| text.len() as u64 == len)
}

/// Lines of a header section.
struct Lines {
    octets: Vec<u8>,
    /// What each ends with.
    end: &'static [u8],
}

impl Lines {
    fn of(entry: &Entry) -> Self {
        Self { octets: Vec::new(), end: if entry.line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" } }
    }

    fn base(mut self, name: &[u8], base: Option<&Base>) -> Self {
        if let Some(base) = base {
            base.write(&mut self.octets, name, self.end);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::Entries;
    use crate::metadata::{Flags, Keyword};
    use crate::reader::Stream;
    use crate::splitter::Policy;
    use proptest::prelude::*;

    fn entries(file: &[u8]) -> Vec<Entry> {
        let mut entries = Entries::new(Stream(file), Policy::default());
        std::iter::from_fn(|| entries.next().unwrap()).collect()
    }

    fn plan(file: &[u8], base: Option<&Base>, edit: impl Fn(usize, &Entry) -> Edit) -> Plan {
        let mut planner = Planner::new(base);
        for (number, entry) in entries(file).iter().enumerate() {
            planner.add(entry, |entry| edit(number, entry));
        }
        planner.finish()
    }

    fn applied(file: &[u8], plan: &Plan) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), 0);
        for Splice { range, octets } in &plan.splices {
            let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
            out.extend_from_slice(&file[at..start]);
            out.extend_from_slice(octets);
            at = end;
        }
        out.extend_from_slice(&file[at..]);
        assert_eq!(out.len() as u64, plan.len_of(file.len() as u64));
        out
    }

    fn text(octets: &[u8]) -> String {
        String::from_utf8(octets.to_vec()).unwrap()
    }

    fn set(flags: &[Flag]) -> Edit {
        Edit::Set(Metadata { uid: Some(3), flags: flags.iter().copied().collect(), keywords: Vec::new() })
    }

    const BASE: Base = Base { uid_validity: 7, uid_last: 3, keywords: Vec::new() };

    #[test]
    fn the_first_marks_go_to_the_end_of_the_header_with_room_for_more() {
        let file = b"From a Thu Jan  1 00:00:00 1970\nSubject: x\n\nHello.\n\n";
        let first = plan(file, Some(&BASE), |_, _| set(&[Flag::SEEN]));
        let room = " ".repeat(64);
        let written = applied(file, &first);
        let lines = format!("X-IMAPbase: 0000000007 0000000003\nX-UID: 3\nStatus: R\nX-Keywords: {room}\n\nHello.\n\n");
        assert_eq!(text(&written), format!("From a Thu Jan  1 00:00:00 1970\nSubject: x\n{lines}"));
        let more = plan(&written, None, |_, _| set(&[Flag::SEEN, Flag::OLD, Flag::FLAGGED, Flag::ANSWERED]));
        assert!(more.is_in_place() && !first.is_in_place());
        let metadata = entries(&applied(&written, &more))[0].metadata.clone();
        assert_eq!(metadata.flags.to_string(), "RO/AF");
        assert!(plan(&written, None, |_, entry| Edit::Set(entry.metadata.clone())).splices.is_empty());
    }

    #[test]
    fn fields_that_stand_apart_are_brought_together() {
        let file = b"From a Thu Jan  1 00:00:00 1970\r\nStatus: O\r\nSubject: x\r\nX-UID: 3\r\n\r\nHello.\r\n";
        let written = applied(file, &plan(file, None, |_, _| set(&[Flag::DELETED])));
        let room = " ".repeat(64);
        let lines = format!("Subject: x\r\nX-UID: 3\r\nX-Status: D\r\nX-Keywords: {room}\r\n\r\nHello.\r\n");
        assert_eq!(text(&written), format!("From a Thu Jan  1 00:00:00 1970\r\n{lines}"));
    }

    #[test]
    fn when_the_first_message_goes_the_next_says_what_it_said() {
        let file = b"From a Thu Jan  1 00:00:00 1970\nX-IMAPbase: 7 3 key\nX-UID: 1\n\n1\n\nFrom a Thu Jan  1 00:00:00 1970\nX-IMAPbase: 9 9\n\n2\n";
        let removal = plan(file, None, |number, _| if number == 0 { Edit::Remove } else { Edit::Keep });
        let left = entries(&applied(file, &removal));
        assert_eq!((left.len(), removal.removed, removal.changed), (1, 1, 0));
        let base = left[0].base.as_ref().unwrap();
        assert_eq!((base.uid_validity, base.uid_last, base.keywords.len()), (7, 3, 1));
        // What a sender wrote does not count once it stands first.
        let file = &file[file.iter().position(|octet| *octet == b'1').unwrap()..];
        let file = [b"From a Thu Jan  1 00:00:00 1970\n\n", file].concat();
        let file = text(&file).replace("X-IMAPbase: 7 3 key\n", "").into_bytes();
        let removal = plan(&file, None, |number, _| if number == 0 { Edit::Remove } else { Edit::Keep });
        assert_eq!(entries(&applied(&file, &removal))[0].base, None);
    }

    #[test]
    fn the_internal_message_stays_and_says_what_is_new() {
        let internal = "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 0000000005 0000000001\nStatus: RO\n\nThis text.\n\n";
        let file = format!("{internal}From a Thu Jan  1 00:00:00 1970\nX-UID: 1\n\n1\n\n").into_bytes();
        let all = plan(&file, Some(&BASE), |_, _| Edit::Remove);
        assert_eq!((all.removed, all.truncation(file.len() as u64)), (1, None));
        assert_eq!(text(&applied(&file, &all)), internal.replace("5 0000000001", "7 0000000003"));
        let all = plan(&file, None, |_, _| Edit::Remove);
        assert_eq!(all.truncation(file.len() as u64), Some(internal.len() as u64));
    }

    #[test]
    fn a_file_ends_where_all_behind_goes() {
        let file = b"From a Thu Jan  1 00:00:00 1970\n\n1\n\nFrom a Thu Jan  1 00:00:00 1970\n\n2\n\n";
        let end = file.len() as u64;
        assert_eq!(plan(file, None, |_, _| Edit::Remove).truncation(end), Some(0));
        let second = plan(file, None, |number, _| if number == 1 { Edit::Remove } else { Edit::Keep });
        assert_eq!(second.truncation(end), Some(end / 2));
        let first = plan(file, None, |number, _| if number == 0 { Edit::Remove } else { Edit::Keep });
        assert_eq!(first.truncation(end), None);
    }

    #[test]
    fn what_has_no_blank_line_or_no_line_end_gets_whole_lines() {
        for (file, before) in [
            (&b"From a Thu Jan  1 00:00:00 1970\n"[..], ""),
            (b"From a Thu Jan  1 00:00:00 1970\nSubject: x", "Subject: x\n"),
            (b"From a Thu Jan  1 00:00:00 1970\nSubject: x\n", "Subject: x\n"),
        ] {
            let written = applied(file, &plan(file, None, |_, _| set(&[Flag::SEEN])));
            let lines = format!("{before}X-UID: 3\nStatus: R\nX-Keywords: {}\n", " ".repeat(64));
            assert_eq!(text(&written), format!("From a Thu Jan  1 00:00:00 1970\n{lines}"));
        }
    }

    proptest! {
        /// Whatever stands in a file: what was set is read again, all else is as it was, and no message is lost or doubled.
        #[test]
        fn what_was_set_is_read_again_and_all_else_stays(
            messages in proptest::collection::vec((proptest::collection::vec(prop_oneof![
                Just("Subject: s\n"), Just("X-UID: 2\n"), Just("Status: R\n"), Just("X-Status: F\n"), Just("X-Keywords: a b \n"), Just("X-Keywords: \n"),
                Just("X-IMAPbase: 9 9\n"), Just("X-IMAPbase: 0000000004 0000000005 k\n"), Just("Content-Length: 3\n"), Just("X-Other: a\n b\n"),
            ], 0..7), any::<bool>(), 0..4_u8, 0..4_u64, any::<bool>()), 1..5),
        ) {
            let mut file = Vec::new();
            for (fields, blank, ..) in &messages {
                file.extend_from_slice(b"From a Thu Jan  1 00:00:00 1970\n");
                file.extend(fields.concat().bytes());
                file.extend_from_slice(if *blank { b"\nA.\n\n" } else { b"\n" });
            }
            let metadata = |number: usize| {
                let (_, _, uid, letters, keyword) = messages[number];
                let flags: Flags = [Flag::SEEN, Flag::FLAGGED].into_iter().enumerate().filter(|(n, _)| letters >> n & 1 == 1).map(|(_, flag)| flag).collect();
                let keywords = keyword.then(|| Keyword::new(b"word").unwrap()).into_iter().collect();
                Metadata { uid: (uid > 0).then_some(u32::from(uid)), flags, keywords }
            };
            let edit = |number: usize, _: &Entry| match messages[number].2 {
                3 => Edit::Remove,
                _ => Edit::Set(metadata(number)),
            };
            let written = applied(&file, &plan(&file, Some(&BASE), edit));
            let kept: Vec<_> = (0..messages.len()).filter(|number| messages[*number].2 != 3).collect();
            let (before, after) = (entries(&file), entries(&written));
            prop_assert_eq!(after.len(), kept.len());
            let range = |octets: &[u8], range: Range<u64>| octets[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec();
            for (entry, number) in after.iter().zip(kept) {
                prop_assert_eq!(&entry.metadata, &metadata(number));
                prop_assert_eq!(range(&written, entry.body()), range(&file, before[number].body()));
                let others = |octets: &[u8], entry: &Entry| text(&range(octets, entry.header())).lines()
                    .filter(|line| !["X-UID", "Status", "X-Status", "X-Keywords", "X-IMAP"].iter().any(|name| line.starts_with(name)))
                    .map(str::to_owned).collect::<Vec<_>>();
                prop_assert_eq!(others(&written, entry), others(&file, &before[number]));
            }
            if let Some(first) = after.first() {
                prop_assert_eq!(first.base.as_ref(), Some(&BASE));
            }
            let again = plan(&written, None, |number, _| match after.get(number) { Some(entry) => Edit::Set(entry.metadata.clone()), None => Edit::Keep });
            prop_assert!(again.splices.is_empty());
        }
    }
}
