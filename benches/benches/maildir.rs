//! Wall time, measured by criterion: that of the disk is in it.

use postrider_benches::maildir::{CASES, DELIVERIES};
use postrider_benches::report::with_criterion;

fn main() {
    with_criterion(CASES);
    with_criterion(DELIVERIES);
}
