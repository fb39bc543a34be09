//! A bar on a terminal; nothing where standard error is none.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far one folder is.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar of `len` steps. `folder` stands before it.
    #[must_use]
    pub fn new(folder: &str, len: u64, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(Some(len), target);
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {percent:>3} %, {eta} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(super::octets::shown(folder.as_bytes()));
        Self(bar)
    }

    /// So many steps are done.
    pub fn at(&self, steps: u64) {
        self.0.set_position(steps);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
