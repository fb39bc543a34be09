//! What peers say first when they came to the wrong port.
//!
//! A browser can be made to send a request to any port, with lines of its sender's choice in the body: a server that answers the request with an
//! error and reads on comes to obey them.

/// The protocol of a client, by the first octets of a connection, as many as have come: `TLS` or `HTTP`.
///
/// TLS begins with a handshake record ([RFC 8446 section 5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)), HTTP with one of the methods a
/// browser can send of its own accord. No command of SMTP or POP3 looks like that.
pub fn foreign_start(input: &[u8]) -> Option<&'static str> {
    const METHODS: [&[u8]; 7] = [b"CONNECT ", b"GET ", b"HEAD ", b"OPTIONS ", b"POST ", b"PRI ", b"PUT "];
    if input.first() == Some(&0x16) {
        return Some("TLS");
    }
    METHODS.iter().any(|method| input.starts_with(method)).then_some("HTTP")
}

/// The protocol of a client, by its first line, whole: `HTTP`, whatever the method
/// ([RFC 9112 section 3](https://www.rfc-editor.org/rfc/rfc9112#section-3)).
pub fn foreign_line(line: &[u8]) -> Option<&'static str> {
    let version = line.rsplit(|octet| *octet == b' ').next().unwrap_or_default();
    version.starts_with(b"HTTP/").then_some("HTTP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_tls_clients_are_known_by_what_they_say_first() {
        assert_eq!(foreign_start(b"\x16\x03\x01"), Some("TLS"));
        assert_eq!(foreign_start(b"POST /"), Some("HTTP"));
        assert_eq!(foreign_line(b"PROPFIND / HTTP/1.1"), Some("HTTP"));
        for ours in [&b"EHLO HTTP"[..], b"USER GET", b"GET", b"", b"POSTMASTER "] {
            assert_eq!((foreign_start(ours), foreign_line(ours)), (None, None), "{}", ours.escape_ascii());
        }
    }
}
