//! Inputs: functions of fixed seeds alone, so that two machines measure the same octets.

pub(crate) mod content;
pub(crate) mod pop3;
pub(crate) mod smtp;

/// SplitMix64: small, and good enough for names and sizes.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number from `from` to `below` without it.
    pub(crate) fn number(&mut self, from: u64, below: u64) -> u64 {
        from + self.bits() % (below - from)
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.number(0, 100) < chance
    }

    pub(crate) fn one_of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        let index = usize::try_from(self.number(0, all.len() as u64)).unwrap_or_default();
        all[index]
    }

    pub(crate) fn host(&mut self) -> &'static str {
        self.one_of(&[
            "example.com",
            "example.net",
            "example.org",
            "mail.example.com",
            "mx1.example.net",
            "lists.example.org",
            "corp.example.com",
            "news.example.net",
            "relay-02.dc3.example.com",
            "students.uni.example.edu",
            "a.example",
            "b.example",
            "de-fra-edge-7.example",
        ])
    }

    pub(crate) fn first_name(&mut self) -> &'static str {
        self.one_of(&[
            "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj",
            "olivia", "peggy", "rupert", "sybil", "trent", "victor", "walter", "xenia", "yusuf", "zoe",
        ])
    }

    pub(crate) fn address(&mut self) -> String {
        let last =
            ["smith", "jones", "garcia", "miller", "martinez", "lopez", "anderson", "thompson", "robinson", "king"];
        let words = ["invoice", "schedule", "review", "server", "network", "backup", "mailbox", "tomorrow"];
        let local = match self.number(0, 100) {
            0..55 => format!("{}.{}", self.first_name(), self.one_of(&last)),
            55..80 => format!("{}{}", self.first_name(), self.number(1, 9999)),
            80..95 => format!("{}+{}", self.first_name(), self.one_of(&words)),
            _ => format!("bounce-{:016x}={}", self.bits(), self.first_name()),
        };
        format!("{local}@{}", self.host())
    }
}
