use postrider_pop3_proto::{Expire, Extensions, Mechanism};

/// Every extension there is, to be offered.
pub(crate) fn everything() -> Extensions {
    Extensions {
        expire: Some(Expire::Never),
        lang: true,
        last: true,
        sasl: vec![Mechanism::PLAIN, Mechanism::SCRAM_SHA_256],
        stls: true,
        utf8: Some(true),
        ..Extensions::default()
    }
}
