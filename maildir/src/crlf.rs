/// Counts what a message grows by when every line end becomes CRLF: one octet for each LF without a CR before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CrlfCounter {
    bare: u64,
    after_cr: bool,
}

impl CrlfCounter {
    pub(crate) fn count(&mut self, octets: &[u8]) {
        let (Some(&first), Some(&last)) = (octets.first(), octets.last()) else { return };
        let mut bare = usize::from(first == b'\n' && !self.after_cr);
        // Without branches, so that the compiler makes it many octets at a time.
        let pairs = octets.iter().zip(octets.iter().skip(1));
        bare += pairs.map(|(&before, &octet)| usize::from((octet == b'\n') & (before != b'\r'))).sum::<usize>();
        self.bare += bare as u64;
        self.after_cr = last == b'\r';
    }

    /// The size in octets with CRLF, of a message that has `size` octets.
    pub(crate) fn size(self, size: u64) -> u64 {
        size + self.bare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_lf_counts_two_however_the_message_is_cut() {
        let message = b"\na\r\nb\n\n\r\r\nc\r";
        for cut in 0..=message.len() {
            let (head, tail) = message.split_at(cut);
            let mut counter = CrlfCounter::default();
            counter.count(head);
            counter.count(tail);
            assert_eq!(counter.size(message.len() as u64), message.len() as u64 + 3, "cut at {cut}");
        }
    }
}
