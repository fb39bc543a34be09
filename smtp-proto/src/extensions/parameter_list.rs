//! Parameters on their way out.

use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::{Escaped, ValueError};

use crate::extensions::dsn::{Notify, OriginalRecipient, Ret};
use crate::extensions::keyword::{Keyword, OTHERS};
use crate::extensions::parameters::{AuthParameter, Body, EXPECTED, HOLDS, MAX, Parameter, Parameters};
use crate::extensions::timing::{DeliverBy, Hold, ValidSince};
use crate::extensions::written::put;
use crate::extensions::xtext::Xtext;
use crate::types::Mailbox;

/// Parameters to be sent, each from a value that cannot break the line. One given twice counts as it was given last.
///
/// ```
/// use postrider_smtp_proto::{Body, Command, ParameterList, Ret, ReversePath};
///
/// let parameters = ParameterList::new().size(1000).body(Body::EightBitMime).ret(Ret::Headers).envelope_id("a=1")?;
/// let mut out = Vec::new();
/// Command::Mail { from: ReversePath::Null, parameters: parameters.as_parameters() }.encode(&mut out);
/// assert_eq!(out, b"MAIL FROM:<> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=a+3D1\r\n");
/// # Ok::<(), postrider_smtp_proto::ValueError>(())
/// ```
#[derive(Clone, Default, Eq, PartialEq)]
pub struct ParameterList {
    octets: Vec<u8>,
    /// As in [`Parameters`].
    known: u32,
}

impl From<Parameters<'_>> for ParameterList {
    fn from(Parameters { octets, known }: Parameters<'_>) -> Self {
        Self { octets: octets.to_vec(), known }
    }
}

impl ParameterList {
    /// A list without parameters.
    pub const fn new() -> Self {
        Self { octets: Vec::new(), known: 0 }
    }

    /// Those that `are` so.
    pub(crate) fn those(parameters: Parameters<'_>, are: impl Fn(&Parameter<'_>) -> bool) -> Self {
        let mut list = Self::new();
        parameters.iter().filter(are).for_each(|parameter| list.push(parameter));
        list
    }

    /// The parameters, to be sent.
    pub fn as_parameters(&self) -> Parameters<'_> {
        Parameters { octets: &self.octets, known: self.known }
    }

    /// All but the one with that keyword, in any case of ASCII letters.
    #[must_use]
    pub fn without(self, keyword: &str) -> Self {
        if self.as_parameters().find(keyword).is_none() {
            return self;
        }
        Self::those(self.as_parameters(), |parameter| !parameter.is(keyword))
    }

    /// Adds one that was checked, and is not there yet.
    fn push(&mut self, Parameter { keyword, value }: Parameter<'_>) {
        if !self.octets.is_empty() {
            self.octets.push(b' ');
        }
        self.octets.extend_from_slice(keyword);
        if let Some(value) = value {
            self.octets.push(b'=');
            self.octets.extend_from_slice(value);
        }
        self.known |= Keyword::parse(keyword).map_or(OTHERS, Keyword::bit);
    }

    fn flag(self, keyword: Keyword) -> Self {
        let mut list = self.without(keyword.as_str());
        list.push(Parameter { keyword: keyword.as_str().as_bytes(), value: None });
        list
    }

    fn with(self, keyword: Keyword, value: impl fmt::Display) -> Self {
        let mut list = self.flag(keyword);
        put(format_args!("={value}"), &mut list.octets);
        list
    }

    /// The same of a value whose type does not rule out all that would be wrong.
    fn checked(self, keyword: Keyword, value: impl fmt::Display) -> Result<Self, ValueError> {
        let list = self.with(keyword, value);
        let added = list.octets.rsplit(|octet| *octet == b' ').next().unwrap_or_default();
        Parameters::new(added)?;
        Ok(list)
    }

    /// `AUTH`: who sent the message.
    ///
    /// # Errors
    ///
    /// When that is no mailbox.
    pub fn auth(self, sender: &AuthParameter<'_>) -> Result<Self, ValueError> {
        match sender {
            AuthParameter::Mailbox(mailbox) if Mailbox::new(mailbox).is_err() => {
                Err(ValueError { expected: Keyword::Auth.expected() })
            }
            AuthParameter::Mailbox(mailbox) => Ok(self.with(Keyword::Auth, Xtext(mailbox))),
            AuthParameter::Unknown | AuthParameter::Name(_) => Ok(self.with(Keyword::Auth, "<>")),
        }
    }

    /// `BODY`: how the octets are to be taken.
    #[must_use]
    pub fn body(self, body: Body) -> Self {
        self.with(Keyword::Body, body)
    }

    /// `BY`: until when the message is to be delivered.
    #[must_use]
    pub fn deliver_by(self, by: DeliverBy) -> Self {
        self.with(Keyword::By, by)
    }

    /// `ENVID`: the sender's name for the transaction, which reports repeat.
    ///
    /// # Errors
    ///
    /// When it is not of printable ASCII, is empty, or has more than 100 octets in xtext.
    pub fn envelope_id(self, id: &(impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        self.checked(Keyword::EnvelopeId, Xtext(id.as_ref()))
    }

    /// `HOLDFOR` or `HOLDUNTIL`: how long the message is to be held. One replaces the other.
    ///
    /// # Errors
    ///
    /// When it is not for 1 to 999,999,999 seconds.
    pub fn hold(self, hold: Hold<'_>) -> Result<Self, ValueError> {
        let list = self.without("HOLDFOR").without("HOLDUNTIL");
        match hold {
            Hold::For(seconds) => list.checked(Keyword::HoldFor, seconds),
            Hold::Until(moment) => Ok(list.with(Keyword::HoldUntil, moment)),
        }
    }

    /// `MT-PRIORITY`: -9 to 9, the higher the more urgent.
    ///
    /// # Errors
    ///
    /// When it is not -9 to 9.
    pub fn mt_priority(self, priority: i8) -> Result<Self, ValueError> {
        self.checked(Keyword::MtPriority, priority)
    }

    /// `NOTIFY`: what the sender wants to be told of the recipient.
    #[must_use]
    pub fn notify(self, notify: Notify) -> Self {
        self.with(Keyword::Notify, notify)
    }

    /// `ORCPT`: the recipient as the sender wrote it. Of the type `utf-8` in the form that every server takes.
    ///
    /// # Errors
    ///
    /// When that form has more than 500 octets, as it may where it was received in UTF-8.
    pub fn original_recipient(self, original: &OriginalRecipient<'_>) -> Result<Self, ValueError> {
        self.checked(Keyword::OriginalRecipient, original)
    }

    /// `PRDR`: a reply for each recipient is wanted after the message.
    #[must_use]
    pub fn prdr(self) -> Self {
        self.flag(Keyword::Prdr)
    }

    /// `REQUIRETLS`: the message may only travel encrypted.
    #[must_use]
    pub fn require_tls(self) -> Self {
        self.flag(Keyword::RequireTls)
    }

    /// `RET`: how much of the message reports bring back.
    #[must_use]
    pub fn ret(self, ret: Ret) -> Self {
        self.with(Keyword::Ret, ret)
    }

    /// `SIZE`: the size of the message, in octets.
    #[must_use]
    pub fn size(self, octets: u64) -> Self {
        self.with(Keyword::Size, octets)
    }

    /// `SMTPUTF8`: paths and header may be UTF-8.
    #[must_use]
    pub fn smtputf8(self) -> Self {
        self.flag(Keyword::SmtpUtf8)
    }

    /// `SUBMITTER`: who is responsible for the message.
    ///
    /// # Errors
    ///
    /// When that is no mailbox.
    pub fn submitter(self, mailbox: &(impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        self.checked(Keyword::Submitter, Xtext(mailbox.as_ref()))
    }

    /// `RRVS`: since when the recipient must have had the mailbox.
    #[must_use]
    pub fn valid_since(self, since: ValidSince<'_>) -> Self {
        self.with(Keyword::Rrvs, since)
    }

    /// Any other, `KEYWORD` or `KEYWORD=VALUE`.
    ///
    /// # Errors
    ///
    /// When it does not follow the grammar, or there are more than 64.
    pub fn other(self, parameter: &(impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let one = Parameters::new(parameter)?;
        let mut parameters = one.iter();
        let (Some(first), None) = (parameters.next(), parameters.next()) else {
            return Err(ValueError { expected: "one parameter KEYWORD[=VALUE] (RFC 5321 section 4.1.2)" });
        };
        let mut list = self.without(core::str::from_utf8(first.keyword).unwrap_or_default());
        if one.known == OTHERS && list.as_parameters().iter().count() >= MAX {
            return Err(ValueError { expected: EXPECTED });
        }
        list.push(first);
        if list.known & HOLDS == HOLDS {
            return Err(ValueError { expected: Keyword::HoldUntil.expected() });
        }
        Ok(list)
    }
}

impl fmt::Debug for ParameterList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParameterList({:?})", Escaped(&self.octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extensions::timing::DateTime;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn a_list_keeps_the_last_of_each() {
        let list = ParameterList::new().size(1).prdr().other("X-A=1").unwrap().size(2).other("x-a").unwrap();
        assert_eq!(list.as_parameters().as_bytes(), b"PRDR SIZE=2 x-a");
        let held = ParameterList::new().hold(Hold::For(5)).unwrap();
        let held = held.hold(Hold::Until(DateTime::new("2030-01-01T00:00:00Z").unwrap())).unwrap();
        assert_eq!(held.as_parameters().as_bytes(), b"HOLDUNTIL=2030-01-01T00:00:00Z");
    }

    #[test]
    fn a_list_cannot_be_made_to_break_the_line() {
        let list = ParameterList::new;
        assert!(list().envelope_id("a\r\nb").is_err());
        assert!(list().other("X=a\r\nRSET").is_err());
        assert!(list().other("X=a Y=b").is_err());
        assert!(list().other("").is_err());
        assert!(list().submitter("a@b\r\n").is_err());
        assert!(list().mt_priority(10).is_err());
        assert!(list().hold(Hold::For(0)).is_err());
        let wide = format!("utf-8;{}", "\u{fc}".repeat(200));
        let original = OriginalRecipient::parse(wide.as_bytes()).unwrap();
        assert!(list().original_recipient(&original).is_err());
    }

    #[test]
    fn a_list_knows_what_is_in_it() {
        let same =
            |list: &ParameterList| assert_eq!(Parameters::new(&list.octets), Ok(list.as_parameters()), "{list:?}");
        let list = ParameterList::new().size(1).other("X-A").unwrap().prdr().other("X-B=1").unwrap();
        same(&list);
        let list = list.without("size").without("x-a");
        same(&list);
        let list = list.without("X-B").without("X-C");
        same(&list);
        assert_eq!(list.as_parameters().to_string(), "PRDR");
        assert!(list.hold(Hold::For(1)).unwrap().other("HOLDUNTIL=2030-01-01T00:00:00Z").is_err());
        let full = (0..MAX).try_fold(ParameterList::new(), |list, index| list.other(&format!("X-{index}"))).unwrap();
        same(&full);
        assert!(full.clone().other("X-0=1").is_ok() && full.clone().other("X").is_err());
        same(&full.size(1));
    }
}
