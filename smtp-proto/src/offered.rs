//! What a client has learnt of a server.

use crate::extensions::ehlo::Capability;
use crate::extensions::keyword::Keyword;
use crate::extensions::parameters::{Parameter, Parameters};
use crate::reply::Reply;

/// What a server's reply to `EHLO` or `LHLO` lists, as far as the client goes by it. The rest is in [`Reply::capabilities`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Offered {
    /// `AUTH`, whatever the mechanisms: [`Capability::Auth`] has them. [RFC 4954](https://www.rfc-editor.org/rfc/rfc4954).
    pub auth: bool,
    /// `BINARYMIME`: a message may be any octets, in chunks. [RFC 3030](https://www.rfc-editor.org/rfc/rfc3030).
    pub binary_mime: bool,
    /// `CHUNKING`: the message may be sent with [`chunk`](crate::client::Connection::chunk).
    pub chunking: bool,
    /// `CONPERM` or `CONNEG`: a message may be converted on its way. [RFC 4141](https://www.rfc-editor.org/rfc/rfc4141).
    pub conversion: bool,
    /// `DELIVERBY` with the shortest time a message can be returned after, in seconds; 0 says nothing of it.
    /// [RFC 2852 section 2](https://www.rfc-editor.org/rfc/rfc2852#section-2).
    pub deliver_by: Option<u32>,
    /// `DSN`: the sender may say which reports it wants. [RFC 3461](https://www.rfc-editor.org/rfc/rfc3461).
    pub dsn: bool,
    /// `8BITMIME`: a message may be lines of any octets. [RFC 6152](https://www.rfc-editor.org/rfc/rfc6152).
    pub eight_bit_mime: bool,
    /// `FUTURERELEASE`: a message may be held until later. [RFC 4865](https://www.rfc-editor.org/rfc/rfc4865).
    pub future_release: bool,
    /// `LIMITS`, `RCPTDOMAINMAX`: domains among the recipients of a transaction.
    pub max_domains: Option<u32>,
    /// `LIMITS`, `RCPTMAX`: recipients in a transaction.
    pub max_recipients: Option<u32>,
    /// `SIZE`: the largest message taken, in octets, where there is such a limit.
    pub max_size: Option<u64>,
    /// `LIMITS`, `MAILMAX`: transactions in a session.
    pub max_transactions: Option<u32>,
    /// `MT-PRIORITY`: a message may have a priority. [RFC 6710](https://www.rfc-editor.org/rfc/rfc6710).
    pub mt_priority: bool,
    /// `MTRK`: a message may be tracked. [RFC 3885](https://www.rfc-editor.org/rfc/rfc3885).
    pub mtrk: bool,
    /// `NO-SOLICITING`: a message may say that it solicits. [RFC 3865](https://www.rfc-editor.org/rfc/rfc3865).
    pub no_soliciting: bool,
    /// `PIPELINING`: commands may be sent before earlier ones are answered.
    pub pipelining: bool,
    /// `PRDR`: a message may be answered for each recipient. [draft-hall-prdr](https://datatracker.ietf.org/doc/html/draft-hall-prdr-00).
    pub prdr: bool,
    /// `REQUIRETLS`: a message may be kept from servers without TLS. [RFC 8689](https://www.rfc-editor.org/rfc/rfc8689).
    pub require_tls: bool,
    /// `RRVS`: a message may be kept from who has got the mailbox since. [RFC 7293](https://www.rfc-editor.org/rfc/rfc7293).
    pub rrvs: bool,
    /// `SIZE`, with or without a limit: a message's size may be told. [RFC 1870](https://www.rfc-editor.org/rfc/rfc1870).
    pub size: bool,
    /// `SMTPUTF8`: paths and header may be UTF-8. [RFC 6531](https://www.rfc-editor.org/rfc/rfc6531).
    pub smtputf8: bool,
    /// `STARTTLS`: TLS may be set up. [RFC 3207](https://www.rfc-editor.org/rfc/rfc3207).
    pub starttls: bool,
    /// `SUBMITTER`: who is responsible for a message may be named. [RFC 4405](https://www.rfc-editor.org/rfc/rfc4405).
    pub submitter: bool,
    /// `XCLIENT`: another client's address and name may be told. [Postfix](https://www.postfix.org/XCLIENT_README.html).
    pub xclient: bool,
    /// `XFORWARD`: where a message came from may be told for the log. [Postfix](https://www.postfix.org/XFORWARD_README.html).
    pub xforward: bool,
    /// `XVERP`: each recipient may get a return path of its own. [Postfix](https://www.postfix.org/VERP_README.html).
    pub xverp: bool,
}

impl Offered {
    /// What a reply to `EHLO` or `LHLO` lists.
    pub fn from_reply(reply: &Reply<'_>) -> Self {
        let mut offered = Self::default();
        reply.capabilities().for_each(|capability| offered.note(&capability));
        offered
    }

    /// Those of `parameters` that a server that offers this does not know, in order. A [`Transfer`](crate::transfer::Transfer) leaves them out; who sends
    /// `MAIL` and `RCPT` without one has to. Those that this crate does not know are never among them.
    ///
    /// ```
    /// use postrider_smtp_proto::{Offered, Parameters, Reply};
    ///
    /// let offered = Offered::from_reply(&Reply::parse(b"250-mail.example\r\n250 SIZE\r\n")?);
    /// let parameters = Parameters::new("SIZE=1000 RET=HDRS X-OWN=1")?;
    /// let left_out: Vec<_> = offered.left_out(&parameters).map(|parameter| parameter.keyword).collect();
    /// assert_eq!(left_out, [b"RET"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_out<'p>(&self, parameters: &Parameters<'p>) -> impl Iterator<Item = Parameter<'p>> + use<'p> {
        let offered = *self;
        parameters.iter().filter(move |parameter| !offered.takes_word(parameter))
    }

    /// Whether the server takes the parameter, or nobody here knows it.
    pub(crate) fn takes_word(&self, parameter: &Parameter<'_>) -> bool {
        Keyword::parse(parameter.keyword).is_none_or(|keyword| self.takes(keyword))
    }

    fn note(&mut self, capability: &Capability<'_>) {
        match capability {
            Capability::Auth(_) => self.auth = true,
            Capability::BinaryMime => self.binary_mime = true,
            Capability::Chunking => self.chunking = true,
            Capability::Conneg | Capability::Conperm => self.conversion = true,
            Capability::DeliverBy(minimum) => self.deliver_by = Some(minimum.unwrap_or(0)),
            Capability::Dsn => self.dsn = true,
            Capability::EightBitMime => self.eight_bit_mime = true,
            Capability::FutureRelease(_) => self.future_release = true,
            Capability::Limits(limits) => {
                self.max_domains = limits.recipient_domains();
                self.max_recipients = limits.recipients();
                self.max_transactions = limits.transactions();
            }
            Capability::MtPriority(_) => self.mt_priority = true,
            Capability::Mtrk => self.mtrk = true,
            Capability::NoSoliciting(_) => self.no_soliciting = true,
            Capability::Pipelining => self.pipelining = true,
            Capability::Prdr => self.prdr = true,
            Capability::RequireTls => self.require_tls = true,
            Capability::Rrvs => self.rrvs = true,
            Capability::Size(limit) => (self.size, self.max_size) = (true, limit.filter(|octets| *octets > 0)),
            Capability::SmtpUtf8 => self.smtputf8 = true,
            Capability::StartTls => self.starttls = true,
            Capability::Submitter => self.submitter = true,
            Capability::Xclient(_) => self.xclient = true,
            Capability::Xforward(_) => self.xforward = true,
            Capability::Xverp => self.xverp = true,
            _ => {}
        }
    }

    fn takes(&self, keyword: Keyword) -> bool {
        match keyword {
            Keyword::Auth => self.auth,
            Keyword::Body => self.eight_bit_mime || self.binary_mime && self.chunking,
            Keyword::By => self.deliver_by.is_some(),
            Keyword::Conneg | Keyword::Conperm => self.conversion,
            Keyword::EnvelopeId | Keyword::Notify | Keyword::OriginalRecipient | Keyword::Ret => self.dsn,
            Keyword::HoldFor | Keyword::HoldUntil => self.future_release,
            Keyword::MtPriority => self.mt_priority,
            Keyword::Mtrk => self.mtrk,
            Keyword::Prdr => self.prdr,
            Keyword::RequireTls => self.require_tls,
            Keyword::Rrvs => self.rrvs,
            Keyword::Size => self.size,
            Keyword::SmtpUtf8 => self.smtputf8,
            Keyword::Solicit => self.no_soliciting,
            Keyword::Submitter => self.submitter,
            Keyword::Transid => false,
            Keyword::Xverp => self.xverp,
        }
    }
}
