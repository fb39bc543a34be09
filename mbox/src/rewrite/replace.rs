//! A new file in the place of the old one.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

use crate::calls;
use crate::error::Error;
use crate::mailbox::Locked;
use crate::rewrite::Beside;
use crate::rewrite::output::Output;
use crate::rewrite::plan::Plan;

impl Locked {
    /// `false`, and nothing has changed: what the file has cannot be given to another.
    pub(super) fn replace(&mut self, before: &Metadata, plan: &Plan) -> Result<bool, Error> {
        if before.nlink() > 1 {
            return Ok(false);
        }
        let beside = self.beside()?;
        let made = calls::remove_leftover(&beside.growing).and_then(|()| calls::create(&beside.growing, 0o600));
        let file = match made {
            Err(error) if error.is_forbidden() => return Ok(false),
            made => made?,
        };
        let filled = self.fill(&file, &beside, before, plan);
        if !matches!(filled, Ok(true)) {
            // What is left there goes the next time.
            let _ = calls::remove(&beside.growing);
            return match filled {
                Err(error) if error.is_forbidden() || error.is_out_of_space() => Ok(false),
                filled => filled,
            };
        }
        self.exchange(file);
        calls::sync_directory(&beside.directory)?;
        Ok(true)
    }

    fn fill(&self, file: &File, beside: &Beside, before: &Metadata, plan: &Plan) -> Result<bool, Error> {
        calls::set_attributes(file, &beside.growing, self.file())?;
        let mut output = Output::new(file, &beside.growing);
        output.copy_planned(self.file(), self.path(), 0, before.len(), plan)?;
        output.flush()?;
        // Whoever opens it from its first moment on finds it locked.
        if !self.lock_too(file)? {
            return Ok(false);
        }
        self.set_times_of(file, before, plan);
        calls::sync_file(file, &beside.growing)?;
        // To copy much may have taken long.
        self.touch()?;
        calls::rename(&beside.growing, &beside.real)?;
        Ok(true)
    }
}
