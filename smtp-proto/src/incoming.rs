//! The message as a server takes it in, from `DATA` or from chunks: its dots undone, its line ends judged, its octets counted.

use postrider_text_proto::{Stray, StrayScanner, Unstuffed, Unstuffer};

use crate::error::ContentFault;
use crate::limits::LineEndings;

/// A message that is coming in.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    /// What becomes of a CR or LF alone; nothing in a message that is `BODY=BINARYMIME`.
    line_endings: Option<LineEndings>,
    /// Octets taken.
    limit: u64,
    unstuffer: Unstuffer,
    strays: StrayScanner,
    /// Octets at the front of the buffer that have passed the unstuffer, or belong to a chunk, and are to be normalised still.
    piece: usize,
    size: u64,
    fault: Option<ContentFault>,
    noted: Option<(u64, Stray)>,
    /// A CR that ended a chunk.
    held_cr: bool,
}

/// What stands at the front of the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece<'b> {
    /// A piece of the message.
    Content { consumed: usize, content: &'b [u8] },
    /// The end of the message, or of the chunk.
    End { consumed: usize },
    /// Not known yet.
    Incomplete,
    /// Nothing that is shown.
    Skip { consumed: usize },
}

impl Incoming {
    pub(crate) fn new(line_endings: Option<LineEndings>, limit: u64) -> Self {
        Self {
            line_endings,
            limit,
            unstuffer: Unstuffer::new(),
            strays: StrayScanner::new(),
            piece: 0,
            size: 0,
            fault: None,
            noted: None,
            held_cr: false,
        }
    }

    pub(crate) const fn fault(&self) -> Option<ContentFault> {
        self.fault
    }

    /// Octets so far, one that is held among them.
    pub(crate) fn size(&self) -> u64 {
        self.size.saturating_add(u64::from(self.held_cr))
    }

    pub(crate) const fn holds_cr(&self) -> bool {
        self.held_cr
    }

    /// A chunk of so many octets begins.
    pub(crate) fn expect(&mut self, octets: u64) {
        if self.size().saturating_add(octets) > self.limit {
            self.fault = self.fault.or(Some(ContentFault::TooLarge { limit: self.limit }));
        }
    }

    /// The next piece of a message that ends with a line of one dot.
    #[inline]
    pub(crate) fn data<'b>(&mut self, input: &'b [u8]) -> Piece<'b> {
        if let Some(piece) = self.rest_of_piece(input) {
            return piece;
        }
        let (unstuffed, stray) = if self.seeks_strays() {
            self.unstuffer.next_scanned(input, &mut self.strays)
        } else {
            (self.unstuffer.next(input), None)
        };
        match unstuffed {
            Unstuffed::Content { consumed, content } => self.content(input, consumed, content, stray),
            Unstuffed::End { consumed } => Piece::End { consumed },
            Unstuffed::Incomplete => Piece::Incomplete,
        }
    }

    /// The next piece of a chunk of which `left` octets are to come. A CR behind which nothing has come yet is held, from one chunk to the next if
    /// need be, so that no CRLF is parted.
    pub(crate) fn chunk<'b>(&mut self, input: &'b [u8], left: &mut u64, last: bool) -> Piece<'b> {
        if let Some(piece) = self.rest_of_piece(input) {
            return piece;
        }
        let len = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        if self.held_cr && (len > 0 || *left == 0 && last) {
            return self.held(input, left, last);
        }
        let content = match input.get(..len).unwrap_or_default() {
            [] if *left > 0 => return Piece::Incomplete,
            [] => return Piece::End { consumed: 0 },
            [b'\r'] if *left > 1 => return Piece::Incomplete,
            [b'\r'] => {
                (self.held_cr, *left) = (true, 0);
                return Piece::Skip { consumed: 1 };
            }
            [before @ .., b'\r'] => before,
            piece => piece,
        };
        *left -= content.len() as u64;
        let stray = self.scanned(content);
        self.content(input, content.len(), content, stray)
    }

    /// The CR that was held, with its LF if that is what comes.
    fn held<'b>(&mut self, input: &'b [u8], left: &mut u64, last: bool) -> Piece<'b> {
        self.held_cr = false;
        let with_lf = *left > 0 && input.first() == Some(&b'\n');
        *left -= u64::from(with_lf);
        let content: &[u8] = if with_lf || self.normalises() { b"\r\n" } else { b"\r" };
        let stray = self.scanned(content);
        match self.passed(usize::from(with_lf), content, stray) {
            Piece::Skip { consumed: 0 } => self.chunk(input, left, last),
            piece => piece,
        }
    }

    /// The CR that was held, behind which something else is fetched: it stands alone.
    pub(crate) fn parted<'b>(&mut self) -> Piece<'b> {
        self.held_cr = false;
        let content: &[u8] = if self.normalises() { b"\r\n" } else { b"\r" };
        let stray = self.scanned(content).or_else(|| self.seeks_strays().then_some((self.size, Stray::Cr)));
        self.passed(0, content, stray)
    }

    /// The message has ended: how large it is, what is wrong with it, and the first line end that was noted. It is ready for another.
    pub(crate) fn finish(&mut self) -> (u64, Option<ContentFault>, Option<(u64, Stray)>) {
        let last = if self.seeks_strays() { self.strays.finish() } else { None };
        self.judge(last);
        let Self { size, fault, noted, .. } = *self;
        *self = Self { fault, ..Self::new(self.line_endings, self.limit) };
        (size, fault, noted)
    }

    fn normalises(&self) -> bool {
        self.line_endings == Some(LineEndings::Normalise)
    }

    /// Whether a CR or LF that stands alone makes a difference still: of two the one that comes first counts.
    #[inline]
    fn seeks_strays(&self) -> bool {
        match self.line_endings {
            Some(LineEndings::Reject) => self.fault.is_none(),
            Some(LineEndings::Note) => self.noted.is_none(),
            Some(LineEndings::Normalise) | None => false,
        }
    }

    fn scanned(&mut self, content: &[u8]) -> Option<(u64, Stray)> {
        if self.seeks_strays() { self.strays.scan(content) } else { None }
    }

    /// Of two faults the one that comes first counts, wherever the pieces are cut.
    #[inline]
    fn judge(&mut self, stray: Option<(u64, Stray)>) {
        if self.line_endings == Some(LineEndings::Note) {
            self.noted = self.noted.or(stray);
        } else if let Some((at, stray)) = stray.filter(|(at, _)| *at < self.limit) {
            self.fault = self.fault.or(Some(ContentFault::LineEnding { stray, at }));
        }
    }

    /// A piece as it left the unstuffer, or of a chunk.
    #[inline]
    fn content<'b>(
        &mut self,
        input: &'b [u8],
        consumed: usize,
        content: &'b [u8],
        stray: Option<(u64, Stray)>,
    ) -> Piece<'b> {
        if self.normalises() && self.fault.is_none() {
            return self.normalised(input, consumed - content.len(), content.len());
        }
        self.passed(consumed, content, stray)
    }

    /// A piece as it is shown, unless there is a fault.
    #[inline]
    fn passed<'b>(&mut self, consumed: usize, content: &'b [u8], stray: Option<(u64, Stray)>) -> Piece<'b> {
        self.judge(stray);
        self.grow(content.len());
        if self.fault.is_some() || content.is_empty() {
            return Piece::Skip { consumed };
        }
        Piece::Content { consumed, content }
    }

    /// What is left of a piece that is being normalised.
    #[inline]
    fn rest_of_piece<'b>(&mut self, input: &'b [u8]) -> Option<Piece<'b>> {
        match core::mem::take(&mut self.piece) {
            0 => None,
            len if self.fault.is_none() => Some(self.normalised(input, 0, len)),
            len => {
                self.grow(len);
                Some(Piece::Skip { consumed: len })
            }
        }
    }

    /// The next part of a piece whose stray line ends become CRLF. A piece ends neither in a CR whose LF is to come nor begins with an LF whose CR
    /// is gone, so that it can be judged by itself.
    fn normalised<'b>(&mut self, input: &'b [u8], skipped: usize, len: usize) -> Piece<'b> {
        let piece = input.get(skipped..skipped + len).unwrap_or_default();
        let mut strays = StrayScanner::new();
        let stray = strays.scan(piece).or_else(|| strays.finish());
        let at = stray.map_or(len, |(at, _)| usize::try_from(at).unwrap_or(len));
        let (taken, content) = match (at, stray) {
            (0, Some(_)) => (1, &b"\r\n"[..]),
            (at, _) => (at, piece.get(..at).unwrap_or_default()),
        };
        self.piece = len - taken;
        self.passed(skipped + taken, content, None)
    }

    fn grow(&mut self, octets: usize) {
        self.size = self.size.saturating_add(octets as u64);
        if self.size > self.limit {
            self.fault = self.fault.or(Some(ContentFault::TooLarge { limit: self.limit }));
        }
    }
}
