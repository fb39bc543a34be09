//! How instructions and time are taken.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::case::{Case, Way};

/// Two patterns of callgrind, both for [`run_while_callgrind_collects`]: of two options with the same pattern, it keeps one.
pub const COLLECTED: [&str; 2] = ["*run_while_callgrind_collects*", "*while_callgrind_collects*"];

/// Runs a way once. Callgrind counts between entry and return.
#[inline(never)]
pub fn run_while_callgrind_collects(way: &mut Way, input: &[u8]) -> u64 {
    // Without this the call could become a jump, and callgrind would not see the return.
    black_box(way.run(input))
}

/// Samples of each way in a pass.
const SAMPLES: usize = 50;
/// A sample lasts so long at least, so that the clock's resolution and its own cost do not matter.
const SAMPLE: Duration = Duration::from_millis(4);
/// The median of so many passes is taken.
const PASSES: usize = 3;

/// Nanoseconds of CPU time that one run of each way takes.
///
/// Samples of all ways are taken in turn, so that a machine that slows down slows all of them. Of the samples the tenth
/// percentile counts, not the least: a virtual machine's clock gives impossible ones.
pub fn nanoseconds(case: &mut Case) -> Vec<f64> {
    let Case { input, ways, .. } = case;
    let runs: Vec<u32> = ways.iter_mut().map(|way| runs_of_a_sample(way, input)).collect();
    let passes: Vec<Vec<f64>> = (0..PASSES).map(|_| pass(ways, input, &runs)).collect();
    (0..ways.len()).map(|way| nth(passes.iter().map(|pass| pass[way]).collect(), PASSES / 2)).collect()
}

fn pass(ways: &mut [Way], input: &[u8], runs: &[u32]) -> Vec<f64> {
    let mut samples = vec![Vec::with_capacity(SAMPLES); ways.len()];
    for _ in 0..SAMPLES {
        for ((way, runs), samples) in ways.iter_mut().zip(runs).zip(&mut samples) {
            samples.push(sample(way, input, *runs) / f64::from(*runs));
        }
    }
    samples.into_iter().map(|samples| nth(samples, SAMPLES / 10)).collect()
}

fn sample(way: &mut Way, input: &[u8], runs: u32) -> f64 {
    let start = cpu_time();
    for _ in 0..runs {
        way.run(input);
    }
    (cpu_time() - start).as_secs_f64() * 1e9
}

fn runs_of_a_sample(way: &mut Way, input: &[u8]) -> u32 {
    let mut runs = 1;
    while sample(way, input, runs) < SAMPLE.as_secs_f64() * 1e9 {
        runs *= 2;
    }
    runs
}

fn nth(mut values: Vec<f64>, n: usize) -> f64 {
    *values.select_nth_unstable_by(n, f64::total_cmp).1
}

fn cpu_time() -> Duration {
    // The time of this thread is not negative and fits.
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}
