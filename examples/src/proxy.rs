//! Reads the header that a proxy puts before a connection, to say whose connection it is: the [PROXY protocol](https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt),
//! versions 1 and 2.
//!
//! Whoever may send such a header may claim any address. So it is read from configured peers only, once, and before anything else; those
//! peers must send it. Not an octet behind it is taken from the socket: a greeting, a TLS handshake or a client that speaks too early find the
//! connection as if there were no proxy.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Octets of a header of version 1, CRLF included: section 2.1.
const MAX_V1: usize = 107;

/// Octets of a header of version 2. Addresses take 232 at the most; what follows them, such as a client's certificate, is not used here.
const MAX_V2: usize = 4096;

/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Octets before the addresses in version 2: signature, command, family, and the length of what follows.
const FIXED: usize = 16;

/// The command of version 2 that says: this connection is the proxy's own.
const LOCAL: u8 = 0x20;

/// Why a connection that should begin with a header cannot go on.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The connection ended before the header did.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// A header that says nothing that can be understood, or other than TCP.
    #[error("malformed PROXY header")]
    Malformed,
    /// The peer began with something else.
    #[error("no PROXY header")]
    Missing,
    /// The header does not end in time.
    #[error("PROXY header of more than {limit} octets")]
    TooLong {
        /// How many it may have.
        limit: usize,
    },
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
}

/// Takes the header from the front of `stream`. `None`: the connection is the proxy's own, or whose it is is not known.
///
/// # Errors
///
/// When the header does not come, or is none.
pub async fn receive(stream: &mut TcpStream) -> Result<Option<Addresses>, ProxyError> {
    let mut header = Vec::new();
    let mut ahead = [0; 256];
    loop {
        // Only what belongs to the header is taken; the rest stays with the socket.
        let before = header.len();
        let more = stream.peek(&mut ahead).await?;
        if more == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        header.extend_from_slice(&ahead[..more]);
        let len = whole(&header)?;
        header.truncate(len.unwrap_or(header.len()));
        stream.read_exact(&mut header[before..]).await?;
        if len.is_some() {
            return parse(&header);
        }
    }
}

/// The length of the header at the front of `octets`, once it can be told; for version 1, once it is all there.
fn whole(octets: &[u8]) -> Result<Option<usize>, ProxyError> {
    let begins = |with: &[u8]| octets.iter().zip(with).all(|(a, b)| a == b);
    let (len, limit) = if begins(b"PROXY ") {
        (memchr::memchr(b'\n', octets).map(|at| at + 1), MAX_V1)
    } else if begins(SIGNATURE) {
        (octets.get(FIXED - 2..FIXED).map(|len| FIXED + usize::from(u16::from_be_bytes([len[0], len[1]]))), MAX_V2)
    } else {
        return Err(ProxyError::Missing);
    };
    match len {
        Some(len) if len > limit => Err(ProxyError::TooLong { limit }),
        Some(len) if len <= octets.len() => Ok(Some(len)),
        None if octets.len() >= limit => Err(ProxyError::TooLong { limit }),
        _ => Ok(None),
    }
}

/// What a whole header says.
fn parse(header: &[u8]) -> Result<Option<Addresses>, ProxyError> {
    if header.starts_with(SIGNATURE) && header.get(SIGNATURE.len()) == Some(&LOCAL) {
        // What such a header says besides is to be ignored, even where it makes no sense.
        return Ok(None);
    }
    let (parsed, len) = ProxyHeader::parse(header, ParseConfig::default()).map_err(|_| ProxyError::Malformed)?;
    match parsed.proxied_address() {
        _ if len != header.len() => Err(ProxyError::Malformed),
        Some(of) if of.protocol != proxy_header::Protocol::Stream => Err(ProxyError::Malformed),
        of => Ok(of.map(|of| Addresses { source: of.source, destination: of.destination })),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 25\r\n";
    /// A header of version 2 with these octets after its signature.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap();
        [SIGNATURE, &[command, family], &len.to_be_bytes(), rest].concat()
    }

    /// What follows UNKNOWN is to be ignored.
    fn v1_of(len: usize) -> Vec<u8> {
        let start = b"PROXY UNKNOWN ";
        [start, &vec![b'.'; len - start.len() - 2][..], b"\r\n"].concat()
    }

    fn v2_of_tcp4(more: usize) -> Vec<u8> {
        let addresses = [192, 0, 2, 1, 198, 51, 100, 2, 0x9C, 0x40, 0, 25];
        v2(0x21, 0x11, &[&addresses[..], &vec![0; more]].concat())
    }

    fn client() -> Option<Addresses> {
        let parse = |address: &str| address.parse().unwrap();
        Some(Addresses { source: parse("192.0.2.1:40000"), destination: parse("198.51.100.2:25") })
    }

    /// What is said of `octets` that come in pieces of `size`, and what is left of them.
    async fn received(octets: &[u8], size: usize) -> (Result<Option<Addresses>, String>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let send = async {
            for piece in octets.chunks(size) {
                let _ = client.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = client.shutdown().await;
        };
        let (received, ()) = tokio::join!(receive(&mut server), send);
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        (received.map_err(|error| error.to_string()), rest)
    }

    #[tokio::test]
    async fn a_header_is_taken_and_nothing_behind_it_however_it_is_cut() {
        for (header, addresses) in [
            (V1.to_vec(), client()),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v1_of(MAX_V1), None),
            (v2_of_tcp4(0), client()),
            (v2_of_tcp4(MAX_V2 - FIXED - 12), client()),
            (v2(LOCAL, 0, b""), None),
            (v2(LOCAL, 0x99, b"whatever"), None),
            (v2(0x21, 0, b""), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            for size in [1, 2, 7, 300, 10_000] {
                let octets = [&header[..], V1, b"EHLO c\r\n"].concat();
                let (found, rest) = received(&octets, size).await;
                assert_eq!(found, Ok(addresses), "{}", header.escape_ascii());
                assert_eq!(rest, [V1, b"EHLO c\r\n"].concat(), "{}", header.escape_ascii());
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_as_soon_as_it_can_be_told() {
        for (octets, says) in [
            (b"EHLO c\r\n".to_vec(), "no PROXY header"),
            (b"PROXYTCP4 192.0.2.1 198.51.100.2 40000 25\r\n".to_vec(), "no PROXY header"),
            (b"\x16\x03\x01\x02\x00".to_vec(), "no PROXY header"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 25\n".to_vec(), "malformed"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 65536\r\n".to_vec(), "malformed"),
            (b"PROXY TCP4 2001:db8::1 198.51.100.2 40000 25\r\n".to_vec(), "malformed"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 25\rx\n".to_vec(), "malformed"),
            (b"PROXY UDP4 192.0.2.1 198.51.100.2 40000 25\r\n".to_vec(), "malformed"),
            (b"PROXY \r\n".to_vec(), "malformed"),
            (v1_of(MAX_V1 + 1), "more than 107"),
            (b"PROXY TCP4 ".repeat(20), "more than 107"),
            (v2_of_tcp4(MAX_V2 - FIXED - 11), "more than 4096"),
            (v2(0x21, 0x12, &[0; 12]), "malformed"),
            (v2(0x21, 0x11, &[0; 11]), "malformed"),
            (v2(0x31, 0x11, &[0; 12]), "malformed"),
            (V1[..20].to_vec(), "connection lost"),
            (v2_of_tcp4(0)[..27].to_vec(), "connection lost"),
            (Vec::new(), "connection lost"),
        ] {
            let (found, _) = received(&octets, 10_000).await;
            let error = found.unwrap_err();
            assert!(error.contains(says), "{}: {error}", octets.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_octets_are_more_than_an_error(
            start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]),
            rest in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b" \r\n:.0123\x11\x21".to_vec())], 0..300),
        ) {
            let octets = [start, &rest].concat();
            if let Ok(Some(len)) = whole(&octets) {
                let _ = parse(&octets[..len]);
            }
        }
    }
}
