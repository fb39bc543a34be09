//! A message on its way from the session to the mailboxes: looked at, changed where it is a user's, and stored.

use postrider_smtp_proto::{Code, Reply};
use thiserror::Error;

use crate::delivery::Incoming;
use crate::header::Hops;
use crate::submission::{HeaderTooLarge, Submission};

/// Why a message is refused for what is in it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Its header section is larger than is taken of a user.
    #[error(transparent)]
    HeaderTooLarge(#[from] HeaderTooLarge),
    /// It goes round in a circle.
    #[error("more than {limit} Received fields: the message goes round in a circle")]
    Loop {
        /// How many it may have.
        limit: usize,
    },
}

impl Refusal {
    /// What the client is told.
    pub fn reply(self) -> Reply<'static> {
        match self {
            Self::HeaderTooLarge(_) => {
                Reply::new(Code::TOO_LARGE, "the header section is too large").with_enhanced(5, 3, 4)
            }
            Self::Loop { .. } => {
                Reply::new(Code::TRANSACTION_FAILED, "too many Received fields: it goes round in a circle")
                    .with_enhanced(5, 4, 6)
            }
        }
    }
}

/// A message while it comes in.
#[derive(Debug)]
pub struct Content {
    /// Given up with the first thing that is wrong: what lies on the disk goes at once.
    message: Result<Incoming, Refusal>,
    submission: Option<Submission>,
    hops: Hops,
    max_hops: usize,
}

impl Content {
    /// A message that may have `max_hops` `Received` fields; `submission` where it is a user's.
    pub fn new(message: Incoming, max_hops: usize, submission: Option<Submission>) -> Self {
        Self { message: Ok(message), submission, hops: Hops::default(), max_hops }
    }

    /// Takes a piece of the message as it was on the wire. No CRLF is parted between two pieces.
    pub async fn push(&mut self, piece: &[u8]) {
        self.hops.look_at(piece);
        if self.hops.count() > self.max_hops {
            self.message = Err(Refusal::Loop { limit: self.max_hops });
        }
        let Ok(message) = &mut self.message else { return };
        let Some(submission) = &mut self.submission else { return message.push(piece).await };
        let mut header = Vec::new();
        match submission.pass(piece, &mut header) {
            Ok(body) => {
                message.push(&header).await;
                message.push(body).await;
            }
            Err(error) => self.message = Err(error.into()),
        }
    }

    /// Nothing more comes for a while: frees memory.
    pub fn paused(&mut self) {
        self.message.iter_mut().for_each(Incoming::paused);
    }

    /// The message has ended: stores what is still to come of it.
    pub async fn end(&mut self) {
        if let (Ok(message), Some(submission)) = (&mut self.message, &mut self.submission) {
            let mut rest = Vec::new();
            submission.finish(&mut rest);
            message.push(&rest).await;
        }
    }

    /// What is to be delivered.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub fn into_message(self) -> Result<Incoming, Refusal> {
        self.message
    }
}
