//! The file: its folder, who may read it, who works on it, and whether it is one of ours.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{open_error, schema};
use crate::store::{OpenError, Room};

/// Whether SQLite's log beside the file holds something that is not in the file yet: the process
/// that wrote it was killed, or works on it right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    Empty,
    Filled,
}

/// The path of the file without symbolic links, so that everybody locks the same file. With
/// `create`, folder and file are made unless they are there, for this user alone: they will hold
/// what people said.
pub(super) fn find(path: &Path, create: bool) -> Result<PathBuf, OpenError> {
    let refused = |e: io::Error| not_writable(path, &e);
    if create {
        make(path).map_err(refused)?;
    }
    path.canonicalize().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound if !create => OpenError::Missing { path: path.into() },
        _ => refused(e),
    })
}

fn make(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Refuses what is no store of ours, changing no byte of it and leaving nothing beside it. With a
/// filled log the file alone does not tell: that is for the caller to find out.
pub(super) fn inspect(path: &Path) -> Result<Log, OpenError> {
    let metadata = fs::metadata(path).map_err(|e| not_writable(path, &e))?;
    if !metadata.is_file() {
        return Err(OpenError::NotAFile { path: path.into() });
    }
    // The log is looked at first: if it is empty now, what it held is in the file.
    let log = match fs::metadata(beside(path, "-wal")) {
        Ok(log) if log.len() > 0 => Log::Filled,
        _ => Log::Empty,
    };
    match (metadata.len(), log) {
        (0, Log::Empty) => {}
        (0, Log::Filled) => {
            // SQLite would throw the log away.
            let reason = "it is empty, but the log beside it is not".into();
            return Err(OpenError::Corrupt { path: path.into(), reason });
        }
        (_, Log::Filled) => {}
        (_, Log::Empty) => schema::check(&open_untouched(path)?, path)?,
    }
    Ok(log)
}

/// Opens the file so that SQLite takes no lock and makes no file beside it.
pub(super) fn open_untouched(path: &Path) -> Result<Connection, OpenError> {
    let no_address = || OpenError::Failed {
        path: path.into(),
        reason: "its path cannot be written as an address".into(),
    };
    let mut address = url::Url::from_file_path(path).map_err(|()| no_address())?;
    address.set_query(Some("immutable=1"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(address.as_str(), flags).map_err(|e| open_error(path, e))
}

/// Lets only this user read the file. SQLite gives its log and index the same mode.
pub(super) fn restrict(path: &Path) {
    if let Err(e) = fs::set_permissions(path, Permissions::from_mode(0o600)) {
        tracing::warn!(
            path = %path.display(),
            error = %e,
            error_kind = "io",
            "cannot restrict the store to this user"
        );
    }
}

/// Takes the lock beside the file, which says that one daemon works on it.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let refused = |e: io::Error| not_writable(path, &e);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(beside(path, ".lock"))
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown".into() } else { pid.trim().into() };
            return Err(OpenError::InUse { path: path.into(), pid });
        }
        Err(fs::TryLockError::Error(e)) => return Err(refused(e)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(refused)?;
    Ok(file)
}

/// What room the file, its log and its index take, and what there is around them.
pub(super) fn room(path: &Path) -> io::Result<Room> {
    let beside = ["-wal", "-shm"].map(|suffix| beside(path, suffix));
    // Those beside it come and go.
    let used = fs::metadata(path)?.len()
        + beside
            .iter()
            .filter_map(|file| fs::metadata(file).ok())
            .map(|file| file.len())
            .sum::<u64>();
    let disk = rustix::fs::statvfs(path)?;
    Ok(Room {
        used,
        available: disk.f_bavail.saturating_mul(disk.f_frsize),
        disk: disk.f_blocks.saturating_mul(disk.f_frsize),
    })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn not_writable(path: &Path, error: &io::Error) -> OpenError {
    if error.kind() == io::ErrorKind::StorageFull {
        return OpenError::Full { path: path.into() };
    }
    OpenError::NotWritable { path: path.into(), reason: error.to_string() }
}
