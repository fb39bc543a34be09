//! What a server may offer beyond the minimal commands, one file per family.

pub(crate) mod ehlo;
pub(crate) mod parameters;

use alloc::string::String;
use alloc::vec::Vec;

use postrider_text_proto::{Mechanism, Mechanisms};

use crate::command::Verb;
use crate::error::CommandError;
use crate::extensions::ehlo::Capability;
use crate::extensions::parameters::Parameters;
use crate::session::Session;
use crate::types::Text;

/// What a server offers. `EHLO` is answered from it, and what it lacks is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extensions {
    /// `AUTH` with these mechanisms, [RFC 4954](https://www.rfc-editor.org/rfc/rfc4954). None: no `AUTH`.
    pub auth: Vec<Mechanism<'static>>,
    /// `8BITMIME`, [RFC 6152](https://www.rfc-editor.org/rfc/rfc6152).
    pub eight_bit_mime: bool,
    /// `ENHANCEDSTATUSCODES`, [RFC 2034](https://www.rfc-editor.org/rfc/rfc2034). Without it none is written.
    pub enhanced_status_codes: bool,
    /// `EXPN`, [RFC 5321 section 4.1.1.7](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.7).
    pub expn: bool,
    /// `HELP`, [RFC 5321 section 4.1.1.8](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.8).
    pub help: bool,
    /// `PIPELINING`, [RFC 2920](https://www.rfc-editor.org/rfc/rfc2920). A connection takes pipelined commands in any case.
    pub pipelining: bool,
    /// `SIZE` with the limit of messages, [RFC 1870](https://www.rfc-editor.org/rfc/rfc1870).
    pub size: bool,
    /// `SMTPUTF8`, [RFC 6531](https://www.rfc-editor.org/rfc/rfc6531).
    pub smtputf8: bool,
    /// `STARTTLS`, [RFC 3207](https://www.rfc-editor.org/rfc/rfc3207). Not announced once TLS is up.
    pub starttls: bool,
    /// Extensions the program implements itself.
    pub other: Vec<OtherExtension>,
}

/// An extension this crate does not know: its parameters pass, its meaning is the program's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OtherExtension {
    /// The line in the reply to `EHLO`.
    pub line: Text<'static>,
    /// Keywords it adds to `MAIL`.
    pub mail: Vec<String>,
    /// Keywords it adds to `RCPT`.
    pub rcpt: Vec<String>,
}

/// What needs nothing from the program: `PIPELINING`, `SIZE`, `8BITMIME`, `ENHANCEDSTATUSCODES`.
impl Default for Extensions {
    fn default() -> Self {
        Self {
            auth: Vec::new(),
            eight_bit_mime: true,
            enhanced_status_codes: true,
            expn: false,
            help: false,
            pipelining: true,
            size: true,
            smtputf8: false,
            starttls: false,
            other: Vec::new(),
        }
    }
}

impl Extensions {
    pub(crate) fn offers(&self, verb: Verb) -> bool {
        match verb {
            Verb::Auth => !self.auth.is_empty(),
            Verb::Expn => self.expn,
            Verb::Help => self.help,
            Verb::StartTls => self.starttls,
            _ => true,
        }
    }

    /// The lines of `EHLO` at this point of a session, for messages of at most `size` octets.
    pub(crate) fn capabilities<'e>(&'e self, session: &Session, size: u64) -> impl Iterator<Item = Capability<'e>> {
        let when = |offered: bool, capability| offered.then_some(capability);
        let ours = [
            when(self.pipelining, Capability::Pipelining),
            when(self.eight_bit_mime, Capability::EightBitMime),
            when(self.smtputf8, Capability::SmtpUtf8),
            when(self.enhanced_status_codes, Capability::EnhancedStatusCodes),
            when(self.starttls && !session.is_secured(), Capability::StartTls),
            when(self.help, Capability::Help),
            when(self.expn, Capability::Expn),
            when(self.size, Capability::Size(Some(size))),
            when(!self.auth.is_empty(), Capability::Auth(Mechanisms::offered(&self.auth))),
        ];
        ours.into_iter().flatten().chain(self.other.iter().map(|other| Capability::parse(other.line.as_bytes())))
    }

    /// Whether each parameter belongs to an extension that is offered, and has a value that fits.
    pub(crate) fn check(&self, parameters: &Parameters<'_>, verb: Verb, esmtp: bool) -> Result<(), CommandError> {
        if parameters.as_bytes().is_empty() {
            return Ok(());
        }
        let own = |keyword: &str| {
            verb == Verb::Mail
                && match keyword {
                    "SIZE" => self.size,
                    "BODY" => self.eight_bit_mime,
                    "SMTPUTF8" => self.smtputf8,
                    _ => !self.auth.is_empty(),
                }
        };
        for parameter in parameters.iter() {
            let known = ["SIZE", "BODY", "SMTPUTF8", "AUTH"].into_iter().find(|keyword| parameter.is(keyword));
            let offered = known.is_some_and(own) || self.others(verb).any(|keyword| parameter.is(keyword));
            if !esmtp || !offered {
                return Err(CommandError::UnknownParameter { verb });
            }
        }
        parameters.size()?;
        parameters.body()?;
        parameters.smtputf8()?;
        parameters.auth().map(drop)
    }

    fn others(&self, verb: Verb) -> impl Iterator<Item = &str> {
        self.other
            .iter()
            .flat_map(move |other| if verb == Verb::Mail { &other.mail } else { &other.rcpt })
            .map(String::as_str)
    }
}
