//! nginx's configuration: its statements, with what other files add to them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use glob::{MatchOptions, Pattern};
use nginx_lint_parser::ast::{ArgumentValue, Directive};

/// By this `nginx -T` begins each file.
const HEADING: &str = "# configuration file ";
/// How deep files may include one another.
const DEPTH: usize = 8;
/// As the C library expands them.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) at: Place,
    /// What is between its braces.
    pub(super) inner: Vec<Statement>,
}

impl Statement {
    /// An argument; empty when there is none.
    pub(super) fn argument(&self, number: usize) -> &str {
        self.arguments.get(number).map_or("", String::as_str)
    }
}

/// The whole of it.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    pub(super) statements: Vec<Statement>,
    /// Files that were not understood, with the reason.
    pub(super) unread: Vec<String>,
}

/// The files of a configuration, by name.
#[derive(Debug, Default)]
struct Files {
    first: String,
    texts: BTreeMap<String, String>,
}

impl Configuration {
    /// Reads what `nginx -T` prints.
    pub(super) fn of_dump(dump: &str) -> Self {
        let files = Files::of_dump(dump);
        let mut configuration = Self::default();
        configuration.statements = configuration.file(&files, &files.first, DEPTH);
        configuration
    }

    fn file(&mut self, files: &Files, name: &str, depth: usize) -> Vec<Statement> {
        let Some(text) = files.texts.get(name) else { return Vec::new() };
        match nginx_lint_parser::parse_string(text) {
            Ok(parsed) => {
                let name: Arc<str> = name.into();
                self.level(files, &name, parsed.directives(), depth)
            }
            Err(error) => {
                self.unread.push(format!("{name}: {error}"));
                Vec::new()
            }
        }
    }

    fn level<'a>(
        &mut self,
        files: &Files,
        file: &Arc<str>,
        directives: impl Iterator<Item = &'a Directive>,
        depth: usize,
    ) -> Vec<Statement> {
        let mut statements = Vec::new();
        for directive in directives {
            let arguments = arguments(directive);
            if directive.is("include") {
                let Some(depth) = depth.checked_sub(1) else { continue };
                for included in files.named(arguments.first().map_or("", String::as_str)) {
                    statements.extend(self.file(files, &included, depth));
                }
                continue;
            }
            let inner = directive.block.as_ref();
            let inner = inner.map(|block| self.level(files, file, block.directives(), depth));
            statements.push(Statement {
                name: directive.name.clone(),
                arguments,
                at: Place { file: Arc::clone(file), line: directive.name_span.start.line },
                inner: inner.unwrap_or_default(),
            });
        }
        statements
    }
}

impl Files {
    fn of_dump(dump: &str) -> Self {
        let mut files = Self::default();
        let mut name = String::new();
        for line in dump.split_inclusive('\n') {
            let heading = line.strip_prefix(HEADING).and_then(|it| it.trim_end().strip_suffix(':'));
            match heading {
                Some(heading) => {
                    name = heading.to_owned();
                    if files.first.is_empty() {
                        files.first.clone_from(&name);
                    }
                    files.texts.insert(name.clone(), String::new());
                }
                None => {
                    if let Some(text) = files.texts.get_mut(&name) {
                        text.push_str(line);
                    }
                }
            }
        }
        files
    }

    /// The files that `include` means, in the order in which they are read. Names are relative to
    /// the folder of the first file.
    fn named(&self, include: &str) -> Vec<String> {
        let folder = Path::new(&self.first).parent().unwrap_or(Path::new("/"));
        let path = folder.join(include);
        let Some(path) = path.to_str() else { return Vec::new() };
        if self.texts.contains_key(path) {
            return vec![path.to_owned()];
        }
        let Ok(pattern) = Pattern::new(path) else { return Vec::new() };
        let names = self.texts.keys().filter(|name| pattern.matches_with(name, MATCHING));
        names.cloned().collect()
    }
}

/// The arguments, without quotation marks. The parser takes `http://$host/` for three, as nothing is
/// between them, and a variable for its name.
fn arguments(directive: &Directive) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    let mut end = None;
    for argument in &directive.args {
        let text = match &argument.value {
            ArgumentValue::Variable(_) => &argument.raw,
            ArgumentValue::Literal(text)
            | ArgumentValue::QuotedString(text)
            | ArgumentValue::SingleQuotedString(text) => text,
        };
        match arguments.last_mut().filter(|_| end == Some(argument.span.start.offset)) {
            Some(last) => last.push_str(text),
            None => arguments.push(text.clone()),
        }
        end = Some(argument.span.end.offset);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(statements: &[Statement]) -> Vec<String> {
        let one = |it: &Statement| {
            let file = it.at.file.rsplit('/').next().unwrap_or_default();
            let mut lines =
                vec![format!("{file}:{} {} {}", it.at.line, it.name, it.arguments.join("|"))];
            lines.extend(shown(&it.inner).into_iter().map(|line| format!("  {line}")));
            lines
        };
        statements.iter().flat_map(one).collect()
    }

    #[test]
    fn files_stand_where_they_are_included() {
        let dump = "# configuration file /etc/nginx/nginx.conf:\n\
                    http {\n  include mime.types;\n  include sites-enabled/*;\n}\n\n\
                    # configuration file /etc/nginx/mime.types:\ntypes { text/html html; }\n\n\
                    # configuration file /etc/nginx/sites-enabled/b:\n\n# :\nserver { listen 81; }\n\
                    # configuration file /etc/nginx/sites-enabled/a:\nserver { include s.conf; }\n\
                    # configuration file /etc/nginx/s.conf:\nlisten 82;\n\
                    # configuration file /etc/nginx/sites-enabled/.hidden:\nlisten 83;\n";
        let read = Configuration::of_dump(dump);
        assert_eq!(read.unread, Vec::<String>::new());
        let expected = [
            "nginx.conf:1 http ",
            "  mime.types:1 types ",
            "    mime.types:1 text/html html",
            "  a:1 server ",
            "    s.conf:1 listen 82",
            "  b:3 server ",
            "    b:3 listen 81",
        ];
        assert_eq!(shown(&read.statements), expected);
    }

    #[test]
    fn arguments_are_as_nginx_takes_them() {
        let dump = "# configuration file /n:\nproxy_pass http://${backend}:$port/x;\n\
                    proxy_set_header Connection \"\";\nset $b 'a b';\nlocation ~ ^/a/?$ { }\n";
        let read = Configuration::of_dump(dump);
        let expected = [
            "n:1 proxy_pass http://${backend}:$port/x",
            "n:2 proxy_set_header Connection|",
            "n:3 set $b|a b",
            "n:4 location ~|^/a/?$",
        ];
        assert_eq!(shown(&read.statements), expected);
    }

    #[test]
    fn a_file_that_includes_itself_comes_to_an_end() {
        let dump = "# configuration file /n:\na 1;\ninclude n;\n";
        // The file itself, and so many times what it includes.
        assert_eq!(Configuration::of_dump(dump).statements.len(), DEPTH + 1);
    }

    #[test]
    fn a_file_that_is_not_understood_is_named() {
        let dump =
            "# configuration file /n:\ninclude b;\na 1;\n# configuration file /b:\nserver {\n";
        let read = Configuration::of_dump(dump);
        assert_eq!(read.statements.len(), 1);
        assert!(read.unread[0].starts_with("/b: "), "{:?}", read.unread);
    }
}
