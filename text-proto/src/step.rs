//! What a connection answers when it is shown the received octets.

/// The answer of a connection's `receive`: what to do next with the receive buffer.
///
/// The caller owns the buffer. A connection looks at its front and says one of these four; nothing is kept
/// inside the connection but a position.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<E> {
    /// Drop `consumed` octets from the front of the buffer when done with `event`, then call again.
    Event {
        /// How many octets at the front of the buffer the event took.
        consumed: usize,
        /// What was received. It borrows the buffer, never the connection.
        event: E,
    },
    /// Drop `consumed` octets from the front of the buffer, then call again: they carry nothing.
    ///
    /// The octets of an over-long line or of a refused body go this way, so that swallowing them costs no memory.
    Skip {
        /// How many octets at the front of the buffer to drop; never 0.
        consumed: usize,
    },
    /// Write out what is owed, append more octets to the same buffer, call again.
    NeedInput,
    /// Our turn: nothing more is decoded before the next `send`, `secured` or close.
    Paused,
}
