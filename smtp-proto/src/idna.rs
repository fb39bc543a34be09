//! Domains of more than ASCII: [RFC 5890](https://www.rfc-editor.org/rfc/rfc5890), as [UTS 46](https://www.unicode.org/reports/tr46/) processes them.

use alloc::borrow::Cow;
use alloc::string::String;

use ::idna::AsciiDenyList;
use ::idna::uts46::{DnsLength, Hyphens, Uts46};
use postrider_text_proto::ValueError;

use crate::types::Domain;

const IDNA: ValueError = ValueError { expected: "a domain of IDNA (RFC 5890 section 2.3)" };

impl<'b> Domain<'b> {
    /// The domain in A-labels, as DNS has it and as a server without `SMTPUTF8` takes it: `xn--bcher-kva.example`.
    ///
    /// Two domains are the same when this is. [RFC 6531 section 3.2](https://www.rfc-editor.org/rfc/rfc6531#section-3.2).
    ///
    /// # Errors
    ///
    /// When a label is none of IDNA (`xn--` without meaning, a character that is not allowed), or one is longer than 63 octets, all together than 253.
    pub fn to_ascii(&self) -> Result<Cow<'b, str>, ValueError> {
        let ascii = Uts46::new().to_ascii(self.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Verify);
        ascii.map_err(|_| IDNA)
    }

    /// The domain in U-labels, as people read it: `bücher.example`.
    ///
    /// # Errors
    ///
    /// When a label is none of IDNA.
    pub fn to_unicode(&self) -> Result<String, ValueError> {
        let (text, sound) = Uts46::new().to_unicode(self.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow);
        sound.map_err(|_| IDNA)?;
        Ok(text.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_one_form_for_dns_and_one_for_people() {
        for domain in ["B\u{fc}cher.example", "xn--bcher-kva.example", "b\u{fc}cher.EXAMPLE"] {
            let domain = Domain::new(domain).unwrap();
            assert_eq!(domain.to_ascii().as_deref(), Ok("xn--bcher-kva.example"));
            assert_eq!(domain.to_unicode().as_deref(), Ok("b\u{fc}cher.example"));
        }
        assert_eq!(Domain::new("a.example").unwrap().to_ascii(), Ok(Cow::Borrowed("a.example")));
    }

    #[test]
    fn labels_that_mean_nothing_are_refused() {
        for bad in ["xn--\u{fc}.example", "xn--a.example", "xn--zzzzzz99999.example", "\u{378}.example"] {
            assert!(Domain::new(bad).unwrap().to_ascii().is_err(), "{bad}");
        }
    }
}
