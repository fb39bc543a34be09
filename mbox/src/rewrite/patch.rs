//! Octets that are changed where they are.

use std::fs::Metadata;
use std::os::unix::fs::FileExt;

use crate::calls;
use crate::error::{Error, Operation};
use crate::mailbox::Locked;
use crate::rewrite::plan::{Plan, Splice};

/// What disks write as a whole or not at all.
const SECTOR: u64 = 512;

impl Locked {
    /// Writes what differs: as it is, if no power failure can tear it, and by way of a journal otherwise.
    pub(super) fn patch(&mut self, before: &Metadata, plan: &Plan) -> Result<(), Error> {
        let splices: Vec<_> = plan.splices.iter().map(|splice| self.difference(splice)).collect::<Result<_, _>>()?;
        let is_torn = |splice: &Splice| splice.range.start / SECTOR != splice.range.end.saturating_sub(1) / SECTOR;
        if splices.iter().any(is_torn) {
            let plan = Plan { splices, ..Plan::clone(plan) };
            return self.write_in_place(before, &plan);
        }
        for splice in &splices {
            calls::write_at(self.file(), self.path(), splice.range.start, &splice.octets)?;
        }
        self.set_times(before, plan);
        calls::sync_file(self.file(), self.path())
    }

    /// A splice without what is the same at its ends.
    fn difference(&self, splice: &Splice) -> Result<Splice, Error> {
        let mut old = vec![0; splice.octets.len()];
        let read = self.file().read_exact_at(&mut old, splice.range.start);
        read.map_err(|source| Error::io(Operation::Read, self.path(), source))?;
        let differs = || old.iter().zip(&splice.octets).map(|(old, new)| old != new);
        let first = differs().position(|differs| differs).unwrap_or(old.len());
        let behind = differs().rposition(|differs| differs).map_or(first, |last| last + 1);
        let octets = splice.octets.get(first..behind).unwrap_or_default().to_vec();
        let start = splice.range.start + first as u64;
        Ok(Splice { range: start..start + octets.len() as u64, octets })
    }
}
