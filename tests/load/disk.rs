//! The disk under the store: what one wait for it costs.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::statistics::{median, millis};

const APPENDS: usize = 200;

/// File system and device of `folder`, and the median time to append 4 KiB and wait for it.
pub(crate) fn describe(folder: &Path) -> String {
    let found = Command::new("findmnt").args(["-no", "FSTYPE,SOURCE", "-T"]).arg(folder).output();
    let system = found.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let mut file = File::create(folder.join("probe")).unwrap();
    let times: Vec<f64> = (0..APPENDS)
        .map(|_| {
            let started = Instant::now();
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            millis(started.elapsed())
        })
        .collect();
    let system = system.unwrap_or_else(|_| "an unknown file system".into());
    let system = system.split_whitespace().collect::<Vec<_>>().join(" on ");
    format!("{system}; 4 KiB appended and fdatasync: p50 {:.2} ms", median(&times))
}
