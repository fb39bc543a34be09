//! The lines of `CAPA`: [RFC 2449 sections 5 and 6](https://www.rfc-editor.org/rfc/rfc2449#section-5) and the registry begun there.

use alloc::vec::Vec;

use postrider_text_proto::Mechanisms;

use crate::grammar;
use crate::types::Text;

/// What a server can do, one line of its answer to `CAPA`.
///
/// ```abnf
/// capability = capa-tag *(SP param) CRLF    ; 512 octets maximum
/// ```
///
/// All registered capabilities are known; others, and known ones with arguments that do not fit, are kept as
/// [`Other`](Self::Other).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Capability<'b> {
    /// [RFC 3206 section 6](https://www.rfc-editor.org/rfc/rfc3206#section-6).
    AuthRespCode,
    /// [RFC 2449 section 6.7](https://www.rfc-editor.org/rfc/rfc2449#section-6.7).
    Expire {
        /// How long messages are kept.
        expire: Expire,
        /// Whether it can be another value after login.
        per_user: bool,
    },
    /// [RFC 2449 section 6.9](https://www.rfc-editor.org/rfc/rfc2449#section-6.9).
    Implementation(Text<'b>),
    /// [RFC 6856 section 3](https://www.rfc-editor.org/rfc/rfc6856#section-3).
    Lang,
    /// [RFC 2449 section 6.5](https://www.rfc-editor.org/rfc/rfc2449#section-6.5).
    LoginDelay {
        /// The least time between two logins.
        seconds: u32,
        /// Whether it can be less after login.
        per_user: bool,
    },
    /// A line not known.
    Other {
        /// The tag as it stands.
        tag: &'b [u8],
        /// What follows its space.
        arguments: Option<&'b [u8]>,
    },
    /// [RFC 2449 section 6.6](https://www.rfc-editor.org/rfc/rfc2449#section-6.6).
    Pipelining,
    /// [RFC 2449 section 6.4](https://www.rfc-editor.org/rfc/rfc2449#section-6.4).
    RespCodes,
    /// [RFC 5034 section 3](https://www.rfc-editor.org/rfc/rfc5034#section-3).
    Sasl(Mechanisms<'b>),
    /// [RFC 2595 section 4](https://www.rfc-editor.org/rfc/rfc2595#section-4).
    Stls,
    /// [RFC 2449 section 6.1](https://www.rfc-editor.org/rfc/rfc2449#section-6.1).
    Top,
    /// [RFC 2449 section 6.8](https://www.rfc-editor.org/rfc/rfc2449#section-6.8).
    Uidl,
    /// [RFC 2449 section 6.2](https://www.rfc-editor.org/rfc/rfc2449#section-6.2).
    User,
    /// [RFC 6856 section 2](https://www.rfc-editor.org/rfc/rfc6856#section-2).
    Utf8 {
        /// Whether names and passwords may be UTF-8 as well.
        user: bool,
    },
}

/// How long a server keeps messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expire {
    /// This many days; 0: a message may go once it was read.
    Days(u32),
    /// For ever.
    Never,
}

impl<'b> Capability<'b> {
    /// Reads a capability from the octets before its CRLF.
    pub fn parse(line: &'b [u8]) -> Self {
        let (tag, arguments) = grammar::word(line);
        Self::known(tag, arguments).unwrap_or(Self::Other { tag, arguments })
    }

    fn known(tag: &[u8], arguments: Option<&'b [u8]>) -> Option<Self> {
        let is = |name: &str| tag.eq_ignore_ascii_case(name.as_bytes());
        let plain = [
            ("AUTH-RESP-CODE", Self::AuthRespCode),
            ("LANG", Self::Lang),
            ("PIPELINING", Self::Pipelining),
            ("RESP-CODES", Self::RespCodes),
            ("STLS", Self::Stls),
            ("TOP", Self::Top),
            ("UIDL", Self::Uidl),
            ("USER", Self::User),
        ];
        let Some(arguments) = arguments else {
            let utf8 = is("UTF8").then_some(Self::Utf8 { user: false });
            return utf8.or_else(|| plain.into_iter().find(|(name, _)| is(name)).map(|(_, capability)| capability));
        };
        if is("IMPLEMENTATION") {
            return Some(Self::Implementation(Text::received(arguments)));
        }
        if is("SASL") {
            let mechanisms = Mechanisms::received(arguments);
            return mechanisms.iter().next().map(|_| Self::Sasl(mechanisms));
        }
        if is("UTF8") {
            return arguments.eq_ignore_ascii_case(b"USER").then_some(Self::Utf8 { user: true });
        }
        let (value, user) = grammar::word(arguments);
        let per_user = match user {
            None => false,
            Some(user) if user.eq_ignore_ascii_case(b"USER") => true,
            Some(_) => return None,
        };
        if is("LOGIN-DELAY") {
            return Some(Self::LoginDelay { seconds: grammar::number32(value)?, per_user });
        }
        is("EXPIRE").then_some(Self::Expire { expire: Expire::parse(value)?, per_user })
    }

    /// Appends the line with its CRLF.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.tag());
        match self {
            Self::Expire { expire, per_user } => {
                out.push(b' ');
                match expire {
                    Expire::Days(days) => grammar::put_number(u64::from(*days), out),
                    Expire::Never => out.extend_from_slice(b"NEVER"),
                }
                put_user(*per_user, out);
            }
            Self::Implementation(text) => put(text.as_bytes(), out),
            Self::LoginDelay { seconds, per_user } => {
                out.push(b' ');
                grammar::put_number(u64::from(*seconds), out);
                put_user(*per_user, out);
            }
            Self::Other { arguments: Some(arguments), .. } => put(arguments, out),
            Self::Sasl(mechanisms) => mechanisms.iter().for_each(|mechanism| put(mechanism.as_bytes(), out)),
            Self::Utf8 { user } => put_user(*user, out),
            _ => {}
        }
        out.extend_from_slice(b"\r\n");
    }

    const fn tag(&self) -> &'b [u8] {
        match self {
            Self::AuthRespCode => b"AUTH-RESP-CODE",
            Self::Expire { .. } => b"EXPIRE",
            Self::Implementation(_) => b"IMPLEMENTATION",
            Self::Lang => b"LANG",
            Self::LoginDelay { .. } => b"LOGIN-DELAY",
            Self::Other { tag, .. } => tag,
            Self::Pipelining => b"PIPELINING",
            Self::RespCodes => b"RESP-CODES",
            Self::Sasl(_) => b"SASL",
            Self::Stls => b"STLS",
            Self::Top => b"TOP",
            Self::Uidl => b"UIDL",
            Self::User => b"USER",
            Self::Utf8 { .. } => b"UTF8",
        }
    }

    /// Only [`Other`](Self::Other) can be made of octets that are no line.
    pub(crate) fn is_a_line(&self) -> bool {
        let Self::Other { tag, arguments } = self else { return true };
        let sound = |octets: &[u8]| !octets.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0));
        tag.first().is_some_and(|first| *first != b'.') && sound(tag) && arguments.is_none_or(sound)
    }
}

impl Expire {
    fn parse(value: &[u8]) -> Option<Self> {
        if value.eq_ignore_ascii_case(b"NEVER") {
            return Some(Self::Never);
        }
        grammar::number32(value).map(Self::Days)
    }
}

fn put(argument: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(argument);
}

fn put_user(per_user: bool, out: &mut Vec<u8>) {
    if per_user {
        out.extend_from_slice(b" USER");
    }
}

#[cfg(test)]
mod tests {
    use postrider_text_proto::Mechanism;

    use super::*;

    #[test]
    fn every_registered_capability_survives_the_wire() {
        let mechanisms = [Mechanism::PLAIN, Mechanism::SCRAM_SHA_256];
        let lines = [
            (Capability::AuthRespCode, "AUTH-RESP-CODE"),
            (Capability::Expire { expire: Expire::Never, per_user: false }, "EXPIRE NEVER"),
            (Capability::Expire { expire: Expire::Days(30), per_user: true }, "EXPIRE 30 USER"),
            (Capability::Implementation(Text::lossy("a b")), "IMPLEMENTATION a b"),
            (Capability::Lang, "LANG"),
            (Capability::LoginDelay { seconds: 900, per_user: false }, "LOGIN-DELAY 900"),
            (Capability::LoginDelay { seconds: 900, per_user: true }, "LOGIN-DELAY 900 USER"),
            (Capability::Pipelining, "PIPELINING"),
            (Capability::RespCodes, "RESP-CODES"),
            (Capability::Sasl(Mechanisms::offered(&mechanisms)), "SASL PLAIN SCRAM-SHA-256"),
            (Capability::Stls, "STLS"),
            (Capability::Top, "TOP"),
            (Capability::Uidl, "UIDL"),
            (Capability::User, "USER"),
            (Capability::Utf8 { user: false }, "UTF8"),
            (Capability::Utf8 { user: true }, "UTF8 USER"),
        ];
        for (capability, line) in lines {
            let mut out = Vec::new();
            capability.encode(&mut out);
            assert_eq!(out, [line, "\r\n"].concat().as_bytes());
            assert_eq!(Capability::parse(line.as_bytes()), capability);
            assert_eq!(Capability::parse(line.to_ascii_lowercase().as_bytes()).tag(), capability.tag());
        }
    }

    #[test]
    fn what_is_not_known_is_kept() {
        for line in [
            "X-MANGLE 1 two",
            "XTND",
            "EXPIRE soon",
            "LOGIN-DELAY 900 NOBODY",
            "UTF8 x",
            "TOP 5",
            "SASL",
            "SASL ",
            "EXPIRE",
        ] {
            let capability = Capability::parse(line.as_bytes());
            assert!(matches!(capability, Capability::Other { .. }), "{line}: {capability:?}");
            let mut out = Vec::new();
            capability.encode(&mut out);
            assert_eq!(out, [line, "\r\n"].concat().as_bytes());
        }
    }
}
