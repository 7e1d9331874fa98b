//! docs/logging.md and the program say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A place in the program that logs.
#[derive(Debug)]
struct Event {
    file: PathBuf,
    level: String,
    /// The names of its fields.
    fields: BTreeSet<String>,
    message: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The events of the program's source, without its tests.
fn events() -> Vec<Event> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut events = Vec::new();
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for level in ["error", "warn", "info", "debug"] {
            let start = format!("tracing::{level}!(");
            for (at, _) in source.match_indices(&start) {
                let (arguments, message) = arguments(&source[at + start.len()..]);
                events.push(Event {
                    file: file.clone(),
                    level: level.into(),
                    fields: arguments.iter().filter_map(|a| name(a)).collect(),
                    message,
                });
            }
        }
    }
    events
}

/// The arguments of a call that begins before `text`, and the last text in quotes.
fn arguments(text: &str) -> (Vec<String>, String) {
    let (mut depth, mut arguments, mut message) = (1, vec![String::new()], String::new());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                message.clear();
                while let Some(quoted) = characters.next().filter(|c| *c != '"') {
                    match quoted {
                        '\\' => match characters.next() {
                            // A line that goes on: its indentation is no part of the text.
                            Some('\n') => {
                                let rest = characters.as_str().trim_start();
                                characters = rest.chars();
                            }
                            Some(escaped) => message.push(escaped),
                            None => {}
                        },
                        other => message.push(other),
                    }
                }
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        arguments.last_mut().unwrap().push(character);
    }
    (arguments, message)
}

/// The name of the field that an argument gives: `name = value`, or a variable of its name.
fn name(argument: &str) -> Option<String> {
    let name = argument.split(" = ").next()?.trim().trim_start_matches(['%', '?']);
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    (!name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
}

/// The cells of the tables of a document, row by row.
fn rows(document: &str) -> impl Iterator<Item = Vec<String>> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| "));
    rows.map(|row| row.trim_end_matches('|').split(" |").map(|c| c.trim().to_owned()).collect())
}

/// What stands in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_event_of_the_document_is_logged_at_its_level() {
    let document = fs::read_to_string(root().join("docs/logging.md")).unwrap();
    let (_, tables) = document.split_once("\n## Events\n").unwrap();
    let events = events();
    let mut seen = 0;
    for row in rows(tables).filter(|row| row[0].starts_with('`')) {
        let [message] = &quoted(&row[0])[..] else { panic!("{row:?}") };
        let event = events.iter().find(|event| event.message == *message);
        let event = event.unwrap_or_else(|| panic!("nothing logs {message:?}"));
        assert_eq!(row[1], event.level, "{event:?}");
        // Others it has from its span.
        let documented: BTreeSet<String> = quoted(&row[2]).into_iter().collect();
        let shared = row[2].starts_with("the same");
        if !shared {
            let missing: Vec<_> = event.fields.difference(&documented).collect();
            assert!(missing.is_empty(), "{message:?} has {missing:?} too");
        }
        seen += 1;
    }
    assert!(seen > 25, "{seen}");
}

#[test]
fn every_error_has_a_kind() {
    let events = events();
    assert!(events.len() > 50, "{}", events.len());
    for event in &events {
        let with_error = event.fields.contains("error") || event.level == "error";
        assert!(
            !with_error || event.fields.contains("error_kind"),
            "{}: {event:?}",
            event.file.display()
        );
    }
}

#[test]
fn every_field_of_the_document_has_its_name_in_the_journal_and_is_used() {
    let document = fs::read_to_string(root().join("docs/logging.md")).unwrap();
    let (_, tables) = document.split_once("\n## Fields\n").unwrap();
    let (tables, _) = tables.split_once("\n`error_kind` is one of").unwrap();
    let origin = fs::read_to_string(root().join("src/bot/origin.rs")).unwrap();
    let events = events();
    let mut seen = 0;
    for row in rows(tables).filter(|row| row[0].starts_with('`')) {
        let [field] = &quoted(&row[0])[..] else { panic!("{row:?}") };
        assert_eq!(quoted(&row[1]), [format!("DINGBOT_{}", field.to_uppercase())]);
        let used = events.iter().any(|event| event.fields.contains(field));
        assert!(used || origin.contains(field), "nothing has the field {field}");
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn calls_are_read_as_they_are_written() {
    let call = "\n    %error,\n    kind = error.kind(),\n    ids = ?[1, 2],\n    \"one, \\\n        (two\"\n); rest()";
    let (arguments, message) = arguments(call);
    assert_eq!(message, "one, (two");
    let names: Vec<String> = arguments.iter().filter_map(|a| name(a)).collect();
    assert_eq!(names, ["error", "kind", "ids"]);
}
