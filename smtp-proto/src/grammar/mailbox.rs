//! Mailboxes as nearly all are, read by an automaton: four instructions an octet and no branch, however short atoms and labels are.
//!
//! ```abnf
//! plain-mailbox = Atom *("." Atom) "@" label *("." label)
//! Atom          = 1*atext
//! label         = Let-dig [Ldh-str]
//! ```

use super::octets::Class;

/// Where the automaton is: the bit at which a row of the table has the state that comes after this one.
type State = u32;

const WRONG: State = 0;
const BEFORE_ATOM: State = 5;
const ATOM: State = 10;
const BEFORE_LABEL: State = 15;
const LABEL: State = 20;
const HYPHEN: State = 25;

/// The bits that one has. Those above are of others.
const STATE: u32 = 31;

/// What an octet does in each state; what is not here is wrong, and stays wrong.
const fn row(octet: u8) -> u32 {
    let (atext, let_dig) = (Class::ATEXT.has(octet), octet.is_ascii_alphanumeric());
    let (dot, hyphen) = (octet == b'.', octet == b'-');
    go(atext, BEFORE_ATOM, ATOM)
        | go(atext, ATOM, ATOM)
        | go(dot, ATOM, BEFORE_ATOM)
        | go(octet == b'@', ATOM, BEFORE_LABEL)
        | go(let_dig, BEFORE_LABEL, LABEL)
        | go(let_dig, LABEL, LABEL)
        | go(hyphen, LABEL, HYPHEN)
        | go(dot, LABEL, BEFORE_LABEL)
        | go(hyphen, HYPHEN, HYPHEN)
        | go(let_dig, HYPHEN, LABEL)
}

const fn go(when: bool, from: State, to: State) -> u32 {
    if when { to << from } else { WRONG << from }
}

static TABLE: [u32; 256] = {
    let (mut rows, mut octet) = ([0; 256], 0);
    while octet < 256 {
        #[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "it is below 256")]
        (rows[octet] = row(octet as u8));
        octet += 1;
    }
    rows
};

#[inline(always)]
fn next(state: State, octet: &u8) -> State {
    #[expect(clippy::indexing_slicing, reason = "the table has a row for every octet")]
    let row = TABLE[usize::from(*octet)];
    row >> (state & STATE)
}

/// Whether all of it is such a mailbox. How long its parts may be is another question.
#[inline]
pub(crate) fn is_plain_mailbox(octets: &[u8]) -> bool {
    let (steps, rest) = octets.as_chunks::<4>();
    let state = steps.iter().fold(BEFORE_ATOM, |state, step| step.iter().fold(state, next));
    rest.iter().fold(state, next) & STATE == LABEL
}
