//! Wall time, measured by criterion.

use postrider_benches::report::with_criterion;

fn main() {
    with_criterion(postrider_benches::mbox::CASES);
}
