//! Whose mail `ATRN` and `ETRN` ask for.

use core::fmt;

use postrider_text_proto::ValueError;

use crate::types::{Domain, octet_string};

/// A list of domains, parted by commas: what `ATRN` asks for. [RFC 2645 section 5.2.1](https://www.rfc-editor.org/rfc/rfc2645#section-5.2.1).
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct DomainList<'b>(&'b [u8]);
octet_string!(DomainList);

impl<'b> DomainList<'b> {
    /// Takes `domains` as they are.
    ///
    /// # Errors
    ///
    /// When there is none, or one does not follow the grammar.
    pub fn new(domains: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let list = Self(domains.as_ref());
        if list.0.split(|octet| *octet == b',').all(|domain| Domain::new(domain).is_ok()) {
            return Ok(list);
        }
        Err(ValueError { expected: "domains parted by commas (RFC 2645 section 5.2.1)" })
    }

    /// The domains in order.
    pub fn iter(&self) -> impl Iterator<Item = Domain<'b>> + use<'b> {
        self.0.split(|octet| *octet == b',').filter_map(|domain| Domain::new(domain).ok())
    }
}

/// What `ETRN` asks for, as it stands. [RFC 1985 section 5](https://www.rfc-editor.org/rfc/rfc1985#section-5).
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct QueueName<'b>(&'b [u8]);
octet_string!(QueueName);

/// What a [`QueueName`] names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Queue<'b> {
    /// What waits for a host.
    Host(Domain<'b>),
    /// `#`: a queue the server knows by this name.
    Named(&'b [u8]),
    /// `@`: what waits for a domain and all below it.
    Subdomains(Domain<'b>),
}

impl<'b> QueueName<'b> {
    /// Takes `name` as it is: a domain, `@` and a domain, or `#` and a name of printable ASCII without spaces.
    ///
    /// # Errors
    ///
    /// When it is none of them, or has more than 255 octets.
    pub fn new(name: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let name = Self(name.as_ref());
        if name.0.len() <= Domain::MAX_LEN && name.parsed().is_some() {
            return Ok(name);
        }
        Err(ValueError { expected: "a domain, @domain or #name (RFC 1985 section 5)" })
    }

    fn parsed(&self) -> Option<Queue<'b>> {
        match self.0 {
            [b'#', queue @ ..] => {
                (!queue.is_empty() && queue.iter().all(u8::is_ascii_graphic)).then_some(Queue::Named(queue))
            }
            [b'@', domain @ ..] => Domain::new(domain).ok().map(Queue::Subdomains),
            domain => Domain::new(domain).ok().map(Queue::Host),
        }
    }

    /// What the name means.
    pub fn queue(&self) -> Queue<'b> {
        self.parsed().unwrap_or(Queue::Named(self.0))
    }
}
