//! What a client is to say, a line each, in front of the octets it hears.

/// The lines of a script, and behind its first blank line the octets of a server.
pub fn split(input: &[u8]) -> (&[u8], &[u8]) {
    let at = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(0);
    (&input[..at], input[at..].strip_prefix(b"\n\n").unwrap_or(input))
}

/// The first line of a script, and the lines behind it.
pub fn first_line(script: &[u8]) -> Option<(&[u8], &[u8])> {
    if script.is_empty() {
        return None;
    }
    let end = script.iter().position(|octet| *octet == b'\n').unwrap_or(script.len());
    Some((&script[..end], script.get(end + 1..).unwrap_or_default()))
}
