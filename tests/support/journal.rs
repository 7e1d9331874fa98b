//! A journal in place of systemd's, for a daemon in a mount namespace of its own.
//!
//! After "Native Journal Protocol" (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>). Needs root.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::task::JoinHandle;

use super::record::Record;

/// The values of each field, in the order in which they came.
pub type Entry = BTreeMap<String, Vec<String>>;

/// A socket like journald's, and what came to it.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: TempDir,
    socket: Option<Arc<UnixDatagram>>,
    entries: Arc<Record<Entry>>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// One that reads.
    ///
    /// # Errors
    /// Why there can be none here: a reason to skip the test.
    pub fn start() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let socket = UnixDatagram::bind(folder.path().join("socket")).map_err(|e| e.to_string())?;
        let journal = Self::new(folder, Some(Arc::new(socket)))?;
        journal.release();
        Ok(journal)
    }

    /// None: a place where there is no journal.
    ///
    /// # Errors
    /// As [`Journal::start`].
    pub fn absent() -> Result<Self, String> {
        Self::new(tempfile::tempdir().map_err(|e| e.to_string())?, None)
    }

    fn new(folder: TempDir, socket: Option<Arc<UnixDatagram>>) -> Result<Self, String> {
        let namespace = Command::new("unshare").args(["--mount", "true"]).output();
        if !namespace.is_ok_and(|output| output.status.success()) {
            return Err("mount namespaces need root and util-linux".into());
        }
        let reader = Mutex::default();
        Ok(Self { inner: Arc::new(Inner { folder, socket, entries: Arc::default(), reader }) })
    }

    /// What a program is started with to have this journal, and no other.
    pub(super) fn wrapper(&self) -> Vec<String> {
        let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal \
                      && mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";
        let folder = self.folder().display().to_string();
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, &folder]
            .map(str::to_owned)
            .to_vec()
    }

    fn folder(&self) -> &Path {
        self.inner.folder.path()
    }

    /// What came so far.
    pub fn entries(&self) -> &Record<Entry> {
        &self.inner.entries
    }

    /// Reads no more: soon nobody can write without waiting.
    pub fn hold(&self) {
        if let Some(reader) = self.inner.reader.lock().unwrap().take() {
            reader.abort();
        }
    }

    /// Reads (again).
    pub fn release(&self) {
        let Some(socket) = self.inner.socket.clone() else { return };
        let entries = Arc::clone(&self.inner.entries);
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 20];
            while let Ok(length) = socket.recv(&mut buffer).await {
                // Journald ignores an empty one, with which programs look for it.
                if length > 0 {
                    entries.push(parse(&buffer[..length]).expect("an entry"));
                }
            }
        });
        *self.inner.reader.lock().unwrap() = Some(reading);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.lock().unwrap().take() {
            reader.abort();
        }
    }
}

/// An entry: `NAME=value` and a line feed, or `NAME`, a line feed, the length of the value as 64
/// little-endian bits, the value, and a line feed.
pub fn parse(mut bytes: &[u8]) -> Option<Entry> {
    let mut entry = Entry::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let (name, value) = match line.iter().position(|byte| *byte == b'=') {
            Some(equals) => {
                bytes = rest;
                (&line[..equals], &line[equals + 1..])
            }
            None => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
                let (value, rest) = rest.split_at_checked(length)?;
                bytes = rest.strip_prefix(b"\n")?;
                (line, value)
            }
        };
        // Journald drops fields with other names.
        let valid = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
        if name.is_empty() || !name.iter().all(valid) || name.len() > 64 || name[0] == b'_' {
            return None;
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        entry.entry(text(name)?).or_default().push(text(value)?);
    }
    Some(entry)
}
