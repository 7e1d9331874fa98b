//! Memories taken elsewhere, and brought in from elsewhere.
//!
//! Our own form is JSON Lines: a line that says so, then a memory a line, with its history and with
//! the times as they were. Read are also what Mem0 exports and what the service that
//! this program replaces wrote. What is brought in twice is there once: those that
//! have no id are given one that is made of what they say.

mod dinghook;
mod mem0;
mod own;

use std::io::{self, BufRead, Read};

use serde_json::Value;
use uuid::Uuid;

pub use self::own::{header, line};
use super::Memory;
use super::terms;
use crate::store::{Arrival, Feedback, Kept, MemoryRecord, Result, Scope, Selection};

/// Memories read or written at a time.
pub const AT_A_TIME: usize = 500;
/// Longest line, and longest file that is no list of lines, in bytes.
const MAX_LINE: usize = 4 * 1024 * 1024;
const MAX_DOCUMENT: u64 = 1024 * 1024 * 1024;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What `dingbot memory export` wrote.
    Own,
    /// Memories as Mem0 returns them.
    Mem0,
    /// Messages as the service before kept them.
    Messages,
    /// Facts as the service before kept them.
    Facts,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Own => "an export of dingbot",
            Self::Mem0 => "memories of Mem0",
            Self::Messages => "messages of DingHook",
            Self::Facts => "facts of DingHook",
        })
    }
}

/// Why a file is not read at all.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is none of the forms.
    #[error(
        "it is none of the known forms: an export of dingbot (JSON Lines), of Mem0 (JSON), or the \
         memory or facts file of DingHook"
    )]
    Unknown,
    /// It was written by a newer program.
    #[error("it was written by a newer dingbot (form {0}): install that version")]
    Newer(u64),
    /// It is too long to be read as one document.
    #[error("it is longer than 1 GiB and no list of lines; export it page by page")]
    TooLong,
}

/// What one place of a file says: a memory, nothing worth keeping, or why it cannot be read.
pub type Entry = std::result::Result<Option<Kept>, String>;

/// The memories of a file, with the line or the place of each, from 1.
pub struct Entries {
    /// What the file holds.
    pub form: Form,
    entries: Box<dyn Iterator<Item = io::Result<(usize, Entry)>>>,
}

impl Iterator for Entries {
    type Item = io::Result<(usize, Entry)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next()
    }
}

/// Reads a file; `user` is whose its memories are where they do not say so, and `now` when they were
/// said, in milliseconds since the Unix epoch, likewise.
pub fn read(
    mut file: impl BufRead + 'static,
    user: Option<&str>,
    now: i64,
) -> std::result::Result<Entries, BadFile> {
    let first = next_line(&mut file)?.ok_or(BadFile::Unknown)?;
    let user = user.map(str::to_owned);
    let value: Option<Value> = serde_json::from_slice(&first).ok();
    let form = match &value {
        Some(value) => match form_of_line(value)? {
            Some(form) => form,
            // A whole document in one line.
            None => return document(value.clone(), user.as_deref(), now),
        },
        None => {
            let mut whole = first;
            let read = file.take(MAX_DOCUMENT).read_to_end(&mut whole)?;
            if read as u64 == MAX_DOCUMENT {
                return Err(BadFile::TooLong);
            }
            let value = serde_json::from_slice(&whole).map_err(|_| BadFile::Unknown)?;
            return document(value, user.as_deref(), now);
        }
    };
    let rest = std::iter::from_fn(move || next_line(&mut file).transpose());
    let skipped = usize::from(form == Form::Own);
    let lines = std::iter::once(Ok(first)).chain(rest).zip(1..).skip(skipped);
    let entries = lines.filter_map(move |(line, number)| match line {
        Err(error) => Some(Err(error)),
        Ok(line) if line.trim_ascii().is_empty() => None,
        Ok(line) => {
            let value = serde_json::from_slice(&line).map_err(|error| format!("no JSON: {error}"));
            let entry = value.and_then(|value| entry(form, &value, user.as_deref(), now));
            Some(Ok((number, entry)))
        }
    });
    Ok(Entries { form, entries: Box::new(entries) })
}

/// A line without its end; `None`: there is none.
fn next_line(file: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = file.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
    if length == MAX_LINE && line.last() != Some(&b'\n') {
        let error = format!("a line is longer than {MAX_LINE} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok((length > 0).then(|| line.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or(line)))
}

/// The form that a line begins; `None`: it is a document by itself.
fn form_of_line(value: &Value) -> std::result::Result<Option<Form>, BadFile> {
    if let Some(version) = value.get(own::MARK) {
        return match version.as_u64() {
            Some(own::VERSION) => Ok(Some(Form::Own)),
            newer => Err(BadFile::Newer(newer.unwrap_or_default())),
        };
    }
    let is_text = |name: &str| value.get(name).is_some_and(Value::is_string);
    Ok(if is_text("content") && is_text("user_id") {
        Some(Form::Messages)
    } else if is_text("memory") {
        Some(Form::Mem0)
    } else {
        None
    })
}

fn document(value: Value, user: Option<&str>, now: i64) -> std::result::Result<Entries, BadFile> {
    let (form, values) = if let Some(memories) = mem0::list(&value) {
        (Form::Mem0, memories)
    } else if let Some(facts) = dinghook::facts(&value) {
        (Form::Facts, facts)
    } else {
        return Err(BadFile::Unknown);
    };
    let user = user.map(str::to_owned);
    let entries = values
        .into_iter()
        .zip(1..)
        .map(move |(value, place)| Ok((place, entry(form, &value, user.as_deref(), now))));
    Ok(Entries { form, entries: Box::new(entries) })
}

fn entry(form: Form, value: &Value, user: Option<&str>, now: i64) -> Entry {
    match form {
        Form::Own => own::read(value).map(Some),
        Form::Mem0 => mem0::read(value, user, now).map(Some),
        Form::Messages => dinghook::message(value),
        Form::Facts => dinghook::fact(value, now).map(Some),
    }
}

/// A memory that has no more than a text, an owner and a time; said twice, it is one.
fn plain(scope: Scope, text: &str, created_at: i64) -> Kept {
    let said = format!("{scope}\n{created_at}\n{text}");
    let memory = MemoryRecord {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, said.as_bytes()).to_string(),
        number: 0,
        text: text.to_owned(),
        scope,
        actor_id: None,
        role: None,
        metadata: None,
        categories: Vec::new(),
        expires_on: None,
        source: None,
        created_at,
        updated_at: created_at,
        superseded: None,
    };
    Kept { memory, feedback: Feedback::default(), history: Vec::new() }
}

impl Memory {
    /// A part of the memories selected, with the key to go on from; the first is after 0.
    pub async fn export(&self, selection: &Selection, after: i64) -> Result<Vec<(i64, Kept)>> {
        self.store.export_memories(selection, after, AT_A_TIME).await
    }

    /// Brings memories in, all or none.
    pub async fn import(&self, memories: Vec<Kept>) -> Result<Vec<Arrival>> {
        let memories = memories.into_iter().map(|kept| {
            let words = terms::words(&kept.memory.text, kept.memory.actor_id.as_deref());
            (kept, words)
        });
        let arrivals = self.store.import_memories(memories.collect()).await?;
        let new = arrivals.iter().filter(|it| **it == Arrival::New).count();
        self.metrics.memories.add(new as i64);
        Ok(arrivals)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn all(file: &str, user: Option<&str>) -> (Form, Vec<(usize, Entry)>) {
        let entries = read(Cursor::new(file.to_owned()), user, 7).unwrap();
        (entries.form, entries.map(|entry| entry.unwrap()).collect())
    }

    fn texts(file: &str, user: Option<&str>) -> Vec<(String, String)> {
        let (_, entries) = all(file, user);
        let kept = entries.into_iter().filter_map(|(_, entry)| entry.unwrap());
        kept.map(|it| (it.memory.scope.to_string(), it.memory.text)).collect()
    }

    #[test]
    fn messages_of_the_service_before_are_kept_where_they_state_something() {
        let file = "{\"user_id\": \"u1\", \"content\": \"我喜欢猫\", \"timestamp\": 1767225600}\n\n\
                    {\"user_id\": \"u1\", \"content\": \"几点了？\", \"timestamp\": 1767225601}\n\
                    {\"user_id\": \"\", \"content\": \"我\", \"timestamp\": 1}\n\
                    {\"user_id\": \"u2\", \"con\n";
        let (form, entries) = all(file, None);
        assert_eq!(form, Form::Messages);
        let first = entries[0].1.as_ref().unwrap().as_ref().unwrap();
        assert_eq!(first.memory.created_at, 1_767_225_600_000);
        assert_eq!(entries[1].1, Ok(None), "a question");
        assert!(entries[2].1.as_ref().unwrap_err().contains("user_id"));
        assert_eq!(entries[3].0, 5, "the number of its line");
        assert!(entries[3].1.as_ref().unwrap_err().contains("no JSON"));
        // The same again is the same memory.
        assert_eq!(all(file, None).1[0], entries[0]);
    }

    #[test]
    fn facts_of_the_service_before_are_of_their_people() {
        let file = "{\n \"u1\": [{\"fact\": \"喜欢猫\"}, \"在北京工作\"],\n \"u2\": []\n}";
        let expected = [("user_id=u1", "喜欢猫"), ("user_id=u1", "在北京工作")]
            .map(|(a, b)| (a.into(), b.into()));
        assert_eq!(texts(file, None), expected);
        assert_eq!(all(file, None).0, Form::Facts);
    }

    #[test]
    fn what_mem0_returns_is_read_however_it_is_wrapped() {
        let one = r#"{"id":"a","memory":"I like tea","user_id":"ann","agent_id":"x"}"#;
        let expected = [("user_id=ann agent_id=x".to_owned(), "I like tea".to_owned())];
        for file in [
            format!("[{one}]"),
            format!("{{\"results\": [{one}]}}"),
            format!("{{\"count\": 1, \"next\": null,\n \"results\": [{one}]}}"),
            format!("{{\"memories\": [{one}]}}"),
            one.to_owned(),
            format!("{one}\n"),
        ] {
            assert_eq!(texts(&file, None), expected, "{file}");
            assert_eq!(all(&file, None).0, Form::Mem0, "{file}");
        }
        let nobody = r#"[{"id":"a","memory":"I like tea","metadata":{"user_id":"eve"}}]"#;
        assert!(all(nobody, None).1[0].1.as_ref().unwrap_err().contains("--user"));
        assert_eq!(texts(nobody, Some("ann"))[0].0, "user_id=ann");
    }

    #[test]
    fn what_is_none_of_the_forms_is_refused() {
        for file in ["", "hello", "[1, 2]", "{}", "{\"a\": 1}", "7", "{\"dingbot_export\": 2}"] {
            assert!(read(Cursor::new(file.to_owned()), None, 7).is_err(), "{file}");
        }
    }
}
