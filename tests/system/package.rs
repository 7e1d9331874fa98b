//! The package under test, and an older build of it.
//!
//! `DINGBOT_DEB` names the package; without it the program built with the tests is packed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

/// The version of the older build: the same program, packed as this.
pub(crate) const OLDER: &str = "0.0.9";

/// A `.deb` file.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) file: PathBuf,
    pub(crate) version: String,
}

impl Package {
    /// The one under test.
    pub(crate) fn current() -> Self {
        static BUILT: Mutex<Option<Package>> = Mutex::new(None);
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        let package = built.get_or_insert_with(|| match std::env::var_os("DINGBOT_DEB") {
            Some(file) => Self::read(PathBuf::from(file)),
            None => Self::build(&program(), env!("CARGO_PKG_VERSION")),
        });
        package.clone()
    }

    /// The same program as the current one, as version [`OLDER`].
    pub(crate) fn older() -> Self {
        static BUILT: Mutex<Option<Package>> = Mutex::new(None);
        let current = Self::current();
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        let package = built.get_or_insert_with(|| {
            let unpacked = TempDir::new().expect("a temporary directory");
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(&current.file).arg(unpacked.path());
            printed(&mut unpack);
            Self::build(&unpacked.path().join("usr/bin/dingbot"), OLDER)
        });
        package.clone()
    }

    /// A package made from this one in `folder`: `script` runs where it is unpacked, `DEBIAN`
    /// included.
    pub(crate) fn edited(&self, folder: &Path, script: &str) -> Self {
        let tree = folder.join("tree");
        printed(Command::new("dpkg-deb").arg("--raw-extract").arg(&self.file).arg(&tree));
        printed(Command::new("sh").args(["-ec", script]).current_dir(&tree));
        let file = folder.join("edited.deb");
        printed(Command::new("dpkg-deb").arg("--build").arg(&tree).arg(&file));
        Self::read(file)
    }

    /// Its file's name.
    pub(crate) fn file_name(&self) -> &str {
        self.file.file_name().and_then(|name| name.to_str()).expect("a file of an ASCII name")
    }

    fn read(file: PathBuf) -> Self {
        let version = printed(Command::new("dpkg-deb").arg("--field").arg(&file).arg("Version"));
        Self { file, version: version.trim().to_owned() }
    }

    fn build(program: &Path, version: &str) -> Self {
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/deb/build");
        let mut build = Command::new(build);
        build.arg("--binary").arg(program).args(["--version", version]);
        let printed = printed(&mut build);
        let file = printed.lines().last().expect("the script prints where the package is");
        Self::read(PathBuf::from(file))
    }
}

/// The program to pack: the one built with the tests, unless `DINGBOT_PROGRAM` names another.
fn program() -> PathBuf {
    std::env::var_os("DINGBOT_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_dingbot").into(), PathBuf::from)
}

/// What a command prints, which must succeed.
pub(crate) fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).expect("it prints text")
}
