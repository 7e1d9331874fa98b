//! Configuration files: TOML, read with the line of each key.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml_edit::{Document, Item, TableLike};

use super::keys::{self, GROUP_ROBOTS};
use super::layer::Layer;
use super::problem::{Origin, Problem};
use super::sources::Sources;

/// The main file, then those of `conf.d`, one layer each.
pub(super) fn read(sources: &Sources) -> Vec<Layer> {
    let main = match &sources.file {
        Some(named) => read_file(named, false),
        None => read_file(&sources.default_file, true),
    };
    let mut layers = vec![main];
    match toml_files(&sources.conf_dir) {
        Ok(files) => layers.extend(files.iter().map(|file| read_file(file, false))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => layers.push(unreadable(&sources.conf_dir, &error)),
    }
    layers
}

/// The `*.toml` of a directory in name order; hidden files, which editors leave, are passed over.
fn toml_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path, may_be_missing: bool) -> Layer {
    let (text, mode) = match text_and_mode(path) {
        Ok(read) => read,
        Err(error) if may_be_missing && error.kind() == io::ErrorKind::NotFound => {
            return Layer::default();
        }
        Err(error) => return unreadable(path, &error),
    };
    let place = Origin::new(path.display().to_string());
    let mut layer = parse(&text, &place);
    let secret = layer.entries.iter().find(|entry| {
        keys::is_secret(&entry.key) && entry.value != "" && entry.value != Value::Array(Vec::new())
    });
    if let Some(entry) = secret
        && mode & 0o004 != 0
    {
        let message = "everyone on this host can read this secret: chmod o-r the file, or move \
                       the secret to a systemd credential";
        layer.warnings.push(Problem::new(&entry.origin, Some(&entry.key), message));
    }
    layer
}

fn text_and_mode(path: &Path) -> io::Result<(String, u32)> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok((text, mode))
}

fn unreadable(path: &Path, error: &io::Error) -> Layer {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::InvalidData => "save it as UTF-8",
        _ => "it must be a file that the daemon's user may read",
    };
    let origin = Origin::new(path.display().to_string());
    let problem = Problem::new(&origin, None, format!("cannot be read: {error}; {remedy}"));
    Layer { problems: vec![problem], ..Layer::default() }
}

fn parse(text: &str, place: &Origin) -> Layer {
    let mut reader = Reader { text, place, layer: Layer::default() };
    match Document::parse(text) {
        Ok(document) => reader.table(document.as_table(), ""),
        Err(error) => {
            let origin = reader.origin(error.span());
            // Only the message: the error's `Display` repeats the line, which may hold a secret.
            let message = format!("not valid TOML: {}", error.message().replace('\n', ", "));
            reader.layer.problems.push(Problem::new(&origin, None, message));
        }
    }
    reader.layer
}

struct Reader<'a> {
    text: &'a str,
    place: &'a Origin,
    layer: Layer,
}

impl Reader<'_> {
    fn origin(&self, span: Option<Range<usize>>) -> Origin {
        let before = span.and_then(|span| self.text.as_bytes().get(..span.start));
        match before {
            Some(before) => {
                self.place.at_line(1 + before.iter().filter(|&&byte| byte == b'\n').count())
            }
            None => self.place.clone(),
        }
    }

    /// The origin of one key of a table: the line the key stands on, not where its value ends.
    fn origin_of(&self, table: &dyn TableLike, name: &str) -> Origin {
        let key = table.get_key_value(name);
        self.origin(key.and_then(|(key, item)| key.span().or_else(|| item.span())))
    }

    fn table(&mut self, table: &dyn TableLike, path: &str) {
        for (name, item) in table.iter() {
            let origin = self.origin_of(table, name);
            let key = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            if key == GROUP_ROBOTS {
                self.group_robots(item, &origin);
            } else if keys::is_section(&key) {
                match item.as_table_like() {
                    Some(below) => self.table(below, &key),
                    None => {
                        let message = format!("is a section: write [{key}] and its keys below it");
                        self.layer.wrong(&origin, &key, message);
                    }
                }
            } else if keys::default_of(&key).is_some() {
                self.value(&key, item, origin);
            } else if item.is_table_like() || item.is_array_of_tables() {
                let nearest = keys::nearest_section(&key);
                let message = format!("unknown section; the nearest known one is `{nearest}`");
                self.layer.wrong(&origin, &key, message);
            } else {
                let nearest = keys::nearest(&key);
                let message = format!("unknown key; the nearest known one is `{nearest}`");
                self.layer.wrong(&origin, &key, message);
            }
        }
    }

    fn value(&mut self, key: &str, item: &Item, origin: Origin) {
        // A date or a table has no place in any setting; null is refused by every one.
        let value = item.as_value().and_then(json).unwrap_or(Value::Null);
        self.layer.add(key, value, origin);
    }

    fn group_robots(&mut self, item: &Item, origin: &Origin) {
        let mut tables: Vec<(&dyn TableLike, Origin)> = Vec::new();
        if let Some(array) = item.as_array_of_tables() {
            tables.extend(array.iter().map(|table| (table as _, self.origin(table.span()))));
        } else if let Some(array) = item.as_array()
            && array.iter().all(toml_edit::Value::is_inline_table)
        {
            let inline = array.iter().filter_map(toml_edit::Value::as_inline_table);
            tables.extend(inline.map(|table| (table as _, self.origin(table.span()))));
        } else {
            let message = format!("is a list of tables: write [[{GROUP_ROBOTS}]] for each robot");
            self.layer.wrong(origin, GROUP_ROBOTS, message);
        }
        let mut seen = Vec::new();
        for (table, origin) in tables {
            self.group_robot(table, &origin, &mut seen);
        }
    }

    fn group_robot(&mut self, table: &dyn TableLike, origin: &Origin, seen: &mut Vec<String>) {
        let name = match table.get("name").and_then(Item::as_str) {
            Some(name) if keys::is_robot_name(name) => name,
            Some(_) => {
                let origin = self.origin_of(table, "name");
                let message = "the name of a group robot must begin with a letter and go on with \
                               letters, digits, `_` and `-`";
                return self.layer.wrong(&origin, GROUP_ROBOTS, message);
            }
            None => {
                let message = "a group robot has no name: add one, such as name = \"default\"";
                return self.layer.wrong(origin, GROUP_ROBOTS, message);
            }
        };
        if seen.contains(&keys::folded(name)) {
            let origin = self.origin_of(table, "name");
            let message = format!(
                "two group robots are called `{name}` (case, `-` and `_` make no difference): \
                 rename one"
            );
            return self.layer.wrong(&origin, GROUP_ROBOTS, message);
        }
        seen.push(keys::folded(name));
        for (field, item) in table.iter() {
            let origin = self.origin_of(table, field);
            let key = keys::robot_key(name, field);
            if keys::robot_field(&key).is_some() {
                self.value(&key, item, origin);
            } else {
                let message = "unknown key; a group robot has `name`, `access_token`, `secret`, \
                               `mention_mobiles` and `mention_all`";
                self.layer.wrong(&origin, &key, message);
            }
        }
    }
}

/// A TOML value as JSON; `None` for what no setting is made of.
fn json(value: &toml_edit::Value) -> Option<Value> {
    Some(match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(switch) => Value::from(*switch.value()),
        toml_edit::Value::Array(array) => {
            array.iter().map(json).collect::<Option<Vec<Value>>>()?.into()
        }
        toml_edit::Value::Datetime(_) | toml_edit::Value::InlineTable(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let layer = parse(text, &Origin::new("f"));
        layer.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_have_the_line_of_their_key() {
        let text = "[server]\nlisten = [\n  \"[::]:80\",\n]\n\n[llm]\nmodel = \"\"\"a\nb\"\"\"\n\
                    embedding.dimensions = 3\n[[dingtalk.group_robots]]\nname = \"ops\"\n\
                    secret = \"x\"\n";
        let layer = parse(text, &Origin::new("f"));
        let lines: Vec<String> =
            layer.entries.iter().map(|entry| format!("{} {}", entry.origin, entry.key)).collect();
        assert_eq!(
            lines,
            [
                "f:2 server.listen",
                "f:7 llm.model",
                "f:9 llm.embedding.dimensions",
                "f:11 dingtalk.group_robots.ops.name",
                "f:12 dingtalk.group_robots.ops.secret",
            ]
        );
        assert!(layer.problems.is_empty());
    }

    #[test]
    fn a_value_must_have_the_type_of_its_key() {
        let text = "[server]\nmax_connections = \"5\"\nmax_body_bytes = 1.5\napi_keys = [1]\n\
                    [llm]\nmodel = 4\ntimeout = 30\nprovider = 2024-01-01\n\
                    [dingtalk]\nallow_unsigned = \"true\"\n";
        let found = problems(text);
        let places: Vec<&str> =
            found.iter().map(|line| line.split(": expected").next().unwrap_or(line)).collect();
        assert_eq!(
            places,
            [
                "f:2: server.max_connections",
                "f:3: server.max_body_bytes",
                "f:4: server.api_keys",
                "f:6: llm.model",
                "f:7: llm.timeout",
                "f:8: llm.provider",
                "f:10: dingtalk.allow_unsigned",
            ]
        );
        assert_eq!(
            found[0],
            "f:2: server.max_connections: expected a whole number, in a file without quotes, such \
             as 100"
        );
    }

    #[test]
    fn sections_and_keys_are_told_apart() {
        assert_eq!(
            problems("llm = 5\n[sever]\nlisten = 1\n[log.level]\n"),
            [
                "f:1: llm: is a section: write [llm] and its keys below it",
                "f:2: sever: unknown section; the nearest known one is `server`",
                "f:4: log.level: expected a text in quotes, such as \"text\"",
            ]
        );
    }

    #[test]
    fn group_robots_need_a_name_of_their_own() {
        let text = "[[dingtalk.group_robots]]\nname = \"ops-team\"\n\
                    [[dingtalk.group_robots]]\nname = \"Ops_Team\"\n\
                    [[dingtalk.group_robots]]\nsecret = \"x\"\n\
                    [[dingtalk.group_robots]]\nname = \"1\"\n\
                    [[dingtalk.group_robots]]\nname = \"b\"\ntoken = \"x\"\n";
        let found = problems(text);
        assert_eq!(found.len(), 4, "{found:?}");
        for (problem, start) in found.iter().zip([
            "f:4: dingtalk.group_robots: two group robots",
            "f:5: dingtalk.group_robots: a group robot has no name",
            "f:8: dingtalk.group_robots: the name of a group robot must",
            "f:11: dingtalk.group_robots.b.token: unknown key",
        ]) {
            assert!(problem.starts_with(start), "{problem}");
        }
        let inline = parse(
            "[dingtalk]\ngroup_robots = [{ name = \"a\", access_token = \"t\" }]\n",
            &Origin::new("f"),
        );
        assert_eq!(inline.entries.len(), 2);
        assert_eq!(problems("[dingtalk]\ngroup_robots = 1\n").len(), 1);
    }

    #[test]
    fn broken_toml_has_its_line_and_shows_no_value() {
        let found = problems("[llm]\napi_key = sk-verysecret\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("f:2: not valid TOML: "), "{found:?}");
        assert!(!found[0].contains("verysecret"), "{found:?}");
    }
}
