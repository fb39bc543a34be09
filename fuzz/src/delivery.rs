//! A network that delivers octets in pieces, and choices that come from the fuzzer.

use std::fmt::Debug;

use arbitrary::Arbitrary;
use postrider_text_proto::Step;

/// Sizes of pieces in octets, one after the other and again from the start. 0 is a piece with all that is left.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Cuts([u8; 4]);

impl Cuts {
    /// All in one piece.
    pub const NOWHERE: Self = Self([0; 4]);
    /// Every octet by itself.
    pub const EVERYWHERE: Self = Self([1; 4]);

    /// `octets` cut into pieces, none of them empty.
    pub fn pieces(self, octets: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut left = octets;
        self.0.into_iter().cycle().map_while(move |size| {
            let size = if size == 0 { left.len() } else { left.len().min(size.into()) };
            let (piece, rest) = left.split_at(size);
            left = rest;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// Decisions, one after the other and again from the start.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Choices {
    octets: [u8; 4],
    next: u8,
}

impl Choices {
    /// 0 each time.
    pub const ZERO: Self = Self { octets: [0; 4], next: 0 };

    /// The next decision.
    pub fn take(&mut self) -> u8 {
        let octet = self.octets[usize::from(self.next % 4)];
        self.next = self.next.wrapping_add(1);
        octet
    }
}

/// One of a few possibilities.
pub fn one_of<T: Copy, const N: usize>(octet: u8, all: [T; N]) -> T {
    all[usize::from(octet) % N]
}

/// What became of the front of a receive buffer.
#[derive(Clone, Copy, Debug)]
pub enum Taken {
    /// So many octets can be dropped, and if that is none there was an event.
    Octets(usize),
    /// More octets are needed.
    NotYet,
    /// Nothing more will be taken.
    Over,
}

impl Taken {
    /// What a connection's answer does to the buffer, once `hear` has dealt with its event.
    pub fn by<E>(step: Step<E>, hear: impl FnOnce(E)) -> Self {
        match step {
            Step::Event { consumed, event } => {
                hear(event);
                Self::Octets(consumed)
            }
            Step::Skip { consumed } => {
                assert_ne!(consumed, 0, "a step without progress");
                Self::Octets(consumed)
            }
            Step::NeedInput => Self::NotYet,
            Step::Paused => Self::Over,
        }
    }
}

/// Lets `look` at the front of what has come of `wire`, again after each piece; returns how many octets it did not take.
///
/// Whoever waits for more may hold `most` octets and no more: memory is bounded whatever a peer sends.
pub fn deliver(wire: &[u8], cuts: Cuts, most: usize, mut look: impl FnMut(&[u8]) -> Taken) -> usize {
    let (mut buffer, mut taken) = (Vec::new(), 0);
    for piece in cuts.pieces(wire) {
        buffer.extend_from_slice(piece);
        loop {
            match look(&buffer) {
                Taken::Octets(consumed) => {
                    assert!((0..=buffer.len()).contains(&consumed), "{consumed} of {} octets taken", buffer.len());
                    buffer.drain(..consumed);
                    taken += consumed;
                }
                Taken::NotYet => break,
                Taken::Over => return wire.len() - taken,
            }
        }
        assert!(buffer.len() <= most, "{} octets wait for more", buffer.len());
    }
    wire.len() - taken
}

/// Whatever `run` does with octets, it comes to the same in one piece, cut as `cuts` says, and octet by octet.
pub fn same_at_every_cut<T: Debug + PartialEq>(cuts: Cuts, run: impl Fn(Cuts) -> T) {
    let whole = run(Cuts::NOWHERE);
    for cuts in [cuts, Cuts::EVERYWHERE] {
        assert_eq!(run(cuts), whole, "cut at {cuts:?}");
    }
}
