use postrider_pop3_proto::{Expire, Extensions, Mechanism};

/// Every extension there is, to be offered.
pub(crate) fn everything() -> Extensions {
    let mut extensions = Extensions::default();
    extensions.expire = Some(Expire::Never);
    extensions.lang = true;
    extensions.last = true;
    extensions.sasl = vec![Mechanism::PLAIN, Mechanism::SCRAM_SHA_256];
    extensions.stls = true;
    extensions.utf8 = Some(true);
    extensions
}
