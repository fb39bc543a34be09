//! Waiting for a lock that has no queue.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

/// The first pause; a delivery of common size holds a lock about as long.
const FIRST: Duration = Duration::from_millis(2);

/// The longest pause: who waits for long is not much later for it.
const LONGEST: Duration = Duration::from_millis(200);

/// Pauses between attempts, longer each time, and of random length, so that two who keep each other out do not stay in step.
#[derive(Debug)]
pub(crate) struct Patience {
    begun: Instant,
    timeout: Duration,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { begun: Instant::now(), timeout, pause: FIRST }
    }

    pub(crate) fn waited(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Pauses before another attempt; `false`, at once, if the time is over.
    pub(crate) fn pause(&mut self) -> bool {
        let left = self.timeout.saturating_sub(self.waited());
        if left.is_zero() {
            return false;
        }
        // Between a half and the whole.
        thread::sleep((self.pause / 2 + (self.pause / 2).mul_f64(chance())).min(left));
        self.pause = (self.pause * 2).min(LONGEST);
        true
    }
}

/// A number from 0 to 1 that differs from thread to thread and from call to call; the standard library seeds its hash tables with such.
fn chance() -> f64 {
    f64::from(u32::try_from(random() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// Octets that differ from process to process, from thread to thread and from call to call.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
