//! The cases as inputs of the fuzz targets.

use std::io;
use std::path::Path;

use super::cases::{Taken, groups};
use super::target::Target;

/// What comes before the octets on the wire in the input of a target: its choices, all of them 0.
const TARGETS: [(&str, usize); 2] = [("smtp_server_splits", 11), ("smtp_smuggling", 5)];

/// Larger ones take the fuzzer's time and show nothing more.
const MOST: usize = 2000;

/// Writes an input for each case into the folder of its target; gives how many.
///
/// # Errors
///
/// When a file cannot be written.
pub(crate) fn write(folder: &Path) -> io::Result<usize> {
    let mut target = Target::new("a@b");
    target.bad = Some("c@b".to_owned());
    let mut count = 0;
    for (group, cases) in groups() {
        for case in cases {
            let name = format!("kit-{group}-{}", file_name(&case.title));
            let message = matches!(&case.taken, Taken::AtMost(_));
            let (to, before) = TARGETS[usize::from(message)];
            let said: Vec<_> = case
                .turns
                .iter()
                .filter(|turn| turn.when.is_none())
                .filter_map(|turn| target.expand(&turn.say))
                .collect();
            let wire = if message {
                without_end(&said[0]).to_vec()
            } else {
                [begin(&case.begin, &target), said.concat()].concat()
            };
            if wire.len() <= MOST {
                std::fs::create_dir_all(folder.join(to))?;
                std::fs::write(folder.join(to).join(name), [vec![0; before], wire].concat())?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// What is said up to where a case begins.
fn begin(place: &str, target: &Target) -> Vec<u8> {
    let steps = super::STEPS.iter().position(|(name, ..)| *name == place).unwrap_or(0);
    super::STEPS[..=steps].iter().filter_map(|(_, line, _)| target.expand(line)).flatten().collect()
}

fn without_end(wire: &[u8]) -> &[u8] {
    wire.strip_suffix(b".\r\n").unwrap_or(wire)
}

fn file_name(title: &str) -> String {
    let words =
        title.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}
