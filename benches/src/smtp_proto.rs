//! postrider-smtp-proto beside smtp-proto 0.2.5 (Stalwart).

mod commands;
mod data;
mod replies;

use crate::case::Build;
use crate::inputs::content::Dots;

/// All cases.
pub const CASES: &[Build] = &[
    || commands::commands("bare", false),
    || commands::commands("rich", true),
    replies::replies,
    replies::hellos,
    || data::data("1k, no dots", 1 << 10, Dots::None),
    || data::data("1k, 2 % dots", 1 << 10, Dots::Percent(2)),
    || data::data("1k, all dots", 1 << 10, Dots::All),
    || data::data("100k, no dots", 100 << 10, Dots::None),
    || data::data("100k, 2 % dots", 100 << 10, Dots::Percent(2)),
    || data::data("100k, all dots", 100 << 10, Dots::All),
    || data::data("10m, no dots", 10 << 20, Dots::None),
    || data::data("10m, 2 % dots", 10 << 20, Dots::Percent(2)),
    || data::data("10m, all dots", 10 << 20, Dots::All),
    || data::chunks("100k", 100 << 10),
    || data::chunks("10m", 10 << 20),
    data::sent,
];

const SMTP_PROTO: &str = "smtp-proto 0.2.5";
