//! Which commands a server's program gets to see: those that belong here, are offered, and are within the limits.

use super::Connection;
use crate::command::{Command, Verb};
use crate::error::CommandError;
use crate::extensions::attributes::AttributeValue;
use crate::extensions::parameters::Body;
use crate::incoming::Incoming;
use crate::session::Place;

/// What `MAIL` and `RCPT` have said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transaction {
    pub(super) recipients: usize,
    pub(super) smtputf8: bool,
    /// `BODY=BINARYMIME`: the message's octets are left as they are.
    pub(super) binary: bool,
    pub(super) prdr: bool,
    /// What is fetched by the `BURL` that waits for its answer ends the message.
    pub(super) last: bool,
    /// The `XCLIENT` that waits for its answer names a user who has logged in.
    pub(super) login: bool,
    /// Recipients of a transaction that came to its end with a refused chunk: in LMTP the last chunk, which may be under way, is answered to each.
    pub(super) owed: usize,
}

impl Connection {
    /// Whether a command belongs here and is offered.
    #[inline]
    pub(super) fn admit(&mut self, command: &Command<'_>) -> Result<(), CommandError> {
        let verb = command.verb();
        if let Command::Other(command) = command
            && !self.extensions.offers_command(command)
        {
            return Err(CommandError::UnknownCommand);
        }
        self.admit_verb(verb)?;
        match command {
            Command::Mail { .. } | Command::Auth { .. } if self.require_tls && !self.session.is_secured() => {
                Err(CommandError::TlsRequired { verb })
            }
            Command::Atrn(_) if !self.session.is_authenticated() => Err(CommandError::AuthenticationRequired { verb }),
            Command::Auth { mechanism, .. } if !self.extensions.auth.contains(mechanism) => {
                Err(CommandError::UnknownMechanism)
            }
            Command::Burl { last, .. } => {
                self.transaction.last = *last;
                self.incoming.fault().map_or(Ok(()), |fault| Err(CommandError::Content(fault)))
            }
            Command::Xclient(attributes) => {
                self.transaction.login = matches!(attributes.find("LOGIN"), Some(AttributeValue::Known(_)));
                Ok(())
            }
            Command::Data if self.transaction.binary => {
                Err(CommandError::OutOfPlace { verb, place: Place::BinaryMessage })
            }
            Command::Mail { .. } | Command::Rcpt { .. } => self.admit_path(command),
            _ => Ok(()),
        }
    }

    #[inline]
    pub(super) fn admit_verb(&self, verb: Verb) -> Result<(), CommandError> {
        self.session.permits(verb).map_err(|place| CommandError::OutOfPlace { verb, place })?;
        if self.extensions.offers(verb, &self.session) && (self.session.is_extended() || !verb.is_extension()) {
            return Ok(());
        }
        Err(CommandError::NotOffered { verb })
    }

    /// What only MAIL and RCPT have: parameters, a path that may be UTF-8, limits.
    fn admit_path(&mut self, command: &Command<'_>) -> Result<(), CommandError> {
        let verb = command.verb();
        let (ascii, parameters) = match command {
            Command::Mail { from, parameters } => (from.is_ascii(), parameters),
            Command::Rcpt { to, parameters } => (to.is_ascii(), parameters),
            _ => return Ok(()),
        };
        if self.require_auth && !self.session.is_authenticated() {
            return Err(CommandError::AuthenticationRequired { verb });
        }
        self.extensions.check(parameters, verb, &self.session)?;
        if verb == Verb::Mail {
            let (size, limit) = (parameters.size().unwrap_or(0), self.limits.message);
            if size > limit {
                return Err(CommandError::TooLarge { size, limit });
            }
            let (smtputf8, prdr) = (parameters.smtputf8(), parameters.prdr());
            let binary = parameters.body() == Some(Body::BinaryMime);
            self.transaction = Transaction { smtputf8, prdr, binary, ..Transaction::default() };
            let line_endings = Some(self.line_endings).filter(|_| !binary);
            self.incoming = Incoming::new(line_endings, self.limits.message);
        } else if self.transaction.recipients >= self.limits.recipients {
            return Err(CommandError::TooManyRecipients { limit: self.limits.recipients });
        }
        if !ascii && !self.transaction.smtputf8 {
            return Err(CommandError::Utf8NotAnnounced { verb });
        }
        Ok(())
    }
}
