//! Messages off the disk, piece by piece, on threads that may wait for it.
//!
//! Handing work to such a thread costs more than reading a small message. For a client that fetches one message after the other, several small
//! ones are therefore read at once.

use std::collections::VecDeque;
use std::io::{self, Read};

use postrider_pop3_proto::MessageNumber;
use tokio::task::spawn_blocking;

use crate::driver::Stop;
use crate::maildrop::{Content, Maildrop, MaildropError, Message};

/// How much of a message is read at a time.
const PIECE: u64 = 64 * 1024;

/// How much is read ahead, in octets: what a connection may hold in memory for a client that does not come for it.
const AHEAD: u64 = 64 * 1024;

/// The messages that a session reads.
#[derive(Debug, Default)]
pub struct Retrieval {
    /// The index of the message that comes next if they are fetched in order.
    next: usize,
    ahead: VecDeque<(MessageNumber, Piece)>,
}

/// A piece of a message.
#[derive(Debug)]
pub struct Piece {
    /// Its octets, with line ends as the file has them.
    pub octets: Vec<u8>,
    /// What the pieces after it are read from, unless it is the last.
    rest: Option<Content>,
}

impl Retrieval {
    /// The first piece of a message.
    ///
    /// # Errors
    ///
    /// The outer one when the session cannot go on; the inner one when the message cannot be read.
    pub async fn begin(
        &mut self,
        maildrop: &Maildrop,
        number: MessageNumber,
        message: &Message,
    ) -> Result<Result<Piece, MaildropError>, Stop> {
        let in_order = number.index() == self.next;
        self.next = number.index() + 1;
        while let Some((ahead, piece)) = self.ahead.pop_front() {
            if ahead == number {
                return Ok(Ok(piece));
            }
        }
        let first = reader(message);
        let following =
            maildrop.messages().skip_while(|(other, _)| *other <= number).scan(AHEAD, |left, (other, of)| {
                *left = left.checked_sub(of.octets)?;
                Some((other, reader(of)))
            });
        let following: Vec<_> = if in_order { following.collect() } else { Vec::new() };
        let read = spawn_blocking(move || {
            let first = first();
            // One that cannot be read has its error when it is asked for, and so have those behind it: to find out may take long.
            let ahead = following.into_iter().take_while(|_| first.is_ok());
            let ahead = ahead.map_while(|(number, read)| Some((number, read().ok()?))).collect();
            (first, ahead)
        });
        let (first, ahead) = read.await.map_err(|_| PANICKED)?;
        self.ahead = ahead;
        Ok(first)
    }
}

impl Piece {
    /// The piece after this one, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be read. What was sent so far must not pass for the whole message.
    pub async fn next(self) -> Result<Option<Self>, Stop> {
        let Some(content) = self.rest else { return Ok(None) };
        let read = spawn_blocking(move || Self::read(content, PIECE)).await.map_err(|_| PANICKED)??;
        Ok(Some(read))
    }

    /// Reads up to `most` octets.
    fn read(mut content: Content, most: u64) -> io::Result<Self> {
        let mut octets = Vec::with_capacity(usize::try_from(most).unwrap_or_default());
        let len = content.by_ref().take(most).read_to_end(&mut octets)?;
        Ok(Self { octets, rest: (len as u64 == most).then_some(content) })
    }
}

/// Opens a message and reads its first piece.
fn reader(message: &Message) -> impl FnOnce() -> Result<Piece, MaildropError> + Send + 'static {
    let (mut place, octets) = (message.place(), message.octets);
    move || {
        // One more than there are, to meet the end of a small message at once.
        let read = Piece::read(place.open()?, PIECE.min(octets + 1));
        read.map_err(|source| MaildropError::Read { path: place.path(), source })
    }
}

/// A defect that must not take the other sessions with it.
pub(crate) const PANICKED: Stop = Stop::Session("a task on the blocking pool panicked");
