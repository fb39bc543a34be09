//! What a peer may cost, and what is forgiven.

/// Bounds on what a peer can make a connection accept. The defaults suit a server on the open network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a command line, CRLF included.
    ///
    /// 255: what [RFC 2449 section 4](https://www.rfc-editor.org/rfc/rfc2449#section-4) requires a server with `CAPA` to take.
    pub command: usize,
    /// Octets of a line within `AUTH`, CRLF included.
    ///
    /// 12,288: [RFC 4954 section 4](https://www.rfc-editor.org/rfc/rfc4954#section-4) gives it for SMTP, as the largest message
    /// of a mechanism in use; POP3 names no number.
    pub sasl_line: usize,
    /// Octets of the first line of a response as a client takes it, CRLF included.
    ///
    /// 2,048, four times what [RFC 2449 section 4](https://www.rfc-editor.org/rfc/rfc2449#section-4) allows: servers put long
    /// texts behind `-ERR`.
    pub response: usize,
    /// Octets of one line of a listing as a client takes it, CRLF included.
    ///
    /// 2,048, four times what a capability line may have.
    pub item: usize,
    /// Commands in a row that are refused as malformed, unknown or out of place before the server closes.
    ///
    /// 10: a client that probes for extensions makes two or three.
    pub errors: u32,
    /// Logins that may fail before the server closes.
    ///
    /// 3: enough for a user who mistypes; a guesser has to connect again.
    pub failed_logins: u32,
    /// Commands a client may have sent without an answer.
    ///
    /// 1,000: more gains nothing on any network, and each costs a few octets to remember.
    pub pipelined: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command: 255,
            sasl_line: 12_288,
            response: 2048,
            item: 2048,
            errors: 10,
            failed_logins: 3,
            pipelined: 1000,
        }
    }
}

/// Mistakes of peers that are forgiven. None is by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// More than one space between arguments, and spaces after the last, as in `LIST  1 `. `PASS` keeps every octet.
    pub extra_spaces: bool,
}
