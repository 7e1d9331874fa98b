//! Opening: what is refused, with which words, and that nothing is written then.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::Place;
use crate::store::sqlite::{Condition, SqliteStore, examine, schema};
use crate::store::{NewMessage, OpenError, Store};

/// Everything in a folder, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Opens what must be refused, as daemon and as command; the folder is the same afterwards.
fn refused(place: &Place) -> OpenError {
    let before = files(place.folder.path());
    let mut options = place.options();
    SqliteStore::open(options.clone()).expect_err("a command opened it");
    options.exclusive = true;
    let error = SqliteStore::open(options).expect_err("the daemon opened it");
    let after = files(place.folder.path());
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
    assert!(after == before, "a file was changed");
    error
}

/// A store of ours that was closed well.
fn closed_store() -> Place {
    let place = Place::new();
    place.store().close();
    place
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn message(text: &str) -> NewMessage {
    NewMessage { key: None, conversation: "c".into(), payload: text.into(), received_at: 0 }
}

#[test]
fn folder_and_file_are_for_this_user_alone() {
    let place = Place::new();
    let mut options = place.options();
    let folder = place.folder.path().join("a/b");
    options.path = folder.join("state.db");
    options.exclusive = true;
    let store = SqliteStore::open(options).unwrap();
    for inner in [&folder, &place.folder.path().join("a")] {
        assert_eq!(mode(inner), 0o700);
    }
    let names: Vec<String> = files(&folder).into_iter().map(|f| f.0).collect();
    assert_eq!(names, ["state.db", "state.db-shm", "state.db-wal", "state.db.lock"]);
    for name in names {
        assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
    }
    drop(store);
}

#[test]
fn a_file_that_others_could_read_is_restricted() {
    let place = closed_store();
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
    let _store = place.store();
    assert_eq!(mode(&place.file()), 0o600);
}

#[test]
fn an_empty_file_becomes_a_store() {
    let place = Place::new();
    fs::write(place.file(), "").unwrap();
    place.store().close();
    let file = Connection::open(place.file()).unwrap();
    let pragma = |name| file.pragma_query_value(None, name, |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(pragma("page_size"), 16_384);
    assert_eq!(pragma("user_version"), schema::NEWEST);
    assert_eq!(pragma("application_id"), i64::from(u32::from_be_bytes(*b"dbot")));
}

#[test]
fn a_database_without_tables_becomes_a_store() {
    let place = Place::new();
    let file = Connection::open(place.file()).unwrap();
    // As a first start that was killed at once leaves it.
    file.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    drop(file);
    assert!(fs::metadata(place.file()).unwrap().len() > 0);
    drop(place.store());
}

#[test]
fn the_database_of_another_program_is_refused() {
    for setup in [
        "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1);",
        "PRAGMA journal_mode = WAL; CREATE TABLE theirs (x);",
        "PRAGMA application_id = 7;",
        "PRAGMA user_version = 1;",
    ] {
        let place = Place::new();
        Connection::open(place.file()).unwrap().execute_batch(setup).unwrap();
        fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
        let error = refused(&place);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{setup}: {error}");
        assert!(error.to_string().contains("belongs to another program"), "{error}");
        assert_eq!(mode(&place.file()), 0o644, "not even its mode is changed");
    }
}

#[test]
fn another_program_s_database_in_use_is_refused() {
    let place = Place::new();
    let theirs = Connection::open(place.file()).unwrap();
    theirs.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE theirs (x);").unwrap();
    let before = (fs::read(place.file()).unwrap(), fs::read(log(&place)).unwrap());
    let error = SqliteStore::open(place.options()).expect_err("opened");
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(before == (fs::read(place.file()).unwrap(), fs::read(log(&place)).unwrap()));
}

#[test]
fn garbage_is_refused() {
    for garbage in [&b"# my notes\n"[..], &[0; 40_000], b"SQLite format 3\0 and no more"] {
        let place = Place::new();
        fs::write(place.file(), garbage).unwrap();
        let error = refused(&place);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("restore a backup"), "{error}");
    }
}

#[test]
fn a_truncated_store_is_refused() {
    let place = closed_store();
    let whole = fs::read(place.file()).unwrap();
    for length in [50, 4_096, 16_384, whole.len() / 2, whole.len() - 16_384] {
        fs::write(place.file(), &whole[..length]).unwrap();
        let error = refused(&place);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{length}: {error}");
    }
}

#[test]
fn a_store_emptied_beside_its_log_is_refused() {
    let place = killed_store();
    fs::write(place.file(), "").unwrap();
    let error = refused(&place);
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn a_newer_store_is_refused() {
    let place = closed_store();
    Connection::open(place.file()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refused(&place);
    let OpenError::Newer { found: 99, known: schema::NEWEST, .. } = error else {
        panic!("{error}")
    };
}

fn log(place: &Place) -> PathBuf {
    place.folder.path().join("state.db-wal")
}

/// A store as a killed process leaves it: what it wrote last is in the log only.
fn killed_store() -> Place {
    let running = Place::new();
    let store = running.store();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.accept_for_test("kept in the log"));
    let killed = Place::new();
    for (name, bytes) in files(running.folder.path()) {
        fs::write(killed.folder.path().join(name), bytes).unwrap();
    }
    assert!(fs::metadata(log(&killed)).unwrap().len() > 0);
    killed
}

impl SqliteStore {
    async fn accept_for_test(&self, text: &str) {
        crate::store::InboxStore::accept(self, message(text)).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_killed_process_left_in_the_log_is_there() {
    let place = tokio::task::spawn_blocking(killed_store).await.unwrap();
    let store = place.store();
    let kept = crate::store::InboxStore::oldest_pending(&store, "c").await.unwrap().unwrap();
    assert_eq!(kept.payload, "kept in the log");
    assert_eq!(store.verify().await, Ok(()));
}

#[test]
fn a_newer_store_keeps_what_its_killed_program_left_in_the_log() {
    let place = killed_store();
    let newer = Connection::open(place.file()).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let copy = Place::new();
    for (name, bytes) in files(place.folder.path()) {
        fs::write(copy.folder.path().join(name), bytes).unwrap();
    }
    let data = |place: &Place| (fs::read(place.file()).unwrap(), fs::read(log(place)).unwrap());
    let before = data(&copy);
    let error = SqliteStore::open(copy.options()).expect_err("opened");
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    assert!(data(&copy) == before, "a file was changed");
}

#[test]
fn what_is_no_folder_and_what_is_no_file_is_refused() {
    let place = Place::new();
    let mut options = place.options();
    fs::write(place.folder.path().join("file"), "x").unwrap();
    options.path = place.folder.path().join("file/state.db");
    let below_a_file = SqliteStore::open(options.clone()).expect_err("opened");
    options.path = place.folder.path().to_owned();
    let a_folder = SqliteStore::open(options.clone()).expect_err("opened");
    options.path = PathBuf::from("/dev/null");
    let a_device = SqliteStore::open(options.clone()).expect_err("opened");
    symlink("nowhere/at/all", place.file()).unwrap();
    let a_dangling_link = SqliteStore::open(place.options()).expect_err("opened");
    for (error, is_there) in
        [(below_a_file, false), (a_folder, true), (a_device, true), (a_dangling_link, false)]
    {
        assert_eq!(matches!(error, OpenError::NotAFile { .. }), is_there, "{error}");
        assert_eq!(matches!(error, OpenError::NotWritable { .. }), !is_there, "{error}");
        assert!(error.to_string().contains("store.url"), "{error}");
    }
}

#[test]
fn what_only_reads_makes_no_store() {
    let place = Place::new();
    let mut options = place.options();
    options.create = false;
    let error = SqliteStore::open(options).expect_err("opened");
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    assert!(!place.file().exists());
}

#[test]
fn a_store_that_rests_is_read_for_damage_and_left_as_it_is() {
    let place = Place::new();
    assert!(matches!(examine(&place.file()), Err(OpenError::Missing { .. })));
    place.store().close();
    let whole = files(place.folder.path());
    assert_eq!(examine(&place.file()).unwrap(), Condition::Intact);
    assert!(files(place.folder.path()) == whole, "a file was changed");
    // Its last page: what the header says is still right.
    let mut bytes = fs::read(place.file()).unwrap();
    let last = bytes.len() - 16_384;
    bytes[last..].fill(0x5a);
    fs::write(place.file(), bytes).unwrap();
    assert!(matches!(examine(&place.file()), Err(OpenError::Corrupt { .. })));
    let place = killed_store();
    assert_eq!(examine(&place.file()).unwrap(), Condition::Unfinished);
}

#[test]
fn a_second_daemon_is_told_who_the_first_is() {
    let place = Place::new();
    let mut options = place.options();
    options.exclusive = true;
    let first = SqliteStore::open(options.clone()).unwrap();
    // By another name of the same file, too.
    symlink(place.file(), place.folder.path().join("link.db")).unwrap();
    for path in [place.file(), place.folder.path().join("link.db")] {
        options.path = path;
        let error = SqliteStore::open(options.clone()).expect_err("opened twice");
        let OpenError::InUse { pid, .. } = &error else { panic!("{error}") };
        assert_eq!(*pid, std::process::id().to_string());
    }
    // A command may work beside it.
    drop(place.store());
    first.close();
    SqliteStore::open(options).unwrap().close();
}

#[tokio::test]
async fn closing_leaves_the_file_alone() {
    let place = Place::new();
    let store = place.store();
    for _ in 0..20 {
        store.accept_for_test("x").await;
        store.verify().await.unwrap();
    }
    tokio::task::spawn_blocking(|| store.close()).await.unwrap();
    let names: Vec<String> = files(place.folder.path()).into_iter().map(|f| f.0).collect();
    assert_eq!(names, ["state.db"]);
}
