/// What a way found, in a form that two ways can be compared by. Cheap, and the same work for each.
#[derive(Clone, Copy, Default)]
pub(crate) struct Checksum(u64);

impl Checksum {
    /// Adds a number, the order of numbers counts.
    #[inline]
    pub(crate) fn add(&mut self, number: u64) {
        // The multiplier of FxHash.
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// Adds octets by their number alone: reading each would cost more than most of what is measured.
    #[inline]
    pub(crate) fn add_len(&mut self, octets: &[u8]) {
        self.add(octets.len() as u64);
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}
