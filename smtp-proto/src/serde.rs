//! Values as other formats have them: codes as numbers, all else as the text that stands on the wire.
//!
//! What borrows needs a format that lends: `serde_json::from_str` does where nothing in the text is escaped.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use ::serde::de::{Deserialize, Deserializer, Error, Visitor};
use ::serde::ser::{Serialize, Serializer};

use crate::extensions::attributes::Attributes;
use crate::extensions::burl::Url;
use crate::extensions::parameters::Parameters;
use crate::extensions::queues::{DomainList, QueueName};
use crate::extensions::timing::DateTime;
use crate::reply::{Code, EnhancedCode, Reply};
use crate::types::{
    AddressLiteral, Argument, ClientName, Domain, ForwardPath, Mailbox, ReversePath, Text, breaks_a_line,
};

/// As text where they are UTF-8, else as octets, so that nothing is lost.
fn octets<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match core::str::from_utf8(octets) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => serializer.serialize_bytes(octets),
    }
}

/// `new` reads them; what is written is what `$octets` gives.
macro_rules! borrowed {
    ($($name:ident: $octets:expr),* $(,)?) => {
        $(
            impl Serialize for $name<'_> {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let of: fn(&Self) -> Cow<'_, [u8]> = $octets;
                    octets(&of(self), serializer)
                }
            }

            impl<'de: 'b, 'b> Deserialize<'de> for $name<'b> {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    $name::new(<&'de str>::deserialize(deserializer)?).map_err(D::Error::custom)
                }
            }
        )*
    };
}

borrowed! {
    AddressLiteral: |value| value.as_bytes().into(),
    Argument: |value| value.as_bytes().into(),
    Attributes: |value| value.as_bytes().into(),
    ClientName: |value| value.as_bytes().into(),
    DateTime: |value| value.as_bytes().into(),
    Domain: |value| value.as_bytes().into(),
    DomainList: |value| value.as_bytes().into(),
    ForwardPath: |value| [b"<", value.as_bytes(), b">"].concat().into(),
    Mailbox: |value| value.as_bytes().into(),
    Parameters: |value| value.as_bytes().into(),
    QueueName: |value| value.as_bytes().into(),
    ReversePath: |value| [b"<", value.as_bytes(), b">"].concat().into(),
    Url: |value| value.as_bytes().into(),
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.as_u16())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u16::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for EnhancedCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for EnhancedCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let whole = Self::parse(text.as_bytes()).filter(|(_, rest)| rest.is_empty() && !text.ends_with(' '));
        whole.map(|(code, _)| code).ok_or_else(|| D::Error::custom("expected an enhanced code as in 5.1.1"))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        octets(self.as_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for Text<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let octets = deserializer.deserialize_any(Octets)?;
        if octets.iter().copied().any(breaks_a_line) {
            return Err(D::Error::custom("expected text without CR, LF and NUL"));
        }
        Ok(Text::received(&octets).into_owned())
    }
}

/// Text or octets.
struct Octets;

impl<'de> Visitor<'de> for Octets {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text without CR, LF and NUL")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
        Ok(text.as_bytes().to_owned())
    }

    fn visit_bytes<E: Error>(self, octets: &[u8]) -> Result<Vec<u8>, E> {
        Ok(octets.to_owned())
    }

    /// Formats without octets have numbers.
    fn visit_seq<A: ::serde::de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u8>, A::Error> {
        let mut octets = Vec::new();
        while let Some(octet) = sequence.next_element()? {
            octets.push(octet);
        }
        Ok(octets)
    }
}

/// What a reply is made of.
#[derive(::serde::Deserialize, ::serde::Serialize)]
#[serde(rename = "Reply")]
struct Parts {
    code: Code,
    enhanced: Option<EnhancedCode>,
    lines: Vec<Text<'static>>,
}

impl Serialize for Reply<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lines = self.lines().map(|line| Text::received(line).into_owned()).collect();
        Parts { code: self.code(), enhanced: self.enhanced(), lines }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Reply<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { code, enhanced, lines } = Parts::deserialize(deserializer)?;
        let reply = Reply::lines_of(code, lines);
        Ok(match enhanced {
            Some(code) => reply.with_enhanced(code.class(), code.subject(), code.detail()),
            None => reply,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back<'t, T: Deserialize<'t> + Serialize + PartialEq + fmt::Debug>(value: &T, text: &'t str) {
        assert_eq!(serde_json::to_string(value).unwrap(), text);
        assert_eq!(&serde_json::from_str::<T>(text).unwrap(), value);
    }

    #[test]
    fn values_are_text_and_read_back() {
        back(&Mailbox::new("a@b.example").unwrap(), r#""a@b.example""#);
        back(&ReversePath::Null, r#""<>""#);
        back(&ForwardPath::new("<@relay:a@b>").unwrap(), r#""<@relay:a@b>""#);
        back(&Parameters::new("SIZE=1 X-A").unwrap(), r#""SIZE=1 X-A""#);
        back(&Code::OK, "250");
        let reply = Reply::new(Code::MAILBOX_UNAVAILABLE, "no").with_enhanced(5, 1, 1);
        back(&reply, r#"{"code":550,"enhanced":"5.1.1","lines":["no"]}"#);
        let latin = Reply::parse(b"550 gr\xfcn\r\n").unwrap();
        back(&latin.into_owned(), r#"{"code":550,"enhanced":null,"lines":[[103,114,252,110]]}"#);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for bad in [r#""a@""#, "1"] {
            assert!(serde_json::from_str::<Mailbox<'_>>(bad).is_err(), "{bad}");
        }
        for bad in ["100", "600", "-1", r#""250""#] {
            assert!(serde_json::from_str::<Code>(bad).is_err(), "{bad}");
        }
        let hostile = r#"{"code":250,"enhanced":null,"lines":["a\r\n550 b"]}"#;
        assert!(serde_json::from_str::<Reply<'static>>(hostile).is_err());
        assert!(serde_json::from_str::<EnhancedCode>(r#""7.1.1""#).is_err());
    }
}
