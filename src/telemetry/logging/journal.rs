//! systemd's journal, by its native protocol.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

use tracing_journald::{Priority, PriorityMappings};

use super::queue::Sink;
use super::record::Record;
use super::replay::Replay;

/// Where journald takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Fields of ours begin with it: without, `message_id` would be systemd's `MESSAGE_ID`, the key of
/// its catalogue.
const PREFIX: &str = "DINGBOT";

/// Whether standard error is the journal, so that a line there becomes an entry.
///
/// `$JOURNAL_STREAM` alone says nothing: a child with its standard error elsewhere inherits it
/// (systemd.exec(5)).
pub(super) fn is_standard_error() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let device_and_inode = || -> io::Result<String> {
        let metadata = File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata()?;
        Ok(format!("{}:{}", metadata.st_dev(), metadata.st_ino()))
    };
    device_and_inode().is_ok_and(|of_standard_error| stream == of_standard_error.as_str())
}

/// The journal as a sink.
#[derive(Debug)]
pub(super) struct Journal {
    entries: Replay,
    probe: UnixDatagram,
}

impl Journal {
    /// Waits while journald is there and does not read.
    ///
    /// # Errors
    /// There is no journal.
    pub(super) fn open() -> io::Result<Self> {
        let layer = tracing_journald::layer()?
            .with_field_prefix(Some(PREFIX.into()))
            .with_syslog_identifier("dingbot".into())
            .with_priority_mappings(PriorityMappings {
                error: Priority::Error,
                warn: Priority::Warning,
                info: Priority::Informational,
                debug: Priority::Debug,
                trace: Priority::Debug,
            });
        Ok(Self { entries: Replay::new(layer), probe: UnixDatagram::unbound()? })
    }
}

impl Sink for Journal {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        // The layer keeps the errors of its sends to itself: asked before, a journal that is gone
        // is noticed, and its lines are counted. This neither waits nor reaches journald.
        self.probe.connect(SOCKET)?;
        // `journalctl -u dingbot` shows nothing of an entry but its text.
        self.entries.play(&record.with_error_in_message());
        Ok(())
    }
}
