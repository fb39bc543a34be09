//! What a server may offer beyond the minimal commands, one file per family.

pub(crate) mod attributes;
pub(crate) mod burl;
pub(crate) mod dsn;
pub(crate) mod ehlo;
pub(crate) mod keyword;
pub(crate) mod parameter_list;
pub(crate) mod parameters;
pub(crate) mod queues;
pub(crate) mod timing;
pub(crate) mod written;
pub(crate) mod xtext;

use alloc::string::String;
use alloc::vec::Vec;

use postrider_text_proto::{Mechanism, Mechanisms};

use crate::command::Verb;
use crate::error::CommandError;
use crate::extensions::ehlo::{Capability, FutureRelease, ServerLimits};
use crate::extensions::keyword::Keyword;
use crate::extensions::parameters::{Body, Parameters};
use crate::extensions::timing::{ByMode, Hold};
use crate::limits::Limits;
use crate::session::Session;
use crate::types::{OtherCommand, Text};

/// What a server offers. `EHLO` is answered from it, and what it lacks is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extensions {
    /// `ATRN`, for users who have logged in, [RFC 2645](https://www.rfc-editor.org/rfc/rfc2645).
    pub atrn: bool,
    /// `AUTH` with these mechanisms, [RFC 4954](https://www.rfc-editor.org/rfc/rfc4954). None: no `AUTH`.
    pub auth: Vec<Mechanism<'static>>,
    /// `BINARYMIME`, [RFC 3030](https://www.rfc-editor.org/rfc/rfc3030). It needs [`chunking`](Self::chunking), and a program that keeps each octet as it is:
    /// [`LineEndings`](crate::LineEndings) does not apply to such a message.
    pub binary_mime: bool,
    /// `BURL` with what it can fetch, `imap` for one, [RFC 4468](https://www.rfc-editor.org/rfc/rfc4468). Not in LMTP.
    pub burl: Option<Text<'static>>,
    /// `CHUNKING`, [RFC 3030](https://www.rfc-editor.org/rfc/rfc3030). The program then gets [`server::Event::Chunk`](crate::server::Event::Chunk) too.
    pub chunking: bool,
    /// `CONNEG` and `CONPERM`, [RFC 4141](https://www.rfc-editor.org/rfc/rfc4141).
    pub conversion: bool,
    /// `DELIVERBY` with the shortest time a message can be returned after, in seconds; 0 says nothing of it.
    /// [RFC 2852](https://www.rfc-editor.org/rfc/rfc2852).
    pub deliver_by: Option<u32>,
    /// `DSN`, [RFC 3461](https://www.rfc-editor.org/rfc/rfc3461).
    pub dsn: bool,
    /// `8BITMIME`, [RFC 6152](https://www.rfc-editor.org/rfc/rfc6152).
    pub eight_bit_mime: bool,
    /// `ENHANCEDSTATUSCODES`, [RFC 2034](https://www.rfc-editor.org/rfc/rfc2034). Without it none is written.
    pub enhanced_status_codes: bool,
    /// `ETRN`, [RFC 1985](https://www.rfc-editor.org/rfc/rfc1985).
    pub etrn: bool,
    /// `EXPN`, [RFC 5321 section 4.1.1.7](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.7).
    pub expn: bool,
    /// `FUTURERELEASE`, for submission, [RFC 4865](https://www.rfc-editor.org/rfc/rfc4865).
    pub future_release: Option<FutureRelease<'static>>,
    /// `HELP`, [RFC 5321 section 4.1.1.8](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.8).
    pub help: bool,
    /// `LIMITS` with [`Limits::recipients`](crate::Limits::recipients), [RFC 9422](https://www.rfc-editor.org/rfc/rfc9422).
    pub limits: bool,
    /// `MT-PRIORITY` with the name of a profile, which may be empty, [RFC 6710](https://www.rfc-editor.org/rfc/rfc6710).
    pub mt_priority: Option<Text<'static>>,
    /// `MTRK`, [RFC 3885](https://www.rfc-editor.org/rfc/rfc3885).
    pub mtrk: bool,
    /// `NO-SOLICITING` with keywords, which may be empty, [RFC 3865](https://www.rfc-editor.org/rfc/rfc3865).
    pub no_soliciting: Option<Text<'static>>,
    /// `PIPELINING`, [RFC 2920](https://www.rfc-editor.org/rfc/rfc2920). A connection takes pipelined commands in any case.
    pub pipelining: bool,
    /// `PRDR`, [draft-hall-prdr](https://datatracker.ietf.org/doc/html/draft-hall-prdr-00): a message may then be answered with
    /// [`Code::PER_RECIPIENT`](crate::Code::PER_RECIPIENT), a reply for each recipient, and one for all.
    pub prdr: bool,
    /// `REQUIRETLS`, within TLS, [RFC 8689](https://www.rfc-editor.org/rfc/rfc8689).
    pub require_tls: bool,
    /// `RRVS`, [RFC 7293](https://www.rfc-editor.org/rfc/rfc7293).
    pub rrvs: bool,
    /// `SIZE` with the limit of messages, [RFC 1870](https://www.rfc-editor.org/rfc/rfc1870).
    pub size: bool,
    /// `SMTPUTF8`, [RFC 6531](https://www.rfc-editor.org/rfc/rfc6531).
    pub smtputf8: bool,
    /// `STARTTLS`, [RFC 3207](https://www.rfc-editor.org/rfc/rfc3207). Not announced once TLS is up.
    pub starttls: bool,
    /// `SUBMITTER`, [RFC 4405](https://www.rfc-editor.org/rfc/rfc4405).
    pub submitter: bool,
    /// `XCLIENT`: for clients that are to be believed; one that names a `LOGIN` counts as logged in. [Postfix](https://www.postfix.org/XCLIENT_README.html).
    pub xclient: bool,
    /// `XFORWARD`: for clients that are to be believed. [Postfix](https://www.postfix.org/XFORWARD_README.html).
    pub xforward: bool,
    /// `XVERP`, [Postfix](https://www.postfix.org/VERP_README.html).
    pub xverp: bool,
    /// Extensions the program implements itself.
    pub other: Vec<OtherExtension>,
}

/// An extension this crate does not know: its commands and parameters pass, their meaning is the program's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OtherExtension {
    /// The line in the reply to `EHLO`.
    pub line: Text<'static>,
    /// Keywords of commands it adds.
    pub commands: Vec<String>,
    /// Keywords it adds to `MAIL`.
    pub mail: Vec<String>,
    /// Keywords it adds to `RCPT`.
    pub rcpt: Vec<String>,
}

/// What needs nothing from the program: `PIPELINING`, `SIZE`, `8BITMIME`, `ENHANCEDSTATUSCODES`.
impl Default for Extensions {
    fn default() -> Self {
        Self {
            atrn: false,
            auth: Vec::new(),
            binary_mime: false,
            burl: None,
            chunking: false,
            conversion: false,
            deliver_by: None,
            dsn: false,
            eight_bit_mime: true,
            enhanced_status_codes: true,
            etrn: false,
            expn: false,
            future_release: None,
            help: false,
            limits: false,
            mt_priority: None,
            mtrk: false,
            no_soliciting: None,
            pipelining: true,
            prdr: false,
            require_tls: false,
            rrvs: false,
            size: true,
            smtputf8: false,
            starttls: false,
            submitter: false,
            xclient: false,
            xforward: false,
            xverp: false,
            other: Vec::new(),
        }
    }
}

impl Extensions {
    /// Whether a command of this kind is offered; of [`Verb::Other`], see [`offers_command`](Self::offers_command).
    pub(crate) fn offers(&self, verb: Verb, session: &Session) -> bool {
        match verb {
            Verb::Atrn => self.atrn,
            Verb::Auth => !self.auth.is_empty(),
            Verb::Bdat => self.chunking,
            // RFC 4468 section 3.1: it is for submission.
            Verb::Burl => self.burl.is_some() && !session.is_lmtp(),
            Verb::Etrn => self.etrn,
            Verb::Expn => self.expn,
            Verb::Help => self.help,
            Verb::StartTls => self.starttls,
            Verb::Xclient => self.xclient,
            Verb::Xforward => self.xforward,
            _ => true,
        }
    }

    /// Whether the program answers a command that is not known here.
    pub(crate) fn offers_command(&self, command: &OtherCommand<'_>) -> bool {
        self.other.iter().flat_map(|other| &other.commands).any(|keyword| command.is(keyword))
    }

    /// The lines of `EHLO` at this point of a session, with these limits.
    pub(crate) fn capabilities<'e>(
        &'e self,
        session: &Session,
        limits: &Limits,
    ) -> impl Iterator<Item = Capability<'e>> {
        let when = |offered: bool, capability| offered.then_some(capability);
        let words = |text: &'e Text<'static>| Some(text.as_bytes()).filter(|words| !words.is_empty());
        let recipients = u32::try_from(limits.recipients).unwrap_or(u32::MAX);
        let ours = [
            when(self.pipelining, Capability::Pipelining),
            when(self.size, Capability::Size(Some(limits.message))),
            when(self.eight_bit_mime, Capability::EightBitMime),
            when(self.chunking, Capability::Chunking),
            when(self.chunking && self.binary_mime, Capability::BinaryMime),
            when(self.smtputf8, Capability::SmtpUtf8),
            when(self.enhanced_status_codes, Capability::EnhancedStatusCodes),
            when(self.starttls && !session.is_secured(), Capability::StartTls),
            when(!self.auth.is_empty(), Capability::Auth(Mechanisms::offered(&self.auth))),
            when(self.dsn, Capability::Dsn),
            when(self.require_tls && session.is_secured(), Capability::RequireTls),
            when(self.limits, Capability::Limits(ServerLimits::of_recipients(recipients))),
            self.deliver_by.map(|seconds| Capability::DeliverBy(Some(seconds).filter(|seconds| *seconds > 0))),
            self.future_release.map(Capability::FutureRelease),
            self.mt_priority.as_ref().map(|profile| Capability::MtPriority(words(profile))),
            self.burl.as_ref().filter(|_| !session.is_lmtp()).map(|urls| Capability::Burl(words(urls))),
            when(self.prdr, Capability::Prdr),
            when(self.rrvs, Capability::Rrvs),
            when(self.mtrk, Capability::Mtrk),
            when(self.submitter, Capability::Submitter),
            self.no_soliciting.as_ref().map(|keywords| Capability::NoSoliciting(words(keywords))),
            when(self.conversion, Capability::Conneg),
            when(self.conversion, Capability::Conperm),
            when(self.etrn, Capability::Etrn),
            when(self.atrn, Capability::Atrn),
            when(self.xclient, Capability::Xclient(Some(b"NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"))),
            when(self.xforward, Capability::Xforward(Some(b"NAME ADDR PORT PROTO HELO IDENT SOURCE"))),
            when(self.xverp, Capability::Xverp),
            when(self.help, Capability::Help),
            when(self.expn, Capability::Expn),
        ];
        ours.into_iter().flatten().chain(self.other.iter().map(|other| Capability::parse(other.line.as_bytes())))
    }

    /// Whether each parameter belongs to an extension that is offered.
    pub(crate) fn check(&self, parameters: &Parameters<'_>, verb: Verb, session: &Session) -> Result<(), CommandError> {
        if parameters.as_bytes().is_empty() {
            return Ok(());
        }
        let unknown = CommandError::UnknownParameter { verb };
        if !session.is_extended() {
            return Err(unknown);
        }
        let offered = |keyword: Keyword| {
            keyword.verb() == verb && self.takes(keyword, session) || self.adds(keyword.as_str().as_bytes(), verb)
        };
        let refused = |parameter| Err(CommandError::ParameterNotOffered { verb, parameter });
        if let Some(keyword) = parameters.keywords().find(|keyword| !offered(*keyword)) {
            return refused(keyword.as_str());
        }
        if !parameters.others().all(|keyword| self.adds(keyword, verb)) {
            return Err(unknown);
        }
        if parameters.body() == Some(Body::BinaryMime) && !(self.chunking && self.binary_mime) {
            return refused("BODY=BINARYMIME");
        }
        if !self.smtputf8 && !parameters.as_bytes().is_ascii() {
            return Err(CommandError::Utf8NotAnnounced { verb });
        }
        self.check_times(parameters)
    }

    /// Whether the message can be held, or returned, as it is to be.
    fn check_times(&self, parameters: &Parameters<'_>) -> Result<(), CommandError> {
        if let (Some(by), Some(seconds)) = (parameters.deliver_by(), self.deliver_by)
            && by.mode() == ByMode::Return
            && u32::try_from(by.seconds()).is_ok_and(|wanted| wanted < seconds)
        {
            return Err(CommandError::ByTooSoon { seconds });
        }
        let Some(FutureRelease { max_seconds, max_moment }) = self.future_release else { return Ok(()) };
        let (keyword, too_long) = match parameters.hold() {
            Some(Hold::For(seconds)) => ("HOLDFOR", seconds > max_seconds),
            Some(Hold::Until(moment)) => ("HOLDUNTIL", moment.unix_seconds() > max_moment.unix_seconds()),
            None => return Ok(()),
        };
        let expected = "no more than FUTURERELEASE announces (RFC 4865 section 4.2)";
        if too_long { Err(CommandError::BadParameter { keyword, expected }) } else { Ok(()) }
    }

    fn takes(&self, keyword: Keyword, session: &Session) -> bool {
        match keyword {
            Keyword::Auth => !self.auth.is_empty(),
            Keyword::Body => self.eight_bit_mime || self.chunking && self.binary_mime,
            Keyword::By => self.deliver_by.is_some(),
            Keyword::Conneg | Keyword::Conperm => self.conversion,
            Keyword::EnvelopeId | Keyword::Notify | Keyword::OriginalRecipient | Keyword::Ret => self.dsn,
            Keyword::HoldFor | Keyword::HoldUntil => self.future_release.is_some(),
            Keyword::MtPriority => self.mt_priority.is_some(),
            Keyword::Mtrk => self.mtrk,
            Keyword::Prdr => self.prdr,
            Keyword::RequireTls => self.require_tls && session.is_secured(),
            Keyword::Rrvs => self.rrvs,
            Keyword::Size => self.size,
            Keyword::SmtpUtf8 => self.smtputf8,
            Keyword::Solicit => self.no_soliciting.is_some(),
            Keyword::Submitter => self.submitter,
            Keyword::Transid => false,
            Keyword::Xverp => self.xverp,
        }
    }

    /// Whether the program adds that keyword to the command.
    fn adds(&self, keyword: &[u8], verb: Verb) -> bool {
        let added = |other: &OtherExtension| {
            let keywords = if verb == Verb::Mail { &other.mail } else { &other.rcpt };
            keywords.iter().any(|added| added.as_bytes().eq_ignore_ascii_case(keyword))
        };
        self.other.iter().any(added)
    }
}
