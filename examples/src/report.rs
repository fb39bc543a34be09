//! Reports that a message was delivered, for senders who asked for one: [RFC 3461 section 6.2](https://www.rfc-editor.org/rfc/rfc3461#section-6.2),
//! in the form of [RFC 3464](https://www.rfc-editor.org/rfc/rfc3464), for addresses in UTF-8 of [RFC 6533](https://www.rfc-editor.org/rfc/rfc6533).

use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;

/// What is reported.
#[derive(Clone, Debug)]
pub struct Report<'r> {
    /// Who reports: the server's name.
    pub host: &'r str,
    /// To whom: the message's sender, without brackets.
    pub to: &'r str,
    /// When, as in `Date`.
    pub date: &'r str,
    /// `Message-ID` of the report, with its brackets.
    pub id: &'r str,
    /// What the sender called the transaction: `ENVID`.
    pub envelope_id: Option<&'r str>,
    /// Who has the message.
    pub delivered: Vec<Delivered<'r>>,
}

/// One who has the message.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'r> {
    /// The recipient, without brackets.
    pub recipient: &'r str,
    /// The recipient as the sender wrote it, `type;address`: `ORCPT`.
    pub original: Option<&'r str>,
}

impl Report<'_> {
    /// The message, with CRLF.
    pub fn message(&self) -> Vec<u8> {
        let global = if self.is_ascii() { "message/delivery-status" } else { "message/global-delivery-status" };
        let parts = vec![
            MimePart::new(ContentType::new("text/plain").attribute("charset", "utf-8"), self.text()),
            MimePart::new(ContentType::new(global), self.fields().into_bytes()).transfer_encoding(self.encoding()),
        ];
        let report = ContentType::new("multipart/report").attribute("report-type", "delivery-status");
        let message = MessageBuilder::new()
            .header("From", Raw::new(format!("Mail delivery <postmaster@{}>", self.host)))
            .header("To", Raw::new(self.to))
            .header("Date", Raw::new(self.date))
            .header("Message-ID", Raw::new(self.id))
            .header("Auto-Submitted", Raw::new("auto-replied"))
            .subject("Delivered")
            .body(MimePart::new(report, parts));
        // It writes to memory, which does not fail.
        message.write_to_vec().unwrap_or_default()
    }

    fn is_ascii(&self) -> bool {
        self.delivered.iter().all(|one| one.recipient.is_ascii() && one.original.is_none_or(str::is_ascii))
    }

    fn encoding(&self) -> &'static str {
        if self.is_ascii() { "7bit" } else { "8bit" }
    }

    fn text(&self) -> String {
        let recipients: String = self.delivered.iter().map(|one| format!("    {}\r\n", one.recipient)).collect();
        format!("Your message has been delivered to:\r\n\r\n{recipients}")
    }

    /// [RFC 3464 section 2](https://www.rfc-editor.org/rfc/rfc3464#section-2).
    fn fields(&self) -> String {
        let mut fields = format!("Reporting-MTA: dns;{}\r\n", self.host);
        if let Some(id) = self.envelope_id {
            fields += &format!("Original-Envelope-Id: {id}\r\n");
        }
        for Delivered { recipient, original } in &self.delivered {
            let kind = if recipient.is_ascii() { "rfc822" } else { "utf-8" };
            fields += "\r\n";
            if let Some(original) = original {
                fields += &format!("Original-Recipient: {original}\r\n");
            }
            fields += &format!("Final-Recipient: {kind};{recipient}\r\nAction: delivered\r\nStatus: 2.0.0\r\n");
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report<'r>(delivered: &[Delivered<'r>]) -> String {
        let report = Report {
            host: "mail.example",
            to: "anna@example.org",
            date: "Tue, 3 Feb 2026 10:20:30 +0000",
            id: "<1@mail.example>",
            envelope_id: Some("QQ 314"),
            delivered: delivered.to_vec(),
        };
        String::from_utf8(report.message()).unwrap()
    }

    #[test]
    fn a_report_has_the_parts_and_fields_that_programs_look_for() {
        let one = Delivered { recipient: "bob@mail.example", original: Some("rfc822;Bob+x@mail.example") };
        let two = Delivered { recipient: "carl@mail.example", original: None };
        let report = report(&[one, two]);
        for expected in [
            "To: anna@example.org\r\n",
            "Content-Type: multipart/report;",
            "report-type=\"delivery-status\"",
            "Content-Type: message/delivery-status\r\n",
            "\r\n\r\nReporting-MTA: dns;mail.example\r\nOriginal-Envelope-Id: QQ 314\r\n\r\n\
             Original-Recipient: rfc822;Bob+x@mail.example\r\nFinal-Recipient: rfc822;bob@mail.example\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\n\
             Final-Recipient: rfc822;carl@mail.example\r\n",
            "Auto-Submitted: auto-replied\r\n",
        ] {
            assert!(report.contains(expected), "{expected} is missing in {report}");
        }
        assert!(report.is_ascii() && !report.replace("\r\n", "").contains('\n'), "{report}");
    }

    #[test]
    fn addresses_in_utf_8_make_it_a_report_of_their_kind() {
        let one = Delivered { recipient: "gr\u{fc}n@mail.example", original: None };
        let report = report(&[one]);
        assert!(report.contains("Content-Type: message/global-delivery-status\r\n"), "{report}");
        assert!(report.contains("Final-Recipient: utf-8;gr\u{fc}n@mail.example\r\n"), "{report}");
    }
}
