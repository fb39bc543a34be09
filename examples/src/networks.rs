//! Lists of networks, as an operator writes them: `["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// Networks of IPv4 and IPv6. An address by itself is a network of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// This machine itself.
    pub fn loopback() -> Self {
        Self(["127.0.0.0/8", "::1/128"].into_iter().filter_map(|network| network.parse().ok()).collect())
    }

    /// Whether one of them holds `address`. An IPv4 address is one however the socket has it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// What has bits set behind its prefix is refused: it may be meant as an address or as a network.
fn parse(text: &str) -> Result<IpNet, String> {
    let address = text.parse().map(|address: IpAddr| IpNet::from(address.to_canonical()));
    let network = address.or_else(|_| text.parse::<IpNet>());
    let expected = "expected networks, as in \"192.0.2.0/24\" or \"2001:db8::/32\"";
    let network = network.map_err(|_| format!("{expected}, found {text:?}"))?;
    if network == network.trunc() { Ok(network) } else { Err(format!("expected {}, found {text:?}", network.trunc())) }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| parse(text)).collect::<Result<_, _>>().map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks(texts.iter().map(|text| parse(text).unwrap()).collect())
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let networks = networks(&["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]);
        for (address, held) in [
            ("192.0.2.255", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.3.0", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(networks.contains(address.parse().unwrap()), held, "{address}");
        }
        assert!(!Networks::default().contains("127.0.0.1".parse().unwrap()));
        assert!(Networks::loopback().contains("127.3.2.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for (text, says) in [
            ("192.0.2.1/24", "expected 192.0.2.0/24"),
            ("2001:db8::1/32", "expected 2001:db8::/32"),
            ("192.0.2.0/33", "192.0.2.0/33"),
            ("example.org", "example.org"),
            ("", "expected networks"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
