//! Values for fuzzers. Those that borrow are read from the fuzzer's octets by the crate's own parsers, so that a corpus is made of what goes over
//! the wire.

use alloc::string::String;
use alloc::vec::Vec;

use ::arbitrary::{Arbitrary, Error, Result, Unstructured};

use crate::command::Command;
use crate::extensions::attributes::Attributes;
use crate::extensions::parameters::Parameters;
use crate::reply::{Code, EnhancedCode, Reply};
use crate::types::{AddressLiteral, Argument, ClientName, Domain, ForwardPath, Mailbox, ReversePath, Text};

/// Octets from the fuzzer that the type reads.
macro_rules! read {
    ($($name:ident),*) => {
        $(
            impl<'a> Arbitrary<'a> for $name<'a> {
                fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
                    let octets: &'a [u8] = u.arbitrary()?;
                    Self::new(octets).map_err(|_| Error::IncorrectFormat)
                }
            }
        )*
    };
}

read!(AddressLiteral, Argument, Attributes, ClientName, Domain, ForwardPath, Mailbox, Parameters, ReversePath);

impl<'a> Arbitrary<'a> for Command<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Self::parse(u.arbitrary()?).map_err(|_| Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for Code {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Self::new(u.int_in_range(200..=599)?).map_err(|_| Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for EnhancedCode {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let (class, subject, detail) = (*u.choose(&[2, 4, 5])?, u.int_in_range(0..=999)?, u.int_in_range(0..=999)?);
        Self::new(class, subject, detail).map_err(|_| Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for Text<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary().map(Self::lossy)
    }
}

impl<'a> Arbitrary<'a> for Reply<'static> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let lines: Vec<String> = u.arbitrary()?;
        let lines: Vec<_> = lines.iter().map(|line| Text::lossy(line).into_owned()).collect();
        let reply = Reply::lines_of(u.arbitrary()?, lines);
        Ok(match u.arbitrary::<Option<EnhancedCode>>()? {
            Some(code) => reply.with_enhanced(code.class(), code.subject(), code.detail()),
            None => reply,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_of_the_octets_a_fuzzer_has() {
        let octets: Vec<u8> = (0..=255).cycle().take(4000).collect();
        let mut u = Unstructured::new(&octets);
        let replies: Vec<Reply<'static>> = (0..20).filter_map(|_| u.arbitrary().ok()).collect();
        assert!(!replies.is_empty());
        for reply in &replies {
            let mut out = Vec::new();
            reply.encode(&mut out);
            assert_eq!(Reply::parse(&out).map(|read| read.code()), Ok(reply.code()));
        }
        // A length stands at the end of what the fuzzer has.
        assert_eq!(
            Unstructured::new(b"NOOP\x04").arbitrary::<Command<'_>>().map(|command| command.verb()),
            Ok(crate::Verb::Noop)
        );
    }
}
