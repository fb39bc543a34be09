//! What is measured.

use std::hint::black_box;

/// Makes a case, its input included. Cases are made one after the other, so that only one input is in memory.
pub type Build = fn() -> Case;

type Run = Box<dyn FnMut(&[u8]) -> u64>;

/// The same work done in several ways on the same input.
pub struct Case {
    /// Crate and subject: `pop3 commands`.
    pub name: String,
    /// What figures are given per: `command`.
    pub unit: &'static str,
    /// How many units the input holds.
    pub units: u32,
    /// What every way is shown.
    pub input: Vec<u8>,
    /// Ours, then the peers, then the floors.
    pub ways: Vec<Way>,
    /// What must hold.
    pub gates: Vec<Gate>,
}

/// One way to do the work.
pub struct Way {
    /// Crate and version for a peer, the type that does the work for ours.
    pub name: &'static str,
    /// Who it is.
    pub role: Role,
    run: Run,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// One of our crates.
    Ours,
    /// Another crate, which comes to the same result.
    Peer,
    /// Something that cannot be left out, such as copying the octets. It has no result to compare.
    Floor,
}

/// What must hold of a case, between two of its ways in the same run.
#[derive(Clone, Copy, Debug)]
pub enum Gate {
    /// `ours` executes at most so many times the instructions of `other`.
    Instructions {
        /// The way that must hold it.
        ours: &'static str,
        /// The way it is compared with.
        other: &'static str,
        /// The largest quotient.
        at_most: f64,
    },
    /// The way allocates nothing at all, once warm.
    NoAllocations(&'static str),
    /// `ours` takes at most so many times the CPU time of `other`.
    Time {
        /// The way that must hold it.
        ours: &'static str,
        /// The way it is compared with.
        other: &'static str,
        /// The largest quotient.
        at_most: f64,
    },
}

impl Case {
    /// A case without ways.
    pub fn new(name: impl Into<String>, unit: &'static str, units: u32, input: Vec<u8>) -> Self {
        Self { name: name.into(), unit, units, input, ways: Vec::new(), gates: Vec::new() }
    }

    /// Adds one of our ways. It returns a checksum of what it found.
    #[must_use]
    pub fn ours(self, name: &'static str, run: impl FnMut(&[u8]) -> u64 + 'static) -> Self {
        self.way(name, Role::Ours, run)
    }

    /// Adds a peer's way. Its checksum must be ours.
    #[must_use]
    pub fn peer(self, name: &'static str, run: impl FnMut(&[u8]) -> u64 + 'static) -> Self {
        self.way(name, Role::Peer, run)
    }

    /// Adds a floor. What it returns is not compared.
    #[must_use]
    pub fn floor(self, name: &'static str, run: impl FnMut(&[u8]) -> u64 + 'static) -> Self {
        self.way(name, Role::Floor, run)
    }

    fn way(mut self, name: &'static str, role: Role, run: impl FnMut(&[u8]) -> u64 + 'static) -> Self {
        self.ways.push(Way { name, role, run: Box::new(run) });
        self
    }

    /// Adds a gate.
    #[must_use]
    pub fn gate(mut self, gate: Gate) -> Self {
        self.gates.push(gate);
        self
    }

    /// Adds gates.
    #[must_use]
    pub fn gates(mut self, gates: impl IntoIterator<Item = Gate>) -> Self {
        self.gates.extend(gates);
        self
    }

    /// Adds the gate that none of our ways allocates.
    #[must_use]
    pub fn without_allocations(mut self) -> Self {
        let ours = self.ways.iter().filter(|way| way.role == Role::Ours);
        self.gates.extend(ours.map(|way| Gate::NoAllocations(way.name)));
        self
    }

    /// Runs every way once, which also warms it, and compares the checksums.
    ///
    /// # Panics
    ///
    /// When two ways find different things: their figures would mean nothing.
    pub fn check(&mut self) {
        let Self { name, input, ways, .. } = self;
        let results: Vec<_> = ways.iter_mut().map(|way| (way.role, way.name, way.run(input))).collect();
        let mut found = results.iter().filter(|(role, ..)| *role != Role::Floor);
        let agreed = found.clone().all(|(.., sum)| found.clone().next().is_some_and(|(.., first)| first == sum));
        assert!(agreed && found.next().is_some(), "{name}: the ways found different things: {results:?}");
    }

    /// What the others are compared with: the first peer, or else the first floor, or else ours.
    pub fn baseline(&self) -> usize {
        let first = |role| self.ways.iter().position(|way| way.role == role);
        first(Role::Peer).or(first(Role::Floor)).unwrap_or(0)
    }
}

impl Way {
    /// Does the work once and returns the checksum.
    pub fn run(&mut self, input: &[u8]) -> u64 {
        black_box((self.run)(black_box(input)))
    }
}
