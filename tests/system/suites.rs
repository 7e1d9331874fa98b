//! The Debian releases the package is for, and a root file system of each.
//!
//! A root is made by mmdebstrap once and kept under `target/system`. Machines boot from it over an
//! overlay, so that it stays as it was made.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// What is in a root besides essential packages. No compiler and no mail server: a fresh host.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,curl,procps,ca-certificates,iproute2";
/// A root older than this is made anew: Debian's packages move on.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// Where packages come from when the apt of this machine names no Debian mirror.
const MIRROR: &str = "http://deb.debian.org/debian";
/// What an operator may add to a fresh host; on [`Suite::Stocked`] it is downloaded already.
const STOCK: &str = "nginx openssl prometheus prometheus-alertmanager";
/// Done to a new root, as `sh` with the root as `$1`; the first not where it is stocked.
const FINISH: [&str; 4] = [
    // What a machine installs comes from the test; nothing can come from elsewhere.
    "rm -f \"$1\"/etc/apt/sources.list \"$1\"/etc/apt/sources.list.d/*",
    "printf '127.0.0.1 localhost\\n::1 localhost\\n' > \"$1\"/etc/hosts",
    ": > \"$1\"/etc/resolv.conf",
    "chroot \"$1\" systemctl mask apt-daily.timer apt-daily-upgrade.timer",
];

/// A Debian release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Debian 12, systemd 252.
    Bookworm,
    /// Debian 13, systemd 257.
    Trixie,
    /// Debian 12, where apt finds [`STOCK`] without a network.
    Stocked,
}

/// A root that exists for as long as this process lives.
struct Root {
    path: PathBuf,
    /// Locked for reading, so that nobody replaces the root under a machine.
    _lock: File,
}

impl Suite {
    /// [`Suite::Bookworm`], as the name of a test has it.
    pub(crate) fn bookworm() -> Self {
        Self::Bookworm
    }

    /// [`Suite::Trixie`], as the name of a test has it.
    pub(crate) fn trixie() -> Self {
        Self::Trixie
    }

    /// [`Suite::Stocked`], as the name of a test has it.
    pub(crate) fn stocked() -> Self {
        Self::Stocked
    }

    /// Its name, as its root has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Stocked => "bookworm-stocked",
        }
    }

    /// The release, as an archive of Debian knows it.
    fn release(self) -> &'static str {
        match self {
            Self::Bookworm | Self::Stocked => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// What its root is made of; another text asks for another root.
    fn made_of(self) -> String {
        match self {
            Self::Bookworm | Self::Trixie => PACKAGES.into(),
            Self::Stocked => format!("{PACKAGES}\n{STOCK}"),
        }
    }

    /// Its root file system, made if there is none.
    ///
    /// # Errors
    /// Why there can be none here: a reason to skip the test.
    pub(crate) fn root(self) -> Result<&'static Path, String> {
        static ROOTS: [OnceLock<Result<Root, String>>; 3] = [const { OnceLock::new() }; 3];
        let made = ROOTS[self as usize].get_or_init(|| self.find_or_make());
        made.as_ref().map(|root| root.path.as_path()).map_err(Clone::clone)
    }

    fn find_or_make(self) -> Result<Root, String> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("system");
        let failed = |error: io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        let lock = File::create(folder.join(self.name()).with_extension("lock")).map_err(failed)?;
        let path = folder.join(self.name());
        lock.lock_shared().map_err(failed)?;
        if !self.is_current(&path) {
            lock.unlock().map_err(failed)?;
            // Waits for machines of other processes, and for another that makes the same root.
            lock.lock().map_err(failed)?;
            if !self.is_current(&path) {
                self.make(&path)?;
            }
            lock.unlock().map_err(failed)?;
            lock.lock_shared().map_err(failed)?;
        }
        Ok(Root { path, _lock: lock })
    }

    fn make(self, path: &Path) -> Result<(), String> {
        let unfinished = path.with_extension("unfinished");
        for old in [path, &unfinished] {
            if old.exists() {
                fs::remove_dir_all(old).map_err(|e| format!("{}: {e}", old.display()))?;
            }
        }
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--mode=root", "--variant=apt", "--format=directory"]);
        mmdebstrap.arg(format!("--include={PACKAGES}"));
        if let Some(proxy) = output("apt-config", &["shell", "proxy", "Acquire::http::Proxy"])
            .and_then(|line| Some(line.split_once('\'')?.1.split_once('\'')?.0.to_owned()))
        {
            mmdebstrap.arg(format!("--aptopt=Acquire::http::Proxy \"{proxy}\""));
        }
        let download = format!(
            "chroot \"$1\" apt-get clean; \
             chroot \"$1\" apt-get install --yes --download-only --no-install-recommends {STOCK}"
        );
        let hooks = if self == Self::Stocked {
            mmdebstrap.arg("--skip=cleanup/apt");
            [&[download.as_str()], &FINISH[1..]].concat()
        } else {
            FINISH.to_vec()
        };
        for hook in hooks {
            mmdebstrap.arg(format!("--customize-hook={hook}"));
        }
        mmdebstrap.args([self.release(), unfinished.to_str().expect("a path of UTF-8"), &mirror()]);
        let made = mmdebstrap.output().map_err(|error| format!("mmdebstrap: {error}"))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            let last: Vec<_> = said.lines().rev().take(3).collect();
            return Err(format!("mmdebstrap {}: {}", self.name(), last.join(" / ")));
        }
        fs::write(stamp(&unfinished), self.made_of())
            .map_err(|e| format!("{}: {e}", path.display()))?;
        fs::rename(&unfinished, path).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Whether there is a root, young enough and made of what it should be made of.
    fn is_current(self, root: &Path) -> bool {
        let stamp = stamp(root);
        let age = fs::metadata(&stamp).and_then(|file| file.modified()).ok();
        let young = age.and_then(|made| made.elapsed().ok()).is_some_and(|age| age < KEEP);
        young && fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == self.made_of())
    }
}

/// The file in a root that says what it was made of, and when.
fn stamp(root: &Path) -> PathBuf {
    root.join("etc/made-of")
}

/// The mirror this machine's own apt uses.
fn mirror() -> String {
    let wanted = ["Created-By: Packages", "Origin: Debian", "Label: Debian"];
    let arguments = [&["indextargets", "--format", "$(REPO_URI)"], &wanted[..]].concat();
    let mirrors = output("apt-get", &arguments).unwrap_or_default();
    mirrors.lines().next().map_or_else(|| MIRROR.to_owned(), |mirror| mirror.to_owned())
}

/// What a command prints, if it succeeds and prints anything.
fn output(command: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(command).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
