//! Allocations of a second run of each way; and the gates on them.
//!
//! A program of its own: the allocator that counts would burden the ways that allocate in the other measurements.

use std::process::ExitCode;

use allocation_counter::measure;
use postrider_benches::case::{Case, Way};
use postrider_benches::on_the_processor;
use postrider_benches::report::{Quantity, Report, selected};

#[expect(clippy::cast_precision_loss, reason = "nobody allocates 2^53 times")]
fn main() -> ExitCode {
    // A counter that counts nothing would let every gate hold.
    assert_eq!(measure(|| drop(std::hint::black_box(vec![0_u8; 100]))).count_total, 1);
    let mut report = Report::new(Quantity::Allocations);
    for mut case in selected(on_the_processor()) {
        let Case { ways, input, .. } = &mut case;
        let count = |way: &mut Way| measure(|| _ = way.run(input)).count_total as f64;
        let counts: Vec<_> = ways.iter_mut().map(count).collect();
        report.add(&case, &counts);
    }
    report.finish()
}
