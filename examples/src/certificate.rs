//! Whose a client's certificate is: the account that an address in it names.
//!
//! TLS has verified the certificate and that the client has its key. Which addresses a certificate names is the word of the configured authority alone.

use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::accounts::{Account, Accounts};
use crate::config::Config;

/// The account of the first address in the certificate, in DER, that is one of ours: `anna@` one of the domains, exactly.
pub fn account_of(certificate: &[u8], config: &Config, accounts: &Accounts) -> Option<Arc<Account>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| {
        let GeneralName::RFC822Name(address) = name else { return None };
        let (local_part, domain) = address.rsplit_once('@')?;
        config.is_local(domain.as_bytes()).then(|| accounts.find(local_part)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_certificate_is_of_the_account_that_an_address_in_it_names() {
        let data = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(data.path()).unwrap();
        accounts.add("anna", "secret").unwrap();
        let config = Config::default();
        let key = KeyPair::generate().unwrap();
        let address = |text: &str| SanType::Rfc822Name(text.try_into().unwrap());
        for (names, account) in [
            (vec![address("anna@localhost")], Some("anna")),
            (vec![address("Anna@LOCALHOST")], Some("anna")),
            (vec![address("anna@example.org"), address("nobody@localhost"), address("anna@localhost")], Some("anna")),
            (vec![address("anna@example.org")], None),
            (vec![address("anna+list@localhost")], None),
            (vec![address("anna@localhost@example.org")], None),
            (vec![address("anna")], None),
            (vec![SanType::DnsName("anna.localhost".try_into().unwrap())], None),
            (vec![SanType::URI("anna@localhost".try_into().unwrap())], None),
            (vec![], None),
        ] {
            let mut params = CertificateParams::default();
            params.subject_alt_names = names.clone();
            let certificate = params.self_signed(&key).unwrap();
            let found = account_of(certificate.der(), &config, &accounts);
            assert_eq!(found.map(|account| account.name.clone()).as_deref(), account, "{names:?}");
        }
        assert_eq!(account_of(b"no certificate", &config, &accounts), None);
    }
}
