//! What a peer may cost, and what is forgiven.

/// Bounds on what a peer can make a connection accept. The defaults suit a server on the open network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize), serde(default))]
pub struct Limits {
    /// Octets of a command line, CRLF included.
    ///
    /// 4,096: [RFC 5321 section 4.5.3.1.4](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.4) gives 512, and each extension adds to it;
    /// the extensions registered today come to about 2,000 together.
    pub command: usize,
    /// Octets of a line within `AUTH`, and of the `AUTH` command itself as a server takes it, CRLF included.
    ///
    /// 12,288: [RFC 4954 section 4](https://www.rfc-editor.org/rfc/rfc4954#section-4).
    pub sasl_line: usize,
    /// Octets of a message, as they come out of the connection. Announced with `SIZE`; 0 takes no message, which `SIZE` cannot say.
    ///
    /// 50 MiB: what the large providers take, and a little more.
    pub message: u64,
    /// Recipients of a message.
    ///
    /// 1,000: ten times what [RFC 5321 section 4.5.3.1.8](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.8) asks for; mailing lists send in such groups.
    pub recipients: usize,
    /// Commands refused in a row as malformed, unknown or out of place before the server closes.
    ///
    /// 10: a client that probes makes two or three; what makes more is not a mail program.
    pub errors: u32,
    /// Chunks refused since a message was last accepted, before the server closes with 421.
    ///
    /// 1,000, as many as [`pipelined`](Self::pipelined): a client that sends a whole transaction before it hears of its recipients is not at fault.
    pub refused_chunks: u32,
    /// Octets of those chunks. The server closes before they come.
    ///
    /// 100 MiB: two of the largest messages.
    pub refused_octets: u64,
    /// Logins that may fail before the server closes. 3: a user mistypes, a guesser has to connect again.
    pub failed_logins: u32,
    /// Octets of one reply line as a client takes it, CRLF included.
    ///
    /// 4,096, eight times what [RFC 5321 section 4.5.3.1.5](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.5) allows: servers put links and texts there.
    pub reply_line: usize,
    /// Octets of a whole reply as a client takes it.
    ///
    /// 64 KiB: a long `EHLO` reply has 2.
    pub reply: usize,
    /// Commands a client may have sent without an answer. 1,000: a group of that many recipients.
    pub pipelined: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command: 4096,
            sasl_line: 12_288,
            message: 50 * 1024 * 1024,
            recipients: 1000,
            errors: 10,
            refused_chunks: 1000,
            refused_octets: 100 * 1024 * 1024,
            failed_logins: 3,
            reply_line: 4096,
            reply: 64 * 1024,
            pipelined: 1000,
        }
    }
}

/// Mistakes of peers that are forgiven. None is by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize), serde(default))]
pub struct Quirks {
    /// Spaces after `FROM:` and `TO:`, as in `MAIL FROM: <a@b>`, which
    /// [RFC 5321 section 3.3](https://www.rfc-editor.org/rfc/rfc5321#section-3.3) forbids and many programs send.
    pub space_before_path: bool,
    /// An underscore in a domain, which host names do not have and some mail uses.
    pub underscore_in_domain: bool,
}

/// What becomes of a CR or LF in a message that is not part of a CRLF.
///
/// [RFC 5321 section 2.3.8](https://www.rfc-editor.org/rfc/rfc5321#section-2.3.8) forbids it. It is looked for after dot-stuffing is undone: what is
/// the message's end never depends on this choice. It does not apply to a message of `BODY=BINARYMIME`, in which such octets are what they are: whoever
/// offers that must not hand one on with `DATA`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum LineEndings {
    /// The message is refused, once its end has come.
    #[default]
    Reject,
    /// It becomes CRLF.
    Normalise,
    /// It stays; [`ContentEnd`](crate::server::ContentEnd) tells where the first is.
    Note,
}
