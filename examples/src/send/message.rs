//! The message: a file, looked at once before it is sent, and then read piece by piece. It is never whole in memory.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::{memchr, memchr2_iter};
use postrider_smtp_proto::{Stray, WireSize};

use super::failure::Failure;

/// Octets read at a time.
const PIECE: usize = 64 * 1024;

/// A message that can be read from any place.
#[derive(Debug)]
pub struct Message {
    file: File,
    path: PathBuf,
    /// Where in the file it begins: a shell may have read what is before.
    start: u64,
    /// What was found when it was looked at.
    pub facts: Facts,
}

/// What a message is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Octets of the file.
    pub len: u64,
    /// Octets on the wire, each line with CRLF, without dot-stuffing.
    pub size: u64,
    /// Whether an octet is not ASCII.
    pub eight_bit: bool,
    /// Whether there is a NUL, which only `BODY=BINARYMIME` carries.
    pub nul: bool,
    /// Whether the header holds UTF-8 beyond ASCII, and nothing but UTF-8.
    pub utf8_header: bool,
    /// The first CR or LF that is not part of a CRLF.
    pub stray: Option<(u64, Stray)>,
}

impl Message {
    /// Opens a file; `None` is standard input. What is no regular file is copied into a temporary one, which no name leads to.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or the copy cannot be made.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let shown = path.unwrap_or(Path::new("standard input")).to_owned();
        let failed = |operation| {
            let path = shown.clone();
            move |source| Failure::File { operation, path, source }
        };
        let mut file = match path {
            Some(path) => File::open(path),
            None => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        }
        .map_err(failed("open"))?;
        if !file.metadata().map_err(failed("open"))?.is_file() {
            file = spool(file).map_err(failed("copy"))?;
        }
        let start = file.stream_position().map_err(failed("read"))?;
        let mut message = Self { file, path: shown.clone(), start, facts: Facts::default() };
        message.look().map_err(failed("read"))?;
        Ok(message)
    }

    fn look(&mut self) -> io::Result<()> {
        let (mut look, mut piece) = (Look::default(), vec![0; PIECE]);
        loop {
            match self.file.read_at(&mut piece, self.start + look.facts.len) {
                Ok(0) => break,
                Ok(len) => look.add(piece.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.facts = look.finish();
        Ok(())
    }

    /// The piece that follows `at` octets, and whether it is the last: at most so many octets.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or the file has become shorter.
    pub fn piece<'p>(&self, at: u64, most: usize, into: &'p mut Vec<u8>) -> Result<(&'p [u8], bool), Failure> {
        let left = self.facts.len.saturating_sub(at);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        into.resize(len, 0);
        let read = self.file.read_exact_at(into, self.start + at);
        read.map_err(|source| Failure::File { operation: "read", path: self.path.clone(), source })?;
        Ok((into, left == len as u64))
    }
}

fn spool(mut from: File) -> io::Result<File> {
    let mut copy = tempfile::tempfile()?;
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => copy.write_all(piece.get(..len).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    copy.rewind()?;
    Ok(copy)
}

/// A message being looked at.
#[derive(Debug)]
struct Look {
    facts: Facts,
    size: WireSize,
    /// CRs that no LF follows.
    lone_crs: u64,
    after_cr: bool,
    header: Header,
}

impl Default for Look {
    fn default() -> Self {
        let header = Header { within: true, empty_line: true, eight_bit: false, utf8: true, cut: Vec::new() };
        Self { facts: Facts::default(), size: WireSize::new(), lone_crs: 0, after_cr: false, header }
    }
}

impl Look {
    fn add(&mut self, piece: &[u8]) {
        self.size.add(piece);
        self.facts.eight_bit |= !piece.is_ascii();
        self.facts.nul |= memchr(0, piece).is_some();
        self.header.add(piece);
        self.line_ends(piece);
        self.facts.len += piece.len() as u64;
    }

    fn line_ends(&mut self, piece: &[u8]) {
        if self.after_cr && piece.first().is_some_and(|first| *first != b'\n') {
            self.stray(Stray::Cr, self.facts.len - 1);
        }
        for at in memchr2_iter(b'\r', b'\n', piece) {
            let place = self.facts.len + at as u64;
            if piece.get(at) == Some(&b'\r') {
                if piece.get(at + 1).is_some_and(|next| *next != b'\n') {
                    self.stray(Stray::Cr, place);
                }
            } else {
                let paired = at.checked_sub(1).map_or(self.after_cr, |before| piece.get(before) == Some(&b'\r'));
                if !paired {
                    self.stray(Stray::Lf, place);
                }
            }
        }
        self.after_cr = piece.last() == Some(&b'\r');
    }

    fn stray(&mut self, stray: Stray, at: u64) {
        self.lone_crs += u64::from(stray == Stray::Cr);
        self.facts.stray = self.facts.stray.or(Some((at, stray)));
    }

    fn finish(mut self) -> Facts {
        // `WireSize` counts a CR that stands alone as one octet, and adds the missing CRLF behind one at the end, which becomes that CRLF itself.
        let size = self.size.clone().finish() + self.lone_crs;
        self.facts.size = if self.after_cr { size - 1 } else { size };
        if self.after_cr {
            self.stray(Stray::Cr, self.facts.len - 1);
        }
        self.facts.utf8_header = self.header.eight_bit && self.header.utf8 && self.header.cut.is_empty();
        self.facts
    }
}

/// The lines before the first empty one.
#[derive(Debug)]
struct Header {
    within: bool,
    /// The line so far has nothing, but for a CR.
    empty_line: bool,
    eight_bit: bool,
    utf8: bool,
    /// The beginning of a character that the end of a piece has cut.
    cut: Vec<u8>,
}

impl Header {
    fn add(&mut self, piece: &[u8]) {
        if !self.within {
            return;
        }
        let end = self.end(piece);
        self.within = end.is_none();
        let part = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
        if part.is_ascii() && self.cut.is_empty() {
            return;
        }
        self.eight_bit = true;
        self.cut.extend_from_slice(part);
        match std::str::from_utf8(&self.cut) {
            Ok(_) => self.cut.clear(),
            Err(error) if error.error_len().is_none() => drop(self.cut.drain(..error.valid_up_to())),
            Err(_) => {
                self.utf8 = false;
                self.cut.clear();
            }
        }
    }

    /// Where the empty line ends.
    fn end(&mut self, piece: &[u8]) -> Option<usize> {
        for (at, octet) in piece.iter().enumerate() {
            match octet {
                b'\n' if self.empty_line => return Some(at + 1),
                b'\n' => self.empty_line = true,
                b'\r' => {}
                _ => self.empty_line = false,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_smtp_proto::client::{Config, Connection};
    use postrider_smtp_proto::{ClientName, Command, LineEndings, Mailbox, Parameters};

    fn facts(content: &[u8], cut: usize) -> Facts {
        let mut look = Look::default();
        content.chunks(cut).for_each(|piece| look.add(piece));
        look.finish()
    }

    /// Octets of a message as a connection sends it; none of the samples has a line that begins with a dot.
    fn sent(content: &[u8]) -> u64 {
        let config = Config { line_endings: LineEndings::Normalise, ..Config::default() };
        let (mut connection, mut out) = (Connection::new(config), Vec::new());
        let _ = connection.receive(b"220 x\r\n").unwrap();
        let to = Mailbox::new("a@b").unwrap();
        for (command, reply) in [
            (Command::Ehlo(ClientName::new("c").unwrap()), &b"250 x\r\n"[..]),
            (Command::Mail { from: to.into(), parameters: Parameters::NONE }, b"250 x\r\n"),
            (Command::Rcpt { to: to.into(), parameters: Parameters::NONE }, b"250 x\r\n"),
            (Command::Data, b"354 x\r\n"),
        ] {
            connection.send(&command, &mut out).unwrap();
            let _ = connection.receive(reply).unwrap();
        }
        out.clear();
        connection.content(content, &mut out).unwrap();
        connection.end_of_content(&mut out).unwrap();
        out.len() as u64 - 3
    }

    #[test]
    fn the_size_is_what_goes_over_the_wire_however_the_file_is_cut() {
        for content in ["a\n", "a", "a\r\nb\nc", "a\rb\n", "a\r", "a\r\r\n", "\r\n\r", "\n\r\n\r\r", "a\r\rb\n\n", "\r"]
        {
            for cut in 1..=content.len() {
                assert_eq!(facts(content.as_bytes(), cut).size, sent(content.as_bytes()), "{content:?} by {cut}");
            }
        }
    }

    #[test]
    fn the_first_stray_line_end_is_found_however_the_file_is_cut() {
        for (content, stray) in [
            ("a\r\nb\r\n", None),
            ("a\r\nb\n", Some((4, Stray::Lf))),
            ("\n", Some((0, Stray::Lf))),
            ("a\rb\n", Some((1, Stray::Cr))),
            ("a\r\n\r", Some((3, Stray::Cr))),
        ] {
            for cut in 1..=content.len() {
                assert_eq!(facts(content.as_bytes(), cut).stray, stray, "{content:?} by {cut}");
            }
        }
    }

    #[test]
    fn only_the_header_decides_about_smtputf8_however_the_file_is_cut() {
        for (content, eight_bit, utf8_header) in [
            (&b"Subject: x\n\nbody\n"[..], false, false),
            (b"Subject: x\n\ngr\xc3\xbcn\n", true, false),
            (b"Subject: gr\xc3\xbcn\r\n\r\n\xff\n", true, true),
            (b"Subject: gr\xfcn\n\n", true, false),
            (b"Subject: \xe2\x82\xac", true, true),
            (b"Subject: \xe2\x82", true, false),
        ] {
            for cut in 1..=content.len() {
                let facts = facts(content, cut);
                assert_eq!((facts.eight_bit, facts.utf8_header), (eight_bit, utf8_header), "{content:?} by {cut}");
            }
        }
        assert!(facts(b"a\0b", 1).nul);
    }
}
