//! Base64, in which SMTP, POP3 and IMAP carry SASL messages.

use alloc::vec::Vec;

use ::base64::engine::general_purpose::STANDARD;
use ::base64::engine::{DecodeEstimate, Engine};
use thiserror::Error;
use zeroize::Zeroize;

use crate::secret::Secret;

/// Text that is not base64 as [RFC 4648 section 4](https://www.rfc-editor.org/rfc/rfc4648#section-4) has it.
///
/// It does not say where: the position would tell about a secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not base64 (RFC 4648 section 4)")]
pub struct Base64Error;

/// Decodes base64: the standard alphabet, padded, nothing else in between.
///
/// # Errors
///
/// For anything else, non-zero bits after the last octet included.
pub fn decode(text: &[u8]) -> Result<Secret<'static>, Base64Error> {
    let mut octets = Vec::with_capacity(STANDARD.internal_decoded_len_estimate(text.len()).decoded_len_estimate());
    match STANDARD.decode_vec(text, &mut octets) {
        Ok(()) => Ok(Secret::from(octets)),
        Err(_) => {
            octets.zeroize();
            Err(Base64Error)
        }
    }
}

/// Appends the base64 of `octets` to `out`.
pub fn encode(octets: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + octets.len().div_ceil(3) * 4, 0);
    let written = out.get_mut(start..).map_or(0, |space| STANDARD.encode_slice(octets, space).unwrap_or(0));
    debug_assert_eq!(start + written, out.len(), "padded base64 has a known length");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_undoes_encoding(octets: Vec<u8>) {
            let mut text = b"+ ".to_vec();
            encode(&octets, &mut text);
            let decoded = decode(&text[2..]).map(|secret| secret.expose().to_vec());
            prop_assert_eq!(decoded, Ok(octets));
        }
    }
}
