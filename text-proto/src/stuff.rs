//! Content that ends with a line of one dot, as it is sent.

use alloc::vec::Vec;

use fearless_simd::prelude::*;

use crate::blocks::{BLOCK, bits, first_odd, vector, widest};
use crate::stray::Disturbed;

/// Prepares content for the wire: every line ends in CRLF, a line that begins with a dot gets one more.
///
/// The counterpart of [`Unstuffer`](crate::Unstuffer), with the rules of
/// [RFC 5321 section 4.5.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.2) and
/// [RFC 1939 section 3](https://www.rfc-editor.org/rfc/rfc1939#section-3). Files keep messages with LF or with
/// CRLF; either becomes CRLF. A CR that stands alone stays as it is. Whatever the content, what comes out contains no
/// line of one dot before [`finish`](Self::finish) writes it.
///
/// ```
/// use postrider_text_proto::Stuffer;
///
/// let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
/// stuffer.stuff(b"Subject: dots\n\n.\n", &mut out);
/// stuffer.finish(&mut out);
/// assert_eq!(out, b"Subject: dots\r\n\r\n..\r\n.\r\n");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stuffer(Position);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    #[default]
    LineStart,
    Within,
    AfterCr,
}

impl Position {
    fn after(self, sent: &[u8]) -> Self {
        match sent.last() {
            None => self,
            Some(b'\n') => Self::LineStart,
            Some(b'\r') => Self::AfterCr,
            Some(_) => Self::Within,
        }
    }
}

impl Stuffer {
    /// A stuffer before the first octet of some content.
    pub const fn new() -> Self {
        Self(Position::LineStart)
    }

    /// Appends `content` to `out`, ready for the wire.
    pub fn stuff(&mut self, content: &[u8], out: &mut Vec<u8>) {
        out.reserve(content.len());
        let (mut rest, mut piece) = (content, PIECE);
        while let Some(first) = rest.first() {
            match (self.0, first) {
                (Position::LineStart, b'.') => out.push(b'.'),
                (Position::LineStart | Position::Within, b'\n') => out.push(b'\r'),
                _ => {}
            }
            let mut len = undisturbed(rest);
            if len < LINE && rest.len() > 2 * LINE {
                len = put_lines(rest.get(..piece).unwrap_or(rest), out);
                piece = LONG_PIECE.min(2 * piece);
            } else {
                out.extend_from_slice(rest.get(..len).unwrap_or_default());
                piece = PIECE;
            }
            let (taken, left) = rest.split_at_checked(len).unwrap_or((rest, b""));
            self.0 = self.0.after(taken);
            rest = left;
        }
    }

    /// `content` ready for the wire as pieces of itself, with the octets to add in between.
    ///
    /// For vectored writes: content with CRLF and without leading dots is one piece. The iterator must be run to its end.
    pub fn spans<'s, 'd>(&'s mut self, content: &'d [u8]) -> Spans<'s, 'd> {
        Spans { stuffer: self, rest: content }
    }

    /// Ends the content: a CRLF if the last line lacks it, then the line of one dot.
    ///
    /// The stuffer is then ready for other content.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.0 != Position::LineStart {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        self.0 = Position::LineStart;
    }
}

/// The pieces of [`Stuffer::spans`].
#[derive(Debug)]
#[must_use = "the stuffer has seen only the pieces taken"]
pub struct Spans<'s, 'd> {
    stuffer: &'s mut Stuffer,
    rest: &'d [u8],
}

/// What goes out next.
enum Piece<'d> {
    Added(u8),
    Own(&'d [u8]),
}

impl<'d> Spans<'_, 'd> {
    #[inline]
    fn next_piece(&mut self) -> Option<Piece<'d>> {
        let position = &mut self.stuffer.0;
        match (*position, self.rest.first()?) {
            (Position::LineStart, b'.') => {
                *position = Position::Within;
                return Some(Piece::Added(b'.'));
            }
            (Position::LineStart | Position::Within, b'\n') => {
                *position = Position::AfterCr;
                return Some(Piece::Added(b'\r'));
            }
            _ => {}
        }
        let (span, rest) = self.rest.split_at_checked(undisturbed(self.rest)).unwrap_or((self.rest, b""));
        *position = position.after(span);
        self.rest = rest;
        Some(Piece::Own(span))
    }
}

impl<'d> Iterator for Spans<'_, 'd> {
    type Item = &'d [u8];

    #[inline]
    fn next(&mut self) -> Option<&'d [u8]> {
        Some(match self.next_piece()? {
            Piece::Added(b'.') => b".",
            Piece::Added(_) => b"\r",
            Piece::Own(span) => span,
        })
    }
}

/// Where something disturbs so soon, it does in most lines: they are copied by [`put_lines`].
const LINE: usize = 128;
/// So many octets at first, since it may be one line only; then twice as many each time, up to a [`LONG_PIECE`].
const PIECE: usize = 1024;
const LONG_PIECE: usize = 16 << 10;

/// Appends the front of `content`, some lines, and says how many octets it took. The first octet goes out as it is.
fn put_lines(content: &[u8], out: &mut Vec<u8>) -> usize {
    let start = out.len();
    // Room to write to block by block; an eighth is for what is added. If that is more, fewer lines are taken.
    out.resize(start + content.len() + content.len() / 8 + ROOM, 0);
    let (taken, put) = put_lines_into(content, out.get_mut(start..).unwrap_or_default());
    out.truncate(start + put);
    taken
}

fn put_lines_into(content: &[u8], room: &mut [u8]) -> (usize, usize) {
    widest!(put_lines_with(content, room))
}

/// A dot that begins what is left is left to be doubled.
#[inline(always)]
fn put_lines_with(simd: impl Simd, content: &[u8], room: &mut [u8]) -> (usize, usize) {
    let dots = |content: &[u8]| usize::from(content.starts_with(b"\n."));
    let (Some(first), Some(space)) = (content.first(), room.first_chunk_mut()) else { return (0, 0) };
    *space = [*first, b'.'];
    let (mut rest, mut put) = (content, 1 + dots(content));
    while let Some(blocks) = rest.first_chunk()
        && let Some(space) = room.get_mut(put..).and_then(<[u8]>::first_chunk_mut)
    {
        put += put_blocks(simd, blocks, space);
        rest = rest.get(BLOCKS * BLOCK..).unwrap_or_default();
    }
    (content.len() - rest.len() + 1, put - dots(rest))
}

/// Blocks copied in a row.
const BLOCKS: usize = 4;
/// A block, the octet before it, and what may be copied behind a line end in it.
const AROUND: usize = 1 + BLOCK + 1 + BLOCK;
/// Blocks, however many octets are added to them, and what may be copied behind the last one.
const ROOM: usize = (BLOCKS + 1) * BLOCK_ROOM;
const BLOCK_ROOM: usize = 4 * BLOCK;

/// Copies blocks with what is to be added, and says how many octets that came to.
#[inline(always)]
fn put_blocks(simd: impl Simd, blocks: &[u8; BLOCKS * BLOCK + AROUND], space: &mut [u8; ROOM]) -> usize {
    let mut put = 0;
    for around in (0..BLOCKS).filter_map(|n| blocks.get(n * BLOCK..)?.first_chunk()) {
        if let Some(space) = space.get_mut(put..).and_then(<[u8]>::first_chunk_mut) {
            put += BLOCK + put_block(simd, around, space);
        }
    }
    put
}

/// Copies a block; and what follows once more, further on, where a line end has octets added before or behind it: so no block waits for where the line
/// ended in the last one. Says how many octets were added.
#[inline(always)]
fn put_block<S: Simd>(simd: S, around: &[u8; AROUND], space: &mut [u8; BLOCK_ROOM]) -> usize {
    let octets = |from: usize| around.get(from..).and_then(<[u8]>::first_chunk);
    let (Some(before), Some(block), Some(next)) = (octets(0), octets(1), octets(2)) else { return 0 };
    let whole = vector(simd, before).simd_eq(b'\r') & !vector(simd, next).simd_eq(b'.');
    let mut places = bits(vector(simd, block).simd_eq(b'\n') & !whole);
    if let Some(copy) = space.first_chunk_mut() {
        *copy = *block;
    }
    let mut added = 0;
    let mut add = |at: usize, octet: u8| {
        if let Some(space) = space.get_mut(at + added..).and_then(<[u8]>::first_chunk_mut::<{ 1 + BLOCK }>)
            && let ([first, copy @ ..], Some(rest)) = (space, octets(1 + at))
        {
            *first = octet;
            *copy = *rest;
        }
        added += 1;
    };
    while places != 0 {
        let at = places.trailing_zeros() as usize;
        if around.get(at) != Some(&b'\r') {
            add(at, b'\r');
        }
        if around.get(at + 2) == Some(&b'.') {
            add(at + 1, b'.');
        }
        places &= places - 1;
    }
    added
}

/// How many octets of `content` go out as they are; its first octet does.
///
/// The first line end tells how the content is kept: with LF alone the next one disturbs too, and with CRLF there may be none for long.
#[inline]
fn undisturbed(content: &[u8]) -> usize {
    first_odd(content, Disturbed).map_or(content.len(), |at| at + 1)
}

/// Counts the octets of content as a peer counts them: each line with its CRLF, without dot-stuffing and final dot.
///
/// POP3 announces this number
/// ([RFC 1939 section 11](https://www.rfc-editor.org/rfc/rfc1939#section-11)), SMTP declares it
/// ([RFC 1870 section 4](https://www.rfc-editor.org/rfc/rfc1870#section-4)).
///
/// ```
/// use postrider_text_proto::WireSize;
///
/// let mut size = WireSize::new();
/// size.add(b"one\ntwo\r\n");
/// size.add(b"three");
/// assert_eq!(size.finish(), 5 + 5 + 7);
/// ```
#[derive(Clone, Debug, Default)]
pub struct WireSize {
    octets: u64,
    position: Position,
}

impl WireSize {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self { octets: 0, position: Position::LineStart }
    }

    /// Counts the next piece of content.
    pub fn add(&mut self, content: &[u8]) {
        let first = content.starts_with(b"\n") && self.position != Position::AfterCr;
        self.octets += content.len() as u64 + u64::from(first) + lone_within(content);
        self.position = self.position.after(content);
    }

    /// The number of octets, a CRLF for the last line counted if it lacks one.
    pub fn finish(self) -> u64 {
        self.octets + if self.position == Position::LineStart { 0 } else { 2 }
    }
}

/// LFs that follow another octet than CR. Blocks are short enough for their count to fit an octet, which makes vector code of the loop.
fn lone_within(content: &[u8]) -> u64 {
    const BLOCK: usize = 255;
    let after = content.get(1..).unwrap_or_default();
    let pairs = content.chunks(BLOCK).zip(after.chunks(BLOCK));
    let count = |(left, right): (&[u8], &[u8])| {
        let lone = left.iter().zip(right).map(|(left, right)| u8::from(*left != b'\r') & u8::from(*right == b'\n'));
        u64::from(lone.fold(0_u8, u8::wrapping_add))
    };
    pairs.map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unstuff::{Unstuffed, Unstuffer};
    use proptest::prelude::*;

    fn stuff(content: &[u8], size: usize) -> Vec<u8> {
        let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
        content.chunks(size).for_each(|piece| stuffer.stuff(piece, &mut out));
        stuffer.finish(&mut out);
        out
    }

    /// What the peer has after reading, and how many octets its end of content left over.
    fn read_back(wire: &[u8]) -> (Vec<u8>, usize) {
        let (mut unstuffer, mut content, mut at) = (Unstuffer::new(), Vec::new(), 0);
        loop {
            match unstuffer.next(&wire[at..]) {
                Unstuffed::Content { consumed, content: piece } => {
                    content.extend_from_slice(piece);
                    at += consumed;
                }
                Unstuffed::End { consumed } => return (content, wire.len() - at - consumed),
                Unstuffed::Incomplete => panic!("no end in {}", wire.escape_ascii()),
            }
        }
    }

    #[test]
    fn leading_dots_are_doubled_and_line_ends_become_crlf_however_content_is_cut() {
        let content = b".\n..x\r\n.y\r\na.\r.\n\n.";
        for size in 1..=content.len() {
            assert_eq!(stuff(content, size), b"..\r\n...x\r\n..y\r\na.\r.\r\n\r\n..\r\n.\r\n", "in pieces of {size}");
        }
    }

    #[test]
    fn an_empty_message_is_the_dot_line_alone() {
        assert_eq!(stuff(b"", 1), b".\r\n");
        assert_eq!(WireSize::new().finish(), 0);
    }

    #[test]
    fn no_blank_line_is_added_to_content_that_ends_in_crlf() {
        assert_eq!(stuff(b"a\r\n", 10), b"a\r\n.\r\n");
        assert_eq!(stuff(b"a\n", 10), b"a\r\n.\r\n");
        assert_eq!(stuff(b"a\r", 10), b"a\r\r\n.\r\n");
    }

    #[test]
    fn content_that_needs_no_change_is_one_piece() {
        let content = b"Subject: x\r\n\r\ntext. more.\r\n";
        assert!(Stuffer::new().spans(content).eq([&content[..]]));
    }

    /// The definition, octet by octet.
    fn stuff_plainly(content: &[u8]) -> Vec<u8> {
        let (mut out, mut before) = (Vec::new(), b'\n');
        for octet in content {
            match (before, octet) {
                (b'\n', b'.') => out.push(b'.'),
                (before, b'\n') if before != b'\r' => out.push(b'\r'),
                _ => {}
            }
            out.push(*octet);
            before = *octet;
        }
        out
    }

    #[test]
    fn long_content_is_stuffed_as_the_definition_says_wherever_its_line_ends_fall() {
        for disturbance in [&b"\n"[..], b"\r\n.", b".\n", b"\r", b"\n.\n", b"\r\n"] {
            for at in (0..40).chain(1000..1050).chain(2040..2060) {
                let mut content = b"a line of some length\r\n".repeat(150);
                content.splice(at..at, disturbance.iter().copied());
                let (mut stuffer, mut out, mut size) = (Stuffer::new(), Vec::new(), WireSize::new());
                stuffer.stuff(&content, &mut out);
                assert_eq!(out, stuff_plainly(&content), "{} at {at}", disturbance.escape_ascii());
                size.add(&content);
                let dots = memchr::memmem::find_iter(&out, "\n..").count() + usize::from(out.starts_with(b".."));
                let open = if out.ends_with(b"\n") { 0 } else { 2 };
                assert_eq!(size.finish(), (out.len() - dots + open) as u64, "{} at {at}", disturbance.escape_ascii());
            }
        }
    }

    #[test]
    fn content_that_is_disturbed_in_every_line_is_stuffed_as_the_definition_says_however_long_it_is() {
        for line in [&b"a line of some length\n"[..], b".a line\r\n", b"a\r\n\n.", b"\n.", b"\n", b"\r"] {
            for len in ((1 << 16)..(1 << 16) + 40).step_by(13) {
                let content: Vec<u8> = line.iter().copied().cycle().take(len).collect();
                let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
                stuffer.stuff(&content, &mut out);
                assert!(out == stuff_plainly(&content), "{len} octets of {}", line.escape_ascii());
            }
        }
    }

    proptest! {
        #[test]
        fn any_content_is_stuffed_as_the_definition_says(content in "(\r\n|\n|\r|\\.|[ab]{1,9}){0,200}") {
            let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
            stuffer.stuff(content.as_bytes(), &mut out);
            prop_assert_eq!(out, stuff_plainly(content.as_bytes()));
        }

        #[test]
        fn the_peer_reads_exactly_one_message_of_the_announced_size(content in "[\r\n.a]{0,24}", size in 1_usize..25) {
            let (received, left_over) = read_back(&stuff(content.as_bytes(), size));
            prop_assert_eq!(left_over, 0);
            let mut wire_size = WireSize::new();
            content.as_bytes().chunks(size).for_each(|piece| wire_size.add(piece));
            prop_assert_eq!(wire_size.finish(), received.len() as u64);
        }

        #[test]
        fn crlf_content_comes_out_as_it_went_in(lines in proptest::collection::vec("[.a\r]{0,3}", 0..8)) {
            let content: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect();
            prop_assert_eq!(read_back(&stuff(&content, content.len().max(1))).0, content);
        }
    }
}
