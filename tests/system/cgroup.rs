//! A control group of a machine's own.
//!
//! `systemd-nspawn --keep-unit` puts the machine below the group of its caller. Two machines
//! below one group would take each other's services for their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often and for how long removal is tried: a process leaves its group a little after it died.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// The group, in each hierarchy that systemd uses: the unified one, and on hosts that have both
/// kinds its named one. It is removed when this is dropped; its processes must have ended.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the group `name` below that of this process.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mine = fs::read_to_string("/proc/self/cgroup")?;
        let mut group = Self { folders: Vec::new() };
        for line in mounts.lines() {
            let [_, at, kind, options, ..] = line.split(' ').collect::<Vec<_>>()[..] else {
                continue;
            };
            let named = options.split(',').any(|option| option == "name=systemd");
            let hierarchy = match kind {
                "cgroup2" => "",
                "cgroup" if named => "name=systemd",
                _ => continue,
            };
            let within = mine.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                (controllers == hierarchy).then_some(path)
            });
            let Some(within) = within else { continue };
            let folder = Path::new(at).join(within.trim_start_matches('/')).join(name);
            fs::create_dir(&folder)?;
            group.folders.push(folder);
        }
        Ok(group)
    }

    /// The files a process writes its number to in order to be in the group.
    pub(crate) fn doors(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().map(|folder| folder.join("cgroup.procs"))
    }
}

impl Drop for Cgroup {
    #[allow(clippy::disallowed_methods, reason = "nothing can be awaited in a drop")]
    fn drop(&mut self) {
        for folder in &self.folders {
            let mut tries = 0;
            while let Err(error) = remove(folder) {
                tries += 1;
                if tries == TRIES {
                    eprintln!("left behind: {}: {error}", folder.display());
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Removes a group and those below it; the files in them are the kernel's.
fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}
